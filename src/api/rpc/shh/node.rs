//! What the node is, and what it asks of envelopes and peers.

use std::sync::Arc;

use serde_json::json;

use crate::api::access::Grant;
use crate::api::rpc::args::Args;
use crate::api::rpc::context::Context;
use crate::api::rpc::fault::Fault;
use crate::api::rpc::methods::{Answer, Methods};
use crate::whisper::bloom::BLOOM_SIZE;
use crate::whisper::{Bloom, Pow};

/// The protocol's version, as geth writes it.
const VERSION: &str = "6.0";

pub(super) fn register(methods: &mut Methods) {
    methods.add("shh_version", Grant::Read, 0, |_, _| async {
        Ok(json!(VERSION))
    });
    methods.add("shh_info", Grant::Read, 0, info);
    methods.add("shh_setMaxMessageSize", Grant::All, 1, set_max_message_size);
    methods.add("shh_setMinPoW", Grant::All, 1, set_min_pow);
    methods.add("shh_setBloomFilter", Grant::All, 1, set_bloom_filter);
    methods.add("shh_markTrustedPeer", Grant::All, 1, mark_trusted_peer);
    methods.add(
        "shh_makeLightClient",
        Grant::All,
        0,
        |context, _| async move {
            context.node.set_light(true);
            Ok(json!(true))
        },
    );
    methods.add(
        "shh_cancelLightClient",
        Grant::All,
        0,
        |context, _| async move {
            context.node.set_light(false);
            Ok(json!(true))
        },
    );
}

async fn info(context: Arc<Context>, _: Args) -> Answer {
    let rules = context.node.rules();
    let (_, memory) = context.node.pooled();
    Ok(json!({
        "memory": memory,
        "messages": context.waiting.held(),
        "minPow": rules.min_pow().get(),
        "maxMessageSize": rules.max_message_size(),
    }))
}

async fn set_max_message_size(context: Arc<Context>, args: Args) -> Answer {
    let size = usize::try_from(args.u32(0)?).unwrap_or(usize::MAX);
    context
        .node
        .set_max_message_size(size)
        .map_err(Fault::because)?;
    Ok(json!(true))
}

async fn set_min_pow(context: Arc<Context>, args: Args) -> Answer {
    let asked = args.float(0)?;
    let pow = Pow::new(asked).ok_or_else(|| Fault::because(format!("invalid PoW: {asked:.6}")))?;
    context.node.set_min_pow(pow);
    Ok(json!(true))
}

async fn set_bloom_filter(context: Arc<Context>, args: Args) -> Answer {
    let bytes = args.data(0)?;
    let bloom: [u8; BLOOM_SIZE] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| Fault::because(format!("invalid bloom filter size: {}", bytes.len())))?;
    context.node.set_bloom(Bloom(bloom));
    Ok(json!(true))
}

async fn mark_trusted_peer(context: Arc<Context>, args: Args) -> Answer {
    let peer = args.enode(0)?;
    context.node.trust(&peer.id).await.map_err(Fault::because)?;
    context.asked.trust(peer.id);
    Ok(json!(true))
}
