//! A depot on Swarm, behind a Bee node.
//!
//! Each file is uploaded whole and pinned, and so are the documents that say what
//! lies where ([`crate::swarm`]); the newest head is an update of a feed that a key
//! of its own signs, `swarm.key` in the data folder.
//!
//! Always true:
//! - What is kept is pinned at the node: no collector of garbage takes it there. In
//!   the network it stays as long as the batch of stamps that paid for it.
//! - A file that is not pinned is not called kept, whatever a document says.
//! - The feed is shown last: what its index names was uploaded before.
//! - Swarm has no conditional writes. Two writers with one key are noticed after the
//!   fact at best: one archive has one writer.

mod bee;
mod key;
mod notes;
mod shelf;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use secp256k1::{PublicKey, SecretKey};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use url::Url;

use self::bee::{Bee, Part};
use self::notes::Notes;
use self::shelf::Shelf;
use super::{Depot, DepotError, DepotSettings, Parcel};
use crate::archive::head::Head;
use crate::blocks::catalogue::{file_len, fragment_of};
use crate::blocks::{Block, BlockError, BlockSource, Cid, Fault, Refusal, catalogues, group_of};
use crate::sources::net::{Net, NetLimits};
use crate::swarm::{
    FileAt, Folder, FolderAt, Folders, Index, Owner, Reference, SwarmAddress, SwarmError,
    SwarmPlace, Update, decode_list, encode_list,
};

/// Blocks under way at once: a node fetches each chunk of theirs on its own.
const IN_FLIGHT: usize = 16;

/// Blocks that may wait to be taken.
const WAITING: usize = 16;

/// A depot on Swarm.
pub struct SwarmDepot {
    inner: Arc<Inner>,
    net: Arc<Net>,
}

struct Inner {
    name: String,
    bee: Bee,
    /// Signs the feed.
    secret: SecretKey,
    owner: Owner,
    /// Signs the archive's heads.
    archive: PublicKey,
    notes: Notes,
    /// What is kept; `None` until it was asked for.
    state: Mutex<Option<State>>,
    /// Held by whoever shows a head.
    showing: Mutex<()>,
}

#[derive(Default)]
struct State {
    shelf: Shelf,
    /// The head that was shown last.
    head: Option<Head>,
    /// Its index, and the list of folders where that is apart.
    pinned: Vec<Reference>,
    /// The number of the next update.
    next: u64,
    /// Documents that nothing names any more and that are still pinned.
    stale: Vec<Reference>,
}

impl SwarmDepot {
    /// The depot at the Bee node at `base`; nothing is asked yet. Where `settings`
    /// name a batch of postage stamps it pays, else the only one that the node has.
    pub fn new(base: &Url, settings: &DepotSettings) -> Result<Self, DepotError> {
        let secret = key::load_or_create(&settings.data)?;
        let owner = Owner::of(&secret.public_key());
        // With its feed, so that it can be given to readers as it is.
        let name = SwarmAddress {
            base: base.clone(),
            place: SwarmPlace::Feed(owner),
        }
        .to_string();
        let batch = settings.auth.as_ref();
        let batch = batch.map(|batch| batch.expose().trim());
        let net = Net::new(NetLimits::default()).map_err(|source| DepotError::Io {
            path: settings.data.clone(),
            source,
        })?;
        let inner = Inner {
            bee: Bee::new(name.clone(), base.clone(), batch)?,
            name,
            owner,
            secret,
            archive: settings.key,
            notes: Notes::new(&settings.data),
            state: Mutex::default(),
            showing: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
            net,
        })
    }

    /// Whose feed shows the newest head.
    pub fn owner(&self) -> Owner {
        self.inner.owner
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.net.handle().block_on(work)
    }
}

