//! `/api/v1/days/2018-09-15`: one day, window by window: as the format cuts it, a
//! closed day is one bucket, a day that is open has one for each closed hour, and what
//! came since is in deltas.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::Api;
use crate::api::asked;
use crate::api::calendar::{Amount, Where, open_hour};
use crate::api::client::Client;
use crate::api::failure::Failure;
use crate::api::gateway::Told;
use crate::api::head::{ask_again, no_head};
use crate::archive::ArchiveError;
use crate::archive::builder::SegmentRef;
use crate::archive::calendar::{CalendarReader, DayBucket};
use crate::archive::disk::Archive;
use crate::archive::head::Head;
use crate::archive::watermark::Day;
use crate::blocks::{BlockSource, Cid};
use crate::time::TimeRange;

/// One day.
#[derive(Debug, Serialize)]
struct DayOfWindows {
    /// The head it is of.
    head: String,
    /// As `2018-09-15`.
    day: String,
    /// Its node or segment; null while no hour of it has closed.
    cid: Option<String>,
    #[serde(flatten)]
    amount: Amount,
    /// Whether its envelopes can be had here.
    held: bool,
    r#where: Where,
    windows: Vec<Window>,
}

/// Envelopes that are kept together.
#[derive(Debug, Serialize)]
struct Window {
    /// Its first second.
    from: u32,
    /// The first second after it; of what is open, the watermark.
    until: u32,
    /// Its segment; of what is open, the newest delta.
    cid: String,
    #[serde(flatten)]
    amount: Amount,
    /// Whether its hour has not closed.
    open: bool,
    /// Of what is open, every delta, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deltas: Vec<String>,
}

/// Answers `/api/v1/days/{day}`.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    Path(day): Path<String>,
    request: Request,
) -> Response {
    let Some(day) = asked::day(&day) else {
        let told = "a day is written as in 2018-09-15";
        return Failure::bad_request(told).into_response();
    };
    let Some(head) = api.archive.head() else {
        return no_head();
    };
    let archive = Arc::clone(&api.archive);
    let work = move |source: &dyn BlockSource| {
        let day = windows(&archive, source, &head, day)?;
        Told::json(ask_again(), &day)
    };
    let address = Client::address_of(&request);
    api.gateway.tell(address, work).await
}

fn windows(
    archive: &Archive,
    source: &dyn BlockSource,
    head: &Head,
    day: Day,
) -> Result<DayOfWindows, Failure> {
    let unread = |error: ArchiveError| Failure::unread(archive, &error);
    let mut calendar = CalendarReader::new(source, head.body().state.as_ref()).map_err(unread)?;
    let number = u16::from(day.date().1);
    let month = calendar.month(day.date().0).map_err(unread)?;
    let child = month.and_then(|month| month.children.get(&number).copied());
    let mut windows = match calendar.day(day).map_err(unread)? {
        None => Vec::new(),
        Some(DayBucket::Closed(segment)) => vec![closed(day.range(), &segment)],
        Some(DayBucket::Open(hours)) => {
            let hours = hours.iter();
            hours
                .map(|(hour, segment)| closed(hour.range(), segment))
                .collect()
        }
    };
    windows.extend(open(head, day, open_hour(head, &calendar)));
    if windows.is_empty() {
        let told = "the archive holds nothing of that day";
        return Err(Failure::new(StatusCode::NOT_FOUND, told));
    }
    let count = windows.iter().map(|window| window.amount.count).sum();
    let bytes = windows.iter().map(|window| window.amount.bytes).sum();
    let r#where = match &child {
        Some(child) => Where::of(archive, day, &child.cid)?,
        None => Where::Here,
    };
    Ok(DayOfWindows {
        head: head.cid().to_string(),
        day: day.to_string(),
        cid: child.map(|child| child.cid.to_string()),
        amount: Amount { count, bytes },
        held: r#where.is_held(),
        r#where,
        windows,
    })
}

fn closed(range: TimeRange, segment: &SegmentRef) -> Window {
    Window {
        from: range.from().0,
        until: range.to().0.saturating_add(1),
        cid: segment.cid.to_string(),
        amount: segment.into(),
        open: false,
        deltas: Vec::new(),
    }
}

/// What has come of the hour that is open, where `day` holds it.
fn open(head: &Head, day: Day, amount: Amount) -> Option<Window> {
    let body = head.body();
    let hour = body.watermark.open_hour();
    let newest = body.open.last()?;
    (hour.day() == day && amount.count > 0).then(|| Window {
        from: hour.range().from().0,
        until: body.watermark.at().0,
        cid: newest.to_string(),
        amount,
        open: true,
        deltas: body.open.iter().map(Cid::to_string).collect(),
    })
}
