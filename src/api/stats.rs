//! `/api/v1/stats`: what the archive holds, month by month.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::Api;
use crate::api::failure::Failure;
use crate::api::head::ASK_AGAIN;
use crate::archive::ArchiveError;
use crate::archive::calendar::CalendarReader;
use crate::archive::head::Head;
use crate::blocks::BlockSource;

/// What the archive holds.
#[derive(Debug, Serialize)]
struct Stats {
    /// The head CID; null before the first seal.
    head: Option<String>,
    /// Root of the calendar; null while no hour has closed.
    state: Option<String>,
    /// The head's number; 0 before the first seal.
    seq: u64,
    /// Envelopes sent before this instant are sealed, Unix seconds.
    watermark: u32,
    /// Envelopes sealed.
    count: u64,
    /// Their bytes.
    bytes: u64,
    /// Envelopes that wait to be sealed.
    waiting: u64,
    /// Days that ended before this instant were dropped, Unix seconds.
    kept_from: u32,
    /// What is in each month of the calendar, oldest first.
    months: Vec<MonthTotal>,
}

#[derive(Debug, Serialize)]
struct MonthTotal {
    /// As `2019-07`.
    month: String,
    /// The node of the calendar.
    cid: String,
    count: u64,
    bytes: u64,
}

/// Answers `/api/v1/stats`.
pub(super) async fn get(State(api): State<Arc<Api>>) -> Response {
    let read = tokio::task::spawn_blocking(move || {
        let head = api.archive.head();
        let months = match &head {
            None => Vec::new(),
            Some(head) => months(&*api.disk, head)?,
        };
        let body = head.as_ref().map(Head::body);
        Ok::<_, ArchiveError>(Stats {
            head: head.as_ref().map(|head| head.cid().to_string()),
            state: body.and_then(|body| Some(body.state?.to_string())),
            seq: body.map_or(0, |body| body.sequence.0),
            watermark: body.map_or(0, |body| body.watermark.at().0),
            count: body.map_or(0, |body| body.totals.count),
            bytes: body.map_or(0, |body| body.totals.bytes),
            waiting: api.archive.waiting(),
            kept_from: api.archive.kept_from().range().from().0,
            months,
        })
    });
    match read.await {
        Ok(Ok(stats)) => ([(header::CACHE_CONTROL, ASK_AGAIN)], Json(stats)).into_response(),
        Ok(Err(error)) => Failure::internal(&error).into_response(),
        Err(error) => Failure::internal(&error).into_response(),
    }
}

/// One block for the calendar, and one for each year.
fn months(source: &dyn BlockSource, head: &Head) -> Result<Vec<MonthTotal>, ArchiveError> {
    let calendar = CalendarReader::new(source, head.body().state.as_ref())?;
    let months = calendar.months()?.into_iter();
    let totals = months.map(|(month, child)| MonthTotal {
        month: format!("{:04}-{:02}", month.year, month.month),
        cid: child.cid.to_string(),
        count: child.sums.count,
        bytes: child.sums.bytes,
    });
    Ok(totals.collect())
}
