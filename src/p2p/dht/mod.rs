//! The DHT: what is announced there, and who has what.
//!
//! Always true:
//! - Nothing waits for it, and nothing depends on it: whoever knows an address needs
//!   no DHT.
//! - What is announced is heads, states and the roots of buckets: whoever has one of
//!   them asks the same peer for what lies below.
//! - Announced is what a node of the DHT was told of that had answered just before;
//!   there is no receipt for it. Nothing is announced as long as none answers, or where
//!   nobody could dial the addresses that would be told.
//! - Values of others are not kept, and of what they provide not more than `foreign`
//!   says.
//! - Whoever walks hears of each provider once, and how the walk ended.

mod announcements;
mod contact;
mod foreign;
mod walk;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::core::Multiaddr;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig, RecordStore};
use libp2p::kad::{
    Behaviour, Config, Event, GetProvidersOk, GetRecordError, GetRecordOk, InboundRequest, Mode,
    QueryId, QueryResult, RecordKey, StoreInserts,
};
use libp2p::multiaddr::Protocol;
use libp2p::{PeerId, StreamProtocol};
use serde::{Deserialize, Serialize};

use self::announcements::{Announcements, MAX_ANNOUNCED};
use self::contact::Contact;
pub(super) use self::foreign::MAX_PROVIDERS;
use self::foreign::{Foreign, MAX_FOREIGN};
pub(super) use self::walk::{Asker, Ended, MAX_FOUND, Walk};
use super::address::PeerAddress;
use super::doors::address_of;
use crate::blocks::Cid;
use crate::sources::net::guard::is_public;

/// The DHT of everybody.
const PUBLIC: StreamProtocol = StreamProtocol::new("/ipfs/kad/1.0.0");

/// The DHT of one's own network: the one that nodes with private addresses keep.
const PRIVATE: StreamProtocol = StreamProtocol::new("/ipfs/lan/kad/1.0.0");

/// How long a walk through the DHT may take.
pub(super) const WALK: Duration = Duration::from_secs(60);

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
            // What is to be told again is known here, and whether anybody was told.
            .set_provider_publication_interval(None);
        let mut kad = Behaviour::with_config(id, store, config);
        kad.set_mode(Some(match self.mode {
            DhtMode::Client => Mode::Client,
            DhtMode::Server => Mode::Server,
        }));
        self.know_the_first(&mut kad);
        kad
    }

    /// Who is asked first is known by all addresses that were named.
    fn know_the_first(&self, kad: &mut Behaviour<MemoryStore>) {
        for one in &self.bootstrap {
            kad.add_address(&one.peer, one.at.clone());
        }
    }

    /// Whether an address leads anybody in this DHT anywhere: private ones only those
    /// in the same network.
    pub(super) fn is_worth_telling(&self, address: &Multiaddr) -> bool {
        let ip = match address.iter().next() {
            Some(Protocol::Ip4(ip)) => ip.into(),
            Some(Protocol::Ip6(ip)) => ip.into(),
            named => return named.is_some(),
        };
        self.is_private() || is_public(ip)
    }
}

/// What a DHT is to do.
pub(super) enum Errand {
    /// Tell of these blocks, the first ones first, instead of those before.
    Announce(Vec<Cid>),
    /// Tell of peers that have a block.
    Find(Cid, Asker<PeerId>),
    /// Tell of what others have under a key.
    Value(Vec<u8>, Asker<Vec<u8>>),
}

/// How a node stands in the DHT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DhtStanding {
    /// Whether a node of the DHT answered when one was last asked.
    pub reached: bool,
    /// Whether others could dial what they are told; where not, nothing is announced.
    pub dialable: bool,
    /// Blocks that are to be announced: the head, its state, and roots.
    pub roots: usize,
    /// How many of them nodes of the DHT were told of, less than 22 hours ago.
    pub announced: usize,
}

