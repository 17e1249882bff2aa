//! Every method over HTTP, and what it answers.

use serde_json::{Value, json};

use crate::house::{House, eventually, hello, send};

/// Whether a value is `0x` and hex digits for so many bytes.
fn is_data(value: &Value, bytes: usize) -> bool {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    digits.is_some_and(|digits| {
        digits.len() == 2 * bytes && digits.bytes().all(|c| c.is_ascii_hexdigit())
    })
}

/// Whether a value is the id of a key or filter: 64 hex digits alone.
fn is_id(value: &Value) -> bool {
    let text = value.as_str().unwrap_or("");
    text.len() == 64 && text.bytes().all(|c| c.is_ascii_hexdigit())
}

#[tokio::test]
async fn a_node_says_what_it_is() {
    let house = House::new().await;
    assert_eq!(house.call("shh_version", json!([])).await, "6.0");
    // Arguments of a method that takes none are ignored.
    assert_eq!(house.call("shh_version", json!([1, 2])).await, "6.0");
    let info = house.call("shh_info", json!([])).await;
    assert_eq!(info["minPow"], 0.001);
    assert_eq!((&info["memory"], &info["messages"]), (&json!(0), &json!(0)));
    assert!(info["maxMessageSize"].as_u64().expect("a number") > 1 << 19);
    assert_eq!(house.call("net_version", json!([])).await, "1");
    assert_eq!(house.call("net_listening", json!([])).await, true);
    assert_eq!(house.call("net_peerCount", json!([])).await, "0x0");
    let version = house.call("web3_clientVersion", json!([])).await;
    assert!(version.as_str().expect("a text").starts_with("gwa/v"));
    assert_eq!(
        house.call("web3_sha3", json!(["0x68656c6c6f"])).await,
        "0x1c8aff950685c2ed4bc3174f3472287b56d9517b9c948127319a09a7a36deac8"
    );
    let modules = house.call("rpc_modules", json!([])).await;
    assert_eq!(
        (&modules["shh"], &modules["shhext"]),
        (&json!("1.0"), &json!("1.0"))
    );
    let node = house.call("admin_nodeInfo", json!([])).await;
    assert_eq!(node["enode"], house.enode.to_string());
    assert!(is_id(&node["id"]));
    assert_eq!(node["ports"]["listener"], house.enode.tcp);
    assert_eq!(house.call("admin_peers", json!([])).await, json!([]));
    house.end().await;
}

#[tokio::test]
async fn keys_are_made_taken_in_shown_and_forgotten() {
    let house = House::open().await;
    let pair = house.call("shh_newKeyPair", json!([])).await;
    assert!(is_id(&pair));
    assert_eq!(house.call("shh_hasKeyPair", json!([pair])).await, true);
    assert!(is_data(
        &house.call("shh_getPublicKey", json!([pair])).await,
        65
    ));
    assert!(is_data(
        &house.call("shh_getPrivateKey", json!([pair])).await,
        32
    ));
    assert_eq!(house.call("shh_deleteKeyPair", json!([pair])).await, true);
    assert_eq!(house.call("shh_hasKeyPair", json!([pair])).await, false);

    let secret = format!("0x{}", "33".repeat(32));
    let pair = house.call("shh_addPrivateKey", json!([secret])).await;
    assert_eq!(house.call("shh_getPrivateKey", json!([pair])).await, secret);
    let public = house.call("shh_getPublicKey", json!([pair])).await;
    assert_eq!(
        public,
        "0x043c72addb4fdf09af94f0c94d7fe92a386a7e70cf8a1d85916386bb2535c7b1b1\
         3b306b0fe085665d8fc1b28ae1676cd3ad6e08eaeda225fe38d0da4de55703e0"
    );

    let key = house.call("shh_newSymKey", json!([])).await;
    assert!(is_id(&key));
    assert!(is_data(
        &house.call("shh_getSymKey", json!([key])).await,
        32
    ));
    let bytes = format!("0x{}", "11".repeat(32));
    let added = house.call("shh_addSymKey", json!([bytes])).await;
    assert_eq!(house.call("shh_getSymKey", json!([added])).await, bytes);
    let derived = house.shared_key().await;
    assert_eq!(
        house.call("shh_getSymKey", json!([derived])).await,
        "0xa82a520aff70f7a989098376e48ec128f25f767085e84d7fb995a9815eebff0a"
    );
    assert_eq!(house.call("shh_hasSymKey", json!([derived])).await, true);
    assert_eq!(house.call("shh_deleteSymKey", json!([derived])).await, true);
    assert_eq!(
        house.call("shh_deleteSymKey", json!([derived])).await,
        false
    );
    assert_eq!(house.call("shh_hasSymKey", json!([derived])).await, false);
    house.end().await;
}

