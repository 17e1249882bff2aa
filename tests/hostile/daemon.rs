//! Floods against a real daemon that holds every address to its limits: attackers
//! come from 127.0.0.2, an honest peer from 127.0.0.1.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use gwa::mailserver::request::MailQuery;
use gwa::mailserver::{MailClient, Requester};
use gwa::node::run_file::{self, RunInfo};
use gwa::rlpx::socket::{PeerLink, initiate};
use gwa::time::{Clock, Expiry, SystemClock, TimeRange, Ttl, UnixSeconds};
use gwa::whisper::keys::SymKey;
use gwa::whisper::packet::{Packet, code};
use gwa::whisper::status::Status;
use gwa::whisper::{Bloom, Envelope, Topic};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::wire::OFFSET;
use crate::world::{signer, soon, stranger};

/// What an honest peer waits at most: a promise of the server.
const PROMPTLY: Duration = Duration::from_secs(2);

/// What a daemon may grow by under any flood here, in KiB. Fifty handshakes and
/// eight peers of one address hold far less; 5,000 connections with a read buffer
/// each, or 1,000 sessions, would hold more.
const GROWTH: u64 = 64 << 10;

/// Where attackers live.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

struct Daemon {
    process: Child,
    run: RunInfo,
    data: tempfile::TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has told already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Daemon {
    async fn start(limits: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let settings = format!("min-pow = 0\n[limits]\nexempt-local = false\n{limits}");
        std::fs::write(data.path().join("gwa.toml"), settings).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_gwa"))
            .args(["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .arg("--data")
            .arg(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let run = soon(run_info(data.path())).await;
        Self { process, run, data }
    }

    fn address(&self) -> SocketAddr {
        self.run.enode.tcp_address()
    }

    /// A number of its `status`, in KiB.
    fn memory(&self, what: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with(what)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn sockets(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.process.id());
        std::fs::read_dir(folder).unwrap().count()
    }

    /// A connection from an address of the loopback.
    async fn dial_from(&self, ip: Ipv4Addr) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((ip, 0).into())?;
        socket.connect(self.address()).await
    }

    /// A peer with a fresh key, if it is let in.
    async fn peer_from(&self, ip: Ipv4Addr) -> Option<PeerLink> {
        let stream = self.dial_from(ip).await.ok()?;
        let link = initiate(stream, self.run.enode.id, &stranger())
            .await
            .ok()?;
        let status = Packet::Status(Status::default()).encode();
        link.send(OFFSET, status).await.ok()?;
        Some(link)
    }

    async fn honest(&self, client: &mut MailClient) {
        let query = MailQuery {
            range: TimeRange::ALL,
            topics: Bloom::FULL,
            limit: 1,
            cursor: None,
            batch: true,
        };
        let requester = Requester::with_password(password(), signer());
        let now = SystemClock.now();
        let asking = timeout(PROMPTLY, client.request(query, &requester, now));
        asking.await.expect("an answer in time").unwrap();
    }

    /// A new honest peer, and its first answer.
    async fn newcomer(&self) -> MailClient {
        let local = stranger();
        let connecting = MailClient::connect(&self.run.enode, &local);
        let mut client = timeout(PROMPTLY, connecting)
            .await
            .expect("a link in time")
            .unwrap();
        self.honest(&mut client).await;
        client
    }
}

/// The key of the password that the daemon has by default, which takes a moment to
/// derive.
fn password() -> SymKey {
    static KEY: std::sync::OnceLock<SymKey> = std::sync::OnceLock::new();
    KEY.get_or_init(|| SymKey::from_password("status-offline-inbox"))
        .clone()
}

async fn run_info(data: &Path) -> RunInfo {
    loop {
        let read = std::fs::read(data.join(run_file::NAME)).ok();
        if let Some(run) = read.and_then(|json| serde_json::from_slice(&json).ok()) {
            return run;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// What `gwa` says on stdout about the folder `data`, and its exit code.
async fn gwa(data: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
    command.arg("--data").arg(data).args(args);
    let ended = tokio::task::spawn_blocking(move || command.output());
    let ended = soon(ended).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ended.status.code(), text(ended.stdout), text(ended.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_and_the_reasons_of_drops_are_told() {
    let daemon = Daemon::start("peers-per-address = 1").await;
    let honest = daemon.newcomer().await;
    let rude = soon(daemon.peer_from(ATTACKER)).await.expect("a seat");
    let wire = OFFSET + u64::from(code::MESSAGES);
    rude.send(wire, Bytes::from_static(&[0x83, 1, 2, 3]))
        .await
        .unwrap();
    let (mut reader, _writer) = rude.split();
    soon(async { while reader.recv().await.is_ok() {} }).await;

    let asking = async {
        loop {
            let (code, out, err) = gwa(daemon.data.path(), &["--json", "peers", "--why"]).await;
            assert_eq!(code, Some(0), "{err}");
            let rows: Vec<serde_json::Value> = out
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            if rows.iter().any(|row| row["detail"].is_string()) {
                return rows;
            }
        }
    };
    let rows = soon(asking).await;
    let peer = &rows[0];
    assert_eq!(peer["client"], "test");
    assert_eq!(peer["inbound"], true);
    assert_eq!(peer["requests"], 1);
    assert!(peer["bytes_out"].as_u64().unwrap() > 0);
    let drop = rows.iter().find(|row| row["detail"].is_string()).unwrap();
    assert_eq!(drop["reason"], "violation");
    assert_eq!(drop["ip"], ATTACKER.to_string());
    assert_eq!(drop["client"], "test");
    let count = rows.last().unwrap();
    assert_eq!(count["reason"], "violation");
    assert_eq!(count["count"], 1);

    let (_, table, _) = gwa(daemon.data.path(), &["peers", "--why"]).await;
    assert!(table.contains("violation"), "{table}");
    honest.close().await;
}

#[tokio::test]
async fn peers_of_no_daemon_are_nobodys() {
    let data = tempfile::tempdir().unwrap();
    let (code, out, err) = gwa(data.path(), &["peers"]).await;
    assert_eq!((code, &*out), (Some(1), ""));
    assert!(err.contains("no daemon runs over"), "{err}");
    assert!(err.contains("gwa serve"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_half_open_handshakes_keep_nobody_out() {
    // Without a limit of connections by address, so that they all come in.
    let daemon = Daemon::start("connections-per-minute = 1000000").await;
    let _key = password();
    daemon.newcomer().await.close().await;
    let before = (daemon.memory("VmRSS"), daemon.sockets());
    let mut open = Vec::new();
    for n in 0..5_000_usize {
        // A few hundred are held at this end: those the daemon let go of are.
        if open.len() >= 400 {
            open.clear();
        }
        if let Ok(stream) = daemon.dial_from(ATTACKER).await {
            open.push(stream);
        }
        if n % 500 == 499 {
            daemon.newcomer().await.close().await;
            let sockets = daemon.sockets() - before.1;
            assert!(sockets <= 60, "{sockets} sockets more than before");
        }
    }
    let grown = daemon.memory("VmHWM").saturating_sub(before.0);
    println!("5,000 half-open handshakes: grown by {grown} KiB at most");
    assert!(grown <= GROWTH, "grown by {grown} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_fresh_keys_from_one_address_get_no_more_than_its_share() {
    let daemon = Daemon::start("connections-per-minute = 1000000").await;
    let _key = password();
    let mut honest = daemon.newcomer().await;
    let before = daemon.memory("VmRSS");
    let mut held = Vec::new();
    for n in 0..1_000 {
        if let Some(link) = soon(daemon.peer_from(ATTACKER)).await {
            held.push(link);
        }
        // Those turned away are told so; they are let go of at this end.
        if held.len() >= 50 {
            held.drain(8..);
        }
        if n % 200 == 199 {
            daemon.honest(&mut honest).await;
        }
    }
    daemon.newcomer().await.close().await;
    let mut seated = 0;
    for link in &mut held[..8] {
        let first = soon(link.recv()).await;
        seated += usize::from(first.is_ok());
    }
    assert_eq!(seated, 8, "the first of the address keep their seats");
    for link in &mut held[8..] {
        while let Ok(message) = soon(link.recv()).await {
            assert_eq!(message.code, OFFSET, "no more than a status");
        }
    }
    let grown = daemon.memory("VmHWM").saturating_sub(before);
    println!("1,000 keys from one address: grown by {grown} KiB at most");
    assert!(grown <= GROWTH, "grown by {grown} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_rate_of_an_address_are_closed_at_once() {
    let daemon = Daemon::start("").await;
    let mut answered = 0;
    for _ in 0..200 {
        answered += usize::from(soon(daemon.peer_from(ATTACKER)).await.is_some());
    }
    // Ten at once, and one more in three seconds.
    assert!((1..60).contains(&answered), "{answered} handshakes");
    daemon.newcomer().await.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storms_of_pings_and_duplicates_end_and_leave_no_mark() {
    let daemon = Daemon::start("connections-per-minute = 1000000").await;
    let mut honest = daemon.newcomer().await;
    let before = daemon.memory("VmRSS");
    let now = SystemClock.now();
    let storm = duplicates(now);
    for round in 0..20 {
        let link = soon(daemon.peer_from(ATTACKER)).await.expect("a seat");
        let (mut reader, writer) = link.split();
        let storming = async {
            for _ in 0..1_000 {
                let sent = if round % 2 == 0 {
                    writer.send(2, Bytes::from_static(&[0xc0])).await
                } else {
                    let wire = OFFSET + u64::from(code::MESSAGES);
                    writer.send(wire, storm.clone()).await
                };
                if sent.is_err() {
                    break;
                }
            }
        };
        let dropped = async { while reader.recv().await.is_ok() {} };
        soon(async { tokio::join!(storming, dropped) }).await;
        daemon.honest(&mut honest).await;
    }
    let grown = daemon.memory("VmHWM").saturating_sub(before);
    println!("storms: grown by {grown} KiB at most");
    assert!(grown <= GROWTH, "grown by {grown} KiB");
}

/// Five hundred envelopes that are good, and good once.
fn duplicates(now: UnixSeconds) -> Bytes {
    let one = |nonce| {
        let expiry = Expiry::of(now, Ttl(500));
        Envelope::new(expiry, Ttl(500), Topic([1; 4]), &[7; 300], nonce)
    };
    let envelopes: Vec<Envelope> = (0..500).map(one).collect();
    let distinct: BTreeSet<_> = envelopes.iter().map(Envelope::hash).collect();
    assert_eq!(distinct.len(), 500);
    Packet::Messages(envelopes).encode()
}
