//! `gwa gaps`: what the archive misses, by its own habit or against mailservers.

mod compare;
mod hours;
mod own;
mod shortcut;

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use self::compare::{Comparison, Server, day_count, days, query};
use self::hours::gaps;
use self::own::Own;
use self::shortcut::Shortcut;
use crate::archive::habit::{Told, silences};
use crate::archive::watermark::Hour;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::mail::{self, Asker, MailArgs, server_failed, short};
use crate::rlpx::Enode;
use crate::time::{Clock, DAY, SystemClock, TimeRange, UnixSeconds};

/// How far the own history is looked at, unless told otherwise: a month, so that
/// each hour of the day has a habit.
const OWN_SPAN: u32 = 30 * DAY;

const EXAMPLES: &str = "\
Examples:
  gwa gaps
      hours of the last 30 days without an envelope where there usually are some
  gwa gaps enode://..a enode://..b --from 2026-11-01
      hours in which a mailserver has envelopes that the archive has not, or the
      other way round
  gwa gaps enode://.. --from 2026-11-01 --fill
      archives what is missing here

Another gwa tells over its own protocol which hours differ; of others, and of what is
missing here, everything is asked for. What a mailserver sends is checked as
by `gwa request`, and taken in as by `gwa import`: neither age nor work matters. While a daemon holds
the archive, only what is sealed is compared, and nothing can be filled.

Exit codes: 0 no gaps, or all that was missing here is archived, 1 error, 2 usage,
3 a server did not answer to the end, 10 no archive, 11 locked, 12 the password is not
the server's, 21 gaps found, 130 interrupted.";

/// Arguments of `gwa gaps`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct GapsArgs {
    /// The mailservers to compare with; none: the archive with its own habit.
    #[arg(value_name = "ENODE")]
    servers: Vec<Enode>,
    /// Look at what was sent at this time or later [default: a day before the
    /// end, 30 days where no server is named].
    #[arg(long, value_name = "T")]
    from: Option<UnixSeconds>,
    /// Look at what was sent at this time or earlier [default: now].
    #[arg(long, value_name = "T")]
    to: Option<UnixSeconds>,
    /// Archive what is missing here.
    #[arg(long, requires = "servers")]
    fill: bool,
    #[command(flatten)]
    mail: MailArgs,
}

/// A silence, as it is printed.
#[derive(Serialize)]
struct SilentRow {
    from: UnixSeconds,
    to: UnixSeconds,
    hours: u32,
    /// Envelopes that would have come by habit.
    expected: f64,
}

/// A gap, as it is printed.
#[derive(Serialize)]
struct GapRow {
    from: UnixSeconds,
    to: UnixSeconds,
    missing_here: u64,
    /// Of each server, in the order they were named.
    missing_there: Vec<u64>,
}

#[derive(Serialize)]
struct Filled {
    filled: u64,
    refused: u64,
}

/// Prints the gaps.
pub fn run(args: &GapsArgs, context: &mut Context) -> Result<(), CliError> {
    let to = args.to.unwrap_or_else(|| SystemClock.now());
    let span = if args.servers.is_empty() {
        OWN_SPAN
    } else {
        DAY
    };
    let from = args.from.unwrap_or_else(|| to.saturating_sub(span));
    let range = TimeRange::new(from, to)
        .map_err(|error| CliError::new(Kind::Usage, "no envelope can match").because(&error))?;
    let own = Own::open(context, args.fill)?;
    let Some(range) = own.known(range, context)? else {
        return Err(CliError::new(
            Kind::Error,
            "the archive knows nothing of that time: it is not sealed yet, or not kept any more",
        ));
    };
    if args.servers.is_empty() {
        own_silences(&own, range, context)
    } else {
        compare(args, &own, range, context)
    }
}

