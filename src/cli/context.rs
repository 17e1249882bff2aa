//! What every command works with: the data folder, the output, and the way an
//! archive's failures read to its user.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::ArchiveError;
use crate::archive::disk::{DiskError, Heads, Reader, kept_from};
use crate::archive::head::Head;
use crate::archive::watermark::Day;
use crate::blocks::{BlockError, BlockSource, Cid};
use crate::cli::error::{CliError, Kind};
use crate::cli::output::Output;
use crate::cli::progress;
use crate::cli::sources::Sources;
use crate::cli::store;
use crate::progress::Progress;
use crate::sources::Reference;
use crate::sources::{Balance, Pool};

/// Where the data lies below the home folder.
const DEFAULT_DATA: &str = ".local/share/gwa";

/// What a command works with.
pub struct Context {
    /// The data folder.
    pub data: PathBuf,
    /// Where results and the story go.
    pub output: Output,
    /// Where else blocks may come from.
    pub sources: Sources,
}

impl Context {
    /// Works in `data`, or in the default folder.
    pub fn new(data: Option<PathBuf>, json: bool, quiet: bool) -> Result<Self, CliError> {
        let data = match data {
            Some(data) => data,
            None => std::env::home_dir()
                .filter(|home| !home.as_os_str().is_empty())
                .map(|home| home.join(DEFAULT_DATA))
                .ok_or_else(|| {
                    CliError::new(Kind::Usage, "there is no home folder to keep the data in")
                        .hint("name a data folder with `--data DIR`")
                })?,
        };
        Ok(Self {
            data,
            output: Output::new(json, quiet),
            sources: Sources::default(),
        })
    }

    /// Opens what holds the blocks of `reference`, and every source that was named.
    pub fn source(&self, reference: &Reference) -> Result<Opened, CliError> {
        self.sources.open(reference, &self.data)
    }

    /// Opens the head that `reference` names.
    pub fn head(&self, reference: &Reference) -> Result<OpenedHead, CliError> {
        if !reference.path().is_empty() {
            return Err(CliError::new(
                Kind::Usage,
                format!("{reference} is a path below a head, where a head was expected"),
            )
            .hint("`gwa show` follows paths"));
        }
        let Opened {
            source,
            root,
            fetched,
        } = self.source(reference)?;
        let head = read_head(&*source, &root)?;
        Ok(OpenedHead {
            source,
            head,
            fetched,
        })
    }

    /// As [`unreadable`]; where the archive in the data folder is asked and no
    /// longer keeps what is missing, it says since when it does.
    pub fn unreadable(
        &self,
        reference: &Reference,
        what: impl Into<String>,
        error: &ArchiveError,
    ) -> CliError {
        let told = unreadable(what, error);
        let own = matches!(reference, Reference::OwnHead | Reference::Cid { .. });
        match kept_from(&self.data) {
            Ok(day) if own && error.is_missing() && day > Day(0) => told.hint(format!(
                "days before {day} are no longer kept here: their retention is over"
            )),
            _ if matches!(reference, Reference::OwnHead) && is_gone(error) => {
                told.hint("`gwa repair --source PLACE` fetches what is missing from a copy")
            }
            _ => told,
        }
    }

    /// Who listens to the progress of long work.
    pub fn progress(&self) -> Box<dyn Progress> {
        progress::listener(self.output.is_quiet())
    }

    /// Who listens to the progress of work that prints results as it goes.
    pub fn progress_beside_results(&self) -> Box<dyn Progress> {
        progress::listener_beside_results(self.output.is_quiet())
    }
}

/// A source of blocks, and a head in it.
pub struct OpenedHead {
    /// Where the blocks are.
    pub source: Box<dyn BlockSource>,
    /// The head.
    pub head: Head,
    fetched: Arc<Pool>,
}

impl OpenedHead {
    /// What each source gave.
    pub fn balances(&self) -> Vec<Balance> {
        self.fetched.balances()
    }
}

/// A source of blocks, and the block that a REF names in it.
pub struct Opened {
    /// Where the blocks are.
    pub source: Box<dyn BlockSource>,
    /// What the REF names.
    pub root: Cid,
    fetched: Arc<Pool>,
}

