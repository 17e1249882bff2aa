//! What every command works with: the data folder, the output, and the way an
//! archive's failures read to its user.

use std::path::{Path, PathBuf};

use crate::archive::ArchiveError;
use crate::archive::disk::{DiskError, Reader, kept_from};
use crate::archive::head::Head;
use crate::archive::watermark::Day;
use crate::blocks::car::CarFile;
use crate::blocks::{Block, BlockError, BlockSource, Cid};
use crate::cli::error::{CliError, Kind};
use crate::cli::output::Output;
use crate::cli::progress;
use crate::cli::reference::Reference;
use crate::progress::Progress;

/// Where the data lies below the home folder.
const DEFAULT_DATA: &str = ".local/share/gwa";

/// What a command works with.
pub struct Context {
    /// The data folder.
    pub data: PathBuf,
    /// Where results and the story go.
    pub output: Output,
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
        })
    }

    /// Opens what holds the blocks of `reference`.
    pub fn source(&self, reference: &Reference) -> Result<Opened, CliError> {
        match reference {
            Reference::CarFile(path) => open_car(path),
            Reference::OwnHead => {
                let reader = self.reader()?;
                let head = reader
                    .head()
                    .map_err(|error| archive_failed("cannot read the head", &error))?
                    .ok_or_else(|| no_head("the archive has no head yet"))?;
                Ok(Opened {
                    root: *head.cid(),
                    source: Box::new(OwnBlocks(reader)),
                })
            }
            Reference::Cid { cid, .. } => Ok(Opened {
                root: *cid,
                source: Box::new(OwnBlocks(self.reader()?)),
            }),
        }
    }

    fn reader(&self) -> Result<Reader, CliError> {
        Reader::open(&self.data).map_err(|error| archive_failed("cannot open the archive", &error))
    }

    /// Opens the head that `reference` names.
    pub fn head(&self, reference: &Reference) -> Result<OpenedHead, CliError> {
        if let Reference::Cid { path, .. } = reference
            && !path.is_empty()
        {
            return Err(CliError::new(
                Kind::Usage,
                format!("{reference} is a path below a head, where a head was expected"),
            )
            .hint("`gwa show` follows paths"));
        }
        let Opened { source, root } = self.source(reference)?;
        let head = read_head(&*source, &root)?;
        Ok(OpenedHead { source, head })
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
        let own = !matches!(reference, Reference::CarFile(_));
        match kept_from(&self.data) {
            Ok(day) if own && error.is_missing() && day > Day(0) => told.hint(format!(
                "days before {day} are no longer kept here: their retention is over"
            )),
            _ => told,
        }
    }

    /// Who listens to the progress of long work.
    pub fn progress(&self) -> Box<dyn Progress> {
        progress::listener(self.output.is_quiet())
    }
}

/// A source of blocks, and a head in it.
pub struct OpenedHead {
    /// Where the blocks are.
    pub source: Box<dyn BlockSource>,
    /// The head.
    pub head: Head,
}

/// A source of blocks, and the block that a REF names in it.
pub struct Opened {
    /// Where the blocks are.
    pub source: Box<dyn BlockSource>,
    /// What the REF names.
    pub root: Cid,
}

/// The blocks of the archive in the data folder.
struct OwnBlocks(Reader);

impl BlockSource for OwnBlocks {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.0.blocks().get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.0.blocks().has(cid)
    }
}

fn open_car(path: &Path) -> Result<Opened, CliError> {
    let what = format!("cannot read {}", path.display());
    let file = CarFile::open(path).map_err(|error| {
        let kind = match error {
            BlockError::Corrupt { .. } => Kind::Verification,
            _ => Kind::Error,
        };
        CliError::new(kind, what.clone()).because(&error)
    })?;
    match file.roots() {
        [root] => Ok(Opened {
            root: *root,
            source: Box::new(file),
        }),
        roots => Err(CliError::new(
            Kind::Error,
            format!("{what}: it has {} roots, where one is a head", roots.len()),
        )),
    }
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
    if error.is_forged() {
        CliError::new(Kind::Verification, what)
            .because(error)
            .hint("`gwa fsck` names every damaged file")
    } else {
        CliError::new(Kind::Error, what).because(error)
    }
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
        DiskError::Key { .. } => Kind::WrongKey,
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
        DiskError::Locked { .. } => {
            told.hint("one process writes at a time; reading needs no lock")
        }
        DiskError::Backwards { .. } => told.hint("a watermark never falls: name a later time"),
        _ => told,
    }
}
