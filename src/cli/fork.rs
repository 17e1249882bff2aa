//! `gwa fork`: an archive of one's own, on top of another's history.

use clap::Args;
use serde::Serialize;

use crate::archive::disk::{Archive, DiskError, Stop};
use crate::archive::head::Head;
use crate::cli::context::{Context, archive_failed};
use crate::cli::error::{CliError, Kind};
use crate::cli::sources::FromArgs;
use crate::sources::Reference;
use crate::time::{Clock, SystemClock};

const EXAMPLES: &str = "\
Examples:
  gwa fork http://archive.example:8547
      go on from the newest head of another gwa
  gwa fork bafyrei.. --source http://gateway.example
      go on from a head, whose blocks a gateway has
  gwa fork
      make the mirror in the data folder an archive of its own

A fork takes a moment at any size: it is one new head. Fetched is only what sealing
on takes: what is sealed of the day that is open, and the topic index of its month.
`gwa serve` serves it at once and fetches the history meanwhile; `gwa fork --full`
fetches and checks it first.

Exit codes: 0 forked, 1 error, 2 usage, 10 no archive at REF, 11 locked,
20 what was fetched is not what it should be, 130 interrupted.";

/// Arguments of `gwa fork`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ForkArgs {
    /// The head to go on from [default: that of the mirror in the data folder].
    #[arg(value_name = "REF")]
    reference: Option<Reference>,
    #[command(flatten)]
    from: FromArgs,
    /// A name for the archive, told in its heads.
    #[arg(long, default_value = "", hide_default_value = true, value_parser = crate::cli::init::short_name)]
    name: String,
    /// Fetch and check the whole history now.
    #[arg(long)]
    full: bool,
}

#[derive(Serialize)]
struct Forked {
    head: String,
    state: Option<String>,
    seq: u64,
    watermark: u32,
    count: u64,
    bytes: u64,
    /// The head it goes on from.
    from: String,
    /// Bytes fetched of the history.
    fetched: u64,
}

/// Forks.
pub fn run(args: &ForkArgs, context: &mut Context) -> Result<(), CliError> {
    context.sources.add_from(&args.from);
    match &args.reference {
        None => own(context),
        Some(reference) => fork(args, reference, context),
    }
}

/// Makes a mirror an archive of its own.
fn own(context: &mut Context) -> Result<(), CliError> {
    let archive = context
        .sources
        .archive(&context.data)
        .map_err(|error| archive_failed("cannot open the archive", &error))?;
    if !archive.is_mirror() {
        return Err(
            CliError::new(Kind::Usage, "the archive in the data folder is no mirror")
                .hint("name what to fork: `gwa fork REF`"),
        );
    }
    let before = archive.head_cid();
    let head = archive
        .leave_origin(SystemClock.now())
        .map_err(|error| archive_failed("cannot fork", &error))?;
    let from = before.map(|cid| cid.to_string()).unwrap_or_default();
    tell(&head, from, 0, context)
}

fn fork(args: &ForkArgs, reference: &Reference, context: &mut Context) -> Result<(), CliError> {
    let mut lead = context.sources.lead(reference, &context.data)?;
    let (offered, source) = lead.latest()?;
    let sources = context.sources.places(reference, &context.data)?;
    let progress = context.progress();
    let (archive, copied) = Archive::fork(
        &context.data,
        &args.name,
        &offered,
        &*source,
        sources,
        SystemClock.now(),
        &*progress,
    )
    .map_err(|error| match error {
        DiskError::Exists { .. } => archive_failed("cannot fork", &error).hint(
            "a fork begins an archive: name another folder with `--data DIR`, or unite the \
             two with `gwa merge`",
        ),
        DiskError::Past { .. } => archive_failed("cannot fork", &error).hint(
            "hours and deltas of an open day are kept for a day: fork the newest head, which \
             the address of a gwa, or a folder, stands for",
        ),
        error => archive_failed("cannot fork", &error),
    })?;
    let mut fetched = copied.bytes;
    if args.full {
        let copied = archive
            .complete(&*source, &Stop::default(), &*progress)
            .map_err(|error| {
                archive_failed("forked, but cannot fetch the history", &error).hint(
                    "`gwa serve` goes on fetching; so does `gwa fork --full` in an empty folder",
                )
            })?;
        fetched += copied.bytes;
    }
    let head = archive.head().expect("a fork has a head");
    tell(&head, offered.cid().to_string(), fetched, context)
}

fn tell(head: &Head, from: String, fetched: u64, context: &mut Context) -> Result<(), CliError> {
    let body = head.body();
    let forked = Forked {
        head: head.cid().to_string(),
        state: body.state.map(|cid| cid.to_string()),
        seq: body.sequence.0,
        watermark: body.watermark.at().0,
        count: body.totals.count,
        bytes: body.totals.bytes,
        from,
        fetched,
    };
    let line = format!(
        "head  {}\nfrom  {}\nholds {} envelopes, {} bytes",
        forked.head, forked.from, forked.count, forked.bytes
    );
    context.output.result(&forked, line)
}
