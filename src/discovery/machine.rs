//! Discovery as a state machine without a socket.
//!
//! Use: hand every datagram to [`Machine::receive`], call [`Machine::tick`]
//! several times a second, and send what either returns.
//!
//! Always true: see the module above; nothing here knows time or chance but
//! what it is given.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use secp256k1::SecretKey;

use crate::discovery::bonds::Bonds;
use crate::discovery::lookup::{Candidate, Lookup};
use crate::discovery::meter::Meter;
use crate::discovery::packet::{Endpoint, MAX_NEIGHBORS, Neighbor, Packet, Received};
use crate::discovery::relay;
use crate::discovery::table::{BUCKET_SIZE, Known, Table};
use crate::rlpx::{Enode, NodeId};
use crate::time::UnixSeconds;

/// How long an answer is waited for, as in geth.
pub const ANSWER_TIME: Duration = Duration::from_millis(500);

/// How long a packet is good for, in seconds, as in geth.
const EXPIRES_IN: u32 = 20;

/// Between two looks at whether a node is still there: half of this on average.
const REVALIDATE_WITHIN: Duration = Duration::from_secs(10);

/// The same while there are nodes that were not looked at yet: nobody is told of
/// them before.
const REVALIDATE_NEW_WITHIN: Duration = Duration::from_secs(1);

/// Between two walks to anywhere, once enough nodes are known.
const REFRESH: Duration = Duration::from_secs(30 * 60);

/// The same while few are known: a small network, or one just entered.
const REFRESH_EARLY: Duration = Duration::from_secs(5);

/// From how many nodes on enough are known.
const ENOUGH: usize = BUCKET_SIZE;

/// Pings more that a node is given that does not answer the first: datagrams are
/// lost.
const RETRIES: u8 = 2;

/// Pings in flight up to which a stranger that pings is pinged back. Those of our own
/// walks and checks are few, and wait for nobody.
const MAX_PINGS: usize = 256;

/// UDP ports below are of services that must not be made to answer.
const LOWEST_PORT: u16 = 1_025;

/// A moment, as the shell gives it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Since some instant; never goes back.
    pub since_start: Duration,
    /// What the clock says.
    pub unix: UnixSeconds,
}

/// A datagram to send.
pub type Datagram = (SocketAddr, Bytes);

/// Where a ping waits for its pong.
#[derive(Clone, Copy, Debug)]
struct Ping {
    hash: [u8; 32],
    to: SocketAddr,
    tcp: u16,
    until: Duration,
    /// Pings to follow this one before silence means that the node is gone;
    /// `None` where it means nothing.
    tries_left: Option<u8>,
}

/// Where asking a node for others stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has to prove itself.
    Proving,
    /// We have proven ourselves once it pinged us.
    BeingProven,
    /// It was asked.
    Asked,
}

#[derive(Clone, Copy, Debug)]
struct Query {
    node: Candidate,
    stage: Stage,
    until: Duration,
    told: usize,
}

/// Discovery of one node.
pub struct Machine {
    key: SecretKey,
    id: NodeId,
    endpoint: Endpoint,
    bootnodes: Vec<Candidate>,
    table: Table,
    bonds: Bonds,
    meter: Meter,
    pings: HashMap<NodeId, Ping>,
    queries: HashMap<NodeId, Query>,
    lookup: Option<Lookup>,
    /// When the last walk began or ended.
    walked: Option<Duration>,
    next_revalidation: Duration,
    random: StdRng,
    out: VecDeque<Datagram>,
}

impl Machine {
    /// Discovery of the node with `key`, which others reach at `endpoint`, and
    /// which knows `bootnodes`. `seed` makes all that is left to chance.
    pub fn new(key: SecretKey, endpoint: Endpoint, bootnodes: &[Enode], seed: [u8; 32]) -> Self {
        let id = NodeId::of(&key.public_key());
        let bootnodes = bootnodes.iter().filter(|node| node.id != id);
        Self {
            key,
            id,
            endpoint,
            bootnodes: bootnodes
                .map(|node| Candidate {
                    id: node.id,
                    udp: node.udp_address(),
                    tcp: node.tcp_address().port(),
                })
                .collect(),
            table: Table::new(id.hash()),
            bonds: Bonds::default(),
            meter: Meter::default(),
            pings: HashMap::new(),
            queries: HashMap::new(),
            lookup: None,
            walked: None,
            next_revalidation: REVALIDATE_NEW_WITHIN,
            random: StdRng::from_seed(seed),
            out: VecDeque::new(),
        }
    }

