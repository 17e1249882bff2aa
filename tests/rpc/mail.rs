//! History asked for over RPC, and what becomes of it.

use serde_json::{Value, json};

use crate::house::{House, eventually, hello};

/// Two connected daemons; the far one has archived messages before the near one
/// came. Gives them, and the hashes of the messages.
pub async fn late_comer(messages: usize) -> (House, House, Vec<Value>) {
    let (near, far) = (House::open().await, House::open().await);
    let key = far.shared_key().await;
    let mut hashes = Vec::new();
    for number in 0..messages {
        let mut message = hello(&key, &format!("0x{number:02x}"));
        // It dies before the near one comes: only history has it.
        message["ttl"] = json!(1);
        hashes.push(far.call("shh_post", json!([message])).await);
    }
    eventually(async || far.call("shh_info", json!([])).await["memory"] == 0).await;
    near.meet(&far).await;
    (near, far, hashes)
}

async fn filters(house: &House) -> [Value; 2] {
    let key = house.shared_key().await;
    let criteria =
        |p2p: bool| json!([{"symKeyID": key, "topics": ["0x01020304"], "allowP2P": p2p}]);
    [
        house.call("shh_newMessageFilter", criteria(true)).await,
        house.call("shh_newMessageFilter", criteria(false)).await,
    ]
}

async fn found(house: &House, filter: &Value) -> Vec<Value> {
    let messages = house.call("shh_getFilterMessages", json!([filter])).await;
    let messages = messages.as_array().expect("a list").clone();
    messages
        .into_iter()
        .map(|mut message| message["hash"].take())
        .collect()
}

pub async fn password(house: &House) -> Value {
    let password = json!(["status-offline-inbox"]);
    house.call("shh_generateSymKeyFromPassword", password).await
}

#[tokio::test]
async fn history_comes_page_by_page_to_filters_that_allow_it() {
    let (near, far, mut hashes) = late_comer(3).await;
    let [open, closed] = filters(&near).await;
    let retries = json!({"baseTimeout": 20_000_000_000u64, "stepTimeout": 0, "maxRetries": 1});
    let mut request = json!({
        "mailServerPeer": far.enode.to_string(),
        "symKeyID": password(&near).await,
        "topics": ["0x01020304"],
        "limit": 2,
        "timeout": 20,
    });
    let sync = "shhext_requestMessagesSync";
    let page = near.call(sync, json!([retries, request])).await;
    assert_eq!(page["error"], Value::Null);
    let cursor = page["cursor"].as_str().expect("a text").to_owned();
    assert_eq!(cursor.len(), 72);
    // The end of the answer is told after its messages were found.
    let mut all = found(&near, &open).await;
    assert_eq!(all.len(), 2);

    request["cursor"] = json!(cursor);
    let page = near.call(sync, json!([retries, request])).await;
    assert_eq!(page, json!({"cursor": "", "error": null}));
    all.extend(found(&near, &open).await);
    let text = |hash: &Value| hash.as_str().map(str::to_owned);
    all.sort_by_key(text);
    hashes.sort_by_key(text);
    assert_eq!(all, hashes);
    assert_eq!(found(&near, &closed).await, Vec::<Value>::new());
    near.end().await;
    far.end().await;
}

#[tokio::test]
async fn a_request_is_sent_without_waiting_and_encrypted_to_the_server_where_it_has_no_key() {
    let (near, far, hashes) = late_comer(1).await;
    let [open, _] = filters(&near).await;
    // The server is known: it was marked as trusted.
    let request = json!([{"topics": ["0x01020304"]}]);
    let id = near.call("shhext_requestMessages", request).await;
    assert_eq!(id.as_str().expect("a text").len(), 66);
    let mut all = Vec::new();
    eventually(async || {
        all.extend(found(&near, &open).await);
        !all.is_empty()
    })
    .await;
    assert_eq!(all, hashes);
    near.end().await;
    far.end().await;
}

