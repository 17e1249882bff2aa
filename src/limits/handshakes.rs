//! Connections in their handshakes, and who makes room for a newcomer.
//!
//! Always true:
//! - At most the given number is pending, in total and from one address.
//! - A newcomer is never turned away for lack of room, and never waits: the
//!   address with the most pending gives up its oldest, one that has not spoken
//!   before one that has. Whoever fills the room displaces its own.

use std::collections::{BTreeMap, HashMap};

use crate::limits::Address;

/// A pending handshake. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

#[derive(Clone, Copy, Debug)]
struct Pending {
    address: Address,
    spoke: bool,
}

/// The handshakes under way.
#[derive(Debug)]
pub struct Handshakes {
    most: usize,
    pending: BTreeMap<Ticket, Pending>,
    by_address: HashMap<Address, usize>,
    issued: u64,
}

impl Handshakes {
    /// Room for `most` handshakes, at least one.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            pending: BTreeMap::new(),
            by_address: HashMap::new(),
            issued: 0,
        }
    }

    /// Takes in a newcomer, of whose address at most `of_address` may be pending
    /// if that is limited. Says who has to go for it.
    pub fn enter(
        &mut self,
        address: Address,
        of_address: Option<usize>,
    ) -> (Ticket, Option<Ticket>) {
        let same = self.by_address.get(&address).copied().unwrap_or(0);
        let displaced = if of_address.is_some_and(|most| same >= most.max(1)) {
            self.oldest_of(&address)
        } else if self.pending.len() >= self.most {
            self.busiest().and_then(|busiest| self.oldest_of(&busiest))
        } else {
            None
        };
        if let Some(displaced) = displaced {
            self.leave(displaced);
        }
        self.issued += 1;
        let ticket = Ticket(self.issued);
        let spoke = false;
        self.pending.insert(ticket, Pending { address, spoke });
        *self.by_address.entry(address).or_default() += 1;
        (ticket, displaced)
    }

    /// The peer has sent something.
    pub fn spoke(&mut self, ticket: Ticket) {
        if let Some(pending) = self.pending.get_mut(&ticket) {
            pending.spoke = true;
        }
    }

    /// The handshake is over, well or not.
    pub fn leave(&mut self, ticket: Ticket) {
        let Some(Pending { address, .. }) = self.pending.remove(&ticket) else {
            return;
        };
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    /// How many are pending.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    fn busiest(&self) -> Option<Address> {
        let most = self.by_address.values().copied().max()?;
        // Of several, the one that holds the oldest handshake.
        self.pending
            .iter()
            .min_by_key(|(ticket, pending)| {
                let is_less_busy = self.by_address.get(&pending.address) != Some(&most);
                (is_less_busy, pending.spoke, **ticket)
            })
            .map(|(_, pending)| pending.address)
    }

    fn oldest_of(&self, address: &Address) -> Option<Ticket> {
        self.pending
            .iter()
            .filter(|(_, pending)| pending.address == *address)
            .min_by_key(|(ticket, pending)| (pending.spoke, **ticket))
            .map(|(ticket, _)| *ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn host(n: u8) -> Address {
        Ipv4Addr::new(192, 0, 2, n).into()
    }

    #[test]
    fn whoever_fills_the_room_displaces_its_own() {
        let mut room = Handshakes::new(4);
        let (honest, _) = room.enter(host(1), None);
        let flood: Vec<Ticket> = (0..3).map(|_| room.enter(host(2), None).0).collect();
        let (_, displaced) = room.enter(host(2), None);
        assert_eq!(displaced, Some(flood[0]));
        let (_, displaced) = room.enter(host(3), None);
        assert_eq!(displaced, Some(flood[1]));
        assert_eq!(room.len(), 4);
        room.leave(honest);
        assert_eq!(room.enter(host(4), None).1, None);
    }

    #[test]
    fn who_has_spoken_stays_longer() {
        let mut room = Handshakes::new(2);
        let (first, _) = room.enter(host(1), None);
        let (second, _) = room.enter(host(1), None);
        room.spoke(first);
        assert_eq!(room.enter(host(2), None).1, Some(second));
    }

    #[test]
    fn an_address_has_its_own_limit() {
        let mut room = Handshakes::new(10);
        let (first, _) = room.enter(host(1), Some(2));
        let (_second, _) = room.enter(host(1), Some(2));
        assert_eq!(room.enter(host(1), Some(2)).1, Some(first));
        assert_eq!(room.enter(host(2), Some(2)).1, None);
        assert_eq!(room.len(), 3);
    }

    proptest! {
        #[test]
        fn the_room_is_never_overfull(steps in proptest::collection::vec((0_u8..6, 0_u8..3), 1..300)) {
            let mut room = Handshakes::new(8);
            let mut held: Vec<Ticket> = Vec::new();
            for (who, what) in steps {
                match what {
                    0 | 1 => {
                        let (ticket, displaced) = room.enter(host(who), (what == 1).then_some(3));
                        held.retain(|held| Some(*held) != displaced);
                        held.push(ticket);
                    }
                    _ => if let Some(ticket) = held.pop() {
                        room.leave(ticket);
                    },
                }
                prop_assert!(room.len() <= 8);
                prop_assert_eq!(room.len(), held.len());
                prop_assert_eq!(room.by_address.values().sum::<usize>(), held.len());
            }
        }
    }
}
