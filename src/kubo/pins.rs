//! Pins: what a node keeps when it collects garbage.
//!
//! Kubo keeps one recursive pin for each CID, under one name: a second `pin add`
//! renames it.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::{Kubo, KuboError};
use crate::blocks::Cid;

/// Most pins of one listing that are remembered: 300 bytes each.
const MOST_PINS: usize = 1 << 20;

/// Most lines of one listing, those of others included: some make no difference by
/// names.
const MOST_LINES: usize = 1 << 22;

/// How much a pin keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// One block.
    Direct,
    /// A block, and all that it leads to.
    Recursive,
}

impl Depth {
    const fn text(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Recursive => "recursive",
        }
    }
}

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// What it is on.
    pub cid: Cid,
    /// Its name; `None` where it has none, or the answer names none.
    pub name: Option<String>,
}

/// The pins that a node tells of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// Those whose name begins as asked, and those without.
    pub pins: Vec<Pin>,
    /// Whether they are those of a cluster, which tells no names.
    pub of_cluster: bool,
}

/// What came of a `pin update`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// The new one is pinned, under the name of the old one, which is not any more.
    Updated,
    /// The old one was not pinned: nothing is changed.
    NoOld,
    /// The new one was pinned already: nothing is changed.
    IsPinned,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "Cid", alias = "cid")]
    cid: String,
    #[serde(rename = "Name", alias = "name", default)]
    name: String,
}

#[derive(Deserialize)]
struct Added {
    #[serde(rename = "Pins")]
    pins: Option<Vec<String>>,
    /// Blocks that were gone through.
    #[serde(rename = "Progress", default)]
    progress: u64,
}

impl Kubo {
    /// Pins what is there already: nothing is fetched. A pin that is there gets the
    /// new name. `bytes` is what the node has to look through.
    pub async fn pin_add(
        &self,
        cid: &Cid,
        depth: Depth,
        name: &str,
        bytes: u64,
    ) -> Result<(), KuboError> {
        let recursive = depth == Depth::Recursive;
        let call = self
            .call("pin/add")
            .arg(cid)
            .option("recursive", recursive)
            .option("type", depth.text())
            .option("name", name)
            // It tells how far it is every half second, so that silence means
            // something.
            .option("progress", true)
            .option("offline", true)
            .of_any_length();
        let patience = self.limits().to_settle(bytes);
        let stall = self.limits().stall;
        let pinning = async {
            let (mut pinned, mut reached, mut since) = (false, 0, Instant::now());
            let mut answer = call.send().await?;
            let take = |line: Added| {
                pinned |= line.pins.is_some_and(|pins| !pins.is_empty());
                // Before the first block it waits for a collector to end.
                if line.progress != reached || reached == 0 {
                    (reached, since) = (line.progress, Instant::now());
                }
                if !pinned && since.elapsed() >= stall {
                    let seconds = stall.as_secs_f64();
                    return Err(KuboError::Away(format!(
                        "pinned no further for {seconds} s"
                    )));
                }
                Ok(())
            };
            answer.lines(take).await?;
            Ok(pinned)
        };
        let pinned = match tokio::time::timeout(patience, pinning).await {
            Ok(Err(KuboError::Away(text))) => {
                return Err(self.or_missing(cid, patience, text).await);
            }
            Ok(pinned) => pinned?,
            Err(_) => {
                let text = format!("did not pin within {} s", patience.as_secs());
                return Err(self.or_missing(cid, patience, text).await);
            }
        };
        if !pinned {
            return Err(KuboError::NotUnderstood("a pin without its CID".to_owned()));
        }
        Ok(())
    }

    /// Why a pin on `cid` did not come about, with the block that is missing where one
    /// is; else that the node is away, as `text` says. One that answers nothing at all
    /// is not asked for so much.
    async fn or_missing(&self, cid: &Cid, patience: Duration, text: String) -> KuboError {
        let asked = self.call("version").send_within(self.limits().stall).await;
        if let Err(KuboError::Away(_)) = asked {
            return KuboError::Away(text);
        }
        match self.dag_stat_within(cid, patience).await {
            Err(error) if error.is_missing() => error,
            _ => KuboError::Away(text),
        }
    }

