//! `admin_*`: the node and its peers.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::access::Grant;
use crate::api::rpc::args::Args;
use crate::api::rpc::context::Context;
use crate::api::rpc::methods::{Answer, Methods};
use crate::rlpx::Enode;
use crate::whisper::node::PeerInfo;
use crate::whisper::packet::CAPABILITY;

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    let (read, near, all) = (Grant::Read, Grant::Near, Grant::All);
    methods.add("admin_nodeInfo", read, 0, node_info);
    methods.add("admin_peers", near, 0, peers);
    methods.add("admin_addPeer", all, 1, |context, args| async move {
        context.node.add_peer(args.enode(0)?);
        Ok(json!(true))
    });
    methods.add("admin_removePeer", all, 1, |context, args| async move {
        context.node.remove_peer(args.enode(0)?.id);
        Ok(json!(true))
    });
    methods.add("admin_addTrustedPeer", all, 1, |context, args| async move {
        context.node.reserve_seat(args.enode(0)?.id);
        Ok(json!(true))
    });
}

/// The capability as geth lists it.
fn capability() -> String {
    let (name, version) = CAPABILITY;
    format!("{name}/{version}")
}

async fn node_info(context: Arc<Context>, _: Args) -> Answer {
    let node = &context.node;
    let listen = node.local_addr();
    let port = listen.map_or(0, |address| address.port());
    let rules = node.rules();
    Ok(json!({
        "id": hex::encode(node.id().hash()),
        "name": node.name(),
        "enode": node.enode().map(|enode| enode.to_string()),
        "ip": listen.map(|address| address.ip().to_string()),
        "ports": {"discovery": node.enode().map_or(0, |enode| enode.udp), "listener": port},
        "listenAddr": listen.map(|address| address.to_string()),
        "protocols": {"shh": {
            "version": "6.0",
            "minimumPoW": rules.min_pow().get(),
            "maxMessageSize": rules.max_message_size(),
        }},
    }))
}

async fn peers(context: Arc<Context>, _: Args) -> Answer {
    let local = context.node.local_addr().map(|address| address.to_string());
    let objects = context.node.peers().into_iter().map(|peer| {
        let trusted = context.node.has_reserved_seat(&peer.id);
        object(&peer, local.as_deref(), trusted)
    });
    Ok(objects.collect())
}

fn object(peer: &PeerInfo, local: Option<&str>, trusted: bool) -> Value {
    json!({
        "id": hex::encode(peer.id.hash()),
        "enode": Enode::new(peer.id, peer.address).to_string(),
        "name": peer.client,
        "caps": [capability()],
        "network": {
            "localAddress": local,
            "remoteAddress": peer.address.to_string(),
            "inbound": peer.inbound,
            "trusted": trusted,
            "static": peer.is_static,
        },
        "protocols": {"shh": {"version": 6}},
    })
}
