//! What is refused, and in which words: geth's and status-go's.

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderName, ORIGIN};
use serde_json::{Value, json};

use crate::house::{House, hello, send};

/// Asserts that each call fails with its code and text.
async fn assert_refused(house: &House, cases: Vec<(&str, Value, i32, &str)>) {
    for (method, params, code, text) in cases {
        let error = match house.try_call(method, params.clone()).await {
            Err(error) => error,
            Ok(result) => panic!("{method} {params}: {result}"),
        };
        assert_eq!(error["code"], code, "{method} {params}: {error}");
        assert_eq!(error["message"], text, "{method} {params}");
    }
}

#[tokio::test]
async fn arguments_are_refused_in_geths_words() {
    let house = House::open().await;
    let unknown = "ab".repeat(32);
    let key = house.shared_key().await;
    let params = -32602;
    assert_refused(
        &house,
        vec![
            (
                "shh_nothing",
                json!([]),
                -32601,
                "the method shh_nothing does not exist/is not available",
            ),
            (
                "shh_hasKeyPair",
                json!([]),
                params,
                "missing value for required argument 0",
            ),
            ("shh_hasKeyPair", json!({"id": 1}), params, "non-array args"),
            (
                "shh_hasKeyPair",
                json!(["a", "b"]),
                params,
                "too many arguments, want at most 1",
            ),
            (
                "shh_hasKeyPair",
                json!([7]),
                params,
                "invalid argument 0: json: cannot unmarshal number into Go value of type string",
            ),
            (
                "shh_addSymKey",
                json!(["abcd"]),
                params,
                "invalid argument 0: json: cannot unmarshal hex string without 0x prefix \
                 into Go value of type hexutil.Bytes",
            ),
            (
                "shh_post",
                json!([{"symKeyID": key, "topic": "0x0102"}]),
                params,
                "invalid argument 0: hex string has length 4, want 8 for Topic",
            ),
            (
                "shh_post",
                json!([{"symKeyID": key, "topic": "01020304"}]),
                params,
                "invalid argument 0: hex string without 0x prefix",
            ),
            (
                "shh_post",
                json!([{"payload": "hello"}]),
                params,
                "invalid argument 0: json: cannot unmarshal hex string without 0x prefix \
                 into Go struct field NewMessage.payload of type hexutil.Bytes",
            ),
            (
                "shh_post",
                json!(["text"]),
                params,
                "invalid argument 0: json: cannot unmarshal string into Go value of type \
                 whisperv6.NewMessage",
            ),
            (
                "shh_newMessageFilter",
                json!([{"symKeyID": unknown, "topics": "0x01020304"}]),
                params,
                "invalid argument 0: json: cannot unmarshal string into Go struct field \
                 Criteria.topics of type []whisperv6.TopicType",
            ),
        ],
    )
    .await;
    house.end().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_told_in_geths_words() {
    let house = House::open().await;
    let key = house.shared_key().await;
    let pair = house.call("shh_newKeyPair", json!([])).await;
    let unknown = "ab".repeat(32);
    let stranger = gwa::rlpx::NodeKey::generate().id();
    let enode = format!("enode://{stranger}@127.0.0.1:1");
    let no_peer = format!(
        "Could not find peer with ID: {}",
        hex::encode(stranger.hash())
    );
    let with = |changes: Value| {
        let mut message = hello(&key, "0x01");
        for (name, value) in changes.as_object().expect("an object") {
            message[name] = value.clone();
        }
        json!([message])
    };
    let failed = -32000;
    assert_refused(
        &house,
        vec![
            ("shh_getPublicKey", json!([unknown]), failed, "invalid id"),
            ("shh_getPrivateKey", json!(["x"]), failed, "invalid id"),
            (
                "shh_deleteKeyPair",
                json!(["x"]),
                failed,
                "key pair x not found",
            ),
            (
                "shh_getSymKey",
                json!([unknown]),
                failed,
                "non-existent key ID",
            ),
            (
                "shh_addSymKey",
                json!(["0x0102"]),
                failed,
                "wrong key size: 2",
            ),
            (
                "shh_addPrivateKey",
                json!(["0x0102"]),
                failed,
                "invalid length, need 256 bits",
            ),
            (
                "shh_setMinPoW",
                json!([-1]),
                failed,
                "invalid PoW: -1.000000",
            ),
            (
                "shh_setBloomFilter",
                json!(["0x0102"]),
                failed,
                "invalid bloom filter size: 2",
            ),
            (
                "shh_markTrustedPeer",
                json!(["http://x"]),
                failed,
                "invalid URL scheme, want \"enode\"",
            ),
            ("shh_markTrustedPeer", json!([enode]), failed, &no_peer),
            (
                "shh_getFilterMessages",
                json!([unknown]),
                failed,
                "filter not found",
            ),
            (
                "shh_deleteMessageFilter",
                json!([unknown]),
                failed,
                "Unsubscribe: Invalid ID",
            ),
            (
                "shh_newMessageFilter",
                json!([{}]),
                failed,
                "specify either a symmetric or an asymmetric key",
            ),
            (
                "shh_newMessageFilter",
                json!([{"symKeyID": unknown}]),
                failed,
                "non-existent key ID",
            ),
            (
                "shh_newMessageFilter",
                json!([{"privateKeyID": unknown}]),
                failed,
                "invalid id",
            ),
            (
                "shh_newMessageFilter",
                json!([{"privateKeyID": pair, "sig": "0x04"}]),
                failed,
                "invalid signing public key",
            ),
            (
                "shh_post",
                json!([{}]),
                failed,
                "specify either a symmetric or an asymmetric key",
            ),
            ("shh_post", with(json!({"sig": "x"})), failed, "invalid id"),
            (
                "shh_post",
                with(json!({"topic": null})),
                failed,
                "missing topic(s)",
            ),
            (
                "shh_post",
                with(json!({"symKeyID": unknown})),
                failed,
                "non-existent key ID",
            ),
            (
                "shh_post",
                json!([{"pubKey": "0x04", "powTime": 1, "powTarget": 0.001}]),
                failed,
                "invalid public key",
            ),
            (
                "shh_post",
                with(json!({"powTime": 0})),
                failed,
                "failed to reach the PoW target, specified pow time (0 seconds) was insufficient",
            ),
            (
                "shh_post",
                with(json!({"powTarget": 0.0001})),
                failed,
                "message rejected, PoW too low",
            ),
            (
                "shh_post",
                with(json!({"powTime": 61})),
                failed,
                "powTime of 61 seconds is too long: at most 60",
            ),
            (
                "shh_post",
                with(json!({"targetPeer": enode})),
                failed,
                &no_peer,
            ),
            (
                "shh_subscribe",
                json!(["messages", {}]),
                failed,
                "notifications not supported",
            ),
            (
                "shh_unsubscribe",
                json!(["0x1"]),
                failed,
                "notifications not supported",
            ),
        ],
    )
    .await;
    house.end().await;
}

#[tokio::test]
async fn mail_requests_are_refused_in_the_words_of_status_go() {
    let house = House::open().await;
    let stranger = gwa::rlpx::NodeKey::generate().id();
    let enode = format!("enode://{stranger}@127.0.0.1:1");
    let no_peer = format!(
        "Could not find peer with ID: {}",
        hex::encode(stranger.hash())
    );
    let request = |changes: Value| {
        let mut request = json!({"mailServerPeer": enode});
        for (name, value) in changes.as_object().expect("an object") {
            request[name] = value.clone();
        }
        json!([request])
    };
    let failed = -32000;
    let ask = "shhext_requestMessages";
    assert_refused(
        &house,
        vec![
            (
                ask,
                request(json!({"from": 10, "to": 5})),
                failed,
                "Query range is invalid: from > to (10 > 5)",
            ),
            (
                ask,
                request(json!({"mailServerPeer": "x"})),
                failed,
                "invalid mailServerPeer value: invalid URL scheme, want \"enode\"",
            ),
            (
                ask,
                request(json!({"mailServerPeer": ""})),
                failed,
                "invalid mailServerPeer value: no connected mail servers",
            ),
            (
                ask,
                request(json!({"symKeyID": "x"})),
                failed,
                "invalid symKeyID value: non-existent key ID",
            ),
            (
                ask,
                request(json!({"cursor": "abcd"})),
                failed,
                "invalid cursor size: expected 36 but got 2",
            ),
            (ask, request(json!({})), failed, &no_peer),
            (
                "shhext_syncMessages",
                json!([{}]),
                failed,
                "invalid mailServerPeer value: invalid URL scheme, want \"enode\"",
            ),
            (
                "shhext_syncMessages",
                request(json!({"limit": 1001})),
                failed,
                "invalid 'Limit' value, expected at most 1000",
            ),
        ],
    )
    .await;
    house.end().await;
}

#[tokio::test]
async fn what_touches_keys_or_changes_anything_needs_the_token() {
    let house = House::new().await;
    for method in [
        "shh_post",
        "shh_newKeyPair",
        "shh_getSymKey",
        "shh_newMessageFilter",
        "shh_getFilterMessages",
        "shh_setMinPoW",
        "shh_subscribe",
        "shhext_requestMessages",
        "shhext_post",
        "admin_addPeer",
        "admin_removePeer",
        "admin_addTrustedPeer",
    ] {
        let error = house.try_call(method, json!([])).await.expect_err(method);
        assert_eq!(error["code"], -32001, "{method}");
        let told = format!("the method {method} needs the token in rpc.token");
        assert_eq!(error["message"], told);
    }
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "shh_newSymKey"});
    let url = format!("{}/rpc", house.url);
    let by_header = house.client.post(&url).bearer_auth(house.token());
    let by_query = house.client.post(format!("{url}?token={}", house.token()));
    for request in [by_header, by_query] {
        let answer: Value = send(request.json(&call)).await.json().await.expect("JSON");
        assert!(answer["result"].is_string(), "{answer}");
    }
    let wrong = house.client.post(&url).bearer_auth("guess").json(&call);
    assert_eq!(send(wrong).await.status(), StatusCode::UNAUTHORIZED);
    house.end().await;
}

