//! The DHT: what is announced there, and who has what.
//!
//! Always true:
//! - Nothing waits for it, and nothing depends on it: whoever knows an address needs
//!   no DHT.
//! - What is announced is heads, states and the roots of buckets: whoever has one of
//!   them asks the same peer for what lies below.
//! - Values of others are not kept, and of what they provide at most
//!   [`MAX_FOREIGN`] keys, beside the room for what is provided here.
//! - At most [`AT_ONCE`] announcements are under way.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libp2p::kad::store::{MemoryStore, MemoryStoreConfig, RecordStore};
use libp2p::kad::{
    Behaviour, Config, Event, GetProvidersOk, GetRecordOk, InboundRequest, Mode, ProviderRecord,
    QueryId, QueryResult, RecordKey, StoreInserts,
};
use libp2p::{PeerId, StreamProtocol};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::address::PeerAddress;
use super::doors::address_of;
use crate::blocks::Cid;

/// The DHT of everybody.
const PUBLIC: StreamProtocol = StreamProtocol::new("/ipfs/kad/1.0.0");

/// The DHT of one's own network: the one that nodes with private addresses keep.
const PRIVATE: StreamProtocol = StreamProtocol::new("/ipfs/lan/kad/1.0.0");

/// How often what is announced is announced again. Others forget it after 48 hours.
const AGAIN: Duration = Duration::from_secs(22 * 3_600);

/// Announcements under way. Each asks some twenty peers.
const AT_ONCE: usize = 4;

/// Announced at most: the days of twenty years. The newest come first.
const MAX_ANNOUNCED: usize = 8_192;

/// Keys that others provide, at most: with [`MAX_PROVIDERS`] of
/// [`MAX_ADDRESSES`] each they take up some 20 MiB.
const MAX_FOREIGN: usize = 1_024;

/// Providers of a key that are kept, at most: as many as are asked in a walk.
const MAX_PROVIDERS: usize = 20;

/// Addresses of a provider that are kept, the first ones.
const MAX_ADDRESSES: usize = 8;

/// Bytes of an address that is kept, at most: an IP address, a port, and a name of
/// some length.
const MAX_ADDRESS: usize = 64;

/// How soon again what ran out is looked for, where there is no room.
const SWEEP: Duration = Duration::from_secs(60);

/// How long a walk through the DHT may take.
const WALK: Duration = Duration::from_secs(60);

/// Whether a node also answers for the DHT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DhtMode {
    /// It asks, and keeps nothing for others.
    #[default]
    Client,
    /// It answers too: for nodes that others reach.
    Server,
}

impl std::str::FromStr for DhtMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "client" => Ok(Self::Client),
            "server" => Ok(Self::Server),
            other => Err(format!("`{other}` is neither client nor server")),
        }
    }
}

/// The DHT that a node takes part in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhtConfig {
    /// Who is asked first.
    pub bootstrap: Vec<PeerAddress>,
    /// Whether it answers too.
    pub mode: DhtMode,
}

impl DhtConfig {
    /// Which DHT it is: that of the own network where all who are asked first are
    /// there.
    fn protocol(&self) -> StreamProtocol {
        if self.is_private() { PRIVATE } else { PUBLIC }
    }

    /// Whether it is that of the own network.
    pub(super) fn is_private(&self) -> bool {
        let is_private = |one: &PeerAddress| address_of(&one.at).is_some_and(|at| at.is_local());
        self.bootstrap.iter().all(is_private)
    }

    pub(super) fn behaviour(&self, id: PeerId) -> Behaviour<MemoryStore> {
        let store = MemoryStore::with_config(
            id,
            MemoryStoreConfig {
                max_provided_keys: MAX_ANNOUNCED + MAX_FOREIGN,
                max_providers_per_key: MAX_PROVIDERS,
                ..MemoryStoreConfig::default()
            },
        );
        let mut config = Config::new(self.protocol());
        config
            .set_record_filtering(StoreInserts::FilterBoth)
            .set_query_timeout(WALK)
            .set_provider_publication_interval(Some(AGAIN));
        let mut kad = Behaviour::with_config(id, store, config);
        kad.set_mode(Some(match self.mode {
            DhtMode::Client => Mode::Client,
            DhtMode::Server => Mode::Server,
        }));
        for one in &self.bootstrap {
            kad.add_address(&one.peer, one.at.clone());
        }
        kad
    }
}

