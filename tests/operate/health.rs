//! `gwa health` beside daemons that work, that do not, and that are not there.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};

use gwa::archive::disk::{Archive, seal_due};
use gwa::archive::testing::envelope;
use gwa::time::UnixSeconds;
use serde_json::{Value, json};

use crate::house::House;

/// Answers whoever comes next with `status` and `body`; gives what was asked.
fn answer_once(listener: &TcpListener, status: &str, body: &str) -> String {
    let (mut stream, _) = listener.accept().expect("a client");
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request");
        asked.push(byte[0]);
    }
    let len = body.len();
    let answer =
        format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).expect("it listens");
    String::from_utf8(asked).expect("UTF-8")
}

/// A server that answers once, with `status` and `body`.
fn answers_once(status: &'static str, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let asked = answer_once(&listener, status, &body);
        assert!(asked.starts_with("GET /health "), "{asked}");
    });
    url
}

#[test]
fn a_daemon_that_works_is_healthy_also_without_peers() {
    let house = House::new();
    let daemon = house.serve(|_| {});
    let told = house.run(&["--json", "health"]).expect(0).object();
    assert_eq!(told["ok"], true);
    let state_of = |of: &str| {
        let checks = told["checks"].as_array().expect("a list");
        let check = checks.iter().find(|check| check["of"] == of);
        check.unwrap_or_else(|| panic!("{of} in {told}"))["state"].clone()
    };
    assert_eq!(state_of("archive"), "well");
    assert_eq!(state_of("peers"), "note");
    assert_eq!(state_of("head"), "note");
    let said = house.run(&["health", "--url", daemon.url()]).expect(0).out;
    assert!(
        said.starts_with("ok    archive    stores what arrives\n"),
        "{said}"
    );
    assert!(said.contains("hint: `--peer ENODE`"), "{said}");
    assert_eq!(daemon.end(), 0);
    let gone = house.run(&["health"]).expect(1);
    assert!(gone.err.contains("no daemon runs over"), "{}", gone.err);
}

#[test]
fn a_daemon_that_was_killed_is_not_healthy() {
    let house = House::new();
    house.serve(|_| {}).kill();
    let told = house.run(&["health"]).expect(1);
    assert!(told.err.contains("no daemon runs over"), "{}", told.err);
    assert!(told.err.contains("`gwa serve` starts one"), "{}", told.err);
}

#[test]
fn whoever_has_the_port_of_a_daemon_that_was_killed_is_sent_nothing() {
    let house = House::new();
    let daemon = house.serve(|_| {});
    let address = daemon.url().strip_prefix("http://").expect("a URL");
    let address: SocketAddr = address.parse().expect("an address");
    daemon.kill();
    assert!(house.path("data/run.json").exists(), "it is left over");
    let other = TcpListener::bind(address).expect("nobody has the port");
    other.set_nonblocking(true).expect("a socket");
    let asks = || {
        for args in [&["health"][..], &["peers"], &["peers", "--why"]] {
            let told = house.run(args).expect(1);
            assert!(told.err.contains("no daemon runs over"), "{}", told.err);
        }
        let bundle = house.path("bundle.tar.gz");
        let bundle_path = bundle.to_str().expect("UTF-8");
        house.run(&["support-bundle", "-o", bundle_path]).expect(0);
        std::fs::remove_file(&bundle).expect("it was written");
        let error = other.accept().expect_err("nobody came");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    };
    asks();
    // Nor where another process holds the archive by now, and has said nothing yet.
    let left = std::fs::read(house.path("data/run.json")).expect("it is there");
    let held = gwa::archive::disk::Archive::open(&house.path("data")).expect("nobody has it");
    assert!(!house.path("data/run.json").exists(), "it was of another");
    std::fs::write(house.path("data/run.json"), left).expect("as if it were slow");
    asks();
    drop(held);
}

#[test]
fn the_token_of_a_daemon_is_not_sent_where_everybody_is_told() {
    let house = House::new();
    // A process that holds the archive, and a daemon's file that leads to a listener.
    let archive = gwa::archive::disk::Archive::init(&house.path("data"), "").expect("a folder");
    house.file("data/rpc.token", &TOKEN.repeat(4));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let enode = format!("enode://{}@127.0.0.1:1", crate::config::PEER);
    let run = json!({"pid": std::process::id(), "enode": enode, "http": url, "head": null});
    house.file("data/run.json", &run.to_string());
    for (args, path, is_sent) in [
        ("health", "/health", false),
        ("peers", "/api/v1/peers", true),
    ] {
        let asked = std::thread::scope(|scope| {
            let asked = scope.spawn(|| answer_once(&listener, "404 Not Found", "{}"));
            house.run(&[args]).expect(1);
            asked.join().expect("it was asked")
        });
        assert!(asked.starts_with(&format!("GET {path} ")), "{asked}");
        assert_eq!(asked.contains(TOKEN), is_sent, "{asked}");
    }
    drop(archive);
}

