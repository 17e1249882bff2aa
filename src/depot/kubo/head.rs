//! Heads at a node: one pin holds them.
//!
//! Always true:
//! - A pin that cannot be read any more counts for nothing: another one does, or none, and
//!   the heads are brought again. It goes when another one is there in its place.

use std::collections::HashSet;

use crate::archive::head::Head;
use crate::blocks::{Block, Cid};
use crate::depot::DepotError;
use crate::kubo::{Depth, KuboError, Part};

use super::holding::{HEADS, Holding, WHAT_HEADS, as_bytes, list, read_list};
use super::{KuboDepot, Packed, car, is_heads};

/// The newest head that is kept, and the pin that says so.
pub(super) struct Newest {
    pub(super) head: Head,
    holding: Holding,
    cid: Cid,
}

/// The pins on heads.
#[derive(Default)]
pub(super) struct Heads {
    pub(super) newest: Option<Newest>,
    /// Those that go once another one is there: older ones, where a change was cut off,
    /// and what cannot be read.
    others: Vec<Cid>,
}

impl KuboDepot {
    /// The newest head that is kept, and what else is pinned as such.
    pub(super) async fn heads(&self) -> Result<Heads, KuboError> {
        let mut heads = Heads::default();
        let pins = self.pinned(WHAT_HEADS).await?;
        for pin in pins.into_iter().filter(|pin| is_heads(&pin.what)) {
            let found = match self.read_newest(&pin.cid).await {
                Err(error) if error.is_missing() => {
                    self.note_lost_heads(&pin.cid, &error);
                    heads.others.push(pin.cid);
                    continue;
                }
                other => other?,
            };
            let Some(newest) = &mut heads.newest else {
                heads.newest = Some(found);
                continue;
            };
            let sequence = |newest: &Newest| newest.head.body().sequence;
            if sequence(&found) > sequence(newest) {
                heads.others.push(newest.cid);
                *newest = found;
                continue;
            }
            // Of two with one head, one holds more before it.
            if sequence(&found) == sequence(newest) {
                newest.holding.lists.extend(found.holding.lists);
            }
            heads.others.push(found.cid);
        }
        Ok(heads)
    }

    async fn read_newest(&self, cid: &Cid) -> Result<Newest, KuboError> {
        let lost = |what: &str| KuboError::Missing(format!("{what} {cid}"));
        let block = self.block(cid).await?;
        let holding = Holding::read(&block, &self.tag).ok_or_else(|| lost("no heads in"))?;
        let head = self.block(&holding.root).await?;
        let head = Head::decode(head).map_err(|_| lost("no head in"))?;
        Ok(Newest {
            head,
            holding,
            cid: *cid,
        })
    }

    /// Makes `head` the newest.
    pub(super) async fn advance(
        &self,
        head: &Head,
        before: Option<&Head>,
    ) -> Result<(), DepotError> {
        let failed = |error| self.failed(error);
        let heads = self.heads().await.map_err(failed)?;
        match (&heads.newest, before) {
            (Some(newest), _) if newest.head.cid() == head.cid() => return Ok(()),
            (Some(newest), _)
                if before.map(Head::cid) != Some(newest.head.cid())
                    || newest.head.body().sequence >= head.body().sequence =>
            {
                return Err(DepotError::Overtaken {
                    depot: self.name.clone(),
                    newest: newest.head.body().sequence,
                });
            }
            (None, Some(before)) => {
                return Err(DepotError::Lost {
                    depot: self.name.clone(),
                    what: format!("head {}", before.body().sequence),
                });
            }
            _ => {}
        }
        let of_cluster = self.room(0).await.map_err(failed)?;
        // What is new is looked through before anybody is told of it.
        if !of_cluster {
            self.look_through(head).await?;
        }
        let told = async {
            let more = std::slice::from_ref(head);
            let packed = self
                .take_in(heads.newest.as_ref(), head.cid(), more, of_cluster)
                .await?;
            self.hold_heads(&packed, &heads, of_cluster).await
        };
        told.await.map_err(failed)?;
        if !of_cluster && let Err(error) = self.show(head.cid()).await {
            // Nothing rests on it, and the next head makes it good.
            tracing::warn!(depot = self.name, %error, "users are not shown the head");
        }
        Ok(())
    }

