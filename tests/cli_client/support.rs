//! `gwa support-bundle`: all that helps, and nothing secret.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use gwa::time::UnixSeconds;
use gwa::whisper::Topic;
use serde_json::Value;

use crate::house::{House, envelope};

/// What no bundle may hold, wherever it stood.
const PLANTED: [&str; 5] = [
    "hunter2-mail",
    "hunter2-store",
    "hunter2-environment",
    "hunter2-name",
    "hunter2-swarm",
];

/// The texts of a bundle, by their names.
fn unpacked(house: &House, file: &str) -> BTreeMap<String, String> {
    let packed = std::fs::File::open(house.path(file)).expect("a bundle");
    let mut archive = tar::Archive::new(GzDecoder::new(packed));
    let mut texts = BTreeMap::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").into_owned();
        let name = path.file_name().expect("a name").to_str().expect("UTF-8");
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("UTF-8");
        texts.insert(name.to_owned(), text);
    }
    texts
}

/// An archive with something in it, and secrets in every place that takes one.
fn planted(house: &House) {
    let at = UnixSeconds(1_563_148_800);
    let topic = Topic([1, 2, 3, 4]);
    let some: Vec<_> = (0..20)
        .map(|n| envelope(topic, at.saturating_add(n), n))
        .collect();
    house.archive("data", &some);
    house.run("data", &["seal"]).expect(0);
    // A key of a name, as `gwa publish` makes it.
    house.run("data", &["publish"]);
    assert!(house.exists("data/ipns/archive.key"));
    let names = PathBuf::from(house.path("data/ipns"));
    std::fs::create_dir_all(&names).expect("a folder");
    std::fs::write(names.join("other.key"), "hunter2-name").expect("a file");
    std::fs::write(house.path("data/swarm.key"), "hunter2-swarm").expect("a file");
    let settings = "password = \"hunter2-mail\"\n\
        store-auth = \"basic:me:hunter2-store\"\n\
        follow = [\"http://127.0.0.1:1/hunter2-mail\", \"http://127.0.0.1:1/hunter2-swarm\"]\n\
        follow-every = \"1s\"\n";
    std::fs::write(house.path("data/gwa.toml"), settings).expect("a file");
}

/// Keys and tokens of the data folder, as text and as hex.
fn keys(house: &House) -> Vec<String> {
    let mut secrets = Vec::new();
    for name in [
        "archive.key",
        "node.key",
        "rpc.token",
        "p2p.key",
        "swarm.key",
        "ipns/archive.key",
    ] {
        if let Ok(bytes) = std::fs::read(house.path(&format!("data/{name}"))) {
            secrets.push(hex::encode(&bytes));
            secrets.extend(String::from_utf8(bytes).map(|text| text.trim().to_owned()));
        }
    }
    secrets
}

fn has_no_secret(texts: &BTreeMap<String, String>, house: &House) {
    let keys = keys(house);
    assert!(keys.len() >= 2);
    for (name, text) in texts {
        for secret in keys.iter().map(String::as_str).chain(PLANTED) {
            assert!(!text.contains(secret), "{name} holds {secret}:\n{text}");
        }
    }
}

fn bundled(house: &House, file: &str) -> BTreeMap<String, String> {
    let path = house.path(file);
    let output = house
        .gwa("data", &["support-bundle", "-o", &path])
        .env("GWA_PASSWORD", "hunter2-environment")
        .output()
        .expect("gwa runs");
    let ended = crate::house::Ended::from(output).expect(0);
    assert_eq!(ended.out.trim(), path);
    let ended = ended.says("look before you send it").says("archive.json");
    assert!(!ended.err.contains("hunter2"));
    unpacked(house, file)
}

fn json(texts: &BTreeMap<String, String>, name: &str) -> Value {
    serde_json::from_str(&texts[name]).expect("JSON")
}

