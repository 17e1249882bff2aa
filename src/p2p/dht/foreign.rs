//! What others provide, as a server of the DHT keeps it for them.
//!
//! Always true: of at most [`MAX_FOREIGN`] keys, beside the room for what is provided
//! here.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use libp2p::kad::store::{MemoryStore, RecordStore};
use libp2p::kad::{ProviderRecord, RecordKey};

/// Keys that others provide, at most: with [`MAX_PROVIDERS`] of
/// [`MAX_ADDRESSES`] each they take up some 20 MiB.
pub(super) const MAX_FOREIGN: usize = 1_024;

/// Providers of a key that are kept, at most: as many as are asked in a walk.
pub const MAX_PROVIDERS: usize = 20;

/// Addresses of a provider that are kept, the first ones.
const MAX_ADDRESSES: usize = 8;

/// Bytes of an address that is kept, at most: an IP address, a port, and a name of
/// some length.
const MAX_ADDRESS: usize = 64;

/// How soon again what ran out is looked for, where there is no room.
const SWEEP: Duration = Duration::from_secs(60);

/// It.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    keys: HashSet<RecordKey>,
    /// When those that ran out were last looked for.
    swept: Option<Instant>,
}

impl Foreign {
    /// Makes room, now and then: going through all of them is work.
    fn forget_the_expired(&mut self, store: &mut MemoryStore, now: Instant) {
        let is_soon = self.swept.is_some_and(|swept| now < swept + SWEEP);
        if is_soon {
            return;
        }
        self.swept = Some(now);
        self.keys.retain(|key| {
            let providers = store.providers(key);
            let (old, kept): (Vec<_>, Vec<_>) =
                providers.into_iter().partition(|one| one.is_expired(now));
            for one in old {
                store.remove_provider(key, &one.provider);
            }
            !kept.is_empty()
        });
    }

    /// Keeps who provides a key, where there is room.
    pub(super) fn keep(&mut self, store: &mut MemoryStore, mut record: ProviderRecord) {
        if !self.keys.contains(&record.key) {
            if self.keys.len() >= MAX_FOREIGN {
                self.forget_the_expired(store, Instant::now());
            }
            if self.keys.len() >= MAX_FOREIGN {
                tracing::debug!("others provide more than is kept for them");
                return;
            }
        }
        record.addresses.retain(|at| at.len() <= MAX_ADDRESS);
        record.addresses.truncate(MAX_ADDRESSES);
        let key = record.key.clone();
        match store.add_provider(record) {
            Ok(()) => {
                self.keys.insert(key);
            }
            Err(error) => tracing::warn!(%error, "the store of the DHT is full"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::announcements::MAX_ANNOUNCED;
    use super::super::{DhtConfig, DhtMode};
    use super::*;
    use libp2p::PeerId;

    fn server() -> DhtConfig {
        DhtConfig {
            bootstrap: Vec::new(),
            mode: DhtMode::Server,
        }
    }

    #[test]
    fn others_leave_room_for_what_is_provided_here() {
        let us = PeerId::random();
        let mut kad = server().behaviour(us);
        let mut foreign = Foreign::default();
        let stranger = PeerId::random();
        let long = format!("/dns4/{}/tcp/1", "a".repeat(100)).parse().unwrap();
        let addresses = std::iter::once(long)
            .chain((1..100).map(|port| format!("/ip4/1.1.1.1/tcp/{port}").parse().unwrap()));
        let addresses: Vec<_> = addresses.collect();
        for n in 0..3 * MAX_FOREIGN {
            let key = RecordKey::new(&n.to_be_bytes());
            let record = ProviderRecord::new(key, stranger, addresses.clone());
            foreign.keep(kad.store_mut(), record);
        }
        assert_eq!(foreign.keys.len(), MAX_FOREIGN);
        assert!(
            kad.store_mut()
                .providers(&RecordKey::new(&MAX_FOREIGN.to_be_bytes()))
                .is_empty()
        );
        let kept = kad
            .store_mut()
            .providers(&RecordKey::new(&0_usize.to_be_bytes()));
        assert_eq!(kept[0].addresses, addresses[1..=MAX_ADDRESSES]);
        for n in 0..MAX_ANNOUNCED {
            let key = RecordKey::new(&format!("ours {n}"));
            let ours = ProviderRecord::new(key, us, Vec::new());
            assert!(kad.store_mut().add_provider(ours).is_ok());
        }
    }

    #[test]
    fn what_ran_out_makes_room() {
        let mut kad = server().behaviour(PeerId::random());
        let mut foreign = Foreign::default();
        let now = Instant::now();
        for n in 0..=MAX_FOREIGN {
            let key = RecordKey::new(&n.to_be_bytes());
            let mut record = ProviderRecord::new(key, PeerId::random(), Vec::new());
            record.expires = Some(now);
            foreign.keep(kad.store_mut(), record);
        }
        // The last one came when all others had run out.
        assert_eq!(foreign.keys.len(), 1);
    }
}
