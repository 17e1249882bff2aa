//! `gwa serve --follow`: what others have comes here while it runs.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gwa::whisper::Topic;
use serde_json::Value;

use crate::house::{House, envelope, now};
use crate::started::started;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what} took too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn address(house: &House, data: &str) -> String {
    let run = std::fs::read(house.path(&format!("{data}/run.json"))).expect("it runs");
    let run: Value = serde_json::from_slice(&run).expect("JSON");
    run["http"].as_str().expect("an address").to_owned()
}

#[test]
fn what_gwa_toml_follows_is_united_and_the_daemon_ends_in_peace() {
    let house = House::new();
    let start = now().saturating_sub(7_200);
    let envelopes: Vec<_> = (0..20)
        .map(|n| envelope(Topic([7; 4]), start.saturating_add(n), n))
        .collect();
    house.archive("a", &envelopes);
    house.run("a", &["seal"]).expect(0);
    let _leader = house.serve("a", &[]);
    house.run("b", &["init"]).expect(0);
    let settings = format!(
        "follow = [\"{}\"]\nfollow-every = \"1s\"\n",
        address(&house, "a")
    );
    std::fs::write(house.path("b/gwa.toml"), settings).expect("a file");

    let log = house.path("log");
    let args = [
        "--json",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "off",
    ];
    let mut follower = house
        .gwa("b", &args)
        .stdout(Stdio::piped())
        .stderr(File::create(&log).expect("a file"))
        .spawn()
        .expect("gwa runs");
    started(&mut follower);
    until("following", || {
        let head = house.run("b", &["--json", "head"]);
        head.code == 0 && head.objects()[0]["count"] == 20
    });
    let told = Command::new("sh")
        .args(["-c", &format!("kill -TERM {}", follower.id())])
        .status();
    assert!(told.expect("a shell").success());
    assert!(follower.wait().expect("it ends").success());
    let log = std::fs::read_to_string(log).expect("a log");
    assert!(!log.contains("BUG") && !log.contains("panicked"), "{log}");
}

#[test]
fn what_is_no_ref_is_not_followed() {
    let house = House::new();
    house.run("a", &["init"]).expect(0);
    std::fs::write(house.path("a/gwa.toml"), "follow = [\"ftp://a\"]").expect("a file");
    house.run("a", &["serve"]).expect(2).says("ftp://a");
}
