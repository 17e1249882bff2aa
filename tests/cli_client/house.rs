//! Folders, daemons and commands of one test.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use gwa::rlpx::Enode;
use gwa::time::{Expiry, Ttl, UnixSeconds};
use gwa::whisper::{Envelope, Topic};
use serde_json::Value;
use tempfile::TempDir;

use crate::started::started;

/// A folder for one test.
pub struct House {
    folder: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// The objects of `--json`, one a line.
    pub fn objects(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
            .collect()
    }

    /// The hashes of the envelopes among them.
    pub fn hashes(&self) -> BTreeSet<String> {
        let objects = self.objects();
        let hashes = objects.iter().filter_map(|object| object["hash"].as_str());
        hashes.map(str::to_owned).collect()
    }

    /// Demands an exit code.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    /// Demands words on stderr.
    pub fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "no {text:?} in: {}", self.err);
        self
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("an exit code"),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

impl House {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    }

    pub fn exists(&self, name: &str) -> bool {
        PathBuf::from(self.path(name)).exists()
    }

    /// A command whose data folder is `data`.
    pub fn gwa(&self, data: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
        command
            .stdin(Stdio::null())
            .env("TMPDIR", self.folder.path())
            .env("XDG_CACHE_HOME", self.folder.path())
            .args(["--data", &self.path(data)])
            .args(args);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, data: &str, args: &[&str]) -> Ended {
        let output = self.gwa(data, args).output();
        output.expect("gwa runs").into()
    }

    /// Makes an archive of `envelopes` in `data`.
    pub fn archive(&self, data: &str, envelopes: &[Envelope]) {
        self.run(data, &["init"]).expect(0);
        let bytes: Vec<u8> = envelopes
            .iter()
            .flat_map(|envelope| envelope.rlp().to_vec())
            .collect();
        let file = self.path(&format!("{data}.rlps"));
        std::fs::write(&file, bytes).expect("a file");
        self.run(data, &["import", &file]).expect(0);
    }

    /// A daemon over the archive in `data`.
    pub fn serve(&self, data: &str, args: &[&str]) -> Server {
        let args = [
            &[
                "--json",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
            ],
            args,
        ]
        .concat();
        let mut child = self
            .gwa(data, &args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("gwa runs");
        let enode = started(&mut child)["enode"]
            .as_str()
            .expect("an enode")
            .to_owned();
        Server { child, enode }
    }
}

/// A daemon; killed when dropped.
pub struct Server {
    child: Child,
    pub enode: String,
}

impl Server {
    pub fn parsed(&self) -> Enode {
        self.enode.parse().expect("an enode")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address of a web server that lets nobody in, for as long as the test runs.
pub fn forbidding() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            std::thread::spawn(move || {
                let (mut reader, mut stream) = (BufReader::new(&stream), &stream);
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|len| len > 2) {
                    line.clear();
                }
                let answer =
                    "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                // Whoever left has seen enough. What he still sends is taken, for else
                // the answer would be lost with it.
                let _ = stream.write_all(answer.as_bytes());
                let _ = stream.shutdown(Shutdown::Write);
                let _ = reader.read_to_end(&mut Vec::new());
            });
        }
    });
    format!("http://{address}")
}

pub fn now() -> UnixSeconds {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.expect("after 1970").as_secs();
    UnixSeconds(u32::try_from(seconds).expect("before 2106"))
}

/// An envelope of `topic`, sent at `at`; `seed` tells it from others.
pub fn envelope(topic: Topic, at: UnixSeconds, seed: u32) -> Envelope {
    // Like ciphertext, it does not compress.
    let part = |n: u8| gwa::keccak::keccak256([&[n][..], &seed.to_be_bytes()].concat());
    let data: Vec<u8> = (0..10).flat_map(part).collect();
    Envelope::new(Expiry::of(at, Ttl(50)), Ttl(50), topic, &data, 0)
}

pub fn hashes<'e>(envelopes: impl IntoIterator<Item = &'e Envelope>) -> BTreeSet<String> {
    let hashes = envelopes.into_iter().map(Envelope::hash);
    hashes.map(|hash| hash.to_string()).collect()
}
