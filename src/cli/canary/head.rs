//! Whether a head shows what a canary posted.
//!
//! A head is read as any REF is; a new kind of REF needs nothing here.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::archive::disk::sealed_by;
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::query::Query;
use crate::cli::canary::memory::Pending;
use crate::cli::canary::step::{Outcome, spoken};
use crate::cli::context::{Context, unreadable};
use crate::cli::error::{CliError, Kind};
use crate::sources::Reference;
use crate::time::{Clock, SystemClock, TimeRange, UnixSeconds};
use crate::whisper::Topic;

/// How often a head that is waited for is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How old a message may be that no seal has covered: a dozen times the five
/// minutes of a daemon.
const MAX_UNSEALED: u32 = 3_600;

/// What one look at a head showed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Messages it holds.
    found: usize,
    /// Messages it should hold and does not.
    lost: Vec<Pending>,
    /// Messages that it is too early to look for.
    later: Vec<Pending>,
}

/// Looks for `pending` messages in the head that `reference` names, for up to
/// `wait` until the newest is sealed. Those that stay open are left in
/// `pending`.
pub async fn look_for(
    reference: &Reference,
    topic: Topic,
    pending: &mut Vec<Pending>,
    wait: Option<Duration>,
    context: &Context,
) -> Outcome {
    let until = wait.map(|wait| Instant::now() + wait);
    let mut found = 0;
    let mut lost: Vec<Pending> = Vec::new();
    loop {
        // A reader sees the files there were when it was opened.
        match look(reference, topic, pending, context) {
            Err(error) if error.kind() == Kind::NoArchive && wait.is_some() => {}
            Err(error) if error.kind() == Kind::NoArchive => {
                return Outcome::Skipped("there is no head yet".to_owned());
            }
            Err(error) => return Outcome::Failed(error.kind(), error.brief()),
            Ok(seen) => {
                found += seen.found;
                lost.extend(seen.lost);
                *pending = seen.later;
            }
        }
        let over = until.is_none_or(|until| Instant::now() >= until);
        if pending.is_empty() || over || !lost.is_empty() {
            break;
        }
        sleep(LOOK).await;
    }
    if let Some(first) = lost.first() {
        let text = format!("{} is sealed over and not there", first.hash);
        return Outcome::Failed(Kind::Gaps, text);
    }
    let now = SystemClock.now();
    if let Some(oldest) = pending.first()
        && now.since(oldest.sent) > MAX_UNSEALED
    {
        let age = spoken(Duration::from_secs(now.since(oldest.sent).into()));
        return Outcome::Failed(Kind::Error, format!("nothing was sealed for {age}"));
    }
    if wait.is_some() && !pending.is_empty() {
        return Outcome::Failed(Kind::Error, "no seal in time".to_owned());
    }
    match (found, pending.len()) {
        (0, later) => Outcome::Skipped(format!(
            "{later} wait for a seal; a later run looks for them, or `--wait-seal 10m`"
        )),
        (found, later) => Outcome::Went(format!("{found} found, {later} wait for a seal")),
    }
}

fn look(
    reference: &Reference,
    topic: Topic,
    pending: &[Pending],
    context: &Context,
) -> Result<Seen, CliError> {
    let opened = context.head(reference)?;
    let body = opened.head.body();
    let (due, later): (Vec<_>, Vec<_>) = pending
        .iter()
        .cloned()
        .partition(|pending| body.watermark.covers(pending.sent) && body.signed_at > pending.taken);
    let mut seen = Seen {
        later,
        ..Seen::default()
    };
    let (Some(first), Some(last)) = (
        due.iter().map(|pending| pending.sent).min(),
        due.iter().map(|pending| pending.sent).max(),
    ) else {
        return Ok(seen);
    };
    let filter = Filter {
        topics: TopicFilter::Any(BTreeSet::from([topic])),
        range: between(first, last),
    };
    let failed = |error| unreadable("cannot read the head", &error);
    let mut held = BTreeSet::new();
    for record in Query::new(&*opened.source, &sealed_by(&opened.head), filter).map_err(failed)? {
        held.insert(record.map_err(failed)?.key.hash.to_string());
    }
    let (found, lost): (Vec<_>, Vec<_>) = due
        .into_iter()
        .partition(|pending| held.contains(&pending.hash));
    seen.found = found.len();
    seen.lost = lost;
    Ok(seen)
}

fn between(first: UnixSeconds, last: UnixSeconds) -> TimeRange {
    TimeRange::new(first, last).expect("the least is not above the most")
}
