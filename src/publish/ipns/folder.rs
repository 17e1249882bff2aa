//! The names of a data folder: their keys, and the newest record of each.
//!
//! Files, below `ipns/`: `<key>.key`, the secret key in the form that `ipfs key import`
//! takes, mode 0600; `<name>.record`, the newest record made of a name, which is what
//! is served by HTTP; `lock`.
//!
//! Always true:
//! - A record is durable here before it leaves. The next one has a higher number than
//!   it, and than every other that its maker knows of.
//! - Processes that make records take turns, so that no two have one number.
//! - A record file that is not what it should be stops its name, and no other: to begin
//!   anew would be to go back.
//! - A name that was handed over, here or elsewhere, names no head again.
//! - No key is ever replaced, and no file beside one touched.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use zeroize::Zeroizing;

use super::key::MAX_SECRET;
use super::{ContentPath, Draft, IpnsKey, KeyError, MAX_RECORD, Name, Record, RecordError};
use super::{NameRef, Told, told};
use crate::archive::head::Head;
use crate::durable;
use crate::publish::Hints;
use crate::time::UnixSeconds;

/// Folder of names, below the data folder.
pub const FOLDER: &str = "ipns";

/// How long a record counts unless its maker says otherwise: as long as routers of
/// IPFS keep one.
pub const VALIDITY: Duration = Duration::from_secs(48 * 3_600);

/// How long one counts that hands a name over. Its key may be gone by then, so that
/// nobody can make another.
pub const HAND_OVER_VALIDITY: Duration = Duration::from_secs(10 * 366 * 86_400);

/// For how long a record may be used before somebody asks again: the time between
/// two heads, unless its maker says otherwise.
pub const TTL: Duration = Duration::from_secs(300);

/// Only the owner reads a key.
const MODE: u32 = 0o600;

/// Longest name of a key, in bytes.
const MAX_KEY_NAME: usize = 64;

/// Most names of one folder: all are read to be shown and told.
const MAX_NAMES: usize = 1_000;

/// What a user calls a key: letters, digits, `-`, `_` and `.`, none of the latter
/// first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName(String);

/// A text that names no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no key: expected up to {MAX_KEY_NAME} letters, digits, `-`, `_` and `.`")]
pub struct ParseKeyNameError {
    /// What was given.
    pub text: String,
}

impl FromStr for KeyName {
    type Err = ParseKeyNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = (1..=MAX_KEY_NAME).contains(&text.len())
            && text.bytes().all(plain)
            && !text.starts_with('.');
        match is_name {
            true => Ok(Self(text.to_owned())),
            false => Err(ParseKeyNameError {
                text: text.chars().take(80).collect(),
            }),
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of an archive that says nothing else.
impl Default for KeyName {
    fn default() -> Self {
        Self("archive".to_owned())
    }
}

/// Why a name cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NameFolderError {
    /// The disk refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds no key.
    #[error("{path}: {source}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The file holds no record of its name.
    #[error("{path}: {source}")]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: RecordError,
    },
    /// There is a key of that name already.
    #[error("{path} is there already")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The name was handed over to another one.
    #[error("the name was handed over to {to}, and is no longer used")]
    HandedOver {
        /// The other name.
        to: NameRef,
    },
    /// The name would lead to itself.
    #[error("{to} leads back to the name that is handed over")]
    Loop {
        /// The other name.
        to: Name,
    },
    /// Sequence numbers are used up, or the record is too long.
    #[error("no record of number {0} can be made")]
    Unmade(u64),
    /// More keys than anybody needs.
    #[error("more than {MAX_NAMES} files in {path}")]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
}

/// What a name is to say from now on.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// What it stands for.
    pub value: ContentPath,
    /// Fields beside those of the specification.
    pub extra: std::collections::BTreeMap<String, ipld_core::ipld::Ipld>,
    /// How long the record counts.
    pub validity: Duration,
    /// For how long it may be used before somebody asks again.
    pub ttl: Duration,
    /// Whether a record of other times than these will not do, as where a user named
    /// them.
    pub exact: bool,
}

impl Wish {
    /// A record that tells of `head`, and of where it is to be had.
    pub fn of_head(head: &Head, hints: &Hints) -> Self {
        Self {
            value: told::target(head),
            extra: told::fields(head, hints),
            validity: VALIDITY,
            ttl: TTL,
            exact: false,
        }
    }

    /// The last record of a name whose owner goes over to another key.
    pub fn of_hand_over(to: Name) -> Self {
        Self {
            value: ContentPath::Name {
                name: NameRef::Key(to),
                path: Vec::new(),
            },
            extra: std::collections::BTreeMap::new(),
            validity: HAND_OVER_VALIDITY,
            ttl: TTL,
            exact: false,
        }
    }