#[tokio::test]
async fn http_is_spoken_as_geth_speaks_it() {
    let house = House::open().await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"shh_version"}"#;
    let post = |name: HeaderName, value: &str, body: &str| {
        let request = house.client.post(format!("{}/rpc", house.url));
        send(request.header(name, value).body(body.to_owned()))
    };
    for (kind, status) in [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/json-rpc", 200),
        ("application/jsonrequest", 200),
        ("text/plain", 415),
        // What a form of a web page may send without asking anybody.
        ("application/x-www-form-urlencoded", 415),
    ] {
        let answer = post(CONTENT_TYPE, kind, call).await;
        assert_eq!(answer.status(), status, "{kind}");
    }
    assert_eq!(send(house.get("/rpc")).await.status(), 200);
    let put = house.client.put(format!("{}/rpc", house.url));
    assert_eq!(send(put).await.status(), 405);
    let page = post(ORIGIN, "http://127.0.0.1:8547", call).await;
    assert_eq!(page.status(), 403);
    let large = " ".repeat(5 * 1024 * 1024 + 1);
    let answer = post(CONTENT_TYPE, "application/json", &large).await;
    assert_eq!(answer.status(), 413);
    for (body, code) in [("{", -32700), (r#"{"id":1}"#, -32600)] {
        let answer = post(CONTENT_TYPE, "application/json", body).await;
        let json: Value = answer.json().await.expect("JSON");
        assert_eq!(json["error"]["code"], code, "{body}: {json}");
    }
    house.end().await;
}
