//! How many datagrams are looked at.
//!
//! Always true: checking a signature costs some 50 microseconds, and strangers
//! can make this node spend a bounded share of a core on that.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Datagrams looked at in a second: a twentieth of a core.
const OF_ALL: u32 = 1_000;

/// Datagrams of one address looked at in a second. A node that looks others up
/// sends a handful.
const OF_ADDRESS: u32 = 50;

const SECOND: Duration = Duration::from_secs(1);

/// Counts datagrams of the present second.
#[derive(Debug, Default)]
pub(super) struct Meter {
    since: Duration,
    all: u32,
    by_address: HashMap<IpAddr, u32>,
}

impl Meter {
    /// Whether to look at a datagram.
    pub(super) fn takes(&mut self, from: IpAddr, now: Duration) -> bool {
        if now.saturating_sub(self.since) >= SECOND {
            self.since = now;
            self.all = 0;
            self.by_address.clear();
        }
        if self.all >= OF_ALL {
            return false;
        }
        let of_address = self.by_address.entry(from).or_default();
        if *of_address >= OF_ADDRESS {
            return false;
        }
        *of_address += 1;
        self.all += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_from_one_address_leaves_room_for_others() {
        let mut meter = Meter::default();
        let [noisy, quiet] = [[1, 1, 1, 1], [2, 2, 2, 2]].map(IpAddr::from);
        let now = Duration::from_millis(100);
        let taken = (0..10_000).filter(|_| meter.takes(noisy, now)).count();
        assert_eq!(taken, 50);
        assert!(meter.takes(quiet, now));
        assert!(meter.takes(noisy, now + SECOND));
    }
}
