//! `web3_*` and `rpc_*`: who answers, and what it can do.

use serde_json::json;

use crate::api::access::Grant;
use crate::api::rpc::hex_data;
use crate::api::rpc::methods::Methods;
use crate::keccak::keccak256;

/// The namespaces, each with its version.
const MODULES: [&str; 6] = ["admin", "net", "rpc", "shh", "shhext", "web3"];

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    let read = Grant::Read;
    methods.add("web3_clientVersion", read, 0, |context, _| async move {
        let name = context.node.name();
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        Ok(json!(format!("{name}/{os}-{arch}/rust")))
    });
    methods.add("web3_sha3", read, 1, |_, args| async move {
        Ok(hex_data::write(&keccak256(args.data(0)?)))
    });
    methods.add("rpc_modules", read, 0, |_, _| async {
        Ok(MODULES.iter().map(|name| (*name, "1.0")).collect())
    });
}