#[tokio::test]
async fn a_server_that_refuses_is_quoted() {
    let (near, far, _) = late_comer(0).await;
    let wrong = near.shared_key().await;
    let retries = json!({"baseTimeout": 20_000_000_000u64});
    let request = json!({"mailServerPeer": far.enode.to_string(), "symKeyID": wrong});
    let answer = near
        .call("shhext_requestMessagesSync", json!([retries, request]))
        .await;
    assert_eq!(
        answer,
        json!({"cursor": "", "error": "failed to decrypt p2p request"})
    );
    near.end().await;
    far.end().await;
}

#[tokio::test]
async fn an_archive_takes_over_what_another_mailserver_holds() {
    let (near, far, mut hashes) = late_comer(3).await;
    let mut request = json!({
        "mailServerPeer": far.enode.to_string(), "limit": 2, "topics": ["0x01020304"],
    });
    let page = near.call("shhext_syncMessages", json!([request])).await;
    assert_eq!(page["error"], "");
    let cursor = page["cursor"].as_str().expect("a text").to_owned();
    assert_eq!(cursor.len(), 72);
    request["cursor"] = json!(cursor);
    request["followCursor"] = json!(true);
    let rest = near.call("shhext_syncMessages", json!([request])).await;
    assert_eq!(rest, json!({"cursor": "", "error": ""}));

    // Now the near one is a mailserver that has them, too.
    far.meet(&near).await;
    let [open, _] = filters(&far).await;
    let retries = json!({"baseTimeout": 20_000_000_000u64});
    let request = json!({"mailServerPeer": near.enode.to_string(), "topics": ["0x01020304"]});
    let answer = far
        .call("shhext_requestMessagesSync", json!([retries, request]))
        .await;
    assert_eq!(answer, json!({"cursor": "", "error": null}));
    let mut all = found(&far, &open).await;
    let text = |hash: &Value| hash.as_str().map(str::to_owned);
    all.sort_by_key(text);
    hashes.sort_by_key(text);
    assert_eq!(all, hashes);
    near.end().await;
    far.end().await;
}

#[tokio::test]
async fn a_message_for_one_peer_reaches_its_filters_that_allow_it() {
    let (near, far, _) = late_comer(0).await;
    // The receiver must trust the sender.
    let enode = near.enode.to_string();
    eventually(async || {
        far.try_call("shh_markTrustedPeer", json!([enode]))
            .await
            .is_ok()
    })
    .await;
    let [open, closed] = filters(&far).await;
    let key = near.shared_key().await;
    let mut message = hello(&key, "0x01");
    message["targetPeer"] = json!(far.enode.to_string());
    // No work is asked of it.
    message["powTarget"] = json!(0);
    let hash = near.call("shh_post", json!([message])).await;
    let mut all = Vec::new();
    eventually(async || {
        all.extend(found(&far, &open).await);
        !all.is_empty()
    })
    .await;
    assert_eq!(all, [hash]);
    assert_eq!(found(&far, &closed).await, Vec::<Value>::new());
    near.end().await;
    far.end().await;
}

#[tokio::test]
async fn a_peer_may_be_dropped() {
    let (near, far, _) = late_comer(0).await;
    assert_eq!(near.call("net_peerCount", json!([])).await, "0x1");
    let peers = near.call("admin_peers", json!([])).await;
    assert_eq!(peers[0]["enode"], far.enode.to_string());
    assert_eq!(peers[0]["caps"], json!(["shh/6"]));
    assert_eq!(peers[0]["network"]["static"], true);
    let enode = json!([far.enode.to_string()]);
    assert_eq!(peers[0]["network"]["trusted"], false);
    assert_eq!(near.call("admin_addTrustedPeer", enode.clone()).await, true);
    let peers = near.call("admin_peers", json!([])).await;
    assert_eq!(peers[0]["network"]["trusted"], true);
    assert_eq!(near.call("admin_removePeer", enode).await, true);
    eventually(async || near.call("net_peerCount", json!([])).await == "0x0").await;
    near.end().await;
    far.end().await;
}
