//! A daemon that takes in envelopes without a pause, while the node that its archive is
//! kept at is killed again and again.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gwa::archive::disk::Archive;
use gwa::archive::head::Head;
use gwa::depot::{Depot, DepotSettings};
use gwa::mailserver::MailClient;
use gwa::progress::Quiet;
use gwa::rlpx::session::LocalNode;
use gwa::rlpx::{Enode, NodeKey};
use gwa::time::{Expiry, HOUR, Ttl, UnixSeconds};
use gwa::whisper::node::protocol;
use gwa::whisper::{Envelope, EnvelopeHash, Topic};
use serde_json::Value;

use crate::kubo::Kubo;
use crate::kubo_depot::{depot, pins};
use crate::scene::{Scene, Server};

/// Kills of the node.
const KILLS: usize = 20;

/// Of so many kills one is of a node that the daemon reaches, and that stays away
/// until it knows.
const NOTICED: usize = 4;

/// Longest wait before another kill: some rounds of the carrier.
const LONGEST_UP: Duration = Duration::from_millis(1_200);

/// Longest wait before the node is started again.
const LONGEST_DOWN: Duration = Duration::from_millis(300);

/// Envelopes sent at a time, and the pause before the next: some hundred a second.
const BATCH: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// The hours that envelopes are sent in, the last of which closed before the test: a day
/// ends among them.
const SPAN: u32 = 30 * HOUR;
const AGE: u32 = 2 * HOUR;

/// Envelope number `n` of a network that was heard up to `now`: most follow each other,
/// every tenth is of some other hour, and comes late where that was sealed.
fn envelope(n: u32, now: u32) -> Envelope {
    let at = match n % 10 {
        0 => n.wrapping_mul(0x9e37_79b1) % SPAN,
        _ => n * 7 % SPAN,
    };
    let sent = UnixSeconds(now - AGE - SPAN + at);
    // Still alive, so that it is taken.
    let ttl = Ttl(SPAN + AGE + HOUR);
    let mut data = vec![0; 150 + (n % 7) as usize * 60];
    data[..4].copy_from_slice(&n.to_be_bytes());
    let topic = Topic([(n % 13).to_le_bytes()[0]; 4]);
    Envelope::new(Expiry::of(sent, ttl), ttl, topic, &data, n.into())
}

/// Sends envelopes to a daemon until it is `over`; gives those that it acknowledged,
/// which are all.
fn feed(enode: &Enode, now: u32, over: &AtomicBool) -> Vec<Envelope> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let local = LocalNode::new(NodeKey::generate(), "test", vec![protocol()], 0);
        let mut client = MailClient::connect(enode, &Arc::new(local)).await.unwrap();
        assert!(client.server_acknowledges());
        let mut acknowledged = Vec::new();
        for batch in (0..).step_by(BATCH as usize) {
            if over.load(Ordering::Acquire) {
                break;
            }
            let batch: Vec<_> = (batch..batch + BATCH).map(|n| envelope(n, now)).collect();
            let sent = client.post(batch.clone()).await.unwrap();
            let faults = client.acknowledged(sent).await.unwrap();
            assert!(faults.is_empty(), "{faults:?}");
            acknowledged.extend(batch);
            client.attend(tokio::time::sleep(PAUSE)).await.unwrap();
        }
        client.close().await;
        acknowledged
    })
}

/// Ends whoever feeds, also where the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Why the daemon cannot reach its store; `None` where it can.
fn failing(scene: &Scene) -> Option<String> {
    let status: Value = serde_json::from_str(&scene.run(&["--json", "store"])).unwrap();
    status["error"].as_str().map(str::to_owned)
}

/// Kills the node again and again; gives how often the daemon said that it was away, and
/// reached it again before the next kill.
fn kill_again_and_again(kubo: &mut Kubo, scene: &Scene, server: &mut Server) -> usize {
    let mut noticed = 0;
    let some_of = |longest: Duration| std::thread::sleep(longest.mul_f64(rand::random()));
    for kill in 1..=KILLS {
        let is_noticed = kill % NOTICED == 0;
        if is_noticed {
            let pending = || failing(scene).is_some();
            server.process.wait_while("the store is back", pending);
        }
        // By chance in the middle of whatever is under way.
        some_of(LONGEST_UP);
        kubo.kill();
        if is_noticed {
            let pending = || failing(scene).is_none();
            server.process.wait_while("the store is away", pending);
            noticed += 1;
        }
        some_of(LONGEST_DOWN);
        kubo.restart();
    }
    noticed
}

