//! The whole story, told by processes on loopback: one archives, another mirrors
//! it and is killed on the way, a third forks from the mirror when the first is
//! gone; the first returns, and both unite what they have.

#[path = "common/started.rs"]
mod started;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use alloy_rlp::Header;
use serde_json::Value;

use started::started;

/// How long anything may take before the test is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// After the last envelope of the corpus: everything is sealed in closed days.
const UNTIL: &str = "2018-11-02T00:00:00Z";

/// Bytes that the first mirroring is given before its line goes dead: some days of
/// the month, not all.
const LIFELINE: u64 = 600_000;

fn gwa(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
    command
        .arg("--data")
        .arg(data)
        .args(args)
        .env_remove("GWA_DATA")
        .env("XDG_CACHE_HOME", data.join("cache"))
        .env("GWA_LOG", "warn");
    command
}

fn run(data: &Path, args: &[&str]) -> Output {
    let output = gwa(data, args).output().expect("gwa runs");
    assert!(
        output.status.success(),
        "gwa {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The last object that a command prints with `--json`.
fn json(data: &Path, args: &[&str]) -> Value {
    let output = run(data, &[&["--json"], args].concat());
    let text = String::from_utf8(output.stdout).expect("text");
    let last = text.lines().last().expect("a line");
    serde_json::from_str(last).expect("JSON")
}

/// A daemon, killed when it is dropped.
struct Daemon {
    process: Child,
    http: String,
}

impl Daemon {
    fn start(data: &Path) -> Self {
        let args = [
            "--json",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ];
        let mut process = gwa(data, &args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("gwa serves");
        let http = started(&mut process)["http"]
            .as_str()
            .expect("an address")
            .to_owned();
        Self { process, http }
    }

    /// What it says its head is.
    fn head(&self) -> Value {
        let address = self.http.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the daemon answers");
        write!(
            stream,
            "GET /head HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )
        .expect("it is asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).expect("JSON")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A line between a client and a server that goes dead after so many bytes of
/// answers, all its connections together, until it is mended.
struct Line {
    url: String,
    left: Arc<AtomicU64>,
}

impl Line {
    fn to(server: &str, left: u64) -> Self {
        let server = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let left = Arc::new(AtomicU64::new(left));
        let shared = Arc::clone(&left);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, left) = (server.clone(), Arc::clone(&shared));
                thread::spawn(move || carry(&client, &server, &left));
            }
        });
        Self { url, left }
    }

    fn is_dead(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    fn mend(&self) {
        self.left.store(u64::MAX, Ordering::SeqCst);
    }
}

fn carry(client: &TcpStream, server: &str, left: &AtomicU64) {
    let Ok(upstream) = TcpStream::connect(server) else {
        return;
    };
    let (mut asks, mut asked) = (
        client.try_clone().expect("a handle"),
        upstream.try_clone().expect("a handle"),
    );
    thread::spawn(move || {
        let _ = std::io::copy(&mut asks, &mut asked);
        let _ = asked.shutdown(std::net::Shutdown::Write);
    });
    let (mut answers, mut answered) = (upstream, client);
    let mut buffer = [0; 4_096];
    while let Ok(len) = answers.read(&mut buffer) {
        if len == 0 {
            break;
        }
        let taken = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            Some(left.saturating_sub(len as u64))
        });
        if taken.is_ok_and(|before| before <= len as u64) {
            // Silence, as of a cable that was pulled: until the other end goes.
            let mut rest = [0; 1];
            let _ = answered.set_read_timeout(Some(PATIENCE));
            let _ = answered.peek(&mut rest);
            return;
        }
        if answered.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    let _ = answered.shutdown(std::net::Shutdown::Both);
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what} took too long");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Every `step`th envelope of the corpus from the `first` on, as a file.
fn part(dir: &Path, name: &str, first: usize, step: usize) -> PathBuf {
    let corpus = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/corpus/envelopes.rlps"
    );
    let corpus = std::fs::read(corpus).expect("the corpus");
    let mut rest = &corpus[..];
    let mut all = Vec::new();
    while !rest.is_empty() {
        let mut after = rest;
        let header = Header::decode(&mut after).expect("a list");
        let len = rest.len() - after.len() + header.payload_length;
        all.push(&rest[..len]);
        rest = &rest[len..];
    }
    let chosen: Vec<u8> = all
        .iter()
        .skip(first)
        .step_by(step)
        .flat_map(|e| e.to_vec())
        .collect();
    let path = dir.join(name);
    std::fs::write(&path, chosen).expect("a file");
    path
}

fn take_in(data: &Path, file: &Path) {
    run(data, &["import", file.to_str().expect("text")]);
    run(data, &["seal", "--until", UNTIL]);
}

fn count(data: &Path) -> u64 {
    json(data, &["query", "--count"])["count"]
        .as_u64()
        .expect("a number")
}

#[test]
fn a_history_is_mirrored_forked_and_united() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = |name: &str| dir.path().join(name);
    let (a, b, c) = (folder("a"), folder("b"), folder("c"));

    // A archives.
    run(&a, &["init", "--name", "first"]);
    take_in(&a, &part(dir.path(), "1.rlps", 0, 4));
    let first = json(&a, &["head"]);
    let daemon_a = Daemon::start(&a);
    assert_eq!(daemon_a.head()["head"], first["head"]);

    // B mirrors A by URL, and is killed in the middle of it.
    let line = Line::to(&daemon_a.http, LIFELINE);
    let mut begun = gwa(&b, &["mirror", &line.url])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("gwa mirrors");
    until("the line", || line.is_dead());
    begun.kill().expect("it is still waiting");
    begun.wait().expect("it ends");
    let unfinished = gwa(&b, &["head"]).output().expect("gwa runs");
    assert_eq!(unfinished.status.code(), Some(10), "there is no head yet");
    // And resumed.
    line.mend();
    let mirrored = json(&b, &["mirror", &line.url]);
    assert_eq!(mirrored["head"], first["head"]);
    run(&b, &["verify"]);
    assert_eq!(count(&b), count(&a));

    // A goes. C forks from B.
    drop(daemon_a);
    let daemon_b = Daemon::start(&b);
    let forked = json(&c, &["fork", &daemon_b.http, "--name", "third"]);
    assert_eq!(forked["state"], first["state"]);
    let number = |value: &Value| value.as_u64().expect("a number");
    assert!(number(&forked["fetched"]) < number(&first["bytes"]));
    assert_eq!(count(&c), count(&b), "it answers at once, through B");
    // C archives traffic of its own, some of it into days it has not fetched.
    take_in(&c, &part(dir.path(), "2.rlps", 1, 4));
    assert!(count(&c) > count(&b));

    // C's daemon fetches the history it rests on. Then B may go as well.
    let daemon_c = Daemon::start(&c);
    until("fetching the history", || {
        let origin = std::fs::read(c.join("origin.json")).expect("it is a fork");
        let origin: Value = serde_json::from_slice(&origin).expect("JSON");
        origin["complete"] == true
    });
    drop(daemon_b);

    // A returns, with traffic that nobody else heard.
    take_in(&a, &part(dir.path(), "3.rlps", 2, 4));
    let differing = json(&a, &["diff", &daemon_c.http, "--count"]);
    let counted = |side: &str| differing[side]["count"].as_u64().expect("a number");
    assert!(counted("a") > 0 && counted("b") > 0);
    assert_eq!(counted("a") + count(&c), counted("b") + count(&a));

    // A and C merge each other.
    let merged = json(&a, &["merge", &daemon_c.http]);
    drop(daemon_c);
    let daemon_a = Daemon::start(&a);
    run(&c, &["merge", &daemon_a.http]);
    let daemon_c = Daemon::start(&c);
    let (of_a, of_c) = (daemon_a.head(), daemon_c.head());
    assert_eq!(of_a["state"], of_c["state"]);
    assert_eq!(of_a["state"], merged["state"]);
    assert_ne!(of_a["key"], of_c["key"]);
    assert_eq!(of_a["count"], of_c["count"]);
    drop((daemon_a, daemon_c));
    for data in [&a, &c] {
        run(data, &["verify"]);
    }

    // It is the state of an archive that heard it all.
    let d = folder("d");
    run(&d, &["init"]);
    for (name, first) in [("3", 2), ("1", 0), ("2", 1)] {
        let file = part(dir.path(), &format!("again-{name}.rlps"), first, 4);
        run(&d, &["import", file.to_str().expect("text")]);
    }
    run(&d, &["seal", "--until", UNTIL]);
    assert_eq!(json(&d, &["head"])["state"], of_a["state"]);
}
