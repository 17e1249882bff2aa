//! Who listens to server-sent events.

use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use crate::house::{header, send};

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub name: String,
    pub data: Value,
    pub id: Option<String>,
}

/// A stream that is listened to.
pub struct Listener {
    answer: Response,
    text: String,
}

impl Listener {
    /// Of the stream that `request` asks for.
    pub async fn of(request: RequestBuilder) -> Self {
        let answer = send(request).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "content-type"), "text/event-stream");
        assert_eq!(header(&answer, "cache-control"), "no-cache");
        Self {
            answer,
            text: String::new(),
        }
    }

    /// The next event; `None` where the stream has ended.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let of = |field: &str| {
                    let mut lines = event.lines();
                    let value = lines.find_map(|line| line.strip_prefix(field));
                    value.map(str::to_owned)
                };
                let told = of("event: ").zip(of("data: ")).map(|(name, data)| Told {
                    name,
                    data: serde_json::from_str(&data).expect("JSON"),
                    id: of("id: "),
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

    /// The data of the next event of this name.
    pub async fn wait_for(&mut self, name: &str) -> Value {
        loop {
            let told = self.next().await.expect("the stream goes on");
            if told.name == name {
                return told.data;
            }
        }
    }
}
