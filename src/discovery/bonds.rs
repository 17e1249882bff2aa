//! Who has proven to be where its packets come from.
//!
//! Always true: at most [`MAX_BONDS`] are remembered; who has proven nothing goes
//! before who has, and of these who was heard of longest ago.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::rlpx::NodeId;

/// How long a proof lasts, as in geth.
pub(super) const LASTS: Duration = Duration::from_secs(24 * 3_600);

/// Nodes remembered: some 500 KiB.
pub(super) const MAX_BONDS: usize = 4_096;

#[derive(Clone, Copy, Debug, Default)]
struct Bond {
    /// When it last answered a ping of ours.
    answered: Option<Duration>,
    /// When it last pinged us, which is when it came to believe in us.
    pinged: Option<Duration>,
    touched: Duration,
}

/// The proofs.
#[derive(Debug, Default)]
pub(super) struct Bonds(HashMap<(NodeId, IpAddr), Bond>);

impl Bonds {
    /// A node has answered a ping at its address.
    pub(super) fn answered(&mut self, id: NodeId, ip: IpAddr, now: Duration) {
        self.touch(id, ip, now).answered = Some(now);
    }

    /// A node has pinged us from its address.
    pub(super) fn pinged(&mut self, id: NodeId, ip: IpAddr, now: Duration) {
        self.touch(id, ip, now).pinged = Some(now);
    }

    /// Whether a node has proven to be at an address.
    pub(super) fn is_proven(&self, id: NodeId, ip: IpAddr, now: Duration) -> bool {
        let bond = self.0.get(&(id, ip));
        bond.is_some_and(|bond| is_fresh(bond.answered, now))
    }

    /// Whether a node should hold us for proven.
    pub(super) fn knows_us(&self, id: NodeId, ip: IpAddr, now: Duration) -> bool {
        let bond = self.0.get(&(id, ip));
        bond.is_some_and(|bond| is_fresh(bond.pinged, now))
    }

    fn touch(&mut self, id: NodeId, ip: IpAddr, now: Duration) -> &mut Bond {
        if self.0.len() >= MAX_BONDS && !self.0.contains_key(&(id, ip)) {
            let worth = |bond: &Bond| (is_fresh(bond.answered, now), bond.touched);
            let oldest = self.0.iter().min_by_key(|(_, bond)| worth(bond));
            if let Some(oldest) = oldest.map(|(who, _)| *who) {
                self.0.remove(&oldest);
            }
        }
        let bond = self.0.entry((id, ip)).or_default();
        bond.touched = now;
        bond
    }
}

fn is_fresh(at: Option<Duration>, now: Duration) -> bool {
    at.is_some_and(|at| now.saturating_sub(at) < LASTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_of_an_address_and_ends_after_a_day() {
        let mut bonds = Bonds::default();
        let id = NodeId([1; 64]);
        let [here, there] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        bonds.answered(id, here, Duration::ZERO);
        assert!(bonds.is_proven(id, here, LASTS - Duration::from_secs(1)));
        assert!(!bonds.is_proven(id, here, LASTS));
        assert!(!bonds.is_proven(id, there, Duration::ZERO));
        assert!(!bonds.knows_us(id, here, Duration::ZERO));
    }

    #[test]
    fn strangers_cost_a_bounded_memory() {
        let mut bonds = Bonds::default();
        let ip = IpAddr::from([10, 0, 0, 1]);
        let friend = NodeId([9; 64]);
        bonds.answered(friend, ip, Duration::ZERO);
        for n in 0..u16::try_from(MAX_BONDS + 10).unwrap() {
            let mut id = [0; 64];
            id[..2].copy_from_slice(&n.to_be_bytes());
            bonds.pinged(NodeId(id), ip, Duration::from_secs(n.into()));
        }
        assert_eq!(bonds.0.len(), MAX_BONDS);
        assert!(bonds.is_proven(friend, ip, Duration::ZERO));
        assert!(!bonds.knows_us(NodeId([0; 64]), ip, Duration::ZERO));
    }
}
