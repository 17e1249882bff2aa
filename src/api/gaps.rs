//! `/api/v1/gaps`: hours in which the archive was silent against its own habit.

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
use crate::archive::disk::{Archive, Stop};
use crate::archive::habit::silences;
use crate::archive::watermark::Hour;
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
}

/// A silence.
#[derive(Debug, Serialize)]
struct Gap {
    /// Its first second.
    from: u32,
    /// The first second after it.
    until: u32,
    /// Envelopes that would have come by habit.
    expected: f64,
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
    let work = move |_: &dyn crate::blocks::BlockSource| {
        Told::json(ask_again(), &gaps(&archive, range, &stop)?)
    };
    let address = Client::address_of(&request);
    api.gateway.tell(address, work).await
}

/// So many days up to `to`, which is not ahead of `now`.
fn range(days: u32, to: Option<UnixSeconds>, now: UnixSeconds) -> TimeRange {
    let to = to.unwrap_or(now).min(now);
    let from = to.saturating_sub(days.saturating_mul(DAY));
    TimeRange::new(from, to).expect("what lies before an instant is not after it")
}

fn gaps(archive: &Archive, range: TimeRange, stop: &Stop) -> Result<Gaps, Failure> {
    let hours = archive.hours(range, stop);
    let hours = hours.map_err(|error| Failure::unread_disk(&error))?;
    let counts = hours.iter().map(|(hour, tally)| (*hour, tally.count));
    let counts: std::collections::BTreeMap<Hour, u64> = counts.collect();
    let silences = silences(&counts, range.to());
    let gaps = silences.iter().map(|silence| {
        let range = silence.stretch.range();
        Gap {
            from: range.from().0,
            until: range.to().0.saturating_add(1),
            expected: silence.expected.round(),
            had: 0,
        }
    });
    Ok(Gaps {
        from: range.from().0,
        to: range.to().0,
        count: counts.values().sum(),
        gaps: gaps.collect(),
    })
}
