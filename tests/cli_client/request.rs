//! `gwa request`.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gwa::whisper::keys::SymKey;
use gwa::whisper::message::{MessageRandom, Reader, seal};
use gwa::whisper::{Envelope, Topic};

use crate::bad::{BadServer, Manner};
use crate::house::{Ended, House, envelope, hashes, now};
use crate::proxy::Proxy;

/// An hour of traffic of two topics, a second apart.
fn traffic(count: u32) -> Vec<Envelope> {
    let start = now().saturating_sub(3_600);
    (0..count)
        .map(|n| {
            let topic = if n % 2 == 0 {
                Topic::of_public_chat("status")
            } else {
                Topic([1, 2, 3, 4])
            };
            envelope(topic, start.saturating_add(n), n)
        })
        .collect()
}

#[test]
fn the_last_day_of_a_chat_is_printed_newest_last() {
    let house = House::new();
    let traffic = traffic(40);
    let old = envelope(
        Topic::of_public_chat("status"),
        now().saturating_sub(90_000),
        1,
    );
    house.archive("a", &[&traffic[..], &[old]].concat());
    let server = house.serve("a", &[]);

    let ended = house
        .run(
            "none",
            &["--json", "request", &server.enode, "--chat", "status"],
        )
        .expect(0);
    let expected = traffic.iter().step_by(2);
    assert_eq!(ended.hashes(), hashes(expected));
    let sent: Vec<_> = ended
        .objects()
        .iter()
        .map(|row| row["sent"].as_u64().expect("a number"))
        .collect();
    assert!(sent.is_sorted());
    assert!(ended.objects()[0].get("in").is_none());

    let lines = house
        .run("none", &["request", &server.enode, "--topic", "01020304"])
        .expect(0);
    assert_eq!(lines.out.lines().count(), 20);
    let count = house.run("none", &["request", &server.enode, "--count"]);
    assert_eq!(count.expect(0).out, "40\n");
    // Nothing is made where nothing is kept.
    assert!(!house.exists("none"));
}

#[test]
fn a_page_leads_to_the_next_and_all_of_them_to_the_whole() {
    let house = House::new();
    let traffic = traffic(25);
    house.archive("a", &traffic);
    let server = house.serve("a", &[]);
    let ask = |args: &[&str]| {
        let args = [&["--json", "request", &server.enode, "--limit", "10"], args].concat();
        house.run("none", &args)
    };

    let first = ask(&["--explain"]).expect(0).says("--cursor");
    let summary = first.objects().pop().expect("a summary");
    let cursor = summary["cursor"].as_str().expect("a cursor");
    assert_eq!(summary["complete"], false);
    let second = ask(&["--cursor", cursor]).expect(0);
    assert_eq!(first.hashes(), hashes(&traffic[..10]));
    assert_eq!(second.hashes(), hashes(&traffic[10..20]));
    for batch in ["--batch", "--no-batch"] {
        let all = ask(&["--all", batch]).expect(0);
        assert_eq!(all.hashes(), hashes(&traffic));
        assert!(!all.err.contains("more follows"));
    }

    let file = house.path("all.rlps");
    ask(&["--all", "--rlp", &file]).expect(0);
    let written = std::fs::read(&file).expect("a file");
    let expected: Vec<u8> = traffic.iter().flat_map(|e| e.rlp().to_vec()).collect();
    assert_eq!(written, expected);
}

#[test]
fn a_replica_answers_mail_as_the_archive_does_and_without_the_days_that_were_dropped() {
    let house = House::new();
    // Three days that are closed, an hour apart.
    let start = now().saturating_sub(5 * 86_400);
    let traffic: Vec<_> = (0..72)
        .map(|n| {
            let sent = start.saturating_add(n * 3_600);
            envelope(Topic::of_public_chat("status"), sent, n)
        })
        .collect();
    house.archive("a", &traffic);
    house.run("a", &["seal"]).expect(0);
    std::fs::create_dir(house.path("store")).expect("a folder");
    let store = format!("folder:{}", house.path("store"));
    let carry = ["store", "carry", "--store", &store];
    house.run("a", &carry).expect(0);
    let from = start.saturating_sub(60).0.to_string();
    let asked = |server: &str, args: &[&str]| {
        let all = ["--json", "request", server, "--from", &from];
        house.run("none", &[&all[..], args].concat()).expect(0)
    };
    {
        let replica = house.serve("replica", &["--replica", "--store", &store]);
        for batch in ["--batch", "--no-batch"] {
            let answered = asked(&replica.enode, &["--all", "--limit", "30", batch]);
            assert_eq!(answered.hashes(), hashes(&traffic));
        }
        // A cursor of the archive itself leads on there.
        let server = house.serve("a", &[]);
        let first = asked(&server.enode, &["--limit", "10", "--explain"]);
        let summary = first.objects().pop().expect("a summary");
        let cursor = summary["cursor"].as_str().expect("a cursor");
        let second = asked(&replica.enode, &["--limit", "10", "--cursor", cursor]);
        assert_eq!(second.hashes(), hashes(&traffic[10..20]));
    }
    // The daemon was killed; its lock goes with it.
    let pruned = house.run("a", &["--json", "prune", "--keep", "4d", "--yes"]);
    pruned.expect(0);
    house.run("a", &carry).expect(0);
    let replica = house.serve("replica", &["--replica", "--store", &store]);
    let server = house.serve("a", &[]);
    let left = asked(&server.enode, &["--all"]).hashes();
    assert!(!left.is_empty() && left.len() < traffic.len());
    assert_eq!(asked(&replica.enode, &["--all"]).hashes(), left);
    drop(replica);
    // What is asked of the folder says which days are gone, and that they were dropped.
    let told = house.run("replica", &["query", "--from", &from]);
    told.expect(3).says("no longer kept");
}

