//! Peers this node stays connected with.
//!
//! Always true: one task for each of them; between two attempts it waits, twice
//! as long each time, and a connection that lasted starts over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::rlpx::{Enode, NodeId, socket};
use crate::whisper::node::Shared;
use crate::whisper::node::link::{self, Origin};

/// The first wait after a failure.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait: geth redials static peers every 30 s.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Dials whoever is asked for until the node stops, then waits for the links
/// to end.
pub(super) async fn run(shared: Arc<Shared>, mut wanted: mpsc::UnboundedReceiver<Enode>) {
    let mut links = JoinSet::new();
    let mut known: Vec<NodeId> = Vec::new();
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => break,
            Some(_) = links.join_next() => {}
            Some(peer) = wanted.recv() => {
                let own = shared.local.key().id();
                if peer.id != own && !known.contains(&peer.id) {
                    known.push(peer.id);
                    links.spawn(stay_connected(Arc::clone(&shared), peer));
                }
            }
        }
    }
    while links.join_next().await.is_some() {}
}

async fn stay_connected(shared: Arc<Shared>, peer: Enode) {
    let mut wait = FIRST_WAIT;
    loop {
        let started = Instant::now();
        // It may have dialled us.
        if !shared.registry.contains(&peer.id) {
            let opened = tokio::select! {
                () = shared.stopping.cancelled() => return,
                opened = socket::connect(&peer, &shared.local) => opened,
            };
            match opened {
                Ok(link) => link::serve(Arc::clone(&shared), link, Origin::Static).await,
                Err(error) => tracing::debug!(peer = ?peer.id, %error, "cannot dial"),
            }
        }
        if started.elapsed() > LONGEST_WAIT {
            wait = FIRST_WAIT;
        }
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            () = sleep(wait) => {}
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
