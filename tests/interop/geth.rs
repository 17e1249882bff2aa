//! geth's `wnode`: it posts messages to us, asks us for them again, and is the
//! mailserver that our client reads from.
//!
//! `GWA_WNODE` names the binary.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use gwa::import;
use gwa::whisper::keys::SymKey;
use gwa::whisper::message::Opened;
use serde_json::Value;

use crate::running::Running;
use crate::scene::{Scene, Server, free_address, named_by};
use crate::unix_now;

/// The password that `wnode -test` uses for chat and mail alike.
const PASSWORD: &str = "wwww";

/// A topic all of whose bits lie in one byte of a bloom. wnode hides the topic
/// it asks for among bits that it sets at random, once for its life, and each
/// of those erases its byte: it then asks for something else, and is the less
/// likely to the fewer bytes there are.
const TOPIC: &str = "08090a00";

/// Clients to start until one asks for the topic it was told: of eight, all
/// fail in one of 200,000 runs.
const CLIENTS: usize = 8;

/// Starts a wnode in test mode.
fn wnode(scene: &Scene, name: &str, args: &[&str]) -> Running {
    let key = scene.folder().join(name);
    let secret = gwa::rlpx::NodeKey::generate().to_secret_hex();
    fs::write(&key, secret.as_bytes()).unwrap();
    Running::start(
        Command::new(named_by("GWA_WNODE"))
            .args(["-test", "-topic", TOPIC, "-idfile"])
            .arg(&key)
            .args(args),
    )
}

/// Starts one that is connected to `enode`.
fn wnode_of(scene: &Scene, name: &str, enode: &str, args: &[&str]) -> Running {
    let address = free_address();
    let mut all = vec!["-ip", &address, "-boot", enode];
    all.extend(args);
    let mut peer = wnode(scene, name, &all);
    peer.wait_for("Connected to peer");
    peer.wait_for("To quit type");
    peer
}

/// Posts as many messages, and gives their texts.
fn post(scene: &Scene, enode: &str, count: usize) -> (Running, BTreeSet<String>) {
    let texts: BTreeSet<String> = (1..=count).map(|n| format!("message number {n}")).collect();
    let mut poster = wnode_of(scene, "poster.key", enode, &[]);
    for text in &texts {
        poster.type_line(text);
    }
    (poster, texts)
}

/// Answers wnode's questions: from when, until when, which topic.
fn ask(client: &mut Running, from: u32, until: u32, topic: &str) {
    for answer in [&from.to_string(), &until.to_string(), topic] {
        client.type_line(answer);
    }
}

/// Whether all texts were printed, each as a message of somebody else.
fn printed_all(lines: &[String], texts: &BTreeSet<String>) -> bool {
    texts.iter().all(|text| {
        lines
            .iter()
            .any(|line| line.ends_with(&format!("]: {text}")))
    })
}

/// Has clients print the history of the last hour: all of it, and by topic.
fn clients_print_all(scene: &Scene, server: &mut Server, texts: &BTreeSet<String>) {
    let hour_ago = unix_now() - 3_600;
    // 0 is "now" to wnode, and reaches us as the end of time.
    for (name, until) in [("until-end.key", 0), ("until-now.key", unix_now() + 60)] {
        let mut client = wnode_of(scene, name, &server.enode, &["-mailclient"]);
        ask(&mut client, hour_ago, until, "");
        client.wait_until("every message", |lines| printed_all(lines, texts));
    }

    let found = (1..=CLIENTS).any(|n| {
        let name = format!("by-topic-{n}.key");
        let mut client = wnode_of(scene, &name, &server.enode, &["-mailclient"]);
        ask(&mut client, hour_ago, 0, TOPIC);
        // Two were answered before the first of these.
        let delivered = server.wait_answer(n + 2);
        let asked_for_it = delivered.contains(&format!("envelopes: {}", texts.len()));
        if asked_for_it {
            client.wait_until("every message", |lines| printed_all(lines, texts));
        }
        asked_for_it
    });
    assert!(found, "no client asked for the topic");
}

/// The texts of a file of envelopes, decrypted; each is checked to be one of
/// `hashes`.
fn decrypt(file: &Path, hashes: &BTreeSet<String>) -> BTreeSet<String> {
    let key = SymKey::from_password(PASSWORD);
    let bytes = Bytes::from(fs::read(file).unwrap());
    import::envelopes(&bytes[..])
        .unwrap()
        .map(|found| {
            let envelope = found.unwrap().envelope;
            assert!(hashes.contains(&envelope.hash().to_string()));
            let opened = Opened::open_symmetric(&key, envelope.data()).unwrap();
            String::from_utf8(opened.payload).unwrap()
        })
        .collect()
}

/// The hashes of what a command printed, a JSON object a line.
fn hashes(printed: &str) -> BTreeSet<String> {
    printed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter_map(|row| {
            assert_eq!(row["topic"], format!("0x{TOPIC}"));
            Some(row["hash"].as_str()?.to_owned())
        })
        .collect()
}

#[test]
fn what_a_real_peer_posts_is_found_from_the_head_and_delivered_to_a_real_client() {
    let scene = Scene::new(PASSWORD);
    let mut server = scene.serve(&[]);
    let (poster, texts) = post(&scene, &server.enode, 5);
    server.wait_stored(5);
    drop(poster);
    server.end();
    assert!(!scene.data().join("run.json").exists());

    // A server started anew relays nothing of this: what a client gets, the
    // archive delivers, from what waits to be sealed and then from blocks.
    let mut server = scene.serve(&[]);
    clients_print_all(&scene, &mut server, &texts);
    server.end();
    scene.seal();
    let mut server = scene.serve(&[]);
    clients_print_all(&scene, &mut server, &texts);
    server.end();

    let head = scene.run(&["head"]);
    let hashes = hashes(&scene.run(&["--json", "query", &head, "--topic", TOPIC]));
    assert_eq!(hashes.len(), texts.len());
    let file = scene.folder().join("found.rlps");
    let path = file.to_str().unwrap();
    scene.run(&["query", &head, "--topic", TOPIC, "--rlp", path]);
    assert_eq!(decrypt(&file, &hashes), texts);
    scene.run(&["verify"]);
}

#[test]
fn a_mailserver_of_geth_is_read_by_our_client() {
    let scene = Scene::new(PASSWORD);
    let address = free_address();
    let database = scene.folder().join("theirs");
    let mut theirs = wnode(
        &scene,
        "server.key",
        &[
            "-mailserver",
            "-standalone",
            "-ip",
            &address,
            "-dbpath",
            database.to_str().unwrap(),
        ],
    );
    theirs.wait_for("To quit type");
    let enode = theirs
        .seen()
        .iter()
        .find_map(|line| line.find("enode://").map(|at| line[at..].trim().to_owned()))
        .expect("wnode prints its enode URL");
    let (_poster, texts) = post(&scene, &enode, 5);
    theirs.wait_until("every message", |lines| printed_all(lines, &texts));

    let from = (unix_now() - 3_600).to_string();
    for topic in [&["--topic", TOPIC][..], &[]] {
        let file = scene.folder().join("read.rlps");
        let path = file.to_str().unwrap();
        let request = ["request", &enode, "--from", &from, "--password", PASSWORD];
        let printed = scene.run(&[&["--json"], &request[..], topic].concat());
        let hashes = hashes(&printed);
        assert_eq!(hashes.len(), texts.len());
        scene.run(&[&request[..], &["--rlp", path], topic].concat());
        assert_eq!(decrypt(&file, &hashes), texts);
        fs::remove_file(&file).unwrap();
    }
}
