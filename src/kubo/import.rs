//! `dag/import`: a CAR on its way into a node.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Kubo, KuboError};
use crate::blocks::Cid;

/// Bytes that are read of a file and sent at once.
const PIECE: usize = 256 << 10;

/// Pieces that may wait for the node: a MiB in all, so that the disk and the way
/// work at the same time.
const PIECES_WAITING: usize = 4;

/// Roots that a node may tell of: ours have one in each CAR.
const MOST_ROOTS: usize = 16;

/// A part of a body, sent one after another.
#[derive(Clone, Debug)]
pub enum Part {
    /// These bytes.
    Bytes(Bytes),
    /// A file from an offset to its end.
    File {
        /// Where it lies.
        path: PathBuf,
        /// Bytes that are left out at its beginning.
        from: u64,
    },
}

impl Part {
    /// Its length in bytes.
    fn len(&self) -> Result<u64, KuboError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
            Self::File { path, from } => {
                let about = std::fs::metadata(path).map_err(unread(path))?;
                Ok(about.len().saturating_sub(*from))
            }
        }
    }
}

/// What a node took in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Blocks, those that it had before included.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "Root")]
    root: Option<Root>,
    #[serde(rename = "Stats")]
    stats: Option<Stats>,
}

#[derive(Deserialize)]
struct Root {
    #[serde(rename = "Cid")]
    cid: Link,
    #[serde(rename = "PinErrorMsg", default)]
    failed: String,
}

#[derive(Deserialize)]
struct Link {
    #[serde(rename = "/", deserialize_with = "super::answer::cid")]
    cid: Cid,
}

#[derive(Deserialize)]
struct Stats {
    #[serde(rename = "BlockCount")]
    blocks: u64,
    #[serde(rename = "BlockBytesCount")]
    bytes: u64,
}

impl Kubo {
    /// Takes in the one CAR that `parts` make; with `pin_roots` the roots in its
    /// header are pinned, without a name, before any garbage can be collected.
    /// Nothing is pinned of a CAR that is torn.
    pub async fn dag_import(
        &self,
        parts: Vec<Part>,
        pin_roots: bool,
    ) -> Result<Imported, KuboError> {
        let call = self
            .call("dag/import")
            .option("pin-roots", pin_roots)
            .option("stats", true);
        let mut answer = upload(self, call, "blocks.car", parts, None).await?;
        let (mut imported, mut roots) = (None, 0);
        answer
            .lines(|line: Line| {
                if let Some(stats) = line.stats {
                    imported = Some(Imported {
                        blocks: stats.blocks,
                        bytes: stats.bytes,
                    });
                }
                if let Some(root) = line.root {
                    roots += 1;
                    if roots > MOST_ROOTS {
                        return Err(KuboError::NotUnderstood("roots without end".to_owned()));
                    }
                    if !root.failed.is_empty() {
                        tracing::debug!(root = %root.cid.cid, "not pinned: {}", root.failed);
                        return Err(KuboError::of_text(&root.failed));
                    }
                }
                Ok(())
            })
            .await?;
        imported.ok_or_else(|| KuboError::NotUnderstood("an import without its sums".to_owned()))
    }
}

/// Sends the parts as one file of a form, as they are read. The answer may begin as
/// long after the last one as `settle` says, else as their bytes take.
pub(super) async fn upload(
    kubo: &Kubo,
    call: super::request::Call<'_>,
    name: &str,
    parts: Vec<Part>,
    settle: Option<Duration>,
) -> Result<super::Answer, KuboError> {
    let lens: Result<Vec<u64>, _> = parts.iter().map(Part::len).collect();
    let bytes = lens?.iter().sum();
    // In no body by accident: 128 bits of chance.
    let boundary = format!("gwa-{:032x}", rand::random::<u128>());
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let mut all = vec![Part::Bytes(head.into())];
    all.extend(parts);
    all.push(Part::Bytes(tail.into()));

    let progress = Arc::new(Progress::new());
    let (pieces, waiting) = mpsc::channel(PIECES_WAITING);
    let unread: Arc<Mutex<Option<KuboError>>> = Arc::default();
    let (failure, taken) = (Arc::clone(&unread), Arc::clone(&progress));
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read_parts(&all, &pieces) {
            let broken = std::io::Error::other(error.to_string());
            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            // Nobody listens where the node answered already.
            let _ = pieces.blocking_send(Err(broken));
        }
    });
    let body = futures_util::stream::unfold(waiting, move |mut waiting| {
        let progress = Arc::clone(&taken);
        async move {
            let piece = waiting.recv().await;
            progress.moved(piece.is_none());
            piece.map(|piece| (piece, waiting))
        }
    });
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let limits = kubo.limits();
    let settle = settle.unwrap_or_else(|| limits.to_settle(bytes));
    let stalled = progress.stalled(limits.idle, settle);
    let body = reqwest::Body::wrap_stream(body);
    let answer = call.send_body(content_type, body, stalled).await;
    // Only the disk knows what this one would otherwise blame the node for.
    let unread = unread.lock().unwrap_or_else(PoisonError::into_inner).take();
    match unread {
        Some(error) => Err(error),
        None => answer,
    }
}

type Piece = std::io::Result<Bytes>;

/// Reads the parts into `pieces`, until nobody listens.
fn read_parts(parts: &[Part], pieces: &mpsc::Sender<Piece>) -> Result<(), KuboError> {
    for part in parts {
        match part {
            Part::Bytes(bytes) => {
                if pieces.blocking_send(Ok(bytes.clone())).is_err() {
                    return Ok(());
                }
            }
            Part::File { path, from } => {
                let mut file = File::open(path).map_err(unread(path))?;
                file.seek(SeekFrom::Start(*from)).map_err(unread(path))?;
                loop {
                    let mut piece = Vec::with_capacity(PIECE);
                    let mut some = (&mut file).take(PIECE as u64);
                    some.read_to_end(&mut piece).map_err(unread(path))?;
                    if piece.is_empty() {
                        break;
                    }
                    if pieces.blocking_send(Ok(piece.into())).is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }
    Ok(())
}

fn unread(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> KuboError {
    let path = path.to_owned();
    |error| KuboError::Io {
        path,
        kind: error.kind(),
        what: error.to_string(),
    }
}

/// How far a body is, by the clock.
#[derive(Debug)]
struct Progress(Mutex<(Instant, bool)>);

impl Progress {
    fn new() -> Self {
        Self(Mutex::new((Instant::now(), false)))
    }

    /// A piece was taken, or the last one.
    fn moved(&self, is_last: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), is_last);
    }

    /// Ends where no piece was taken for `idle`, or the answer did not begin
    /// `settle` after the last one.
    async fn stalled(&self, idle: Duration, settle: Duration) -> KuboError {
        loop {
            let (since, is_last) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let patience = if is_last { settle } else { idle };
            let left = patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                let seconds = patience.as_secs_f64();
                return KuboError::Away(if is_last {
                    format!("took everything, and gave no answer for {seconds} s")
                } else {
                    format!("took nothing for {seconds} s")
                });
            }
            tokio::time::sleep(left).await;
        }
    }
}
