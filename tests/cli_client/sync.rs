//! `gwa sync`, `gwa news`, and daemons that reconcile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gwa::mailserver::{Mailserver, MailserverConfig, MemoryVault, Vault};
use gwa::rlpx::NodeKey;
use gwa::time::SystemClock;
use gwa::whisper::node::{Node, NodeConfig};
use gwa::whisper::{Envelope, Pow, Topic};

use crate::house::{House, envelope, hashes, now};

/// Envelopes of the last hour.
fn traffic(count: u32) -> Vec<Envelope> {
    let start = now().saturating_sub(3_600);
    (0..count)
        .map(|n| envelope(Topic([1, 2, 3, 4]), start.saturating_add(n), n))
        .collect()
}

#[test]
fn what_another_gwa_has_is_fetched_once() {
    let house = House::new();
    let all = traffic(40);
    house.archive("a", &all);
    house.archive("b", &all[..30]);
    let server = house.serve("a", &[]);
    let synced = |args: &[&str]| {
        let ended = house.run("b", &[&["--json", "sync", &server.enode], args].concat());
        ended.expect(0).objects().remove(0)
    };
    let first = synced(&[]);
    assert_eq!(
        (&first["how"], &first["fetched"], &first["stored"]),
        (&"gwa/1".into(), &10.into(), &10.into())
    );
    assert_eq!(synced(&[])["fetched"], 0);
    let early = now().saturating_sub(86_400).0.to_string();
    assert_eq!(synced(&["--to", &early])["fetched"], 0);
    house
        .run("none", &["sync", &server.enode])
        .expect(10)
        .says("there is no archive");
}

#[test]
fn a_mailserver_of_the_status_protocol_alone_is_asked_for_pages() {
    let house = House::new();
    let all = traffic(40);
    house.archive("b", &all[..5]);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let node = runtime.block_on(async {
        let vault = Arc::new(MemoryVault::default());
        vault.append(all).await.expect("memory takes all");
        let config = MailserverConfig {
            password: None,
            node_key: None,
            min_pow: Pow::ZERO,
            answer_open_requests: true,
        };
        let server = Mailserver::new(vault, config, Arc::new(SystemClock));
        let config = NodeConfig::new(NodeKey::generate());
        let node = Node::start(config, Arc::new(server), Arc::new(SystemClock));
        node.await.expect("a node")
    });
    let enode = node.enode().expect("it listens").to_string();
    let ended = house.run("b", &["--json", "sync", &enode]).expect(0);
    let synced = &ended.objects()[0];
    assert_eq!(
        (&synced["how"], &synced["stored"], &synced["duplicate"]),
        (&"sync".into(), &35.into(), &5.into())
    );
    runtime.block_on(node.shutdown());
}

#[test]
fn daemons_that_name_one_another_come_to_hold_the_same() {
    let house = House::new();
    let all = traffic(60);
    house.archive("a", &all[..40]);
    house.archive("b", &all[20..]);
    let a = house.serve("a", &[]);
    let often = ["--archiver", &a.enode, "--reconcile-every", "1s"];
    let b = house.serve("b", &often);
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let ended = house.run("none", &["request", &b.enode, "--count"]);
        if ended.expect(0).out.trim().starts_with("60") {
            break;
        }
        assert!(Instant::now() < until, "b never held all of a's");
    }
}

#[test]
fn what_came_late_is_news_although_it_was_sent_long_ago() {
    let house = House::new();
    let all = traffic(40);
    house.archive("a", &all[10..30]);
    let server = house.serve("a", &[]);
    let keep = house.path("position");
    let news = |args: &[&str]| {
        let args = [&["--json", "news", &server.enode], args].concat();
        house.run("none", &args)
    };
    let from_now = news(&["--keep", &keep]).expect(0);
    assert_eq!((from_now.hashes().len(), from_now.objects().len()), (0, 1));
    let from_then = news(&["--from", "0"]).expect(0);
    assert_eq!(from_then.hashes(), hashes(&all[10..30]));
    let position = from_then.objects()[20]["position"].clone();

    // The daemon takes in what was sent before all it holds, and is opened again.
    drop(server);
    let late = house.path("late.rlps");
    let bytes: Vec<u8> = all[..10].iter().flat_map(|e| e.rlp().to_vec()).collect();
    std::fs::write(&late, bytes).expect("a file");
    house.run("a", &["seal"]).expect(0);
    house.run("a", &["import", &late]).expect(0);
    house.run("a", &["seal"]).expect(0);
    let server = house.serve("a", &[]);
    let news = |args: &[&str]| {
        let args = [&["--json", "news", &server.enode], args].concat();
        house.run("none", &args)
    };
    for since in [
        ["--keep", &keep],
        ["--since", position.as_str().expect("hex")],
    ] {
        let come = news(&since).expect(0).hashes();
        assert!(come.is_superset(&hashes(&all[..10])), "{since:?}");
    }
    assert!(news(&["--keep", &keep]).expect(0).hashes().is_empty());

    house.archive("b", &all[..1]);
    let other = house.serve("b", &[]);
    let args = ["news", &other.enode, "--keep", &keep];
    house.run("none", &args).expect(1).says("another archive");
}