    /// Lets a pin go; false where there was none.
    pub async fn pin_rm(&self, cid: &Cid, depth: Depth) -> Result<bool, KuboError> {
        let call = self
            .call("pin/rm")
            .arg(cid)
            .option("recursive", depth == Depth::Recursive)
            .option("offline", true);
        match call.send().await {
            Ok(mut answer) => {
                answer.whole(super::answer::LONGEST_LINE as u64).await?;
                Ok(true)
            }
            // Kubo's word, and that of IPFS Cluster.
            Err(KuboError::Failed(text))
                if text.contains("not pinned") || text.contains("not part of the pinset") =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Pins `to` in the place of `from`, looking only at what differs.
    ///
    /// The node pairs the links that differ by their order: below nodes that lose a link
    /// before others that change it goes through everything. It does not tell how far
    /// it is, so that it may take no longer than any answer.
    pub async fn pin_update(&self, from: &Cid, to: &Cid) -> Result<Update, KuboError> {
        let call = self
            .call("pin/update")
            .arg(from)
            .arg(to)
            .option("unpin", true)
            .option("offline", true);
        let patience = self.limits().answer;
        let updating = async {
            let mut answer = call.send_within(patience).await?;
            answer.whole(super::answer::LONGEST_LINE as u64).await
        };
        match updating.await {
            Ok(_) => Ok(Update::Updated),
            Err(KuboError::Failed(text)) if text.contains("was not recursively pinned") => {
                Ok(Update::NoOld)
            }
            Err(KuboError::Failed(text)) if text.contains("was already recursively pinned") => {
                Ok(Update::IsPinned)
            }
            Err(KuboError::Away(text)) => Err(self.or_missing(to, patience, text).await),
            Err(error) => Err(error),
        }
    }

    /// The pin on `cid`, where there is one of this depth.
    pub async fn pin_of(&self, cid: &Cid, depth: Depth) -> Result<Option<Pin>, KuboError> {
        let call = self
            .call("pin/ls")
            .arg(cid)
            .option("type", depth.text())
            .option("names", true)
            .option("stream", true)
            .option("offline", true);
        let mut found = None;
        let listed = async {
            let take = |line: Listed| {
                let name = Some(line.name).filter(|name| !name.is_empty());
                found = Some(Pin { cid: *cid, name });
                Ok(())
            };
            call.send().await?.lines(take).await
        };
        match listed.await {
            Err(KuboError::Failed(text)) if text.contains("is not pinned") => Ok(None),
            Err(KuboError::Missing(_)) => Ok(None),
            other => other.map(|()| found),
        }
    }

    /// The pins whose name begins with `prefix`, and those without a name where the
    /// answer has such.
    pub async fn pin_ls(&self, depth: Depth, prefix: &str) -> Result<Pins, KuboError> {
        let call = self
            .call("pin/ls")
            .option("type", depth.text())
            .option("names", true)
            .option("name", prefix)
            .option("stream", true);
        let mut answer = call.send().await?;
        let mut pins = Pins {
            pins: Vec::new(),
            of_cluster: answer.is_cluster(),
        };
        let mut lines = 0;
        answer
            .lines(|line: Listed| {
                lines += 1;
                if lines > MOST_LINES {
                    return Err(KuboError::NotUnderstood(format!(
                        "more than {MOST_LINES} lines"
                    )));
                }
                let name = Some(line.name).filter(|name| !name.is_empty());
                if name.as_ref().is_some_and(|name| !name.starts_with(prefix)) {
                    return Ok(());
                }
                // A CID of another version, or with another hash, is none of ours.
                let Ok(cid) = line.cid.parse::<Cid>() else {
                    return Ok(());
                };
                if pins.pins.len() == MOST_PINS {
                    return Err(KuboError::NotUnderstood(format!(
                        "more than {MOST_PINS} pins"
                    )));
                }
                pins.pins.push(Pin { cid, name });
                Ok(())
            })
            .await?;
        Ok(pins)
    }
}