#[test]
fn a_wrong_password_exits_12_and_the_server_key_needs_none() {
    let house = House::new();
    house.archive("a", &traffic(3));
    let server = house.serve("a", &["--password", "secret"]);
    house
        .run("none", &["request", &server.enode])
        .expect(12)
        .says("failed to decrypt p2p request")
        .says("--password");
    for right in [&["--password", "secret"][..], &["--server-key"]] {
        let args = [&["request", "--count", &server.enode], right].concat();
        assert_eq!(house.run("none", &args).expect(0).out, "3\n");
    }
}

#[test]
fn things_are_told_as_they_happen() {
    let house = House::new();
    let traffic = traffic(5);
    house.archive("a", &traffic);
    let server = house.serve("a", &[]);
    let args = ["--json", "request", &server.enode, "--async"];
    let ended = house.run("none", &args).expect(0);
    let objects = ended.objects();
    assert_eq!(ended.hashes(), hashes(&traffic));
    let id = objects[0]["request"].as_str().expect("an id first");
    let last = objects.last().expect("an end");
    assert_eq!(last["completed"], id);
    assert_eq!(last["complete"], true);
    let newest = traffic.last().expect("some").hash().to_string();
    assert_eq!(last["last"], newest);
}

#[test]
fn messages_of_a_chat_are_read() {
    let house = House::new();
    let sent = now().saturating_sub(60);
    let data = seal(
        b"hello\n\x1b[2Jthere",
        None,
        Reader::Holders(&SymKey::from_password("a chat")),
        &MessageRandom::draw(),
    )
    .expect("short");
    let ttl = gwa::time::Ttl(50);
    let expiry = gwa::time::Expiry::of(sent, ttl);
    let topic = Topic::of_public_chat("a chat");
    house.archive("a", &[Envelope::new(expiry, ttl, topic, &data, 0)]);
    let server = house.serve("a", &[]);
    let args = ["request", &server.enode, "--chat", "a chat", "--decrypt"];
    let line = house.run("none", &args).expect(0).out;
    assert!(line.ends_with("hello\\n\\u{1b}[2Jthere\n"), "{line}");
    let json = [&["--json"][..], &args].concat();
    let row = house.run("none", &json).expect(0).objects().remove(0);
    assert_eq!(row["text"], "hello\n\u{1b}[2Jthere");
    house
        .run("none", &["request", &server.enode, "--decrypt"])
        .expect(2);
}

#[test]
fn a_lost_link_is_opened_again_and_nothing_is_missing() {
    let house = House::new();
    let traffic = traffic(200);
    house.archive("a", &traffic);
    let server = house.serve("a", &[]);
    // Enough for some pages of ten, not for all.
    let proxy = Proxy::start(server.parsed().tcp_address(), 1, 20_000);
    let enode = proxy.enode(&server.parsed());
    let args = ["--json", "request", &enode, "--all", "--limit", "10"];
    let ended = house.run("none", &args).expect(0).says("trying again");
    assert_eq!(ended.objects().len(), 200, "none twice");
    assert_eq!(ended.hashes(), hashes(&traffic));
    assert_eq!(proxy.links(), 2);
}

