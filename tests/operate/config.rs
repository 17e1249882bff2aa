//! `gwa config`, and daemons that run with what it shows.

use std::fs;

use serde_json::Value;

use crate::house::{Ended, House};

const STATUS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/fixtures/status-go/mailserver.json"
);

/// Key, value and origin of each setting of `gwa --json config show`.
fn of<'v>(settings: &'v [Value], key: &str) -> (&'v str, &'v str) {
    let found = settings.iter().find(|setting| setting["key"] == key);
    let setting = found.unwrap_or_else(|| panic!("{key} in {settings:?}"));
    let text = |field: &str| setting[field].as_str().expect("a text");
    (text("value"), text("from"))
}

fn lines(ended: &Ended) -> Vec<Value> {
    let lines = ended.out.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect()
}

#[test]
fn every_setting_is_shown_with_who_set_it_and_no_secret() {
    let house = House::new();
    house.file(
        "data/gwa.toml",
        "seal-every = \"2m\"\nmin-pow = 0.5\npassword = \"hunter2\"\n[limits]\nmax-peers = 7\n",
    );
    let shown = house
        .gwa(&["--json", "config", "show", "--min-pow", "0.25"])
        .env("GWA_HTTP", "off")
        .env("GWA_MIN_POW", "0.125")
        .env("GWA_STORE_AUTH", "bearer:hunter2")
        // As files of services leave what nobody filled in.
        .env("GWA_NAT", "")
        .env("GWA_LISTEN", "")
        .output()
        .expect("gwa runs");
    let shown = Ended::from(shown).expect(0);
    assert!(!shown.out.contains("hunter2"), "{}", shown.out);
    let settings = lines(&shown);
    assert_eq!(of(&settings, "min-pow"), ("0.25", "flag"));
    assert_eq!(of(&settings, "http"), ("", "env"));
    assert_eq!(of(&settings, "store-auth"), ("(set)", "env"));
    assert_eq!(of(&settings, "seal-every"), ("120s", "file"));
    assert_eq!(of(&settings, "password"), ("(set)", "file"));
    assert_eq!(of(&settings, "listen"), ("127.0.0.1:30303", "default"));
    assert_eq!(of(&settings, "nat"), ("none", "default"));
    assert_eq!(of(&settings, "limits.max-peers"), ("7", "file"));
    assert_eq!(of(&settings, "limits.requests-per-second").1, "default");
    let table = house.run(&["config", "show"]).expect(0).out;
    assert!(
        table.contains("seal-every                       file      120s\n"),
        "{table}"
    );
}

