//! Peers this node stays connected with.
//!
//! Always true: one task for each of them; between two attempts it waits, twice
//! as long each time, and a connection that lasted starts over. Who is forgotten
//! is not dialled again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::rlpx::{Enode, NodeId, socket};
use crate::whisper::node::Shared;
use crate::whisper::node::link::{self, Origin};

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
                    Ok(seat) => link::serve(Arc::clone(&shared), link, seat).await,
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
