//! Connections that come in.
//!
//! Always true:
//! - Whoever connects is attended to at once: nobody waits behind silent
//!   connections. At most [`MAX_PENDING_HANDSHAKES`] are pending, and a newcomer
//!   displaces the oldest of the address that has the most.
//! - The more are pending, the less time each has.
//! - A connection counts as pending until it has a seat, or is closed for want of
//!   one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::limits::handshakes::{Handshakes, Ticket};
use crate::limits::{Address, Reason};
use crate::rlpx::session::HANDSHAKE_DEADLINE;
use crate::rlpx::socket::{self, LinkError, PeerLink};
use crate::whisper::node::guard::reason_of;
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
    let hall = Hall::new();
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => break,
            Some(_) = links.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let address = Address::from(from.ip());
                    if let Err(wait) = shared.guard.connect(&address) {
                        let detail = format!("the next may come in {} s", wait.as_secs() + 1);
                        shared.guard.dropped_stranger(Reason::ConnectionRate, from.ip(), &detail);
                        continue;
                    }
                    let place = hall.enter(address, shared.guard.handshakes_of(&address));
                    links.spawn(welcome(Arc::clone(&shared), stream, from, place));
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

async fn welcome(shared: Arc<Shared>, stream: TcpStream, from: SocketAddr, place: Place) {
    let stranger = |reason, detail: &str| {
        shared.guard.dropped_stranger(reason, from.ip(), detail);
    };
    let link = tokio::select! {
        biased;
        () = shared.stopping.cancelled() => return,
        () = place.displaced() => return stranger(Reason::Displaced, "by a newer connection"),
        // Before the clock: what arrived in time is no late arrival.
        opened = open(&shared, stream, &place) => match opened {
            Ok(link) => link,
            Err(error) => return stranger(reason_of(&error), &error.to_string()),
        },
        () = place.too_slow() => {
            return stranger(Reason::HandshakeTimeout, "for how many others waited");
        }
    };
    match link::seat(&shared, &link, Origin::Inbound) {
        Ok(seat) => {
            drop(place);
            link::serve(shared, link, seat).await;
        }
        // It still counts as pending: those turned away are no crowd of their own.
        Err(reason) => tokio::select! {
            () = place.displaced() => {}
            () = link.close(reason) => {}
        },
    }
}

async fn open(shared: &Shared, stream: TcpStream, place: &Place) -> Result<PeerLink, LinkError> {
    stream.readable().await?;
    place.spoke();
    socket::accept(stream, &shared.local).await
}

/// The connections that are pending.
#[derive(Clone)]
struct Hall {
    inside: Arc<Mutex<Inside>>,
    pending: watch::Sender<usize>,
}

struct Inside {
    handshakes: Handshakes,
    displacing: HashMap<Ticket, CancellationToken>,
}

impl Hall {
    fn new() -> Self {
        Self {
            inside: Arc::new(Mutex::new(Inside {
                handshakes: Handshakes::new(MAX_PENDING_HANDSHAKES),
                displacing: HashMap::new(),
            })),
            pending: watch::Sender::new(0),
        }
    }

    fn enter(&self, address: Address, of_address: Option<usize>) -> Place {
        let mut inside = self.inside();
        let (ticket, displaced) = inside.handshakes.enter(address, of_address);
        if let Some(token) = displaced.and_then(|ticket| inside.displacing.remove(&ticket)) {
            token.cancel();
        }
        let displaced = CancellationToken::new();
        inside.displacing.insert(ticket, displaced.clone());
        self.pending.send_replace(inside.handshakes.len());
        Place {
            hall: self.clone(),
            ticket,
            displaced,
            since: Instant::now(),
        }
    }

    fn leave(&self, ticket: Ticket) {
        let mut inside = self.inside();
        inside.handshakes.leave(ticket);
        inside.displacing.remove(&ticket);
        self.pending.send_replace(inside.handshakes.len());
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nothing that changes it panics half way.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the connections that are pending.
struct Place {
    hall: Hall,
    ticket: Ticket,
    displaced: CancellationToken,
    since: Instant,
}

impl Place {
    /// The peer has sent something.
    fn spoke(&self) {
        self.hall.inside().handshakes.spoke(self.ticket);
    }

    /// Resolves when a newcomer needs the place.
    async fn displaced(&self) {
        self.displaced.cancelled().await;
    }

    /// Resolves when this handshake has taken too long for how many there are.
    async fn too_slow(&self) {
        let mut pending = self.hall.pending.subscribe();
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
        self.hall.leave(self.ticket);
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

    #[tokio::test]
    async fn a_newcomer_never_waits_and_the_oldest_of_the_crowd_goes() {
        let hall = Hall::new();
        let host = |n| Address::from(std::net::Ipv4Addr::new(192, 0, 2, n));
        let honest = hall.enter(host(1), None);
        let crowd: Vec<Place> = (1..MAX_PENDING_HANDSHAKES)
            .map(|_| hall.enter(host(2), None))
            .collect();
        let _newcomer = hall.enter(host(3), None);
        crowd[0].displaced().await;
        assert!(!honest.displaced.is_cancelled());
        assert!(!crowd[1].displaced.is_cancelled());
        assert_eq!(*hall.pending.borrow(), MAX_PENDING_HANDSHAKES);
        drop(crowd);
        assert_eq!(*hall.pending.borrow(), 2);
        assert_eq!(hall.inside().displacing.len(), 2);
    }
}
