//! `/api/v1/verify`: the archive recomputed while it serves, as `gwa verify` does.
//!
//! Always true:
//! - One verification at a time; it ends soon after the daemon is told to.
//! - It reads at most [`RATE`] bytes a second, so that those who archive hardly
//!   notice it.
//! - What it found is kept until the next one has ended; what was cut off found
//!   nothing.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::api::Api;
use crate::api::access::Grant;
use crate::api::failure::Failure;
use crate::api::head::{ask_again, no_head};
use crate::archive::ArchiveError;
use crate::archive::disk::{Archive, Stop, sealed_by};
use crate::archive::head::Head;
use crate::archive::verify::{Sample, Verified, verify};
use crate::blocks::{Block, BlockError, BlockSource, Cid};
use crate::progress::Progress;
use crate::time::UnixSeconds;

/// Bytes read a second: a fifth of what one core of a small machine hashes.
const RATE: u64 = 64 << 20;

/// How far reading may be ahead of the rate.
const BURST: Duration = Duration::from_millis(100);

/// How often it is looked whether to stop while reading waits.
const LOOK: Duration = Duration::from_millis(50);

/// Faults told one by one; the rest is counted.
const TOLD: usize = 100;

/// How often it begins again because days were dropped while they were read.
const TRIES: usize = 3;

/// What runs, and what the last one found.
pub(super) struct Verifier {
    archive: Arc<Archive>,
    stop: Stop,
    state: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    running: Option<Arc<Running>>,
    last: Option<Found>,
    task: Option<JoinHandle<()>>,
}

/// One that runs.
#[derive(Debug)]
struct Running {
    head: String,
    started: UnixSeconds,
    phase: Mutex<String>,
    done: AtomicU64,
    total: AtomicU64,
    bytes: AtomicU64,
}

/// What is told of both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Told {
    running: Option<Along>,
    last: Option<Found>,
}

/// How far along it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Along {
    /// The head it is of.
    head: String,
    /// What is done now.
    phase: String,
    /// Envelopes done, and how many there are.
    done: u64,
    total: u64,
    /// Bytes of those done.
    bytes: u64,
    /// Unix seconds.
    started: u32,
}

/// What one found, in figures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// When it began, Unix seconds.
    pub(super) started: u32,
    /// Faults found.
    pub(super) faults: usize,
}

/// What one found.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Found {
    /// The head it was of.
    head: String,
    /// Unix seconds.
    started: u32,
    /// Seconds it took.
    took: f64,
    /// Blocks read.
    blocks: u64,
    /// Days, and the envelopes in them and in deltas, recomputed, and their bytes.
    days: u64,
    envelopes: u64,
    bytes: u64,
    /// Days no longer kept here, which were not looked at.
    not_held: usize,
    /// Whether all that is kept holds.
    ok: bool,
    /// What does not: the first of them.
    faults: Vec<Fault>,
    /// How many there are.
    fault_count: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Fault {
    /// The block; null where none is named.
    cid: Option<String>,
    what: String,
}

/// Answers `GET /api/v1/verify`.
pub(super) async fn get(State(api): State<Arc<Api>>) -> Response {
    (ask_again(), Json(api.verifier.told())).into_response()
}

/// Answers `POST /api/v1/verify`.
pub(super) async fn post(
    State(api): State<Arc<Api>>,
    Extension(grant): Extension<Grant>,
) -> Response {
    if grant != Grant::All {
        return Failure::needs_token().into_response();
    }
    let Some(head) = api.archive.head() else {
        return no_head();
    };
    match api.verifier.begin(head, api.node.now()) {
        true => (StatusCode::ACCEPTED, Json(api.verifier.told())).into_response(),
        false => {
            let told = "a verification runs already, or the daemon ends";
            Failure::new(StatusCode::CONFLICT, told).into_response()
        }
    }
}

impl Verifier {
    /// None runs; all end once `stop` is given.
    pub(super) fn new(archive: Arc<Archive>, stop: Stop) -> Arc<Self> {
        Arc::new(Self {
            archive,
            stop,
            state: Mutex::default(),
        })
    }

    /// How it stands.
    pub(super) fn told(&self) -> Told {
        let state = self.state();
        Told {
            running: state.running.as_ref().map(|running| running.along()),
            last: state.last.clone(),
        }
    }

    /// What the last one that came to its end found.
    pub(super) fn last(&self) -> Option<Outcome> {
        let state = self.state();
        state.last.as_ref().map(|found| Outcome {
            started: found.started,
            faults: found.fault_count,
        })
    }

    /// Whether one runs.
    pub(super) fn is_running(&self) -> bool {
        self.state().running.is_some()
    }

    /// Begins to verify `head`; false where another is verified.
    fn begin(self: &Arc<Self>, head: Head, now: UnixSeconds) -> bool {
        let mut state = self.state();
        if state.running.is_some() || self.stop.is_stopped() {
            return false;
        }
        let running = Arc::new(Running {
            head: head.cid().to_string(),
            started: now,
            phase: Mutex::default(),
            done: AtomicU64::new(0),
            total: AtomicU64::new(head.body().totals.count),
            bytes: AtomicU64::new(0),
        });
        state.running = Some(Arc::clone(&running));
        let verifier = Arc::clone(self);
        state.task = Some(tokio::task::spawn_blocking(move || {
            let ended = Ended(&verifier);
            if let Some(found) = verifier.verify(&head, &running) {
                tracing::info!(head = %found.head, ok = found.ok, "verified");
                verifier.state().last = Some(found);
            }
            drop(ended);
        }));
        true
    }

