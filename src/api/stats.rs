//! `/api/v1/stats`: what the archive holds, month by month.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;

use crate::api::Api;
use crate::api::client::Client;
use crate::api::failure::Failure;
use crate::api::gateway::Told;
use crate::api::head::ask_again;
use crate::archive::ArchiveError;
use crate::archive::calendar::{CalendarNode, CalendarReader, Level};
use crate::archive::disk::Archive;
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
    /// Years whose months are not known here, because a fork has not copied them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown_years: Vec<u16>,
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
pub(super) async fn get(State(api): State<Arc<Api>>, request: Request) -> Response {
    let of_archive = Arc::clone(&api);
    let work = move |source: &dyn BlockSource| {
        let archive = &of_archive.archive;
        let stats = stats(archive, source).map_err(|error| Failure::unread(archive, &error))?;
        Told::json(ask_again(), &stats)
    };
    let address = Client::address_of(&request);
    api.gateway.tell(address, work).await
}

fn stats(archive: &Archive, source: &dyn BlockSource) -> Result<Stats, ArchiveError> {
    let head = archive.head();
    let (months, unknown_years) = match &head {
        None => Default::default(),
        Some(head) => months(source, head)?,
    };
    let body = head.as_ref().map(Head::body);
    Ok(Stats {
        head: head.as_ref().map(|head| head.cid().to_string()),
        state: body.and_then(|body| Some(body.state?.to_string())),
        seq: body.map_or(0, |body| body.sequence.0),
        watermark: body.map_or(0, |body| body.watermark.at().0),
        count: body.map_or(0, |body| body.totals.count),
        bytes: body.map_or(0, |body| body.totals.bytes),
        waiting: archive.waiting(),
        kept_from: archive.kept_from().range().from().0,
        months,
        unknown_years,
    })
}

/// The months, and the years whose months are not here: one block for the calendar,
/// and one for each year.
fn months(
    source: &dyn BlockSource,
    head: &Head,
) -> Result<(Vec<MonthTotal>, Vec<u16>), ArchiveError> {
    let calendar = CalendarReader::new(source, head.body().state.as_ref())?;
    let (mut months, mut unknown) = (Vec::new(), Vec::new());
    for (year, child) in calendar.root().iter().flat_map(|root| &root.children) {
        let node = match CalendarNode::fetch(source, Level::Year, *child) {
            Err(error) if error.is_missing() => {
                unknown.push(*year);
                continue;
            }
            node => node?,
        };
        months.extend(node.children.iter().map(|(month, child)| MonthTotal {
            month: format!("{year:04}-{month:02}"),
            cid: child.cid.to_string(),
            count: child.sums.count,
            bytes: child.sums.bytes,
        }));
    }
    Ok((months, unknown))
}
