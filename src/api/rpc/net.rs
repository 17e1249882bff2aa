//! `net_*`: how the node is connected.

use serde_json::json;

use crate::api::access::Grant;
use crate::api::rpc::methods::Methods;

/// geth's id of the main network: Whisper has none of its own.
const NETWORK: &str = "1";

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    let read = Grant::Read;
    methods.add("net_version", read, 0, |_, _| async { Ok(json!(NETWORK)) });
    methods.add("net_listening", read, 0, |context, _| async move {
        Ok(json!(context.node.local_addr().is_some()))
    });
    methods.add("net_peerCount", read, 0, |context, _| async move {
        Ok(json!(format!("{:#x}", context.node.peers().len())))
    });
}
