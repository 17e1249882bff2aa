//! A mailserver on loopback, and the folder it and its peers work in.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::running::Running;

/// An archive, and a password for whoever serves it.
pub struct Scene {
    folder: tempfile::TempDir,
    password: &'static str,
}

/// A mailserver that runs.
pub struct Server {
    /// The process.
    pub process: Running,
    /// How peers reach it.
    pub enode: String,
    /// What `run.json` says.
    pub run: Value,
}

impl Scene {
    /// A new archive, whose mailserver has this password.
    pub fn new(password: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let scene = Self { folder, password };
        scene.run(&["init"]);
        scene
    }

    /// The folder for whatever peers keep.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The archive's folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn gwa(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
        command.arg("--data").arg(self.data()).args(args);
        command
    }

    /// Runs a `gwa` command to its end; gives what it printed.
    pub fn run(&self, args: &[&str]) -> String {
        let output = self.gwa(args).output().expect("gwa runs");
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "gwa {args:?}: {out}\n{err}");
        out.trim().to_owned()
    }

    /// Starts the mailserver with further arguments.
    pub fn serve(&self, args: &[&str]) -> Server {
        let mut command = self.gwa(&[
            "-vv",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ]);
        command.args(["--password", self.password]).args(args);
        let mut process = Running::start(&mut command);
        process.wait_for("enode://");
        let run = fs::read(self.data().join("run.json")).expect("run.json is there");
        let run: Value = serde_json::from_slice(&run).expect("JSON");
        let enode = run["enode"].as_str().expect("an enode URL").to_owned();
        Server {
            process,
            enode,
            run,
        }
    }

    /// Seals all there is.
    pub fn seal(&self) {
        let until = (crate::unix_now() + 600).to_string();
        self.run(&["seal", "--until", &until]);
    }
}

impl Server {
    /// Waits until so many envelopes are stored.
    pub fn wait_stored(&mut self, count: u64) {
        self.process
            .wait_until(&format!("{count} envelopes"), |lines| {
                stored(lines) >= count
            });
    }

    /// Waits for the server's answer to the `n`th mail request, the first being
    /// 1; gives what it tells about it.
    pub fn wait_answer(&mut self, n: usize) -> String {
        let answers = |lines: &[String]| -> Vec<String> {
            let lines = lines.iter();
            let answers = lines.filter(|line| line.contains("mail request answered"));
            answers.cloned().collect()
        };
        self.process
            .wait_until(&format!("answer {n}"), |lines| answers(lines).len() >= n);
        answers(self.process.seen()).swap_remove(n - 1)
    }

    /// Ends it, cleanly.
    pub fn end(self) {
        assert_eq!(self.process.terminate(), Some(0));
    }
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

/// An address nobody listens on now, for programs that take no port 0.
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

/// What an environment variable names; this suite never passes by not running.
pub fn named_by(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set; `.ci/run` builds what it names"))
        .into()
}

/// A script of `tests/peers/js`, with the packages it needs.
pub fn node(script: &str) -> Command {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/js");
    let mut command = Command::new("node");
    command
        .env("NODE_PATH", named_by("GWA_NODE_MODULES"))
        .arg(scripts.join(script));
    command
}
