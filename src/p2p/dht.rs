//! The DHT: what is announced there, and who has what.
//!
//! Always true:
//! - Nothing waits for it, and nothing depends on it: whoever knows an address needs
//!   no DHT.
//! - What is announced is heads, states and the roots of buckets: whoever has one of
//!   them asks the same peer for what lies below.
//! - At most [`AT_ONCE`] announcements are under way.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libp2p::kad::store::{MemoryStore, MemoryStoreConfig, RecordStore};
use libp2p::kad::{
    Behaviour, Config, Event, GetProvidersOk, GetRecordOk, Mode, QueryId, QueryResult, RecordKey,
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
        let is_private = |one: &PeerAddress| address_of(&one.at).is_some_and(|at| at.is_local());
        if self.bootstrap.iter().all(is_private) {
            PRIVATE
        } else {
            PUBLIC
        }
    }

    pub(super) fn behaviour(&self, id: PeerId) -> Behaviour<MemoryStore> {
        let store = MemoryStore::with_config(
            id,
            MemoryStoreConfig {
                max_provided_keys: MAX_ANNOUNCED,
                ..MemoryStoreConfig::default()
            },
        );
        let mut config = Config::new(self.protocol());
        config
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
                Err(error) => tracing::debug!(%error, "not announced"),
            }
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
