//! The current head of an archive behind a URL.
//!
//! A `gwa` tells it at `/head` and `/.well-known/gwa.json`, a public folder in its
//! file `HEAD`, an archive on Swarm in the update of a feed. What is told is only a CID; the head is the block it names, whose
//! signature is checked.

use hyper::header::{self, HeaderMap, HeaderValue};
use serde::Deserialize;

use super::gateway::{below, fault_of};
use super::net::NetError;
use super::{HttpSource, site};
use crate::archive::head::Head;
use crate::blocks::{Cid, Fault};

/// Longest description of a head read, bytes: ours have less than 2,000.
const MAX_TOLD: u64 = 64 << 10;

/// Where a `gwa` tells its head.
const PLACES: [&str; 2] = ["head", ".well-known/gwa.json"];

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
pub enum NoHead {
    /// Nothing there tells of a head.
    #[error("{source_name} tells of no head")]
    Untold {
        /// The source.
        source_name: String,
    },
    /// It could not be asked, or what it told is not true.
    #[error("{source_name} {fault}")]
    Fault {
        /// The source.
        source_name: String,
        /// What it did.
        fault: Fault,
    },
}

impl NoHead {
    /// Whether the source provably lied.
    pub fn is_lie(&self) -> bool {
        matches!(
            self,
            Self::Fault {
                fault: Fault::Lied(_),
                ..
            }
        )
    }
}

/// The tag of what a `gwa` tells of the head `cid` as JSON. It is other than that of
/// the head's block, for both are had at one address, and weak, because another version
/// may word the same otherwise.
pub fn head_tag(cid: &Cid) -> HeaderValue {
    HeaderValue::try_from(format!("W/\"{cid}.json\"")).expect("a CID is plain ASCII")
}

/// The head that a client says to have with such a tag; `None` where it has none.
pub fn head_of_tag(tag: &HeaderValue) -> Option<Cid> {
    let tag = tag.to_str().ok()?.strip_prefix("W/\"")?;
    tag.strip_suffix(".json\"")?.parse().ok()
}

#[derive(Deserialize)]
struct Told {
    head: String,
}

impl HttpSource {
    /// The head it calls its current one, signature checked. Waits for the answer.
    pub fn current_head(&self) -> Result<Head, NoHead> {
        self.net().handle().block_on(self.find_head())
    }

    async fn find_head(&self) -> Result<Head, NoHead> {
        let failed = |fault| NoHead::Fault {
            source_name: self.account().name().to_owned(),
            fault,
        };
        if let Some(place) = self.swarm() {
            let shown = site::shown_on_swarm(self.server(), place).await;
            let head = shown.map_err(failed)?.ok_or_else(|| NoHead::Untold {
                source_name: self.account().name().to_owned(),
            })?;
            self.account().gave(head.block().bytes().len() as u64);
            return Ok(head);
        }
        let verified = self.verified();
        for place in PLACES {
            match self.told_at(place, verified.as_ref()).await {
                Ok(Some(cid)) => {
                    let same = verified.filter(|head| *head.cid() == cid);
                    return match same {
                        Some(head) => Ok(head),
                        None => self.head(&cid).await.map_err(failed),
                    };
                }
                Ok(None) => {}
                Err(error) => return Err(failed(fault_of(&error))),
            }
        }
        match site::pointer(self.server()).await {
            Ok((sequence, cid)) => {
                let block = site::head_file(self.server(), sequence, &cid)
                    .await
                    .map_err(failed)?;
                self.account().gave(block.bytes().len() as u64);
                self.read(&cid, block).map_err(failed)
            }
            Err(error) if error.is_transient() => Err(failed(fault_of(&error))),
            Err(_) => Err(NoHead::Untold {
                source_name: self.account().name().to_owned(),
            }),
        }
    }

    /// The CID told at `place`; `None` where nothing is, or nothing readable. Whoever is
    /// asked learns which head is `verified` here.
    async fn told_at(&self, place: &str, verified: Option<&Head>) -> Result<Option<Cid>, NetError> {
        let url = below(self.base(), place)?;
        let accept = HeaderValue::from_static("application/json");
        let mut headers = HeaderMap::from_iter([(header::ACCEPT, accept)]);
        if let Some(head) = verified {
            headers.insert(header::IF_NONE_MATCH, head_tag(head.cid()));
        }
        let mut tried = 0;
        let bytes = loop {
            let asked = async {
                let answer = self
                    .net()
                    .get(self.base(), &url, &headers, self.account(), MAX_TOLD)
                    .await?;
                answer.body.whole().await
            };
            match asked.await {
                Ok(bytes) => break bytes,
                Err(error) if self.net().again(self.account(), &mut tried, &error).await => {}
                Err(NetError::Status { code: 304, .. }) if verified.is_some() => {
                    return Ok(verified.map(|head| *head.cid()));
                }
                // A server that has something else there has no head there.
                Err(NetError::Status { code, .. }) if code < 500 && code != 429 => return Ok(None),
                Err(NetError::TooLong(_) | NetError::Unexpected(_)) => return Ok(None),
                Err(error) => return Err(error),
            }
        };
        let told: Option<Told> = serde_json::from_slice(&bytes).ok();
        Ok(told.and_then(|told| told.head.parse().ok()))
    }

    async fn head(&self, cid: &Cid) -> Result<Head, Fault> {
        let block = match self.fetch(cid).await {
            Ok(block) => block,
            Err(Fault::Absent) => {
                return Err(Fault::Failed(format!(
                    "names {cid} as its head, and does not have it"
                )));
            }
            Err(fault) => return Err(fault),
        };
        self.read(cid, block)
    }

    fn read(&self, cid: &Cid, block: crate::blocks::Block) -> Result<Head, Fault> {
        Head::decode(block).map_err(|error| {
            let fault = Fault::Lied(format!("names {cid} as its head: {error}"));
            self.account()
                .gave_none(cid, &fault, self.net().limits().rest);
            fault
        })
    }
}
