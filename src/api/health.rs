//! `/health`: whether the daemon does its work.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::api::Api;

/// What a monitor reads.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    /// Whether what arrives can be archived.
    ok: bool,
    /// What is wrong, if anything.
    error: Option<&'static str>,
    /// When the daemon started, in Unix seconds.
    since: u32,
    /// Peers connected.
    peers: usize,
    /// The head CID; none before the first seal.
    head: Option<String>,
    /// Why nothing can be carried to the store; the archive on this disk is none the worse.
    store_error: Option<String>,
    /// Since when, Unix seconds.
    store_failing_since: Option<u32>,
    /// Why names lead to no newer head; the archive is none the worse.
    name_error: Option<String>,
    /// Seconds since an envelope came that was new; none before the first.
    last_envelope_age: Option<u32>,
}

/// Answers 200 if all is well, 503 if not; the body says what.
pub(super) async fn get(State(api): State<Arc<Api>>) -> (StatusCode, Json<Health>) {
    let pulse = api.pulse.read();
    let error = pulse
        .is_failing
        .then_some("the archive fails to store envelopes");
    let status = match error {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let store = api.carrier.as_ref().map(|carrier| carrier.status());
    let health = Health {
        ok: error.is_none(),
        error,
        since: api.since.0,
        peers: api.node.peers().len(),
        head: api.archive.head_cid().map(|cid| cid.to_string()),
        store_failing_since: store.as_ref().and_then(|store| store.failing_since),
        store_error: store.and_then(|store| store.error),
        name_error: api.name_trouble.now(),
        last_envelope_age: pulse.last_stored.map(|at| api.node.now().since(at)),
    };
    (status, Json(health))
}
