//! `/ipns/`: signed records of the names that lead to this archive.
//!
//! After <https://specs.ipfs.tech/http-gateways/trustless-gateway/>: the record itself,
//! and nothing that would have to be believed.
//!
//! Always true:
//! - What is served counts: an expired record is none.
//! - It is a record of a name of this archive's own, or of one that led this archive to
//!   a head which it holds. Nothing is looked up for whoever asks.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::Api;
use crate::api::client::Client;
use crate::api::failure::Failure;
use crate::api::gateway::{Told, choices, is_known, parameter};
use crate::archive::disk::Archive;
use crate::blocks::{BlockSource, Cid};
use crate::keccak::keccak256;
use crate::publish::ipns::{ContentPath, Name, NameFolder, Record};
use crate::sources::seen::SeenHeads;
use crate::time::UnixSeconds;

/// Media type of a record.
const RECORD: &str = "application/vnd.ipfs.ipns-record";

/// Answers `/ipns/{name}`.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    if !wants_record(&request) {
        let told = "only records are served here: add `?format=ipns-record`, or send `Accept: \
                    application/vnd.ipfs.ipns-record`, and ask `/ipfs/` for what they point at\n";
        return (StatusCode::NOT_ACCEPTABLE, told).into_response();
    }
    let text = path.trim_end_matches('/');
    if text.contains('/') {
        let told = "a record has no path below it\n";
        return (StatusCode::BAD_REQUEST, told).into_response();
    }
    let name: Name = match text.parse() {
        Ok(name) => name,
        Err(error) => {
            let told = format!("no name of a key: {error}\n");
            return (StatusCode::BAD_REQUEST, told).into_response();
        }
    };
    let (archive, now) = (Arc::clone(&api.archive), api.node.now());
    let of_denylist = Arc::clone(&api);
    let work = move |_: &dyn BlockSource| {
        let found = find(&archive, &name, now)?;
        if target(&found).is_some_and(|cid| of_denylist.gateway.denies(&cid)) {
            let told = "what it points at is blocked by a denylist of this gateway";
            return Err(Failure::new(StatusCode::GONE, told));
        }
        Ok(Told::bytes(headers(&found, now), found.bytes().to_vec()))
    };
    let asked = request.headers().clone();
    let told = api.gateway.tell(Client::address_of(&request), work).await;
    let tag = told.headers().get(header::ETAG);
    let tag = tag.and_then(|tag| tag.to_str().ok());
    if tag.is_some_and(|tag| is_known(&asked, tag)) {
        let mut headers = told.headers().clone();
        headers.remove(header::CONTENT_LENGTH);
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    told
}

/// Whether a record is what is asked for, or at least nothing else.
fn wants_record(request: &Request) -> bool {
    if let Some(format) = parameter(request.uri(), "format") {
        return format == "ipns-record";
    }
    let values = request.headers().get_all(header::ACCEPT).iter();
    let choices = choices(values.filter_map(|value| value.to_str().ok()));
    let takes = |media: &str| [RECORD, "application/*", "*/*"].contains(&media);
    choices.is_empty() || choices.iter().any(|choice| takes(&choice.media))
}

fn find(archive: &Archive, name: &Name, now: UnixSeconds) -> Result<Record, Failure> {
    let own = NameFolder::new(archive.dir()).record(name);
    let own = own.map_err(|error| Failure::internal(&error))?;
    let found = match own {
        Some(own) => Some(own),
        None => {
            let seen = SeenHeads::new(archive.dir()).newest_record(name);
            let seen = seen.map_err(|error| Failure::internal(&error))?;
            seen.filter(|seen| leads_here(seen, archive))
        }
    };
    let counts = found.filter(|record| !record.is_expired(now));
    counts.ok_or_else(|| {
        let told = "no record of this name is here, or none that still counts";
        Failure::new(StatusCode::NOT_FOUND, told)
    })
}

/// Whether a record that another made points at a head of this archive.
fn leads_here(record: &Record, archive: &Archive) -> bool {
    let heads = archive.blocks().heads();
    target(record).is_some_and(|cid| heads.has(&cid).unwrap_or(false))
}

fn target(record: &Record) -> Option<Cid> {
    match record.path() {
        Ok(ContentPath::Block { cid, .. }) => Some(cid),
        _ => None,
    }
}

fn headers(record: &Record, now: UnixSeconds) -> HeaderMap {
    // Who keeps it must not keep it for longer than it counts.
    let age = record.ttl().min(record.until().left(now)).as_secs();
    let value = |text: String| HeaderValue::try_from(text).expect("plain ASCII");
    let tag = hex::encode(&keccak256(record.bytes())[..16]);
    let name = record.name();
    HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static(RECORD)),
        (header::ETAG, value(format!("\"{tag}\""))),
        (
            header::CACHE_CONTROL,
            value(format!("public, max-age={age}")),
        ),
        (
            header::CONTENT_DISPOSITION,
            value(format!("attachment; filename=\"{name}.ipns-record\"")),
        ),
        (header::VARY, HeaderValue::from_static("Accept")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ])
}
