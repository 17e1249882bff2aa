//! What a depot on Swarm knows of itself, and what it asks its node for.

use std::collections::HashSet;
use std::path::Path;

use secp256k1::{PublicKey, SecretKey};
use tokio::sync::Mutex;

use super::bee::{Bee, Part};
use super::notes::Notes;
use super::shelf::Shelf;
use crate::archive::head::Head;
use crate::blocks::catalogue::{file_len, fragment_of};
use crate::blocks::{Block, BlockError, Cid, Fault, Refusal};
use crate::depot::DepotError;
use crate::swarm::{
    FileAt, Folder, FolderAt, Folders, Index, Owner, Reference, SwarmError, Update, decode_list,
    reference_of,
};

/// One hold of a depot.
pub(super) struct Inner {
    pub(super) name: String,
    pub(super) bee: Bee,
    /// Signs the feed.
    pub(super) secret: SecretKey,
    pub(super) owner: Owner,
    /// Signs the archive's heads.
    pub(super) archive: PublicKey,
    pub(super) notes: Notes,
    /// What is kept; `None` until it was asked for.
    pub(super) state: Mutex<Option<State>>,
    /// Held by whoever shows a head.
    pub(super) showing: Mutex<()>,
}

/// What is kept.
#[derive(Default)]
pub(super) struct State {
    pub(super) shelf: Shelf,
    /// The head that was shown last.
    pub(super) head: Option<Head>,
    /// Its index, and the list of folders where that is apart.
    pub(super) pinned: Vec<Reference>,
    /// The number of the next update.
    pub(super) next: u64,
    /// What nothing names any more and is still pinned.
    pub(super) stale: Vec<Reference>,
}

