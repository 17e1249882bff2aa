//! `gwa stats`: totals of a head, by day and by topic.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use crate::archive::ArchiveError;
use crate::archive::calendar::CalendarReader;
use crate::archive::disk::sealed_by;
use crate::archive::fresh::Sealed;
use crate::archive::held::days_lacking;
use crate::archive::merge::{SegmentRun, SortedRecords};
use crate::archive::walk::LeafWalk;
use crate::archive::watermark::Day;
use crate::blocks::{BlockSource, Cid};
use crate::cli::context::Context;
use crate::cli::elsewhere;
use crate::cli::error::CliError;
use crate::cli::heads;
use crate::cli::sources::FromArgs;
use crate::progress::Progress;
use crate::sources::Reference;
use crate::time::TimeRange;
use crate::whisper::Topic;

/// Topics printed unless all are asked for: the largest.
const TOPICS: usize = 20;

/// Arguments of `gwa stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// The head to sum up [default: the own head].
    #[arg(value_name = "REF")]
    reference: Option<Reference>,
    #[command(flatten)]
    from: FromArgs,
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
    /// Whether its envelopes are held; topics are those of held days.
    held: bool,
}

#[derive(Serialize)]
struct TopicRow {
    topic: String,
    count: u64,
}

/// Totals by day and by topic. No leaf of a closed bucket is fetched for them,
/// because packs tell the topics of theirs.
#[derive(Default)]
struct Totals {
    days: BTreeMap<Day, Total>,
    topics: BTreeMap<Topic, u64>,
    /// Days that were dropped: the calendar still tells their sums.
    not_held: Vec<Day>,
}

/// Prints the totals, the days, then the topics by size.
pub fn run(args: &StatsArgs, context: &mut Context) -> Result<(), CliError> {
    let reference = args.reference.clone().unwrap_or_default();
    context.sources.add_from(&args.from);
    let opened = context.head(&reference)?;
    let body = opened.head.body();
    let floor = context.floor(&reference);
    let progress = context.progress();
    progress.phase(
        "summing up",
        Some(body.totals.count),
        Some(body.totals.bytes),
    );
    let totals = Totals::of(&*opened.source, &sealed_by(&opened.head), floor, &*progress);
    drop(progress);
    let totals = totals
        .map_err(|error| context.unreadable(&reference, "cannot sum up the archive", &error))?;

    let row = heads::Row::from(&opened.head);
    let line = format!(
        "head {row}\nenvelopes {} bytes {} days {} topics {}",
        body.totals.count,
        body.totals.bytes,
        totals.days.len(),
        totals.topics.len(),
    );
    context.output.result(&row, line)?;
    for (at, total) in &totals.days {
        let day = at.range().from().to_string();
        let day = day.split('T').next().unwrap_or(&day).to_owned();
        let held = !totals.not_held.contains(at);
        let mark = if held { "" } else { "  not held" };
        let line = format!("{day}  {:>10}  {:>14}{mark}", total.count, total.bytes);
        let row = DayRow {
            day,
            total: *total,
            held,
        };
        context.output.result(&row, line)?;
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
    if !totals.not_held.is_empty() {
        return Err(context
            .not_held(&opened, &totals.not_held, "topics are those of held days")
            .hint(elsewhere::hint(&context.data, opened.head.cid())));
    }
    Ok(())
}

impl Totals {
    /// What a head seals.
    ///
    /// Days before `floor` need not be held.
    fn of(
        source: &dyn BlockSource,
        sealed: &Sealed,
        floor: Day,
        progress: &dyn Progress,
    ) -> Result<Self, ArchiveError> {
        let mut totals = Self {
            not_held: days_lacking(source, sealed, TimeRange::ALL, floor)?,
            ..Self::default()
        };
        totals.add_state(source, sealed.state.as_ref(), progress)?;
        totals.add_open_hour(source, sealed)?;
        Ok(totals)
    }

    fn add_state(
        &mut self,
        source: &dyn BlockSource,
        state: Option<&Cid>,
        progress: &dyn Progress,
    ) -> Result<(), ArchiveError> {
        CalendarReader::new(source, state)?.for_each_day(|day, bucket| {
            for segment in bucket.segments() {
                let total = self.days.entry(day).or_default();
                total.count += segment.sums.count;
                total.bytes += segment.sums.bytes;
                progress.advance(segment.sums.count, segment.sums.bytes);
                if self.not_held.contains(&day) {
                    continue;
                }
                for leaf in LeafWalk::new(source, segment) {
                    for run in leaf?.runs {
                        *self.topics.entry(run.topic).or_default() += u64::from(run.count);
                    }
                }
            }
            Ok(())
        })
    }

    /// Adds what the open deltas hold of the open hour; what else they hold is in
    /// the state.
    fn add_open_hour(
        &mut self,
        source: &dyn BlockSource,
        sealed: &Sealed,
    ) -> Result<(), ArchiveError> {
        let hour = sealed.watermark.open_hour();
        for segment in sealed.open_segments(source, hour.day())? {
            let mut run = SegmentRun::new(source, segment).sent_in(hour.range());
            while let Some(record) = run.take()? {
                let total = self.days.entry(hour.day()).or_default();
                total.count += 1;
                total.bytes += record.bytes.len() as u64;
                *self.topics.entry(record.key.topic).or_default() += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::disk::Archive;
    use crate::archive::testing::envelope;
    use crate::archive::watermark::Watermark;
    use crate::progress::Quiet;
    use crate::time::{HOUR, UnixSeconds};

    #[test]
    fn an_envelope_in_a_closed_hour_and_an_open_delta_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::init(dir.path(), "").unwrap();
        let midnight = 17_805 * 24 * HOUR;
        // One delta for the hour that closes and for the one that is open.
        let sent = [10, HOUR - 10, HOUR + 10, HOUR + 20];
        let sent = sent.map(|after| envelope(1, midnight + after, 40));
        archive.append(&sent).unwrap();
        let at = UnixSeconds(midnight + HOUR + 300);
        let until = Watermark::new(at).unwrap();
        let head = archive.seal(until, at, &Quiet).unwrap().head.unwrap();
        assert_eq!((head.body().open.len(), head.body().totals.count), (1, 4));
        let totals = Totals::of(archive.blocks(), &sealed_by(&head), Day(0), &Quiet).unwrap();
        let days: Vec<_> = totals.days.values().map(|t| (t.count, t.bytes)).collect();
        assert_eq!(days, [(4, head.body().totals.bytes)]);
        assert_eq!(totals.topics.values().sum::<u64>(), 4);
    }
}
