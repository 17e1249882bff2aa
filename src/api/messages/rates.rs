//! How often messages may be posted.
//!
//! Always true: a post is counted before anything of it is read, and one that is
//! turned away costs nothing more.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use crate::api::failure::Failure;
use crate::limits::bounded::Bounded;
use crate::limits::traffic::TRACKED;
use crate::limits::{Address, Meter, Rate};

/// Posts a second under the token, whoever sends them: each that comes with its work
/// done costs a write that is made durable.
pub(in crate::api) const OF_TOKEN: u64 = 50;

/// How many of them may come at once.
const BURST_OF_TOKEN: u64 = 200;

/// Posts a second from an address beyond this machine and its private networks: a
/// token that leaked floods no network.
pub(in crate::api) const OF_ADDRESS: u64 = 5;

/// How many of them may come at once.
const BURST_OF_ADDRESS: u64 = 50;

/// Who posted how much.
#[derive(Debug)]
pub(in crate::api) struct Rates {
    meters: Mutex<Meters>,
    exempt_local: bool,
}

#[derive(Debug)]
struct Meters {
    all: Meter,
    addresses: Bounded<Address, Meter>,
}

impl Rates {
    /// Nobody posted anything. Addresses of this machine and its private networks have
    /// no rate of their own, if `exempt_local`.
    pub(in crate::api) fn new(exempt_local: bool) -> Self {
        Self {
            meters: Mutex::new(Meters {
                all: Meter::default(),
                addresses: Bounded::new(TRACKED),
            }),
            exempt_local,
        }
    }

    /// One more post from `address`.
    pub(super) fn take(&self, address: Option<Address>) -> Result<(), Failure> {
        self.take_at(address, Instant::now()).map_err(|after| {
            let told = "more messages than are posted in that time";
            Failure::new(StatusCode::TOO_MANY_REQUESTS, told).after(after)
        })
    }

    fn take_at(&self, address: Option<Address>, now: Instant) -> Result<(), Duration> {
        let of_all = Rate::new(OF_TOKEN, Duration::from_secs(1), BURST_OF_TOKEN);
        let of_address = Rate::new(OF_ADDRESS, Duration::from_secs(1), BURST_OF_ADDRESS);
        let metered = address.filter(|address| !(self.exempt_local && address.is_local()));
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        // Where one of the two has enough, neither is charged.
        meters.all.fits(&of_all, 1, now)?;
        if let Some(address) = metered {
            let meter = meters.addresses.entry(&address);
            meter.take(&of_address, 1, now)?;
        }
        meters.all.charge(&of_all, 1, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<Address> {
        let ip: std::net::IpAddr = text.parse().unwrap();
        Some(ip.into())
    }

    #[test]
    fn an_address_has_its_rate_and_the_token_has_one_for_all() {
        let rates = Rates::new(true);
        let now = Instant::now();
        let far = address("203.0.113.7");
        for _ in 0..BURST_OF_ADDRESS {
            rates.take_at(far, now).unwrap();
        }
        assert!(rates.take_at(far, now).is_err());
        assert!(rates.take_at(address("203.0.113.8"), now).is_ok());
        for _ in BURST_OF_ADDRESS + 1..BURST_OF_TOKEN {
            rates.take_at(address("127.0.0.1"), now).unwrap();
        }
        let after = rates.take_at(address("127.0.0.1"), now).unwrap_err();
        assert!(rates.take_at(None, now + after).is_ok());
    }

    #[test]
    fn this_machine_has_a_rate_where_it_is_to_have_one() {
        let rates = Rates::new(false);
        let now = Instant::now();
        let near = address("127.0.0.1");
        let taken = (0..BURST_OF_TOKEN).filter(|_| rates.take_at(near, now).is_ok());
        assert_eq!(taken.count() as u64, BURST_OF_ADDRESS);
    }
}
