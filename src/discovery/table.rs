//! The nodes known, by distance.
//!
//! Always true:
//! - A bucket holds at most [`BUCKET_SIZE`] nodes and [`REPLACEMENTS`] that wait
//!   for one to leave; whoever was there longest and still answers stays.
//! - Of one network, at most [`OF_NETWORK_IN_BUCKET`] nodes are in a bucket and
//!   [`OF_NETWORK`] in the table, private networks excepted: whoever has a
//!   thousand addresses next to each other does not fill it.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use crate::discovery::packet::{Endpoint, Neighbor};
use crate::discovery::relay;
use crate::rlpx::NodeId;

/// Nodes of one bucket.
pub const BUCKET_SIZE: usize = 16;

/// Nodes that wait for a place in one bucket.
pub const REPLACEMENTS: usize = 10;

/// Nodes of one /24 (IPv6: /48) in a bucket.
pub const OF_NETWORK_IN_BUCKET: usize = 2;

/// Nodes of one /24 (IPv6: /48) in the table.
pub const OF_NETWORK: usize = 10;

/// Requests a node may leave unanswered in a row.
pub const MAX_FAILURES: u32 = 5;

/// Buckets: distances below the last sixteen hold nobody in any real network,
/// and share the first.
const BUCKETS: usize = 17;

/// Keccak-256 of a node id, between which distances are measured.
pub type Place = [u8; 32];

/// A node that answered from where it is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Who it is.
    pub id: NodeId,
    /// Where its packets come from.
    pub udp: SocketAddr,
    /// Where it accepts connections; 0 where that is not known.
    pub tcp: u16,
    /// How often it answered since it came in.
    pub checks: u32,
    failures: u32,
}

impl Known {
    /// A node that has just answered.
    pub fn new(id: NodeId, udp: SocketAddr, tcp: u16) -> Self {
        Self {
            id,
            udp,
            tcp,
            checks: 0,
            failures: 0,
        }
    }

    /// As others are told of it.
    pub fn neighbor(&self) -> Neighbor {
        Neighbor {
            id: self.id,
            endpoint: Endpoint {
                ip: Some(self.udp.ip()),
                udp: self.udp.port(),
                tcp: self.tcp,
            },
        }
    }
}

/// The distance between two places: bigger is farther.
pub fn distance(a: &Place, b: &Place) -> Place {
    let mut apart = *a;
    for (byte, other) in apart.iter_mut().zip(b) {
        *byte ^= other;
    }
    apart
}

/// The logarithm of the distance: 0 for the same place, 256 at most.
pub fn log_distance(a: &Place, b: &Place) -> u32 {
    let apart = distance(a, b);
    let zeros = apart.iter().take_while(|byte| **byte == 0).count();
    let Some(first) = apart.get(zeros) else {
        return 0;
    };
    let whole = u32::try_from(8 * (apart.len() - zeros)).unwrap_or(256);
    whole - first.leading_zeros()
}

#[derive(Debug, Default)]
struct Bucket {
    /// The one that answered last comes first.
    nodes: VecDeque<Known>,
    waiting: VecDeque<Known>,
}

/// The table.
#[derive(Debug)]
pub struct Table {
    own: Place,
    buckets: [Bucket; BUCKETS],
    networks: HashMap<IpAddr, usize>,
}

impl Table {
    /// An empty table around the node at `own`.
    pub fn new(own: Place) -> Self {
        Self {
            own,
            buckets: Default::default(),
            networks: HashMap::new(),
        }
    }