    /// The address others reach this node by has become known.
    pub fn set_ip(&mut self, ip: IpAddr) {
        self.endpoint.ip = Some(ip);
    }

    /// How many nodes are known.
    pub fn known(&self) -> usize {
        self.table.len()
    }

    /// Up to `count` nodes that may be dialled, by chance.
    pub fn candidates(&mut self, count: usize) -> Vec<Enode> {
        let dialled = self.table.iter().filter(|node| node.tcp != 0);
        let mut nodes: Vec<_> = dialled.copied().collect();
        let mut chosen = Vec::new();
        while chosen.len() < count && !nodes.is_empty() {
            let at = self.random.random_range(..nodes.len());
            chosen.push(enode(&nodes.swap_remove(at)));
        }
        chosen
    }

    /// Takes a datagram; what is none, or came too late, is dropped.
    pub fn receive(&mut self, from: SocketAddr, datagram: &[u8], now: Moment) -> Vec<Datagram> {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        if self.meter.takes(from.ip(), now.since_start)
            && let Ok(received) = Packet::decode(datagram)
            && received.packet.expiration() >= u64::from(now.unix.0)
            && received.sender != self.id
        {
            self.act(from, received, now);
        }
        self.out.drain(..).collect()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Moment) -> Vec<Datagram> {
        self.give_up(now);
        self.revalidate(now);
        self.refresh(now);
        self.walk(now);
        self.out.drain(..).collect()
    }

    fn act(&mut self, from: SocketAddr, received: Received, now: Moment) {
        let Received {
            sender,
            hash,
            packet,
        } = received;
        match packet {
            Packet::Ping { from: said, .. } => self.pinged(from, sender, hash, said.tcp, now),
            Packet::Pong { ping, .. } => self.answered(from, sender, &ping, now),
            Packet::FindNode { target, .. } => {
                if self.bonds.is_proven(sender, from.ip(), now.since_start) {
                    self.tell_neighbors(from, target, now);
                }
            }
            Packet::Neighbors { nodes, .. } => self.learn(from, sender, &nodes, now),
        }
    }

    fn pinged(&mut self, from: SocketAddr, sender: NodeId, hash: [u8; 32], tcp: u16, now: Moment) {
        let to = Endpoint {
            ip: Some(from.ip()),
            udp: from.port(),
            tcp,
        };
        let pong = Packet::Pong {
            to,
            ping: Bytes::copy_from_slice(&hash),
            expiration: expiration(now),
        };
        self.send(from, &pong);
        self.bonds.pinged(sender, from.ip(), now.since_start);
        if self.bonds.is_proven(sender, from.ip(), now.since_start) {
            self.table.answered(Known::new(sender, from, tcp));
        } else if self.pings.len() < MAX_PINGS {
            self.ping(sender, from, tcp, None, now);
        }
        self.go_on(sender, from, now);
    }

    fn answered(&mut self, from: SocketAddr, sender: NodeId, ping: &[u8], now: Moment) {
        let matches = |waiting: &&Ping| waiting.hash == *ping && waiting.to.ip() == from.ip();
        let Some(waiting) = self.pings.get(&sender).filter(matches).copied() else {
            return;
        };
        self.pings.remove(&sender);
        self.bonds.answered(sender, from.ip(), now.since_start);
        self.table.answered(Known::new(sender, from, waiting.tcp));
        self.go_on(sender, from, now);
    }

