//! `gwa post`.

use gwa::rlpx::NodeKey;

use crate::house::House;

fn key_file(house: &House, name: &str) -> (String, NodeKey) {
    let key = NodeKey::generate();
    let path = house.path(name);
    std::fs::write(&path, key.to_secret_hex().as_bytes()).expect("a file");
    (path, key)
}

#[test]
fn a_message_to_a_chat_is_acknowledged_and_read_back_from_every_node() {
    let house = House::new();
    let (a, b) = (house.serve("a", &[]), house.serve("b", &[]));
    let posted = house
        .run(
            "none",
            &[
                "post",
                "--to",
                &a.enode,
                &b.enode,
                "--chat",
                "a chat",
                "--payload",
                "hello there",
            ],
        )
        .expect(0);
    let hash = posted.out.trim().to_owned();
    let args = [
        "--json",
        "request",
        &a.enode,
        &b.enode,
        "--chat",
        "a chat",
        "--decrypt",
    ];
    let rows = house.run("none", &args).expect(0).objects();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["hash"], hash.as_str());
    assert_eq!(rows[0]["text"], "hello there");
    assert_eq!(rows[0]["in"], serde_json::json!(["a", "b"]));
}

#[test]
fn a_message_shows_work_by_both_definitions_as_the_node_wants_it() {
    let house = House::new();
    let server = house.serve("a", &["--min-pow", "0.004"]);
    let posted = house
        .run(
            "none",
            &[
                "--json",
                "post",
                "--to",
                &server.enode,
                "--topic",
                "01020304",
                "--password",
                "secret",
                "--payload",
                "x",
                "--ttl",
                "10",
            ],
        )
        .expect(0);
    let object = posted.objects().remove(0);
    for work in object["work"].as_array().expect("two") {
        assert!(work.as_f64().expect("a number") >= 0.004, "{object}");
    }
    assert_eq!(object["topic"], "0x01020304");
    assert_eq!(object["ttl"], 10);
    assert_eq!(object["servers"][0]["acknowledged"], true);
}

#[test]
fn a_signed_message_to_a_key_is_read_by_its_owner() {
    let house = House::new();
    let server = house.serve("a", &[]);
    let (reader_file, reader) = key_file(&house, "reader.key");
    let (author_file, author) = key_file(&house, "author.key");
    let note = house.path("note.txt");
    std::fs::write(&note, "for you alone").expect("a file");
    let to = format!("0x04{}", reader.id());
    house
        .run(
            "none",
            &[
                "post",
                "--to",
                &server.enode,
                "--public-key",
                &to,
                "--file",
                &note,
                "--sign",
                &author_file,
            ],
        )
        .expect(0);
    let args = [
        "--json",
        "request",
        &server.enode,
        "--decrypt-key",
        &reader_file,
    ];
    let row = house.run("none", &args).expect(0).objects().remove(0);
    assert_eq!(row["text"], "for you alone");
    assert_eq!(row["signer"], format!("0x04{}", author.id()));
    let args = [
        "--json",
        "request",
        &server.enode,
        "--decrypt-key",
        &author_file,
    ];
    let row = house.run("none", &args).expect(0).objects().remove(0);
    assert!(row.get("payload").is_none(), "{row}");
}

#[test]
fn what_cannot_be_posted_says_why() {
    let house = House::new();
    let server = house.serve("a", &[]);
    let gone = house.serve("b", &[]).enode.clone();
    let post = |to: &[&str], args: &[&str]| {
        let args = [&["post", "--to"], to, &["--payload", "x"], args].concat();
        house.run("none", &args)
    };
    let enode = server.enode.as_str();
    post(&[&gone], &["--chat", "c"])
        .expect(1)
        .says("Connection refused");
    let ended = post(&[enode, &gone], &["--chat", "c"]).expect(3);
    assert!(ended.out.starts_with("0x"), "{}", ended.out);
    post(&[enode], &[]).expect(2).says("--chat");
    post(&[enode], &["--chat", "c", "--password", "p"]).expect(2);
    post(
        &[enode],
        &["--chat", "c", "--pow", "1e12", "--pow-time", "1s"],
    )
    .expect(1)
    .says("--ttl");
    let missing = house.path("missing.key");
    post(&[enode], &["--chat", "c", "--sign", &missing]).expect(12);
}
