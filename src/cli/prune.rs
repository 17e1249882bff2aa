//! `gwa prune`: drops days from this disk.
//!
//! Always true: nothing goes before it was said what would, and agreed to; the
//! calendar, the topic indexes and the heads stay, so what is left verifies, and
//! so does what is held elsewhere.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::{ArgGroup, Args};
use serde::Serialize;

use crate::archive::disk::{Archive, Plan};
use crate::archive::held::Runs;
use crate::blocks::BlockStore;
use crate::cli::context::{Context, archive_failed, no_head};
use crate::cli::elsewhere;
use crate::cli::error::{CliError, Kind};
use crate::config::{Size, Span};
use crate::time::{Clock, DAY, SystemClock, UnixSeconds};

/// Arguments of `gwa prune`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub struct PruneArgs {
    /// Drop the days that ended before this time: Unix seconds, RFC 3339 or a day.
    #[arg(long, value_name = "T", group = "what")]
    before: Option<UnixSeconds>,
    /// Drop days older than this, as in 30d.
    #[arg(long, value_name = "SPAN", group = "what")]
    keep: Option<Span>,
    /// Drop the oldest days until blocks take no more than this, as in 10G.
    #[arg(long, value_name = "BYTES", group = "what")]
    max_bytes: Option<Size>,
    /// Say what would go, and drop nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Drop without asking.
    #[arg(short, long)]
    yes: bool,
}

#[derive(Serialize)]
struct DayRow {
    day: String,
    bytes: u64,
}

#[derive(Serialize)]
struct Summary {
    /// The first day that is kept, or would be.
    kept_from: String,
    days: u64,
    bytes: u64,
    /// False where it was only said.
    dropped: bool,
    head: String,
    /// Where what goes may still be had.
    elsewhere: Vec<String>,
}

/// Says what would go; drops it where that is agreed to.
pub fn run(args: &PruneArgs, context: &mut Context) -> Result<(), CliError> {
    let failed = |error| archive_failed("cannot prune the archive", &error);
    let archive = Archive::open(&context.data)
        .map_err(|error| archive_failed("cannot open the archive", &error))?;
    let head = archive
        .head_cid()
        .ok_or_else(|| no_head("the archive has no head yet"))?;
    let before = before(args, &archive)?;
    let plan = archive.would_drop(before).map_err(failed)?;
    for (day, bytes) in &plan.days {
        let row = DayRow {
            day: day.to_string(),
            bytes: *bytes,
        };
        context
            .output
            .result(&row, format_args!("{day}  {bytes:>14}"))?;
    }
    let bytes: u64 = plan.days.iter().map(|(_, bytes)| bytes).sum();
    let mut summary = Summary {
        kept_from: plan.kept_from.to_string(),
        days: plan.days.len() as u64,
        bytes,
        dropped: false,
        head: head.to_string(),
        elsewhere: elsewhere::elsewhere(&context.data),
    };
    if !plan.days.is_empty() && agreed(args, &plan, bytes, &head, context)? {
        let progress = context.progress();
        progress.phase("dropping days", Some(summary.days), Some(bytes));
        let dropped = archive.drop_before(before).map_err(failed)?;
        archive.sweep(SystemClock.now()).map_err(failed)?;
        progress.advance(summary.days, bytes);
        drop(progress);
        summary.kept_from = dropped.kept_from.to_string();
        summary.dropped = true;
    }
    let verb = if summary.dropped {
        "dropped"
    } else {
        "would drop"
    };
    let line = format!(
        "{verb} {} days, {bytes} bytes; kept from {}",
        summary.days, summary.kept_from
    );
    context.output.result(&summary, line)
}

/// The time that the arguments come to.
fn before(args: &PruneArgs, archive: &Archive) -> Result<UnixSeconds, CliError> {
    if let Some(before) = args.before {
        return Ok(before);
    }
    if let Some(Span(keep)) = args.keep {
        let keep = u32::try_from(keep.as_secs()).unwrap_or(u32::MAX);
        return Ok(SystemClock.now().saturating_sub(keep));
    }
    let failed = |error| archive_failed("cannot prune the archive", &error);
    let files = archive.blocks().folder().files();
    let files = files.map_err(|error| failed(error.into()))?;
    let mut left: u64 = files.iter().map(|file| file.bytes).sum();
    let Size(most) = args.max_bytes.unwrap_or(Size(u64::MAX));
    let all = archive.would_drop(UnixSeconds::MAX).map_err(failed)?;
    let mut before = UnixSeconds::MIN;
    for (day, bytes) in all.days {
        if left <= most {
            break;
        }
        left -= bytes.min(left);
        before = day.range().from().saturating_add(DAY);
    }
    if left > most {
        return Err(CliError::new(
            Kind::Error,
            format!("{left} bytes would be left with every closed day dropped, above {most}"),
        )
        .hint("the open day, the calendar and what waits to be sealed stay"));
    }
    Ok(before)
}

/// Whether it may go: as the arguments say, or as the user does.
fn agreed(
    args: &PruneArgs,
    plan: &Plan,
    bytes: u64,
    head: &crate::blocks::Cid,
    context: &Context,
) -> Result<bool, CliError> {
    let runs: Runs = plan.days.iter().map(|(day, _)| *day).collect();
    context.output.story(format_args!(
        "{} days go from this disk: {runs}, {bytes} bytes; {}",
        plan.days.len(),
        elsewhere::hint(&context.data, head)
    ));
    if args.dry_run || args.yes {
        return Ok(args.yes);
    }
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        context
            .output
            .story("nothing was dropped: `--yes` drops without asking");
        return Ok(false);
    }
    let mut asked = io::stderr().lock();
    let mut answer = String::new();
    write!(asked, "Drop them? [y/N] ")
        .and_then(|()| asked.flush())
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|error| CliError::new(Kind::Error, "cannot ask").because(&error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_with_powers_of_1024() {
        for (text, bytes) in [("0", 0), ("17", 17), ("2K", 2_048), ("3G", 3 << 30)] {
            assert_eq!(text.parse(), Ok(Size(bytes)));
        }
        for text in ["", "G", "1.5G", "-1", "10GB", "99999999999T"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