impl Inner {
    /// Makes `state` what is kept, where it is not known yet.
    pub(super) async fn load<'s>(
        &self,
        state: &'s mut Option<State>,
    ) -> Result<&'s mut State, DepotError> {
        if state.is_none() {
            *state = Some(self.found().await?);
        }
        Ok(state.as_mut().expect("it was just made"))
    }

    /// What the feed shows, and the notes.
    pub(super) async fn found(&self) -> Result<State, DepotError> {
        let mut state = State::default();
        if let Some((update, index)) = self.newest().await? {
            state.next = update.index() + 1;
            state.pinned.push(reference_of(update.payload()));
            let folders = match &index.folders {
                Folders::Here(folders) => folders.clone(),
                Folders::Elsewhere { reference, bytes } => {
                    state.pinned.push(*reference);
                    self.list(reference, *bytes).await?
                }
            };
            for at in folders {
                match self.folder(&at).await? {
                    Some(folder) => state.shelf.load(at, folder),
                    None => state.shelf.lost(at),
                }
            }
            state.head = Some(index.head);
        }
        let noted = self.notes.read();
        let noted = noted.map_err(|source| self.noted(source))?;
        for (name, file) in noted.kept {
            state.shelf.insert(&name, file);
        }
        for name in noted.released {
            state.shelf.remove(&name);
        }
        Ok(state)
    }

    /// The newest update of the feed, and the index in it.
    pub(super) async fn newest(&self) -> Result<Option<(Update, Index)>, DepotError> {
        let Some(update) = self.bee.newest(&self.owner).await? else {
            return Ok(None);
        };
        let index = Index::decode(update.payload()).map_err(|error| self.broken(&error))?;
        if *index.head.key() != self.archive {
            let key = index.head.key();
            let what = format!("the feed of swarm.key shows the archive of another key, {key}");
            return Err(self.bee.refused(what));
        }
        Ok(Some((update, index)))
    }

    pub(super) async fn list(
        &self,
        at: &Reference,
        bytes: u64,
    ) -> Result<Vec<FolderAt>, DepotError> {
        match self.document(at, bytes).await? {
            None => Ok(Vec::new()),
            Some(bytes) => decode_list(&bytes).map_err(|error| self.broken(&error)),
        }
    }

    pub(super) async fn folder(&self, at: &FolderAt) -> Result<Option<Folder>, DepotError> {
        match self.document(&at.reference, at.bytes).await? {
            None => Ok(None),
            Some(bytes) => {
                let folder = Folder::decode(&bytes).map_err(|error| self.broken(&error))?;
                Ok((folder.path == at.path).then_some(folder))
            }
        }
    }

    /// A document, found to be the one that was asked for.
    pub(super) async fn document(
        &self,
        at: &Reference,
        bytes: u64,
    ) -> Result<Option<bytes::Bytes>, DepotError> {
        let most = usize::try_from(bytes).unwrap_or(usize::MAX);
        let Part::Bytes(bytes) = self.bee.read_all(at, most).await? else {
            return Ok(None);
        };
        at.check(&bytes).map_err(|error| self.broken(&error))?;
        Ok(Some(bytes))
    }

    pub(super) async fn keep(
        &self,
        name: &str,
        file: FileAt,
        car: &Path,
    ) -> Result<(), DepotError> {
        let known = {
            let mut state = self.state.lock().await;
            let state = self.load(&mut state).await?;
            state.shelf.get(name).cloned()
        };
        let is_the_same = |known: &FileAt| known.root == file.root && known.blocks == file.blocks;
        if let Some(known) = known.filter(is_the_same)
            && self.bee.is_pinned(&known.reference).await?
        {
            return Ok(());
        }
        let reference = self.bee.upload_file(car, file_len(&file.blocks)).await?;
        let file = FileAt { reference, ..file };
        let mut state = self.state.lock().await;
        let state = self.load(&mut state).await?;
        self.notes
            .keep(name, &file)
            .map_err(|source| self.noted(source))?;
        state.shelf.insert(name, file);
        Ok(())
    }

    /// The files that are pinned. What is not is forgotten.
    pub(super) async fn kept(&self) -> Result<Vec<String>, DepotError> {
        self.check_pins().await?;
        let mut state = self.state.lock().await;
        let state = self.load(&mut state).await?;
        Ok(state.shelf.files().map(|(name, _)| name).collect())
    }

    /// Forgets the files that are not pinned; gives what is, and the name of one that
    /// was forgotten.
    pub(super) async fn check_pins(
        &self,
    ) -> Result<(HashSet<Reference>, Option<String>), DepotError> {
        let before: Vec<(String, Reference)> = {
            let mut state = self.state.lock().await;
            let files = self.load(&mut state).await?.shelf.files();
            files.map(|(name, file)| (name, file.reference)).collect()
        };
        // What is kept meanwhile may not be among them.
        let pins = self.bee.pins().await?;
        let mut state = self.state.lock().await;
        let shelf = &mut self.load(&mut state).await?.shelf;
        let mut forgotten = None;
        for (name, reference) in before {
            let is_there = |file: &FileAt| file.reference == reference;
            if !pins.contains(&reference) && shelf.get(&name).is_some_and(is_there) {
                shelf.remove(&name);
                forgotten = Some(name);
            }
        }
        Ok((pins, forgotten))
    }

    pub(super) async fn release(&self, name: &str) -> Result<(), DepotError> {
        let reference = {
            let mut state = self.state.lock().await;
            let state = self.load(&mut state).await?;
            if state.shelf.get(name).is_none() {
                return Ok(());
            }
            self.notes
                .release(name)
                .map_err(|source| self.noted(source))?;
            let removed = state.shelf.remove(name);
            removed.expect("it was just there").reference
        };
        self.let_go(reference).await
    }

    /// Unpins a reference that nothing names any more, at once or at the next head.
    pub(super) async fn let_go(&self, reference: Reference) -> Result<(), DepotError> {
        let is_named = {
            let state = self.state.lock().await;
            let shelf = state.as_ref().map(|state| &state.shelf);
            shelf.is_some_and(|shelf| shelf.refers_to(&reference))
        };
        // Two files with the same bytes are one to Swarm.
        if is_named {
            return Ok(());
        }
        let unpinned = self.bee.unpin(&reference).await;
        if unpinned.is_err()
            && let Some(state) = self.state.lock().await.as_mut()
        {
            state.stale.push(reference);
        }
        unpinned
    }

    pub(super) async fn block(&self, cid: &Cid) -> Result<Block, BlockError> {
        let unavailable = |fault| BlockError::Unavailable {
            cid: *cid,
            by: vec![Refusal {
                source: self.name.clone(),
                fault,
            }],
        };
        let failed = |error: DepotError| unavailable(Fault::Failed(error.to_string()));
        let places = {
            let mut state = self.state.lock().await;
            let state = self.load(&mut state).await.map_err(failed)?;
            if let Some(head) = state.head.as_ref().filter(|head| head.cid() == cid) {
                return Ok(head.block().clone());
            }
            state.shelf.places(cid)
        };
        let fragment = fragment_of(cid);
        for place in places {
            let read = self.bee.read(&place.reference, place.offset, place.len);
            let Part::Bytes(bytes) = read.await.map_err(failed)? else {
                continue;
            };
            match Block::verify(cid, bytes) {
                Ok(block) => return Ok(block),
                // Another block that bears the same fragment.
                Err(BlockError::WrongBytes { actual, .. }) if fragment_of(&actual) == fragment => {}
                Err(error) => return Err(unavailable(Fault::Lied(error.to_string()))),
            }
        }
        Err(BlockError::Missing { cid: *cid })
    }

    pub(super) fn broken(&self, error: &SwarmError) -> DepotError {
        self.bee.refused(error.to_string())
    }

    pub(super) fn noted(&self, source: std::io::Error) -> DepotError {
        DepotError::Io {
            path: "swarm".into(),
            source,
        }
    }
}