#[test]
fn what_the_daemon_refuses_the_check_tells_before_it_is_started() {
    let house = House::new();
    for (key, text) in [
        ("follow", "follow = [\"nonsense here\"]"),
        (
            "store-auth",
            "store = \"kubo:http://127.0.0.1:1\"\nstore-auth = \"hunter2\"",
        ),
        ("rpc-open", "rpc-open = true\nhttp = \"0.0.0.0:0\""),
        ("http-hosts", "http-hosts = [\"bad host/\"]"),
        ("http-origins", "http-origins = [\"not an origin\"]"),
    ] {
        house.file("data/gwa.toml", &format!("{text}\n"));
        let told = house.run(&["config", "check"]).expect(2);
        assert!(told.out.contains(&format!("`{key}`: ")), "{}", told.out);
        let refused = house.run(&["serve", "--listen", "127.0.0.1:0"]).expect(2);
        assert!(
            refused.err.contains(&format!("`{key}`: ")),
            "{}",
            refused.err
        );
        assert!(
            !house.path("data/archive.key").exists(),
            "nothing was begun"
        );
        for said in [told.out, told.err, refused.err] {
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
    // What the file says may be right beside what a flag says, and the reverse.
    house.file("data/gwa.toml", "rpc-open = true\n");
    house.run(&["config", "check"]).expect(0);
    let args = ["serve", "--listen", "127.0.0.1:0", "--http", "0.0.0.0:0"];
    house.run(&args).expect(2);
    for (flag, value) in [
        ("--http-host", "bad host/"),
        ("--http-origin", "not an origin"),
    ] {
        let refused = house.run(&["serve", flag, value]).expect(2);
        assert!(refused.err.contains(flag), "{}", refused.err);
    }
}

#[test]
fn no_password_in_a_url_is_told_whichever_setting_it_stands_in() {
    const URL: &str = "http://me:hunter2@127.0.0.1:1";
    let house = House::new();
    for (flag, variable, value) in [
        ("--store", "GWA_STORE", format!("kubo:{URL}")),
        ("--publish-to", "GWA_PUBLISH_TO", format!("kubo:{URL}")),
        ("--publish-to", "GWA_PUBLISH_TO", URL.to_owned()),
        ("--follow", "GWA_FOLLOW", URL.to_owned()),
        ("--follow", "GWA_FOLLOW", format!("swarm:{URL}")),
    ] {
        let typed = house.run(&["serve", flag, &value]).expect(2);
        let said = house.gwa(&["serve"]).env(variable, &value).output();
        let said = Ended::from(said.expect("gwa runs")).expect(2);
        for told in [typed, said] {
            assert!(!told.err.contains("hunter2"), "{flag}: {}", told.err);
            assert!(told.err.contains("127.0.0.1"), "{flag}: {}", told.err);
        }
        let help = house
            .gwa(&["serve", "--help"])
            .env(variable, &value)
            .output();
        let help = Ended::from(help.expect("gwa runs")).expect(0);
        assert!(!help.out.contains("hunter2"), "{flag}: {}", help.out);
    }
    for key in ["follow", "publish-to", "sources"] {
        let value = format!("ftp://{}", &URL["http://".len()..]);
        house.file("data/gwa.toml", &format!("{key} = [\"{value}\"]\n"));
        let told = house.run(&["serve", "--listen", "127.0.0.1:0", "--http", "off"]);
        assert!(!told.expect(2).err.contains("hunter2"), "{key}");
    }
    std::fs::remove_file(house.path("data/gwa.toml")).expect("it is there");
    let help = house
        .gwa(&["serve", "--help"])
        .env("GWA_PUBLIC_URLS", URL)
        .output();
    assert!(
        !Ended::from(help.expect("gwa runs"))
            .expect(0)
            .out
            .contains("hunter2")
    );
}

#[test]
fn all_that_is_wrong_with_a_file_is_told_with_its_place() {
    let house = House::new();
    let file = house.file(
        "data/gwa.toml",
        "lisen = \"0.0.0.0:1\"\nnat = \"stun\"\n\n[limits]\nmax-peer = 3\n",
    );
    let told = house.run(&["config", "check"]).expect(2);
    for problem in [
        format!("{file}:1:1: `lisen`: there is no such key (is `listen` meant?)\n"),
        format!("{file}:2:7: `nat`: `stun` is no way through a router"),
        format!("{file}:5:1: `limits.max-peer`: there is no such key (is `max-peers` meant?)\n"),
    ] {
        assert!(told.out.contains(&problem), "{problem}\n{}", told.out);
    }
    assert!(told.err.contains("has 3 problems"), "{}", told.err);
    let refused = house.run(&["serve", "--listen", "127.0.0.1:0"]).expect(2);
    assert!(
        refused.err.contains("is `listen` meant?"),
        "{}",
        refused.err
    );
    let object = house.run(&["--json", "config", "check"]).expect(2);
    let first = &lines(&object)[0];
    assert_eq!((&first["line"], &first["column"]), (&1.into(), &1.into()));
    assert_eq!(first["level"], "error");
}

#[test]
fn the_file_to_begin_with_is_right_as_it_is() {
    let house = House::new();
    let none = house.run(&["config", "check"]).expect(2);
    assert!(none.err.contains("`gwa config default`"), "{}", none.err);
    let text = house.run(&["config", "default"]).expect(0).out;
    house.file("data/gwa.toml", &text);
    house.run(&["config", "check"]).expect(0);
}

#[test]
fn a_mailserver_of_status_go_is_moved_with_its_settings_and_its_identity() {
    let house = House::new();
    let told = house.run(&["--json", "config", "check", STATUS]).expect(0);
    let told = lines(&told);
    let level = |field: &str| {
        let found = told.iter().find(|line| line["key"] == field);
        found.map(|line| line["level"].clone())
    };
    assert_eq!(level("ListenAddr"), Some("taken".into()));
    assert_eq!(level("NodeKey"), Some("taken".into()));
    assert_eq!(level("WhisperConfig.DataDir"), Some("note".into()));

    let args = ["--json", "config", "show", "--status-config", STATUS];
    let settings = lines(&house.run(&args).expect(0));
    assert_eq!(of(&settings, "listen"), ("0.0.0.0:30303", "status"));
    assert_eq!(of(&settings, "retention"), ("2592000s", "status"));
    assert_eq!(of(&settings, "limits.max-peers"), ("50", "status"));

    // What the own file says of one limit leaves the others to status-go's.
    house.file("data/gwa.toml", "[limits]\nmax-peers = 7\n");
    let both = lines(&house.run(&args).expect(0));
    assert_eq!(of(&both, "limits.max-peers"), ("7", "file"));
    assert_eq!(of(&both, "limits.packets-per-second"), ("200", "status"));
    let silent = of(&both, "limits.envelopes-per-second");
    assert_eq!(silent, ("10000", "default"));

    let told = house.run(&["config", "from-status", STATUS]).expect(0);
    assert!(told.err.contains("`NodeKey`"), "{}", told.err);
    assert!(!told.out.contains(&"11".repeat(32)), "{}", told.out);
    let toml = told.out;
    house.file("data/gwa.toml", &toml);
    house.run(&["config", "check"]).expect(0);
    let same = lines(&house.run(&["--json", "config", "show"]).expect(0));
    for (one, other) in settings.iter().zip(&same) {
        assert_eq!(one["value"], other["value"], "{one}");
    }
    fs::remove_file(house.path("data/gwa.toml")).expect("it is there");

    let daemon = house.serve(|command| {
        command.args(["--status-config", STATUS, "--peer"]);
        // Nobody is there; the file's own peer is not dialled from a test.
        command.arg(format!("enode://{PEER}@127.0.0.1:9"));
    });
    let enode = daemon.told["enode"].as_str().expect("an enode");
    assert!(
        enode.starts_with(&format!("enode://{ELEVEN}@203.0.113.9:")),
        "{enode}"
    );
    assert_eq!(daemon.end(), 0);
    let kept = fs::read_to_string(house.path("data/node.key")).expect("a key");
    assert_eq!(kept, "11".repeat(32));
    // A folder that has an identity of its own keeps it.
    house.file("data/node.key", &"22".repeat(32));
    let args = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "off",
        "--status-config",
        STATUS,
    ];
    let refused = house.run(&args).expect(12);
    assert!(refused.err.contains("another key"), "{}", refused.err);
}

/// The public key of the secret of 32 bytes 0x11.
const ELEVEN: &str = "4f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa385b6b1b8ead809ca67454d9683fcf2ba03456d6fe2c4abe2b07f0fbdbb2f1c1";

/// Somebody.
pub const PEER: &str = "4d4b6cd1361032ca9bd2aeb9d900aa4d45d9ead80ac9423374c451a7254d07662a3eada2d0fe208b6d257ceb0f064284662e857f57b66b54c198bd310ded36d0";

#[test]
fn what_status_go_does_not_know_either_is_a_warning_and_what_cannot_be_an_error() {
    let house = House::new();
    let warned = house.file("odd.json", r#"{"LisenAddr": ":1"}"#);
    let told = house.run(&["config", "check", &warned]).expect(0);
    assert!(
        told.out.contains("is `ListenAddr` meant? [warning]"),
        "{}",
        told.out
    );
    let told = house.run(&["config", "from-status", &warned]).expect(0);
    assert!(told.err.contains("is `ListenAddr` meant?"), "{}", told.err);
    let wrong = house.file(
        "wrong.json",
        r#"{"ListenAddr": "here", "MaxPeers": "many"}"#,
    );
    let told = house.run(&["config", "check", &wrong]).expect(2);
    assert!(told.err.contains("has 2 problems"), "{}", told.err);
    let broken = house.file("broken.json", "{\n  \"a\": }");
    let told = house.run(&["config", "check", &broken]).expect(2);
    assert!(told.out.contains("broken.json:2:"), "{}", told.out);
    house.run(&["serve", "--status-config", &wrong]).expect(2);
}
