//! `/api/v1/peers`: who is connected, and who was dropped.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::limits::{DropCount, Dropped};
use crate::whisper::node::PeerActivity;

/// Who is connected, and who was dropped.
#[derive(Debug, Serialize, Deserialize)]
pub struct Peers {
    /// The peers, by id.
    pub peers: Vec<PeerActivity>,
    /// The last drops and refusals, newest first.
    pub drops: Vec<Dropped>,
    /// How often each reason was given since the daemon started.
    pub reasons: Vec<DropCount>,
}

pub(super) async fn get(State(api): State<Arc<Api>>) -> Json<Peers> {
    Json(Peers {
        peers: api.node.activity(),
        drops: api.node.drops(),
        reasons: api.node.drop_counts(),
    })
}
