//! Shared lines, and archives that are to be had in several places, as the command
//! line follows them.

use std::path::Path;
use std::process::Output;

use gwa::archive::head::Head;
use gwa::blocks::Cid;
use serde_json::Value;
use tempfile::TempDir;

use super::house::House;
use super::rewrites::{gwa, head, head_by, shows, told};
use super::server::Server;

/// A line that names a head, a key, and where both are to be had.
fn line(named: &Head, key: &Head, from: &[&Server]) -> String {
    let hints: String = from
        .iter()
        .map(|server| format!("&from={}", server.url))
        .collect();
    format!("gwa://{}?key={}{hints}", named.cid(), key.key())
}

/// Runs a command that may ask these servers, though they are on this machine.
fn run(dir: &TempDir, args: &[&str], named: &[&Server]) -> Output {
    let mut all = args.to_vec();
    for server in named {
        all.extend(["--source", &server.url]);
    }
    gwa(dir.path(), &all)
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", told(output));
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
}

fn origin(dir: &Path) -> Value {
    let text = std::fs::read(dir.join("data/origin.json")).expect("it came from somewhere");
    serde_json::from_slice(&text).expect("JSON")
}

fn shown(house: &House, head: &Head) -> Server {
    shows(house, std::slice::from_ref(head)).0
}

fn text(cid: &Cid) -> Value {
    Value::from(cid.to_string())
}

#[test]
fn a_line_with_the_head_of_another_key_is_refused() {
    let house = House::new(21, 60);
    let (theirs, friend) = (head_by(9, &house.head, 9, ""), head(&house.head, 9, ""));
    let server = shown(&house, &theirs);
    let dir = tempfile::tempdir().unwrap();
    let line = line(&theirs, &friend, &[&server]);
    for command in ["mirror", "fork", "query", "show", "verify"] {
        let refused = run(&dir, &[command, &line], &[&server]);
        assert_eq!(refused.status.code(), Some(20), "{}", told(&refused));
        let words = told(&refused);
        assert!(words.contains("the shared line names key"), "{words}");
    }
    assert!(!dir.path().join("data/origin.json").exists());
}

#[test]
fn no_head_before_the_one_that_a_line_names_is_followed() {
    let house = House::new(22, 60);
    let [old, named] = [7, 9].map(|number| head(&house.head, number, ""));
    let rival = head(&house.head, 9, "rival");
    let (server, current) = shows(&house, &[old, named.clone(), rival.clone()]);
    let line = line(&named, &named, &[&server]);
    for (command, of) in [("mirror", "head"), ("fork", "from")] {
        let dir = tempfile::tempdir().unwrap();
        let taken = run(&dir, &["--json", command, &line], &[&server]);
        assert!(told(&taken).contains("is behind"), "{}", told(&taken));
        assert_eq!(json(&taken)[of], text(named.cid()));
    }
    *current.lock().unwrap() = *rival.cid();
    let dir = tempfile::tempdir().unwrap();
    let refused = run(&dir, &["mirror", &line], &[&server]);
    assert_eq!(refused.status.code(), Some(20), "{}", told(&refused));
    assert!(told(&refused).contains("signed two heads"));
}

#[test]
fn the_newest_head_that_any_address_tells_is_followed() {
    let house = House::new(23, 60);
    let [old, named, new] = [5, 7, 9].map(|number| head(&house.head, number, ""));
    let stranger = head_by(9, &house.head, 11, "");
    let (lags, other) = (shown(&house, &old), shown(&house, &stranger));
    let (knows, _) = shows(&house, &[new.clone(), named.clone()]);
    let line = line(&named, &named, &[&other, &lags, &knows]);
    let dir = tempfile::tempdir().unwrap();
    // Twice: what was seen since is no reason to stop at an address that lags.
    for route in ["copied", "here"] {
        let all = [&other, &lags, &knows];
        let mirrored = json(&run(&dir, &["--json", "mirror", &line], &all));
        assert_eq!(mirrored["head"], text(new.cid()));
        assert_eq!(mirrored["route"], route);
    }
    // With the line's own head out of reach nothing can be said of its key.
    drop(knows);
    let fair = shown(&house, &named);
    let rest = [&other, &lags, &fair];
    let still = run(&dir, &["--json", "mirror", &line], &rest);
    assert_eq!(json(&still)["route"], "here");
}

#[test]
fn a_mirror_goes_on_from_any_place_it_knows() {
    let house = House::new(24, 60);
    let [old, new] = [7, 9].map(|number| head(&house.head, number, ""));
    let (first, second) = (shown(&house, &new), shown(&house, &new));
    let dir = tempfile::tempdir().unwrap();
    let made = run(&dir, &["mirror", &first.url], &[&second]);
    assert!(made.status.success(), "{}", told(&made));
    let places = [first.url.clone(), second.url.clone()];
    assert_eq!(origin(dir.path())["sources"], serde_json::json!(places));
    drop(first);
    let again = run(&dir, &["--json", "mirror"], &[]);
    assert_eq!(json(&again)["head"], text(new.cid()));
    assert_eq!(origin(dir.path())["sources"], serde_json::json!(places));
    // A third is added, which lags.
    let third = shown(&house, &old);
    let again = run(&dir, &["--json", "mirror"], &[&third]);
    assert_eq!(json(&again)["route"], "here");
}

#[test]
fn an_address_of_a_line_that_is_not_public_is_not_asked_unless_the_user_names_it() {
    let house = House::new(25, 60);
    let named = head(&house.head, 9, "");
    let (hinted, fair) = (shown(&house, &named), shown(&house, &named));
    let line = line(&named, &named, &[&hinted]);
    let dir = tempfile::tempdir().unwrap();
    for command in ["mirror", "query", "fork"] {
        let refused = run(&dir, &[command, &line], &[]);
        assert_ne!(refused.status.code(), Some(0));
        let words = told(&refused);
        let way = format!("`--source {}`", hinted.url);
        assert!(words.contains(&way), "{words}");
    }
    let mirrored = run(&dir, &["--json", "mirror", &line], &[&fair]);
    assert_eq!(json(&mirrored)["head"], text(named.cid()));
    // Nor is it asked later, by what is kept of the line.
    let sources = serde_json::json!([format!("public:{}", hinted.url), fair.url]);
    assert_eq!(origin(dir.path())["sources"], sources);
    let again = run(&dir, &["--json", "mirror"], &[]);
    assert_eq!(json(&again)["route"], "here");
    assert_eq!(hinted.requests(), 0);
    let mirrored = run(&dir, &["--json", "mirror", &line], &[&hinted]);
    assert_eq!(json(&mirrored)["route"], "here");
    assert!(hinted.requests() > 0);
}
