//! A folder for one test, and the commands and daemons in it.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

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
    /// Demands an exit code.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    /// The one object of `--json`.
    pub fn object(&self) -> Value {
        serde_json::from_str(&self.out).expect("one JSON object")
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

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file; gives its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }

    /// A command over the data folder `data`, with nothing of our own environment that
    /// it would take for settings.
    pub fn gwa(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
        for (name, _) in std::env::vars() {
            if name.starts_with("GWA_") {
                command.env_remove(name);
            }
        }
        command
            .stdin(Stdio::null())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env("HOME", self.folder.path())
            .arg("--data")
            .arg(self.path("data"))
            .args(args);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.gwa(args).output().expect("gwa runs").into()
    }

    /// A daemon at ports of its own, started by the command that `change` makes of the
    /// usual one.
    pub fn serve(&self, change: impl FnOnce(&mut Command)) -> Daemon {
        let mut command = self.gwa(&["--json", "serve"]);
        command
            .args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        change(&mut command);
        let mut child = command.spawn().expect("gwa runs");
        let told = started(&mut child);
        Daemon { child, told }
    }
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    /// What it said when it had started.
    pub told: Value,
}

impl Daemon {
    /// Where its HTTP interface is.
    pub fn url(&self) -> &str {
        self.told["http"].as_str().expect("HTTP is on")
    }

    /// Asks it to end, and waits.
    pub fn end(mut self) -> i32 {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(asked.expect("kill runs").success());
        let ended = self.child.wait().expect("it ends");
        ended.code().expect("an exit code")
    }

    /// Kills it, as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
