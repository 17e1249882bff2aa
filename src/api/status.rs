//! `/api/v1/status`: what the daemon is, and what it did so far.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::extract::{Extension, State};
use serde::Serialize;

use crate::api::Api;
use crate::api::access::Grant;
use crate::depot::CarrierStatus;
use crate::p2p::{Counters, DhtStanding, Node};
use crate::rlpx::Enode;
use crate::whisper::node::CounterValues;

/// What the daemon is, and what it did so far.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    /// What it calls itself.
    name: String,
    /// By what peers reach it.
    enode: Option<Enode>,
    /// Where it accepts peers.
    listen: Option<SocketAddr>,
    /// When it started, in Unix seconds.
    since: u32,
    /// Peers connected, and how many there may be beside those meant to stay.
    peers: usize,
    max_peers: usize,
    /// The least work it asks of envelopes.
    min_pow: f64,
    /// The largest message it takes, 20 + data.
    max_message_size: usize,
    head: Head,
    /// Where the archive is kept beside this disk; null where it is not.
    store: Option<CarrierStatus>,
    pool: Pool,
    envelopes: Envelopes,
    requests: Requests,
    /// The libp2p peer; absent where it is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    p2p: Option<P2p>,
}

/// The libp2p peer, since the start.
#[derive(Debug, Serialize)]
struct P2p {
    /// By what IPFS nodes reach it.
    addresses: Vec<String>,
    /// Peers connected.
    peers: usize,
    /// Wants that came, cancellations included.
    wants: u64,
    /// Blocks sent, and their bytes.
    blocks: u64,
    bytes: u64,
    /// Peers dropped for what they sent.
    dropped: u64,
    /// How it stands in the DHT; absent where it takes part in none.
    #[serde(skip_serializing_if = "Option::is_none")]
    dht: Option<DhtStanding>,
}

impl P2p {
    fn of(node: &Node) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters {
            wants,
            blocks,
            bytes,
            dropped,
        } = node.counters();
        Self {
            addresses: node.addresses(),
            peers: node.peers(),
            wants: read(wants),
            blocks: read(blocks),
            bytes: read(bytes),
            dropped: read(dropped),
            dht: node.dht().map(|standing| *standing.borrow()),
        }
    }
}

/// What is published.
#[derive(Debug, Serialize)]
struct Head {
    cid: Option<String>,
}

/// What is alive.
#[derive(Debug, Serialize)]
struct Pool {
    count: usize,
    bytes: usize,
}

/// Envelopes since the start.
#[derive(Debug, Serialize)]
struct Envelopes {
    received: u64,
    stored: u64,
    duplicate: u64,
    stale: u64,
    refused: u64,
    failed: u64,
    relayed: u64,
    last_stored: Option<u32>,
}

/// Mail requests since the start.
#[derive(Debug, Serialize)]
struct Requests {
    served: u64,
    refused: u64,
    delivered: u64,
}

pub(super) async fn get(
    State(api): State<Arc<Api>>,
    Extension(grant): Extension<Grant>,
) -> Json<Status> {
    Json(of(&api, grant))
}

/// What is told of it now to somebody of `grant`.
pub(super) fn of(api: &Api, grant: Grant) -> Status {
    let node = &api.node;
    let rules = node.rules();
    let (count, bytes) = node.pooled();
    let CounterValues {
        received,
        stored,
        duplicate,
        stale,
        refused,
        failed,
        relayed,
        requests_served,
        requests_refused,
        delivered,
        ..
    } = node.counters();
    Status {
        name: node.name(),
        enode: node.enode(),
        listen: node.local_addr(),
        since: api.since.0,
        peers: node.peers().len(),
        max_peers: node.max_peers(),
        min_pow: rules.min_pow().get(),
        max_message_size: rules.max_message_size(),
        head: Head {
            cid: api.archive.head_cid().map(|cid| cid.to_string()),
        },
        store: api.carrier.as_ref().map(|carrier| match grant {
            Grant::Read => carrier.status().without_names(),
            Grant::Near | Grant::All => carrier.status(),
        }),
        pool: Pool { count, bytes },
        envelopes: Envelopes {
            received,
            stored,
            duplicate,
            stale,
            refused: refused.total(),
            failed,
            relayed,
            last_stored: api.pulse.read().last_stored.map(|at| at.0),
        },
        requests: Requests {
            served: requests_served,
            refused: requests_refused,
            delivered,
        },
        p2p: api.p2p.as_ref().map(P2p::of),
    }
}
