//! Blocks out of files on a web server.
//!
//! Whether the server gives parts of files shows at the first one. Until it is
//! known, and where it does not, requests for one file wait for each other, so
//! that the file is fetched once.
//!
//! Always true: files fetched whole take up [`SPOOL_BYTES`] while they come, all
//! of them together, and as much when they are kept.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Server;
use super::spool::{SPOOL_BYTES, Spool, Spools};
use crate::sources::gateway::below;
use crate::sources::net::{Answer, NetError};

/// Where a block may lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The file, below the base.
    pub(super) path: Arc<str>,
    /// How many bytes it should have.
    pub(super) file_len: u64,
    /// Where in it the block's bytes start.
    pub(super) offset: u64,
    /// How many they are.
    pub(super) len: u32,
}

/// The files of one server.
#[derive(Debug)]
pub(super) struct Files {
    gives_parts: AtomicBool,
    /// One lock for each file that is fetched whole.
    whole: Mutex<HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>>,
    /// What may come at once of files fetched whole, in [`UNIT`]s.
    coming: Semaphore,
    spools: Spools,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            gives_parts: AtomicBool::default(),
            whole: Mutex::default(),
            coming: Semaphore::new(units(SPOOL_BYTES) as usize),
            spools: Spools::default(),
        }
    }
}

/// What room for files is counted in: 1 KiB.
const UNIT: u64 = 1 << 10;

/// The room that a file takes, at most all there is.
fn units(bytes: u64) -> u32 {
    let units = bytes.min(SPOOL_BYTES).div_ceil(UNIT);
    u32::try_from(units).expect("a GiB has a million of them")
}

/// What came for a part.
enum Came {
    Part(Bytes),
    Whole(Spool),
    /// The whole file would have, and was left.
    NoPart,
}

impl Files {
    /// The bytes of a candidate, not verified.
    pub(super) async fn read(
        &self,
        server: Server<'_>,
        candidate: &Candidate,
    ) -> Result<Bytes, NetError> {
        let Candidate {
            path,
            file_len,
            offset,
            len,
        } = candidate;
        if self.gives_parts.load(Ordering::Relaxed) {
            if let Came::Part(bytes) = ask(server, candidate, false).await? {
                return Ok(bytes);
            }
            self.gives_parts.store(false, Ordering::Relaxed);
        }
        let lock = {
            let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(whole.entry(Arc::clone(path)).or_default())
        };
        let _only_one = lock.lock().await;
        if let Some(spool) = self.spools.get(path) {
            return spool.read(*offset, *len);
        }
        // Taken before it is asked for: no server waits long for a reader.
        let _room = self.room(*file_len).await;
        match ask(server, candidate, true).await? {
            Came::Part(bytes) => {
                self.gives_parts.store(true, Ordering::Relaxed);
                Ok(bytes)
            }
            Came::Whole(spool) => {
                let bytes = spool.read(*offset, *len);
                self.spools.keep(Arc::clone(path), spool);
                bytes
            }
            Came::NoPart => unreachable!("a file that may come whole is not left"),
        }
    }

    /// Room for a file of so many bytes to come, once others have come.
    async fn room(&self, file_len: u64) -> SemaphorePermit<'_> {
        let room = self.coming.acquire_many(units(file_len)).await;
        room.expect("nobody closes it")
    }
}

/// Asks for a part; takes the whole file where it may and the server gives
/// nothing else.
async fn ask(server: Server<'_>, candidate: &Candidate, whole: bool) -> Result<Came, NetError> {
    let Server {
        net, base, account, ..
    } = server;
    let url = below(base, &candidate.path)?;
    let (from, len) = (candidate.offset, u64::from(candidate.len));
    if len == 0 {
        return Ok(Came::Part(Bytes::new()));
    }
    let range = format!("bytes={from}-{}", from + len - 1);
    let range = HeaderValue::from_str(&range).expect("digits are plain ASCII");
    let headers = HeaderMap::from_iter([(header::RANGE, range)]);
    let mut tried = 0;
    loop {
        let asked = async {
            let most = candidate.file_len;
            let answer = net.get(base, &url, &headers, account, most).await?;
            take(answer, candidate, whole).await
        };
        match asked.await {
            Err(error) if net.again(account, &mut tried, &error).await => {}
            other => return other,
        }
    }
}

async fn take(answer: Answer<'_>, candidate: &Candidate, whole: bool) -> Result<Came, NetError> {
    let Candidate { offset, len, .. } = *candidate;
    if answer.status != StatusCode::PARTIAL_CONTENT {
        return match whole {
            true => take_whole(answer, candidate).await.map(Came::Whole),
            false => Ok(Came::NoPart),
        };
    }
    let told = answer.headers.get(header::CONTENT_RANGE);
    let told = told.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let last = offset + u64::from(len) - 1;
    if !told.starts_with(&format!("bytes {offset}-{last}/")) {
        return Err(NetError::Unexpected(format!(
            "was asked for {len} bytes from {offset}, and sent `{told}`"
        )));
    }
    let body = answer.body.at_most(len.into())?;
    body.whole().await.map(Came::Part)
}

async fn take_whole(mut answer: Answer<'_>, candidate: &Candidate) -> Result<Spool, NetError> {
    if candidate.file_len > SPOOL_BYTES {
        return Err(NetError::Unexpected(format!(
            "gives no parts of files, and {} has {} bytes, above the {SPOOL_BYTES} that are kept",
            candidate.path, candidate.file_len
        )));
    }
    let mut spool = Spool::new()?;
    while let Some(piece) = answer.body.chunk().await? {
        spool.write(&piece)?;
    }
    Ok(spool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_that_come_whole_share_the_room_there_is() {
        async fn fits(files: &Files, bytes: u64) -> bool {
            tokio::select! {
                biased;
                _room = files.room(bytes) => true,
                () = std::future::ready(()) => false,
            }
        }
        let files = Files::default();
        let large = files.room(SPOOL_BYTES - UNIT).await;
        assert!(fits(&files, UNIT).await);
        assert!(!fits(&files, UNIT + 1).await);
        drop(large);
        // One that is too large takes all there is, and is refused when it comes.
        let all = files.room(u64::MAX).await;
        assert!(!fits(&files, 1).await);
        drop(all);
        assert!(fits(&files, SPOOL_BYTES).await);
    }
}
