//! `gwa canary`.

use serde_json::Value;

use crate::bad::{BadServer, Manner};
use crate::house::{Ended, House, now};

/// What the steps of a run came to.
fn steps(ended: &Ended) -> Vec<(String, String)> {
    let objects = ended.objects();
    let steps = objects.iter().filter(|object| object.get("step").is_some());
    let text = |object: &Value, field: &str| object[field].as_str().expect("text").to_owned();
    steps
        .map(|object| (text(object, "step"), text(object, "result")))
        .collect()
}

fn went(ended: &Ended, step: &str) -> String {
    let steps = steps(ended);
    let found = steps.iter().find(|(name, _)| name == step);
    found.map_or("untried", |(_, result)| result).to_owned()
}

#[test]
fn a_message_comes_back_from_the_server_and_later_from_the_head() {
    let house = House::new();
    let server = house.serve("a", &[]);
    let args = ["--json", "canary", &server.enode];
    let first = house.run("a", &args).expect(0);
    for step in ["connect", "history", "post", "mailserver"] {
        assert_eq!(went(&first, step), "ok", "{step}: {}", first.out);
    }
    assert_eq!(went(&first, "head"), "skipped");
    let verdict = first.objects().pop().expect("a verdict");
    assert_eq!(verdict["canary"], "ok");
    assert!(verdict["age"].as_u64().expect("an age") < 60);
    drop(server);

    // A seal covers it; the next run finds it.
    let until = (now().0 + 600).to_string();
    // A head is signed later than what it has to show was taken.
    let taken = now();
    while now() <= taken {
        std::thread::yield_now();
    }
    house.run("a", &["seal", "--until", &until]).expect(0);
    let server = house.serve("a", &[]);
    let args = ["--json", "canary", &server.enode];
    let second = house.run("a", &args).expect(0);
    assert_eq!(went(&second, "head"), "ok", "{}", second.out);

    // One that a head should show and does not is missed.
    let path = house.path("a/canary.json");
    let memory = std::fs::read_to_string(&path).expect("a memory");
    let mut memory: Value = serde_json::from_str(&memory).expect("JSON");
    let of = memory.as_object_mut().expect("servers");
    let of = of.values_mut().next().expect("a server");
    of["pending"] = serde_json::json!([{
        "hash": format!("0x{}", "7".repeat(64)),
        "sent": now().0 - 400,
        "taken": now().0 - 400,
    }]);
    std::fs::write(&path, memory.to_string()).expect("written");
    let third = house.run("a", &args).expect(21);
    assert_eq!(went(&third, "head"), "failed");
    assert_eq!(went(&third, "mailserver"), "ok");
}

#[test]
fn the_last_success_is_remembered_over_failures() {
    let house = House::new();
    let server = house.serve("a", &[]);
    let enode = server.enode.clone();
    let run = |args: &[&str]| {
        let args = [&["--json", "canary", &enode, "--timeout", "20s"], args].concat();
        house.run("watch", &args)
    };
    let success = run(&[]).expect(0).objects().pop().expect("a verdict");
    assert!(house.exists("watch/canary.json"));
    let wrong = run(&["--password", "wrong"]).expect(12);
    assert_eq!(went(&wrong, "history"), "failed");
    drop(server);
    for failures in [2, 3] {
        let gone = run(&[]).expect(1);
        assert_eq!(went(&gone, "connect"), "failed");
        assert_eq!(went(&gone, "post"), "untried");
        let verdict = gone.objects().pop().expect("a verdict");
        assert_eq!(verdict["failures"], failures);
        assert_eq!(verdict["last_success"], success["last_success"]);
    }
    let lines = house.run("watch", &["canary", &enode]).expect(1);
    assert!(lines.out.contains("last success 20"), "{}", lines.out);
}

#[test]
fn a_server_that_forgets_is_found_out() {
    let house = House::new();
    let server = BadServer::start(Manner::Forgets);
    let args = ["--json", "canary", &server.enode, "--timeout", "3s"];
    let ended = house.run("watch", &args).expect(21);
    assert_eq!(went(&ended, "post"), "ok");
    assert_eq!(went(&ended, "mailserver"), "failed");
}

#[test]
fn a_canary_sings_again_and_again() {
    let house = House::new();
    let server = house.serve("a", &[]);
    let args = [
        "--json",
        "canary",
        &server.enode,
        "--every",
        "1s",
        "--runs",
        "2",
    ];
    let ended = house.run("watch", &args).expect(0);
    let verdicts = ended.objects();
    let verdicts = verdicts
        .iter()
        .filter(|object| object.get("canary").is_some());
    assert_eq!(verdicts.count(), 2);
}