#[test]
fn a_bundle_of_a_running_daemon_tells_what_it_is_asked_for_and_no_secret() {
    let house = House::new();
    planted(&house);
    let server = house.serve("data", &["--p2p", "/ip4/127.0.0.1/tcp/0"]);
    // Whom it follows is not there; the daemon warns of that with the URL, in which
    // somebody put a secret.
    let mut warned = String::new();
    for _ in 0..600 {
        let told = diagnostics_of(&house);
        if told.contains("not followed") {
            warned = told;
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(warned.contains("not followed"), "it never warned");
    assert!(warned.contains("hunter2-mail"), "{warned}");

    let texts = bundled(&house, "with.tar.gz");
    has_no_secret(&texts, &house);
    let head = house.run("data", &["head"]).expect(0).out;
    assert_eq!(json(&texts, "archive.json")["head"]["cid"], head.trim());
    assert_eq!(json(&texts, "health.json")["ok"], true);
    let diagnostics = json(&texts, "diagnostics.json");
    let warnings = diagnostics["warnings"].to_string();
    assert!(warnings.contains("not followed"));
    // Names of the program's own rooms look like IPv6 addresses, and are none.
    assert!(warnings.contains("gwa::node::follow"), "{warnings}");
    assert!(texts["metrics.txt"].contains("\ngwa_head_seq 1\n"));
    assert!(json(&texts, "peers.json")["peers"].is_array());
    for name in ["status.json", "stats.json", "verify.json", "system.json"] {
        assert!(json(&texts, name).get("error").is_none(), "{name}");
    }
    assert!(texts["README.txt"].contains("metrics.txt"));
    drop(server);
}

/// What the daemon says of itself now.
fn diagnostics_of(house: &House) -> String {
    let run = std::fs::read(house.path("data/run.json")).expect("it runs");
    let run: Value = serde_json::from_slice(&run).expect("JSON");
    let url = format!(
        "{}/api/v1/diagnostics",
        run["http"].as_str().expect("a URL")
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let client = gwa::tls::http_client().build().expect("a client");
        let answer = client.get(url).send().await.expect("an answer");
        answer.text().await.expect("a text")
    })
}

#[test]
fn a_bundle_needs_no_daemon_and_no_archive() {
    let house = House::new();
    let texts = bundled(&house, "empty.tar.gz");
    assert!(texts["archive.json"].contains("error"));
    assert!(texts["files.json"].contains("error"));
    assert!(texts["daemon.json"].contains("no daemon runs"));

    planted(&house);
    let texts = bundled(&house, "without.tar.gz");
    has_no_secret(&texts, &house);
    let archive = json(&texts, "archive.json");
    assert_eq!(archive["head"]["count"], 20);
    let looks = archive["looked_at"].as_array().expect("a list");
    assert!(looks.len() >= 3 && looks.iter().all(|look| look["ok"] == true));
    let files = json(&texts, "files.json");
    assert_eq!(files["files"]["archive.key"]["mode"], "600");
    assert!(files["totals"]["blocks"]["bytes"].as_u64() > Some(1_000));
    let settings = json(&texts, "settings.json").to_string();
    let followed = "http://127.0.0.1:1/(cut)/, http://127.0.0.1:1/(cut)/";
    assert!(settings.contains(followed), "{settings}");

    // What is damaged is told, and nothing fails by it.
    std::fs::remove_dir_all(house.path("data/blocks")).expect("a folder");
    std::fs::write(house.path("data/gwa.toml"), "password = hunter2-mail").expect("a file");
    let texts = bundled(&house, "damaged.tar.gz");
    let archive = json(&texts, "archive.json").to_string();
    assert!(archive.contains("\"ok\":false") || archive.contains("error"));
    assert!(!texts["settings.json"].contains("hunter2"));
}

#[test]
fn a_file_that_is_there_is_left_alone_and_others_cannot_read_a_bundle() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new();
    let path = house.path("a.tar.gz");
    house
        .run("data", &["support-bundle", "-o", &path])
        .expect(0);
    let about = std::fs::metadata(&path).expect("a file");
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    let again = house.run("data", &["support-bundle", "-o", &path]);
    again.expect(1).says("cannot write").says("-o FILE");
    assert_eq!(std::fs::metadata(&path).expect("a file").len(), about.len());
}

#[test]
fn the_log_is_text_json_or_what_the_journal_reads() {
    let house = House::new();
    house.run("data", &["init"]).expect(0);
    // An index that does not open is worked without, with a word about it.
    let warned = |format: &str| {
        let index = house.path("data/index");
        let _ = std::fs::remove_dir_all(&index);
        std::fs::write(&index, "no index").expect("a file");
        let output = house
            .gwa("data", &["seal"])
            .env("GWA_LOG_FORMAT", format)
            .output()
            .expect("gwa runs");
        let err = String::from_utf8(output.stderr).expect("UTF-8");
        let _ = std::fs::remove_file(&index);
        let line = err.lines().find(|line| line.contains("index set aside"));
        line.unwrap_or_else(|| panic!("no warning in: {err}"))
            .to_owned()
    };
    let line = warned("json");
    let object: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(object["level"], "WARN");
    assert_eq!(
        object["message"],
        "index set aside, to be rebuilt from files"
    );
    assert!(object["broken"].is_string() && object["timestamp"].is_string());
    assert!(warned("journal").starts_with("<4>gwa::index: index set aside"));
    let line = warned("text");
    assert!(line.contains("WARN") && !line.contains('\u{1b}'), "{line}");
    // A pipe is no terminal, and no journal.
    assert_eq!(warned("auto").split_whitespace().nth(1), Some("WARN"));
    house
        .run("data", &["--log-format", "xml", "head"])
        .expect(2)
        .says("xml");
}
