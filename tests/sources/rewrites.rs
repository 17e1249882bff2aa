//! Sources that show a history that contradicts itself, as the command line tells it.

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use gwa::archive::head::{Head, HeadBody, Sequence};
use gwa::blocks::{BlockSource, Cid};
use secp256k1::SecretKey;

use super::house::{House, leaf, store};
use super::server::{Reply, Server, honest};

pub fn gwa(data: &std::path::Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gwa"))
        .env("XDG_CACHE_HOME", data)
        .arg("--data")
        .arg(data.join("data"))
        .args(args)
        .output()
        .expect("the program")
}

pub fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A head over the state of another.
pub fn head(of: &Head, sequence: u64, name: &str) -> Head {
    head_by(7, of, sequence, name)
}

/// A head over the state of another, signed by the key of this number.
pub fn head_by(key: u8, of: &Head, sequence: u64, name: &str) -> Head {
    let key = SecretKey::from_secret_bytes([key; 32]).expect("a key");
    let body = HeadBody {
        sequence: Sequence(sequence),
        name: name.to_owned(),
        skip: None,
        ..of.body().clone()
    };
    Head::sign(body, &key).expect("a head")
}

/// A `gwa` that shows whichever head it is told to.
pub fn shows(house: &House, heads: &[Head]) -> (Server, Arc<Mutex<Cid>>) {
    let current = Arc::new(Mutex::new(*heads[0].cid()));
    let blocks = house.blocks();
    let heads = store(
        &heads
            .iter()
            .map(|head| head.block().clone())
            .collect::<Vec<_>>(),
    );
    let shown = Arc::clone(&current);
    let server = Server::new(move |asked| {
        if asked.path == "/head" {
            let cid = *shown.lock().expect("nobody panicked");
            let json = ("content-type", "application/json".to_owned());
            let body = serde_json::json!({ "head": cid.to_string() }).to_string();
            return Reply::Whole(200, vec![json], body.into_bytes());
        }
        match asked.cid() {
            Some(cid) if heads.has(&cid).unwrap_or(false) => honest(&heads, asked),
            _ => honest(&blocks, asked),
        }
    });
    (server, current)
}

#[test]
fn a_history_taken_back_is_refused_and_proven() {
    let house = House::new(1, 100);
    let heads = [
        head(&house.head, 9, ""),
        head(&house.head, 7, ""),
        head(&house.head, 9, "b"),
    ];
    let (server, current) = shows(&house, &heads);
    let dir = tempfile::tempdir().unwrap();
    let count = ["query", &server.url, "--count"];
    let fine = gwa(dir.path(), &count);
    assert!(fine.status.success(), "{}", told(&fine));
    for (other, word) in [
        (&heads[1], "was seen before"),
        (&heads[2], "signed two heads"),
    ] {
        *current.lock().unwrap() = *other.cid();
        let refused = gwa(dir.path(), &count);
        assert_eq!(refused.status.code(), Some(20), "{}", told(&refused));
        let told = told(&refused);
        assert!(told.contains(word) && told.contains(&server.url), "{told}");
        assert!(told.contains("--accept-rewrite"), "{told}");
        // Both heads are there for whoever wants to see.
        for head in [&heads[0], other] {
            let proof = dir
                .path()
                .join("gwa/seen")
                .read_dir()
                .unwrap()
                .any(|entry| {
                    std::fs::read(entry.unwrap().path())
                        .is_ok_and(|bytes| bytes == *head.block().bytes())
                });
            assert!(proof, "{} is not kept", head.cid());
        }
    }
    // Whoever names a head by its CID has made no claim that it is the newest.
    let cid = heads[1].cid().to_string();
    let old = gwa(
        dir.path(),
        &["query", &cid, "--source", &server.url, "--count"],
    );
    assert!(old.status.success(), "{}", told(&old));
    let accepted = gwa(dir.path(), &[&count[..], &["--accept-rewrite"]].concat());
    assert!(accepted.status.success(), "{}", told(&accepted));
    // From there on it is the other one that counts.
    *current.lock().unwrap() = *heads[0].cid();
    assert_eq!(gwa(dir.path(), &count).status.code(), Some(20));
    let made = dir.path().join("data").exists();
    assert!(!made, "a question made a data folder");
}

#[test]
fn a_url_keeps_the_key_that_it_showed_first() {
    let house = House::new(3, 60);
    let heads = [
        head(&house.head, 9, ""),
        head_by(8, &house.head, 11, ""),
        head(&house.head, 11, ""),
    ];
    let (server, current) = shows(&house, &heads);
    let dir = tempfile::tempdir().unwrap();
    for made in [&["init"][..], &["merge", &server.url]] {
        let made = gwa(dir.path(), made);
        assert!(made.status.success(), "{}", told(&made));
    }
    *current.lock().unwrap() = *heads[1].cid();
    for command in ["merge", "fork", "query"] {
        let refused = gwa(dir.path(), &[command, &server.url]);
        assert_eq!(refused.status.code(), Some(20), "{}", told(&refused));
        let words = told(&refused);
        assert!(words.contains("another key than before"), "{words}");
        assert!(words.contains("--accept-rewrite"), "{words}");
    }
    *current.lock().unwrap() = *heads[2].cid();
    let fine = gwa(dir.path(), &["merge", &server.url]);
    assert!(fine.status.success(), "{}", told(&fine));
    *current.lock().unwrap() = *heads[1].cid();
    for accepted in [
        &["merge", &server.url, "--accept-rewrite"][..],
        &["merge", &server.url],
    ] {
        let accepted = gwa(dir.path(), accepted);
        assert!(accepted.status.success(), "{}", told(&accepted));
    }
}

#[test]
fn a_head_that_is_not_signed_is_refused() {
    let house = House::new(2, 50);
    let mut bytes = house.head.block().bytes().to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let forged = gwa::blocks::Block::new(gwa::blocks::Codec::DagCbor, bytes);
    let no_head = leaf("no head at all");
    for shown in [forged, no_head] {
        let cid = shown.cid().to_string();
        let blocks = store(&[shown]);
        let server = Server::new(move |asked| match asked.path.as_str() {
            "/head" => Reply::Whole(
                200,
                Vec::new(),
                format!(r#"{{"head":"{cid}"}}"#).into_bytes(),
            ),
            _ => honest(&blocks, asked),
        });
        let dir = tempfile::tempdir().unwrap();
        let refused = gwa(dir.path(), &["query", &server.url]);
        assert_eq!(refused.status.code(), Some(20), "{}", told(&refused));
        assert!(told(&refused).contains(&server.url), "{}", told(&refused));
        assert!(!dir.path().join("gwa/seen").exists(), "it was remembered");
    }
}
