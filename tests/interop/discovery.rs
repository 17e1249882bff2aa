//! geth's `wnode` and our node, who know nobody but geth's `bootnode`.
//!
//! `GWA_WNODE` and `GWA_BOOTNODE` name the binaries.

use std::process::Command;

use gwa::rlpx::{Enode, NodeKey};
use serde_json::Value;

use crate::running::Running;
use crate::scene::{Scene, free_address, named_by};

#[test]
fn geth_and_we_find_each_other_through_a_bootnode() {
    let scene = Scene::new("wwww");
    let key = NodeKey::generate();
    let address = free_address();
    let enode = Enode::new(key.id(), address.parse().unwrap()).to_string();
    let _bootnode = Running::start(Command::new(named_by("GWA_BOOTNODE")).args([
        "-nodekeyhex",
        &key.to_secret_hex(),
        "-addr",
        &address,
    ]));
    let mut server = scene.serve(&["--bootnode", &enode]);

    // A bootnode speaks no Whisper: whom wnode connects with, it has found.
    let own = scene.folder().join("wnode.key");
    std::fs::write(&own, NodeKey::generate().to_secret_hex().as_bytes()).unwrap();
    let mut wnode = Running::start(
        Command::new(named_by("GWA_WNODE"))
            .args(["-test", "-ip", &free_address(), "-boot", &enode, "-idfile"])
            .arg(&own),
    );
    wnode.wait_for("Connected to peer");
    wnode.wait_for("To quit type");
    wnode.type_line("found by chance");
    server.wait_stored(1);

    let peers: Value = serde_json::from_str(&scene.run(&["--json", "peers"])).unwrap();
    let client = peers["client"].as_str().unwrap();
    assert!(client.starts_with("wnode"), "{client}");
    server.end();
}
