//! Rules of denylists in the compact format
//! (<https://specs.ipfs.tech/compact-denylist-format/>).
//!
//! Always true:
//! - Of the rules that match, the last one decides, whichever file it is in.
//! - A block that is denied is served in no form: neither alone, nor in a CAR, nor
//!   is it looked into on the way of a path. A rule with a path denies that path
//!   alone, and no block.
//! - Rules for what is never served here (IPNS names, other hashes) are read and
//!   change nothing.

use std::collections::HashMap;

use cid::multibase::Base;
use multihash::Multihash;
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use crate::api::gateway::refusal::Refusal;
use crate::blocks::Cid;

/// Rules of all files together: at about 60 bytes each, 240 MB. The longest
/// public list has some 600,000.
const MAX_RULES: u32 = 4_000_000;

/// Bytes of a header, from the specification.
const MAX_HEADER: usize = 1 << 20;

/// Bytes of a line, from the specification.
const MAX_LINE: usize = 2 << 20;

/// Multicodec of sha2-256.
const SHA2_256: u64 = 0x12;

/// Why a denylist cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// A line of the header is no YAML that a denylist has.
    #[error("line {line}: not a field of a header")]
    Header {
        /// The line, from 1.
        line: usize,
    },
    /// Another version of the format.
    #[error("version {version} of the format; only 1 is known")]
    Version {
        /// The version.
        version: String,
    },
    /// A line is longer than the specification allows.
    #[error("line {line} is longer than {MAX_LINE} bytes")]
    Line {
        /// The line, from 1.
        line: usize,
    },
    /// More rules than are kept.
    #[error("more than {MAX_RULES} rules")]
    TooMany,
}

/// What denylists say.
#[derive(Debug, Default)]
pub struct Rules {
    count: u32,
    /// By the digest of the block.
    blocks: HashMap<[u8; 32], Verdict>,
    /// By the digest of the block at which the path starts.
    paths: HashMap<[u8; 32], Vec<PathRule>>,
    /// By the hash of `base58 multihash[/path]`.
    hashed: HashMap<[u8; 32], Verdict>,
    /// By the hash of `base32 CID/[path]`.
    hashed_cids: HashMap<[u8; 32], Verdict>,
}

/// What a rule decides.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    number: u32,
    denies: bool,
}

#[derive(Debug)]
struct PathRule {
    path: String,
    is_prefix: bool,
    verdict: Verdict,
}

/// What came of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Rules that were taken in.
    pub rules: u32,
    /// Lines that are no rules, by number from 1.
    pub unknown: Vec<usize>,
}

impl Rules {
    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Takes in the text of one file; its rules come after all before.
    pub fn add(&mut self, text: &[u8]) -> Result<Added, RulesError> {
        let mut added = Added::default();
        let (header, body) = split_header(text);
        let header_lines = match header {
            None => 0,
            Some(header) => {
                check_header(header)?;
                header.iter().filter(|byte| **byte == b'\n').count() + 1
            }
        };
        for (at, line) in body.split(|byte| *byte == b'\n').enumerate() {
            let number = header_lines + at + 1;
            if line.len() >= MAX_LINE {
                return Err(RulesError::Line { line: number });
            }
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            if self.count >= MAX_RULES {
                return Err(RulesError::TooMany);
            }
            match std::str::from_utf8(line)
                .ok()
                .and_then(|line| self.rule(line))
            {
                Some(()) => added.rules += 1,
                None => added.unknown.push(number),
            }
        }
        Ok(added)
    }

    /// Takes in one rule; `None` where it is none.
    fn rule(&mut self, line: &str) -> Option<()> {
        // What follows are hints, of which none is known.
        let item = line.split_ascii_whitespace().next()?;
        let (item, denies) = match item.strip_prefix('!') {
            Some(item) => (item, false),
            None => (item, true),
        };
        let verdict = Verdict {
            number: self.count,
            denies,
        };
        if let Some(hash) = item.strip_prefix("//") {
            self.hash_rule(hash, verdict)?;
        } else if let Some(path) = item.strip_prefix("/ipfs/") {
            self.path_rule(path, verdict)?;
        } else {
            item.strip_prefix("/ipns/")
                .filter(|name| !name.is_empty())?;
        }
        self.count += 1;
        Some(())
    }

    fn hash_rule(&mut self, text: &str, verdict: Verdict) -> Option<()> {
        let mut digest = [0; 32];
        if hex::decode_to_slice(text, &mut digest).is_ok() {
            self.hashed_cids.insert(digest, verdict);
            return Some(());
        }
        let bytes = Base::Base58Btc.decode(text).ok()?;
        let hash = Multihash::<64>::from_bytes(&bytes).ok()?;
        // Every hash function in a list has to be tried on every request.
        let digest = sha2_256(&hash)?;
        self.hashed.insert(digest, verdict);
        Some(())
    }