/// What is under way.
pub(super) struct Dht {
    config: DhtConfig,
    contact: Contact,
    announcements: Announcements,
    announcing: HashMap<QueryId, RecordKey>,
    /// Whether others could dial what they would be told.
    is_dialable: bool,
    finding: HashMap<QueryId, Asker<PeerId>>,
    values: HashMap<QueryId, Asker<Vec<u8>>>,
    foreign: Foreign,
}

impl Dht {
    pub(super) fn new(config: DhtConfig) -> Self {
        Self {
            config,
            contact: Contact::default(),
            announcements: Announcements::default(),
            announcing: HashMap::new(),
            is_dialable: false,
            finding: HashMap::new(),
            values: HashMap::new(),
            foreign: Foreign::default(),
        }
    }

    /// The DHT that it is.
    pub(super) fn config(&self) -> &DhtConfig {
        &self.config
    }

    /// How it stands.
    pub(super) fn standing(&self) -> DhtStanding {
        DhtStanding {
            reached: self.contact.is_there(),
            dialable: self.is_dialable,
            roots: self.announcements.wanted(),
            announced: self.announcements.told(),
        }
    }

    /// Makes itself known to who is asked first, and looks for others.
    pub(super) fn begin(&self, kad: &mut Behaviour<MemoryStore>) {
        // Addresses that failed were forgotten.
        self.config.know_the_first(kad);
        if !self.config.bootstrap.is_empty() && kad.bootstrap().is_err() {
            tracing::warn!("the DHT cannot be asked: nobody there is known");
        }
    }

    /// Others can dial this node by what they are told, or cannot.
    pub(super) fn set_dialable(&mut self, kad: &mut Behaviour<MemoryStore>, is_dialable: bool) {
        self.is_dialable = is_dialable;
        self.go_on(kad);
    }

    /// Begins with an errand.
    pub(super) fn run(&mut self, kad: &mut Behaviour<MemoryStore>, errand: Errand) {
        match errand {
            Errand::Announce(cids) => self.announce(kad, &cids),
            Errand::Find(cid, asker) => {
                let query = kad.get_providers(key_of(&cid));
                self.finding.insert(query, asker);
            }
            Errand::Value(key, asker) => {
                let query = kad.get_record(RecordKey::new(&key));
                self.values.insert(query, asker);
            }
        }
    }

    /// Announces these, the first ones first, and what was announced before no more.
    fn announce(&mut self, kad: &mut Behaviour<MemoryStore>, cids: &[Cid]) {
        self.announcements.replace(cids.iter().map(key_of));
        let provided = kad.store_mut().provided();
        let provided: Vec<RecordKey> = provided.map(|record| record.key.clone()).collect();
        for key in provided {
            if !self.announcements.wants(&key) {
                kad.stop_providing(&key);
            }
        }
        self.go_on(kad);
    }

    fn go_on(&mut self, kad: &mut Behaviour<MemoryStore>) {
        while self.contact.is_there()
            && self.is_dialable
            && let Some(key) = self.announcements.next()
        {
            match kad.start_providing(key.clone()) {
                Ok(query) => {
                    self.announcing.insert(query, key);
                }
                Err(error) => {
                    tracing::warn!(%error, "BUG: there is room for what is announced");
                    return;
                }
            }
        }
    }

    /// When it is to be called again by [`Self::on_time`], if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.contact.deadline(), self.announcements.deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Does what is due.
    pub(super) fn on_time(&mut self, kad: &mut Behaviour<MemoryStore>, now: Instant) {
        if self.contact.is_due(now) {
            self.begin(kad);
        }
        self.announcements.grow_old(now);
        self.go_on(kad);
    }

