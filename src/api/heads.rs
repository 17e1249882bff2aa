//! `/api/v1/heads`: the lineage of the current head, newest first.
//!
//! Always true: each head was reached from the current one by what a head says of
//! the heads before it, and checked; as a CAR they come as blocks that prove
//! themselves.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::client::Client;
use crate::api::failure::Failure;
use crate::api::gateway::{Gateway, Told, choices};
use crate::api::head::{ASK_AGAIN, HeadJson, no_head};
use crate::archive::ArchiveError;
use crate::archive::disk::fetch_head;
use crate::archive::head::{Head, Sequence};
use crate::blocks::BlockSource;
use crate::blocks::car::write_car;

/// Heads of an answer, unless another number is asked for.
const DEFAULT_LIMIT: usize = 100;

/// Most heads of an answer: a day of seals every five minutes.
const MAX_LIMIT: usize = 288;

/// Heads read on the way to the first one wanted. By the long steps that heads
/// offer, a million are passed in about 400.
const MAX_PASSED: usize = 2_000;

/// Which heads are wanted.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    /// How many at most.
    limit: Option<usize>,
    /// Only those with lower numbers.
    before: Option<u64>,
    /// Only those with higher numbers.
    after: Option<u64>,
    /// `json` or `car`.
    format: Option<String>,
}

#[derive(Serialize)]
struct Page {
    heads: Vec<HeadJson>,
    /// What `before` leads on; null after the last.
    next: Option<u64>,
}

/// Answers `/api/v1/heads`.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    query: Query<Wanted>,
    request: Request,
) -> Response {
    let as_car = match query.format.as_deref() {
        Some("json") => false,
        Some("car") => true,
        Some(_) => {
            return Failure::new(StatusCode::NOT_ACCEPTABLE, "heads come as json or car")
                .into_response();
        }
        None => {
            let accept = request.headers().get_all(header::ACCEPT).iter();
            let choices = choices(accept.filter_map(|value| value.to_str().ok()));
            let first = choices.first();
            first.is_some_and(|choice| choice.media == "application/vnd.ipld.car")
        }
    };
    let Some(head) = api.archive.head() else {
        return no_head();
    };
    let of_archive = Arc::clone(&api);
    let work = move |source: &dyn BlockSource| {
        let heads = lineage(source, head, &query).map_err(|error| Failure::internal(&error))?;
        if as_car {
            car(&heads, &of_archive.gateway)
        } else {
            json(&heads)
        }
    };
    let address = Client::address_of(&request);
    api.gateway.tell(address, work).await
}

/// The heads wanted of those before `newest` and itself, newest first. It ends
/// early where a head is not held: a fork knows those of its origin by name.
fn lineage(
    source: &dyn BlockSource,
    newest: Head,
    wanted: &Wanted,
) -> Result<Vec<Head>, ArchiveError> {
    let limit = wanted.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let is_wanted = |head: &Head| {
        let number = head.body().sequence.0;
        wanted.before.is_none_or(|before| number < before)
    };
    let mut at = Some(newest);
    for _ in 0..MAX_PASSED {
        let Some(head) = at.take_if(|head| !is_wanted(head)) else {
            break;
        };
        // A long step, if it does not lead past what is wanted.
        let far = held(source, head.body().skip.as_ref())?.filter(|far| !is_wanted(far));
        at = match far {
            Some(far) => Some(far),
            None => held(source, head.body().prev.as_ref())?,
        };
    }
    let mut heads = Vec::new();
    while heads.len() < limit
        && let Some(head) = at.take_if(|head| is_wanted(head))
    {
        let number = head.body().sequence.0;
        if wanted.after.is_some_and(|after| number <= after) {
            break;
        }
        at = held(source, head.body().prev.as_ref())?;
        heads.push(head);
    }
    Ok(heads)
}

/// The head `cid`, if it is held.
fn held(
    source: &dyn BlockSource,
    cid: Option<&crate::blocks::Cid>,
) -> Result<Option<Head>, ArchiveError> {
    let Some(cid) = cid else { return Ok(None) };
    match fetch_head(source, cid) {
        Err(error) if error.is_missing() => Ok(None),
        other => other.map(Some),
    }
}

fn json(heads: &[Head]) -> Result<Told, Failure> {
    let last = heads.last().map(|head| head.body());
    let page = Page {
        heads: heads.iter().map(HeadJson::from).collect(),
        next: last
            .filter(|body| body.prev.is_some())
            .map(|body| body.sequence)
            .map(|Sequence(number)| number),
    };
    Told::json(headers(), &page)
}

/// The heads as blocks, under the newest. None comes where one of them is denied.
fn car(heads: &[Head], gateway: &Gateway) -> Result<Told, Failure> {
    let Some(newest) = heads.first() else {
        let told = "there is no such head";
        return Err(Failure::new(StatusCode::NOT_FOUND, told));
    };
    if heads.iter().any(|head| gateway.denies(head.cid())) {
        let told = "one of these heads is blocked by a denylist of this gateway";
        return Err(Failure::new(StatusCode::GONE, told));
    }
    let mut bytes = Vec::new();
    let blocks = heads.iter().map(|head| Ok(head.block().clone()));
    write_car(&mut bytes, newest.cid(), blocks).map_err(|error| Failure::internal(&error))?;
    let mut headers = headers();
    let kind = "application/vnd.ipld.car; version=1; order=unk; dups=n";
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"heads.car\""),
    );
    Ok(Told::bytes(headers, bytes))
}

fn headers() -> HeaderMap {
    HeaderMap::from_iter([
        (header::CACHE_CONTROL, ASK_AGAIN),
        (header::VARY, HeaderValue::from_static("Accept")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ])
}