    /// A node that is to be asked may have come a step further.
    fn go_on(&mut self, id: NodeId, from: SocketAddr, now: Moment) {
        let Some(query) = self.queries.get(&id) else {
            return;
        };
        let is_proven = self.bonds.is_proven(id, from.ip(), now.since_start);
        if query.stage == Stage::Asked || query.node.udp.ip() != from.ip() || !is_proven {
            return;
        }
        if self.bonds.knows_us(id, from.ip(), now.since_start) {
            self.ask(id, now);
        } else if let Some(query) = self.queries.get_mut(&id) {
            // It pings us back, or has held us for proven all along.
            query.stage = Stage::BeingProven;
            query.until = now.since_start + ANSWER_TIME;
        }
    }

    fn ask(&mut self, id: NodeId, now: Moment) {
        let target = self.lookup.as_ref().map(|lookup| lookup.target);
        let (Some(target), Some(query)) = (target, self.queries.get_mut(&id)) else {
            self.queries.remove(&id);
            return;
        };
        query.stage = Stage::Asked;
        query.until = now.since_start + ANSWER_TIME;
        let to = query.node.udp;
        let packet = Packet::FindNode {
            target,
            expiration: expiration(now),
        };
        self.send(to, &packet);
    }

    fn tell_neighbors(&mut self, to: SocketAddr, target: NodeId, now: Moment) {
        let wanted = |node: &Known| node.checks > 0 && relay::check(to.ip(), node.udp.ip()).is_ok();
        let closest = self.table.closest(&target.hash(), BUCKET_SIZE, wanted);
        let neighbors: Vec<_> = closest.iter().map(Known::neighbor).collect();
        let mut packets: Vec<&[Neighbor]> = neighbors.chunks(MAX_NEIGHBORS).collect();
        if packets.is_empty() {
            // Who asks need not wait.
            packets.push(&[]);
        }
        for nodes in packets {
            let packet = Packet::Neighbors {
                nodes: nodes.to_vec(),
                expiration: expiration(now),
            };
            self.send(to, &packet);
        }
    }

    fn learn(&mut self, from: SocketAddr, sender: NodeId, nodes: &[Neighbor], now: Moment) {
        let asked =
            |query: &&mut Query| query.stage == Stage::Asked && query.node.udp.ip() == from.ip();
        let Some(query) = self.queries.get_mut(&sender).filter(asked) else {
            return;
        };
        let room = BUCKET_SIZE.saturating_sub(query.told);
        query.told += nodes.len().clamp(1, BUCKET_SIZE);
        // Sixteen come in two packets; fewer in one.
        self.table.told(&sender);
        let is_all = nodes.len() < MAX_NEIGHBORS || query.told >= BUCKET_SIZE;
        if let Some(lookup) = &mut self.lookup {
            for node in nodes.iter().take(room) {
                let usable = node.endpoint.ip.filter(|ip| {
                    node.endpoint.udp >= LOWEST_PORT && relay::check(from.ip(), *ip).is_ok()
                });
                if let Some(ip) = usable
                    && node.id != self.id
                {
                    lookup.learn(Candidate {
                        id: node.id,
                        udp: SocketAddr::new(ip, node.endpoint.udp),
                        tcp: node.endpoint.tcp,
                    });
                }
            }
        }
        if is_all {
            self.finish(sender);
            self.walk(now);
        }
    }

    /// A node has told all it will.
    fn finish(&mut self, id: NodeId) {
        self.queries.remove(&id);
        if let Some(lookup) = &mut self.lookup {
            lookup.done(&id);
        }
    }

    /// Ends waiting for those that do not answer.
    fn give_up(&mut self, now: Moment) {
        let now_is = now.since_start;
        let silent: Vec<_> = self
            .pings
            .extract_if(|_, ping| ping.until <= now_is)
            .collect();
        for (id, ping) in silent {
            match ping.tries_left {
                None => {}
                Some(0) => self.table.remove(&id),
                Some(left) => self.ping(id, ping.to, ping.tcp, Some(left - 1), now),
            }
        }
        let late: Vec<_> = self
            .queries
            .iter()
            .filter(|(_, query)| query.until <= now_is)
            .map(|(id, query)| (*id, *query))
            .collect();
        for (id, query) in late {
            match query.stage {
                Stage::Proving => {
                    self.queries.remove(&id);
                    if let Some(lookup) = &mut self.lookup {
                        lookup.forget(&id);
                    }
                }
                Stage::BeingProven => self.ask(id, now),
                Stage::Asked => {
                    if query.told == 0 {
                        self.table.failed(&id);
                    }
                    self.finish(id);
                }
            }
        }
    }

