//! A depot at an IPFS node: Kubo, or IPFS Cluster before several.
//!
//! Files are imported whole, in one request each, and each is held by one named pin:
//!
//! ```text
//! gwa/TAG/days/2018/2018-09-15.zq4x2tkcsb5m.car   a file, under its name
//! gwa/TAG/heads                                   the newest head, and some before it
//! gwa/TAG/heads/zq4x2tkcsb5m                      heads before those, once for each list
//! gwa/TAG/head                                    the newest head itself, directly
//! gwa/TAG/state                                   its state, and all that it leads to
//! ```
//!
//! Always true:
//! - What is kept is what is pinned: no list is written that could say otherwise.
//! - Those pins are on blocks of their own ([`holding`]), which nobody else pins. The
//!   last two are on what users know, and nothing rests on them (`show`).
//! - What the node has lost is let go of by nobody, and brought again where it is here
//!   (`losses`).
//! - The node is never asked to look in the network for what is ours.
//! - Two writers are told apart only where one comes after the other: a node knows no
//!   condition for a write.

mod cluster;
mod head;
pub mod holding;
mod losses;
mod show;

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::time::Instant;
use url::Url;

use self::holding::{Holding, LINKS, WHAT_HEADS, list};
use self::losses::Losses;
use self::show::WHAT_HEAD;
use super::{Depot, DepotError, DepotSettings, KeptFile, Parcel};
use crate::archive::head::Head;
use crate::blocks::car::{CarError, CarWriter, Scan};
use crate::blocks::{Block, BlockError, BlockSource, Cid, Fault, Group, Refusal, group_of};
use crate::kubo::{Auth, Depth, Imported, Kubo, KuboError, KuboLimits, Part};
use crate::sources::net::{Net, NetLimits};
use crate::sources::{KuboSource, Pool};

/// What names of days begin with.
const WHAT_DAYS: &str = "days/";

/// A depot at an IPFS node.
pub struct KuboDepot {
    client: Kubo,
    net: Arc<Net>,
    name: String,
    /// The tag of the archive.
    tag: String,
    /// What names of its pins begin with: `gwa/TAG/`.
    prefix: String,
    /// What pins without a name were found to be: blocks never change. A cluster
    /// tells no names.
    nameless: Mutex<HashMap<Cid, Option<String>>>,
    /// Pins without a name that nobody had the block of, and when.
    absent: Mutex<HashMap<Cid, Instant>>,
    losses: Mutex<Losses>,
    /// How often in a row the node was too slow for a state.
    slow: AtomicU32,
}

/// A pin of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pinned {
    /// Name of a file, or [`WHAT_HEADS`].
    what: String,
    /// The holding.
    cid: Cid,
}

/// A file, ready to be imported.
struct Packed {
    /// The block that is pinned.
    holding: Block,
    /// A CAR whose root is the holding.
    parts: Vec<Part>,
    /// Blocks in it.
    blocks: u64,
}

impl Packed {
    /// Refuses what a node says it took in where that is not all.
    fn check(&self, imported: &Imported) -> Result<(), KuboError> {
        if imported.blocks == self.blocks {
            return Ok(());
        }
        Err(KuboError::NotUnderstood(format!(
            "took {} of {} blocks",
            imported.blocks, self.blocks
        )))
    }
}

impl KuboDepot {
    /// The depot of the archive that `settings` name, at the node whose RPC is at
    /// `url`. Nothing is asked yet. Credentials are those of the settings, else those
    /// of the environment.
    pub fn new(url: &Url, settings: &DepotSettings) -> Result<Self, DepotError> {
        let auth = match &settings.auth {
            Some(auth) => auth.expose().parse().map(Some),
            None => Auth::from_env(),
        };
        let name = format!("kubo:{}", url.as_str().trim_end_matches('/'));
        let refused = |what: String| DepotError::Refused {
            depot: name.clone(),
            what,
        };
        let auth = auth.map_err(|error| refused(error.to_string()))?;
        let client = Kubo::new(url.clone(), auth, KuboLimits::default())
            .map_err(|error| refused(error.to_string()))?;
        Self::with(client, settings.tag()).map_err(|error| refused(error.to_string()))
    }

    /// The same over a client that is there; `tag` names the archive.
    pub fn with(client: Kubo, tag: String) -> std::io::Result<Self> {
        Ok(Self {
            net: Net::new(NetLimits::default())?,
            name: client.name(),
            prefix: format!("gwa/{tag}/"),
            tag,
            client,
            nameless: Mutex::default(),
            absent: Mutex::default(),
            losses: Mutex::default(),
            slow: AtomicU32::new(0),
        })
    }

