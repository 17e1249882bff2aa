//! `gwa log`: the lineage of a head.

use clap::Args;

use crate::cli::context::{Context, read_head};
use crate::cli::error::CliError;
use crate::cli::heads::Row;
use crate::cli::reference::Reference;
use crate::cli::sources::FromArgs;

/// Arguments of `gwa log`.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// The head to start from [default: the own head].
    #[arg(value_name = "REF")]
    reference: Option<Reference>,
    #[command(flatten)]
    from: FromArgs,
    /// Print at most so many heads.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// Prints heads from the newest to the first, or to the last that is held.
pub fn run(args: &LogArgs, context: &mut Context) -> Result<(), CliError> {
    context.sources.add_from(&args.from);
    let opened = context.head(&args.reference.clone().unwrap_or_default())?;
    let mut next = Some(opened.head);
    let mut left = args.limit.unwrap_or(u64::MAX);
    while let Some(head) = next
        && left > 0
    {
        left -= 1;
        let row = Row::from(&head);
        context.output.result(&row, row.in_log())?;
        next = match head.body().prev {
            None => None,
            Some(prev) => Some(read_head(&*opened.source, &prev)?),
        };
    }
    Ok(())
}
