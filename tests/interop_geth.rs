//! The mailserver beside a real peer: `wnode` of go-ethereum posts messages to
//! it, and asks it for them again.
//!
//! `GWA_WNODE` names the binary. This suite is built with the feature `interop`
//! alone, and fails where the binary is absent: it never passes by not running.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gwa::import;
use gwa::time::UnixSeconds;
use gwa::whisper::keys::SymKey;
use gwa::whisper::message::Opened;

/// The password and topic that `wnode -test` uses for chat and mail alike.
const PASSWORD: &str = "wwww";
const TOPIC: &str = "0x5a4ea131";

/// How long anything may take before the test gives up: a slow machine derives
/// a key from a password in seconds.
const PATIENCE: Duration = Duration::from_secs(90);

/// A process whose output is read line by line; killed when dropped.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().expect("a pipe");
        let stderr = child.stderr.take().expect("a pipe");
        for reader in [
            Box::new(stdout) as Box<dyn std::io::Read + Send>,
            Box::new(stderr),
        ] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(reader).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Self {
            stdin: child.stdin.take(),
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Reads on until `found` says yes of all lines so far.
    fn wait_until(&mut self, what: &str, found: impl Fn(&[String]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !found(&self.seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(_) => panic!(
                    "{what} never came; the output was:\n{}",
                    self.seen.join("\n")
                ),
            }
        }
    }

    fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |lines| lines.iter().any(|line| line.contains(text)));
    }

    fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        writeln!(stdin, "{line}").expect("the process reads");
    }

    /// Asks the process to end, and gives its exit code.
    fn terminate(mut self) -> Option<i32> {
        let kill = Command::new("sh")
            .args(["-c", &format!("kill -TERM {}", self.child.id())])
            .status()
            .expect("sh runs");
        assert!(kill.success());
        self.child.wait().expect("the process ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A mailserver on loopback, and the folder it and its peers work in.
struct Scene {
    folder: tempfile::TempDir,
    wnode: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let wnode = std::env::var_os("GWA_WNODE").expect("GWA_WNODE names the wnode binary");
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            wnode: wnode.into(),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn gwa(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
        command.arg("--data").arg(self.data()).args(args);
        command
    }

    /// Runs a `gwa` command to its end; gives what it printed.
    fn run(&self, args: &[&str]) -> String {
        let output = self.gwa(args).output().expect("gwa runs");
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "gwa {args:?}: {out}\n{err}");
        out.trim().to_owned()
    }

    /// Starts the mailserver; gives it and its enode URL.
    fn serve(&self) -> (Running, String) {
        let mut server = Running::start(&mut self.gwa(&[
            "-v",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--password",
            PASSWORD,
        ]));
        server.wait_for("enode://");
        let run = fs::read(self.data().join("run.json")).expect("run.json is there");
        let run: serde_json::Value = serde_json::from_slice(&run).expect("JSON");
        let enode = run["enode"].as_str().expect("an enode URL").to_owned();
        (server, enode)
    }

    /// Starts a real peer that connects to `enode`.
    fn wnode(&self, name: &str, enode: &str, args: &[&str]) -> Running {
        let key = self.folder.path().join(name);
        let mut file = File::create(&key).expect("a key file");
        let secret = gwa::rlpx::NodeKey::generate().to_secret_hex();
        file.write_all(secret.as_bytes()).expect("a key file");
        let address = free_address();
        let mut peer = Running::start(
            Command::new(&self.wnode)
                .args(["-test", "-ip", &address, "-boot", enode, "-idfile"])
                .arg(&key)
                .args(args),
        );
        peer.wait_for("Connected to peer");
        peer
    }
}

/// An address nobody listens on now. wnode takes no port 0.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

/// Envelopes the server says it has stored.
fn stored(lines: &[String]) -> u64 {
    lines
        .iter()
        .filter(|line| line.contains("archived"))
        .filter_map(|line| {
            let count = line.split("stored=").nth(1)?;
            count.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum()
}

/// The texts of a file of envelopes, decrypted; each is checked to be one of
/// `hashes`.
fn decrypt(file: &Path, hashes: &BTreeSet<String>) -> BTreeSet<String> {
    let key = SymKey::from_password(PASSWORD);
    let bytes = Bytes::from(fs::read(file).expect("the file"));
    import::envelopes(&bytes[..])
        .expect("a stream")
        .map(|envelope| {
            let envelope = envelope.expect("an envelope");
            assert!(hashes.contains(&envelope.hash().to_string()));
            let opened = Opened::open_symmetric(&key, envelope.data()).expect("decrypts");
            String::from_utf8(opened.payload).expect("text")
        })
        .collect()
}

#[test]
fn what_a_real_peer_posts_is_found_from_the_head_and_delivered_to_a_real_client() {
    let scene = Scene::new();
    scene.run(&["init"]);
    let (mut server, enode) = scene.serve();

    let typed: BTreeSet<String> = (1..=5).map(|n| format!("message number {n}")).collect();
    let mut peer = scene.wnode("poster.key", &enode, &[]);
    peer.wait_for("To quit type");
    for line in &typed {
        peer.type_line(line);
    }
    server.wait_until("every message", |lines| stored(lines) >= typed.len() as u64);

    drop(peer);
    assert_eq!(server.terminate(), Some(0));
    assert!(!scene.data().join("run.json").exists());

    // A server started anew relays nothing of this: what the client gets, the
    // archive delivers, although nothing is sealed yet.
    let (server, enode) = scene.serve();
    let mut client = scene.wnode("client.key", &enode, &["-mailclient"]);
    client.wait_for("To quit type");
    let hour_ago = unix_now() - 3_600;
    for answer in [hour_ago.to_string().as_str(), "0", ""] {
        client.type_line(answer);
    }
    client.wait_until("every message", |lines| {
        typed
            .iter()
            .all(|text| lines.iter().any(|line| line.ends_with(text.as_str())))
    });
    drop(client);
    assert_eq!(server.terminate(), Some(0));

    let until = UnixSeconds(unix_now() + 600).to_string();
    scene.run(&["seal", "--until", &until]);
    let head = scene.run(&["head"]);

    let rows = scene.run(&["--json", "query", &head, "--topic", TOPIC]);
    let hashes: BTreeSet<String> = rows
        .lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(row["topic"], TOPIC);
            row["hash"].as_str().expect("a hash").to_owned()
        })
        .collect();
    assert_eq!(hashes.len(), typed.len());

    let file = scene.folder.path().join("found.rlps");
    let path = file.to_str().expect("UTF-8");
    scene.run(&["query", &head, "--topic", TOPIC, "--rlp", path]);
    assert_eq!(decrypt(&file, &hashes), typed);
    scene.run(&["verify"]);
}

fn unix_now() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u32::try_from(now.expect("after 1970").as_secs()).expect("before 2106")
}
