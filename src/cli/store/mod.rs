//! `gwa store`: where the archive is kept beside this disk, and bringing it there.

mod settings;
mod shared;

use std::fmt;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use crate::archive::disk::{Archive, DiskError, Stop};
use crate::cli::context::{Context, archive_failed};
use crate::cli::daemon;
use crate::cli::error::{CliError, Kind};
use crate::depot::writer::WriterError;
use crate::depot::{Carrier, CarrierStatus, CarryError, DepotError};
use crate::progress::Quiet;
use crate::time::{Clock, SystemClock, UnixSeconds};

pub use self::settings::{StoreFlags, attach, carrier, kept_head};
pub use self::shared::{ReplicaOf, is_replica, replica, require_claims, turn, wait_turn};

const EXAMPLES: &str = "\
Examples:
  gwa store --store folder:/mnt/nas/archive
      what waits to be carried there
  gwa store carry --store folder:/mnt/nas/archive
      carry it now, to the end
  gwa store
      with `store = \"..\"` in gwa.toml; a daemon that runs is asked how it stands";

/// Arguments of `gwa store`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
// Named apart from the flags in it, which bear the same name.
#[group(id = "store-command")]
pub struct StoreArgs {
    #[command(flatten)]
    flags: StoreFlags,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum What {
    /// Carry to the store what it lacks, to the end.
    Carry,
}

/// How the store stands, as it is printed.
#[derive(Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    status: CarrierStatus,
}

/// What carrying came to, as it is printed.
#[derive(Serialize)]
struct CarriedRow {
    store: String,
    head: Option<String>,
    seq: Option<u64>,
    files: u64,
    bytes: u64,
    released: u64,
    evicted: u64,
    evicted_bytes: u64,
    lost: u64,
}

/// Of a daemon's status, what is about its store.
#[derive(Deserialize)]
struct Told {
    store: Option<CarrierStatus>,
}

/// Shows how the store stands, or carries.
pub fn run(args: &StoreArgs, context: &mut Context) -> Result<(), CliError> {
    let archive = match context.sources.archive(&context.data) {
        Err(DiskError::Locked { .. }) if args.what.is_none() => return told_by_daemon(context),
        other => other.map_err(|error| archive_failed("cannot open the archive", &error))?,
    };
    let archive = Arc::new(archive);
    let carrier = settings::carrier(&args.flags, Arc::clone(&archive), &context.data)?;
    let carrier = carrier.ok_or_else(no_store)?;
    match args.what {
        None => {
            let looked = carrier.look(SystemClock.now());
            show(carrier.status(), context)?;
            looked.map_err(|error| failed("cannot ask the store", &error))
        }
        Some(What::Carry) => {
            take_turn(&carrier, &archive)?;
            carry(&carrier, context)
        }
    }
}

/// The daemon holds the archive: it knows.
fn told_by_daemon(context: &mut Context) -> Result<(), CliError> {
    let told: Told = daemon::ask(context, "/api/v1/status")?;
    show(told.store.ok_or_else(no_store)?, context)
}

/// How the store of the daemon that runs stands; `None` where none runs or answers, or
/// where it has no store.
fn of_daemon(context: &Context) -> Option<CarrierStatus> {
    let told: Told = daemon::ask(context, "/api/v1/status").ok()?;
    told.store
}

fn no_store() -> CliError {
    CliError::new(Kind::Error, "the archive is kept in the data folder alone")
        .hint("name a store with `--store`, or as `store` in gwa.toml")
}

fn show(status: CarrierStatus, context: &mut Context) -> Result<(), CliError> {
    let row = Row { status };
    let line = Line(&row.status).to_string();
    context.output.result(&row, line)
}

/// Of several machines that write to a store one carries: another would let files go that
/// this one has just brought for its next head.
fn take_turn(carrier: &Carrier, archive: &Archive) -> Result<(), CliError> {
    let Some(turn) = turn(carrier, archive, false)? else {
        return Ok(());
    };
    let taken = turn
        .writer
        .round(archive, false, SystemClock.now(), &Quiet)
        .map(drop);
    taken.map_err(|error| {
        let told = CliError::new(Kind::Error, "cannot carry to the store").because(&error);
        match error {
            WriterError::Held { .. } => told.hint("the machine that seals carries too"),
            WriterError::Depot(error) => with_way_in(told, &error),
            _ => told,
        }
    })
}

fn carry(carrier: &Carrier, context: &mut Context) -> Result<(), CliError> {
    let progress = context.progress();
    let ended = carrier.round(&Stop::default(), SystemClock.now(), &*progress);
    drop(progress);
    let carried = ended.map_err(|error| failed("cannot carry to the store", &error))?;
    let status = carrier.status();
    let row = CarriedRow {
        store: status.store,
        head: status.head,
        seq: status.seq,
        files: carried.files,
        bytes: carried.bytes,
        released: carried.released,
        evicted: carried.evicted,
        evicted_bytes: carried.evicted_bytes,
        lost: carried.lost,
    };
    let line = format!(
        "carried {} files, {} bytes; released {}; {} days left this disk, {} bytes",
        row.files, row.bytes, row.released, row.evicted, row.evicted_bytes
    );
    context.output.result(&row, line)?;
    if carried.lost > 0 {
        return Err(lost(carried.lost));
    }
    Ok(())
}

