//! `gwa import`: takes in envelopes from wherever others kept them.
//!
//! Always true: what waits to be sealed stays bounded, however much is read; a
//! long import seals on its way.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use crate::archive::disk::{Archive, MAX_WAITING, seal_due};
use crate::archive::parallel;
use crate::cli::context::{Context, archive_failed};
use crate::cli::error::{CliError, Kind};
use crate::durable::NamedFile;
use crate::import::leveldb::LevelDbError;
use crate::import::postgres::PostgresError;
use crate::import::report::Report;
use crate::import::source::{OpenError, Opened, Source};
use crate::import::{Found, ImportError, Reason};
use crate::progress::Progress;
use crate::time::{Clock, SystemClock, UnixSeconds};
use crate::whisper::Envelope;
use crate::whisper::pow::Work;

/// Most envelopes made durable at once: one sync of the disk for each batch.
const BATCH: usize = 1_000;

/// Most bytes held back for a batch; with [`BATCH`] it bounds the memory.
const BATCH_BYTES: usize = 4 << 20;

/// Most envelopes that may wait because they are dated ahead of their time: at
/// about 150 bytes each in memory, 600 MB. No seal can take them yet.
const MAX_AHEAD: u64 = 4 * MAX_WAITING;

/// Most refusals told one by one; the rest is counted.
const TOLD: u64 = 10;

/// What failed where the file of `--report` cannot be written.
const UNKEPT: &str = "cannot write the report";

/// Arguments of `gwa import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What to read, or - for standard input: RLP envelopes one after another, a
    /// CAR with leaves of an archive, JSON lines of `gwa export`, the LevelDB
    /// folder of a mailserver, `postgres://..` of one, or the folder of another
    /// archive.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<OsString>,
    /// Write what the import came to into this file too, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Imports every source; those behind one that fails are not read.
pub fn run(args: &ImportArgs, context: &mut Context) -> Result<(), CliError> {
    let sources: Vec<Source> = args
        .files
        .iter()
        .map(|named| Source::try_from(named.clone()).map_err(|error| misnamed(&error)))
        .collect::<Result<_, _>>()?;
    let archive = context
        .sources
        .archive(&context.data)
        .map_err(|error| archive_failed("cannot open the archive", &error))?;
    // Before the work: who cannot be told the outcome may not want it.
    let kept = args.report.as_deref().map(|path| {
        NamedFile::begin(path).map_err(|error| {
            CliError::new(Kind::Error, format!("cannot write {}", path.display())).because(&error)
        })
    });
    let kept = kept.transpose()?;
    let progress = context.progress();
    let mut import = Import {
        archive: &archive,
        progress: &*progress,
        context,
        report: Report::new(SystemClock.now()),
        told: 0,
    };
    let mut left = sources.iter();
    let failure = left.find_map(|source| {
        let mut opened = match source.open() {
            Ok(opened) => opened,
            Err(error) => {
                import.report.not_read(source);
                return Some(unopened(source, &error));
            }
        };
        let (count, bytes) = opened.size();
        progress.phase(&format!("importing {source}"), count, bytes);
        let outcome = import.source(source, &mut opened);
        import.report.end_source(source, opened.kind());
        outcome.err()
    });
    for source in left {
        import.report.not_read(source);
    }
    let report = import.report;
    drop(progress);
    let kept = kept.map_or(Ok(()), |file| write_report(file, &report));
    context.output.result(&report, &report)?;
    let too_old = report.refused_as(Reason::NoLongerKept);
    if too_old > 0 {
        context.output.story(format_args!(
            "refused: {too_old} envelopes of days before {}, which are no longer kept",
            archive.kept_from()
        ));
    }
    let refused = report.tally().refused;
    let outcome = match failure {
        Some(error) => Err(error),
        None if refused > 0 => Err(CliError::new(
            Kind::Partial,
            format!("{refused} parts are no envelopes this archive takes"),
        )
        .hint("the report says why; what is not named there is stored")),
        None => Ok(()),
    };
    let unkept = kept.map_err(|error| CliError::new(Kind::Error, UNKEPT).because(&error));
    match (outcome, unkept) {
        // What failed first decides the exit code.
        (Err(error), Err(unkept)) => {
            context.output.story(unkept);
            Err(error)
        }
        (outcome, unkept) => outcome.and(unkept),
    }
}

/// The address of a database that cannot be used. It is not repeated, because it
/// may hold a password.
fn misnamed(error: &PostgresError) -> CliError {
    let told = CliError::new(Kind::Usage, "cannot use the address of the database").because(error);
    match error {
        PostgresError::Tls => told.hint(
            "use its local socket or loopback, or a tunnel; `sslmode=prefer` goes without TLS",
        ),
        PostgresError::AtSigns => told.hint("write an @ of the user's name or the password as %40"),
        _ => told.hint("expected postgres://USER@HOST:PORT/DATABASE"),
    }
}

/// A source that cannot be opened, and what helps.
fn unopened(source: &Source, error: &OpenError) -> CliError {
    let told = |kind| CliError::new(kind, format!("cannot open {source}")).because(error);
    match error {
        OpenError::LevelDb(LevelDbError::InUse { .. }) => told(Kind::Locked)
            .hint("stop the node that has it open, or import a copy of the folder"),
        OpenError::Folder { inside, .. } => {
            let told = told(Kind::Error);
            match inside {
                Some(dir) => told.hint(format!("did you mean {}?", dir.display())),
                None => {
                    told.hint("a mailserver's folder holds a file CURRENT, and *.ldb beside it")
                }
            }
        }
        OpenError::Postgres(error) if error.is_wrong_password() => {
            told(Kind::WrongKey).hint("the password may stand in the environment as PGPASSWORD")
        }
        OpenError::Postgres(error) if error.is_not_admitted() => told(Kind::Error).hint(
            "the server lets nobody in that way, as its pg_hba.conf says; where it asks for \
             TLS, use its local socket, or a tunnel",
        ),
        OpenError::Archive(error) => archive_failed(&format!("cannot open {source}"), error),
        _ => told(Kind::Error),
    }
}

