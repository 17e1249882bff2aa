//! How much is served at a time, to all and to one address.
//!
//! Always true:
//! - CARs under way, reads of the disk, and the bytes of answers that wait to be
//!   sent are bounded by constants, whoever asks and whoever left meanwhile.
//! - An address beyond this machine and its private networks has a part of the
//!   places, and the rate of bytes that a mailserver's clients have.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
use crate::api::shares::{Share, Shares};
use crate::blocks::MAX_BLOCK_READ;
use crate::limits::bounded::Bounded;
use crate::limits::settings::ADDRESS_SHARE;
use crate::limits::traffic::TRACKED;
use crate::limits::{Address, Limits, Meter, Rate};

/// CARs under way. Each holds up to four pieces of [`super::stream::PIECE`] bytes,
/// and a thread while it reads.
pub(in crate::api) const MAX_CARS: usize = 32;

/// CARs under way to one address: more at once gain an honest mirror nothing.
const MAX_CARS_OF_ADDRESS: usize = 8;

/// Reads of the disk under way for all but CARs: more at once read no faster, and
/// threads are left for sealing and for mail.
const MAX_READS: usize = 8;

/// Bytes of single blocks, and of other whole answers, that wait for their readers.
const MAX_UNSENT: usize = 64 << 20;

/// Those of them of one address beyond this machine and its private networks: who reads
/// slowly, or not at all, leaves room for others.
const MAX_UNSENT_OF_ADDRESS: usize = MAX_UNSENT / 4;

/// How long an answer waits for room: longer, and its reader does not take what it asked
/// for, or too many ask.
const ROOM_TIME: Duration = Duration::from_secs(20);

/// What is counted as one, in bytes.
const UNIT: usize = 1 << 10;

/// The places of one gateway.
#[derive(Debug)]
pub(super) struct Places {
    cars: Arc<Semaphore>,
    shares: Shares,
    reads: Arc<Semaphore>,
    unsent: Arc<Semaphore>,
    rooms: Mutex<Bounded<Address, OwnRoom>>,
    sent: Mutex<Bounded<Address, Meter>>,
    rate: Rate,
    exempt_local: bool,
}

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            cars: Arc::new(Semaphore::new(MAX_CARS)),
            shares: Shares::new(MAX_CARS_OF_ADDRESS, limits.exempt_local),
            reads: Arc::new(Semaphore::new(MAX_READS)),
            unsent: Arc::new(Semaphore::new(MAX_UNSENT / UNIT)),
            rooms: Mutex::new(Bounded::new(TRACKED)),
            sent: Mutex::new(Bounded::new(TRACKED)),
            rate: limits.answers().times(ADDRESS_SHARE),
            exempt_local: limits.exempt_local,
        }
    }

    /// A place for one more CAR.
    pub(super) fn car(&self, address: Option<Address>) -> Result<CarPlace, Refusal> {
        let share = match address.map(|address| self.shares.take(address)) {
            Some(None) => {
                let after = Duration::from_secs(1);
                return Err(Refusal::TooMuch { after });
            }
            Some(share) => share,
            None => None,
        };
        let place = Arc::clone(&self.cars).try_acquire_owned();
        let place = place.map_err(|_| Refusal::Busy)?;
        Ok(CarPlace {
            _share: share,
            _place: place,
        })
    }

    /// Does `work` where waiting for the disk is harmless, once it has a turn.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = Arc::clone(&self.reads).acquire_owned().await;
        let turn = turn.expect("nothing closes the semaphore");
        let reading = tokio::task::spawn_blocking(move || {
            // The turn lasts as long as the work, even if nobody waits for it: who
            // asks and hangs up, again and again, gets no more of the disk.
            let _turn = turn;
            work()
        });
        match reading.await {
            Ok(done) => Ok(done),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The daemon ends.
            Err(_) => Err(Refusal::Busy),
        }
    }

    /// Room for a block of any length; waits for [`ROOM_TIME`] until there is some: first
    /// for what `address` was not sent yet, then for that of all.
    pub(super) async fn block(&self, address: Option<Address>) -> Result<Room, Refusal> {
        let most = u32::try_from(MAX_BLOCK_READ.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let own = self.metered(address).map(|address| self.room_of(&address));
        let room = async {
            let own = match own {
                Some(own) => Some(own.acquire_many_owned(most).await),
                None => None,
            };
            let all = Arc::clone(&self.unsent).acquire_many_owned(most).await;
            let closed = "nothing closes the semaphore";
            Room {
                own: own.map(|own| own.expect(closed)),
                all: all.expect(closed),
            }
        };
        let room = tokio::time::timeout(ROOM_TIME, room).await;
        room.map_err(|_| Refusal::Busy)
    }

    /// The room of an address. One that is forgotten meanwhile begins with all of it.
    fn room_of(&self, address: &Address) -> Arc<Semaphore> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&rooms.entry(address).0)
    }

    /// Fails, saying how long to wait, where `address` was sent too much.
    pub(super) fn check(&self, address: Option<Address>) -> Result<(), Refusal> {
        let Some(address) = self.metered(address) else {
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
        let Some(address) = self.metered(address) else {
            return Duration::ZERO;
        };
        let mut meters = self.meters();
        let meter = meters.entry(&address);
        meter.charge(&self.rate, bytes as u64, Instant::now())
    }

    /// The address, if the rate holds for it.
    fn metered(&self, address: Option<Address>) -> Option<Address> {
        address.filter(|address| !(self.exempt_local && address.is_local()))
    }

    fn meters(&self) -> MutexGuard<'_, Bounded<Address, Meter>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A CAR under way; dropped, its place is free.
#[derive(Debug)]
pub(super) struct CarPlace {
    _share: Option<Share>,
    _place: OwnedSemaphorePermit,
}

/// Room for what one address was not sent yet.
#[derive(Debug)]
struct OwnRoom(Arc<Semaphore>);

impl Default for OwnRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_UNSENT_OF_ADDRESS / UNIT)))
    }
}