    /// Waits for what the node does.
    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.net.handle().block_on(work)
    }

    fn failed(&self, error: KuboError) -> DepotError {
        let (depot, what) = (self.name.clone(), error.to_string());
        match error {
            KuboError::Full(_) => DepotError::Full { depot, what },
            KuboError::Refused(_) => DepotError::Refused { depot, what },
            KuboError::Missing(_) => DepotError::Lost { depot, what },
            KuboError::Io { path, kind, .. } => DepotError::Io {
                path,
                source: std::io::Error::from(kind),
            },
            // What is not understood may be a proxy that has a bad day.
            KuboError::Away(_) | KuboError::Failed(_) | KuboError::NotUnderstood(_) => {
                DepotError::Away { depot, what }
            }
        }
    }

    /// Whether there is room for `bytes` more by what the node's owner lets it have,
    /// and whether a cluster answers.
    async fn room(&self, bytes: u64) -> Result<bool, KuboError> {
        let stat = match self.client.repo_stat().await {
            Ok(stat) => stat,
            // Whoever closed this to us may let us do the rest; then it is known from that
            // who answers.
            Err(KuboError::Refused(_) | KuboError::Failed(_) | KuboError::NotUnderstood(_)) => {
                let name = format!("{}{WHAT_HEAD}", self.prefix);
                return Ok(self.client.pin_ls(Depth::Direct, &name).await?.of_cluster);
            }
            Err(error) => return Err(error),
        };
        if stat.most > 0 && stat.bytes.saturating_add(bytes) > stat.most {
            return Err(KuboError::Full(format!(
                "{} of the {} bytes that `Datastore.StorageMax` allows are taken, and {bytes} \
                 are to come",
                stat.bytes, stat.most
            )));
        }
        Ok(stat.of_cluster)
    }

    /// Imports what was packed, and pins it as `name`. It is not pinned by the import: a
    /// node that is killed between both would hold it for good, and nobody would know.
    ///
    /// A node that collects its garbage between both has lost some of it again. Then
    /// it is imported once more under a lock that keeps the collector out: at the cost
    /// of going through the blocks twice, so only then.
    async fn hold(&self, packed: &Packed, name: &str, of_cluster: bool) -> Result<(), KuboError> {
        let cid = packed.holding.cid();
        let mut locked = of_cluster;
        loop {
            let imported = self.client.dag_import(packed.parts.clone(), locked).await;
            let pinned = match imported {
                Ok(imported) => {
                    packed.check(&imported)?;
                    let pin = self
                        .client
                        .pin_add(cid, Depth::Recursive, name, imported.bytes);
                    pin.await
                }
                Err(error) => Err(error),
            };
            match pinned {
                Err(error) if error.is_missing() && !locked => locked = true,
                Err(KuboError::Missing(text)) => return Err(KuboError::Away(text)),
                other => return other,
            }
        }
    }

    /// The pins of ours whose name begins with `what`.
    async fn pinned(&self, what: &str) -> Result<Vec<Pinned>, KuboError> {
        let prefix = format!("{}{what}", self.prefix);
        let pins = self.client.pin_ls(Depth::Recursive, &prefix).await?;
        let mut ours = Vec::new();
        for pin in pins.pins {
            let found = match pin.name {
                Some(name) => name.strip_prefix(&self.prefix).map(str::to_owned),
                None if pins.of_cluster => self.look_into(&pin.cid).await?,
                None => None,
            };
            if let Some(found) = found.filter(|found| found.starts_with(what)) {
                let cid = pin.cid;
                ours.push(Pinned { what: found, cid });
            }
        }
        Ok(ours)
    }

    /// The pins that hold the file `name`: one, or none.
    async fn pins_of(&self, name: &str) -> Result<Vec<Pinned>, KuboError> {
        let mut pins = self.pinned(name).await?;
        pins.retain(|pin| pin.what == name);
        Ok(pins)
    }

    /// A block of ours that is to be there, hashed.
    async fn block(&self, cid: &Cid) -> Result<Block, KuboError> {
        let bytes = self.client.block_get(cid, true).await?;
        Block::verify(cid, bytes).map_err(|error| KuboError::Missing(error.to_string()))
    }

    async fn release_file(&self, name: &str, group: Group) -> Result<(), KuboError> {
        for pin in self.pins_of(name).await? {
            self.client.pin_rm(&pin.cid, Depth::Recursive).await?;
        }
        self.forget(name);
        if matches!(group, Group::Day(_)) {
            // One that was written again is in the state as it is now; one that was dropped
            // would be kept by it.
            let days = self.pinned(WHAT_DAYS).await?;
            if !days.iter().any(|pin| group_of(&pin.what) == Some(group)) {
                self.let_go_state().await?;
            }
        }
        Ok(())
    }

    /// Whether the pin on a file is there, and nothing of it is known to be lost.
    async fn is_held(&self, packed: &Packed, pin: &str, name: &str) -> Result<bool, KuboError> {
        if self.is_damaged(name) {
            return Ok(false);
        }
        let held = self
            .client
            .pin_of(packed.holding.cid(), Depth::Recursive)
            .await?;
        Ok(held.is_some_and(|held| held.name.as_deref() == Some(pin)))
    }

    /// The file as it is imported: its blocks, and before them the lists and the
    /// holding that the header names.
    fn pack(&self, parcel: &Parcel<'_>) -> Result<Packed, DepotError> {
        let io = |source| DepotError::Io {
            path: parcel.car.to_owned(),
            source,
        };
        let torn = |error: CarError| match error {
            CarError::Io { source, .. } => io(source),
            error => io(std::io::Error::other(error.to_string())),
        };
        let file = File::open(parcel.car).map_err(io)?;
        let mut scan = Scan::new(&file).map_err(torn)?;
        let from = scan.offset();
        let cids: Result<Vec<Cid>, _> = scan.by_ref().map(|at| at.map(|at| at.cid)).collect();
        let cids = cids.map_err(torn)?;
        let lists: Vec<Block> = cids.chunks(LINKS).map(list).collect();
        let holding = Holding {
            gwa: self.tag.clone(),
            root: parcel.root,
            what: parcel.file.name.clone(),
            lists: lists.iter().map(|list| *list.cid()).collect(),
        }
        .block();
        let head = car(&holding, &lists).map_err(io)?;
        let path = parcel.car.to_owned();
        Ok(Packed {
            blocks: (cids.len() + lists.len() + 1) as u64,
            parts: vec![Part::Bytes(head), Part::File { path, from }],
            holding,
        })
    }

    /// The node as a source of what it has, which has done nothing yet: one block that
    /// is damaged there keeps nobody from the others.
    fn source(&self) -> Pool {
        let mut pool = Pool::default();
        let net = Arc::clone(&self.net);
        pool.add_remote(Arc::new(KuboSource::offline(net, self.client.clone())));
        pool
    }
}

