//! `/api/v1/traffic`: how much was sent in each of the last hours, sealed or waiting.

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
use crate::archive::watermark::Hour;
use crate::blocks::BlockSource;
use crate::time::TimeRange;

/// Hours of an answer, unless another number is asked for.
const DEFAULT_HOURS: u32 = 48;

/// Most hours of an answer: a month.
const MAX_HOURS: u32 = 31 * 24;

#[derive(Debug, Serialize)]
struct Traffic {
    /// The oldest first, those without an envelope too.
    hours: Vec<HourTotal>,
}

#[derive(Debug, Serialize)]
struct HourTotal {
    /// Its first second.
    from: u32,
    count: u64,
    bytes: u64,
    /// False where what was sent then is not on this disk; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<bool>,
}

/// Answers `/api/v1/traffic`.
pub(super) async fn get(State(api): State<Arc<Api>>, request: Request) -> Response {
    let asked = Asked::of(request.uri()).and_then(|asked| {
        let hours = asked.number("hours", DEFAULT_HOURS, 1..=MAX_HOURS)?;
        let to = asked.one("to")?.unwrap_or(api.node.now());
        Ok((hours, Hour::of(to)))
    });
    let (hours, last) = match asked {
        Ok(asked) => asked,
        Err(failure) => return failure.into_response(),
    };
    let archive = Arc::clone(&api.archive);
    let stop = api.stop.clone();
    let work = move |_: &dyn BlockSource| {
        let (traffic, read) = traffic(&archive, hours, last, &stop)?;
        Ok(Told::json(ask_again(), &traffic)?.having_read(read))
    };
    let address = Client::address_of(&request);
    api.gateway.tell(address, work).await
}

/// What was sent, and how many buckets were read for it.
fn traffic(
    archive: &Archive,
    hours: u32,
    last: Hour,
    stop: &Stop,
) -> Result<(Traffic, u64), Failure> {
    let first = Hour(last.0.saturating_sub(hours - 1));
    let range = TimeRange::new(first.range().from(), last.range().to())
        .expect("the first hour is not after the last");
    let told = archive.hours(range, stop);
    let told = told.map_err(|error| Failure::unread_disk(archive, &error))?;
    let hours = (first.0..=last.0).map(|hour| {
        let tally = told.tallies.get(&Hour(hour)).copied().unwrap_or_default();
        let within = Hour(hour).range();
        let mut unknown = told.unknown.iter();
        let is_unknown = unknown.any(|range| range.intersect(within).is_some());
        HourTotal {
            from: Hour(hour).range().from().0,
            count: tally.count,
            bytes: tally.bytes,
            known: is_unknown.then_some(false),
        }
    });
    let traffic = Traffic {
        hours: hours.collect(),
    };
    Ok((traffic, told.read))
}
