//! `gwa repair`: fetches again what is damaged or gone.

use clap::Args;
use serde::Serialize;

use crate::archive::disk::Stop;
use crate::cli::context::{Context, archive_failed};
use crate::cli::error::{CliError, Kind};
use crate::cli::sources::FromArgs;
use crate::sources::Reference;

const EXAMPLES: &str = "\
Examples:
  gwa repair http://mirror.example:8547
      fetch what is damaged here from another gwa, a gateway or a public folder
  gwa repair --source backup.car
      the same from a file

`gwa fsck` says what is damaged. What is fetched is checked; a damaged file goes only
when everything was found right.

Exit codes: 0 all is right, 1 error, 2 usage, 10 no archive, 11 locked,
20 what was fetched is not what it should be.";

/// Arguments of `gwa repair`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RepairArgs {
    /// Who has the blocks, besides those of `--source`.
    #[arg(value_name = "REF")]
    reference: Option<Reference>,
    #[command(flatten)]
    from: FromArgs,
}

#[derive(Serialize)]
struct Row {
    /// Files that were damaged.
    damaged: u64,
    /// Blocks of theirs that were right.
    kept: u64,
    /// Blocks fetched, and their bytes.
    blocks: u64,
    fetched: u64,
}

/// Repairs.
pub fn run(args: &RepairArgs, context: &mut Context) -> Result<(), CliError> {
    context.sources.add_from(&args.from);
    let archive = context
        .sources
        .archive(&context.data)
        .map_err(|error| archive_failed("cannot open the archive", &error))?;
    let pool = context
        .sources
        .elsewhere(args.reference.as_ref(), &context.data)?;
    if pool.is_empty() {
        return Err(
            CliError::new(Kind::Usage, "there is nobody to fetch blocks from")
                .hint("name who has them: `gwa repair REF`, or `--source SOURCE`"),
        );
    }
    let progress = context.progress();
    let repaired = archive
        .repair(&pool, &Stop::default(), &*progress)
        .map_err(|error| archive_failed("cannot repair", &error))?;
    drop(progress);
    let row = Row {
        damaged: repaired.files,
        kept: repaired.kept,
        blocks: repaired.copied.blocks,
        fetched: repaired.copied.bytes,
    };
    let line = format!(
        "damaged files {}, {} blocks of theirs kept; fetched {} blocks, {} bytes; all is right now",
        row.damaged, row.kept, row.blocks, row.fetched
    );
    context.output.result(&row, line)
}
