//! Who takes records of names and passes them on: nodes of IPFS.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use url::Url;

use super::giver::{Giving, RecordGiver};
use crate::config::without_credentials;
use crate::kubo::{self, Auth, Kubo, KuboError, KuboLimits};
use crate::publish::ipns::{Name, Record};
use crate::sources::{SourceAddressError, base_url};

/// What came of passing a record on.
pub type Taking<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), KuboError>> + Send + 'a>>;

/// Somebody who has records of names, and takes newer ones.
pub trait RecordTaker: RecordGiver {
    /// Hands it a record. It bounds by itself how long it waits.
    fn put<'a>(&'a self, record: &'a Record) -> Taking<'a>;
}

/// Where records are handed in, as users write it: `kubo:http://127.0.0.1:5001`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakerAddress(Url);

impl FromStr for TakerAddress {
    type Err = SourceAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(kubo::SCHEME) {
            Some(url) => base_url(url).map(Self),
            None => Err(SourceAddressError::Url {
                // It is told, and so logged: not with the password that it may have.
                text: without_credentials(text),
                what: "records of names handed in at `kubo:URL` alone",
            }),
        }
    }
}

impl fmt::Display for TakerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.0.as_str().trim_end_matches('/');
        write!(f, "{}{url}", kubo::SCHEME)
    }
}

impl<'de> serde::Deserialize<'de> for TakerAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl TakerAddress {
    /// Whoever is there; nobody is asked yet.
    pub fn open(&self, auth: Option<Auth>) -> Result<Arc<dyn RecordTaker>, KuboError> {
        let kubo = Kubo::new(self.0.clone(), auth, KuboLimits::default())?;
        Ok(Arc::new(KuboNames::new(kubo)))
    }
}

/// A node of Kubo, and the routers that it knows: its peers, the DHT.
pub struct KuboNames {
    kubo: Kubo,
    name: String,
}

impl KuboNames {
    /// The node at this RPC.
    pub fn new(kubo: Kubo) -> Self {
        let name = kubo.name();
        Self { kubo, name }
    }
}

impl RecordGiver for KuboNames {
    fn name(&self) -> &str {
        &self.name
    }

    fn record<'a>(&'a self, name: &'a Name) -> Giving<'a> {
        Box::pin(async move {
            match self.kubo.routing_get(&format!("/ipns/{name}")).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(KuboError::Missing(_)) => Ok(None),
                Err(KuboError::Failed(text)) if text.contains("not found") => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

impl RecordTaker for KuboNames {
    fn put<'a>(&'a self, record: &'a Record) -> Taking<'a> {
        Box::pin(async move {
            let key = format!("/ipns/{}", record.name());
            match self.kubo.routing_put(&key, record.bytes().clone()).await {
                // The node keeps it before it tells its peers, and they may be slow.
                Err(away @ KuboError::Away(_)) => match self.kubo.routing_get(&key).await {
                    Ok(has) if has == *record.bytes() => Ok(()),
                    _ => Err(away),
                },
                other => other,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::publish::ipns::{KeyName, NameFolder, Wish};
    use crate::time::{Clock, SystemClock};

    /// A node that passes a record on for longer than anybody waits, and says that it has
    /// `value`.
    async fn slow_node(value: String) -> KuboNames {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let value = value.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    if head.starts_with(b"POST /api/v0/routing/put") {
                        std::future::pending::<()>().await;
                    }
                    let body = format!(r#"{{"Type":5,"Extra":"{value}"}}"#);
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    stream.write_all(answer.as_bytes()).await.unwrap();
                });
            }
        });
        let limits = KuboLimits {
            routing: Duration::from_millis(300),
            ..KuboLimits::default()
        };
        KuboNames::new(Kubo::new(url.parse().unwrap(), None, limits).unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_record_that_the_node_has_is_taken_however_slow_its_peers_are() {
        let dir = tempfile::tempdir().unwrap();
        let folder = NameFolder::new(dir.path());
        let key = folder.key_or_new(&KeyName::default()).unwrap();
        let next = folder.key_or_new(&"next".parse().unwrap()).unwrap();
        let wish = Wish::of_hand_over(next.name());
        let record = folder.say(&key, &wish, None, SystemClock.now()).unwrap();
        let coded = |bytes: &[u8]| multibase::Base::Base64Pad.encode(bytes);
        slow_node(coded(record.bytes()))
            .await
            .put(&record)
            .await
            .unwrap();
        slow_node(coded(b"another"))
            .await
            .put(&record)
            .await
            .unwrap_err();
    }

    #[test]
    fn records_are_handed_in_at_nodes_alone() {
        let taker: TakerAddress = "kubo:http://127.0.0.1:5001".parse().unwrap();
        assert_eq!(taker.to_string(), "kubo:http://127.0.0.1:5001");
        for text in ["", "http://127.0.0.1:5001", "kubo:", "kubo:http://u:p@h"] {
            assert!(text.parse::<TakerAddress>().is_err(), "{text}");
        }
        for text in [
            "http://me:hunter2@a",
            "kubo:http://me:hunter2@a",
            "kubo:x://u:hunter2@",
        ] {
            let told = text.parse::<TakerAddress>().unwrap_err().to_string();
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
