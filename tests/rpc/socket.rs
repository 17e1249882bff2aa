//! JSON-RPC over WebSocket, with notifications.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::house::{House, hello};

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A WebSocket to a daemon.
struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    notifications: Vec<Value>,
}

impl Socket {
    async fn open(house: &House) -> Self {
        let url = format!("{}?token={}", socket_url(house), house.token());
        let (stream, _) = connect_async(url).await.expect("a WebSocket");
        Self {
            stream,
            notifications: Vec::new(),
        }
    }

    async fn next(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.stream.next());
            let message = message.await.expect("something in time");
            if let Message::Text(text) = message.expect("a message").expect("no error") {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    }

    /// The answer to a call; notifications that come first are kept.
    async fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let call = json!({"jsonrpc": "2.0", "id": 9, "method": method, "params": params});
        let text = Message::text(call.to_string());
        self.stream.send(text).await.expect("sent");
        loop {
            let mut answer = self.next().await;
            if answer.get("id").is_none() {
                self.notifications.push(answer);
            } else if let Some(error) = answer.get_mut("error") {
                return Err(error.take());
            } else {
                return Ok(answer["result"].take());
            }
        }
    }

    async fn notification(&mut self) -> Value {
        match self.notifications.pop() {
            Some(notification) => notification,
            None => self.next().await,
        }
    }
}

fn socket_url(house: &House) -> String {
    format!("{}/rpc", house.url.replace("http://", "ws://"))
}

/// How the daemon turns a WebSocket away.
async fn refusal(house: &House, header: Option<(&'static str, &str)>) -> u16 {
    let mut request = socket_url(house).into_client_request().expect("a request");
    if let Some((name, value)) = header {
        let value = HeaderValue::from_str(value).expect("a value");
        request.headers_mut().insert(name, value);
    }
    match connect_async(request).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_socket_is_opened_to_those_who_may_do_everything() {
    let house = House::new().await;
    assert_eq!(refusal(&house, None).await, 401);
    assert_eq!(
        refusal(&house, Some(("authorization", "Bearer x"))).await,
        401
    );
    assert_eq!(
        refusal(&house, Some(("origin", "http://localhost"))).await,
        403
    );
    let mut socket = Socket::open(&house).await;
    assert_eq!(
        socket.call("shh_version", json!([])).await,
        Ok(json!("6.0"))
    );
    house.end().await;
}

#[tokio::test]
async fn what_one_daemon_posts_the_subscribers_of_another_are_told() {
    let (near, far) = (House::open().await, House::open().await);
    near.meet(&far).await;
    let mut socket = Socket::open(&far).await;
    let key = far.shared_key().await;
    let criteria = json!(["messages", {"symKeyID": key, "topics": ["0x01020304"]}]);
    let subscription = socket.call("shh_subscribe", criteria).await.expect("an id");
    assert!(subscription.as_str().expect("a text").starts_with("0x"));

    let near_key = near.shared_key().await;
    let hash = near
        .call("shh_post", json!([hello(&near_key, "0x68656c6c6f")]))
        .await;
    let told = socket.notification().await;
    assert_eq!(told["jsonrpc"], "2.0");
    assert_eq!(told["method"], "shh_subscription");
    assert_eq!(told["params"]["subscription"], subscription);
    assert_eq!(told["params"]["result"]["hash"], hash);
    assert_eq!(told["params"]["result"]["payload"], "0x68656c6c6f");

    let ended = socket.call("shh_unsubscribe", json!([subscription])).await;
    assert_eq!(ended, Ok(json!(true)));
    let again = socket.call("shh_unsubscribe", json!([subscription])).await;
    let error = again.expect_err("an error");
    assert_eq!(error["message"], "subscription not found");
    assert_eq!(error["code"], -32000);
    near.end().await;
    far.end().await;
}

#[tokio::test]
async fn what_cannot_be_subscribed_to_is_told() {
    let house = House::open().await;
    let mut socket = Socket::open(&house).await;
    let key = house.shared_key().await;
    for (params, code, text) in [
        (
            json!(["headers", {}]),
            -32601,
            "no \"headers\" subscription in shh namespace",
        ),
        (
            json!(["messages", {}]),
            -32000,
            "specify either a symmetric or an asymmetric key",
        ),
        (
            json!(["messages", {"symKeyID": key}]),
            -32000,
            "missing topic(s)",
        ),
        (
            json!(["messages", {"privateKeyID": "x"}]),
            -32000,
            "invalid public key",
        ),
        (
            json!(["messages"]),
            -32602,
            "missing value for required argument 1",
        ),
    ] {
        let error = socket.call("shh_subscribe", params).await.expect_err(text);
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!(code), &json!(text))
        );
    }
    house.end().await;
}

#[tokio::test]
async fn a_call_without_an_id_is_answered_as_by_geth() {
    let house = House::open().await;
    let mut socket = Socket::open(&house).await;
    let call = json!({"jsonrpc": "2.0", "method": "shh_version", "params": []});
    let sent = socket.stream.send(Message::text(call.to_string())).await;
    sent.expect("sent");
    let answer = socket.next().await;
    assert_eq!(answer["error"]["code"], -32700);
    assert_eq!(answer["error"]["message"], "missing request id");
    house.end().await;
}