/// What a DHT is to do.
pub(super) enum Errand {
    /// Tell of these blocks, the first ones first, instead of those before.
    Announce(Vec<Cid>),
    /// Tell of peers that have a block.
    Find(Cid, mpsc::Sender<PeerId>),
    /// Tell of what others have under a key.
    Value(Vec<u8>, mpsc::Sender<Vec<u8>>),
}

/// What is under way.
pub(super) struct Dht {
    config: DhtConfig,
    /// To be announced, once somebody is there to be told.
    queue: VecDeque<RecordKey>,
    announcing: HashSet<QueryId>,
    finding: HashMap<QueryId, mpsc::Sender<PeerId>>,
    values: HashMap<QueryId, mpsc::Sender<Vec<u8>>>,
    is_reached: bool,
    /// Keys that others provide.
    foreign: HashSet<RecordKey>,
    /// When those that ran out were last looked for.
    swept: Option<Instant>,
}

impl Dht {
    pub(super) fn new(config: DhtConfig) -> Self {
        Self {
            config,
            queue: VecDeque::new(),
            announcing: HashSet::new(),
            finding: HashMap::new(),
            values: HashMap::new(),
            is_reached: false,
            foreign: HashSet::new(),
            swept: None,
        }
    }

    /// Makes itself known to who is asked first.
    pub(super) fn begin(&self, kad: &mut Behaviour<MemoryStore>) {
        if !self.config.bootstrap.is_empty() && kad.bootstrap().is_err() {
            tracing::warn!("the DHT cannot be asked: nobody there is known");
        }
    }

    /// Begins with an errand.
    pub(super) fn run(&mut self, kad: &mut Behaviour<MemoryStore>, errand: Errand) {
        match errand {
            Errand::Announce(cids) => self.announce(kad, &cids),
            Errand::Find(cid, found) => {
                let query = kad.get_providers(key_of(&cid));
                self.finding.insert(query, found);
            }
            Errand::Value(key, found) => {
                let query = kad.get_record(RecordKey::new(&key));
                self.values.insert(query, found);
            }
        }
    }

    /// Announces these, the first ones first, and what was announced before no more.
    fn announce(&mut self, kad: &mut Behaviour<MemoryStore>, cids: &[Cid]) {
        let keys: Vec<RecordKey> = cids.iter().take(MAX_ANNOUNCED).map(key_of).collect();
        let wanted: HashSet<&RecordKey> = keys.iter().collect();
        let provided: Vec<RecordKey> = kad
            .store_mut()
            .provided()
            .map(|record| record.key.clone())
            .collect();
        for key in &provided {
            if !wanted.contains(key) {
                kad.stop_providing(key);
            }
        }
        let provided: HashSet<RecordKey> = provided.into_iter().collect();
        self.queue = keys
            .into_iter()
            .filter(|key| !provided.contains(key))
            .collect();
        self.go_on(kad);
    }

    fn go_on(&mut self, kad: &mut Behaviour<MemoryStore>) {
        while self.is_reached
            && self.announcing.len() < AT_ONCE
            && let Some(key) = self.queue.pop_front()
        {
            match kad.start_providing(key) {
                Ok(query) => {
                    self.announcing.insert(query);
                }
                Err(error) => tracing::warn!(%error, "not announced to the DHT"),
            }
        }
    }