    /// Waits until none runs; it was told to stop.
    pub(super) async fn end(&self) {
        let task = self.state().task.take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "BUG: verifying panicked");
        }
    }

    /// What is found; `None` where it was to stop.
    fn verify(&self, head: &Head, running: &Running) -> Option<Found> {
        let began = Instant::now();
        let blocks = AtomicU64::new(0);
        let mut verified = Verified::default();
        for _ in 0..TRIES {
            running.done.store(0, Ordering::Relaxed);
            running.bytes.store(0, Ordering::Relaxed);
            // What a fork still rests on is its history too, and is asked for where it
            // is: so does `gwa verify`.
            let held = self.archive.blocks().held();
            let source: &dyn BlockSource = match self.archive.is_complete() {
                true => &held,
                false => self.archive.blocks(),
            };
            let source = Paced {
                source,
                stop: &self.stop,
                blocks: &blocks,
                next: Mutex::new(Instant::now()),
            };
            let kept_from = self.archive.kept_from();
            let sample = Sample::EVERYTHING.held_from(kept_from);
            verified = verify(&source, &sealed_by(head), *head.cid(), sample, running);
            if self.stop.is_stopped() {
                return None;
            }
            let lacks = verified.faults.iter().any(ArchiveError::is_missing);
            if !lacks || self.archive.kept_from() == kept_from {
                break;
            }
        }
        let faults = verified.faults.iter().take(TOLD).map(|fault| Fault {
            cid: fault.cid().map(Cid::to_string),
            what: fault.to_string(),
        });
        Some(Found {
            head: running.head.clone(),
            started: running.started.0,
            took: (began.elapsed().as_secs_f64() * 1_000.0).round() / 1_000.0,
            blocks: blocks.into_inner(),
            days: verified.days,
            envelopes: verified.envelopes,
            bytes: verified.bytes,
            not_held: verified.not_held.len(),
            ok: verified.faults.is_empty(),
            faults: faults.collect(),
            fault_count: verified.faults.len(),
        })
    }

    fn state(&self) -> MutexGuard<'_, Standing> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another may begin once it is dropped, also where verifying panicked.
struct Ended<'a>(&'a Verifier);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.state().running = None;
    }
}

impl Running {
    fn along(&self) -> Along {
        let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        Along {
            head: self.head.clone(),
            phase: phase.clone(),
            done: self.done.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            started: self.started.0,
        }
    }
}

impl Progress for Running {
    fn phase(&self, name: &str, items: Option<u64>, _: Option<u64>) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        name.clone_into(&mut phase);
        if let Some(items) = items {
            self.total.store(items, Ordering::Relaxed);
        }
    }

    fn advance(&self, items: u64, bytes: u64) {
        self.done.fetch_add(items, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A source that is read at [`RATE`], and gives nothing more once it is to stop.
struct Paced<'a> {
    source: &'a dyn BlockSource,
    stop: &'a Stop,
    blocks: &'a AtomicU64,
    /// When the next block is due.
    next: Mutex<Instant>,
}

impl Paced<'_> {
    /// Waits until a block of `len` bytes may be followed by another.
    fn wait(&self, len: usize) {
        let due = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let nanos = (len as u64).saturating_mul(1_000_000_000) / RATE;
            *next = (*next).max(Instant::now()) + Duration::from_nanos(nanos);
            *next
        };
        loop {
            let left = due.saturating_duration_since(Instant::now() + BURST);
            if left.is_zero() || self.stop.is_stopped() {
                return;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }
}

impl BlockSource for Paced<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        if self.stop.is_stopped() {
            return Err(BlockError::Missing { cid: *cid });
        }
        let block = self.source.get(cid)?;
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.wait(block.bytes().len());
        Ok(block)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.source.has(cid)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        if self.stop.is_stopped()
            && let Some(cid) = cids.first()
        {
            return Err(BlockError::Missing { cid: *cid });
        }
        self.source.get_each(cids, &mut |block| {
            self.blocks.fetch_add(1, Ordering::Relaxed);
            self.wait(block.bytes().len());
            take(block)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::envelope;
    use crate::archive::watermark::Watermark;
    use crate::progress::Quiet;

    fn sealed() -> (tempfile::TempDir, Arc<Archive>, Head) {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::init(dir.path(), "").unwrap();
        archive.append(&[envelope(1, 100, 40)]).unwrap();
        let until = Watermark::new(UnixSeconds(86_400)).unwrap();
        let report = archive.seal(until, UnixSeconds(90_000), &Quiet).unwrap();
        (dir, Arc::new(archive), report.head.unwrap())
    }

    fn running(head: &Head) -> Running {
        Running {
            head: head.cid().to_string(),
            started: UnixSeconds(5),
            phase: Mutex::default(),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    #[tokio::test]
    async fn one_runs_at_a_time_and_what_it_found_stays() {
        let (_dir, archive, head) = sealed();
        let verifier = Verifier::new(archive, Stop::default());
        verifier.state().running = Some(Arc::new(running(&head)));
        assert!(!verifier.begin(head.clone(), UnixSeconds(6)));
        drop(Ended(&verifier));
        assert!(verifier.begin(head, UnixSeconds(7)));
        verifier.end().await;
        let told = verifier.told();
        assert!(told.running.is_none());
        let found = told.last.unwrap();
        assert!(found.ok && found.envelopes == 1 && found.faults.is_empty());
        assert_eq!(found.started, 7);
    }

    #[tokio::test]
    async fn what_is_cut_off_found_nothing_and_none_begins_after() {
        let (_dir, archive, head) = sealed();
        let stop = Stop::default();
        let verifier = Verifier::new(archive, stop.clone());
        let running = running(&head);
        assert!(verifier.verify(&head, &running).is_some());
        stop.stop();
        assert!(verifier.verify(&head, &running).is_none());
        assert!(!verifier.begin(head, UnixSeconds(6)));
        verifier.end().await;
        assert_eq!(verifier.told().last, None);
    }
}
