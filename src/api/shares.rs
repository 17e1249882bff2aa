//! How many of something an address has.
//!
//! Always true: what is dropped is given back, and an address that has nothing is
//! forgotten.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::Address;

/// What each address has.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    most: usize,
    exempt_local: bool,
    counts: Arc<Mutex<HashMap<Address, usize>>>,
}

/// One of them; dropped, it is given back.
#[derive(Debug)]
pub(super) struct Share(Option<(Shares, Address)>);

impl Shares {
    /// `most` for an address; any number for those of this machine and its private
    /// networks, if `exempt_local`.
    pub(super) fn new(most: usize, exempt_local: bool) -> Self {
        Self {
            most,
            exempt_local,
            counts: Arc::default(),
        }
    }

    /// One more for `address`; `None` where it has as many as it may.
    pub(super) fn take(&self, address: Address) -> Option<Share> {
        if self.exempt_local && address.is_local() {
            return Some(Share(None));
        }
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share(Some((self.clone(), address))))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Address, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((shares, address)) = self.0.take() else {
            return;
        };
        let mut counts = shares.counts();
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::from(text.parse::<std::net::IpAddr>().unwrap())
    }

    #[test]
    fn an_address_has_its_share_and_gives_it_back() {
        let shares = Shares::new(2, true);
        let far = address("203.0.113.7");
        let (one, two) = (shares.take(far), shares.take(far));
        assert!(one.is_some() && two.is_some());
        assert!(shares.take(far).is_none());
        assert!(shares.take(address("203.0.113.8")).is_some());
        drop(one);
        assert!(shares.take(far).is_some());
        drop(two);
        assert!(shares.counts().is_empty());
    }

    #[test]
    fn this_machine_is_exempt_unless_it_is_not_to_be() {
        let near = address("127.0.0.1");
        for (exempt, expected) in [(true, true), (false, false)] {
            let shares = Shares::new(1, exempt);
            let _one = shares.take(near);
            assert_eq!(shares.take(near).is_some(), expected);
        }
    }
}
