//! `gwa import` from a PostgreSQL server with the table of status-go's mailserver.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use bytes::Bytes;
use gwa::whisper::Envelope;
use postgres::{Client, NoTls};
use serde_json::Value;
use tempfile::TempDir;

use crate::running::Running;

/// The table as status-go makes it.
const TABLE: &str = "CREATE TABLE envelopes (id BYTEA NOT NULL UNIQUE, data BYTEA NOT NULL, \
    topic BYTEA NOT NULL, bloom BIT(512) NOT NULL); \
    CREATE INDEX id_bloom_idx ON envelopes (id DESC, bloom); \
    CREATE INDEX id_topic_idx ON envelopes (id DESC, topic);";

const SECRET: &str = "a secret of the database";

/// A server of its own for one test.
struct Server {
    folder: TempDir,
    bin: PathBuf,
    port: u16,
    _running: Running,
}

/// Where the server's programs are: the folder that `GWA_POSTGRES` names, or the
/// newest that Debian's package installs.
fn programs() -> PathBuf {
    if let Some(bin) = env::var_os("GWA_POSTGRES") {
        return bin.into();
    }
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    versions
        .map(|version| version.unwrap().path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .max()
        .expect("PostgreSQL is installed")
}

/// A program of the server's, run as the user that the folder belongs to: it
/// refuses to run as root.
fn program(bin: &Path, name: &str, folder: &Path) -> Command {
    let owner = fs::metadata(folder).unwrap();
    let mut command = Command::new("setpriv");
    if is_root() {
        command
            .arg(format!("--reuid={}", owner.uid()))
            .arg(format!("--regid={}", owner.gid()))
            .arg("--clear-groups");
    }
    command.arg(bin.join(name)).current_dir(folder);
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// User and group `postgres`, which the package makes.
fn owner() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line.expect("the package's user").split(':').skip(2);
    let mut number = || fields.next().unwrap().parse().unwrap();
    (number(), number())
}

impl Server {
    fn start() -> Self {
        let bin = programs();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), SECRET).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        if is_root() {
            let (user, group) = owner();
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let made = program(&bin, "initdb", folder.path())
            .args(["-D", "db", "-U", "status", "-E", "UTF8", "--no-sync"])
            .args(["-A", "scram-sha-256", "--pwfile", "secret"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut running = Running::start(
            program(&bin, "postgres", folder.path())
                .args(["-D", "db", "-p", &port.to_string()])
                .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
                .args(["-c", "unix_socket_directories="]),
        );
        running.wait_until("a server that listens", |lines| {
            lines.iter().any(|line| line.contains("ready to accept"))
        });
        Self {
            folder,
            bin,
            port,
            _running: running,
        }
    }

    fn address(&self) -> String {
        format!("postgres://status@127.0.0.1:{}/postgres", self.port)
    }

    fn client(&self) -> Client {
        let password = SECRET.replace(' ', "%20");
        let address = self
            .address()
            .replace("status@", &format!("status:{password}@"));
        Client::connect(&address, NoTls).unwrap()
    }

    /// Runs `gwa` on an archive beside the database.
    fn gwa(&self, archive: &str, args: &[&str]) -> (i32, Vec<Value>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_gwa"))
            .env("PGPASSWORD", SECRET)
            .args(["--json", "--data"])
            .arg(self.folder.path().join(archive))
            .args(args)
            .output()
            .unwrap();
        let objects = String::from_utf8(output.stdout).unwrap();
        let objects = objects
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let told = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), objects.collect(), told)
    }

    /// The same, which must succeed; gives the last result.
    fn ok(&self, archive: &str, args: &[&str]) -> Value {
        let (code, objects, told) = self.gwa(archive, args);
        assert_eq!(code, 0, "{told}");
        objects.last().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It cleans up behind itself only if it is asked to end.
        let _ = program(&self.bin, "pg_ctl", self.folder.path())
            .args(["stop", "-D", "db", "-m", "immediate", "-s"])
            .status();
    }
}

fn key(envelope: &Envelope) -> Vec<u8> {
    let sent = envelope.sent().0.to_be_bytes();
    [&sent[..], &envelope.hash().0, &envelope.topic().0].concat()
}

fn insert(client: &mut Client, key: &[u8], data: &[u8], topic: &[u8]) {
    client
        .execute(
            "INSERT INTO envelopes VALUES ($1, $2, $3, repeat('0', 512)::bit(512)) \
             ON CONFLICT (id) DO NOTHING",
            &[&key, &data, &topic],
        )
        .unwrap();
}

fn corpus(count: usize) -> Vec<Envelope> {
    let mut bytes = Bytes::from(fs::read("fixtures/corpus/envelopes.rlps").unwrap());
    let all = std::iter::from_fn(|| Envelope::decode_first(&mut bytes).ok());
    all.take(count).collect()
}

