//! Connections that come in.
//!
//! Always true: at most [`MAX_PENDING_HANDSHAKES`] are in their handshakes, and
//! the more there are, the less time each has. Fifty silent connections
//! therefore keep an honest one waiting for a second, not for five.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::rlpx::session::HANDSHAKE_DEADLINE;
use crate::rlpx::socket::{self, PeerLink};
use crate::whisper::node::link::{self, Origin};
use crate::whisper::node::{MAX_PENDING_HANDSHAKES, Shared};

/// What a handshake may take when half of the places are taken.
const HURRIED_DEADLINE: Duration = Duration::from_secs(2);

/// What a handshake may take when nearly all places are taken.
const SHORTEST_DEADLINE: Duration = Duration::from_millis(750);

/// How long accepting pauses after an error, which is a lack of file
/// descriptors more often than not.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until the node stops, then waits for their end.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    let pending = watch::Sender::new(0);
    let mut links = JoinSet::new();
    loop {
        let has_room = *pending.borrow() < MAX_PENDING_HANDSHAKES;
        let mut less = pending.subscribe();
        tokio::select! {
            () = shared.stopping.cancelled() => break,
            Some(_) = links.join_next() => {}
            _ = less.changed(), if !has_room => {}
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, _)) => {
                    let place = Place::take(&pending);
                    links.spawn(welcome(Arc::clone(&shared), stream, place));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    while links.join_next().await.is_some() {}
}

async fn welcome(shared: Arc<Shared>, stream: TcpStream, place: Place) {
    let opened = tokio::select! {
        () = shared.stopping.cancelled() => None,
        () = place.too_slow() => None,
        opened = socket::accept(stream, &shared.local) => Some(opened),
    };
    drop(place);
    match opened {
        None => {}
        Some(Ok(link)) => serve(shared, link).await,
        Some(Err(error)) => tracing::debug!(%error, "no link with an incoming connection"),
    }
}

async fn serve(shared: Arc<Shared>, link: PeerLink) {
    link::serve(shared, link, Origin::Inbound).await;
}

/// A place among the connections in their handshakes.
struct Place {
    pending: watch::Sender<usize>,
    since: Instant,
}

impl Place {
    fn take(pending: &watch::Sender<usize>) -> Self {
        pending.send_modify(|count| *count += 1);
        Self {
            pending: pending.clone(),
            since: Instant::now(),
        }
    }

    /// Resolves when this handshake has taken too long for how many there are.
    async fn too_slow(&self) {
        let mut pending = self.pending.subscribe();
        loop {
            let allowed = allowance(*pending.borrow_and_update());
            tokio::select! {
                () = sleep_until(self.since + allowed) => return,
                _ = pending.changed() => {}
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pending.send_modify(|count| *count -= 1);
    }
}

/// How long a handshake may take while `pending` are under way.
fn allowance(pending: usize) -> Duration {
    match pending {
        0..25 => HANDSHAKE_DEADLINE,
        25..40 => HURRIED_DEADLINE,
        _ => SHORTEST_DEADLINE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_handshakes_the_less_time_for_each() {
        let times: Vec<Duration> = (0..=MAX_PENDING_HANDSHAKES).map(allowance).collect();
        assert!(times.is_sorted_by(|a, b| a >= b));
        assert_eq!(times[0], HANDSHAKE_DEADLINE);
        assert_eq!(times[MAX_PENDING_HANDSHAKES], SHORTEST_DEADLINE);
    }
}
