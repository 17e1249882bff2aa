//! `gwa health` beside daemons that work, that do not, and that are not there.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::json;

use crate::house::House;

/// A server that answers once, with `status` and `body`.
fn answers_once(status: &'static str, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a request");
            asked.push(byte[0]);
        }
        assert!(asked.starts_with(b"GET /health "), "{asked:?}");
        let len = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).expect("it listens");
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
    assert!(told.err.contains("does not answer"), "{}", told.err);
    assert!(told.err.contains("still run?"), "{}", told.err);
}

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
fn whoever_is_no_gwa_is_not_healthy() {
    let house = House::new();
    for (status, body) in [
        ("200 OK", "<html>".to_owned()),
        ("404 Not Found", "{}".to_owned()),
        ("503 Service Unavailable", "busy".to_owned()),
    ] {
        let url = answers_once(status, body);
        let told = house.run(&["health", "--url", &url]).expect(1);
        assert!(told.err.contains("does not answer"), "{}", told.err);
    }
    house.run(&["health", "--url", "no url"]).expect(2);
}
