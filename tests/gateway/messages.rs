//! Messages posted over HTTP.

use gwa::archive::watermark::Watermark;
use gwa::limits::Limits;
use gwa::progress::Quiet;
use gwa::rlpx::NodeKey;
use gwa::time::{Clock, Expiry, SystemClock, Ttl};
use gwa::whisper::keys::SymKey;
use gwa::whisper::message::{MessageRandom, Opened, Reader, seal};
use gwa::whisper::mining::{Target, Template, mine_within};
use gwa::whisper::{Envelope, Pow, Topic};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::house::{House, eventually, header, send};
use crate::listener::Listener;

const PATH: &str = "/api/v1/messages";

/// A post of `body`, with the token.
fn post(house: &House, body: &Value) -> RequestBuilder {
    let post = house.request(Method::POST, PATH);
    post.bearer_auth(house.token()).json(body)
}

/// The answer to a post that is taken.
async fn posted(house: &House, body: &Value) -> Value {
    let answer = send(post(house, body)).await;
    let status = answer.status();
    let told: Value = answer.json().await.expect("JSON");
    assert_eq!(status, 201, "{told}");
    told
}

/// The result of a JSON-RPC call.
async fn call(house: &House, method: &str, params: Value) -> Value {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let request = house.request(Method::POST, "/rpc").json(&call);
    let answer = send(request.bearer_auth(house.token())).await;
    let answer: Value = answer.json().await.expect("JSON");
    assert!(answer.get("error").is_none(), "{method}: {answer}");
    answer["result"].clone()
}

/// Waits until `other` is a peer.
async fn meet(house: &House, other: &House) {
    let enode = other.told("/api/v1/status").await["enode"].clone();
    call(house, "admin_addPeer", json!([enode])).await;
    eventually(async || {
        house.told("/api/v1/status").await["peers"] == 1
            && other.told("/api/v1/status").await["peers"] == 1
    })
    .await;
}

/// A key in hex, and the message of somebody who has it.
fn with_key(text: &str) -> Value {
    let key = format!("0x{}", "11".repeat(32));
    json!({"topic": "0x01020304", "sym_key": key, "text": text})
}

/// What an envelope told with its ciphertext says.
fn opened(row: &Value) -> Opened {
    let data = row["data"].as_str().expect("ciphertext");
    let data = hex::decode(data.trim_start_matches("0x")).expect("hex");
    let key = SymKey::new([0x11; 32]).expect("a key");
    Opened::open_symmetric(&key, &data).expect("it opens")
}

#[tokio::test]
async fn a_message_posted_reaches_peers_streams_archives_and_its_readers() {
    let (house, other) = (House::new().await, House::new().await);
    meet(&house, &other).await;
    let mut here = Listener::of(house.get("/api/v1/stream?chat=status")).await;
    let mut there = Listener::of(other.get("/api/v1/stream?chat=status")).await;
    for stream in [&mut here, &mut there] {
        assert_eq!(stream.next().await.expect("an event").name, "position");
    }
    let body = json!({"chat": "status", "text": "a word from the bridge", "ttl": 30});
    let told = posted(&house, &body).await;
    assert_eq!(told["topic"], "0xcd423760");
    let number = |name: &str| told[name].as_u64().expect("a number");
    assert_eq!(number("expiry"), number("sent") + 30);
    assert_eq!(number("ttl"), 30);
    assert!(told["pow"].as_f64() >= Some(0.001));
    assert_eq!(told.get("data"), None);
    assert_eq!(here.wait_for("envelope").await, told);
    assert_eq!(there.wait_for("envelope").await, told);

    for house in [&house, &other] {
        let until = Watermark::at_or_before(SystemClock.now().saturating_add(600));
        let now = SystemClock.now();
        house.archive.seal(until, now, &Quiet).expect("sealed");
        let read = house.cli(&["read", "--chat", "status"]).await;
        assert_eq!(read.len(), 1, "{read:?}");
        assert_eq!(read[0]["hash"], told["hash"]);
        assert_eq!(read[0]["text"], "a word from the bridge");
    }
    house.end().await;
    other.end().await;
}

#[tokio::test]
async fn an_envelope_that_is_ready_is_posted_as_it_is_and_once() {
    let house = House::new().await;
    let key = SymKey::new([0x11; 32]).expect("a key");
    let random = MessageRandom::draw();
    let data = seal(b"sealed elsewhere", None, Reader::Holders(&key), &random);
    let template = Template {
        expiry: Expiry::of(SystemClock.now(), Ttl(60)),
        ttl: Ttl(60),
        topic: Topic([1, 2, 3, 4]),
        data: data.expect("short"),
    };
    let work = Pow::new(0.001).expect("work");
    let envelope = mine_within(&template, Target::Both(work), 1 << 24).expect("a nonce");
    let hex = |envelope: &Envelope| format!("0x{}", hex::encode(envelope.rlp()));
    let body = json!({"envelope": hex(&envelope)});
    let told = posted(&house, &body).await;
    assert_eq!(told["hash"], envelope.hash().to_string());
    let again = send(post(&house, &body)).await;
    assert_eq!(again.status(), 200);
    assert_eq!(again.json::<Value>().await.expect("JSON"), told);

    let idle = template.with_nonce(0);
    let long_gone = Template {
        expiry: Expiry(1_600_000_060),
        ..template.clone()
    };
    for refused in [
        hex(&long_gone.with_nonce(0)),
        "0xc0".to_owned(),
        "0x00".to_owned(),
    ] {
        let answer = send(post(&house, &json!({"envelope": refused}))).await;
        assert_eq!(answer.status(), 422, "{refused}");
    }
    // Work of chance is rare at this difficulty, and not asked about.
    if gwa::whisper::Work::of(&idle).most() < work {
        let answer = send(post(&house, &json!({"envelope": hex(&idle)}))).await;
        assert_eq!(answer.status(), 422);
        let told: Value = answer.json().await.expect("JSON");
        assert!(told["error"].as_str().expect("why").contains("low PoW"));
    }
    house.end().await;
}

