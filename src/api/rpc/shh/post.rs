//! Posting: composed, given its work, sent.

use std::sync::Arc;

use serde_json::Value;

use crate::api::access::Grant;
use crate::api::rpc::args::{Args, Object};
use crate::api::rpc::context::Context;
use crate::api::rpc::fault::Fault;
use crate::api::rpc::hex_data;
use crate::api::rpc::methods::{Answer, Methods};
use crate::whisper::service::{NewMessage, PostError, compose};

pub(super) fn register(methods: &mut Methods) {
    methods.add("shh_post", Grant::All, 1, post);
}

/// Posts a message; answers the hash of its envelope once that is durable, or
/// handed to the one peer it was meant for.
pub(in crate::api::rpc) async fn post(context: Arc<Context>, args: Args) -> Answer {
    let new = args.required(0)?.read(read)?;
    let composed = compose(&new, &context.keys(), context.node.now()).map_err(Fault::because)?;
    let target_peer = composed.target_peer;
    let mined = context.workshop.mine(|| Ok(composed)).await;
    let envelope = mined.map_err(Fault::because)?;
    let hash = hex_data::write(&envelope.hash().0);
    if let Some(peer) = target_peer {
        context
            .node
            .send_p2p(&peer.id, vec![envelope])
            .await
            .map_err(Fault::because)?;
        return Ok(hash);
    }
    // geth compares what was asked for, not what was found.
    if new.pow_target < context.node.rules().min_pow().get() {
        return Err(Fault::because(PostError::LowPow));
    }
    context.node.post(envelope).await.map_err(Fault::because)?;
    Ok(hash)
}

pub(super) fn read(value: &Value) -> Result<NewMessage, String> {
    let object = Object::read(value, "whisperv6", "NewMessage")?;
    Ok(NewMessage {
        sym_key_id: object.text("symKeyID")?,
        public_key: object.data("pubKey")?,
        sig: object.text("sig")?,
        ttl: object.u32("ttl")?,
        topic: object.member("topic", |value, _| hex_data::read_topic(value))?,
        payload: object.data("payload")?,
        padding: object.data("padding")?,
        pow_time: object.u32("powTime")?,
        pow_target: object.float("powTarget")?,
        target_peer: object.text("targetPeer")?,
    })
}
