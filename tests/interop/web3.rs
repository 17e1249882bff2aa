//! web3.js 1.x from npm: all of `web3.shh`, unchanged, over WebSocket.
//! `tests/peers/js/web3.js` asserts what each method gives.
//!
//! `GWA_NODE_MODULES` names the folder of installed packages.

use std::fs;

use serde_json::json;

use crate::running::Running;
use crate::scene::{Scene, free_address, node};
use crate::status::Peer;

const PASSWORD: &str = "status-offline-inbox";

#[test]
fn every_method_of_web3_shh_does_what_it_does_with_geth() {
    let scene = Scene::new(PASSWORD);
    let server = scene.serve(&[]);
    let http = server.run["http"].as_str().unwrap();
    let token = fs::read_to_string(scene.data().join("rpc.token")).unwrap();
    let url = format!(
        "{}/rpc?token={}",
        http.replacen("http://", "ws://", 1),
        token.trim()
    );

    let mut peer = Peer::of(&server, &["-listen", &free_address()]);
    peer.join("status");
    let mut web3 = Running::start(node("web3.js").arg(&url).arg(peer.enode()));
    web3.wait_event("listening", &json!({}));
    peer.post("status", "from outside");
    web3.wait_event("posted", &json!({}));
    peer.process
        .wait_event("message", &json!({"text": "from web3"}));
    assert_eq!(web3.wait("web3.js"), Some(0));
    server.end();
}
