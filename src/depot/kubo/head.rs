//! Heads at a node: one pin holds all of them, another one is on the newest itself.

use std::collections::HashSet;

use crate::archive::head::Head;
use crate::blocks::{Block, Cid};
use crate::depot::DepotError;
use crate::kubo::{Depth, KuboError, Part, Update};

use super::holding::{HEADS, Holding, WHAT_HEADS, as_bytes, list, read_list};
use super::{KuboDepot, Packed, Pinned, car, is_heads};

/// Name of the pin on the newest head itself.
const WHAT_HEAD: &str = "head";

/// The newest head that is kept, and the pin that says so.
pub(super) struct Newest {
    pub(super) head: Head,
    holding: Holding,
    cid: Cid,
}

impl KuboDepot {
    /// The newest head that is kept.
    pub(super) async fn newest(&self) -> Result<Option<Newest>, KuboError> {
        let mut newest: Option<Newest> = None;
        let pins = self.pinned(WHAT_HEADS).await?;
        // Two, where a change was cut off between them.
        for Pinned { cid, .. } in pins.into_iter().filter(|pin| is_heads(&pin.what)) {
            let lost = |what: &str| KuboError::Missing(format!("{what} {cid}"));
            let block = self.block(&cid).await?;
            let holding = Holding::read(&block, &self.tag).ok_or_else(|| lost("no heads in"))?;
            let head = self.block(&holding.root).await?;
            let head = Head::decode(head).map_err(|_| lost("no head in"))?;
            let sequence = head.body().sequence;
            let is_newer = |than: &Newest| sequence > than.head.body().sequence;
            if newest.as_ref().is_none_or(is_newer) {
                newest = Some(Newest { head, holding, cid });
            }
        }
        Ok(newest)
    }