impl Inner {
    /// Makes `state` what is kept, where it is not known yet.
    async fn load<'s>(&self, state: &'s mut Option<State>) -> Result<&'s mut State, DepotError> {
        if state.is_none() {
            *state = Some(self.found().await?);
        }
        Ok(state.as_mut().expect("it was just made"))
    }

    /// What the feed shows, and the notes.
    async fn found(&self) -> Result<State, DepotError> {
        let mut state = State::default();
        if let Some((update, index)) = self.newest().await? {
            state.next = update.index() + 1;
            state
                .pinned
                .push(crate::swarm::reference_of(update.payload()));
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
    async fn newest(&self) -> Result<Option<(Update, Index)>, DepotError> {
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

    async fn list(&self, at: &Reference, bytes: u64) -> Result<Vec<FolderAt>, DepotError> {
        match self.document(at, bytes).await? {
            None => Ok(Vec::new()),
            Some(bytes) => decode_list(&bytes).map_err(|error| self.broken(&error)),
        }
    }

    async fn folder(&self, at: &FolderAt) -> Result<Option<Folder>, DepotError> {
        match self.document(&at.reference, at.bytes).await? {
            None => Ok(None),
            Some(bytes) => {
                let folder = Folder::decode(&bytes).map_err(|error| self.broken(&error))?;
                Ok((folder.path == at.path).then_some(folder))
            }
        }
    }

    /// A document, found to be the one that was asked for.
    async fn document(
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

    async fn keep(&self, name: &str, file: FileAt, car: &Path) -> Result<(), DepotError> {
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
        self.notes
            .keep(name, &file)
            .map_err(|source| self.noted(source))?;
        let mut state = self.state.lock().await;
        self.load(&mut state).await?.shelf.insert(name, file);
        Ok(())
    }

    /// The files that are pinned. What is not is forgotten.
    async fn kept(&self) -> Result<Vec<String>, DepotError> {
        let mut state = self.state.lock().await;
        let state = self.load(&mut state).await?;
        let pins = self.bee.pins().await?;
        drop_unpinned(&mut state.shelf, &pins);
        Ok(state.shelf.files().map(|(name, _)| name).collect())
    }

    async fn release(&self, name: &str) -> Result<(), DepotError> {
        let mut state = self.state.lock().await;
        let state = self.load(&mut state).await?;
        let Some(file) = state.shelf.get(name).cloned() else {
            return Ok(());
        };
        self.notes
            .release(name)
            .map_err(|source| self.noted(source))?;
        state.shelf.remove(name);
        // Two files with the same bytes are one to Swarm.
        if !state.shelf.refers_to(&file.reference) {
            self.bee.unpin(&file.reference).await?;
        }
        Ok(())
    }

    async fn newest_head(&self) -> Result<Option<Head>, DepotError> {
        Ok(self.newest().await?.map(|(_, index)| index.head))
    }

    async fn keep_head(&self, head: &Head, before: Option<&Head>) -> Result<(), DepotError> {
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
        let mut guard = self.state.lock().await;
        let state = self.load(&mut guard).await?;
        let pins = self.bee.pins().await?;
        if let Some(name) = drop_unpinned(&mut state.shelf, &pins) {
            return Err(DepotError::Lost {
                depot: self.name.clone(),
                what: format!("{name}, and perhaps more"),
            });
        }
        state.shelf.check_documents(&pins);
        let is_whole = !state.shelf.is_changed() && state.pinned.iter().all(|at| pins.contains(at));
        if is_shown && is_whole {
            return Ok(());
        }
        let mut described = Vec::new();
        for folder in state.shelf.to_describe() {
            let document = folder.encode().map_err(|error| self.broken(&error))?;
            let bytes = document.len() as u64;
            described.push(FolderAt {
                path: folder.path.clone(),
                reference: self.bee.upload_bytes(document).await?,
                bytes,
            });
        }
        let folders = state.shelf.shown_with(&described);
        let (payload, pinned) = self.index(head, &folders).await?;
        let number = newest.map_or(0, |(update, _)| update.index() + 1);
        let number = number.max(state.next);
        let update = Update::sign(&self.secret, number, payload);
        let update = update.map_err(|error| self.broken(&error))?;
        self.bee.show(&self.owner, &update).await?;

        // From here on it is shown: what fails now is done at the next head.
        state.next = number + 1;
        state.head = Some(head.clone());
        state.stale.extend(state.shelf.show(folders));
        let before = std::mem::replace(&mut state.pinned, pinned);
        let replaced = before.into_iter().filter(|at| !state.pinned.contains(at));
        state.stale.extend(replaced);
        self.clean(state).await;
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

    /// Lets go what nothing names any more. What fails is tried again another time.
    async fn clean(&self, state: &mut State) {
        if let Err(error) = self.notes.forget() {
            tracing::debug!(%error, "notes of what was kept on Swarm stay");
        }
        let mut still = Vec::new();
        for reference in std::mem::take(&mut state.stale) {
            if let Err(error) = self.bee.unpin(&reference).await {
                tracing::debug!(%error, %reference, "an old document stays pinned");
                still.push(reference);
            }
        }
        state.stale = still;
    }

    async fn block(&self, cid: &Cid) -> Result<Block, BlockError> {
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

    fn broken(&self, error: &SwarmError) -> DepotError {
        self.bee.refused(error.to_string())
    }

    fn noted(&self, source: std::io::Error) -> DepotError {
        DepotError::Io {
            path: "swarm".into(),
            source,
        }
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

/// Takes the files out that are not pinned; gives the name of one.
fn drop_unpinned(shelf: &mut Shelf, pins: &HashSet<Reference>) -> Option<String> {
    let unpinned = shelf.files();
    let unpinned = unpinned.filter(|(_, file)| !pins.contains(&file.reference));
    let unpinned: Vec<_> = unpinned.map(|(name, _)| name).collect();
    for name in &unpinned {
        shelf.remove(name);
    }
    unpinned.into_iter().next()
}

impl BlockSource for SwarmDepot {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        crate::blocks::check_cid(cid)?;
        self.wait(self.inner.block(cid))
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        // Three bytes of a digest are no proof.
        match self.get(cid) {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        let (out, mut blocks) = mpsc::channel(WAITING);
        let wanted = cids.to_vec();
        let driver = fetch_each(Arc::clone(&self.inner), wanted, out);
        self.net.handle().spawn(driver);
        while let Some(block) = blocks.blocking_recv() {
            if take(block?).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Sends each block, in any order, until one cannot be had or nobody listens.
async fn fetch_each(
    inner: Arc<Inner>,
    wanted: Vec<Cid>,
    out: mpsc::Sender<Result<Block, BlockError>>,
) {
    let mut wanted = wanted.into_iter();
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < IN_FLIGHT
            && let Some(cid) = wanted.next()
        {
            let inner = Arc::clone(&inner);
            tasks.spawn(async move { inner.block(&cid).await });
        }
        let Some(fetched) = tasks.join_next().await else {
            return;
        };
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        if out.send(fetched).await.is_err() {
            return;
        }
    }
}

impl Depot for SwarmDepot {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn keep(&self, parcel: &Parcel<'_>) -> Result<(), DepotError> {
        let name = &parcel.file.name;
        let io = |source| DepotError::Io {
            path: parcel.car.to_owned(),
            source,
        };
        let listed = catalogues::blocks_of(parcel.car);
        let blocks = listed.map_err(|error| io(std::io::Error::other(error)))?;
        if group_of(name).is_none() || file_len(&blocks) != parcel.file.bytes {
            let what = format!("{name} is not a file of blocks as this program writes them");
            return Err(self.inner.bee.refused(what));
        }
        let file = FileAt {
            // Known when it was uploaded.
            reference: Reference([0; 32]),
            root: parcel.root,
            blocks,
        };
        self.wait(self.inner.keep(name, file, parcel.car))
    }

    fn kept(&self) -> Result<Vec<String>, DepotError> {
        self.wait(self.inner.kept())
    }

    fn release(&self, name: &str) -> Result<(), DepotError> {
        self.wait(self.inner.release(name))
    }

    fn keep_head(&self, head: &Head, before: Option<&Head>) -> Result<(), DepotError> {
        self.wait(self.inner.keep_head(head, before))
    }

    fn newest_head(&self) -> Result<Option<Head>, DepotError> {
        self.wait(self.inner.newest_head())
    }
}