/// A part of a token.
const TOKEN: &str = "0123456789abcdef";

#[test]
fn an_archive_that_takes_nothing_is_told_with_what_helps() {
    let house = House::new();
    let health = json!({
        "ok": false, "error": "the archive fails to store envelopes", "since": 1,
        "takes_in": true, "peers": 2, "head": null, "last_envelope_age": 5,
    });
    let url = answers_once("503 Service Unavailable", health.to_string());
    let told = house.run(&["health", "--url", &url]).expect(1);
    let bad = "BAD   archive    the archive fails to store envelopes\n";
    assert!(told.out.starts_with(bad), "{}", told.out);
    assert!(told.out.contains("hint: is the disk full"), "{}", told.out);
    assert!(told.err.contains("does not do its work"), "{}", told.err);
}

#[test]
fn an_answer_of_another_program_is_not_taken_for_silence() {
    let house = House::new();
    let another = "is not this program";
    for (status, body, says) in [
        ("200 OK", "<html>", another),
        ("404 Not Found", "{}", another),
        ("401 Unauthorized", "{}", another),
        ("403 Forbidden", "", "hint: `gwa serve --http-host name`"),
        ("503 Service Unavailable", "busy", "hint: ask again"),
    ] {
        let url = answers_once(status, body.to_owned());
        let told = house.run(&["health", "--url", &url]).expect(1).err;
        assert!(told.to_lowercase().contains(says), "{told}");
        assert!(!told.contains("does not answer"), "{told}");
        assert!(
            status == "200 OK" || told.contains(&format!("HTTP {status}")),
            "{told}"
        );
    }
    house.run(&["health", "--url", "no url"]).expect(2);
}

#[test]
fn a_password_in_the_url_is_sent_and_not_told() {
    let house = House::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let url = format!("http://me:hunter2@{address}");
    let asked = std::thread::scope(|scope| {
        let asked = scope.spawn(|| answer_once(&listener, "404 Not Found", ""));
        let told = house.run(&["health", "--url", &url]).expect(1).err;
        assert!(!told.contains("hunter2"), "{told}");
        assert!(told.contains(&format!("http://{address}")), "{told}");
        asked.join().expect("it was asked")
    });
    assert!(
        asked.to_lowercase().contains("authorization: basic "),
        "{asked}"
    );
    drop(listener);
    let told = house.run(&["health", "--url", &url]).expect(1).err;
    assert!(told.contains("does not answer"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

/// A house whose archive has a head over one envelope.
fn sealed() -> House {
    let house = House::new();
    let archive = Archive::init(&house.path("data"), "").expect("an archive");
    archive
        .append(&[envelope(1, 5_000, 100)])
        .expect("it is stored");
    seal_due(&archive, UnixSeconds(10_000)).expect("it is sealed");
    house
}

/// How one thing is once that is as it `should` be.
fn health_of(house: &House, of: &str, should: impl Fn(&Value) -> bool) -> Value {
    /// Some ten seconds of starts of a program.
    const TRIES: usize = 500;
    let mut last = Value::Null;
    for _ in 0..TRIES {
        let told = house.run(&["--json", "health"]).expect(0).object();
        let checks = told["checks"].as_array().expect("a list");
        let check = checks.iter().find(|check| check["of"] == of);
        match check {
            Some(check) if should(check) => return told["checks"].clone(),
            _ => last = told,
        }
    }
    panic!("{of} is never as it should be: {last}");
}

#[test]
fn an_archive_that_lives_by_following_is_not_told_as_deaf() {
    let theirs = sealed();
    let leader = theirs.serve(|_| {});
    let house = House::new();
    let daemon = house.serve(|serve| {
        serve.args(["--follow", leader.url()]);
    });
    let is_well = |check: &Value| check["state"] == "well";
    let checks = health_of(&house, "envelopes", is_well);
    let states = checks.as_array().expect("a list").iter();
    let states: Vec<_> = states
        .map(|check| (&check["of"], &check["state"]))
        .collect();
    for of in ["archive", "following", "envelopes", "peers", "head"] {
        assert!(
            states.contains(&(&of.into(), &"well".into())),
            "{of}: {checks}"
        );
    }
    assert_eq!((daemon.end(), leader.end()), (0, 0));
}

#[test]
fn a_mirror_whose_leader_is_away_says_so_and_since_when() {
    let theirs = sealed();
    let leader = theirs.serve(|_| {});
    let house = House::new();
    house.run(&["mirror", leader.url()]).expect(0);
    assert_eq!(leader.end(), 0);
    let daemon = house.serve(|_| {});
    let checks = health_of(&house, "following", |check| {
        let says = check["says"].as_str().expect("words");
        check["state"] == "note" && says.starts_with("not since the start")
    });
    assert_eq!(checks[0]["of"], "archive");
    assert_eq!(daemon.end(), 0);
}
