//! `/api/v1/calendar`: what the archive holds, from years down to days, and where the
//! days are.
//!
//! Always true: only nodes of the calendar are read, 13 at most; of the days
//! themselves it is asked whether they are here, and nothing is fetched.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::Api;
use crate::api::asked::Asked;
use crate::api::client::Client;
use crate::api::failure::Failure;
use crate::api::gateway::Told;
use crate::api::head::{ask_again, no_head};
use crate::archive::ArchiveError;
use crate::archive::calendar::{CalendarNode, CalendarReader, Child, Level};
use crate::archive::disk::Archive;
use crate::archive::head::Head;
use crate::archive::watermark::{Day, Month};
use crate::blocks::{BlockSource, Cid};

/// The years of a head.
#[derive(Debug, Serialize)]
struct Years {
    /// The head they are of.
    head: String,
    /// Its number.
    seq: u64,
    /// Envelopes sent before this instant are in it, Unix seconds.
    watermark: u32,
    /// What it holds of the hour that has not closed, which stands in no year yet.
    open: Amount,
    years: Vec<Year>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Amount {
    pub(super) count: u64,
    pub(super) bytes: u64,
}

#[derive(Debug, Serialize)]
struct Year {
    /// As `2019`.
    year: String,
    cid: String,
    #[serde(flatten)]
    amount: Amount,
}

/// One year, down to its days.
#[derive(Debug, Serialize)]
struct Months {
    #[serde(flatten)]
    year: Year,
    months: Vec<MonthOfDays>,
}

#[derive(Debug, Serialize)]
struct MonthOfDays {
    /// As `2019-07`.
    month: String,
    cid: String,
    #[serde(flatten)]
    amount: Amount,
    days: Vec<DayTotal>,
}

#[derive(Debug, Serialize)]
struct DayTotal {
    /// As `2019-07-15`.
    day: String,
    cid: String,
    #[serde(flatten)]
    amount: Amount,
    /// Whether its envelopes can be had here.
    held: bool,
    r#where: Where,
}

/// Where a day's envelopes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Where {
    /// On this disk.
    Here,
    /// At the store alone.
    Store,
    /// No longer kept.
    Dropped,
    /// Never copied: with those whose history this archive rests on.
    Elsewhere,
}

impl Where {
    /// Where the envelopes of `day` under `cid` are.
    pub(super) fn of(archive: &Archive, day: Day, cid: &Cid) -> Result<Self, Failure> {
        if day < archive.kept_from() {
            return Ok(Self::Dropped);
        }
        let blocks = archive.blocks();
        let is_here = blocks.here().has(cid);
        if is_here.map_err(|error| Failure::internal(&error))? {
            return Ok(Self::Here);
        }
        Ok(match blocks.may_be_evicted(cid) {
            true => Self::Store,
            false => Self::Elsewhere,
        })
    }

    /// Whether they can be had from here.
    pub(super) fn is_held(self) -> bool {
        matches!(self, Self::Here | Self::Store)
    }
}

impl From<&Child> for Amount {
    fn from(child: &Child) -> Self {
        Self {
            count: child.sums.count,
            bytes: child.sums.bytes,
        }
    }
}

/// Answers `/api/v1/calendar`.
pub(super) async fn get(State(api): State<Arc<Api>>, request: Request) -> Response {
    let year = match Asked::of(request.uri()).and_then(|asked| asked.one::<u16>("year")) {
        Ok(year) => year,
        Err(failure) => return failure.into_response(),
    };
    let Some(head) = api.archive.head() else {
        return no_head();
    };
    let archive = Arc::clone(&api.archive);
    let work = move |source: &dyn BlockSource| match year {
        None => Told::json(ask_again(), &years(&archive, source, &head)?),
        Some(year) => Told::json(ask_again(), &months(&archive, source, &head, year)?),
    };
    let address = Client::address_of(&request);
    api.gateway.tell(address, work).await
}

fn years(archive: &Archive, source: &dyn BlockSource, head: &Head) -> Result<Years, Failure> {
    let body = head.body();
    let calendar = CalendarReader::new(source, body.state.as_ref());
    let calendar = calendar.map_err(|error| Failure::unread(archive, &error))?;
    let years = calendar.root().into_iter().flat_map(|root| &root.children);
    Ok(Years {
        head: head.cid().to_string(),
        seq: body.sequence.0,
        watermark: body.watermark.at().0,
        open: open_hour(head, &calendar),
        years: years.map(|(year, child)| of_year(*year, child)).collect(),
    })
}

/// What a head holds of the hour that has not closed.
pub(super) fn open_hour(head: &Head, calendar: &CalendarReader<'_>) -> Amount {
    let (all, closed) = (head.body().totals, calendar.sums());
    Amount {
        count: all.count.saturating_sub(closed.count),
        bytes: all.bytes.saturating_sub(closed.bytes),
    }
}

fn of_year(year: u16, child: &Child) -> Year {
    Year {
        year: format!("{year:04}"),
        cid: child.cid.to_string(),
        amount: child.into(),
    }
}

fn months(
    archive: &Archive,
    source: &dyn BlockSource,
    head: &Head,
    year: u16,
) -> Result<Months, Failure> {
    let unread = |error: ArchiveError| Failure::unread(archive, &error);
    let calendar = CalendarReader::new(source, head.body().state.as_ref()).map_err(unread)?;
    let child = calendar.root().and_then(|root| root.children.get(&year));
    let Some(child) = child else {
        let told = "the archive holds nothing of that year";
        return Err(Failure::new(StatusCode::NOT_FOUND, told));
    };
    let node = CalendarNode::fetch(source, Level::Year, *child).map_err(unread)?;
    let mut months = Vec::new();
    for (number, child) in &node.children {
        let month = Month {
            year,
            month: u8::try_from(*number).expect("a decoded month is 1 to 12"),
        };
        let node = CalendarNode::fetch(source, Level::Month, *child).map_err(unread)?;
        months.push(MonthOfDays {
            month: month.to_string(),
            cid: child.cid.to_string(),
            amount: child.into(),
            days: days(archive, month, &node)?,
        });
    }
    Ok(Months {
        year: of_year(year, child),
        months,
    })
}

fn days(archive: &Archive, month: Month, node: &CalendarNode) -> Result<Vec<DayTotal>, Failure> {
    let mut days = Vec::new();
    for (number, child) in &node.children {
        let number = u8::try_from(*number).expect("a decoded day is 1 to 31");
        // A day that is none would stand in a tree that no seal made.
        let Some(day) = Day::from_date(month, number) else {
            continue;
        };
        let r#where = Where::of(archive, day, &child.cid)?;
        days.push(DayTotal {
            day: day.to_string(),
            cid: child.cid.to_string(),
            amount: child.into(),
            held: r#where.is_held(),
            r#where,
        });
    }
    Ok(days)
}
