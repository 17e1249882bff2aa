//! Peers this node stays connected with.
//!
//! Always true: one task for each of them; between two attempts it waits, twice
//! as long each time, and a connection that lasted starts over. Who is forgotten
//! is not dialled again, and dropped even where its link was only being opened.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::rlpx::socket::PeerLink;
use crate::rlpx::{DisconnectReason, Enode, NodeId, socket};
use crate::whisper::node::Shared;
use crate::whisper::node::link::{self, Origin};
use crate::whisper::node::orders::Order;
use crate::whisper::node::registry::Seat;

/// The first wait after a failure.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait: geth redials static peers every 30 s.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A change of whom to stay connected with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dialling {
    /// Stay connected with this peer.
    Stay(Enode),
    /// Do not dial this one any more.
    Forget(NodeId),
}

/// Dials whoever is asked for until the node stops, then waits for the links
/// to end.
pub(super) async fn run(shared: Arc<Shared>, mut wanted: mpsc::UnboundedReceiver<Dialling>) {
    let mut links = JoinSet::new();
    let mut known: HashMap<NodeId, CancellationToken> = HashMap::new();
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => break,
            Some(_) = links.join_next() => {}
            Some(change) = wanted.recv() => match change {
                Dialling::Stay(peer) => {
                    let own = shared.local.key().id();
                    if peer.id != own && !known.contains_key(&peer.id) {
                        let forgotten = shared.stopping.child_token();
                        known.insert(peer.id, forgotten.clone());
                        links.spawn(stay_connected(Arc::clone(&shared), peer, forgotten));
                    }
                }
                Dialling::Forget(id) => {
                    if let Some(forgotten) = known.remove(&id) {
                        forgotten.cancel();
                    }
                }
            }
        }
    }
    while links.join_next().await.is_some() {}
}

async fn stay_connected(shared: Arc<Shared>, peer: Enode, forgotten: CancellationToken) {
    let mut wait = FIRST_WAIT;
    loop {
        let started = Instant::now();
        // It may have dialled us.
        if !shared.registry.contains(&peer.id) {
            let opened = tokio::select! {
                () = forgotten.cancelled() => return,
                opened = socket::connect(&peer, &shared.local) => opened,
            };
            match opened {
                Ok(link) => match link::seat(&shared, &link, Origin::Static) {
                    Ok(seat) => serve(&shared, link, seat, &peer.id, &forgotten).await,
                    Err(reason) => link.close(reason).await,
                },
                Err(error) => tracing::debug!(peer = ?peer.id, %error, "cannot dial"),
            }
        }
        if started.elapsed() > LONGEST_WAIT {
            wait = FIRST_WAIT;
        }
        tokio::select! {
            () = forgotten.cancelled() => return,
            () = sleep(wait) => {}
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Serves a link until it ends, or the peer is forgotten: that may happen while the
/// link is opened, when nobody knows yet whom to tell.
async fn serve(
    shared: &Arc<Shared>,
    link: PeerLink,
    seat: Seat,
    id: &NodeId,
    forgotten: &CancellationToken,
) {
    let mut serving = pin!(link::serve(Arc::clone(shared), link, seat));
    tokio::select! {
        // First, so that there is a line when the peer is forgotten.
        biased;
        () = &mut serving => return,
        () = forgotten.cancelled() => {}
    }
    // The end of the node is told otherwise.
    if !shared.stopping.is_cancelled()
        && let Some(line) = shared.lines.to(id)
    {
        line.give(Order::Disconnect(DisconnectReason::Requested));
    }
    serving.await;
}
