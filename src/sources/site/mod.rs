//! A public folder on a plain web server: the `HEAD`, `heads/` and `blocks/` of a
//! data folder, copied or linked.
//!
//! The server need know nothing but files. Where it gives parts of them, a block
//! costs its own bytes; where it does not, the file that holds it is fetched
//! whole, once.
//!
//! Always true: the catalogues are believed in nothing. What lies where they say
//! is hashed, and where it is not what they list, the server has lied.

mod files;
mod spool;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hyper::header::HeaderMap;
use tokio::sync::OnceCell;
use url::Url;

use self::files::{Candidate, Files, Part};
use super::Account;
use super::gateway::{below, fault_of, fault_of_bytes};
use super::net::{Net, NetError};
use crate::archive::head::{Head, Sequence};
use crate::blocks::catalogue::{Catalogue, FILE, MAX_CATALOGUE, fragment_of};
use crate::blocks::{Block, Cid, Codec, Fault, MAX_BLOCK_READ, catalogues};

/// Longest list of folders, bytes: a folder for each year, and a few more.
const MAX_FOLDERS: u64 = 16 << 10;

/// Longest text of `HEAD`, bytes.
const MAX_POINTER: u64 = 256;

/// Heads whose file is known at once: a walk along a lineage needs two.
const HEADS_KNOWN: usize = 1_024;

/// A public folder.
#[derive(Debug)]
pub struct Site {
    folders: Vec<Folder>,
    files: Files,
    /// The numbers of heads, which their files are named by: of those that were
    /// told as current, and of those before a head that was read.
    heads: Mutex<HashMap<Cid, Sequence>>,
}

#[derive(Debug)]
struct Folder {
    path: String,
    /// Where its blocks lie; fetched when a block was in no folder before it.
    index: OnceCell<Index>,
}

/// The blocks of one folder, in order of their fragments.
#[derive(Debug, Default)]
struct Index {
    blocks: Vec<(u32, Candidate)>,
}

impl Site {
    /// Looks for the list of folders at `base`; `None` where there is none.
    pub async fn find(net: &Net, base: &Url, account: &Account) -> Result<Option<Self>, NetError> {
        let path = format!("blocks/{FILE}");
        let text = match small(net, base, account, &path, MAX_FOLDERS).await {
            Err(error) if error.is_transient() => return Err(error),
            Err(_) => return Ok(None),
            Ok(text) => text,
        };
        let Some(folders) = read_folders(&text) else {
            return Ok(None);
        };
        let site = Self {
            folders,
            files: Files::default(),
            heads: Mutex::default(),
        };
        // The current head is in no catalogue.
        if let Ok((sequence, cid)) = pointer(net, base, account).await {
            site.remember(cid, sequence);
        }
        Ok(Some(site))
    }

    /// The block `cid` names, from whichever file has it.
    pub async fn block(
        &self,
        net: &Net,
        base: &Url,
        account: &Account,
        cid: &Cid,
    ) -> Result<Block, Fault> {
        if let Some(sequence) = self.number_of(cid) {
            let block = head_file(net, base, account, sequence, cid).await?;
            self.learn(&block);
            return Ok(block);
        }
        let Some(fragment) = fragment_of(cid) else {
            return Err(Fault::Absent);
        };
        for folder in &self.folders {
            let index = folder
                .index
                .get_or_try_init(|| Index::fetch(net, base, account, &folder.path))
                .await
                .map_err(|error| fault_of(&error))?;
            for candidate in index.candidates(u32_of(fragment)) {
                let part = Part {
                    net,
                    base,
                    account,
                    candidate,
                };
                let bytes = match self.files.read(part).await {
                    // Dropped since the catalogue was written: another file has it.
                    Err(error) if error.is_absent() => continue,
                    other => other.map_err(|error| fault_of(&error))?,
                };
                match Block::verify(cid, bytes) {
                    Ok(block) => {
                        self.learn(&block);
                        return Ok(block);
                    }
                    Err(error) if is_a_namesake(&error, fragment) => {}
                    Err(error) => return Err(fault_of_bytes(&error)),
                }
            }
        }
        Err(Fault::Absent)
    }

    /// A head says what the heads before it are numbered.
    fn learn(&self, block: &Block) {
        if Codec::of(block.cid()) != Some(Codec::DagCbor) {
            return;
        }
        let Ok(head) = Head::decode(block.clone()) else {
            return;
        };
        let body = head.body();
        let number = body.sequence.0;
        let back = 1u64 << number.trailing_zeros().min(63);
        for (earlier, steps) in [(body.prev, 1), (body.skip, back)] {
            if let (Some(cid), Some(number)) = (earlier, number.checked_sub(steps)) {
                self.remember(cid, Sequence(number));
            }
        }
    }

    fn remember(&self, cid: Cid, sequence: Sequence) {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        if heads.len() >= HEADS_KNOWN {
            heads.clear();
        }
        heads.insert(cid, sequence);
    }

    fn number_of(&self, cid: &Cid) -> Option<Sequence> {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.get(cid).copied()
    }
}