fn lost(files: u64) -> CliError {
    CliError::new(
        Kind::Verification,
        format!("{files} files are neither here nor at the store any more"),
    )
    .hint("`gwa repair --from SOURCE` fetches them again from whoever has them")
}

fn failed(what: &str, error: &CarryError) -> CliError {
    let kind = match error {
        CarryError::Damaged { .. } => Kind::Verification,
        _ => Kind::Error,
    };
    let told = CliError::new(kind, what).because(error);
    match error {
        CarryError::Damaged { .. } => told.hint("`gwa repair --from SOURCE` mends the file"),
        CarryError::Foreign { .. } | CarryError::Depot(DepotError::Overtaken { .. }) => {
            told.hint("one archive is kept in one place: name another, empty one")
        }
        CarryError::Elsewhere { .. } => told.hint(
            "name that store again, or bring the days from there with `gwa repair --from SOURCE`",
        ),
        CarryError::Incomplete => {
            told.hint("a fork is carried once its history is here: `gwa serve` without `--lazy`")
        }
        CarryError::Depot(DepotError::Away { .. }) => {
            told.hint("nothing is lost: files wait on this disk until it is back")
        }
        CarryError::Depot(error) => with_way_in(told, error),
        _ => told,
    }
}

/// The same, with what lets one in where the store refuses.
fn with_way_in(told: CliError, error: &DepotError) -> CliError {
    let DepotError::Refused { depot, .. } = error else {
        return told;
    };
    match depot.split(':').next() {
        Some("kubo") => told.hint(
            "where the node asks for credentials, GWA_STORE_AUTH, `store-auth` in gwa.toml or \
             GWA_KUBO_AUTH holds them: bearer:TOKEN or basic:USER:PASSWORD",
        ),
        Some("s3") => told.hint(
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment say who asks; the \
             bucket must be there",
        ),
        _ => told,
    }
}

/// The status in words.
struct Line<'a>(&'a CarrierStatus);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0;
        let waiting = status.waiting_files.zip(status.waiting_bytes);
        writeln!(f, "store    {}", status.store)?;
        match (&status.head, status.seq) {
            (Some(head), Some(seq)) => writeln!(f, "head     {seq} {head}")?,
            _ if waiting.is_some() => writeln!(f, "head     none yet")?,
            _ => writeln!(f, "head     unknown")?,
        }
        match waiting {
            Some((files, bytes)) => writeln!(f, "waiting  {files} files, {bytes} bytes")?,
            None => writeln!(f, "waiting  unknown")?,
        }
        write!(
            f,
            "evicted  {} files, {} bytes",
            status.evicted_files, status.evicted_bytes
        )?;
        if status.lost_files > 0 {
            write!(f, "\nlost     {} files", status.lost_files)?;
        }
        if let Some(error) = &status.error {
            let since = UnixSeconds(status.failing_since.unwrap_or(0));
            write!(f, "\nfailing  since {since}: {error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_did_not_say_how_it_stands_is_not_called_empty() {
        let asked = CarrierStatus {
            store: "kubo:http://127.0.0.1:5001".to_owned(),
            waiting_files: Some(2),
            waiting_bytes: Some(300),
            ..CarrierStatus::default()
        };
        let line = Line(&asked).to_string();
        assert!(line.contains("head     none yet\nwaiting  2 files, 300 bytes\n"));
        let silent = CarrierStatus {
            waiting_files: None,
            waiting_bytes: None,
            failing_since: Some(1_538_265_600),
            error: Some("refused".to_owned()),
            ..asked.clone()
        };
        let line = Line(&silent).to_string();
        assert!(
            line.contains("head     unknown\nwaiting  unknown\n"),
            "{line}"
        );
        assert!(
            line.ends_with("failing  since 2018-09-30T00:00:00Z: refused"),
            "{line}"
        );
        let head = CarrierStatus {
            head: Some("bafy".to_owned()),
            seq: Some(7),
            ..silent
        };
        assert!(
            Line(&head)
                .to_string()
                .contains("head     7 bafy\nwaiting  unknown\n")
        );
    }

    #[test]
    fn whoever_is_refused_is_told_what_would_let_him_in() {
        for (depot, hint) in [
            ("kubo:http://127.0.0.1:5001", Some("GWA_STORE_AUTH")),
            ("s3:http://127.0.0.1:7070/bucket", Some("AWS_ACCESS_KEY_ID")),
            ("s3://bucket", Some("AWS_ACCESS_KEY_ID")),
            ("folder:/mnt/nas", None),
        ] {
            let refused = DepotError::Refused {
                depot: depot.to_owned(),
                what: "HTTP status 403".to_owned(),
            };
            let told = failed("cannot carry", &CarryError::Depot(refused)).to_string();
            match hint {
                Some(hint) => assert!(told.contains(hint), "{told}"),
                None => assert!(!told.contains("Hint"), "{told}"),
            }
        }
    }
}
