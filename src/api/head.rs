//! `/head`: the current head, told as JSON, or as the signed block itself.
//!
//! Always true: the block is exactly the bytes its CID names, so that a client
//! that knows the key needs to trust nobody.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::Api;
use crate::api::gateway::{choices, is_known, parameter};
use crate::archive::head::Head;
use crate::sources::head_tag;

/// A client asks again each time, and is told in a few bytes that nothing changed.
pub(super) const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// The headers of what changes with the head.
pub(super) fn ask_again() -> HeaderMap {
    HeaderMap::from_iter([(header::CACHE_CONTROL, ASK_AGAIN)])
}

/// What is told of a head.
#[derive(Clone, Debug, Serialize)]
pub(super) struct HeadJson {
    /// Its CID.
    head: String,
    /// Root of the calendar; null while no hour has closed.
    state: Option<String>,
    /// Its number.
    seq: u64,
    /// Envelopes sent before this instant are in it, Unix seconds.
    watermark: u32,
    /// Envelopes it holds.
    count: u64,
    /// Their bytes.
    bytes: u64,
    /// Who signed it: the compressed key in hex, with `0x`.
    key: String,
    /// The name its owner gave the archive; empty for none.
    name: String,
    /// The network whose envelopes these are.
    network: String,
    /// When it was signed, Unix seconds.
    signed_at: u32,
    /// Deltas of the hour that is still open.
    open: Vec<String>,
    /// The delta of what is new in it; null where nothing is.
    added: Option<String>,
    /// The head before it; null for the first.
    prev: Option<String>,
    /// An earlier head, for long steps back.
    skip: Option<String>,
    /// Heads of others that were united into it.
    merged: Vec<String>,
}

impl From<&Head> for HeadJson {
    fn from(head: &Head) -> Self {
        let body = head.body();
        let texts = |cids: &[_]| cids.iter().map(ToString::to_string).collect();
        Self {
            head: head.cid().to_string(),
            state: body.state.map(|cid| cid.to_string()),
            seq: body.sequence.0,
            watermark: body.watermark.at().0,
            count: body.totals.count,
            bytes: body.totals.bytes,
            key: format!("0x{}", hex::encode(head.key().serialize())),
            name: body.name.clone(),
            network: body.network.clone(),
            signed_at: body.signed_at.0,
            open: texts(&body.open),
            added: body.added.map(|cid| cid.to_string()),
            prev: body.prev.map(|cid| cid.to_string()),
            skip: body.skip.map(|cid| cid.to_string()),
            merged: texts(&body.merged),
        }
    }
}

/// What there is instead of a head.
#[derive(Serialize)]
struct NoHead {
    error: &'static str,
    hint: &'static str,
}

/// Answers `/head`.
pub(super) async fn get(State(api): State<Arc<Api>>, request: Request) -> Response {
    let Some(head) = api.archive.head() else {
        return no_head();
    };
    match wish(&request) {
        Some(Wish::Json) => json(&head, request.headers()),
        Some(Wish::Block) if api.gateway.denies(head.cid()) => {
            (StatusCode::GONE, "blocked by a denylist of this gateway\n").into_response()
        }
        Some(Wish::Block) => block(&head, request.headers()),
        None => {
            let told = "a head is told as `format=json` or `format=cbor`\n";
            (StatusCode::NOT_ACCEPTABLE, told).into_response()
        }
    }
}

/// Answers `/.well-known/gwa.json`.
pub(super) async fn well_known(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    match api.archive.head() {
        None => no_head(),
        Some(head) => json(&head, &headers),
    }
}

/// In which form a head is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Json,
    Block,
}

/// What the query says, else what `Accept` says, else JSON; `None` for a format
/// there is not.
fn wish(request: &Request) -> Option<Wish> {
    if let Some(format) = parameter(request.uri(), "format") {
        return match format.as_str() {
            "json" => Some(Wish::Json),
            "cbor" | "dag-cbor" | "raw" => Some(Wish::Block),
            _ => None,
        };
    }
    let values = request.headers().get_all(header::ACCEPT).iter();
    let choices = choices(values.filter_map(|value| value.to_str().ok()));
    let wished = choices.iter().find_map(|choice| match &*choice.media {
        "application/json" | "application/*" | "*/*" => Some(Wish::Json),
        "application/vnd.ipld.dag-cbor" | "application/cbor" | "application/vnd.ipld.raw" => {
            Some(Wish::Block)
        }
        _ => None,
    });
    Some(wished.unwrap_or(Wish::Json))
}

fn json(head: &Head, asked: &HeaderMap) -> Response {
    let tag = head_tag(head.cid());
    let tag = tag.to_str().expect("a CID is plain ASCII");
    let headers = headers(tag);
    if is_known(asked, tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, Json(HeadJson::from(head))).into_response()
}

fn block(head: &Head, asked: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", head.cid());
    let mut headers = headers(&tag);
    if is_known(asked, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let kind = HeaderValue::from_static("application/vnd.ipld.dag-cbor");
    headers.insert(header::CONTENT_TYPE, kind);
    let name = format!("attachment; filename=\"{}.cbor\"", head.cid());
    let name = HeaderValue::try_from(name).expect("a CID is plain ASCII");
    headers.insert(header::CONTENT_DISPOSITION, name);
    (headers, head.block().bytes().clone()).into_response()
}

fn headers(tag: &str) -> HeaderMap {
    HeaderMap::from_iter([
        (
            header::ETAG,
            HeaderValue::try_from(tag).expect("a CID is plain ASCII"),
        ),
        (header::CACHE_CONTROL, ASK_AGAIN),
        (header::VARY, HeaderValue::from_static("Accept")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ])
}

/// There is nothing to tell of yet.
pub(super) fn no_head() -> Response {
    let told = NoHead {
        error: "there is no head yet",
        hint: "the daemon seals what came in every `seal-every`: ask again in a few minutes",
    };
    (StatusCode::NOT_FOUND, ask_again(), Json(told)).into_response()
}