fn write_report(mut file: NamedFile, report: &Report) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(report).expect("plain fields are JSON");
    text.push('\n');
    file.file().write_all(text.as_bytes())?;
    file.commit()
}

/// An import on its way.
struct Import<'a> {
    archive: &'a Archive,
    progress: &'a dyn Progress,
    context: &'a Context,
    report: Report,
    /// Refusals told so far.
    told: u64,
}

impl Import<'_> {
    /// Takes in what a source holds, up to where it cannot be read further.
    fn source(&mut self, source: &Source, opened: &mut Opened) -> Result<(), CliError> {
        let mut batch = Batch::default();
        let mut stopped = None;
        match opened.items() {
            Err(error) => stopped = Some(self.refuse(source, &error)),
            Ok(items) => {
                for item in items {
                    match item {
                        Ok(found) => batch.push(found),
                        Err(error) => {
                            let stop = self.refuse(source, &error);
                            if !error.goes_on() {
                                stopped = Some(stop);
                            }
                        }
                    }
                    if batch.is_full() {
                        self.store(std::mem::take(&mut batch))?;
                    }
                }
            }
        }
        self.store(batch)?;
        stopped.map_or(Ok(()), Err)
    }

    /// Counts and tells a refusal; gives the failure that it is where nothing
    /// more comes.
    fn refuse(&mut self, source: &Source, error: &ImportError) -> CliError {
        self.report.refuse(error.reason());
        if self.told < TOLD {
            self.told += 1;
            let line = format_args!("refused: {source}: {error}");
            self.context.output.story(line);
        }
        CliError::new(Kind::Partial, format!("cannot read {source} further"))
            .because(error)
            .hint("what was read before it is stored; run `gwa import` again with the rest")
    }

    fn store(&mut self, batch: Batch) -> Result<(), CliError> {
        let Batch { found, bytes } = batch;
        if found.is_empty() {
            return Ok(());
        }
        let envelopes: Vec<Envelope> = found.iter().map(|found| found.envelope.clone()).collect();
        let appended = self
            .archive
            .append(&envelopes)
            .map_err(|error| archive_failed("cannot store envelopes", &error))?;
        // Nearly all of an import's hashing, so it is spread over the cores.
        let works: Result<_, Infallible> =
            parallel::map(&found, |found| Ok(Work::of(&found.envelope)));
        let works: Vec<Work> = works.unwrap_or_default();
        // What was not stored is not reported as read.
        for (found, work) in found.iter().zip(works) {
            self.report.note(found, work);
        }
        self.report.took(appended);
        self.progress.advance(envelopes.len() as u64, bytes as u64);
        room_for_more(self.archive, SystemClock.now(), MAX_AHEAD)
    }
}

/// Envelopes on their way to the disk.
#[derive(Default)]
struct Batch {
    found: Vec<Found>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, found: Found) {
        self.bytes += found.envelope.rlp().len();
        self.found.push(found);
    }

    fn is_full(&self) -> bool {
        self.found.len() >= BATCH || self.bytes >= BATCH_BYTES
    }
}

/// Seals where that is due; ends an import of what can only wait.
fn room_for_more(archive: &Archive, now: UnixSeconds, most: u64) -> Result<(), CliError> {
    // However little of it a seal can take, that may be enough to go on.
    if archive.seal_is_due(now) || archive.waiting() > most {
        seal_due(archive, now).map_err(|error| archive_failed("cannot seal", &error))?;
    }
    let waiting = archive.waiting();
    if waiting <= most {
        return Ok(());
    }
    Err(CliError::new(
        Kind::Partial,
        format!("{waiting} envelopes wait to be sealed, above the limit of {most}"),
    )
    .hint("they are dated ahead; run `gwa import` again with the rest once their time has come"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Expiry, Ttl};
    use crate::whisper::Topic;

    #[test]
    fn an_import_stops_where_too_much_can_only_wait_and_not_where_some_can_be_sealed() {
        let now = UnixSeconds(1_600_000_000);
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::init(dir.path(), "a").unwrap();
        let sent = |at: u32| {
            let (ttl, topic) = (Ttl(50), Topic([1; 4]));
            Envelope::new(Expiry(now.0 + at + 50), ttl, topic, &[7; 64], 0)
        };
        let ahead: Vec<_> = (1..=3).map(|n| sent(n * 1_000)).collect();
        archive.append(&ahead).unwrap();
        let due = Envelope::new(Expiry(now.0 - 1_000), Ttl(50), Topic([1; 4]), &[7; 64], 0);
        archive.append(&[due]).unwrap();
        // Most are ahead, so no seal was due for their sake.
        assert!(!archive.seal_is_due(now));
        room_for_more(&archive, now, 3).unwrap();
        assert_eq!(archive.waiting(), 3);
        let error = room_for_more(&archive, now, 2).unwrap_err();
        assert_eq!(error.kind(), Kind::Partial);
    }
}
