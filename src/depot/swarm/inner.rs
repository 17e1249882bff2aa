//! What a depot on Swarm knows of itself, and what it asks its node for.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use secp256k1::{PublicKey, SecretKey};
use tokio::sync::Mutex;

use super::bee::{Bee, Part};
use super::map::{Map, Shown};
use super::notes::Notes;
use super::shelf::Shelf;
use crate::archive::disk::evicted_beside;
use crate::archive::head::Head;
use crate::blocks::catalogue::{file_len, fragment_of};
use crate::blocks::{Block, BlockError, Cid, Fault, Refusal};
use crate::depot::{DepotError, KeptFile, StoreAddress};
use crate::swarm::{
    FileAt, Folder, FolderAt, Folders, Index, Owner, Reference, SwarmError, Update, decode_list,
    reference_of,
};

/// Files that the node is asked to pin again in one look at its pins. Each may be
/// fetched from the network and take minutes; others wait for the next look.
const PINNED_AGAIN: usize = 16;

/// Of those, how many may fail before the look ends: a node that does not find two
/// has lost them all as a rule, and each may take a minute to say so.
const NOT_PINNED_AGAIN: usize = 2;

/// Whether a store, as its user named it, is Swarm: the address of a node may change.
fn is_on_swarm(store: &str) -> bool {
    matches!(store.parse(), Ok(StoreAddress::Swarm(_)))
}

/// One hold of a depot.
pub(super) struct Inner {
    pub(super) name: String,
    pub(super) bee: Bee,
    /// Signs the feed.
    pub(super) secret: SecretKey,
    pub(super) owner: Owner,
    /// Signs the archive's heads.
    pub(super) archive: PublicKey,
    /// The archive's data folder.
    pub(super) data: PathBuf,
    pub(super) notes: Notes,
    pub(super) map: Map,
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
    /// The last update of the feed. No number up to its own is ever signed again.
    pub(super) last: Option<Update>,
    /// Files that the node does not pin. They are named all the same, for nothing else
    /// says where their blocks are, and the network may have them yet.
    pub(super) unpinned: HashSet<Reference>,
    /// Files that were tried to be pinned again so far.
    pub(super) tried: usize,
}

impl State {
    /// Whether something that is kept, or that readers are led by, has this reference.
    fn names(&self, reference: &Reference) -> bool {
        self.shelf.refers_to(reference)
            || self.shelf.is_described_at(reference)
            || self.pinned.contains(reference)
    }
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