    /// How many nodes are in it.
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.nodes.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every node.
    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.buckets.iter().flat_map(|bucket| &bucket.nodes)
    }

    /// A node, if it is here.
    pub fn get(&self, id: &NodeId) -> Option<&Known> {
        let bucket = &self.buckets[self.bucket_of(id)?];
        bucket.nodes.iter().find(|node| node.id == *id)
    }

    /// A node has answered: it comes in, or to the front, or waits.
    pub fn answered(&mut self, node: Known) {
        let Some(at) = self.bucket_of(&node.id) else {
            return;
        };
        let bucket = &mut self.buckets[at];
        if let Some(place) = bucket.nodes.iter().position(|known| known.id == node.id)
            && let Some(mut known) = bucket.nodes.remove(place)
        {
            if known.udp.ip() == node.udp.ip() {
                known.udp = node.udp;
                known.tcp = if node.tcp == 0 { known.tcp } else { node.tcp };
                known.checks = known.checks.saturating_add(1);
                known.failures = 0;
                bucket.nodes.push_front(known);
                return;
            }
            // It has moved, and has to fit into its new network.
            self.leave_network(known.udp.ip());
        }
        let bucket = &mut self.buckets[at];
        bucket.waiting.retain(|waiting| waiting.id != node.id);
        if bucket.nodes.len() < BUCKET_SIZE && self.has_room_for(at, node.udp.ip()) {
            self.join_network(node.udp.ip());
            self.buckets[at].nodes.push_front(node);
        } else {
            let waiting = &mut self.buckets[at].waiting;
            waiting.truncate(REPLACEMENTS - 1);
            waiting.push_front(node);
        }
    }

    /// A node answered a request: what it left unanswered is forgiven.
    pub fn told(&mut self, id: &NodeId) {
        if let Some(known) = self.get_mut(id) {
            known.failures = 0;
        }
    }

    /// A node did not answer a request; one that does so again and again goes.
    pub fn failed(&mut self, id: &NodeId) {
        if let Some(known) = self.get_mut(id) {
            known.failures += 1;
            if known.failures >= MAX_FAILURES {
                self.remove(id);
            }
        }
    }

    fn get_mut(&mut self, id: &NodeId) -> Option<&mut Known> {
        let at = self.bucket_of(id)?;
        let mut nodes = self.buckets[at].nodes.iter_mut();
        nodes.find(|known| known.id == *id)
    }

    /// A node is gone; the first that waits for its place takes it.
    pub fn remove(&mut self, id: &NodeId) {
        let Some(at) = self.bucket_of(id) else {
            return;
        };
        let nodes = &mut self.buckets[at].nodes;
        let Some(place) = nodes.iter().position(|known| known.id == *id) else {
            return;
        };
        if let Some(gone) = nodes.remove(place) {
            self.leave_network(gone.udp.ip());
        }
        let mut waiting = std::mem::take(&mut self.buckets[at].waiting);
        let fits = waiting
            .iter()
            .position(|node| self.has_room_for(at, node.udp.ip()));
        if let Some(next) = fits.and_then(|place| waiting.remove(place)) {
            self.join_network(next.udp.ip());
            self.buckets[at].nodes.push_back(next);
        }
        self.buckets[at].waiting = waiting;
    }

    /// The node of a bucket that answered longest ago. `any` picks the bucket
    /// among those with nodes.
    pub fn stalest(&self, any: usize) -> Option<&Known> {
        let filled = || self.buckets.iter().filter(|b| !b.nodes.is_empty());
        let at = any.checked_rem(filled().count())?;
        filled().nth(at)?.nodes.back()
    }

    /// Up to `count` nodes nearest to a place, nearest first.
    pub fn closest(
        &self,
        place: &Place,
        count: usize,
        wanted: impl Fn(&Known) -> bool,
    ) -> Vec<Known> {
        let mut nodes: Vec<_> = self.iter().filter(|node| wanted(node)).copied().collect();
        nodes.sort_by_cached_key(|node| distance(&node.id.hash(), place));
        nodes.truncate(count);
        nodes
    }

    /// The bucket of a node; none for this one.
    fn bucket_of(&self, id: &NodeId) -> Option<usize> {
        let distance = log_distance(&self.own, &id.hash());
        let distance = usize::try_from(distance).unwrap_or(256);
        (distance > 0).then(|| (distance + BUCKETS).saturating_sub(257))
    }

    fn has_room_for(&self, bucket: usize, ip: IpAddr) -> bool {
        if relay::is_lan(ip) {
            return true;
        }
        let network = network_of(ip);
        let here = self.buckets[bucket]
            .nodes
            .iter()
            .filter(|node| network_of(node.udp.ip()) == network)
            .count();
        let everywhere = self.networks.get(&network).copied().unwrap_or(0);
        here < OF_NETWORK_IN_BUCKET && everywhere < OF_NETWORK
    }

    fn join_network(&mut self, ip: IpAddr) {
        *self.networks.entry(network_of(ip)).or_default() += 1;
    }

    fn leave_network(&mut self, ip: IpAddr) {
        let network = network_of(ip);
        if let Some(count) = self.networks.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&network);
            }
        }
    }
}

