//! versitygw, a server of objects by the protocol of S3, on loopback: over a folder
//! of its own, and gone when its test ends.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use gwa::depot::objects::ObjectsDepot;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpClient, HttpRequestBody};
use serde_json::json;

use crate::running::Running;

/// Ports that the system gives to nobody by itself, so that a server that was killed
/// finds its own free when it is started again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// How often another port is tried where one was taken meanwhile.
const STARTS: usize = 5;

/// The bucket that there is.
const BUCKET: &str = "archives";

/// What opens it.
const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "whoever-may-write"),
    ("AWS_SECRET_ACCESS_KEY", "not-much-of-a-secret"),
];

/// A server with one bucket.
pub struct Versitygw {
    folder: tempfile::TempDir,
    running: Option<Running>,
    port: u16,
}

impl Versitygw {
    /// Starts a server.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("data").join(BUCKET)).expect("a bucket");
        let mut server = Self {
            folder,
            running: None,
            port: 0,
        };
        for _ in 0..STARTS {
            server.port = free_port();
            if server.try_restart() {
                return server;
            }
        }
        panic!("no versitygw starts");
    }

    /// Kills it, as a power cut would.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Starts it again, at the address it had.
    pub fn restart(&mut self) {
        assert!(self.try_restart(), "versitygw does not start again");
    }

    fn try_restart(&mut self) -> bool {
        let mut command = Command::new(binary());
        command
            .args(["--access", KEYS[0].1, "--secret", KEYS[1].1])
            .args(["--port", &format!("127.0.0.1:{}", self.port)])
            .arg("posix")
            .arg(self.folder.path().join("data"));
        let mut running = Running::start(&mut command);
        let ready = |lines: &[String]| lines.iter().any(|line| line.contains("listening on"));
        let failed = |lines: &[String]| lines.iter().any(|line| line.contains("in use"));
        running.wait_until("versitygw", |lines| ready(lines) || failed(lines));
        let is_ready = ready(running.seen());
        self.running = is_ready.then_some(running);
        is_ready
    }

    /// The URL of a folder in the bucket.
    pub fn url(&self, folder: &str) -> String {
        format!("http://127.0.0.1:{}/{BUCKET}/{folder}", self.port)
    }

    /// The folder as a store.
    pub fn store(&self, folder: &str) -> String {
        format!("s3:{}", self.url(folder))
    }

    /// The depot in a folder of it.
    pub fn depot(&self, folder: &str) -> ObjectsDepot {
        self.depot_as(folder, &KEYS)
    }

    /// The same with other credentials.
    pub fn depot_as(&self, folder: &str, keys: &[(&str, &str)]) -> ObjectsDepot {
        let set: HashMap<_, _> = keys.iter().copied().collect();
        let environment = |name: &str| set.get(name).map(|value| (*value).to_owned());
        let url = self.url(folder).parse().expect("a URL");
        ObjectsDepot::open(&url, &environment).expect("an address")
    }

    /// What opens it, for the environment of a process.
    pub fn keys(&self) -> [(&str, &str); 2] {
        KEYS
    }

    /// Lets anybody read the bucket.
    pub fn show(&self) {
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": "*",
                "Action": ["s3:GetObject"],
                "Resource": [format!("arn:aws:s3:::{BUCKET}/*")],
            }],
        });
        let credential = AwsCredential {
            key_id: KEYS[0].1.to_owned(),
            secret_key: KEYS[1].1.to_owned(),
            token: None,
        };
        let mut request =
            hyper::Request::put(format!("{}?policy=", self.url("").trim_end_matches('/')))
                .body(HttpRequestBody::from(policy.to_string()))
                .expect("a request");
        AwsAuthorizer::new(&credential, "s3", "us-east-1")
            .try_authorize(&mut request, None)
            .expect("a signature");
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let client = gwa::tls::http_client().build().expect("a client");
        let answer = runtime.block_on(HttpClient::new(client).execute(request));
        let status = answer.expect("an answer").status();
        assert!(status.is_success(), "{status}");
    }
}

/// The program that `.ci/run` builds.
fn binary() -> PathBuf {
    let path = std::env::var_os("GWA_VERSITYGW").expect("GWA_VERSITYGW names versitygw's program");
    path.into()
}

fn free_port() -> u16 {
    loop {
        let port = rand::random_range(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
