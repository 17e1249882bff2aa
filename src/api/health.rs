//! `/health`: whether the daemon does its work.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::api::Api;

/// What a monitor reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Health {
    /// Whether what arrives can be archived.
    pub ok: bool,
    /// What is wrong, if anything.
    pub error: Option<Cow<'static, str>>,
    /// When the daemon started, in Unix seconds.
    pub since: u32,
    /// Whether it takes in envelopes; a mirror follows another archive instead.
    pub takes_in: bool,
    /// Peers connected.
    pub peers: usize,
    /// The head CID; none before the first seal.
    pub head: Option<String>,
    /// Why nothing can be carried to the store; the archive on this disk is none the worse.
    pub store_error: Option<String>,
    /// Since when, Unix seconds.
    pub store_failing_since: Option<u32>,
    /// Why names lead to no newer head; the archive is none the worse.
    pub name_error: Option<String>,
    /// Seconds since an envelope came that was new; none before the first.
    pub last_envelope_age: Option<u32>,
}

/// Answers 200 if all is well, 503 if not; the body says what.
pub(super) async fn get(State(api): State<Arc<Api>>) -> (StatusCode, Json<Health>) {
    let pulse = api.pulse.read();
    let error = pulse
        .is_failing
        .then_some(Cow::Borrowed("the archive fails to store envelopes"));
    let status = match error {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let store = api.carrier.as_ref().map(|carrier| carrier.status());
    let health = Health {
        ok: error.is_none(),
        error,
        since: api.since.0,
        takes_in: !api.archive.is_mirror(),
        peers: api.node.peers().len(),
        head: api.archive.head_cid().map(|cid| cid.to_string()),
        store_failing_since: store.as_ref().and_then(|store| store.failing_since),
        store_error: store.and_then(|store| store.error),
        name_error: api.name_trouble.now(),
        last_envelope_age: pulse.last_stored.map(|at| api.node.now().since(at)),
    };
    (status, Json(health))
}