#[tokio::test]
async fn a_message_is_signed_and_sealed_with_keys_that_the_daemon_holds() {
    let house = House::new().await;
    let pair = call(&house, "shh_newKeyPair", json!([])).await;
    let public = call(&house, "shh_getPublicKey", json!([pair])).await;
    let key = format!("0x{}", "11".repeat(32));
    let id = call(&house, "shh_addSymKey", json!([key])).await;
    let mut stream = Listener::of(house.get("/api/v1/stream?topic=01020304&data=1")).await;
    assert_eq!(stream.next().await.expect("an event").name, "position");
    let by_id = json!({
        "topic": "0x01020304", "sym_key_id": id, "payload": "0x6869", "sign": pair,
        "padding": "0xaabb", "pow_target": 0.002, "pow_time": 30,
    });
    posted(&house, &by_id).await;
    let row = stream.wait_for("envelope").await;
    let said = opened(&row);
    assert_eq!(
        (&*said.payload, &*said.padding),
        (&b"hi"[..], &[0xaa, 0xbb][..])
    );
    let signer = said.signer.expect("a signer").serialize_uncompressed();
    assert_eq!(format!("0x{}", hex::encode(signer)), public);
    assert!(row["pow"].as_f64() >= Some(0.002));

    posted(&house, &with_key("by its bytes")).await;
    let said = opened(&stream.wait_for("envelope").await);
    assert_eq!((&*said.payload, said.signer), (&b"by its bytes"[..], None));

    let owner = NodeKey::generate();
    let to_owner = json!({"public_key": format!("0x04{}", owner.id()), "text": "for you"});
    let told = posted(&house, &to_owner).await;
    assert_eq!(told["topic"], "0x00000000");
    house.end().await;
}

#[tokio::test]
async fn what_is_not_taken_is_told_apart_by_what_is_wrong_with_it() {
    let house = House::new().await;
    let long = "x".repeat(1 << 20);
    let no_point = format!("0x04{}", "ff".repeat(64));
    for (body, status) in [
        (json!({"chat": "status"}), 400),
        (json!({"chat": "status", "text": "hi", "ttl": 0}), 400),
        (
            json!({"chat": "status", "text": "hi", "colour": "red"}),
            400,
        ),
        (json!({"topic": "0x01020304", "text": "hi"}), 400),
        (json!({"public_key": no_point, "text": "hi"}), 422),
        (
            json!({"topic": "0x01020304", "sym_key_id": "none", "text": "hi"}),
            422,
        ),
        (json!({"chat": "status", "text": "hi", "sign": "none"}), 422),
        // Less than the node asks of others.
        (
            json!({"chat": "status", "text": "hi", "pow_target": 0.0001}),
            422,
        ),
        // Nobody finds that in a second.
        (
            json!({"chat": "status", "text": "hi", "pow_target": 1e6, "ttl": 600_000, "pow_time": 1}),
            422,
        ),
        (json!({"chat": "status", "text": long}), 422),
    ] {
        let answer = send(post(&house, &body)).await;
        let got = answer.status();
        let told: Value = answer.json().await.expect("JSON");
        let sent = body.to_string();
        assert_eq!(got, status, "{}: {told}", &sent[..sent.len().min(120)]);
        assert!(told["error"].is_string(), "{told}");
    }
    let text = house.request(Method::POST, PATH).bearer_auth(house.token());
    let text = text.header("content-type", "text/plain").body("{}");
    assert_eq!(send(text).await.status(), 415);
    let status = house.told("/api/v1/status").await;
    assert_eq!(status["envelopes"]["stored"], 0);
    house.end().await;
}

#[tokio::test]
async fn an_address_posts_at_a_rate() {
    let house = House::limited(Limits::default()).await;
    let mut refused = None;
    for _ in 0..60 {
        let answer = send(post(&house, &json!({}))).await;
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status(), 400);
    }
    let refused = refused.expect("it was too much at some time");
    let after: u64 = header(&refused, "retry-after").parse().expect("seconds");
    assert!(after >= 1);
    house.end().await;
}

#[tokio::test]
async fn those_who_wait_for_work_are_bounded_and_who_hangs_up_waits_no_more() {
    let house = House::new().await;
    let mut endless = with_key("never done");
    endless["pow_target"] = json!(1e6);
    endless["ttl"] = json!(600_000);
    endless["pow_time"] = json!(60);
    let mut posts = JoinSet::new();
    for _ in 0..40 {
        posts.spawn(send(post(&house, &endless)));
    }
    // One is mined, 32 wait.
    for _ in 0..7 {
        let refused = posts.join_next().await.expect("one").expect("no panic");
        assert_eq!(refused.status(), 503);
        assert_eq!(header(&refused, "retry-after"), "5");
    }
    posts.shutdown().await;
    let easy = with_key("soon done");
    eventually(async || send(post(&house, &easy)).await.status() == 201).await;
    house.end().await;
}

#[tokio::test]
async fn a_mirror_posts_nothing() {
    let house = House::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = gwa::archive::disk::Archive::replica(
        folder.path(),
        &house.head(),
        "file:/nowhere".to_owned(),
    );
    let mirror = House::over(folder, mirror.expect("a replica"), |_| {}).await;
    let answer = send(post(&mirror, &with_key("no"))).await;
    assert_eq!(answer.status(), 409);
    mirror.end().await;
    house.end().await;
}
