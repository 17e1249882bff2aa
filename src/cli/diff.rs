//! `gwa diff`: what of two heads is in one and not in the other.

use std::collections::BTreeMap;
use std::fmt;

use clap::Args;
use serde::Serialize;

use crate::archive::diff::{Detail, Diff, Difference, Fault, Found, Side, Sides};
use crate::archive::disk::sealed_by;
use crate::archive::watermark::Day;
use crate::cli::context::{Context, OpenedHead};
use crate::cli::envelopes::{Row, envelope_of};
use crate::cli::error::{CliError, Kind};
use crate::cli::wanted::WantedArgs;
use crate::sources::Reference;
use crate::whisper::Topic;

/// What failed where a block cannot be read.
const INCOMPARABLE: &str = "cannot compare the heads";

/// Arguments of `gwa diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The heads A and B; where there is one alone it is B, and the own head is A.
    #[arg(value_name = "REF", required = true, num_args = 1..=2)]
    references: Vec<Reference>,
    #[command(flatten)]
    wanted: WantedArgs,
    /// Print how much differs by day and by topic, instead of every envelope.
    #[arg(long, conflicts_with = "count")]
    stat: bool,
    /// Print only how many envelopes each has that the other has not.
    #[arg(long)]
    count: bool,
    /// End with exit code 22 where anything differs.
    #[arg(long)]
    exit_code: bool,
    /// End with what the comparison cost: blocks, bytes, rounds of fetches.
    #[arg(long)]
    explain: bool,
}

/// An envelope of one of both.
#[derive(Serialize)]
struct EnvelopeRow {
    #[serde(rename = "in")]
    side: Side,
    #[serde(flatten)]
    row: Row,
}

/// What a comparison adds up to on each side.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Total {
    count: u64,
    bytes: u64,
}

/// A figure for each side.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Both<T> {
    a: T,
    b: T,
}

impl<T> Both<T> {
    fn of(&mut self, side: Side) -> &mut T {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }
}

#[derive(Serialize)]
struct DayRow {
    day: String,
    #[serde(flatten)]
    totals: Both<Total>,
}

#[derive(Serialize)]
struct TopicRow {
    topic: String,
    #[serde(flatten)]
    counts: Both<u64>,
}

/// What differs, by day and by topic.
#[derive(Default)]
struct Stat {
    days: BTreeMap<Day, Both<Total>>,
    topics: BTreeMap<Topic, Both<u64>>,
    all: Both<Total>,
}

/// Prints what differs, in order of time.
pub fn run(args: &DiffArgs, context: &mut Context) -> Result<(), CliError> {
    let filter = args.wanted.filter()?;
    let own = Reference::default();
    let (a, b) = match args.references.as_slice() {
        [a, b] => (a, b),
        [b, ..] => (&own, b),
        [] => (&own, &own),
    };
    let (head_a, head_b) = (context.head(a)?, context.head(b)?);
    check_kin(&head_a, &head_b)?;
    let detail = if args.stat || args.count {
        Detail::Counts
    } else {
        Detail::Envelopes
    };
    let failed = |context: &Context, fault: &Fault| {
        let reference = if fault.side == Side::A { a } else { b };
        context.unreadable(reference, INCOMPARABLE, &fault.error)
    };
    let sources = Sides {
        a: &*head_a.source,
        b: &*head_b.source,
    };
    let (sealed_a, sealed_b) = (sealed_by(&head_a.head), sealed_by(&head_b.head));
    let sealed = Sides {
        a: &sealed_a,
        b: &sealed_b,
    };
    let mut diff =
        Diff::new(sources, sealed, &filter, detail).map_err(|fault| failed(context, &fault))?;
    let mut stat = Stat::default();
    let progress = match detail {
        Detail::Counts => context.progress(),
        Detail::Envelopes => context.progress_beside_results(),
    };
    progress.phase("comparing", None, None);
    for difference in diff.by_ref() {
        let difference = difference.map_err(|fault| failed(context, &fault))?;
        let Total { count, bytes } = stat.add(&difference);
        progress.advance(count, bytes);
        if let (Found::Envelope(record), Detail::Envelopes) = (&difference.found, detail) {
            let row = EnvelopeRow {
                side: difference.side,
                row: Row::from(&envelope_of(record)?),
            };
            context.output.result(&row, &row)?;
        }
    }
    drop(progress);
    let cost = diff.cost();
    let all = stat.all;
    if args.stat {
        stat.print(context)?;
    }
    if args.count {
        let line = format!("a {} b {}", all.a.count, all.b.count);
        context.output.result(&all, line)?;
    }
    context.output.story(format_args!(
        "only in a: {} envelopes, {} bytes; only in b: {} envelopes, {} bytes",
        all.a.count, all.a.bytes, all.b.count, all.b.bytes
    ));
    if args.explain {
        let line = format!(
            "blocks {} bytes {} rounds {}",
            cost.blocks, cost.bytes, cost.rounds
        );
        context.output.result(&cost, line)?;
    }
    if args.exit_code && all.a.count + all.b.count > 0 {
        return Err(CliError::new(Kind::Different, "the archives differ"));
    }
    Ok(())
}

/// Refuses heads of two networks: what they hold has nothing in common.
fn check_kin(a: &OpenedHead, b: &OpenedHead) -> Result<(), CliError> {
    let (a, b) = (&a.head.body().network, &b.head.body().network);
    if a == b {
        return Ok(());
    }
    let what = format!("one head is of network `{a}`, the other of `{b}`");
    Err(CliError::new(Kind::Usage, INCOMPARABLE).hint(what))
}

impl Stat {
    /// Adds what differs, and says how much that is.
    fn add(&mut self, difference: &Difference) -> Total {
        let side = difference.side;
        let day = Day::of(difference.bucket.from());
        let (count, bytes) = match &difference.found {
            Found::Envelope(record) => {
                *self.topics.entry(record.key.topic).or_default().of(side) += 1;
                (1, record.bytes.len() as u64)
            }
            Found::Leaf(leaf) => {
                for run in &leaf.runs {
                    *self.topics.entry(run.topic).or_default().of(side) += u64::from(run.count);
                }
                (leaf.sums.count, leaf.sums.bytes)
            }
        };
        for totals in [self.days.entry(day).or_default(), &mut self.all] {
            let total = totals.of(side);
            total.count += count;
            total.bytes += bytes;
        }
        Total { count, bytes }
    }

    /// Days in order, then topics by how much differs.
    fn print(self, context: &mut Context) -> Result<(), CliError> {
        for (day, totals) in self.days {
            let day = day.to_string();
            let Both { a, b } = totals;
            let line = format!(
                "{day}  a {:>10} {:>14}  b {:>10} {:>14}",
                a.count, a.bytes, b.count, b.bytes
            );
            context.output.result(&DayRow { day, totals }, line)?;
        }
        let mut topics: Vec<_> = self.topics.into_iter().collect();
        topics.sort_by_key(|(topic, both)| (std::cmp::Reverse(both.a + both.b), *topic));
        for (topic, counts) in topics {
            let topic = topic.to_string();
            let line = format!("{topic}  a {:>10}  b {:>10}", counts.a, counts.b);
            context.output.result(&TopicRow { topic, counts }, line)?;
        }
        Ok(())
    }
}

impl fmt::Display for EnvelopeRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::A => 'a',
            Side::B => 'b',
        };
        write!(f, "{side}  {}", self.row)
    }
}