/// The network an address is of: its /24 or /48.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            IpAddr::from([a, b, c, 0, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Place = [0; 32];

    /// Ids whose place is in the farthest bucket from [`OWN`].
    fn far_ids() -> impl Iterator<Item = NodeId> {
        (0u32..).filter_map(|n| {
            let mut id = [0; 64];
            id[..4].copy_from_slice(&n.to_be_bytes());
            let id = NodeId(id);
            (id.hash()[0] >= 0x80).then_some(id)
        })
    }

    fn node(id: NodeId, ip: [u8; 4]) -> Known {
        Known::new(id, SocketAddr::from((ip, 30_303)), 30_303)
    }

    #[test]
    fn distance_counts_the_bits_that_differ_from_the_first_on() {
        let mut other = OWN;
        assert_eq!(log_distance(&OWN, &other), 0);
        other[31] = 1;
        assert_eq!(log_distance(&OWN, &other), 1);
        other[0] = 0x80;
        assert_eq!(log_distance(&OWN, &other), 256);
        other[0] = 0x01;
        assert_eq!(log_distance(&OWN, &other), 249);
    }

    #[test]
    fn a_full_bucket_keeps_whom_it_has_and_replaces_who_is_gone() {
        let mut table = Table::new(OWN);
        let ids: Vec<_> = far_ids().take(BUCKET_SIZE + REPLACEMENTS + 5).collect();
        for id in &ids {
            table.answered(node(*id, [10, 0, 0, 1]));
        }
        assert_eq!(table.len(), BUCKET_SIZE);
        assert!(ids[..BUCKET_SIZE].iter().all(|id| table.get(id).is_some()));
        assert_eq!(table.stalest(0).map(|node| node.id), Some(ids[0]));
        table.remove(&ids[0]);
        assert_eq!(table.len(), BUCKET_SIZE);
        // The newest of those that wait comes in.
        assert!(table.get(ids.last().unwrap()).is_some());
    }

    #[test]
    fn one_network_fills_neither_bucket_nor_table() {
        let mut table = Table::new(OWN);
        for (id, n) in far_ids().zip(0..40) {
            table.answered(node(id, [8, 8, 8, n]));
        }
        assert_eq!(table.len(), OF_NETWORK_IN_BUCKET);
        let mut spread = Table::new(OWN);
        let anywhere =
            (0u32..2_000).map(|n| NodeId([n.to_be_bytes(); 16].concat().try_into().unwrap()));
        for id in anywhere {
            spread.answered(node(id, [8, 8, 8, 8]));
        }
        assert!(spread.len() <= OF_NETWORK);
    }

    #[test]
    fn who_fails_again_and_again_goes_and_who_answers_is_forgiven() {
        let mut table = Table::new(OWN);
        let id = far_ids().next().unwrap();
        table.answered(node(id, [10, 0, 0, 1]));
        for _ in 1..MAX_FAILURES {
            table.failed(&id);
        }
        table.answered(node(id, [10, 0, 0, 1]));
        for _ in 1..MAX_FAILURES {
            table.failed(&id);
        }
        assert!(table.get(&id).is_some());
        table.failed(&id);
        assert!(table.is_empty() && table.networks.is_empty());
    }

    #[test]
    fn the_closest_come_first_and_this_node_never() {
        let own = NodeId([7; 64]);
        let mut table = Table::new(own.hash());
        table.answered(node(own, [10, 0, 0, 1]));
        assert!(table.is_empty());
        for id in far_ids().take(50) {
            table.answered(node(id, [10, 0, 0, 1]));
        }
        let place = [0x5a; 32];
        let closest = table.closest(&place, 5, |_| true);
        let nearest = table
            .iter()
            .map(|node| distance(&node.id.hash(), &place))
            .min();
        assert_eq!(Some(distance(&closest[0].id.hash(), &place)), nearest);
        assert_eq!(closest.len(), 5);
    }
}
