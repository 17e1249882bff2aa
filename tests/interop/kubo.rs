//! Kubo, the IPFS node, on loopback: each with a repository of its own, without
//! bootstrap peers, and gone when its test ends.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::running::Running;

/// Ports that the system gives to nobody by itself, so that a node that was killed
/// finds its own free when it is started again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// How often another port is tried where one was taken meanwhile.
const STARTS: usize = 5;

/// A node.
pub struct Kubo {
    folder: tempfile::TempDir,
    /// Locked by nobody for long: so that threads can share a node.
    running: Mutex<Option<Running>>,
    args: Vec<String>,
    api: u16,
    gateway: u16,
}

impl Kubo {
    /// Starts a node that knows of no other and asks nobody.
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// Starts a node of a distributed hash table, server and all; nodes that are
    /// connected form one, on loopback too.
    pub fn start_in_dht() -> Self {
        Self::start_with(|config| config["Routing"]["Type"] = json!("dhtserver"))
    }

    /// Starts a node whose configuration was changed before.
    pub fn start_with(change: impl Fn(&mut Value)) -> Self {
        Self::start_as(change, &[])
    }

    /// The same with further arguments for the daemon.
    pub fn start_as(change: impl Fn(&mut Value), args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut kubo = Self {
            folder,
            running: Mutex::default(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            api: 0,
            gateway: 0,
        };
        kubo.ipfs(&["init", "--profile=test", "--empty-repo"]);
        kubo.configure(|config| {
            config["Routing"]["Type"] = json!("none");
            change(config);
        });
        for _ in 0..STARTS {
            (kubo.api, kubo.gateway) = (free_port(), free_port());
            let at = |port| json!(format!("/ip4/127.0.0.1/tcp/{port}"));
            let (api, gateway) = (at(kubo.api), at(kubo.gateway));
            kubo.configure(|config| {
                config["Addresses"]["API"] = api.clone();
                config["Addresses"]["Gateway"] = gateway.clone();
            });
            if kubo.try_restart() {
                return kubo;
            }
        }
        panic!("no Kubo starts");
    }

    /// Changes the configuration; a node that runs knows of it when it is started
    /// again.
    pub fn configure(&self, change: impl Fn(&mut Value)) {
        let path = self.repo().join("config");
        let text = fs::read(&path).expect("a configuration");
        let mut config: Value = serde_json::from_slice(&text).expect("JSON");
        change(&mut config);
        fs::write(&path, serde_json::to_vec_pretty(&config).unwrap()).expect("it is written");
    }

    /// Its repository.
    pub fn repo(&self) -> &Path {
        self.folder.path()
    }

    /// Where its RPC answers: `http://127.0.0.1:PORT`.
    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}", self.api)
    }

    /// Where its gateway answers: `http://127.0.0.1:PORT`.
    pub fn gateway(&self) -> String {
        format!("http://127.0.0.1:{}", self.gateway)
    }

    /// Its peer ID.
    pub fn peer_id(&self) -> String {
        let id: Value = serde_json::from_str(&self.ipfs(&["id"])).expect("JSON");
        id["ID"].as_str().expect("a peer ID").to_owned()
    }

    /// How peers reach it: `/ip4/127.0.0.1/tcp/PORT/p2p/ID`.
    pub fn address(&self) -> String {
        let id: Value = serde_json::from_str(&self.ipfs(&["id"])).expect("JSON");
        let addresses = id["Addresses"].as_array().expect("addresses");
        addresses[0].as_str().expect("an address").to_owned()
    }

    /// Connects it with a peer at a multiaddress that ends with its ID.
    pub fn connect(&self, address: &str) {
        self.ipfs(&["swarm", "connect", address]);
    }

    /// Runs an `ipfs` command on it; gives what it printed.
    pub fn ipfs(&self, args: &[&str]) -> String {
        String::from_utf8(self.ipfs_bytes(args))
            .expect("text")
            .trim()
            .to_owned()
    }

    /// The same for a command that prints bytes.
    pub fn ipfs_bytes(&self, args: &[&str]) -> Vec<u8> {
        let output = self.try_ipfs(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ipfs {args:?}: {error}");
        output.stdout
    }

    /// The same for a command that may fail.
    pub fn try_ipfs(&self, args: &[&str]) -> Output {
        self.command().args(args).output().expect("ipfs runs")
    }

    /// Kills it, as a power cut would: nothing of it ends in order.
    pub fn kill(&mut self) {
        *self.running.get_mut().unwrap() = None;
    }

    /// Starts it again, at the addresses it had.
    pub fn restart(&mut self) {
        assert!(self.try_restart(), "Kubo does not start again");
    }

    fn try_restart(&mut self) -> bool {
        // Left by a node that was killed; commands would wait for it.
        let _ = fs::remove_file(self.repo().join("api"));
        let mut running = Running::start(self.command().arg("daemon").args(&self.args));
        let ready = |lines: &[String]| lines.iter().any(|line| line.contains("Daemon is ready"));
        let failed = |lines: &[String]| lines.iter().any(|line| line.starts_with("Error: "));
        running.wait_until("Kubo", |lines| ready(lines) || failed(lines));
        let is_ready = ready(running.seen());
        *self.running.get_mut().unwrap() = is_ready.then_some(running);
        is_ready
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .env("IPFS_PATH", self.repo())
            .env("IPFS_TELEMETRY", "off");
        command
    }
}

/// The program that `.ci/run` builds.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("GWA_KUBO").expect("GWA_KUBO names Kubo's program, `ipfs`");
    path.into()
}

/// A port that nobody has now.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

#[test]
fn a_node_that_was_killed_comes_back_at_its_addresses_with_its_blocks() {
    let mut kubo = Kubo::start();
    let file = kubo.repo().join("hello");
    fs::write(&file, "hello").unwrap();
    let cid = kubo.ipfs(&["add", "-Q", "--cid-version=1", file.to_str().unwrap()]);
    let (api, id) = (kubo.api(), kubo.peer_id());
    kubo.kill();
    kubo.restart();
    assert_eq!(kubo.ipfs(&["cat", &cid]), "hello");
    assert_eq!((kubo.api(), kubo.peer_id()), (api, id));
}

#[test]
fn two_nodes_of_a_hash_table_find_what_the_other_has() {
    let (a, b) = (Kubo::start_in_dht(), Kubo::start_in_dht());
    let file = a.repo().join("hello");
    fs::write(&file, "hello").unwrap();
    let cid = a.ipfs(&["add", "-Q", "--cid-version=1", file.to_str().unwrap()]);
    b.connect(&a.address());
    assert_eq!(b.ipfs(&["cat", &cid]), "hello");
    assert!(a.gateway().starts_with("http://127.0.0.1:"));
}