    fn revalidate(&mut self, now: Moment) {
        if now.since_start < self.next_revalidation {
            return;
        }
        let any = usize::try_from(self.random.next_u32()).unwrap_or(0);
        let unchecked = self.table.iter().find(|node| node.checks == 0);
        let within = match unchecked {
            Some(_) => REVALIDATE_NEW_WITHIN,
            None => REVALIDATE_WITHIN,
        };
        let node = unchecked.or_else(|| self.table.stalest(any)).copied();
        let wait = self.random.random_range(..=within.as_millis());
        let wait = u64::try_from(wait).unwrap_or(u64::MAX);
        self.next_revalidation = now.since_start + Duration::from_millis(wait);
        if let Some(node) = node {
            self.ping(node.id, node.udp, node.tcp, Some(RETRIES), now);
        }
    }

    /// Begins a walk where one is due.
    fn refresh(&mut self, now: Moment) {
        let wait = if self.table.len() < ENOUGH {
            REFRESH_EARLY
        } else {
            REFRESH
        };
        let is_due = |walked| now.since_start >= walked + wait;
        if self.lookup.is_some() || !self.walked.is_none_or(is_due) {
            return;
        }
        let mut target = [0; 64];
        self.random.fill_bytes(&mut target);
        let target = NodeId(target);
        let known = self.table.closest(&target.hash(), BUCKET_SIZE, |_| true);
        let mut from: Vec<_> = known.iter().map(candidate).collect();
        if from.len() < ENOUGH {
            from.extend(&self.bootnodes);
        }
        if !from.is_empty() {
            self.lookup = Some(Lookup::new(target, from));
        }
        self.walked = Some(now.since_start);
    }

    /// Goes on with the walk.
    fn walk(&mut self, now: Moment) {
        while let Some(node) = self.lookup.as_mut().and_then(Lookup::next) {
            self.queries.insert(
                node.id,
                Query {
                    node,
                    stage: Stage::Proving,
                    until: now.since_start + ANSWER_TIME,
                    told: 0,
                },
            );
            if self
                .bonds
                .is_proven(node.id, node.udp.ip(), now.since_start)
            {
                self.go_on(node.id, node.udp, now);
            } else {
                self.ping(node.id, node.udp, node.tcp, None, now);
            }
        }
        if self.lookup.as_ref().is_some_and(Lookup::is_over) {
            self.lookup = None;
            self.walked = Some(now.since_start);
        }
    }

    /// Pings a node, unless a ping to it waits already.
    fn ping(&mut self, id: NodeId, to: SocketAddr, tcp: u16, tries_left: Option<u8>, now: Moment) {
        if self.pings.contains_key(&id) {
            return;
        }
        let packet = Packet::Ping {
            from: self.endpoint,
            to: Endpoint {
                ip: Some(to.ip()),
                udp: to.port(),
                tcp: 0,
            },
            expiration: expiration(now),
        };
        let hash = self.send(to, &packet);
        let ping = Ping {
            hash,
            to,
            tcp,
            until: now.since_start + ANSWER_TIME,
            tries_left,
        };
        self.pings.insert(id, ping);
    }

    fn send(&mut self, to: SocketAddr, packet: &Packet) -> [u8; 32] {
        let (datagram, hash) = packet.encode(&self.key);
        self.out.push_back((to, datagram));
        hash
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("id", &self.id)
            .field("known", &self.table.len())
            .finish_non_exhaustive()
    }
}

fn expiration(now: Moment) -> u64 {
    u64::from(now.unix.0) + u64::from(EXPIRES_IN)
}

fn candidate(node: &Known) -> Candidate {
    Candidate {
        id: node.id,
        udp: node.udp,
        tcp: node.tcp,
    }
}

fn enode(node: &Known) -> Enode {
    let mut enode = Enode::new(node.id, SocketAddr::new(node.udp.ip(), node.tcp));
    enode.udp = node.udp.port();
    enode
}

#[cfg(test)]
mod tests;