impl Opened {
    /// The block `root` in `pool`.
    pub fn new(pool: Pool, root: Cid) -> Self {
        let fetched = Arc::new(pool);
        Self {
            source: Box::new(Arc::clone(&fetched)),
            root,
            fetched,
        }
    }
}

/// The archive in `data`; `None` where there is none.
pub fn own_archive(data: &Path) -> Result<Option<Reader>, CliError> {
    match Reader::open(data) {
        Ok(reader) => {
            // Without a head nothing was ever evicted.
            if let Ok(Some(head)) = reader.head() {
                store::attach(reader.blocks(), data, *head.key());
            }
            Ok(Some(reader))
        }
        Err(DiskError::NoArchive { .. }) => Ok(None),
        Err(error) => Err(archive_failed("cannot open the archive", &error)),
    }
}

/// The CID of the newest head in a folder.
pub fn newest_head(heads: &Heads) -> Result<Cid, CliError> {
    let head = heads
        .current()
        .map_err(|error| archive_failed("cannot read the head", &error))?
        .ok_or_else(|| no_head("the archive has no head yet"))?;
    Ok(*head.cid())
}

/// Reads the head `cid` from `source`, and checks its signature.
pub fn read_head(source: &dyn BlockSource, cid: &Cid) -> Result<Head, CliError> {
    let what = format!("cannot read head {cid}");
    let block = source
        .get(cid)
        .map_err(|error| unreadable(what.clone(), &ArchiveError::from(error)))?;
    Head::decode(block).map_err(|error| CliError::new(Kind::Verification, what).because(&error))
}

/// A tree that could not be read: damaged, incomplete, or the disk failed.
pub fn unreadable(what: impl Into<String>, error: &ArchiveError) -> CliError {
    let told = |kind| CliError::new(kind, what).because(error);
    let of_others = matches!(error, ArchiveError::Block(BlockError::Unavailable { .. }));
    match (error.is_forged(), of_others) {
        (true, false) => told(Kind::Verification).hint("`gwa fsck` names every damaged file"),
        (true, true) => told(Kind::Verification).hint("name another source with `--source`"),
        (false, true) => told(Kind::Error).hint("name another source with `--source`"),
        (false, false) => told(Kind::Error),
    }
}

/// Whether a block is not on this disk, and was asked of nobody else.
fn is_gone(error: &ArchiveError) -> bool {
    let asked = matches!(error, ArchiveError::Block(BlockError::Unavailable { .. }));
    error.is_missing() && !asked
}

/// There is an archive, and no head in it.
pub fn no_head(what: &str) -> CliError {
    CliError::new(Kind::NoArchive, what)
        .hint("`gwa import` takes in envelopes, `gwa seal` makes a head of them")
}

/// An archive on disk that could not be opened, read or written.
pub fn archive_failed(what: &str, error: &DiskError) -> CliError {
    let kind = match error {
        DiskError::NoArchive { .. } => Kind::NoArchive,
        DiskError::Locked { .. } => Kind::Locked,
        DiskError::Key { .. } | DiskError::KeyAlone { .. } => Kind::WrongKey,
        DiskError::Archive(error) if error.is_forged() => Kind::Verification,
        DiskError::Head(_) => Kind::Verification,
        DiskError::Journal(error) if error.is_corrupt() => Kind::Verification,
        _ => Kind::Error,
    };
    let told = CliError::new(kind, what).because(error);
    match error {
        DiskError::NoArchive { .. } => {
            told.hint("`gwa init` creates an archive, `--data DIR` names another folder")
        }
        DiskError::KeyAlone { .. } => told.hint(
            "take the key out, `gwa mirror` the archive that it is of, put it back, then `gwa fork`: \
             it goes on from its newest head. A new archive: `--data DIR`",
        ),
        DiskError::Locked { .. } => {
            told.hint("one process writes at a time; reading needs no lock")
        }
        DiskError::Evicted { .. } => {
            told.hint("a store can be shown as it is, or `--store-keep all` keeps days here too")
        }
        DiskError::Backwards { .. } => told.hint("a watermark never falls: name a later time"),
        _ => told,
    }
}
