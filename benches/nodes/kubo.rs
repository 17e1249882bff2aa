//! A Kubo node on loopback, for what is measured beside one.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::running::Running;

/// A node with a repository of its own, that knows nobody.
pub struct KuboNode {
    program: PathBuf,
    /// Its repository.
    pub repo: PathBuf,
    _running: Option<Running>,
}

impl KuboNode {
    /// Starts one; `routing` as its `--routing` has it.
    pub fn start(program: &Path, repo: &Path, routing: &str) -> Self {
        let mut node = Self {
            program: program.to_owned(),
            repo: repo.to_owned(),
            _running: None,
        };
        node.ipfs(&["init", "--profile=test", "--empty-repo"]);
        for which in ["API", "Gateway"] {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let port = free.local_addr().expect("an address").port();
            let at = format!("/ip4/127.0.0.1/tcp/{port}");
            node.ipfs(&["config", &format!("Addresses.{which}"), &at]);
        }
        let mut child = node
            .command()
            .args(["daemon", &format!("--routing={routing}")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map(Running)
            .expect("Kubo starts");
        let mut lines = BufReader::new(child.0.stdout.take().expect("a pipe")).lines();
        let ready = |line: std::io::Result<String>| line.is_ok_and(|l| l.contains("is ready"));
        assert!(lines.any(ready), "Kubo is never ready");
        // It goes on talking.
        std::thread::spawn(move || lines.for_each(drop));
        node._running = Some(child);
        node
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("IPFS_PATH", &self.repo)
            .env("IPFS_TELEMETRY", "off");
        command
    }

    /// What `ipfs` prints.
    pub fn ipfs(&self, args: &[&str]) -> String {
        let output = self.command().args(args).output().expect("ipfs runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ipfs {args:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}