    /// The record to make after `newest`, where `known` from elsewhere is newer still;
    /// `None` where `newest` will do: it says the same, and counts for another half of
    /// the time.
    fn draft(
        &self,
        newest: Option<&Record>,
        known: Option<&Record>,
        now: UnixSeconds,
    ) -> Result<Option<Draft>, NameFolderError> {
        let over = newest.and_then(successor).or(known.and_then(successor));
        if let Some(to) = over
            && !matches!(&self.value, ContentPath::Name { .. })
        {
            return Err(NameFolderError::HandedOver { to });
        }
        let highest = known.or(newest).map(Record::sequence);
        if let Some(record) = newest
            && known.is_none()
            && record.extra_fields() == &self.extra
            && record.value() == self.value.to_string().as_bytes()
            && self.lasts_as(record, now)
        {
            return Ok(None);
        }
        let sequence = match highest {
            None => 0,
            Some(highest) => highest
                .checked_add(1)
                .ok_or(NameFolderError::Unmade(highest))?,
        };
        let seconds = u32::try_from(self.validity.as_secs()).unwrap_or(u32::MAX);
        Ok(Some(Draft {
            value: self.value.clone(),
            sequence,
            until: now.saturating_add(seconds),
            ttl: self.ttl,
            extra: self.extra.clone(),
        }))
    }

    /// Whether the times of `record` will do.
    fn lasts_as(&self, record: &Record, now: UnixSeconds) -> bool {
        let left = record.until().left(now);
        let as_named = record.ttl() == self.ttl && left <= self.validity;
        left >= self.validity / 2 && (as_named || !self.exact)
    }
}

/// The name that `record` hands its own over to.
fn successor(record: &Record) -> Option<NameRef> {
    match Told::of(record) {
        Ok(Told::Name { name, .. }) => Some(name),
        _ => None,
    }
}

/// The names of a data folder.
#[derive(Clone, Debug)]
pub struct NameFolder {
    dir: PathBuf,
}

impl NameFolder {
    /// Those of the data folder `data`; there need be none yet.
    pub fn new(data: &Path) -> Self {
        Self {
            dir: data.join(FOLDER),
        }
    }

    /// The file of a key.
    pub fn key_path(&self, key: &KeyName) -> PathBuf {
        self.dir.join(format!("{key}.key"))
    }

    /// The keys there are, by what their user calls them.
    pub fn keys(&self) -> Result<Vec<(KeyName, Name)>, NameFolderError> {
        let mut keys = Vec::new();
        for name in self.files_of("key")? {
            let Ok(name) = name.parse() else { continue };
            let key = self.key(&name)?;
            keys.extend(key.map(|key| (name, key.name())));
        }
        keys.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(keys)
    }

    /// A key; `None` where there is none of that name.
    pub fn key(&self, name: &KeyName) -> Result<Option<IpnsKey>, NameFolderError> {
        let path = self.key_path(name);
        let Some(bytes) = read_up_to(&path, MAX_SECRET)? else {
            return Ok(None);
        };
        let bytes = Zeroizing::new(bytes);
        match IpnsKey::from_protobuf(&bytes) {
            Ok(key) => Ok(Some(key)),
            Err(source) => Err(NameFolderError::Key { path, source }),
        }
    }

    /// A key, made where there is none of that name.
    pub fn key_or_new(&self, name: &KeyName) -> Result<IpnsKey, NameFolderError> {
        if let Some(key) = self.key(name)? {
            return Ok(key);
        }
        let key = IpnsKey::generate();
        match self.keep_key(name, &key) {
            // Another process was first.
            Err(NameFolderError::Exists { path }) => self.key(name)?.ok_or(NameFolderError::Io {
                path,
                source: io::ErrorKind::NotFound.into(),
            }),
            other => other.map(|()| key),
        }
    }

    /// Keeps a key under a name that none has.
    pub fn keep_key(&self, name: &KeyName, key: &IpnsKey) -> Result<(), NameFolderError> {
        durable::create_folder(&self.dir).map_err(io_error(&self.dir))?;
        write_key(&self.key_path(name), &key.to_protobuf())
    }

    /// The newest record made of a name here.
    pub fn record(&self, name: &Name) -> Result<Option<Record>, NameFolderError> {
        let path = self.record_path(name);
        let Some(bytes) = read_up_to(&path, MAX_RECORD)? else {
            return Ok(None);
        };
        match Record::read(name, bytes.into()) {
            Ok(record) => Ok(Some(record)),
            Err(source) => Err(NameFolderError::Record { path, source }),
        }
    }

    /// The newest record of every name here, of keys that are gone too, and why those
    /// of other names cannot be read.
    pub fn records(&self) -> Result<(Vec<Record>, Vec<NameFolderError>), NameFolderError> {
        let (mut records, mut unread) = (Vec::new(), Vec::new());
        for name in self.files_of("record")? {
            let Ok(name) = name.parse() else { continue };
            match self.record(&name) {
                Ok(record) => records.extend(record),
                Err(error) => unread.push(error),
            }
        }
        records.sort_by_key(|record| record.name().to_string());
        Ok((records, unread))
    }

