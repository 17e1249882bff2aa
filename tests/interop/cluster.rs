//! IPFS Cluster before a node: its proxy as the store of an archive.

use std::process::Command;

use gwa::depot::{Depot, KuboDepot, testing};
use gwa::kubo::{Kubo as Client, KuboLimits};

use crate::kubo::{Kubo, free_port};
use crate::running::Running;

/// A cluster of one node.
pub struct Cluster {
    kubo: Kubo,
    proxy: String,
    _folder: tempfile::TempDir,
    _running: Running,
}

impl Cluster {
    /// Starts a node, and the cluster before it.
    pub fn start() -> Self {
        let kubo = Kubo::start();
        let folder = tempfile::tempdir().expect("a folder");
        let program = std::env::var_os("GWA_CLUSTER")
            .expect("GWA_CLUSTER names IPFS Cluster's program, `ipfs-cluster-service`");
        let at = |port: u16| format!("/ip4/127.0.0.1/tcp/{port}");
        let api: u16 = kubo.api().rsplit(':').next().unwrap().parse().unwrap();
        let proxy = free_port();
        let command = |args: &[&str]| {
            let mut command = Command::new(&program);
            command
                .args(args)
                .env("IPFS_CLUSTER_PATH", folder.path())
                .env("CLUSTER_MDNSINTERVAL", "0")
                .env("CLUSTER_LISTENMULTIADDRESS", at(free_port()))
                .env("CLUSTER_IPFSHTTP_NODEMULTIADDRESS", at(api))
                .env("CLUSTER_IPFSPROXY_NODEMULTIADDRESS", at(api))
                .env("CLUSTER_IPFSPROXY_LISTENMULTIADDRESS", at(proxy))
                .env("CLUSTER_RESTAPI_HTTPLISTENMULTIADDRESS", at(free_port()))
                .env("CLUSTER_PINSVCAPI_HTTPLISTENMULTIADDRESS", at(free_port()));
            command
        };
        let init = command(&["init", "--consensus", "crdt"]).output();
        assert!(init.expect("the program runs").status.success());
        let mut running = Running::start(&mut command(&["daemon"]));
        running.wait_for("IPFS Cluster is READY");
        Self {
            kubo,
            proxy: format!("http://127.0.0.1:{proxy}"),
            _folder: folder,
            _running: running,
        }
    }

    /// Where its proxy answers: `http://127.0.0.1:PORT`.
    pub fn proxy(&self) -> &str {
        &self.proxy
    }

    fn depot(&self, tag: &str) -> KuboDepot {
        let url = self.proxy.parse().unwrap();
        let client = Client::new(url, None, KuboLimits::default()).unwrap();
        KuboDepot::with(client, tag.to_owned()).unwrap()
    }
}

#[test]
fn its_proxy_does_what_every_depot_must() {
    let cluster = Cluster::start();
    let scratch = tempfile::tempdir().unwrap();
    testing::run(scratch.path(), &|_, dir| {
        let name = dir.file_name().unwrap().to_str().unwrap();
        Box::new(cluster.depot(name))
    });
}

#[test]
fn what_is_carried_to_its_proxy_is_at_its_node() {
    let cluster = Cluster::start();
    let scratch = tempfile::tempdir().unwrap();
    let archive = gwa::archive::disk::Archive::init(scratch.path(), "").unwrap();
    testing::live_through(&archive, 2);
    testing::carry(&cluster.depot("a"), &archive);
    let head = archive.head().unwrap();
    cluster.kubo.ipfs(&["repo", "gc"]);
    let depot = cluster.depot("a");
    assert_eq!(depot.newest_head().unwrap(), Some(head.clone()));
    testing::assert_whole(&depot, &head);
    let path = format!("/ipfs/{}/state/2018/09/15", head.cid());
    cluster.kubo.ipfs(&["dag", "get", &path]);
}