#[test]
fn a_mailservers_table_is_taken_in_as_its_envelopes_alone_would_be() {
    let server = Server::start();
    let mut client = server.client();
    client.batch_execute(TABLE).unwrap();
    let envelopes = corpus(3_000);
    let mut transaction = client.transaction().unwrap();
    let insert_into = transaction
        .prepare(
            "INSERT INTO envelopes VALUES ($1, $2, $3, repeat('0', 512)::bit(512)) \
             ON CONFLICT (id) DO NOTHING",
        )
        .unwrap();
    let mut rows = 0;
    for envelope in &envelopes {
        let (id, data) = (key(envelope), envelope.rlp());
        let row: [&(dyn postgres::types::ToSql + Sync); 3] =
            [&id, &&data[..], &&envelope.topic().0[..]];
        rows += transaction.execute(&insert_into, &row).unwrap();
    }
    transaction.commit().unwrap();

    server.ok("mail", &["init"]);
    for (stored, duplicate) in [(rows, 0), (0, rows)] {
        let report = server.ok("mail", &["import", &server.address()]);
        assert_eq!(report["read"], rows);
        assert_eq!(report["stored"], stored);
        assert_eq!(report["duplicate"], duplicate);
        assert_eq!(report["mismatches"]["envelopes"], 0);
        assert_eq!(report["sources"][0]["kind"], "PostgreSQL");
        assert_eq!(
            report["sources"][0]["source"],
            server.address().replace("status@", "")
        );
    }
    let stream = server.folder.path().join("mail.rlps");
    let bytes: Vec<u8> = envelopes.iter().flat_map(|e| e.rlp().to_vec()).collect();
    fs::write(&stream, bytes).unwrap();
    server.ok("stream", &["init"]);
    server.ok("stream", &["import", stream.to_str().unwrap()]);
    let states = ["mail", "stream"].map(|archive| {
        server.ok(archive, &["seal"]);
        server.ok(archive, &["head"])["state"].clone()
    });
    assert_eq!(states[0], states[1]);
}

#[test]
fn rows_that_are_wrong_are_counted_and_the_others_taken() {
    let server = Server::start();
    let mut client = server.client();
    client.batch_execute(TABLE).unwrap();
    let envelopes = corpus(4);
    let keys: Vec<_> = envelopes.iter().map(key).collect();
    let rlp = |n: usize| envelopes[n].rlp().to_vec();
    insert(&mut client, &keys[0], &rlp(0), &keys[0][36..]);
    // The column names another topic; the key is another's, and of no form.
    insert(&mut client, &keys[1], &rlp(1), b"none");
    insert(&mut client, &keys[3], &rlp(2), &keys[2][36..]);
    insert(&mut client, b"odd", &rlp(3), &keys[3][36..]);
    insert(&mut client, b"nothing", b"no envelope", b"none");
    insert(&mut client, b"large", &vec![0xc0; 3 << 20], b"none");

    server.ok("mail", &["init"]);
    let (code, objects, told) = server.gwa("mail", &["import", &server.address()]);
    assert_eq!(code, 3, "{told}");
    let report = objects.last().unwrap();
    assert_eq!((&report["read"], &report["stored"]), (&4.into(), &4.into()));
    assert_eq!(report["refusals"]["undecodable"], 1);
    assert_eq!(report["refusals"]["too-large"], 1);
    let mismatches = &report["mismatches"];
    assert_eq!(mismatches["envelopes"], 3);
    assert_eq!(mismatches["hash"], 1);
    assert_eq!(mismatches["key"], 1);
    assert!(told.contains("an envelope of 3145728 bytes"), "{told}");
}

#[test]
fn a_database_that_cannot_be_read_says_why() {
    let server = Server::start();
    server.ok("mail", &["init"]);
    let (code, _, told) = server.gwa("mail", &["import", &server.address()]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("no table `envelopes`"), "{told}");

    server
        .client()
        .batch_execute("CREATE TABLE envelopes (id BYTEA, data TEXT)")
        .unwrap();
    let (_, _, told) = server.gwa("mail", &["import", &server.address()]);
    assert!(told.contains("no column `data` of type bytea"), "{told}");

    let wrong = server.address().replace("status@", "status:wrong@");
    let (code, _, told) = server.gwa("mail", &["import", &wrong]);
    assert_eq!(code, 12, "{told}");
    assert!(!told.contains("wrong@"), "{told}");

    let tls = format!("{}?sslmode=require", server.address());
    let (code, _, told) = server.gwa("mail", &["import", &tls]);
    assert_eq!(code, 2, "{told}");
}
