//! Reading blocks out of a bucket.
//!
//! Always true:
//! - A block is given when it was hashed.
//! - So many requests are under way at once, and no more; memory holds what they
//!   give, each at most a run of blocks.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::bucket::Bucket;
use super::view::{Candidate, Run, runs};
use super::{Inner, RENEW_AFTER, head_object, object};
use crate::archive::head::{Head, MAX_HEAD_LEN, Sequence};
use crate::blocks::car::CarReader;
use crate::blocks::catalogue::{Fragment, Listed, file_len, fragment_of};
use crate::blocks::{Block, BlockError, Cid, Codec, Fault};
use crate::depot::DepotError;

/// Requests under way at once for one walk.
const READS_AT_ONCE: usize = 16;

/// Blocks that may wait to be taken.
const WAITING: usize = 16;

/// Places looked at for one block: of 25 million blocks one or two others bear the
/// same fragment.
const MAX_NAMESAKES: usize = 16;

/// Heads whose number is known at once: a walk along a lineage needs two.
const HEADS_KNOWN: usize = 1_024;

/// Bytes that are read at once of a file that is looked through.
const SCAN_STEP: u64 = 4 << 20;

/// Numbers of heads.
#[derive(Debug, Default)]
pub(super) struct HeadNumbers(Mutex<HashMap<Cid, Sequence>>);

impl HeadNumbers {
    pub(super) fn remember(&self, cid: Cid, sequence: Sequence) {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if heads.len() >= HEADS_KNOWN {
            heads.clear();
        }
        heads.insert(cid, sequence);
    }

    /// A head says what the heads before it are numbered.
    pub(super) fn learn(&self, head: &Head) {
        for (cid, sequence) in head.earlier() {
            self.remember(cid, sequence);
        }
    }

    fn of(&self, cid: &Cid) -> Option<Sequence> {
        let heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heads.get(cid).copied()
    }
}

fn fault_of(error: &DepotError) -> Fault {
    Fault::Failed(error.to_string())
}

impl Inner {
    /// The block `cid` names.
    pub(super) async fn block(&self, cid: &Cid) -> Result<Block, Fault> {
        let Some(fragment) = fragment_of(cid) else {
            return Err(Fault::Absent);
        };
        if Codec::of(cid) == Some(Codec::DagCbor)
            && let Some(block) = self.head_block(cid).await?
        {
            return Ok(block);
        }
        let is_new = self.look(None).await.map_err(|error| fault_of(&error))?;
        let listed = match self.listed_block(cid, fragment).await {
            // Another writer may have been there since.
            Err(Fault::Absent) if !is_new => {
                let looked = self.look(Some(RENEW_AFTER)).await;
                match looked.map_err(|error| fault_of(&error))? {
                    true => self.listed_block(cid, fragment).await,
                    false => Err(Fault::Absent),
                }
            }
            other => other,
        };
        if listed != Err(Fault::Absent) || Codec::of(cid) != Some(Codec::DagCbor) {
            return listed;
        }
        // The newest head is listed by the pointer alone. Whoever asks for what is
        // nowhere makes it be read now and then, and not each time.
        if !self.may_point() {
            return Err(Fault::Absent);
        }
        self.pointer().await.map_err(|error| fault_of(&error))?;
        self.head_block(cid).await?.ok_or(Fault::Absent)
    }

    fn may_point(&self) -> bool {
        let mut pointed = self.pointed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = pointed.is_none_or(|at| at.elapsed() >= RENEW_AFTER);
        if is_due {
            *pointed = Some(Instant::now());
        }
        is_due
    }

    /// The block from its own object, where it is a head whose number is known.
    async fn head_block(&self, cid: &Cid) -> Result<Option<Block>, Fault> {
        let Some(sequence) = self.heads.of(cid) else {
            return Ok(None);
        };
        let path = head_object(sequence, cid);
        let read = self.bucket.small(&path, MAX_HEAD_LEN as u64).await;
        let Some(entry) = read.map_err(|error| fault_of(&error))? else {
            return Ok(None);
        };
        let block = Block::verify(cid, entry.bytes).map_err(|e| Fault::Lied(e.to_string()))?;
        if let Ok(head) = Head::decode(block.clone()) {
            self.heads.learn(&head);
        }
        Ok(Some(block))
    }

    async fn listed_block(&self, cid: &Cid, fragment: Fragment) -> Result<Block, Fault> {
        let candidates = self.view().0.candidates(fragment);
        let mut wrong = None;
        for Candidate { file, offset, len } in candidates.into_iter().take(MAX_NAMESAKES) {
            let read = match len {
                0 => Ok(Some(Bytes::new())),
                len => {
                    let range = offset..offset + u64::from(len);
                    self.bucket.part(&object(&file), range).await
                }
            };
            let Some(bytes) = read.map_err(|error| fault_of(&error))? else {
                // It was released since it was listed; another file has the block.
                self.view().1 = None;
                continue;
            };
            match Block::verify(cid, bytes) {
                Ok(block) => return Ok(block),
                Err(BlockError::WrongBytes { actual, .. })
                    if fragment_of(&actual) == Some(fragment) => {}
                Err(error) => wrong = Some(Fault::Lied(format!("{file}: {error}"))),
            }
        }
        Err(wrong.unwrap_or(Fault::Absent))
    }

