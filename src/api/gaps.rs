//! `/api/v1/gaps`: hours in which the archive was silent against its own habit.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::Api;
use crate::api::asked::Asked;
use crate::api::client::Client;
use crate::api::failure::Failure;
use crate::api::gateway::Told;
use crate::api::head::ask_again;
use crate::archive::ArchiveError;
use crate::archive::calendar::CalendarReader;
use crate::archive::disk::{Archive, Stop};
use crate::archive::habit::{self, Stretch, silences};
use crate::archive::watermark::{Day, Hour};
use crate::blocks::{BlockSource, Cid};
use crate::time::{DAY, TimeRange, UnixSeconds};

/// Days looked at, unless another number is asked for: a month, so that each hour of
/// the day has a habit.
const DEFAULT_DAYS: u32 = 30;

/// Most days looked at.
const MAX_DAYS: u32 = 366;

#[derive(Debug, Serialize)]
struct Gaps {
    /// The first instant looked at, Unix seconds.
    from: u32,
    /// The last.
    to: u32,
    /// Envelopes in that time.
    count: u64,
    gaps: Vec<Gap>,
    /// Times of which nothing is known, because what was sent then is not on this disk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<Unknown>,
}

/// A time of which nothing is known.
#[derive(Debug, Serialize)]
struct Unknown {
    /// Its first second.
    from: u32,
    /// The first second after it.
    until: u32,
}

/// A silence.
#[derive(Debug, Serialize)]
struct Gap {
    /// Its first second.
    from: u32,
    /// The first second after it.
    until: u32,
    /// Envelopes that would have come by habit; null where nothing came in all the time
    /// that was looked at, so that there is no habit.
    expected: Option<f64>,
    /// Envelopes that came: none, or it were no silence.
    had: u64,
}

/// Answers `/api/v1/gaps`.
pub(super) async fn get(State(api): State<Arc<Api>>, request: Request) -> Response {
    let range = Asked::of(request.uri()).and_then(|asked| {
        let days = asked.number("days", DEFAULT_DAYS, 1..=MAX_DAYS)?;
        Ok(range(days, asked.one("to")?, api.node.now()))
    });
    let range = match range {
        Ok(range) => range,
        Err(failure) => return failure.into_response(),
    };
    let archive = Arc::clone(&api.archive);
    let stop = api.stop.clone();
    let work = move |source: &dyn BlockSource| {
        let (gaps, read) = gaps(&archive, source, range, &stop)?;
        Ok(Told::json(ask_again(), &gaps)?.having_read(read))
    };
    let address = Client::address_of(&request);
    api.gateway.tell(address, work).await
}

/// So many days up to `to`, which is not ahead of `now`.
fn range(days: u32, to: Option<UnixSeconds>, now: UnixSeconds) -> TimeRange {
    let to = to.unwrap_or(now).min(now);
    let from = to.saturating_sub(days.saturating_mul(DAY));
    // Hours are counted whole.
    let from = Hour::of(from).range().from();
    TimeRange::new(from, to).expect("what lies before an instant is not after it")
}

/// What there is, and how many buckets were read for it.
fn gaps(
    archive: &Archive,
    source: &dyn BlockSource,
    range: TimeRange,
    stop: &Stop,
) -> Result<(Gaps, u64), Failure> {
    let told = archive.hours(range, stop);
    let told = told.map_err(|error| Failure::unread_disk(archive, &error))?;
    let counts = told
        .tallies
        .iter()
        .map(|(hour, tally)| (*hour, tally.count));
    let counts: BTreeMap<Hour, u64> = counts.collect();
    let unknown = told.unknown.iter().map(|range| Stretch {
        first: Hour::of(range.from()),
        last: Hour::of(range.to()),
    });
    let unknown: Vec<_> = unknown.collect();
    let begins = range.from().max(archive.kept_from().range().from());
    let had_before = begins > range.from() || holds_before(archive, source, begins)?;
    let from = had_before.then(|| Hour::of(begins));
    let silences = silences(
        &counts,
        habit::Told {
            from,
            end: range.to(),
            unknown: &unknown,
        },
    );
    let mut gaps: Vec<_> = silences
        .iter()
        .map(|silence| Gap::of(silence.stretch, Some(silence.expected.round())))
        .collect();
    let last = Hour(Hour::of(range.to()).0.saturating_sub(1));
    if let Some(first) = from
        && counts.is_empty()
        && unknown.is_empty()
        && first <= last
    {
        gaps.push(Gap::of(Stretch { first, last }, None));
    }
    let unknown = unknown.iter().map(|stretch| {
        let (from, until) = bounds(*stretch);
        Unknown { from, until }
    });
    let gaps = Gaps {
        from: range.from().0,
        to: range.to().0,
        count: counts.values().sum(),
        gaps,
        unknown: unknown.collect(),
    };
    Ok((gaps, told.read))
}

impl Gap {
    fn of(stretch: Stretch, expected: Option<f64>) -> Self {
        let (from, until) = bounds(stretch);
        Self {
            from,
            until,
            expected,
            had: 0,
        }
    }
}

/// The first second, and the first after it.
fn bounds(stretch: Stretch) -> (u32, u32) {
    let range = stretch.range();
    (range.from().0, range.to().0.saturating_add(1))
}

/// Whether the history goes back to before the day of `at`. What is not here is older:
/// a fork has at least what it grew itself.
fn holds_before(
    archive: &Archive,
    source: &dyn BlockSource,
    at: UnixSeconds,
) -> Result<bool, Failure> {
    let state = archive.head().and_then(|head| head.body().state);
    match first_day(source, state.as_ref()) {
        Ok(first) => Ok(first.is_some_and(|first| first < Day::of(at))),
        Err(error) if error.is_missing() => Ok(true),
        Err(error) => Err(Failure::unread(archive, &error)),
    }
}

/// The first day of a calendar.
fn first_day(source: &dyn BlockSource, state: Option<&Cid>) -> Result<Option<Day>, ArchiveError> {
    let mut calendar = CalendarReader::new(source, state)?;
    let Some((month, _)) = calendar.months()?.first().copied() else {
        return Ok(None);
    };
    let month_node = calendar.month(month)?;
    let first = month_node.and_then(|node| node.children.first_key_value());
    let number = first.and_then(|(number, _)| u8::try_from(*number).ok());
    Ok(number.and_then(|number| Day::from_date(month, number)))
}
