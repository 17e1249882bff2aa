//! `/api/v1/share`: one line for others to carry the history on with, as `gwa share`
//! prints it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::Api;
use crate::api::head::{ask_again, no_head};
use crate::p2p::PeerAddress;
use crate::publish::{Hints, Share};

#[derive(Debug, Serialize)]
struct Shared {
    /// The line.
    share: String,
    head: String,
    /// The key that heads are signed with, hex.
    key: String,
    /// The TXT record of `_dnslink.NAME`.
    dnslink: String,
    /// The archive's name; absent where it has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    /// Where more than this machine reaches its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    enode: Option<String>,
    /// Where more than this machine reaches its blocks; the first of [`Self::urls`].
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    urls: Vec<String>,
    /// Where IPFS nodes on other machines reach its libp2p peer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    p2p: Vec<String>,
}

/// Whether an address of a libp2p peer may lead others here, as [`Hints`] judges others.
fn is_reached(at: &str) -> bool {
    let peer = at.parse::<PeerAddress>();
    peer.is_ok_and(|peer| !peer.is_of_this_machine())
}

/// Answers `/api/v1/share`.
pub(super) async fn get(State(api): State<Arc<Api>>) -> Response {
    let Some(head) = api.archive.head() else {
        return no_head();
    };
    let url = format!("http://{}", api.about.address);
    let hints = Hints::of_daemon(
        &api.about.settings.public_urls,
        Some(&url),
        api.node.enode(),
    );
    let p2p = api.p2p.as_ref().map(crate::p2p::Node::addresses);
    let p2p = p2p.into_iter().flatten().filter(|at| is_reached(at));
    let share = Share::of(&head, hints);
    let shared = Shared {
        share: share.to_string(),
        head: head.cid().to_string(),
        key: head.key().to_string(),
        dnslink: format!("dnslink=/ipfs/{}", head.cid()),
        enode: share.hints.enode().map(ToString::to_string),
        http: share.hints.http().first().cloned(),
        urls: share.hints.http().to_vec(),
        name: share.name,
        p2p: p2p.collect(),
    };
    (ask_again(), Json(shared)).into_response()
}
