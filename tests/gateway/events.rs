//! What changes, as it changes.

use gwa::archive::disk::seal_due;
use gwa::archive::testing::envelope;
use gwa::limits::Limits;
use gwa::time::UnixSeconds;
use reqwest::{Method, Response};
use serde_json::Value;

use crate::house::{House, SEALED, header, send};

const PATH: &str = "/api/v1/events";

/// A stream that is listened to.
struct Stream {
    answer: Response,
    text: String,
}

impl Stream {
    async fn open(house: &House) -> Self {
        let answer = send(house.get(PATH)).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "content-type"), "text/event-stream");
        assert_eq!(header(&answer, "cache-control"), "no-cache");
        Self {
            answer,
            text: String::new(),
        }
    }

    /// The next event; `None` where the stream has ended.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let mut lines = event.lines();
                let name = lines.find_map(|line| line.strip_prefix("event: "));
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                let told = name.zip(data).map(|(name, data)| {
                    let data = serde_json::from_str(data).expect("JSON");
                    (name.to_owned(), data)
                });
                self.text = rest.to_owned();
                match told {
                    Some(told) => return Some(told),
                    // A comment that keeps it open.
                    None => continue,
                }
            }
            let chunk = self.answer.chunk().await.ok().flatten()?;
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }

    /// The next event of this name.
    async fn of(&mut self, name: &str) -> Value {
        loop {
            let (told, data) = self.next().await.expect("the stream goes on");
            if told == name {
                return data;
            }
        }
    }
}

#[tokio::test]
async fn a_page_is_told_how_things_stand_and_then_what_changes() {
    let house = House::new().await;
    let mut stream = Stream::open(&house).await;
    let status = stream.of("status").await;
    assert_eq!(status["name"], house.told("/api/v1/status").await["name"]);
    assert_eq!(stream.of("head").await["cid"], house.cid().to_string());
    let verify = stream.of("verify").await;
    assert_eq!(
        (&verify["running"], &verify["last"]),
        (&Value::Null, &Value::Null)
    );

    let new = envelope(3, SEALED - 400, 300);
    house.archive.append(&[new]).expect("stored");
    seal_due(&house.archive, UnixSeconds(SEALED + 300)).expect("sealed");
    let head = stream.of("head").await;
    assert_eq!(head["cid"], house.cid().to_string());
    assert_eq!(head["seq"], house.head().body().sequence.0);

    let post = house.request(Method::POST, "/api/v1/verify");
    assert_eq!(send(post.bearer_auth(house.token())).await.status(), 202);
    let found = loop {
        let told = stream.of("verify").await;
        if told["last"].is_object() {
            break told;
        }
    };
    assert_eq!(found["last"]["ok"], true);
    // It ends with the daemon, which waits for nobody.
    house.end().await;
    while stream.next().await.is_some() {}
}

#[tokio::test]
async fn streams_are_bounded_and_a_place_is_free_again_once_one_is_left() {
    let house = House::limited(Limits::default()).await;
    let mut streams = Vec::new();
    for _ in 0..6 {
        streams.push(Stream::open(&house).await);
    }
    let refused = send(house.get(PATH)).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(header(&refused, "retry-after"), "30");
    drop(streams);
    crate::house::eventually(async || send(house.get(PATH)).await.status() == 200).await;
    house.end().await;
}