/// A CAR of these blocks, whose root is the first.
fn car(root: &Block, others: &[Block]) -> std::io::Result<Bytes> {
    let mut car = CarWriter::new(Vec::new(), root.cid())?;
    car.put(root)?;
    for block in others {
        car.put(block)?;
    }
    Ok(car.finish()?.into())
}

impl BlockSource for KuboDepot {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.source().get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        match self.wait(self.client.block_stat(cid, true)) {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(BlockError::Unavailable {
                cid: *cid,
                by: vec![Refusal {
                    source: self.name.clone(),
                    fault: Fault::Failed(error.to_string()),
                }],
            }),
        }
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> std::ops::ControlFlow<()>,
    ) -> Result<(), BlockError> {
        self.source().get_each(cids, take)
    }

    fn get_dag(
        &self,
        root: &Cid,
        skip: &dyn Fn(&Cid) -> bool,
        take: &mut dyn FnMut(Block) -> std::ops::ControlFlow<()>,
    ) -> Result<(), BlockError> {
        self.source().get_dag(root, skip, take)
    }
}

impl Depot for KuboDepot {
    fn name(&self) -> &str {
        &self.name
    }

    fn keep(&self, parcel: &Parcel<'_>) -> Result<(), DepotError> {
        let name = &parcel.file.name;
        if group_of(name).is_none() {
            return Err(DepotError::Refused {
                depot: self.name.clone(),
                what: format!("`{name}` is no name of a file of blocks"),
            });
        }
        let packed = self.pack(parcel)?;
        let kept = self.wait(async {
            let pin = format!("{}{name}", self.prefix);
            // A node that pins again lets go first.
            if self.is_held(&packed, &pin, name).await? {
                return Ok(());
            }
            let of_cluster = self.room(parcel.file.bytes).await?;
            self.hold(&packed, &pin, of_cluster).await
        });
        kept.map_err(|error| self.failed(error))
    }

    fn kept_files(&self) -> Result<Vec<KeptFile>, DepotError> {
        let asked = async { Ok((self.pinned("").await?, self.damaged().await?)) };
        let (pins, damaged) = self.wait(asked).map_err(|error| self.failed(error))?;
        let files = pins.into_iter().map(|pin| pin.what);
        let mut files: Vec<String> = files
            .filter(|what| group_of(what).is_some() && !damaged.contains(what))
            .collect();
        // A file may have been packed in two ways, by two versions of this program.
        files.sort_unstable();
        files.dedup();
        // What a pin is on would have to be read to know how long the file is.
        let kept = files.into_iter().map(|name| KeptFile { name, bytes: None });
        Ok(kept.collect())
    }

    fn release(&self, name: &str) -> Result<(), DepotError> {
        let Some(group) = group_of(name) else {
            return Ok(());
        };
        self.wait(self.release_file(name, group))
            .map_err(|error| self.failed(error))
    }

    fn keep_head(&self, head: &Head, before: Option<&Head>) -> Result<(), DepotError> {
        self.wait(self.advance(head, before))
    }

    fn keep_lineage(&self, heads: &[Head]) -> Result<(), DepotError> {
        self.wait(self.add_lineage(heads))
            .map_err(|error| self.failed(error))
    }

    fn newest_head(&self) -> Result<Option<Head>, DepotError> {
        let heads = self
            .wait(self.heads())
            .map_err(|error| self.failed(error))?;
        Ok(heads.newest.map(|newest| newest.head))
    }

    fn lost_lineage(&self) -> bool {
        self.take_lost_heads()
    }
}

/// Whether a name is that of the pin on all heads.
fn is_heads(what: &str) -> bool {
    what == WHAT_HEADS
}