/// Room for an answer that waits to be sent.
#[derive(Debug)]
pub(super) struct Room {
    own: Option<OwnedSemaphorePermit>,
    all: OwnedSemaphorePermit,
}

impl Room {
    /// `bytes`, which take up room until the last of them is sent.
    pub(super) fn hold(mut self, bytes: Bytes) -> Bytes {
        let needed = bytes.len().div_ceil(UNIT);
        for permit in self.own.iter_mut().chain([&mut self.all]) {
            let spare = permit.num_permits().saturating_sub(needed);
            drop(permit.split(spare));
        }
        Bytes::from_owner(Held { bytes, _room: self })
    }
}

struct Held {
    bytes: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::num::NonZeroU32;

    use super::*;

    fn far() -> Option<Address> {
        let ip: IpAddr = "203.0.113.7".parse().unwrap();
        Some(ip.into())
    }

    #[test]
    fn an_address_cannot_hold_every_place() {
        let places = Places::new(&Limits::default());
        let held: Vec<_> = std::iter::from_fn(|| places.car(far()).ok()).collect();
        assert_eq!(held.len(), MAX_CARS_OF_ADDRESS);
        let refused = places.car(far()).unwrap_err();
        assert!(matches!(refused, Refusal::TooMuch { .. }));
        let others: Vec<_> = std::iter::from_fn(|| places.car(None).ok()).collect();
        assert_eq!(held.len() + others.len(), MAX_CARS);
        assert!(matches!(places.car(None), Err(Refusal::Busy)));
        drop(held);
        assert!(places.car(far()).is_ok());
    }

    #[test]
    fn who_was_sent_too_much_is_told_when_to_come_back() {
        let limits = Limits {
            answer_kib_per_second: NonZeroU32::MIN,
            ..Limits::default()
        };
        let places = Places::new(&limits);
        assert!(places.check(far()).is_ok());
        assert_eq!(places.charge(far(), 1 << 10), Duration::ZERO);
        assert!(places.charge(far(), 1 << 20) > Duration::from_secs(100));
        let refused = places.check(far()).unwrap_err();
        assert!(matches!(refused, Refusal::TooMuch { after } if after > Duration::from_secs(100)));
        let near: IpAddr = "127.0.0.1".parse().unwrap();
        let near = Some(near.into());
        assert_eq!(places.charge(near, 1 << 30), Duration::ZERO);
        assert!(places.check(near).is_ok());
    }

    #[tokio::test]
    async fn who_leaves_while_the_disk_is_read_frees_no_turn_before_it_was() {
        use std::sync::atomic::{AtomicUsize, Ordering};

        use futures_util::FutureExt;

        let places = Places::new(&Limits::default());
        let gate = Arc::new(std::sync::RwLock::new(()));
        let begun = Arc::new(AtomicUsize::new(0));
        let shut = gate.write().unwrap();
        for _ in 0..3 * MAX_READS {
            let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
            // Asked, and given up at once.
            let asked = places.read(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                drop(gate.read());
            });
            assert!(asked.now_or_never().is_none());
        }
        drop(shut);
        let all = u32::try_from(MAX_READS).unwrap();
        let _all = places.reads.acquire_many(all).await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), MAX_READS);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_of_what_it_asked_for_leaves_room_for_others() {
        let places = Places::new(&Limits::default());
        let mut held = Vec::new();
        while let Ok(room) = places.block(far()).await {
            held.push(room.hold(Bytes::from(vec![7; MAX_BLOCK_READ])));
        }
        let whole = |of: usize| of / UNIT / MAX_BLOCK_READ.div_ceil(UNIT);
        assert_eq!(held.len(), whole(MAX_UNSENT_OF_ADDRESS));
        let another: IpAddr = "203.0.114.9".parse().unwrap();
        assert!(places.block(Some(another.into())).await.is_ok());
        held.pop();
        assert!(places.block(far()).await.is_ok());
    }

    #[tokio::test]
    async fn room_is_free_again_once_the_last_byte_is_gone() {
        let places = Places::new(&Limits::default());
        let all = places.unsent.available_permits();
        let room = places.block(None).await.unwrap();
        let bytes = room.hold(Bytes::from(vec![7; 5_000]));
        assert_eq!(places.unsent.available_permits(), all - 5);
        let part = bytes.slice(4_000..);
        drop(bytes);
        assert_eq!(places.unsent.available_permits(), all - 5);
        drop(part);
        assert_eq!(places.unsent.available_permits(), all);
    }
}
