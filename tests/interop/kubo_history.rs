//! The real corpus in Kubo, and nothing of `gwa` beside it: what a stranger gets out
//! of it with a stock node, and with `gwa` from that node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gwa::archive::disk::{Archive, sealed_by};
use gwa::archive::head::Head;
use gwa::archive::verify::{Sample, verify};
use gwa::archive::watermark::Watermark;
use gwa::blocks::car::CarFile;
use gwa::depot::testing;
use gwa::progress::Quiet;
use gwa::time::UnixSeconds;
use gwa::whisper::Envelope;
use serde_json::Value;

use crate::kubo::Kubo;
use crate::kubo_depot::depot;
use crate::scene::Scene;

/// After the last envelope of the corpus.
const END: UnixSeconds = UnixSeconds(1_538_438_400);

/// The real corpus, in order of arrival.
pub fn corpus() -> Vec<Envelope> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/corpus/envelopes.rlps");
    let mut bytes = bytes::Bytes::from(fs::read(path).unwrap());
    let mut envelopes = Vec::new();
    while !bytes.is_empty() {
        envelopes.push(Envelope::decode_first(&mut bytes).unwrap());
    }
    envelopes
}

/// A node that holds the corpus, whose archive is gone but for what it answered.
struct Left {
    kubo: Kubo,
    head: Head,
    /// Every envelope, as `gwa query` gave them when the archive was there.
    envelopes: Vec<u8>,
    folder: tempfile::TempDir,
}

fn left() -> Left {
    let kubo = Kubo::start();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("archive");
    let archive = Archive::init(&dir, "corpus").unwrap();
    for batch in corpus().chunks(777) {
        archive.append(batch).unwrap();
    }
    let until = Watermark::at_or_before(END);
    let sealed = archive.seal(until, END, &Quiet).unwrap();
    testing::carry(&depot(&kubo, "corpus"), &archive);
    drop(archive);
    let envelopes = asked(&dir, &[]);
    fs::remove_dir_all(&dir).unwrap();
    Left {
        kubo,
        head: sealed.head.unwrap(),
        envelopes,
        folder,
    }
}

fn gwa(data: &Path, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
    command.env("XDG_CACHE_HOME", data.join("cache"));
    let output = command.arg("--data").arg(data).args(args).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "gwa {args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every envelope that `gwa query` gives with these arguments.
fn asked(data: &Path, args: &[&str]) -> Vec<u8> {
    let file = data.with_extension("rlps");
    let all = ["query", "--count", "--rlp", file.to_str().unwrap()];
    gwa(data, &[&all, args].concat());
    fs::read(file).unwrap()
}

#[test]
fn a_daemon_brings_the_real_corpus_to_its_store_and_catches_up_after_it_was_away() {
    let mut kubo = Kubo::start();
    let store = format!("kubo:{}", kubo.api());
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/corpus/envelopes.rlps");
    let scene = Scene::new("password");
    scene.run(&["import", corpus.to_str().unwrap()]);
    scene.run(&["seal", "--until", &END.0.to_string()]);
    kubo.kill();
    let mut server = scene.serve(&["--store", &store]);
    server.process.wait_for("the store is away");
    kubo.restart();
    // It asks again after a second, and then less and less often.
    server.process.wait_for("the store is back");
    server.end();
    let head = scene.run(&["head"]);
    let envelopes = asked(&scene.data(), &[]);
    fs::remove_dir_all(scene.data()).unwrap();

    let pins = kubo.ipfs(&["pin", "ls", "--type=direct", "--names"]);
    let shown = format!("{head} direct gwa/");
    assert!(pins.contains(&shown), "{pins}");
    let pins = kubo.ipfs(&["pin", "ls", "--type=recursive", "--names"]);
    assert!(pins.contains("/days/2018/2018-09-15."), "{pins}");
    kubo.ipfs(&["dag", "get", &format!("/ipfs/{head}/state/2018/09/15")]);
    let data = scene.folder().join("stranger");
    let source = format!("kubo:{}", kubo.api());
    assert_eq!(asked(&data, &[&head, "--source", &source]), envelopes);
}

#[test]
fn with_gwa_gone_the_nodes_own_tools_give_the_history() {
    let left = left();
    let head = left.head.cid().to_string();
    let day = format!("/ipfs/{head}/state/2018/09/15");
    let day: Value = serde_json::from_str(&left.kubo.ipfs(&["dag", "get", &day])).unwrap();
    assert!(day.is_object() || day.is_array(), "{day}");
    left.kubo.ipfs(&["pin", "add", &head]);

    let car = left.folder.path().join("exported.car");
    fs::write(
        &car,
        left.kubo
            .ipfs_bytes(&["dag", "export", "--progress=false", &head]),
    )
    .unwrap();
    let exported = CarFile::open(&car).unwrap();
    assert_eq!(exported.roots(), [*left.head.cid()]);
    let sealed = sealed_by(&left.head);
    let verified = verify(
        &exported,
        &sealed,
        *left.head.cid(),
        Sample::EVERYTHING,
        &Quiet,
    );
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    let data = left.folder.path().join("nobody");
    assert_eq!(asked(&data, &[car.to_str().unwrap()]), left.envelopes);
}

#[test]
fn gwa_asks_mirrors_and_verifies_from_the_node_and_from_its_gateway() {
    let left = left();
    let head = left.head.cid().to_string();
    let (rpc, gateway) = (format!("kubo:{}", left.kubo.api()), left.kubo.gateway());
    for (name, source) in [("rpc", &rpc), ("gateway", &gateway)] {
        let data: PathBuf = left.folder.path().join(name);
        let args = [&head[..], "--source", source];
        assert_eq!(asked(&data, &args), left.envelopes, "{name}");
        let copy = left.folder.path().join(format!("{name}-copy"));
        gwa(&copy, &["mirror", &head, "--from", source]);
        assert_eq!(gwa(&copy, &["head"]).trim(), head);
        gwa(&copy, &["verify"]);
        assert_eq!(asked(&copy, &[]), left.envelopes, "{name}");
    }
}

#[test]
fn a_second_node_that_knows_the_first_alone_fetches_it_all() {
    let mut left = left();
    let head = left.head.cid().to_string();
    let second = Kubo::start();
    second.connect(&left.kubo.address());
    second.ipfs(&["pin", "add", "--name=copy", &head]);
    left.kubo.kill();
    let data = left.folder.path().join("from-second");
    let source = format!("kubo:{}", second.api());
    let envelopes = asked(&data, &[&head, "--source", &source]);
    assert_eq!(envelopes, left.envelopes);
}

#[test]
fn a_node_fetches_for_gwa_what_another_one_has_and_says_what_nobody_has() {
    let left = left();
    let head = left.head.cid().to_string();
    let second = Kubo::start();
    second.connect(&left.kubo.address());
    let data = left.folder.path().join("through-second");
    let source = format!("kubo:{}", second.api());
    let day = ["--from", "2018-09-15", "--to", "2018-09-16"];
    let through = |source: &str| asked(&data, &[&[&head, "--source", source], &day[..]].concat());
    assert_eq!(
        through(&source),
        through(&format!("kubo:{}", left.kubo.api()))
    );

    let alone = Kubo::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
    let nobody = left.folder.path().join("alone");
    command.env("XDG_CACHE_HOME", nobody.join("cache"));
    let source = format!("kubo:{}", alone.api());
    let args = ["query", &head, "--count", "--source", &source];
    let output = command
        .arg("--data")
        .arg(&nobody)
        .args(args)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains(&source) && error.contains("does not have it"),
        "{error}"
    );
}
