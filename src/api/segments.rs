//! `/api/v1/segments`: the segments of the current head, in order of time, for
//! whoever fetches a history piece by piece.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::client::Client;
use crate::api::failure::Failure;
use crate::api::gateway::Told;
use crate::api::head::{ask_again, no_head};
use crate::archive::ArchiveError;
use crate::archive::builder::SegmentRef;
use crate::archive::calendar::{CalendarReader, DayBucket};
use crate::archive::head::Head;
use crate::archive::watermark::Day;
use crate::blocks::BlockSource;
use crate::time::{TimeRange, UnixSeconds};

/// Days of an answer, unless another number is asked for.
const DEFAULT_LIMIT: usize = 100;

/// Most days of an answer: a year takes 14 blocks to read.
const MAX_LIMIT: usize = 366;

/// Which segments are wanted.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    /// Days that end before this instant are not, Unix seconds.
    from: Option<u32>,
    /// Days that begin after this instant are not, Unix seconds.
    to: Option<u32>,
    /// How many days at most.
    limit: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Page {
    /// The head they are of.
    head: String,
    segments: Vec<Segment>,
    /// What `from` leads on; null after the last.
    next: Option<u32>,
}

/// One bucket: a closed day, or a closed hour of a day that is not.
#[derive(Debug, Serialize)]
struct Segment {
    /// Its first second.
    from: u32,
    /// Its last second.
    to: u32,
    cid: String,
    count: u64,
    bytes: u64,
}

/// Answers `/api/v1/segments`.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    query: Query<Wanted>,
    request: Request,
) -> Response {
    let Some(head) = api.archive.head() else {
        return no_head();
    };
    let archive = Arc::clone(&api.archive);
    let work = move |source: &dyn BlockSource| {
        let page = page(source, &head, &query);
        let page = page.map_err(|error| Failure::unread(&archive, &error))?;
        Told::json(ask_again(), &page)
    };
    let address = Client::address_of(&request);
    api.gateway.tell(address, work).await
}

fn page(source: &dyn BlockSource, head: &Head, wanted: &Wanted) -> Result<Page, ArchiveError> {
    let limit = wanted.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let first = Day::of(UnixSeconds(wanted.from.unwrap_or(0)));
    let last = Day::of(UnixSeconds(wanted.to.unwrap_or(u32::MAX)));
    let mut page = Page {
        head: head.cid().to_string(),
        segments: Vec::new(),
        next: None,
    };
    let mut calendar = CalendarReader::new(source, head.body().state.as_ref())?;
    let mut days = 0;
    for (month, _) in calendar.months()? {
        if month < first.date().0 || month > last.date().0 {
            continue;
        }
        let numbers: Vec<u16> = match calendar.month(month)? {
            Some(node) => node.children.keys().copied().collect(),
            None => continue,
        };
        let days_there = numbers
            .into_iter()
            .filter_map(|number| Day::from_date(month, u8::try_from(number).ok()?));
        for day in days_there.filter(|day| (first..=last).contains(day)) {
            if days == limit {
                page.next = Some(day.range().from().0);
                return Ok(page);
            }
            days += 1;
            match calendar.day(day)? {
                None => {}
                Some(DayBucket::Closed(segment)) => page.push(day.range(), &segment),
                Some(DayBucket::Open(hours)) => {
                    for (hour, segment) in hours {
                        page.push(hour.range(), &segment);
                    }
                }
            }
        }
    }
    Ok(page)
}

impl Page {
    fn push(&mut self, range: TimeRange, segment: &SegmentRef) {
        self.segments.push(Segment {
            from: range.from().0,
            to: range.to().0,
            cid: segment.cid.to_string(),
            count: segment.sums.count,
            bytes: segment.sums.bytes,
        });
    }
}
