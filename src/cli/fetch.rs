//! `gwa fetch`: whole or partial history in one CAR file.
//!
//! Always true: the file depends on the head and on what is asked for alone, not
//! on who gave which block when. It stands alone: opened as a REF it answers what
//! it was fetched for, and every part of that, and names the block that is
//! missing for anything else. What comes is kept in a file without a name, of which
//! nothing is left however the command ends.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::Args;
use serde::Serialize;

use crate::archive::ArchiveError;
use crate::archive::disk::sealed_by;
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::query::Query;
use crate::blocks::car::CarWriter;
use crate::blocks::links::links;
use crate::blocks::{Block, BlockError, BlockSource, Cid};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::wanted::WantedArgs;
use crate::durable::{self, NamedFile};
use crate::sources::Reference;
use crate::time::TimeRange;

/// Arguments of `gwa fetch`.
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// The head to fetch from [default: the own head].
    #[arg(value_name = "REF")]
    reference: Option<Reference>,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    wanted: WantedArgs,
}

#[derive(Serialize)]
struct Row {
    file: String,
    head: String,
    /// Whether it is all that the head leads to.
    whole: bool,
    blocks: u64,
    bytes: u64,
}

/// Writes the file; prints what is in it.
pub fn run(args: &FetchArgs, context: &mut Context) -> Result<(), CliError> {
    let filter = args.wanted.filter()?;
    let whole = filter.topics == TopicFilter::All && filter.range == TimeRange::ALL;
    let reference = args.reference.clone().unwrap_or_default();
    let opened = context.head(&reference)?;
    let root = *opened.head.cid();
    let unwritable = |error: &dyn std::error::Error| {
        let what = format!("cannot write {}", args.output.display());
        CliError::new(Kind::Error, what).because(error)
    };
    let progress = context.progress();
    progress.phase("fetch blocks", None, None);
    let scratch =
        Scratch::new(&*opened.source, &args.output, &root).map_err(|error| unwritable(&error))?;
    let counted = |block: &Block| progress.advance(1, block.bytes().len() as u64);
    let fetched = if whole {
        scratch.take_all(&root, &counted)
    } else {
        scratch.take_answers(opened.head.block(), &sealed_by(&opened.head), &filter)
    };
    fetched.map_err(|error| context.unreadable(&reference, "cannot fetch", &error))?;
    drop(progress);
    let (blocks, bytes) = scratch.write(&root).map_err(|error| unwritable(&error))?;
    let row = Row {
        file: args.output.display().to_string(),
        head: root.to_string(),
        whole,
        blocks,
        bytes,
    };
    let what = if whole { "all" } else { "part" };
    let line = format!(
        "{}: {what} of head {root}, blocks {blocks} bytes {bytes}",
        row.file
    );
    context.output.result(&row, line)
}

/// A source that keeps what it gives in a file without a name, on the disk of the
/// one to be written.
struct Scratch<'s> {
    source: &'s dyn BlockSource,
    output: &'s Path,
    kept: Mutex<Kept>,
}

struct Kept {
    car: CarWriter<File>,
    places: HashMap<Cid, (u64, usize)>,
}

impl<'s> Scratch<'s> {
    fn new(source: &'s dyn BlockSource, output: &'s Path, root: &Cid) -> io::Result<Self> {
        let name = format!("gwa-{:032x}.part", rand::random::<u128>());
        let path = durable::parent_of(output).join(name);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        fs::remove_file(&path)?;
        let kept = Kept {
            car: CarWriter::new(file, root)?,
            places: HashMap::new(),
        };
        Ok(Self {
            source,
            output,
            kept: Mutex::new(kept),
        })
    }

    /// Fetches all that `root` leads to.
    fn take_all(&self, root: &Cid, counted: &dyn Fn(&Block)) -> Result<(), ArchiveError> {
        let mut kept = Ok(());
        self.source.get_dag(root, &|_| false, &mut |block| {
            counted(&block);
            kept = self.keep(&block);
            match kept {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        Ok(kept?)
    }

    /// Fetches what answers `filter`, and every narrower question: by the index of
    /// topics, as a long range is asked, and by days, as a short one is.
    fn take_answers(
        &self,
        head: &Block,
        sealed: &crate::archive::fresh::Sealed,
        filter: &Filter,
    ) -> Result<(), ArchiveError> {
        self.keep(head)?;
        for query in [Query::new, Query::by_days] {
            for record in query(self, sealed, filter.clone())? {
                record?;
            }
        }
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, cid: &Cid) -> Result<Option<Block>, BlockError> {
        let kept = self.kept();
        let Some((offset, len)) = kept.places.get(cid) else {
            return Ok(None);
        };
        let mut bytes = vec![0; *len];
        let read = kept.car.output().read_exact_at(&mut bytes, *offset);
        read.map_err(|error| self.failed(error))?;
        Block::verify(cid, bytes).map(Some)
    }

    fn keep(&self, block: &Block) -> Result<(), BlockError> {
        let mut kept = self.kept();
        if !kept.places.contains_key(block.cid()) {
            let offset = kept.car.put(block).map_err(|error| self.failed(error))?;
            kept.places
                .insert(*block.cid(), (offset, block.bytes().len()));
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> BlockError {
        BlockError::Io {
            path: self.output.to_owned(),
            source,
        }
    }

    /// Writes what was kept in the order of a walk from `root`, each link in its
    /// turn; gives the number of blocks and the bytes of the file.
    fn write(self, root: &Cid) -> io::Result<(u64, u64)> {
        let mut named = NamedFile::begin(self.output)?;
        let written = self.write_to(named.file(), root)?;
        named.commit()?;
        Ok(written)
    }

    fn write_to(&self, file: &mut File, root: &Cid) -> io::Result<(u64, u64)> {
        let mut car = CarWriter::new(BufWriter::new(file), root)?;
        let (mut stack, mut written) = (vec![*root], HashSet::new());
        while let Some(cid) = stack.pop() {
            let Some(block) = self.find(&cid).map_err(io::Error::other)? else {
                continue;
            };
            if !written.insert(cid) {
                continue;
            }
            car.put(&block)?;
            let links = links(&block).map_err(io::Error::other)?;
            stack.extend(links.into_iter().rev().filter(|cid| !written.contains(cid)));
        }
        let bytes = car.len();
        car.finish()?;
        Ok((written.len() as u64, bytes))
    }
}

impl BlockSource for Scratch<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        if let Some(block) = self.find(cid)? {
            return Ok(block);
        }
        let block = self.source.get(cid)?;
        self.keep(&block)?;
        Ok(block)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(self.kept().places.contains_key(cid) || self.source.has(cid)?)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        let mut far = Vec::new();
        for cid in cids {
            match self.find(cid)? {
                Some(block) if take(block.clone()).is_break() => return Ok(()),
                Some(_) => {}
                None => far.push(*cid),
            }
        }
        let mut kept = Ok(());
        self.source.get_each(&far, &mut |block| {
            kept = self.keep(&block);
            match kept {
                Ok(()) => take(block),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        kept
    }
}