impl Index {
    async fn fetch(
        net: &Net,
        base: &Url,
        account: &Account,
        folder: &str,
    ) -> Result<Self, NetError> {
        let path = format!("blocks/{folder}/{FILE}");
        let bytes = match small(net, base, account, &path, MAX_CATALOGUE as u64).await {
            // A folder that has gone holds nothing.
            Err(error) if error.is_absent() => return Ok(Self::default()),
            other => other?,
        };
        let catalogue = Catalogue::decode(&bytes)
            .map_err(|error| NetError::Unexpected(format!("{path}: {error}")))?;
        Ok(Self::new(folder, &catalogue))
    }

    fn new(folder: &str, catalogue: &Catalogue) -> Self {
        let mut blocks: Vec<_> = catalogue
            .files
            .iter()
            .flat_map(|(name, listed)| {
                let path: std::sync::Arc<str> = format!("blocks/{folder}/{name}").into();
                let file_len = crate::blocks::catalogue::file_len(listed);
                crate::blocks::catalogue::offsets(listed)
                    .zip(listed)
                    .map(move |(offset, block)| {
                        let candidate = Candidate {
                            path: std::sync::Arc::clone(&path),
                            file_len,
                            offset,
                            len: block.len,
                        };
                        (u32_of(block.fragment), candidate)
                    })
            })
            .collect();
        blocks.sort_by_key(|(fragment, _)| *fragment);
        Self { blocks }
    }

    fn candidates(&self, fragment: u32) -> impl Iterator<Item = &Candidate> {
        let start = self.blocks.partition_point(|(at, _)| *at < fragment);
        let found = self.blocks[start..].iter();
        found
            .take_while(move |(at, _)| *at == fragment)
            .map(|(_, candidate)| candidate)
    }
}

fn u32_of([a, b, c]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}

/// Whether the bytes are another block that the catalogue lists by the same
/// fragment, as an honest one may.
fn is_a_namesake(error: &crate::blocks::BlockError, fragment: [u8; 3]) -> bool {
    match error {
        crate::blocks::BlockError::WrongBytes { actual, .. } => {
            fragment_of(actual) == Some(fragment)
        }
        _ => false,
    }
}

/// The folders of a list, in the order in which they are looked through: first
/// what is small and asked for by every query, then days, the newest first.
fn read_folders(text: &[u8]) -> Option<Vec<Folder>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut lines = text.lines();
    if lines.next() != Some(catalogues::FOLDERS) {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_name = |name: &str| !name.is_empty() && name.chars().all(plain);
    let mut paths: Vec<&str> = lines
        .filter(|path| path.split('/').count() <= 2 && path.split('/').all(is_name))
        .collect();
    paths.sort_by_key(|path| (path.contains('/'), std::cmp::Reverse(*path)));
    paths.sort_by_key(|path| *path != "calendar");
    let folder = |path: &str| Folder {
        path: path.to_owned(),
        index: OnceCell::new(),
    };
    Some(paths.into_iter().map(folder).collect())
}

/// Number and CID of the current head, as the pointer file at `base` says.
pub async fn pointer(
    net: &Net,
    base: &Url,
    account: &Account,
) -> Result<(Sequence, Cid), NetError> {
    let bytes = small(net, base, account, "HEAD", MAX_POINTER).await?;
    let read = || {
        let text = std::str::from_utf8(&bytes).ok()?;
        let (number, cid) = text.trim_end().split_once(' ')?;
        Some((Sequence(number.parse().ok()?), cid.parse().ok()?))
    };
    read().ok_or_else(|| NetError::Unexpected("its HEAD names no head".to_owned()))
}

/// The head with this number and CID, from its file.
pub async fn head_file(
    net: &Net,
    base: &Url,
    account: &Account,
    sequence: Sequence,
    cid: &Cid,
) -> Result<Block, Fault> {
    let path = format!("heads/{:010}.{cid}.head", sequence.0);
    let bytes = small(net, base, account, &path, MAX_BLOCK_READ as u64)
        .await
        .map_err(|error| fault_of(&error))?;
    Block::verify(cid, bytes).map_err(|error| fault_of_bytes(&error))
}

async fn small(
    net: &Net,
    base: &Url,
    account: &Account,
    path: &str,
    most: u64,
) -> Result<bytes::Bytes, NetError> {
    let url = below(base, path)?;
    let mut tried = 0;
    loop {
        match small_once(net, base, account, &url, most).await {
            Err(error) if net.again(account, &mut tried, &error).await => {}
            other => return other,
        }
    }
}

async fn small_once(
    net: &Net,
    base: &Url,
    account: &Account,
    url: &Url,
    most: u64,
) -> Result<bytes::Bytes, NetError> {
    let answer = net.get(base, url, &HeaderMap::new(), account, most).await?;
    answer.body.whole().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_in_the_order_of_their_use() {
        let text = "gwa catalogues 1\ncalendar\ndays/2018\ndays/2019\ndays/beyond\ndeltas\nhours\n../etc\n/x\na/b/c\n";
        let folders = read_folders(text.as_bytes()).unwrap();
        let paths: Vec<_> = folders.iter().map(|folder| folder.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "calendar",
                "hours",
                "deltas",
                "days/beyond",
                "days/2019",
                "days/2018"
            ]
        );
        assert!(read_folders(b"<html>\n").is_none());
    }
}