    /// What the newer of this disk and the feed says, and the notes.
    pub(super) async fn found(&self) -> Result<State, DepotError> {
        let mut state = State::default();
        let on_disk = self.last_shown()?;
        let own = on_disk.as_ref().filter(|shown| shown.owner == self.owner);
        state.last = own.map(|shown| shown.update.clone());
        let newest = self.newest().await?;
        if newest.is_none() && own.is_none() {
            self.require_new()?;
        }
        let is_news = |(update, _): &(Update, Index)| {
            let last = state.last.as_ref().map(Update::index);
            last < Some(update.index())
        };
        let index = match (newest.filter(is_news), on_disk) {
            (Some((update, index)), _) => {
                state.last = Some(update);
                Some(index)
            }
            // What the feed of another key led to is kept as well.
            (None, Some(shown)) => Some(self.index_in(&shown.update)?),
            (None, None) => None,
        };
        if let Some(index) = index {
            let payload = index.encode().expect("it was read from one");
            state.pinned.push(reference_of(&payload));
            let folders = match &index.folders {
                Folders::Here(folders) => folders.clone(),
                Folders::Elsewhere { reference, bytes } => {
                    state.pinned.push(*reference);
                    self.list(reference, *bytes).await?
                }
            };
            for at in folders {
                let folder = self.folder(&at).await?;
                state.shelf.load(at, folder);
            }
            state.head = Some(index.head);
        }
        // Found once, it is not asked of the network again.
        if let Some(last) = &state.last {
            let shown = self.map.show(&self.owner, last);
            shown.map_err(|source| self.mapped(source))?;
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

    /// A feed that is not found was never shown only where it was begun here, and has
    /// shown nothing since by all that this disk knows.
    fn require_new(&self) -> Result<(), DepotError> {
        let is_new = self.map.is_new(&self.owner);
        if is_new.map_err(|source| self.mapped(source))? {
            return Ok(());
        }
        Err(self.bee.away(
            "does not find the feed of swarm.key now, and this disk does not know what it showed; \
             a feed that never showed anything is begun anew without swarm.key",
        ))
    }

    /// The last update that this disk knows of.
    fn last_shown(&self) -> Result<Option<Shown>, DepotError> {
        self.map.last().map_err(|source| self.mapped(source))
    }

    /// Makes the state what another hold of this depot, or the feed, knows by now;
    /// `shown` is the number that the feed shows.
    pub(super) async fn renew(&self, shown: Option<u64>) -> Result<(), DepotError> {
        let mut state = self.state.lock().await;
        let known = self.load(&mut state).await?;
        let on_disk = self.last_shown()?;
        let on_disk = on_disk.filter(|shown| shown.owner == self.owner);
        let newest = shown.max(on_disk.map(|shown| shown.update.index()));
        if newest > known.last.as_ref().map(Update::index) {
            let mut found = self.found().await?;
            found.unpinned = std::mem::take(&mut known.unpinned);
            *known = found;
        }
        Ok(())
    }

    /// The newest update of the feed, and the index in it.
    pub(super) async fn newest(&self) -> Result<Option<(Update, Index)>, DepotError> {
        let Some(update) = self.bee.newest(&self.owner).await? else {
            return Ok(None);
        };
        let index = self.index_in(&update)?;
        Ok(Some((update, index)))
    }

    /// The index in an update.
    fn index_in(&self, update: &Update) -> Result<Index, DepotError> {
        let index = Index::decode(update.payload()).map_err(|error| self.broken(&error))?;
        if *index.head.key() != self.archive {
            let key = index.head.key();
            let what = format!("the feed of swarm.key shows the archive of another key, {key}");
            return Err(self.bee.refused(what));
        }
        Ok(index)
    }

    async fn list(&self, at: &Reference, bytes: u64) -> Result<Vec<FolderAt>, DepotError> {
        let bytes = self.document(at, bytes).await?;
        decode_list(&bytes).map_err(|error| self.broken(&error))
    }

    async fn folder(&self, at: &FolderAt) -> Result<Folder, DepotError> {
        let bytes = self.document(&at.reference, at.bytes).await?;
        let folder = Folder::decode(&bytes).map_err(|error| self.broken(&error))?;
        if folder.path != at.path {
            let what = format!("the document of {} describes {}", at.path, folder.path);
            return Err(self.bee.refused(what));
        }
        Ok(folder)
    }

    /// A document, found to be the one that was asked for; from here on this disk has
    /// it. One that is not found is away: the files that it names are not forgotten.
    async fn document(&self, at: &Reference, bytes: u64) -> Result<bytes::Bytes, DepotError> {
        let here = self.map.document(at);
        if let Some(document) = here.map_err(|source| self.mapped(source))? {
            return Ok(document.into());
        }
        let most = usize::try_from(bytes).unwrap_or(usize::MAX);
        let Part::Bytes(bytes) = self.bee.read_all(at, most).await? else {
            let what = format!("does not find the document {at}, which says what is kept, now");
            return Err(self.bee.away(what));
        };
        at.check(&bytes).map_err(|error| self.broken(&error))?;
        let kept = self.map.keep(&bytes);
        kept.map_err(|source| self.mapped(source))?;
        Ok(bytes)
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
            let mut state = self.state.lock().await;
            self.load(&mut state)
                .await?
                .unpinned
                .remove(&known.reference);
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
        state.unpinned.remove(&reference);
        Ok(())
    }

    /// The files that are pinned.
    pub(super) async fn kept(&self) -> Result<Vec<KeptFile>, DepotError> {
        self.check_pins().await?;
        let mut state = self.state.lock().await;
        let state = self.load(&mut state).await?;
        let pinned = state.shelf.files();
        let pinned = pinned.filter(|(_, file)| !state.unpinned.contains(&file.reference));
        let kept = pinned.map(|(name, file)| KeptFile {
            name,
            bytes: Some(file_len(&file.blocks)),
        });
        Ok(kept.collect())
    }

    /// Marks the files that are not pinned and cannot be pinned again; gives what is,
    /// and the name of one that was not marked before.
    pub(super) async fn check_pins(
        &self,
    ) -> Result<(HashSet<Reference>, Option<String>), DepotError> {
        let (before, tried) = {
            let mut state = self.state.lock().await;
            let state = self.load(&mut state).await?;
            let files = state.shelf.files();
            let files = files.map(|(name, file)| (name, file.reference, file_len(&file.blocks)));
            (files.collect::<Vec<_>>(), state.tried)
        };
        // What is kept meanwhile may not be among them.
        let mut pins = self.bee.pins().await?;
        let missing = before.iter().filter(|(_, at, _)| !pins.contains(at));
        let missing: Vec<_> = missing.map(|(_, at, bytes)| (*at, *bytes)).collect();
        let (mut now_tried, mut failed) = (0, 0);
        // Each time from where the last look ended, so that all have their turn.
        let turns = missing.iter().cycle().skip(tried % missing.len().max(1));
        for (reference, bytes) in turns.take(missing.len().min(PINNED_AGAIN)) {
            if failed == NOT_PINNED_AGAIN {
                break;
            }
            now_tried += 1;
            match self.bee.pin(reference, *bytes).await {
                Ok(true) => {
                    pins.insert(*reference);
                }
                Ok(false) => failed += 1,
                Err(error) => {
                    tracing::debug!(%error, %reference, "a file was not pinned again");
                    failed += 1;
                }
            }
        }
        let mut state = self.state.lock().await;
        let state = self.load(&mut state).await?;
        state.tried = tried.wrapping_add(now_tried);
        let mut marked = None;
        for (name, reference, _) in before {
            let is_there = |file: &FileAt| file.reference == reference;
            if pins.contains(&reference) {
                state.unpinned.remove(&reference);
            } else if state.shelf.get(&name).is_some_and(is_there)
                && state.unpinned.insert(reference)
            {
                marked = Some(name);
            }
        }
        Ok((pins, marked))
    }

    pub(super) async fn release(&self, name: &str) -> Result<(), DepotError> {
        let mut state = self.state.lock().await;
        let state = self.load(&mut state).await?;
        if let Some(file) = state.shelf.get(name) {
            let noted = self.notes.release(name, &file.reference);
            noted.map_err(|source| self.noted(source))?;
            state.shelf.remove(name);
        }
        Ok(())
    }

    /// What is perhaps pinned, and named by nothing: documents that were replaced or
    /// never shown, and files that were released.
    pub(super) async fn unnamed(&self) -> Result<Vec<Reference>, DepotError> {
        let documents = self.map.documents();
        let mut all = documents.map_err(|source| self.mapped(source))?;
        let released = self.notes.to_unpin();
        all.extend(released.map_err(|source| self.noted(source))?);
        let mut state = self.state.lock().await;
        let state = self.load(&mut state).await?;
        all.retain(|reference| !state.names(reference));
        Ok(all)
    }

    /// Unpins a reference, unless it is of use again: two files with the same bytes are
    /// one to Swarm.
    pub(super) async fn let_go(&self, reference: &Reference) -> Result<(), DepotError> {
        let is_named = {
            let mut state = self.state.lock().await;
            self.load(&mut state).await?.names(reference)
        };
        if !is_named {
            self.bee.unpin(reference).await?;
            let forgotten = self.map.forget(reference);
            forgotten.map_err(|source| self.mapped(source))?;
        }
        let noted = self.notes.unpinned(reference);
        noted.map_err(|source| self.noted(source))
    }

    /// Days that left this disk for this depot must be among what readers are led to:
    /// nothing else says where they lie.
    pub(super) async fn require_evicted(&self) -> Result<(), DepotError> {
        let mut state = self.state.lock().await;
        let shelf = &self.load(&mut state).await?.shelf;
        let evicted = evicted_beside(&self.data, |last| shelf.has_last(last));
        let evicted = evicted.map_err(|source| DepotError::Io {
            path: self.data.clone(),
            source,
        })?;
        let mut here = evicted.iter().filter(|evicted| is_on_swarm(&evicted.store));
        match here.next() {
            None => Ok(()),
            Some(first) => {
                let (name, others) = (&first.name, here.count());
                Err(self.bee.refused(format!(
                    "nothing says where {name} lies there, nor {others} other files of days that \
                     left this disk: a head would leave them out. A copy of the data folder with \
                     swarm.key and swarm/ says it, or `gwa repair --from` fetches them from \
                     whoever has them"
                )))
            }
        }
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

    pub(super) fn mapped(&self, source: std::io::Error) -> DepotError {
        DepotError::Io {
            path: self.map.path().to_owned(),
            source,
        }
    }

    pub(super) fn noted(&self, source: std::io::Error) -> DepotError {
        DepotError::Io {
            path: "swarm".into(),
            source,
        }
    }
}