    /// The record that says what `key`'s name is to say: the newest one where it will
    /// do, else a new one, durable when this returns, with a number above it and
    /// above `known`, the newest that was seen elsewhere.
    ///
    /// Where `known` is newer and hands the name over it is kept here instead, to be
    /// told on for as long as it counts, and no head is named.
    pub fn say(
        &self,
        key: &IpnsKey,
        wish: &Wish,
        known: Option<&Record>,
        now: UnixSeconds,
    ) -> Result<Record, NameFolderError> {
        let _turn = self.turn()?;
        let name = key.name();
        self.check_way(&name, &wish.value)?;
        let newest = self.record(&name)?;
        let own = newest.as_ref().map(Record::precedence);
        let is_newer = |known: &&Record| *known.name() == name && own < Some(known.precedence());
        let known = known.filter(is_newer);
        let draft = wish.draft(newest.as_ref(), known, now);
        if let Err(NameFolderError::HandedOver { .. }) = draft
            && let Some(last) = known.filter(|known| successor(known).is_some())
        {
            self.keep(last)?;
        }
        let Some(draft) = draft? else {
            return Ok(newest.expect("nothing is to be made only where something was"));
        };
        let record = Record::make(key, &draft).ok_or(NameFolderError::Unmade(draft.sequence))?;
        self.keep(&record)?;
        Ok(record)
    }

    /// Refuses to lead `own` to itself, as far as the records here lead on.
    fn check_way(&self, own: &Name, value: &ContentPath) -> Result<(), NameFolderError> {
        let ContentPath::Name { name, .. } = value else {
            return Ok(());
        };
        let NameRef::Key(to) = name else {
            return Ok(());
        };
        let mut next = *to;
        // A way longer than the names there are goes round among others.
        for _ in 0..MAX_NAMES {
            if next == *own {
                return Err(NameFolderError::Loop { to: *to });
            }
            let record = self.record(&next).ok().flatten();
            match record.as_ref().and_then(successor) {
                Some(NameRef::Key(key)) => next = key,
                _ => break,
            }
        }
        Ok(())
    }

    fn keep(&self, record: &Record) -> Result<(), NameFolderError> {
        let path = self.record_path(record.name());
        durable::replace_file(&path, record.bytes()).map_err(io_error(&path))
    }

    fn record_path(&self, name: &Name) -> PathBuf {
        self.dir.join(format!("{name}.record"))
    }

    /// Names of files with this extension, without it.
    fn files_of(&self, extension: &str) -> Result<Vec<String>, NameFolderError> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io_error(&self.dir))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(io_error(&self.dir))?.file_name();
            let Some((name, of)) = name.to_str().and_then(|name| name.rsplit_once('.')) else {
                continue;
            };
            if of == extension {
                names.push(name.to_owned());
            }
            if names.len() > MAX_NAMES {
                let path = self.dir.clone();
                return Err(NameFolderError::TooMany { path });
            }
        }
        Ok(names)
    }

    /// Waits until no other process makes a record.
    fn turn(&self) -> Result<File, NameFolderError> {
        durable::create_folder(&self.dir).map_err(io_error(&self.dir))?;
        let path = self.dir.join("lock");
        let held = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io_error(&path))?;
        held.lock().map_err(io_error(&path))?;
        Ok(held)
    }
}

/// Writes a key where nothing is yet: whole, durable, readable by its owner alone.
pub fn write_key(path: &Path, bytes: &[u8]) -> Result<(), NameFolderError> {
    let written = write_beside(path, bytes).and_then(|new| {
        // Unlike a rename this replaces nothing.
        let linked = match fs::hard_link(&new, path) {
            Err(error) if has_no_links(&error) => write_new(path, bytes),
            other => other,
        };
        // What is left of it would be a second copy of the key.
        let removed = fs::remove_file(&new);
        linked.and(removed)
    });
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let path = path.to_owned();
            Err(NameFolderError::Exists { path })
        }
        other => other
            .and_then(|()| durable::sync_folder(durable::parent_of(path)))
            .map_err(io_error(path)),
    }
}
/// Whether a file system has no links, as those of cards and sticks have none.
fn has_no_links(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, Unsupported};
    matches!(error.kind(), Unsupported | PermissionDenied)
}

/// Writes `bytes` beside `path`, under a name that nobody else has.
fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}.new", rand::random::<u64>()));
    let new = path.with_file_name(name);
    write_new(&new, bytes).map(|()| new)
}

/// Makes a file that must not be there, not even as a link, and leaves none where it
/// fails.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.inspect_err(|_| {
        // The error told is the first one.
        let _ = fs::remove_file(path);
    })
}

/// The contents of a file of at most `most` bytes, one more where there are more;
/// `None` where there is no file.
fn read_up_to(path: &Path, most: usize) -> Result<Option<Vec<u8>>, NameFolderError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(io_error(path))?,
    };
    let mut bytes = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    file.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(io_error(path))?;
    Ok(Some(bytes))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> NameFolderError {
    let path = path.to_owned();
    |source| NameFolderError::Io { path, source }
}

#[cfg(test)]
mod tests;
