//! Blocks out of files on a web server.
//!
//! Whether the server gives parts of files shows at the first one. Until it is
//! known, and where it does not, requests for one file wait for each other, so
//! that the file is fetched once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use url::Url;

use super::spool::{SPOOL_BYTES, Spool, Spools};
use crate::sources::Account;
use crate::sources::gateway::below;
use crate::sources::net::{Answer, Net, NetError};

/// Where a block may lie.
#[derive(Clone, Debug)]
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

/// One candidate, and how to reach it.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) net: &'a Net,
    pub(super) base: &'a Url,
    pub(super) account: &'a Account,
    pub(super) candidate: &'a Candidate,
}

/// The files of one server.
#[derive(Debug, Default)]
pub(super) struct Files {
    gives_parts: AtomicBool,
    /// One lock for each file that is fetched whole.
    whole: Mutex<HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>>,
    spools: Spools,
}

/// What came for a part.
enum Came {
    Part(Bytes),
    Whole(Spool),
}

impl Files {
    /// The bytes of a candidate, not verified.
    pub(super) async fn read(&self, part: Part<'_>) -> Result<Bytes, NetError> {
        let Candidate {
            path, offset, len, ..
        } = part.candidate;
        if self.gives_parts.load(Ordering::Relaxed) {
            if let Came::Part(bytes) = ask(part).await? {
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
        match ask(part).await? {
            Came::Part(bytes) => {
                self.gives_parts.store(true, Ordering::Relaxed);
                Ok(bytes)
            }
            Came::Whole(spool) => {
                let bytes = spool.read(*offset, *len);
                self.spools.keep(Arc::clone(path), spool);
                bytes
            }
        }
    }
}

/// Asks for a part; takes the whole file where the server gives nothing else.
async fn ask(part: Part<'_>) -> Result<Came, NetError> {
    let Part {
        net,
        base,
        account,
        candidate,
    } = part;
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
        match ask_once(part, &url, &headers).await {
            Err(error) if net.again(account, &mut tried, &error).await => {}
            other => return other,
        }
    }
}

async fn ask_once(part: Part<'_>, url: &Url, headers: &HeaderMap) -> Result<Came, NetError> {
    let Candidate {
        file_len,
        offset,
        len,
        ..
    } = *part.candidate;
    let answer = part
        .net
        .get(part.base, url, headers, part.account, file_len)
        .await?;
    if answer.status != StatusCode::PARTIAL_CONTENT {
        return whole(answer, part.candidate).await.map(Came::Whole);
    }
    let told = answer.headers.get(header::CONTENT_RANGE);
    let told = told.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let last = offset + u64::from(len) - 1;
    if !told.starts_with(&format!("bytes {offset}-{last}/")) {
        return Err(NetError::Unexpected(format!(
            "was asked for {len} bytes from {offset}, and sent `{told}`"
        )));
    }
    answer.body.whole().await.map(Came::Part)
}

async fn whole(mut answer: Answer<'_>, candidate: &Candidate) -> Result<Spool, NetError> {
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