/// The newest head that the node holds of the archive in `data`.
fn kept_head(kubo: &Kubo, data: &Path) -> Option<Head> {
    let key = std::fs::read_to_string(data.join("archive.key")).unwrap();
    let key: NodeKey = key.parse().unwrap();
    let tag = DepotSettings::new(data, *key.public()).tag();
    depot(kubo, &tag).newest_head().unwrap()
}

/// What an archive without any store makes of the same envelopes.
fn embedded(dir: &Path, envelopes: &[Envelope], like: &Head) -> Head {
    let archive = Archive::init(dir, "").unwrap();
    let appended = archive.append(envelopes).unwrap();
    assert_eq!(appended.stored, envelopes.len() as u64);
    let watermark = like.body().watermark;
    let sealed = archive.seal(watermark, watermark.at(), &Quiet).unwrap();
    sealed.head.unwrap()
}

fn gwa(data: &Path, args: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
    command.env("XDG_CACHE_HOME", data.with_extension("cache"));
    let output = command.arg("--data").arg(data).args(args).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "gwa {args:?}: {error}");
}

fn hashes(envelopes: &[Envelope]) -> BTreeSet<EnvelopeHash> {
    envelopes.iter().map(Envelope::hash).collect()
}

/// Everything that an archive answers a query with.
fn answered(data: &Path, args: &[&str]) -> BTreeSet<EnvelopeHash> {
    let file = data.with_extension("rlps");
    let all = ["query", "--count", "--rlp", file.to_str().unwrap()];
    gwa(data, &[&all, args].concat());
    let mut bytes = Bytes::from(std::fs::read(file).unwrap());
    let mut envelopes = Vec::new();
    while !bytes.is_empty() {
        envelopes.push(Envelope::decode_first(&mut bytes).unwrap());
    }
    hashes(&envelopes)
}

#[test]
fn what_a_daemon_acknowledged_is_at_its_node_however_often_that_was_killed() {
    let mut kubo = Kubo::start();
    let own = pins(&kubo);
    let scene = Scene::new("password");
    let store = format!("kubo:{}", kubo.api());
    let args = ["--store", &store, "--seal-every", "1s", "--min-pow", "0"];
    let mut server = scene.serve(&args);
    let enode: Enode = server.enode.parse().unwrap();
    let now = crate::unix_now();
    let over = AtomicBool::new(false);
    let (acknowledged, noticed) = std::thread::scope(|threads| {
        let feeder = threads.spawn(|| feed(&enode, now, &over));
        let noticed = {
            let _over = Over(&over);
            kill_again_and_again(&mut kubo, &scene, &mut server)
        };
        (feeder.join().unwrap(), noticed)
    });
    assert_eq!(noticed, KILLS / NOTICED);
    let count = acknowledged.len() as u64;
    let held = || kept_head(&kubo, &scene.data()).map_or(0, |head| head.body().totals.count);
    server
        .process
        .wait_while("all of it is at the node", || held() < count);

    // Killed, and its disk lost: the node is all there is.
    drop(server);
    let head = kept_head(&kubo, &scene.data()).unwrap();
    std::fs::remove_dir_all(scene.data()).unwrap();
    let same = embedded(&scene.folder().join("embedded"), &acknowledged, &head);
    assert_eq!(head.body().state, same.body().state);
    assert_eq!(head.body().totals, same.body().totals);
    // What nothing holds goes.
    kubo.ipfs(&["repo", "gc"]);
    let copy = scene.folder().join("copy");
    let cid = head.cid().to_string();
    gwa(&copy, &["mirror", &cid, "--from", &store]);
    gwa(&copy, &["verify"]);
    assert_eq!(answered(&copy, &[]), hashes(&acknowledged));
    let nobody = scene.folder().join("nobody");
    let read = answered(&nobody, &[&cid, "--source", &store]);
    assert_eq!(read, hashes(&acknowledged));
    // Nothing is left behind that a round was cut off at.
    let pins = pins(&kubo).into_iter().filter(|pin| !own.contains(pin));
    let pins: Vec<_> = pins.map(|(name, _)| name).collect();
    assert!(pins.iter().all(|name| name.starts_with("gwa/")), "{pins:?}");
    let names: BTreeSet<_> = pins.iter().collect();
    assert_eq!(names.len(), pins.len(), "{pins:?}");
}
