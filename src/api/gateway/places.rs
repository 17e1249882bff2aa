//! How much is served at a time, to all and to one address.
//!
//! Always true:
//! - CARs under way, and the bytes of blocks that wait to be sent, are bounded by
//!   constants, whoever asks.
//! - An address beyond this machine and its private networks has a part of the
//!   places, and the rate of bytes that a mailserver's clients have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
use crate::blocks::MAX_BLOCK_READ;
use crate::limits::bounded::Bounded;
use crate::limits::settings::ADDRESS_SHARE;
use crate::limits::traffic::TRACKED;
use crate::limits::{Address, Limits, Meter, Rate};

/// CARs under way. Each holds up to four pieces of [`super::stream::PIECE`] bytes
/// and one thread while it reads.
const MAX_CARS: usize = 32;

/// CARs under way to one address: more at once gain an honest mirror nothing.
const MAX_CARS_OF_ADDRESS: usize = 8;

/// Bytes of single blocks that wait for their readers.
const MAX_UNSENT: usize = 64 << 20;

/// What is counted as one, in bytes.
const UNIT: usize = 1 << 10;

/// The places of one gateway.
#[derive(Debug)]
pub(super) struct Places {
    cars: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<Address, usize>>>,
    unsent: Arc<Semaphore>,
    sent: Mutex<Bounded<Address, Meter>>,
    rate: Rate,
    exempt_local: bool,
}

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            cars: Arc::new(Semaphore::new(MAX_CARS)),
            by_address: Arc::default(),
            unsent: Arc::new(Semaphore::new(MAX_UNSENT / UNIT)),
            sent: Mutex::new(Bounded::new(TRACKED)),
            rate: limits.answers().times(ADDRESS_SHARE),
            exempt_local: limits.exempt_local,
        }
    }

    /// The address whose share of the places counts, if any does.
    fn counted(&self, address: Option<Address>) -> Option<Address> {
        address.filter(|address| !(self.exempt_local && address.is_local()))
    }

    /// A place for one more CAR.
    pub(super) fn car(&self, address: Option<Address>) -> Result<CarPlace, Refusal> {
        let place = Arc::clone(&self.cars).try_acquire_owned();
        let place = place.map_err(|_| Refusal::Busy)?;
        let address = self.counted(address);
        if let Some(address) = address {
            let mut cars = self.cars_by_address();
            let count = cars.entry(address).or_default();
            if *count >= MAX_CARS_OF_ADDRESS {
                let after = Duration::from_secs(1);
                return Err(Refusal::TooMuch { after });
            }
            *count += 1;
        }
        Ok(CarPlace {
            address,
            by_address: Arc::clone(&self.by_address),
            _place: place,
        })
    }

    /// Room for a block of any length; waits until there is some.
    pub(super) async fn block(&self) -> Room {
        let most = u32::try_from(MAX_BLOCK_READ.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.unsent).acquire_many_owned(most);
        Room(room.await.expect("nothing closes the semaphore"))
    }

    /// Fails, saying how long to wait, where `address` was sent too much.
    pub(super) fn check(&self, address: Option<Address>) -> Result<(), Refusal> {
        let Some(address) = self.counted(address) else {
            return Ok(());
        };
        let owed = self
            .meters()
            .entry(&address)
            .owed(&self.rate, Instant::now());
        match owed {
            Duration::ZERO => Ok(()),
            after => Err(Refusal::TooMuch { after }),
        }
    }

    /// `address` was sent `bytes`. Says how long to wait before sending it more.
    pub(super) fn charge(&self, address: Option<Address>, bytes: usize) -> Duration {
        let Some(address) = self.counted(address) else {
            return Duration::ZERO;
        };
        let mut meters = self.meters();
        let meter = meters.entry(&address);
        meter.charge(&self.rate, bytes as u64, Instant::now())
    }

    fn meters(&self) -> MutexGuard<'_, Bounded<Address, Meter>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cars_by_address(&self) -> MutexGuard<'_, HashMap<Address, usize>> {
        self.by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A CAR under way; dropped, its place is free.
#[derive(Debug)]
pub(super) struct CarPlace {
    address: Option<Address>,
    by_address: Arc<Mutex<HashMap<Address, usize>>>,
    _place: OwnedSemaphorePermit,
}

impl Drop for CarPlace {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut cars = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = cars.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                cars.remove(&address);
            }
        }
    }
}

/// Room for a block that waits to be sent.
#[derive(Debug)]
pub(super) struct Room(OwnedSemaphorePermit);

impl Room {
    /// `bytes`, which take up room until the last of them is sent.
    pub(super) fn hold(mut self, bytes: Bytes) -> Bytes {
        let spare = self
            .0
            .num_permits()
            .saturating_sub(bytes.len().div_ceil(UNIT));
        drop(self.0.split(spare));
        Bytes::from_owner(Held {
            bytes,
            _room: self.0,
        })
    }
}

struct Held {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