    /// Makes room for others, now and then: going through all of them is work.
    fn forget_the_expired(&mut self, store: &mut MemoryStore, now: Instant) {
        let is_soon = self.swept.is_some_and(|swept| now < swept + SWEEP);
        if is_soon {
            return;
        }
        self.swept = Some(now);
        self.foreign.retain(|key| {
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
    fn keep(&mut self, store: &mut MemoryStore, mut record: ProviderRecord) {
        if !self.foreign.contains(&record.key) {
            if self.foreign.len() >= MAX_FOREIGN {
                self.forget_the_expired(store, Instant::now());
            }
            if self.foreign.len() >= MAX_FOREIGN {
                tracing::debug!("others provide more than is kept for them");
                return;
            }
        }
        record.addresses.retain(|at| at.len() <= MAX_ADDRESS);
        record.addresses.truncate(MAX_ADDRESSES);
        let key = record.key.clone();
        match store.add_provider(record) {
            Ok(()) => {
                self.foreign.insert(key);
            }
            Err(error) => tracing::warn!(%error, "the store of the DHT is full"),
        }
    }

    /// Takes note of what happened; gives peers that are to be dialled.
    pub(super) fn on_event(
        &mut self,
        kad: &mut Behaviour<MemoryStore>,
        event: Event,
        announced: &AtomicU64,
    ) -> Vec<PeerId> {
        let mut providers = Vec::new();
        match event {
            Event::RoutingUpdated { .. } if !self.is_reached => self.is_reached = true,
            // Values are not kept.
            Event::InboundRequest {
                request:
                    InboundRequest::AddProvider {
                        record: Some(record),
                    },
            } => self.keep(kad.store_mut(), record),
            Event::OutboundQueryProgressed {
                id, result, step, ..
            } => {
                match result {
                    QueryResult::StartProviding(Ok(_)) if self.announcing.remove(&id) => {
                        announced.fetch_add(1, Ordering::Relaxed);
                    }
                    QueryResult::StartProviding(Err(error)) => {
                        self.announcing.remove(&id);
                        tracing::debug!(%error, "nobody took note of an announcement");
                    }
                    QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders {
                        providers: found,
                        ..
                    })) => {
                        if let Some(to) = self.finding.get(&id) {
                            for peer in found {
                                if to.try_send(peer).is_ok() {
                                    providers.push(peer);
                                }
                            }
                        }
                    }
                    // More than are waited for are as good as none.
                    QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => {
                        if let Some(to) = self.values.get(&id) {
                            let _ = to.try_send(found.record.value);
                        }
                    }
                    _ => {}
                }
                if step.last {
                    self.finding.remove(&id);
                    self.values.remove(&id);
                }
            }
            _ => {}
        }
        self.go_on(kad);
        providers
    }
}

/// What the DHT knows a block by.
fn key_of(cid: &Cid) -> RecordKey {
    RecordKey::new(&cid.hash().to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_leave_room_for_what_is_provided_here() {
        let config = DhtConfig {
            bootstrap: Vec::new(),
            mode: DhtMode::Server,
        };
        let us = PeerId::random();
        let mut kad = config.behaviour(us);
        let mut dht = Dht::new(config);
        let stranger = PeerId::random();
        let long = format!("/dns4/{}/tcp/1", "a".repeat(100)).parse().unwrap();
        let addresses = std::iter::once(long)
            .chain((1..100).map(|port| format!("/ip4/1.1.1.1/tcp/{port}").parse().unwrap()));
        let addresses: Vec<_> = addresses.collect();
        for n in 0..3 * MAX_FOREIGN {
            let key = RecordKey::new(&n.to_be_bytes());
            let record = ProviderRecord::new(key, stranger, addresses.clone());
            dht.keep(kad.store_mut(), record);
        }
        assert_eq!(dht.foreign.len(), MAX_FOREIGN);
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
        let config = DhtConfig {
            bootstrap: Vec::new(),
            mode: DhtMode::Server,
        };
        let mut kad = config.behaviour(PeerId::random());
        let mut dht = Dht::new(config);
        let now = Instant::now();
        for n in 0..=MAX_FOREIGN {
            let key = RecordKey::new(&n.to_be_bytes());
            let mut record = ProviderRecord::new(key, PeerId::random(), Vec::new());
            record.expires = Some(now);
            dht.keep(kad.store_mut(), record);
        }
        // The last one came when all others had run out.
        assert_eq!(dht.foreign.len(), 1);
    }
}