#[tokio::test]
async fn what_is_asked_of_envelopes_can_be_changed() {
    let house = House::open().await;
    let full = format!("0x{}", "ff".repeat(64));
    for (method, params) in [
        ("shh_setMinPoW", json!([0.5])),
        ("shh_setMaxMessageSize", json!([100_000])),
        ("shh_setBloomFilter", json!([full])),
        ("shh_makeLightClient", json!([])),
        ("shh_cancelLightClient", json!([])),
    ] {
        assert_eq!(house.call(method, params).await, true, "{method}");
    }
    let info = house.call("shh_info", json!([])).await;
    assert_eq!(
        (&info["minPow"], &info["maxMessageSize"]),
        (&json!(0.5), &json!(100_000))
    );
    house.end().await;
}

#[tokio::test]
async fn a_message_posted_is_found_by_filters_once() {
    let house = House::open().await;
    let key = house.shared_key().await;
    let pair = house.call("shh_newKeyPair", json!([])).await;
    let public = house.call("shh_getPublicKey", json!([pair])).await;
    let by_topic = json!([{"symKeyID": key, "topics": ["0x01020304"], "minPow": 0.0005}]);
    let filter = house.call("shh_newMessageFilter", by_topic).await;
    assert!(is_id(&filter));
    let for_owner = house
        .call("shh_newMessageFilter", json!([{"privateKeyID": pair}]))
        .await;

    let mut signed = hello(&key, "0x68656c6c6f");
    signed["sig"] = pair.clone();
    let hash = house.call("shh_post", json!([signed])).await;
    assert!(is_data(&hash, 32));
    let to_owner = json!({
        "pubKey": public, "ttl": 10, "payload": "0x68656c6c6f", "padding": "0xaa",
        "powTime": 30, "powTarget": 0.001,
    });
    house.call("shhext_post", json!([to_owner])).await;

    let mut messages = json!([]);
    eventually(async || {
        messages = house.call("shh_getFilterMessages", json!([filter])).await;
        messages != json!([])
    })
    .await;
    let message = &messages[0];
    assert_eq!((&message["hash"], &message["sig"]), (&hash, &public));
    assert_eq!(message["payload"], "0x68656c6c6f");
    assert_eq!(
        (&message["topic"], &message["ttl"]),
        (&json!("0x01020304"), &json!(10))
    );
    assert!(message["pow"].as_f64().expect("a number") >= 0.001);
    assert!(message["timestamp"].as_u64().expect("a time") > 1_700_000_000);
    assert_eq!(message.get("recipientPublicKey"), None);
    let padding = message["padding"].as_str().expect("a text");
    assert_eq!((padding.len() - 2) / 2, 256 - (1 + 1 + 5 + 65));

    let mut messages = json!([]);
    eventually(async || {
        messages = house
            .call("shh_getFilterMessages", json!([for_owner]))
            .await;
        messages != json!([])
    })
    .await;
    assert_eq!(messages[0]["recipientPublicKey"], public);
    assert_eq!(messages[0]["padding"], "0xaa");
    assert_eq!(messages[0].get("sig"), None);

    let again = house.call("shh_getFilterMessages", json!([filter])).await;
    assert_eq!(again, json!([]));
    for (method, filter) in [
        ("shh_deleteMessageFilter", filter),
        ("shh_uninstallFilter", for_owner),
    ] {
        assert_eq!(house.call(method, json!([filter])).await, true);
    }
    // What was posted was archived, too.
    let status: Value = send(house.get("/api/v1/status"))
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(status["envelopes"]["stored"], 2);
    house.end().await;
}

#[tokio::test]
async fn many_calls_travel_together() {
    let house = House::new().await;
    let answers = house
        .rpc(&json!([
            {"jsonrpc": "2.0", "id": "a", "method": "shh_version"},
            {"jsonrpc": "2.0", "id": 2, "method": "shh_nothing", "params": []},
            {"jsonrpc": "2.0", "id": 3, "method": "shh_newSymKey", "params": []},
            {"jsonrpc": "2.0", "method": "shh_version", "params": []},
            7,
        ]))
        .await;
    assert_eq!(
        answers[0],
        json!({"jsonrpc": "2.0", "id": "a", "result": "6.0"})
    );
    // A batch is no way around the gate.
    assert_eq!(
        (&answers[1]["id"], &answers[1]["error"]["code"]),
        (&json!(2), &json!(-32601))
    );
    assert_eq!(
        (&answers[2]["id"], &answers[2]["error"]["code"]),
        (&json!(3), &json!(-32001))
    );
    assert_eq!(answers[3]["error"]["message"], "missing request id");
    assert_eq!(answers[4]["error"]["code"], -32600);
    house.end().await;
}
