//! `/api/v1/peers`: who is connected.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::api::Api;
use crate::whisper::node::PeerInfo;

/// Who is connected.
#[derive(Debug, Serialize)]
pub(super) struct Peers {
    /// The peers, by id.
    peers: Vec<Peer>,
}

/// A connected peer.
#[derive(Debug, Serialize)]
struct Peer {
    /// Its public key, 128 hex digits.
    id: String,
    /// Where it is.
    address: SocketAddr,
    /// What it calls itself.
    client: String,
    /// Whether it dialled.
    inbound: bool,
    /// Whether this node stays connected with it.
    #[serde(rename = "static")]
    is_static: bool,
}

impl From<PeerInfo> for Peer {
    fn from(peer: PeerInfo) -> Self {
        Self {
            id: peer.id.to_string(),
            address: peer.address,
            client: peer.client,
            inbound: peer.inbound,
            is_static: peer.is_static,
        }
    }
}

pub(super) async fn get(State(api): State<Arc<Api>>) -> Json<Peers> {
    let peers = api.node.peers().into_iter().map(Peer::from).collect();
    Json(Peers { peers })
}
