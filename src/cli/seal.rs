//! `gwa seal`: seals what was taken in.

use clap::Args;

use crate::archive::watermark::Watermark;
use crate::cli::context::{Context, archive_failed, no_head};
use crate::cli::error::{CliError, Kind};
use crate::cli::heads::Row;
use crate::time::{Clock, DAY, SystemClock, UnixSeconds};

/// How far ahead of now a seal may reach. A watermark never falls: after a
/// mistyped year every envelope would be late, until that year.
const MAX_AHEAD: u32 = DAY;

/// Arguments of `gwa seal`.
#[derive(Debug, Args)]
pub struct SealArgs {
    /// Seal what was sent before this time, rounded down to five minutes
    /// [default: two minutes ago, so that what is on its way is not late].
    #[arg(long, value_name = "T")]
    until: Option<UnixSeconds>,
}

/// Seals; prints the head CID.
pub fn run(args: &SealArgs, context: &mut Context) -> Result<(), CliError> {
    let now = SystemClock.now();
    if let Some(until) = args.until.filter(|until| until.since(now) > MAX_AHEAD) {
        return Err(CliError::new(
            Kind::Usage,
            format!("cannot seal up to {until}, which is more than a day ahead"),
        )
        .hint("a watermark never falls: what is sent before it later is late"));
    }
    let archive = context
        .sources
        .archive(&context.data)
        .map_err(|error| archive_failed("cannot open the archive", &error))?;
    let base = archive.head().map(|head| head.body().watermark);
    let until = match args.until {
        Some(until) => Watermark::at_or_before(until),
        None => Watermark::due(now).max(base.unwrap_or_default()),
    };
    let progress = context.progress();
    let report = archive
        .seal(until, now, &*progress)
        .map_err(|error| archive_failed("cannot seal", &error))?;
    drop(progress);

    let waiting = archive.waiting();
    if waiting > 0 {
        context.output.story(format_args!(
            "{waiting} envelopes were sent after {until} and wait for the next seal"
        ));
    }
    let Some(head) = report.head else {
        return Err(no_head("there is nothing to seal"));
    };
    if report.changed {
        context.output.story(format_args!(
            "sealed {} envelopes up to {until}",
            report.added.count
        ));
    } else {
        context.output.story("nothing new: the head stays");
    }
    let row = Row::from(&head);
    context.output.result(&row, &row)
}
