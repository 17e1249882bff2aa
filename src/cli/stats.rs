//! `gwa stats`: totals of a head, by day and by topic.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use crate::archive::ArchiveError;
use crate::archive::calendar::CalendarReader;
use crate::archive::walk::LeafWalk;
use crate::archive::watermark::Day;
use crate::cli::context::{Context, unreadable};
use crate::cli::error::CliError;
use crate::cli::heads;
use crate::cli::reference::Reference;
use crate::whisper::Topic;

/// Topics printed unless all are asked for: the largest.
const TOPICS: usize = 20;

/// Arguments of `gwa stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// The head to sum up [default: the own head].
    #[arg(value_name = "REF")]
    reference: Option<Reference>,
    /// Print every topic, not only the largest.
    #[arg(long)]
    all_topics: bool,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Total {
    count: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct DayRow {
    day: String,
    #[serde(flatten)]
    total: Total,
}

#[derive(Serialize)]
struct TopicRow {
    topic: String,
    count: u64,
}

/// Totals by day and by topic; no leaf is fetched for them, because packs tell
/// the topics of theirs.
#[derive(Default)]
struct Totals {
    days: BTreeMap<Day, Total>,
    topics: BTreeMap<Topic, u64>,
}

/// Prints the totals, the days, then the topics by size.
pub fn run(args: &StatsArgs, context: &mut Context) -> Result<(), CliError> {
    let opened = context.head(&args.reference.clone().unwrap_or_default())?;
    let body = opened.head.body();
    let mut totals = Totals::default();
    for tree in body.state.iter().chain(&body.open) {
        totals
            .add(&*opened.source, tree)
            .map_err(|error| unreadable("cannot sum up the archive", &error))?;
    }

    let row = heads::Row::from(&opened.head);
    let line = format!(
        "head {row}\nenvelopes {} bytes {} days {} topics {}",
        body.totals.count,
        body.totals.bytes,
        totals.days.len(),
        totals.topics.len(),
    );
    context.output.result(&row, line)?;
    for (day, total) in &totals.days {
        let day = day.range().from().to_string();
        let day = day.split('T').next().unwrap_or(&day).to_owned();
        let line = format!("{day}  {:>10}  {:>14}", total.count, total.bytes);
        context
            .output
            .result(&DayRow { day, total: *total }, line)?;
    }
    let mut topics: Vec<_> = totals.topics.into_iter().collect();
    topics.sort_by_key(|(topic, count)| (std::cmp::Reverse(*count), *topic));
    let shown = if args.all_topics {
        topics.len()
    } else {
        TOPICS
    };
    for (topic, count) in topics.into_iter().take(shown) {
        let topic = topic.to_string();
        let line = format!("{topic}  {count:>10}");
        context.output.result(&TopicRow { topic, count }, line)?;
    }
    Ok(())
}

impl Totals {
    /// Adds one calendar tree, a state or a delta.
    fn add(
        &mut self,
        source: &dyn crate::blocks::BlockSource,
        tree: &crate::blocks::Cid,
    ) -> Result<(), ArchiveError> {
        let mut reader = CalendarReader::new(source, Some(tree))?;
        reader.for_each_day(|day, bucket| {
            for segment in bucket.segments() {
                let total = self.days.entry(day).or_default();
                total.count += segment.sums.count;
                total.bytes += segment.sums.bytes;
                for leaf in LeafWalk::new(source, segment) {
                    for run in leaf?.runs {
                        *self.topics.entry(run.topic).or_default() += u64::from(run.count);
                    }
                }
            }
            Ok(())
        })
    }
}
