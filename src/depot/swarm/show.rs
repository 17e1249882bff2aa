//! Showing a head: the documents of what changed, the index, and last the feed.

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
        let is_shown = shown.is_some_and(|shown| shown.cid() == head.cid());
        let (pins, forgotten) = self.check_pins().await?;
        if let Some(name) = forgotten {
            return Err(DepotError::Lost {
                depot: self.name.clone(),
                what: format!("{name}, and perhaps more"),
            });
        }
        let (changes, documents, notes) = {
            let mut state = self.state.lock().await;
            let state = self.load(&mut state).await?;
            state.shelf.check_documents(&pins);
            let changes = state.shelf.changes().clone();
            let index_is_there = state.pinned.iter().all(|at| pins.contains(at));
            if is_shown && changes.is_empty() && index_is_there {
                return Ok(());
            }
            let notes = self.notes.all().map_err(|source| self.noted(source))?;
            let described = state.shelf.to_describe().into_iter();
            let documents = described.map(|folder| Ok((folder.path.clone(), folder.encode()?)));
            let documents: Result<Vec<_>, SwarmError> = documents.collect();
            (
                changes,
                documents.map_err(|error| self.broken(&error))?,
                notes,
            )
        };
        let mut described = Vec::new();
        for (path, document) in documents {
            let bytes = document.len() as u64;
            described.push(FolderAt {
                path,
                reference: self.bee.upload_bytes(document).await?,
                bytes,
            });
        }
        let (folders, next) = {
            let mut state = self.state.lock().await;
            let state = self.load(&mut state).await?;
            (state.shelf.shown_with(&changes, &described), state.next)
        };
        let (payload, pinned) = self.index(head, &folders).await?;
        let number = newest.map_or(0, |(update, _)| update.index() + 1).max(next);
        let update = Update::sign(&self.secret, number, payload);
        let update = update.map_err(|error| self.broken(&error))?;
        self.bee.show(&self.owner, &update).await?;

        // From here on it is shown: what fails now is done at the next head.
        if let Err(error) = notes::forget(&notes) {
            tracing::debug!(%error, "notes of what was kept on Swarm stay");
        }
        let stale = {
            let mut state = self.state.lock().await;
            let state = self.load(&mut state).await?;
            state.next = number + 1;
            state.head = Some(head.clone());
            let mut stale = std::mem::take(&mut state.stale);
            stale.extend(state.shelf.show(folders, &changes));
            let before = std::mem::replace(&mut state.pinned, pinned);
            let replaced = before.into_iter().filter(|at| !state.pinned.contains(at));
            stale.extend(replaced);
            stale
        };
        for reference in stale {
            if let Err(error) = self.let_go(reference).await {
                tracing::debug!(%error, %reference, "an old document stays pinned");
            }
        }
        Ok(())
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
                let reference = self.bee.upload_bytes(list).await?;
                pinned.push(reference);
                let payload = index(Folders::Elsewhere { reference, bytes }).encode();
                payload.expect("a head and one reference fit into a chunk")
            }
        };
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