    /// Makes `head` the newest.
    pub(super) async fn advance(
        &self,
        head: &Head,
        before: Option<&Head>,
    ) -> Result<(), DepotError> {
        let failed = |error| self.failed(error);
        let newest = self.newest().await.map_err(failed)?;
        match (&newest, before) {
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
        let packed = self
            .take_in(newest.as_ref(), head.cid(), std::slice::from_ref(head))
            .await
            .map_err(failed)?;
        // What it reaches is looked through before anybody is told of it.
        if !of_cluster && let Err(error) = self.show(head).await {
            let untold = packed.holding.cid();
            let removed = self.client.pin_rm(untold, Depth::Recursive).await;
            return Err(removed.map_or_else(failed, |_| error));
        }
        self.hold_heads(&packed, newest.as_ref())
            .await
            .map_err(failed)
    }

    /// Adds heads to those that are kept; the newest stays.
    pub(super) async fn add_lineage(&self, heads: &[Head]) -> Result<(), KuboError> {
        let Some(newest) = self.newest().await? else {
            return Ok(());
        };
        let mut known = HashSet::new();
        for pin in self.pinned(WHAT_HEADS).await? {
            let block = self.block(&pin.cid).await?;
            let holding = Holding::read(&block, &self.tag);
            for cid in holding.into_iter().flat_map(|holding| holding.lists) {
                known.extend(read_list(&self.block(&cid).await?).unwrap_or_default());
            }
        }
        let unknown = heads
            .iter()
            .filter(|head| !known.contains(&as_bytes(head.cid())));
        let unknown: Vec<Head> = unknown.cloned().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        self.room(0).await?;
        let cid = *newest.head.cid();
        let packed = self.take_in(Some(&newest), &cid, &unknown).await?;
        self.hold_heads(&packed, Some(&newest)).await
    }

    /// Imports heads beside those that are held together with the newest so far; gives
    /// what is to be pinned in the place of that. Lists that are full are pinned for
    /// good, so that what is pinned with each head stays small.
    async fn take_in(
        &self,
        before: Option<&Newest>,
        newest: &Cid,
        more: &[Head],
    ) -> Result<Packed, KuboError> {
        let mut links = Vec::new();
        for cid in before.into_iter().flat_map(|before| &before.holding.lists) {
            links.extend(read_list(&self.block(cid).await?).unwrap_or_default());
        }
        links.extend(more.iter().map(|head| as_bytes(head.cid())));
        let mut blocks: Vec<Block> = more.iter().map(|head| head.block().clone()).collect();
        while links.len() > HEADS {
            let later = links.split_off(HEADS);
            let full = list(&links);
            links = later;
            let cid = full.cid().to_string();
            let what = format!("{WHAT_HEADS}/{}", &cid[cid.len() - 12..]);
            blocks.push(full);
            let packed = self.pack_heads(newest, &what, &blocks)?;
            self.import(&packed).await?;
            self.name(&packed, &what).await?;
            // They are there now.
            blocks.clear();
        }
        blocks.push(list(&links));
        let packed = self.pack_heads(newest, WHAT_HEADS, &blocks)?;
        self.import(&packed).await?;
        Ok(packed)
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

    /// Imports heads, pinned from the first moment: they are few and small.
    async fn import(&self, packed: &Packed) -> Result<(), KuboError> {
        let imported = self.client.dag_import(packed.parts.clone(), true).await?;
        packed.check(&imported)
    }

    async fn name(&self, packed: &Packed, what: &str) -> Result<(), KuboError> {
        let name = format!("{}{what}", self.prefix);
        let cid = packed.holding.cid();
        self.client.pin_add(cid, Depth::Recursive, &name, 0).await
    }

    /// Holds heads that were taken in, in the place of those that were held before.
    async fn hold_heads(&self, packed: &Packed, before: Option<&Newest>) -> Result<(), KuboError> {
        self.name(packed, WHAT_HEADS).await?;
        match before {
            Some(before) if before.cid != *packed.holding.cid() => {
                self.client.pin_rm(&before.cid, Depth::Recursive).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Puts the pin that users see on `head`, where it is not theirs: on all that it
    /// reaches, unless a day was released.
    async fn show(&self, head: &Head) -> Result<(), DepotError> {
        let failed = |error| self.failed(error);
        let (cid, bytes) = (head.cid(), head.body().totals.bytes);
        let name = format!("{}{WHAT_HEAD}", self.prefix);
        let shown = async |depth| {
            let pins = self.client.pin_ls(depth, &name).await?.pins;
            let mut pins = pins.into_iter();
            let pin = pins.find(|pin| pin.name.as_deref() == Some(&name));
            Ok(pin.map(|pin| pin.cid))
        };
        if let Some(old) = shown(Depth::Direct).await.map_err(failed)? {
            return self
                .show_alone(cid, Some(&old), &name)
                .await
                .map_err(failed);
        }
        let old = shown(Depth::Recursive).await.map_err(failed)?;
        let update = match &old {
            Some(old) if old == cid => return Ok(()),
            Some(old) => self.client.pin_update(old, cid, bytes).await,
            None => Ok(Update::NoOld),
        };
        let result = match update {
            Ok(Update::NoOld) if self.is_pinned_by_others(cid).await.map_err(failed)? => Ok(()),
            Ok(Update::NoOld) => {
                let pin = self.client.pin_add(cid, Depth::Recursive, &name, bytes);
                pin.await
            }
            Ok(Update::Updated) => Ok(()),
            // Somebody pinned it before us, and it is his.
            Ok(Update::IsPinned) => match &old {
                Some(old) => self.client.pin_rm(old, Depth::Recursive).await.map(|_| ()),
                None => Ok(()),
            },
            Err(error) => Err(error),
        };
        match result {
            Err(KuboError::Missing(text)) => {
                if let Some(file) = self.holder_of(&text).await.map_err(failed)? {
                    return Err(DepotError::Lost {
                        depot: self.name.clone(),
                        what: format!("a block of {file}: {text}"),
                    });
                }
                // It was never kept here: that of a day that was dropped, or of a
                // history that was not fetched.
                if let Some(old) = &old {
                    self.client
                        .pin_rm(old, Depth::Recursive)
                        .await
                        .map_err(failed)?;
                }
                self.show_alone(cid, None, &name).await.map_err(failed)
            }
            other => other.map_err(failed),
        }
    }

    /// The same on the head alone.
    async fn show_alone(&self, cid: &Cid, old: Option<&Cid>, name: &str) -> Result<(), KuboError> {
        if !self.is_pinned_by_others(cid).await? {
            self.client.pin_add(cid, Depth::Direct, name, 0).await?;
        }
        match old {
            Some(old) if old != cid => self.client.pin_rm(old, Depth::Direct).await.map(|_| ()),
            _ => Ok(()),
        }
    }

    async fn is_pinned_by_others(&self, cid: &Cid) -> Result<bool, KuboError> {
        let pin = self.client.pin_of(cid, Depth::Recursive).await?;
        let is_ours = |name: &Option<String>| {
            name.as_ref()
                .is_some_and(|name| name.starts_with(&self.prefix))
        };
        Ok(pin.is_some_and(|pin| !is_ours(&pin.name)))
    }

    /// Takes the pin that users see from what the head reaches: a day goes.
    pub(super) async fn let_go_below_head(&self) -> Result<(), KuboError> {
        let name = format!("{}{WHAT_HEAD}", self.prefix);
        let pins = self.client.pin_ls(Depth::Recursive, &name).await?.pins;
        for pin in pins {
            if pin.name.as_deref() == Some(&name) {
                self.client.pin_rm(&pin.cid, Depth::Recursive).await?;
                self.client
                    .pin_add(&pin.cid, Depth::Direct, &name, 0)
                    .await?;
            }
        }
        Ok(())
    }

    /// The file that is to hold the block which `text` says is missing; its pin goes,
    /// so that it counts as kept no more. `None` where no file of ours holds it.
    async fn holder_of(&self, text: &str) -> Result<Option<String>, KuboError> {
        let named = text.split(|c: char| !c.is_ascii_alphanumeric());
        let missing: Vec<Cid> = named.filter_map(|word| word.parse().ok()).collect();
        let missing: Vec<Cid> = missing.iter().map(as_bytes).collect();
        for pin in self.pinned("").await? {
            let holds = self.holds_any(&pin.cid, &missing).await;
            let is_damaged = match holds {
                Ok(holds) => holds,
                Err(error) if error.is_missing() => true,
                Err(error) => return Err(error),
            };
            if is_damaged {
                self.client.pin_rm(&pin.cid, Depth::Recursive).await?;
                return Ok(Some(pin.what));
            }
        }
        Ok(None)
    }

    /// Whether the lists of a holding name one of these blocks. An error where one of
    /// its own is missing.
    async fn holds_any(&self, holding: &Cid, missing: &[Cid]) -> Result<bool, KuboError> {
        if missing.contains(&as_bytes(holding)) {
            return Ok(true);
        }
        let block = self.block(holding).await?;
        let Some(holding) = Holding::read(&block, &self.tag) else {
            return Ok(false);
        };
        for cid in &holding.lists {
            let links = read_list(&self.block(cid).await?).unwrap_or_default();
            if missing.contains(&as_bytes(cid)) || links.iter().any(|link| missing.contains(link)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
