//! Showing a head: the documents of what changed, the index, and last the feed.
//!
//! Always true:
//! - This disk has an update and its documents before the node has the update.
//! - An update is signed once. One that the feed does not show is sent again as it
//!   is, so that no number before the newest is missing: readers look no further
//!   than the first that is.
//! - What a head is the first to name no more is unpinned after the head that follows
//!   it: whoever reads by the one before has until then.
//! - An index leaves out no day that left this disk.

use super::inner::Inner;
use super::notes;
use crate::archive::head::Head;
use crate::depot::DepotError;
use crate::swarm::{FolderAt, Folders, Index, Reference, SwarmError, Update, encode_list};

impl Inner {
    pub(super) async fn newest_head(&self) -> Result<Option<Head>, DepotError> {
        Ok(self.newest().await?.map(|(_, index)| index.head))
    }

    pub(super) async fn keep_head(
        &self,
        head: &Head,
        before: Option<&Head>,
    ) -> Result<(), DepotError> {
        let _only_one = self.showing.lock().await;
        let newest = self.newest().await?;
        let shown = newest.as_ref().map(|(_, index)| &index.head);
        if let Some(shown) = shown.filter(|shown| is_of_another_writer(shown, head, before)) {
            return Err(DepotError::Overtaken {
                depot: self.name.clone(),
                newest: shown.body().sequence,
            });
        }
        let number = newest.as_ref().map(|(update, _)| update.index());
        self.renew(number).await?;
        let (pins, not_pinned) = self.check_pins().await?;
        if let Some(name) = not_pinned {
            return Err(DepotError::Lost {
                depot: self.name.clone(),
                what: format!("{name}, and perhaps more"),
            });
        }
        self.require_evicted().await?;
        let unnamed = self.unnamed().await?;
        let (changes, documents, notes, is_news) = {
            let mut state = self.state.lock().await;
            let state = self.load(&mut state).await?;
            state.shelf.check_documents(&pins);
            let changes = state.shelf.changes().clone();
            let index_is_there = state.pinned.iter().all(|at| pins.contains(at));
            let is_shown = state.head.as_ref() == Some(head) && state.last.is_some();
            let is_news = !is_shown || !changes.is_empty() || !index_is_there;
            let notes = self.notes.all().map_err(|source| self.noted(source))?;
            let described = state.shelf.to_describe().into_iter();
            let documents = described.map(|folder| Ok((folder.path.clone(), folder.encode()?)));
            let documents: Result<Vec<_>, SwarmError> = documents.collect();
            (
                changes,
                documents.map_err(|error| self.broken(&error))?,
                notes,
                is_news,
            )
        };
        if !is_news {
            return self.show_again(number).await;
        }
        let mut described = Vec::new();
        for (path, document) in documents {
            let bytes = document.len() as u64;
            let kept = self.map.keep(&document);
            kept.map_err(|source| self.mapped(source))?;
            described.push(FolderAt {
                path,
                reference: self.bee.upload_bytes(document).await?,
                bytes,
            });
        }
        let (folders, last) = {
            let mut state = self.state.lock().await;
            let state = self.load(&mut state).await?;
            let last = state.last.as_ref().map(Update::index);
            (state.shelf.shown_with(&changes, &described), last)
        };
        let (payload, pinned) = self.index(head, &folders).await?;
        self.show_again(number).await?;
        let next = number.max(last).map_or(0, |last| last + 1);
        let update = Update::sign(&self.secret, next, payload);
        let update = update.map_err(|error| self.broken(&error))?;
        let noted = self.map.show(&self.owner, &update);
        noted.map_err(|source| self.mapped(source))?;

        // From here on it is the last one, whether the node takes it now or later.
        if let Err(error) = notes::forget(&notes) {
            tracing::debug!(%error, "notes of what was kept on Swarm stay");
        }
        {
            let mut state = self.state.lock().await;
            let state = self.load(&mut state).await?;
            state.last = Some(update.clone());
            state.head = Some(head.clone());
            state.shelf.show(folders, &changes);
            state.pinned = pinned;
        }
        self.bee.show(&self.owner, &update).await?;

        // Not named by the head before either: what fails here is done at the next.
        for reference in unnamed {
            if let Err(error) = self.let_go(&reference).await {
                tracing::debug!(%error, %reference, "what nothing names stays pinned");
            }
        }
        Ok(())
    }

    /// Shows the last update again where the feed shows number `shown`, one before it.
    async fn show_again(&self, shown: Option<u64>) -> Result<(), DepotError> {
        let last = {
            let mut state = self.state.lock().await;
            self.load(&mut state).await?.last.clone()
        };
        match last.filter(|last| Some(last.index()) > shown) {
            Some(last) => self.bee.show(&self.owner, &last).await,
            None => Ok(()),
        }
    }

    /// Uploads the index of a head; gives its bytes, and what is pinned of it.
    async fn index(
        &self,
        head: &Head,
        folders: &[FolderAt],
    ) -> Result<(Vec<u8>, Vec<Reference>), DepotError> {
        let index = |folders| Index {
            head: head.clone(),
            folders,
        };
        let mut pinned = Vec::new();
        let payload = match index(Folders::Here(folders.to_vec())).encode() {
            Some(payload) => payload,
            None => {
                let list = encode_list(folders);
                let bytes = list.len() as u64;
                let kept = self.map.keep(&list);
                kept.map_err(|source| self.mapped(source))?;
                let reference = self.bee.upload_bytes(list).await?;
                pinned.push(reference);
                let payload = index(Folders::Elsewhere { reference, bytes }).encode();
                payload.expect("a head and one reference fit into a chunk")
            }
        };
        let kept = self.map.keep(&payload);
        kept.map_err(|source| self.mapped(source))?;
        pinned.push(self.bee.upload_bytes(payload.clone()).await?);
        Ok((payload, pinned))
    }
}

/// Whether the head that is shown is neither the one to be shown, nor the one that its
/// writer believes to be the newest, nor older than that. A feed that shows an older
/// one than its writer knows has lost something, or was looked up too early.
fn is_of_another_writer(shown: &Head, head: &Head, before: Option<&Head>) -> bool {
    if shown.cid() == head.cid() {
        return false;
    }
    before.is_none_or(|before| {
        shown.cid() != before.cid() && shown.body().sequence >= before.body().sequence
    })
}
