//! `gwa import`: takes in envelopes from files.
//!
//! Always true: what waits to be sealed stays bounded, however much is read; a
//! long import seals on its way.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::archive::disk::{Archive, MAX_WAITING, seal_due};
use crate::cli::context::{Context, archive_failed};
use crate::cli::error::{CliError, Kind};
use crate::import::ImportError;
use crate::progress::Progress;
use crate::time::{Clock, SystemClock};
use crate::whisper::Envelope;

/// Most envelopes made durable at once: one sync of the disk for each batch.
const BATCH: usize = 1_000;

/// Most bytes held back for a batch; with [`BATCH`] it bounds the memory.
const BATCH_BYTES: usize = 4 << 20;

/// Most envelopes that may wait because they are dated ahead of their time: at
/// about 150 bytes each in memory, 600 MB. No seal can take them yet.
const MAX_AHEAD: u64 = 4 * MAX_WAITING;

/// Most refusals told one by one; the rest is counted.
const TOLD: u64 = 10;

/// Arguments of `gwa import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Files to read, or - for standard input: RLP envelopes one after another,
    /// or a CAR with leaves of an archive.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What became of the envelopes read.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Tally {
    /// Envelopes found.
    read: u64,
    /// Of those, new and now durable.
    stored: u64,
    /// Of those, held before.
    duplicate: u64,
    /// Parts of files that are no envelope the archive takes.
    refused: u64,
    /// Of those, envelopes of days that are no longer kept.
    #[serde(skip)]
    too_old: u64,
}

/// Imports every file; those behind one that fails are not read.
pub fn run(args: &ImportArgs, context: &mut Context) -> Result<(), CliError> {
    let archive = Archive::open(&context.data)
        .map_err(|error| archive_failed("cannot open the archive", &error))?;
    let progress = context.progress();
    let mut tally = Tally::default();
    let mut failure = None;
    for path in &args.files {
        let outcome = open(path).and_then(|(input, len)| {
            progress.phase(&format!("importing {}", path.display()), None, len);
            import(path, input, &archive, &*progress, context, &mut tally)
        });
        if let Err(error) = outcome {
            failure = Some(error);
            break;
        }
    }
    drop(progress);
    let Tally {
        read,
        stored,
        duplicate,
        refused,
        too_old,
    } = tally;
    context.output.result(
        &tally,
        format_args!("read {read} stored {stored} duplicate {duplicate} refused {refused}"),
    )?;
    if too_old > 0 {
        context.output.story(format_args!(
            "refused: {too_old} envelopes of days before {}, which are no longer kept",
            archive.kept_from()
        ));
    }
    match failure {
        Some(error) => Err(error),
        None if refused > 0 => Err(CliError::new(
            Kind::Partial,
            format!("{refused} parts of the files are no envelopes this archive takes"),
        )),
        None => Ok(()),
    }
}

/// The file, and its length where it has one.
fn open(path: &Path) -> Result<(Box<dyn Read>, Option<u64>), CliError> {
    if path == Path::new("-") {
        return Ok((Box::new(std::io::stdin()), None));
    }
    let file = File::open(path).map_err(|error| {
        CliError::new(Kind::Error, format!("cannot open {}", path.display())).because(&error)
    })?;
    let len = file.metadata().ok().map(|metadata| metadata.len());
    Ok((Box::new(file), len))
}

fn import(
    path: &Path,
    input: Box<dyn Read>,
    archive: &Archive,
    progress: &dyn Progress,
    context: &Context,
    tally: &mut Tally,
) -> Result<(), CliError> {
    let mut batch = Batch::default();
    let mut stopped = None;
    let stop = |error: &ImportError| {
        CliError::new(
            Kind::Partial,
            format!("cannot read {} further", path.display()),
        )
        .because(error)
        .hint("what was read before it is stored; run `gwa import` again with the rest")
    };
    match crate::import::envelopes(input) {
        Err(error) => stopped = Some(stop(&error)),
        Ok(envelopes) => {
            for item in envelopes {
                match item {
                    Ok(envelope) => {
                        tally.read += 1;
                        batch.push(envelope);
                        if batch.is_full() {
                            batch.store(archive, progress, tally)?;
                        }
                    }
                    Err(error) => {
                        tally.refused += 1;
                        if tally.refused <= TOLD {
                            context
                                .output
                                .story(format_args!("refused: {}: {error}", path.display()));
                        }
                        if !error.goes_on() {
                            stopped = Some(stop(&error));
                        }
                    }
                }
            }
        }
    }
    batch.store(archive, progress, tally)?;
    stopped.map_or(Ok(()), Err)
}

/// Envelopes on their way to the disk.
#[derive(Default)]
struct Batch {
    envelopes: Vec<Envelope>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, envelope: Envelope) {
        self.bytes += envelope.rlp().len();
        self.envelopes.push(envelope);
    }

    fn is_full(&self) -> bool {
        self.envelopes.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    fn store(
        &mut self,
        archive: &Archive,
        progress: &dyn Progress,
        tally: &mut Tally,
    ) -> Result<(), CliError> {
        let batch = std::mem::take(self);
        let (count, bytes) = (batch.envelopes.len() as u64, batch.bytes as u64);
        if count == 0 {
            return Ok(());
        }
        let appended = archive
            .append(&batch.envelopes)
            .map_err(|error| archive_failed("cannot store envelopes", &error))?;
        tally.stored += appended.stored;
        tally.duplicate += appended.duplicate;
        tally.refused += appended.refused + appended.too_old;
        tally.too_old += appended.too_old;
        progress.advance(count, bytes);
        let now = SystemClock.now();
        if archive.seal_is_due(now) {
            seal_due(archive, now).map_err(|error| archive_failed("cannot seal", &error))?;
        }
        room_for_more(archive.waiting())
    }
}

/// Ends an import of what can only wait.
fn room_for_more(waiting: u64) -> Result<(), CliError> {
    if waiting <= MAX_AHEAD {
        return Ok(());
    }
    Err(CliError::new(
        Kind::Partial,
        format!("{waiting} envelopes wait to be sealed, above the limit of {MAX_AHEAD}"),
    )
    .hint("they are dated ahead; run `gwa import` again with the rest once their time has come"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_stops_where_too_much_can_only_wait() {
        assert!(room_for_more(MAX_AHEAD).is_ok());
        let error = room_for_more(MAX_AHEAD + 1).unwrap_err();
        assert_eq!(error.kind(), Kind::Partial);
    }
}