#[test]
fn what_a_lost_server_left_is_fetched_another_day() {
    let house = House::new();
    let traffic = traffic(200);
    house.archive("a", &traffic);
    let server = house.serve("a", &[]);
    let proxy = Proxy::start(server.parsed().tcp_address(), usize::MAX, 20_000);
    let enode = proxy.enode(&server.parsed());
    let file = house.path("request.json");
    let ask = |enode: &str, resume: &[&str]| {
        let args = [
            "--json",
            "request",
            enode,
            "--limit",
            "10",
            "--retries",
            "0",
        ];
        house.run("none", &[&args[..], resume].concat())
    };
    let first = ask(&enode, &["--resume", &file]).expect(3).says("--resume");
    assert!(house.exists("request.json"));
    let rest = ask(&server.enode, &["--resume", &file])
        .expect(0)
        .says("going on");
    assert!(!house.exists("request.json"));
    let (first, rest) = (first.hashes(), rest.hashes());
    assert!(!first.is_empty() && first.is_disjoint(&rest));
    assert_eq!(&first | &rest, hashes(&traffic));

    // Without a file, what came is printed, and the cursor told.
    let partial = ask(&enode, &["--all"]).expect(3).says("--cursor");
    assert!(!partial.hashes().is_empty());
    assert!(partial.hashes().is_subset(&hashes(&traffic)));
}

#[test]
fn servers_that_differ_are_compared() {
    let house = House::new();
    let traffic = traffic(30);
    house.archive("a", &traffic[..20]);
    house.archive("b", &traffic[10..]);
    let (a, b) = (house.serve("a", &[]), house.serve("b", &[]));
    let args = ["--json", "request", &a.enode, &b.enode, "--explain"];
    let ended = house.run("none", &args).expect(21).says("differ");
    assert_eq!(ended.hashes(), hashes(&traffic));
    let holders = |of: &[&str]| -> BTreeSet<String> {
        let of = serde_json::json!(of);
        let objects = ended.objects();
        let rows = objects.iter().filter(|object| object["in"] == of);
        rows.map(|row| row["hash"].as_str().expect("a hash").to_owned())
            .collect()
    };
    assert_eq!(holders(&["a"]), hashes(&traffic[..10]));
    assert_eq!(holders(&["a", "b"]), hashes(&traffic[10..20]));
    assert_eq!(holders(&["b"]), hashes(&traffic[20..]));
    let summaries: Vec<_> = ended.objects().into_iter().skip(30).collect();
    assert_eq!(summaries.len(), 2);
    for summary in summaries {
        assert_eq!(
            (&summary["envelopes"], &summary["lacks"]),
            (&20.into(), &10.into())
        );
    }

    let told = house.run("none", &["request", &a.enode, &b.enode]);
    told.expect(21).says("envelopes 20 lacks 10");
    house
        .run("none", &["request", &a.enode, &a.enode])
        .expect(2);

    // A server that is gone leaves a part, not a difference.
    let gone = b.enode.clone();
    drop(b);
    house
        .run("none", &["request", &a.enode, &gone])
        .expect(3)
        .says("Connection refused");
    house.run("none", &["request", &gone]).expect(1);
}

#[test]
fn a_server_that_sends_what_nobody_asked_for_is_named() {
    let house = House::new();
    let liar = BadServer::start(Manner::Lies);
    let ended = house
        .run("none", &["request", &liar.enode])
        .expect(1)
        .says("was sent outside the range")
        .says("do not trust");
    let id = &liar.enode["enode://".len()..][..8];
    assert!(ended.err.contains(id), "{}", ended.err);
    assert_eq!(ended.out, "");
    // Honest servers are still heard.
    house.archive("a", &traffic(10));
    let server = house.serve("a", &[]);
    let args = ["--json", "request", &server.enode, &liar.enode];
    let both = house.run("none", &args).expect(3);
    assert_eq!(both.objects().len(), 10);
}

#[test]
fn an_interrupt_keeps_what_came_and_where_to_go_on() {
    let house = House::new();
    let traffic = traffic(200);
    house.archive("a", &traffic);
    let server = house.serve("a", &[]);
    let proxy = Proxy::falling_silent(server.parsed().tcp_address(), 20_000);
    let enode = proxy.enode(&server.parsed());
    let file = house.path("request.json");
    let args = [
        "--json", "request", &enode, "--limit", "10", "--resume", &file,
    ];
    let child = house
        .gwa("none", &args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gwa runs");
    // The first page was printed once the file is there.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !house.exists("request.json") {
        assert!(Instant::now() < deadline, "no page came");
        std::thread::sleep(Duration::from_millis(10));
    }
    let kill = format!("kill -INT {}", child.id());
    let killed = Command::new("sh").args(["-c", &kill]).status();
    assert!(killed.expect("sh runs").success());
    let first = Ended::from(child.wait_with_output().expect("it ends")).expect(130);
    let rest = house
        .run(
            "none",
            &["--json", "request", &server.enode, "--resume", &file],
        )
        .expect(0);
    let (first, rest) = (first.hashes(), rest.hashes());
    assert!(!first.is_empty() && first.is_disjoint(&rest));
    assert_eq!(&first | &rest, hashes(&traffic));
}