    /// Takes note of what happened.
    pub(super) fn on_event(
        &mut self,
        kad: &mut Behaviour<MemoryStore>,
        event: Event,
        now: Instant,
    ) {
        match event {
            // Values are not kept.
            Event::InboundRequest {
                request:
                    InboundRequest::AddProvider {
                        record: Some(record),
                    },
            } => self.foreign.keep(kad.store_mut(), record),
            Event::OutboundQueryProgressed {
                id,
                result,
                step,
                stats,
            } => {
                let has_answer = stats.num_successes() > 0;
                if has_answer {
                    self.contact.answered();
                } else if step.last {
                    self.contact.was_silent(now);
                }
                let ended = Ended::of(has_answer, is_late(&result));
                self.on_progress(id, result, ended, now);
                if step.last {
                    if let Some(asker) = self.finding.remove(&id) {
                        asker.end(ended);
                    }
                    if let Some(asker) = self.values.remove(&id) {
                        asker.end(ended);
                    }
                }
            }
            _ => {}
        }
        self.go_on(kad);
    }

    fn on_progress(&mut self, id: QueryId, result: QueryResult, ended: Ended, now: Instant) {
        match result {
            QueryResult::StartProviding(_) => {
                let Some(key) = self.announcing.remove(&id) else {
                    return;
                };
                match ended {
                    Ended::Whole | Ended::Crowded => self.announcements.was_told(key, now),
                    Ended::Late | Ended::Alone => {
                        tracing::debug!("nobody was told of a block");
                        self.announcements.was_not_told(key);
                    }
                }
            }
            QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) => {
                if let Some(asker) = self.finding.get_mut(&id) {
                    providers.into_iter().for_each(|peer| asker.found(peer));
                }
            }
            QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => {
                if let Some(asker) = self.values.get_mut(&id) {
                    asker.found(found.record.value);
                }
            }
            _ => {}
        }
    }
}

/// Whether a query ended before all was asked.
fn is_late(result: &QueryResult) -> bool {
    match result {
        QueryResult::StartProviding(result) => result.is_err(),
        QueryResult::GetProviders(result) => result.is_err(),
        QueryResult::GetRecord(result) => matches!(result, Err(GetRecordError::Timeout { .. })),
        _ => false,
    }
}

/// What the DHT knows a block by.
fn key_of(cid: &Cid) -> RecordKey {
    RecordKey::new(&cid.hash().to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOMEBODY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn asked_first(at: &str) -> DhtConfig {
        DhtConfig {
            bootstrap: vec![format!("{at}/p2p/{SOMEBODY}").parse().unwrap()],
            mode: DhtMode::Client,
        }
    }

    #[test]
    fn private_addresses_are_told_in_the_own_network_alone() {
        let private = asked_first("/ip4/192.168.1.7/tcp/4001");
        let public = asked_first("/ip4/1.1.1.1/tcp/4001");
        let tells = |dht: &DhtConfig, at: &str| dht.is_worth_telling(&at.parse().unwrap());
        for at in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.0.0.1/tcp/1",
            "/ip6/::1/tcp/1",
        ] {
            assert!(tells(&private, at) && !tells(&public, at), "{at}");
        }
        for at in ["/ip4/1.1.1.1/tcp/1", "/dns4/archive.example/tcp/1"] {
            assert!(tells(&private, at) && tells(&public, at), "{at}");
        }
    }

    #[test]
    fn nothing_is_announced_before_somebody_answers_and_can_dial() {
        let config = asked_first("/ip4/127.0.0.1/tcp/1");
        let mut kad = config.behaviour(PeerId::random());
        let mut dht = Dht::new(config);
        let cid = *crate::blocks::Block::new(crate::blocks::Codec::Raw, vec![1]).cid();
        dht.run(&mut kad, Errand::Announce(vec![cid]));
        assert!(dht.announcing.is_empty(), "nobody answered");
        dht.contact.answered();
        dht.go_on(&mut kad);
        assert!(dht.announcing.is_empty(), "nobody could dial");
        dht.set_dialable(&mut kad, true);
        assert_eq!(dht.announcing.len(), 1);
        let standing = DhtStanding {
            reached: true,
            dialable: true,
            roots: 1,
            announced: 0,
        };
        assert_eq!(dht.standing(), standing);
    }
}