    fn path_rule(&mut self, text: &str, verdict: Verdict) -> Option<()> {
        let (cid, path) = match text.split_once('/') {
            Some((cid, path)) => (cid, Some(path)),
            None => (text, None),
        };
        let cid = Cid::try_from(cid).ok()?;
        let path = match path.map(|path| percent_decode_str(path).decode_utf8()) {
            None => None,
            Some(path) => Some(path.ok()?.into_owned()),
        };
        let Some(digest) = sha2_256(cid.hash()) else {
            return Some(());
        };
        let (path, is_prefix) = match path.as_deref() {
            None | Some("") => {
                self.blocks.insert(digest, verdict);
                return Some(());
            }
            Some(path) => match path.strip_suffix('*') {
                Some(path) => (path, true),
                None => (path, false),
            },
        };
        let path = path.trim_end_matches('/').to_owned();
        if path.is_empty() {
            self.blocks.insert(digest, verdict);
        }
        self.paths.entry(digest).or_default().push(PathRule {
            path,
            is_prefix,
            verdict,
        });
        Some(())
    }

    /// Fails where the block `cid` is denied.
    pub(in crate::api::gateway) fn check(&self, cid: &Cid) -> Result<(), Refusal> {
        let Some(digest) = self.concerns(cid) else {
            return Ok(());
        };
        decide([
            self.blocks.get(&digest).copied(),
            self.hashed(cid, ""),
            self.hashed_cid(cid, ""),
        ])
    }

    /// Fails where the path of `names` from `root` is denied. Whether the blocks
    /// on it are is for [`Self::check`].
    pub(in crate::api::gateway) fn check_path(
        &self,
        root: &Cid,
        names: &[String],
    ) -> Result<(), Refusal> {
        let Some(digest) = self.concerns(root).filter(|_| !names.is_empty()) else {
            return Ok(());
        };
        let path = names.join("/");
        let by_path = self.paths.get(&digest).into_iter().flatten();
        let mut by_path = by_path.filter(|rule| match rule.is_prefix {
            true => path.starts_with(&rule.path),
            false => path == rule.path,
        });
        decide([
            by_path.next_back().map(|rule| rule.verdict),
            self.hashed(root, &path),
            self.hashed_cid(root, &path),
        ])
    }

    /// The digest of `cid`, if rules could match it.
    fn concerns(&self, cid: &Cid) -> Option<[u8; 32]> {
        sha2_256(cid.hash()).filter(|_| self.count > 0)
    }

    fn hashed(&self, cid: &Cid, path: &str) -> Option<Verdict> {
        if self.hashed.is_empty() {
            return None;
        }
        let mut text = Base::Base58Btc.encode(cid.hash().to_bytes());
        if !path.is_empty() {
            text.push('/');
            text.push_str(path);
        }
        let digest: [u8; 32] = Sha256::digest(text).into();
        self.hashed.get(&digest).copied()
    }

    fn hashed_cid(&self, cid: &Cid, path: &str) -> Option<Verdict> {
        if self.hashed_cids.is_empty() {
            return None;
        }
        let cid = Cid::new_v1(cid.codec(), *cid.hash());
        let digest: [u8; 32] = Sha256::digest(format!("{cid}/{path}")).into();
        self.hashed_cids.get(&digest).copied()
    }
}

/// What the last of the rules that match says.
fn decide(matching: impl IntoIterator<Item = Option<Verdict>>) -> Result<(), Refusal> {
    let last = matching.into_iter().flatten().max_by_key(|v| v.number);
    match last {
        Some(verdict) if verdict.denies => Err(Refusal::Denied),
        _ => Ok(()),
    }
}

fn sha2_256(hash: &Multihash<64>) -> Option<[u8; 32]> {
    let is_sha2 = hash.code() == SHA2_256;
    hash.digest().try_into().ok().filter(|_| is_sha2)
}

/// The header, if there is one, and what follows it.
fn split_header(text: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let mut at = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let end = at + line.len();
        if line.trim_ascii_end() == b"---" {
            return (Some(&text[..at]), &text[end..]);
        }
        if end > MAX_HEADER {
            break;
        }
        at = end;
    }
    (None, text)
}

/// Refuses a header of another version, and what is no header. Of YAML it takes
/// what lists use: fields, what is indented below them, comments.
fn check_header(header: &[u8]) -> Result<(), RulesError> {
    for (at, line) in header.split(|byte| *byte == b'\n').enumerate() {
        let refused = || RulesError::Header { line: at + 1 };
        let line = std::str::from_utf8(line).map_err(|_| refused())?;
        let is_inner = line.starts_with([' ', '\t', '-', '#']) || line.trim().is_empty();
        if is_inner {
            continue;
        }
        let (name, value) = line.split_once(':').ok_or_else(refused)?;
        let value = value.split('#').next().unwrap_or("").trim();
        let value = value.trim_matches(['"', '\'']);
        if name.trim() == "version" && value != "1" {
            let version = value.chars().take(20).collect();
            return Err(RulesError::Version { version });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
