//! Ingest over real links: from the socket to durable and acknowledged, with the
//! work of every envelope checked, beside geth's `wnode` doing the like in the
//! same run, and beside the hashing that no receiver can do without.
//!
//! `cargo bench --bench ingest`; `GWA_WNODE` names the binary of the baseline,
//! which is left out without it; `GWA_BENCH_ENVELOPES` says how many (40,000).
//! One JSON object a line.

mod wire;

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use gwa::archive::disk::Archive;
use gwa::archive::testing::Synthetic;
use gwa::keccak::keccak256;
use gwa::mailserver::{Mailserver, MailserverConfig};
use gwa::node::vault::ArchiveVault;
use gwa::rlpx::{Enode, NodeKey};
use gwa::time::{Clock, Expiry, SystemClock, Ttl};
use gwa::whisper::mining::{Target, Template, mine_within};
use gwa::whisper::node::{Node, NodeConfig, NodeHandle};
use gwa::whisper::pow::Formula;
use gwa::whisper::{Envelope, Pow};
use tokio::runtime::Runtime;

use wire::Wire;

/// Long enough for a whole run, as nothing may die during one.
const TTL: Ttl = Ttl(240);

/// What Status nodes ask for.
const MIN_POW: Pow = Pow::STATUS_DEFAULT;

/// Nonces tried for an envelope: far more than such little work takes.
const MOST_NONCES: u32 = 1 << 20;

/// Who connects, and what each sends.
struct Case {
    name: &'static str,
    senders: usize,
    idle: usize,
    batch: usize,
}

const CASES: [Case; 5] = [
    Case {
        name: "1 peer, batches of 100",
        senders: 1,
        idle: 0,
        batch: 100,
    },
    Case {
        name: "1 peer, batches of 500",
        senders: 1,
        idle: 0,
        batch: 500,
    },
    Case {
        name: "1 peer, one at a time",
        senders: 1,
        idle: 0,
        batch: 1,
    },
    Case {
        name: "1 peer and 10 idle, batches of 100",
        senders: 1,
        idle: 10,
        batch: 100,
    },
    Case {
        name: "11 peers, batches of 100",
        senders: 11,
        idle: 0,
        batch: 100,
    },
];

