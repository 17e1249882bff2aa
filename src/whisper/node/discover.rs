//! Peers that discovery finds.
//!
//! Always true:
//! - Half of the seats stay for those who dial us, as in geth.
//! - Of two nodes that find each other the one with the greater id dials first: if
//!   both did, each would turn the other away as connected already.
//! - A node that was tried is left alone for a while, longer each time, and by
//!   chance. At most [`MAX_DIALS`] are tried at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::discovery::Discovery;
use crate::rlpx::{Enode, NodeId, socket};
use crate::whisper::node::Shared;
use crate::whisper::node::link::{self, Origin};

/// How often free seats are looked for.
const SEARCH_EVERY: Duration = Duration::from_secs(1);

/// Dials at a time.
const MAX_DIALS: usize = 4;

/// How long a node with a greater id is waited for, which mostly has found this
/// one by then.
const HEAD_START: Duration = Duration::from_secs(2);

/// How long a node is left alone at least after it was tried first.
const FIRST_REST: Duration = Duration::from_secs(1);

/// How long it is left alone at most, and remembered.
const LONGEST_REST: Duration = Duration::from_secs(5 * 60);

/// Nodes remembered as tried.
const MAX_TRIED: usize = 1_024;

/// Fills free seats with nodes that are found until the node stops, then waits
/// for the links to end.
pub(super) async fn run(shared: Arc<Shared>, discovery: Discovery) {
    let mut links = JoinSet::new();
    let mut tried: HashMap<NodeId, Tried> = HashMap::new();
    let mut cycle = interval(SEARCH_EVERY);
    cycle.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => break,
            Some(_) = links.join_next() => {}
            _ = cycle.tick() => {
                tried.retain(|_, tried| tried.at.elapsed() < 2 * LONGEST_REST);
                let room = room(&shared, links.len());
                let found = discovery.candidates(2 * room);
                let own = shared.local.key().id();
                let is_free = |id: &NodeId| *id != own && !shared.registry.contains(id);
                for peer in chosen(&own, found, room, &mut tried, is_free) {
                    links.spawn(try_peer(Arc::clone(&shared), peer));
                }
            }
        }
    }
    while links.join_next().await.is_some() {}
}

/// When a node was tried, and how long it is left alone.
struct Tried {
    at: Instant,
    rest: Duration,
}

impl Default for Tried {
    fn default() -> Self {
        Self {
            at: Instant::now(),
            rest: FIRST_REST / 2,
        }
    }
}

impl Tried {
    /// Not yet: it may dial first.
    fn awaited() -> Self {
        Self {
            rest: HEAD_START,
            ..Self::default()
        }
    }

    fn again(&mut self) {
        self.at = Instant::now();
        let longer = 2.0 + f64::from(rand::random::<u8>()) / 255.0;
        self.rest = self.rest.mul_f64(longer).min(LONGEST_REST);
    }
}

/// The first `room` of those found that `own` may try now, noted as tried.
fn chosen(
    own: &NodeId,
    found: Vec<Enode>,
    room: usize,
    tried: &mut HashMap<NodeId, Tried>,
    is_free: impl Fn(&NodeId) -> bool,
) -> Vec<Enode> {
    let mut chosen = Vec::new();
    for peer in found {
        let rested = tried
            .get(&peer.id)
            .is_none_or(|tried| tried.at.elapsed() >= tried.rest);
        let has_place = tried.len() < MAX_TRIED || tried.contains_key(&peer.id);
        if chosen.len() >= room || !is_free(&peer.id) || !rested || !has_place {
            continue;
        }
        if peer.id > *own && !tried.contains_key(&peer.id) {
            tried.insert(peer.id, Tried::awaited());
            continue;
        }
        tried.entry(peer.id).or_default().again();
        chosen.push(peer);
    }
    chosen
}

/// How many more may be dialled now. `open` links and dials are of this task.
fn room(shared: &Shared, open: usize) -> usize {
    let peers = shared.registry.list();
    let seated = peers.iter().filter(|peer| !peer.is_static).count();
    let dialled = peers.iter().filter(|peer| !peer.is_static && !peer.inbound);
    let dialling = open.saturating_sub(dialled.count());
    let most = shared.max_peers.div_ceil(2).saturating_sub(open);
    let free = shared.max_peers.saturating_sub(seated + dialling);
    most.min(free).min(MAX_DIALS.saturating_sub(dialling))
}

async fn try_peer(shared: Arc<Shared>, peer: Enode) {
    let opened = tokio::select! {
        () = shared.stopping.cancelled() => return,
        opened = socket::connect(&peer, &shared.local) => opened,
    };
    match opened {
        Ok(link) => match link::seat(&shared, &link, Origin::Found) {
            Ok(seat) => link::serve(shared, link, seat).await,
            Err(reason) => link.close(reason).await,
        },
        Err(error) => tracing::debug!(peer = ?peer.id, %error, "cannot dial a node that was found"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_are_dialled_than_there_is_room_for_and_none_twice_in_a_row() {
        let found: Vec<Enode> = (1..=8u8)
            .map(|n| Enode::new(NodeId([n; 64]), ([192, 0, 2, n], 30_303).into()))
            .collect();
        let mut tried = HashMap::new();
        let own = NodeId([9; 64]);
        let mut choose = |room| chosen(&own, found.clone(), room, &mut tried, |id| id.0[0] != 2);
        let first: Vec<u8> = choose(3).iter().map(|peer| peer.id.0[0]).collect();
        assert_eq!(first, [1, 3, 4]);
        let second: Vec<u8> = choose(4).iter().map(|peer| peer.id.0[0]).collect();
        assert_eq!(second, [5, 6, 7, 8]);
        assert!(choose(4).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_that_find_each_other_the_one_with_the_greater_id_dials_first() {
        let [small, great] = [NodeId([1; 64]), NodeId([2; 64])];
        let at = |id| Enode::new(id, ([192, 0, 2, 1], 30_303).into());
        let (mut of_small, mut of_great) = (HashMap::new(), HashMap::new());
        let dials = |own: &NodeId, other, tried: &mut HashMap<NodeId, Tried>| {
            !chosen(own, vec![at(other)], 1, tried, |_| true).is_empty()
        };
        assert!(dials(&great, small, &mut of_great));
        assert!(!dials(&small, great, &mut of_small));
        tokio::time::advance(HEAD_START / 2).await;
        assert!(!dials(&small, great, &mut of_small));
        // Nobody came: it may be behind a router, or have no free seat to dial from.
        tokio::time::advance(HEAD_START).await;
        assert!(dials(&small, great, &mut of_small));
    }
}