    /// Adds heads to those that are kept; the newest stays.
    pub(super) async fn add_lineage(&self, heads: &[Head]) -> Result<(), KuboError> {
        let mut held = self.heads().await?;
        let Some(newest) = &held.newest else {
            return Ok(());
        };
        let mut known = HashSet::new();
        for pin in self.pinned(WHAT_HEADS).await? {
            match self.listed_by(&pin.cid).await {
                Ok(links) => known.extend(links),
                Err(error) if error.is_missing() => {
                    self.note_lost_heads(&pin.cid, &error);
                    if pin.cid != newest.cid && !held.others.contains(&pin.cid) {
                        held.others.push(pin.cid);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let unknown = heads
            .iter()
            .filter(|head| !known.contains(&as_bytes(head.cid())));
        let unknown: Vec<Head> = unknown.cloned().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let of_cluster = self.room(0).await?;
        let cid = *newest.head.cid();
        let packed = self
            .take_in(Some(newest), &cid, &unknown, of_cluster)
            .await?;
        self.hold_heads(&packed, &held, of_cluster).await
    }

    /// The heads that a pin holds.
    async fn listed_by(&self, pin: &Cid) -> Result<Vec<Cid>, KuboError> {
        let block = self.block(pin).await?;
        match Holding::read(&block, &self.tag) {
            Some(holding) => self.listed(&holding).await,
            None => Ok(Vec::new()),
        }
    }

    async fn listed(&self, holding: &Holding) -> Result<Vec<Cid>, KuboError> {
        let mut links = Vec::new();
        for cid in &holding.lists {
            links.extend(read_list(&self.block(cid).await?).unwrap_or_default());
        }
        Ok(links)
    }

    /// Packs heads with those that are held together with the newest so far; gives what
    /// is to be held in the place of that. Lists that are full are held for good, so that
    /// what is pinned with each head stays small.
    async fn take_in(
        &self,
        before: Option<&Newest>,
        newest: &Cid,
        more: &[Head],
        of_cluster: bool,
    ) -> Result<Packed, KuboError> {
        let mut links = Vec::new();
        if let Some(before) = before {
            match self.listed(&before.holding).await {
                Ok(listed) => links = listed,
                // They are brought again.
                Err(error) if error.is_missing() => self.note_lost_heads(&before.cid, &error),
                Err(error) => return Err(error),
            }
        }
        links.extend(more.iter().map(|head| as_bytes(head.cid())));
        let mut seen = HashSet::new();
        links.retain(|link| seen.insert(*link));
        let mut blocks: Vec<Block> = more.iter().map(|head| head.block().clone()).collect();
        while links.len() > HEADS {
            let later = links.split_off(HEADS);
            let full = list(&links);
            links = later;
            let cid = full.cid().to_string();
            let what = format!("{WHAT_HEADS}/{}", &cid[cid.len() - 12..]);
            blocks.push(full);
            let packed = self.pack_heads(newest, &what, &blocks)?;
            let name = format!("{}{what}", self.prefix);
            self.hold(&packed, &name, of_cluster).await?;
            // They are there now.
            blocks.clear();
        }
        blocks.push(list(&links));
        self.pack_heads(newest, WHAT_HEADS, &blocks)
    }

    /// A holding of the heads in the last of `blocks`, which is a list, beside them all.
    fn pack_heads(&self, newest: &Cid, what: &str, blocks: &[Block]) -> Result<Packed, KuboError> {
        let holding = Holding {
            gwa: self.tag.clone(),
            root: *newest,
            what: what.to_owned(),
            lists: blocks.last().map(|list| *list.cid()).into_iter().collect(),
        }
        .block();
        let bytes = car(&holding, blocks).map_err(|error| KuboError::Failed(error.to_string()))?;
        Ok(Packed {
            blocks: blocks.len() as u64 + 1,
            parts: vec![Part::Bytes(bytes)],
            holding,
        })
    }

    /// Holds heads in the place of those that were held before.
    async fn hold_heads(
        &self,
        packed: &Packed,
        before: &Heads,
        of_cluster: bool,
    ) -> Result<(), KuboError> {
        let name = format!("{}{WHAT_HEADS}", self.prefix);
        self.hold(packed, &name, of_cluster).await?;
        let newest = before.newest.as_ref().map(|newest| &newest.cid);
        for cid in before.others.iter().chain(newest) {
            if cid != packed.holding.cid() {
                self.client.pin_rm(cid, Depth::Recursive).await?;
            }
        }
        Ok(())
    }
}