fn main() {
    let count = std::env::var("GWA_BENCH_ENVELOPES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(40_000);
    let wnode = std::env::var("GWA_WNODE").ok();
    let root =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable");
    for case in &CASES {
        let envelopes = mined(count);
        let bytes: usize = envelopes.iter().map(|e| e.rlp().len()).sum();
        let limit = hashing(&envelopes);
        let ours = Ours::start(&root.path().join("ours"));
        let (taken, mut all) = push(case, &envelopes, &ours.enode(), Until::Acknowledged);
        ours.stop(envelopes.len(), &mut all);
        report(case.name, "gwa", count, bytes, taken, limit);
        if let Some(wnode) = &wnode {
            let theirs = Theirs::start(wnode, &root.path().join("theirs"));
            let (taken, _) = push(case, &envelopes, &theirs.enode, Until::HungUp);
            report(case.name, "wnode", count, bytes, taken, limit);
        }
    }
}

/// Envelopes sent now, each with enough work by the definition of geth 1.9.
fn mined(count: u64) -> Vec<Envelope> {
    let now = SystemClock.now();
    let traffic = Synthetic::new(now.0.into(), count, 2_000, now, 1);
    (0..count)
        .map(|n| {
            let plain = traffic.envelope(n);
            let template = Template {
                expiry: Expiry::of(now, TTL),
                ttl: TTL,
                topic: plain.topic(),
                data: plain.data().to_vec(),
            };
            let target = Target::One(Formula::Leading, MIN_POW);
            mine_within(&template, target, MOST_NONCES).expect("it takes hundreds")
        })
        .collect()
}

/// What no receiver can do without: the link's tag, the envelope's identity, its
/// work, and the hash by which a batch is acknowledged. Four times the bytes, on
/// one core.
fn hashing(envelopes: &[Envelope]) -> Duration {
    let start = Instant::now();
    let mixed = envelopes.iter().fold(0u8, |mix, envelope| {
        (0..4).fold(mix, |mix, _| mix ^ keccak256(envelope.rlp())[0])
    });
    std::hint::black_box(mixed);
    start.elapsed()
}

/// When a sender is done.
#[derive(Clone, Copy)]
enum Until {
    /// When every batch is acknowledged: it is durable then.
    Acknowledged,
    /// When the receiver hangs up, as it was asked to behind all batches: geth
    /// takes a packet off the link when it is done with the one before.
    HungUp,
}

/// Pushes the envelopes, shared among the senders. Gives how long it took, and
/// the connections, which stay open.
fn push(case: &Case, envelopes: &[Envelope], to: &Enode, until: Until) -> (Duration, Vec<Idle>) {
    let mut open: Vec<Idle> = (0..case.idle)
        .map(|_| {
            let (stream, mut receiving) = Wire::dial(to).split();
            let draining = std::thread::spawn(move || receiving.drain());
            Idle {
                stream,
                draining: Some(draining),
            }
        })
        .collect();
    let share = envelopes.len().div_ceil(case.senders);
    let senders: Vec<_> = envelopes
        .chunks(share)
        .map(|share| {
            let mut wire = Wire::dial(to);
            let batches: Vec<&[Envelope]> = share.chunks(case.batch).collect();
            let mut prepared = BytesMut::from(&wire.prepare(&batches)[..]);
            if matches!(until, Until::HungUp) {
                prepared.extend_from_slice(&wire.farewell());
            }
            (wire.split(), prepared.freeze(), batches.len())
        })
        .collect();
    let start = Instant::now();
    let running: Vec<_> = senders
        .into_iter()
        .map(|((mut stream, mut receiving), prepared, batches)| {
            let writing = stream.try_clone().expect("a socket can be shared");
            let writer = std::thread::spawn(move || stream.write_all(&prepared));
            let reader = std::thread::spawn(move || {
                match until {
                    Until::Acknowledged => receiving.acknowledged(batches),
                    Until::HungUp => receiving.drain(),
                }
                (Instant::now(), receiving)
            });
            (writing, writer, reader)
        })
        .collect();
    let mut end = start;
    for (stream, writer, reader) in running {
        writer
            .join()
            .expect("it does not panic")
            .expect("the node reads");
        let (done, receiving) = reader.join().expect("it does not panic");
        end = end.max(done);
        open.push(Idle {
            stream,
            draining: None,
        });
        drop(receiving);
    }
    (end - start, open)
}

/// A connection that says nothing.
struct Idle {
    stream: std::net::TcpStream,
    draining: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Idle {
    fn drop(&mut self) {
        // The other end may have closed it.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        if let Some(draining) = self.draining.take() {
            let _ = draining.join();
        }
    }
}

/// Our node, with an archive on disk.
struct Ours {
    runtime: Runtime,
    node: Option<NodeHandle>,
    archive: Arc<Archive>,
    _folder: tempfile::TempDir,
}

impl Ours {
    fn start(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).expect("the folder is writable");
        let folder = tempfile::tempdir_in(dir).expect("the folder is writable");
        let archive = Arc::new(Archive::init(folder.path(), "").expect("an archive is made"));
        let vault = Arc::new(ArchiveVault::new(Arc::clone(&archive)));
        let config = MailserverConfig {
            password: None,
            node_key: None,
            min_pow: MIN_POW,
            answer_open_requests: false,
        };
        let mail = Arc::new(Mailserver::new(vault, config, Arc::new(SystemClock)));
        let runtime = Runtime::new().expect("threads start");
        let mut config = NodeConfig::new(NodeKey::generate());
        config.policy.min_pow = MIN_POW;
        let node = runtime
            .block_on(Node::start(config, mail, Arc::new(SystemClock)))
            .expect("it listens");
        Self {
            runtime,
            node: Some(node),
            archive,
            _folder: folder,
        }
    }

    fn enode(&self) -> Enode {
        let node = self.node.as_ref().expect("it runs until it is stopped");
        node.enode().expect("it listens")
    }

    /// Ends the node, which must hold what was pushed.
    fn stop(mut self, pushed: usize, open: &mut Vec<Idle>) {
        assert_eq!(self.archive.waiting(), pushed as u64, "all is archived");
        open.clear();
        if let Some(node) = self.node.take() {
            self.runtime.block_on(node.shutdown());
        }
    }
}

/// geth's node, with its mailserver on disk.
struct Theirs {
    process: Child,
    enode: Enode,
    _folder: tempfile::TempDir,
}

impl Theirs {
    fn start(binary: &str, dir: &Path) -> Self {
        std::fs::create_dir_all(dir).expect("the folder is writable");
        let folder = tempfile::tempdir_in(dir).expect("the folder is writable");
        let key = NodeKey::generate();
        let file = folder.path().join("key");
        std::fs::write(&file, key.to_secret_hex().as_bytes()).expect("the folder is writable");
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let address = free.expect("a port is free");
        let process = Command::new(binary)
            .args(["-test", "-standalone", "-mailserver", "-pow"])
            .arg(MIN_POW.to_string())
            .args(["-ip", &address.to_string()])
            .arg("-dbpath")
            .arg(folder.path().join("db"))
            .arg("-idfile")
            .arg(&file)
            // It ends when there is nothing left to type.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        while std::net::TcpStream::connect(address).is_err() {
            std::thread::sleep(Duration::from_millis(50));
        }
        Self {
            process,
            enode: Enode::new(key.id(), address),
            _folder: folder,
        }
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn report(case: &str, who: &str, count: u64, bytes: usize, taken: Duration, limit: Duration) {
    let seconds = taken.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let (rate, mib) = (count as f64 / seconds, bytes as f64 / seconds / 1_048_576.0);
    println!(
        "{{\"case\":\"{case}\",\"who\":\"{who}\",\"envelopes\":{count},\"per_second\":{rate:.0},\
         \"mib_per_second\":{mib:.1},\"times_hashing\":{:.2}}}",
        seconds / limit.as_secs_f64()
    );
}