    /// The blocks of a run; those that are not right are looked for one by one.
    async fn run(&self, run: Run) -> Vec<Result<Block, (Cid, Fault)>> {
        let mut given = Vec::with_capacity(run.blocks.len());
        let read = match run.blocks.len() {
            1 => Ok(None),
            _ => self.bucket.part(&object(&run.file), run.from..run.to).await,
        };
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                let (cid, _) = run.blocks[0];
                return vec![Err((cid, fault_of(&error)))];
            }
        };
        for (cid, candidate) in run.blocks {
            let part = bytes.as_ref().and_then(|bytes| {
                let from = usize::try_from(candidate.offset - run.from).ok()?;
                let to = from.checked_add(candidate.len as usize)?;
                (to <= bytes.len()).then(|| bytes.slice(from..to))
            });
            let block = match part.map(|part| Block::verify(&cid, part)) {
                Some(Ok(block)) => Ok(block),
                _ => self.block(&cid).await.map_err(|fault| (cid, fault)),
            };
            given.push(block);
        }
        given
    }

    /// Puts wanted blocks together by where they lie; a block that lies nowhere is a
    /// run of its own.
    fn plan(&self, cids: &[Cid]) -> (Vec<Run>, Vec<Cid>) {
        let view = self.view();
        let (mut placed, mut others) = (Vec::new(), Vec::new());
        for cid in cids {
            let candidate = fragment_of(cid)
                .filter(|_| self.heads.of(cid).is_none())
                .and_then(|fragment| view.0.candidates(fragment).into_iter().next());
            match candidate {
                Some(candidate) => placed.push((*cid, candidate)),
                None => others.push(*cid),
            }
        }
        (runs(placed), others)
    }
}

/// A block, or which one could not be had.
type Read1 = Result<Block, (Cid, Fault)>;

/// Blocks under way; what is not taken any more is not fetched.
pub(super) struct Reading {
    blocks: mpsc::Receiver<Read1>,
    driver: JoinHandle<()>,
}

impl Reading {
    /// Begins to read `cids`.
    pub(super) fn start(inner: &Arc<Inner>, cids: &[Cid]) -> Self {
        let (out, blocks) = mpsc::channel(WAITING);
        let (inner, cids) = (Arc::clone(inner), cids.to_vec());
        let handle = inner.bucket.threads().clone();
        let driver = handle.spawn(async move {
            if let Err(error) = inner.look(None).await {
                if let Some(cid) = cids.first() {
                    // Nobody may want to know any more.
                    let _ = out.send(Err((*cid, fault_of(&error)))).await;
                }
                return;
            }
            let (runs, others) = inner.plan(&cids);
            let inner = &inner;
            let runs = futures_util::stream::iter(runs)
                .map(|run| async move { inner.run(run).await })
                .buffer_unordered(READS_AT_ONCE);
            let others =
                futures_util::stream::iter(others)
                    .map(|cid| async move {
                        vec![inner.block(&cid).await.map_err(|fault| (cid, fault))]
                    })
                    .buffer_unordered(READS_AT_ONCE);
            let mut read = std::pin::pin!(runs.chain(others));
            while let Some(blocks) = read.next().await {
                for block in blocks {
                    if out.send(block).await.is_err() {
                        return;
                    }
                }
            }
        });
        Self { blocks, driver }
    }

    pub(super) fn next(&mut self) -> Option<Read1> {
        self.blocks.blocking_recv()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The blocks of a file in the bucket, each read and hashed; `None` where it is no
/// whole CAR of ours.
pub(super) fn scan(
    bucket: &Bucket,
    file: &str,
    len: u64,
) -> Result<Option<Vec<Listed>>, DepotError> {
    let mut failure = None;
    let reader = Ranges {
        bucket,
        name: object(file),
        at: 0,
        len,
        bytes: Bytes::new(),
        failure: &mut failure,
    };
    let mut blocks = Vec::new();
    let mut whole = true;
    match CarReader::new(reader) {
        Err(_) => whole = false,
        Ok(car) => {
            for block in car {
                let listed = block.ok().and_then(|block| {
                    Some(Listed {
                        fragment: fragment_of(block.cid())?,
                        len: u32::try_from(block.bytes().len()).ok()?,
                    })
                });
                match listed {
                    Some(listed) => blocks.push(listed),
                    None => {
                        whole = false;
                        break;
                    }
                }
            }
        }
    }
    match failure {
        Some(error) => Err(error),
        None => Ok((whole && file_len(&blocks) == len).then_some(blocks)),
    }
}

/// An object, read from its start to its end.
struct Ranges<'a> {
    bucket: &'a Bucket,
    name: String,
    at: u64,
    len: u64,
    bytes: Bytes,
    /// Why it could not be read on.
    failure: &'a mut Option<DepotError>,
}

impl Read for Ranges<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() && self.at < self.len {
            let to = (self.at + SCAN_STEP).min(self.len);
            match self.bucket.wait(self.bucket.part(&self.name, self.at..to)) {
                Ok(Some(bytes)) => self.bytes = bytes,
                Ok(None) => return Err(io::ErrorKind::NotFound.into()),
                Err(error) => {
                    *self.failure = Some(error);
                    return Err(io::ErrorKind::Other.into());
                }
            }
            self.at = to;
        }
        let read = self.bytes.len().min(into.len());
        self.bytes.copy_to_slice(&mut into[..read]);
        Ok(read)
    }
}