fn own_silences(own: &Own, range: TimeRange, context: &mut Context) -> Result<(), CliError> {
    let progress = context.progress();
    progress.phase("reading the own history", Some(day_count(range)), None);
    let mut counts: BTreeMap<Hour, u64> = BTreeMap::new();
    for day in days(range) {
        own.each(day, |key| {
            *counts.entry(Hour::of(key.sent)).or_default() += 1;
        })?;
        progress.advance(1, 0);
    }
    drop(progress);
    let total: u64 = counts.values().sum();
    let told = Told {
        from: None,
        end: range.to(),
        unknown: &[],
    };
    let silences = silences(&counts, told);
    for silence in &silences {
        let range = silence.stretch.range();
        let row = SilentRow {
            from: range.from(),
            to: range.to(),
            hours: silence.stretch.hours(),
            expected: silence.expected.round(),
        };
        let line = format!(
            "{}  {}  silent for {} h where {} envelopes were to be expected",
            row.from, row.to, row.hours, row.expected
        );
        context.output.result(&row, line)?;
    }
    context.output.story(format_args!(
        "{total} envelopes in {} hours between {} and {}",
        counts.len(),
        range.from(),
        range.to()
    ));
    if silences.is_empty() {
        return Ok(());
    }
    Err(
        CliError::new(Kind::Gaps, "the archive was silent when it usually is not")
            .hint("`gwa gaps ENODE` compares with a mailserver, and `--fill` takes in what it has"),
    )
}

fn compare(
    args: &GapsArgs,
    own: &Own,
    range: TimeRange,
    context: &mut Context,
) -> Result<(), CliError> {
    let asker = Asker::new(&args.mail);
    let servers = args.servers.iter().map(|server| Server {
        shortcut: Shortcut::new(*server),
        history: asker.history(*server, query(range)),
        envelopes: 0,
        is_vague: false,
        error: None,
    });
    let mut comparison = Comparison {
        own,
        servers: servers.collect(),
        lacks: BTreeMap::new(),
        fill: args.fill,
        filled: 0,
        refused: 0,
    };
    let progress = context.progress();
    progress.phase("comparing", None, None);
    mail::runtime()?.block_on(comparison.compare(range, context, &*progress))?;
    drop(progress);

    let gaps = gaps(&comparison.lacks);
    let mut missing_here = 0;
    for (stretch, lack) in &gaps {
        let mut missing_there = lack.there.clone();
        missing_there.resize(args.servers.len(), 0);
        let cut = range.intersect(stretch.range()).unwrap_or(range);
        missing_here += lack.here;
        let there: Vec<_> = missing_there.iter().map(u64::to_string).collect();
        let row = GapRow {
            from: cut.from(),
            to: cut.to(),
            missing_here: lack.here,
            missing_there,
        };
        let line = format!(
            "{}  {}  missing here {}  missing there {}",
            row.from,
            row.to,
            row.missing_here,
            there.join(" ")
        );
        context.output.result(&row, line)?;
    }
    if args.fill {
        let Comparison {
            filled, refused, ..
        } = comparison;
        let line = format!("filled {filled} refused {refused}");
        context.output.result(&Filled { filled, refused }, line)?;
    }
    for server in &comparison.servers {
        let name = short(server.history.server());
        let vague = if server.is_vague {
            ", which it never says are all"
        } else {
            ""
        };
        context.output.story(format_args!(
            "{name} delivered {} envelopes{vague}",
            server.envelopes
        ));
    }
    context.output.flush()?;

    let failed = comparison.servers.iter().find_map(|server| {
        let error = server.error.as_ref()?;
        Some((server, error))
    });
    if let Some((server, error)) = failed {
        let told = server_failed("no whole answer from", server.history.server(), error);
        let some_came = comparison
            .servers
            .iter()
            .any(|server| server.error.is_none() || server.envelopes > 0);
        return Err(if some_came && !error.is_wrong_password() {
            told.of_kind(Kind::Partial)
        } else {
            told
        });
    }
    let is_filled = args.fill && comparison.refused == 0;
    if gaps.is_empty() || is_filled {
        return Ok(());
    }
    let told = CliError::new(Kind::Gaps, "archive and mailservers differ");
    Err(if missing_here > 0 && !args.fill {
        told.hint("`--fill` archives what is missing here")
    } else {
        told
    })
}
