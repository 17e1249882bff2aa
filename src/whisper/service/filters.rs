//! Which envelopes somebody here waits for, and what they say.
//!
//! Always true:
//! - A filter gets an envelope at most once until it is asked for what it has.
//! - What was sent to this node alone reaches only filters that allow it.
//! - An envelope is tried only against filters of its topic, and those of every
//!   topic.
//! - A filter that nobody asks holds a bounded number of messages and bytes; the
//!   oldest go first.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use secp256k1::{PublicKey, SecretKey};

use crate::time::{Ttl, UnixSeconds};
use crate::whisper::keys::SymKey;
use crate::whisper::message::Opened;
use crate::whisper::service::Id;
use crate::whisper::{Envelope, EnvelopeHash, Pow, Topic, Work};

/// Filters that may exist. Each envelope of a node that wants everything is
/// tried against those without topics: 40 microseconds a piece at worst.
pub const MAX_FILTERS: usize = 5_000;

/// Topics of one filter.
pub const MAX_TOPICS: usize = 1_000;

/// Messages that one filter holds.
pub const MAX_HELD: usize = 10_000;

/// Bytes of payload and padding that one filter holds.
pub const MAX_HELD_BYTES: usize = 16 << 20;

/// How a filter opens envelopes.
#[derive(Clone)]
pub enum ReadingKey {
    /// They are encrypted with this key.
    Holder(SymKey),
    /// They are encrypted to this one.
    Owner(Box<SecretKey>),
}

/// What a filter waits for.
#[derive(Clone)]
pub struct Criteria {
    /// How it opens envelopes.
    pub key: ReadingKey,
    /// The topics; none means all.
    pub topics: BTreeSet<Topic>,
    /// Only messages signed with this key.
    pub signer: Option<PublicKey>,
    /// Only envelopes that show this much work, by either definition.
    pub min_pow: Pow,
    /// Whether envelopes sent to this node alone are let through.
    pub allow_p2p: bool,
}

/// A message that a filter found.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who signed it.
    pub signer: Option<PublicKey>,
    /// To whom it was encrypted, if to somebody.
    pub recipient: Option<PublicKey>,
    /// How long its envelope lived.
    pub ttl: Ttl,
    /// When it was sent.
    pub sent: UnixSeconds,
    /// The topic.
    pub topic: Topic,
    /// What it says.
    pub payload: Vec<u8>,
    /// What hid the length of that.
    pub padding: Vec<u8>,
    /// The work its envelope shows, by the definition by which it shows more.
    pub pow: Pow,
    /// The envelope's identity.
    pub hash: EnvelopeHash,
}

impl Message {
    fn bytes(&self) -> usize {
        self.payload.len() + self.padding.len()
    }
}

/// There are [`MAX_FILTERS`], or more topics than [`MAX_TOPICS`] in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many filters or topics: at most {MAX_FILTERS} filters of {MAX_TOPICS} topics")]
pub struct TooMany;

struct Filter {
    criteria: Criteria,
    held: VecDeque<Arc<Message>>,
    held_bytes: usize,
    /// What it was given since it was last asked.
    seen: HashSet<EnvelopeHash>,
}

impl Filter {
    /// Holds a message until it is asked for.
    fn hold(&mut self, message: Arc<Message>) {
        self.held_bytes += message.bytes();
        self.held.push_back(message);
        while self.held.len() > MAX_HELD || self.held_bytes > MAX_HELD_BYTES {
            let Some(oldest) = self.held.pop_front() else {
                break;
            };
            self.held_bytes -= oldest.bytes();
            self.seen.remove(&oldest.hash);
        }
    }
}

/// The filters of a node.
#[derive(Default)]
pub struct Filters {
    filters: HashMap<Id, Filter>,
    by_topic: HashMap<Topic, BTreeSet<Id>>,
    of_all_topics: BTreeSet<Id>,
}

impl Filters {
    /// Waits for what `criteria` describe from now on.
    pub fn add(&mut self, criteria: Criteria) -> Result<Id, TooMany> {
        if self.filters.len() >= MAX_FILTERS || criteria.topics.len() > MAX_TOPICS {
            return Err(TooMany);
        }
        let id = Id::draw();
        if criteria.topics.is_empty() {
            self.of_all_topics.insert(id);
        }
        for topic in &criteria.topics {
            self.by_topic.entry(*topic).or_default().insert(id);
        }
        let filter = Filter {
            criteria,
            held: VecDeque::new(),
            held_bytes: 0,
            seen: HashSet::new(),
        };
        self.filters.insert(id, filter);
        Ok(id)
    }

    /// Waits no more; false where nobody did.
    pub fn remove(&mut self, id: &Id) -> bool {
        let Some(filter) = self.filters.remove(id) else {
            return false;
        };
        self.of_all_topics.remove(id);
        for topic in filter.criteria.topics {
            if let Some(ids) = self.by_topic.get_mut(&topic) {
                ids.remove(id);
                if ids.is_empty() {
                    self.by_topic.remove(&topic);
                }
            }
        }
        true
    }

    /// How many messages wait to be asked for.
    pub fn held(&self) -> usize {
        self.filters.values().map(|filter| filter.held.len()).sum()
    }

    /// What a filter found since it was last asked; `None` where there is none
    /// of this id.
    pub fn take(&mut self, id: &Id) -> Option<Vec<Arc<Message>>> {
        let filter = self.filters.get_mut(id)?;
        filter.seen.clear();
        filter.held_bytes = 0;
        Some(std::mem::take(&mut filter.held).into())
    }

    /// Whether nobody waits for anything.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Shows an envelope to the filters; gives how many hold it now that did
    /// not. `direct` says that it was sent to this node alone.
    pub fn show(&mut self, envelope: &Envelope, direct: bool) -> usize {
        let of_topic = self.by_topic.get(&envelope.topic());
        let ids: Vec<Id> = of_topic
            .into_iter()
            .flatten()
            .chain(&self.of_all_topics)
            .copied()
            .collect();
        // What the envelope shows is computed once for all filters.
        let mut pow = None;
        let mut finders = 0;
        for id in ids {
            let Some(filter) = self.filters.get_mut(&id) else {
                continue;
            };
            let criteria = &filter.criteria;
            if (direct && !criteria.allow_p2p) || filter.seen.contains(&envelope.hash()) {
                continue;
            }
            let pow = *pow.get_or_insert_with(|| Work::of(envelope).most());
            if pow < criteria.min_pow {
                continue;
            }
            if let Some(message) = open(criteria, envelope, pow) {
                filter.seen.insert(message.hash);
                filter.hold(Arc::new(message));
                finders += 1;
            }
        }
        finders
    }
}

/// What an envelope says to whoever asks by `criteria`, if anything.
fn open(criteria: &Criteria, envelope: &Envelope, pow: Pow) -> Option<Message> {
    let opened = match &criteria.key {
        ReadingKey::Holder(key) => Opened::open_symmetric(key, envelope.data()),
        ReadingKey::Owner(key) => Opened::open_asymmetric(key, envelope.data()),
    }
    .ok()?;
    if criteria.signer.is_some() && criteria.signer != opened.signer {
        return None;
    }
    let recipient = match &criteria.key {
        ReadingKey::Holder(_) => None,
        ReadingKey::Owner(key) => Some(key.public_key()),
    };
    Some(Message {
        signer: opened.signer,
        recipient,
        ttl: envelope.ttl(),
        sent: envelope.sent(),
        topic: envelope.topic(),
        payload: opened.payload,
        padding: opened.padding,
        pow,
        hash: envelope.hash(),
    })
}

impl std::fmt::Debug for Filters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filters")
            .field("filters", &self.filters.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Expiry;
    use crate::whisper::message::{MessageRandom, Reader, seal};

    const TOPIC: Topic = Topic([1, 2, 3, 4]);

    fn sym_key() -> SymKey {
        SymKey::new([0x11; 32]).unwrap()
    }

    fn secret(byte: u8) -> SecretKey {
        SecretKey::from_secret_bytes([byte; 32]).unwrap()
    }

    fn criteria() -> Criteria {
        Criteria {
            key: ReadingKey::Holder(sym_key()),
            topics: [TOPIC].into(),
            signer: None,
            min_pow: Pow::ZERO,
            allow_p2p: false,
        }
    }

    fn envelope(topic: Topic, said: &[u8], reader: Reader<'_>) -> Envelope {
        let data = seal(said, Some(&secret(0x33)), reader, &MessageRandom::draw()).unwrap();
        Envelope::new(Expiry(1_600_000_050), Ttl(50), topic, &data, 7)
    }

    fn said(filters: &mut Filters, id: &Id) -> Vec<String> {
        let found = filters.take(id).unwrap();
        let texts = found.iter().map(|m| String::from_utf8(m.payload.clone()));
        texts.map(Result::unwrap).collect()
    }

    #[test]
    fn a_filter_finds_what_its_key_opens_and_its_topics_name() {
        let mut filters = Filters::default();
        let id = filters.add(criteria()).unwrap();
        let key = sym_key();
        let hello = envelope(TOPIC, b"hello", Reader::Holders(&key));
        filters.show(&hello, false);
        let elsewhere = Topic([9; 4]);
        filters.show(&envelope(elsewhere, b"else", Reader::Holders(&key)), false);
        let other = SymKey::new([0x22; 32]).unwrap();
        filters.show(&envelope(TOPIC, b"other", Reader::Holders(&other)), false);
        let found = filters.take(&id).unwrap();
        let [message] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(message.payload, b"hello");
        assert_eq!(message.signer, Some(secret(0x33).public_key()));
        assert_eq!(
            (message.hash, message.sent.0),
            (hello.hash(), 1_600_000_000)
        );
        assert_eq!(filters.take(&id), Some(Vec::new()));
    }

    #[test]
    fn a_filter_without_topics_finds_all_that_is_meant_for_its_owner() {
        let mut filters = Filters::default();
        let owner = secret(0x44);
        let id = filters
            .add(Criteria {
                key: ReadingKey::Owner(Box::new(owner)),
                topics: BTreeSet::new(),
                ..criteria()
            })
            .unwrap();
        let to = owner.public_key();
        filters.show(&envelope(TOPIC, b"for you", Reader::Owner(&to)), false);
        let found = filters.take(&id).unwrap();
        assert_eq!(found[0].recipient, Some(to));
    }

    #[test]
    fn an_envelope_is_found_once_until_the_filter_is_asked() {
        let mut filters = Filters::default();
        let id = filters.add(criteria()).unwrap();
        let key = sym_key();
        let hello = envelope(TOPIC, b"hello", Reader::Holders(&key));
        for _ in 0..3 {
            filters.show(&hello, false);
        }
        assert_eq!(said(&mut filters, &id), ["hello"]);
        filters.show(&hello, false);
        assert_eq!(said(&mut filters, &id), ["hello"]);
    }

    #[test]
    fn what_was_sent_to_this_node_alone_needs_a_filter_that_allows_it() {
        let mut filters = Filters::default();
        let closed = filters.add(criteria()).unwrap();
        let open = filters
            .add(Criteria {
                allow_p2p: true,
                ..criteria()
            })
            .unwrap();
        let key = sym_key();
        filters.show(&envelope(TOPIC, b"mail", Reader::Holders(&key)), true);
        assert_eq!(said(&mut filters, &open), ["mail"]);
        assert_eq!(said(&mut filters, &closed), Vec::<String>::new());
    }

    #[test]
    fn signer_and_work_are_asked_for_where_wanted() {
        let mut filters = Filters::default();
        let by_another = filters
            .add(Criteria {
                signer: Some(secret(0x55).public_key()),
                ..criteria()
            })
            .unwrap();
        let with_work = filters
            .add(Criteria {
                min_pow: Pow::new(1e9).unwrap(),
                ..criteria()
            })
            .unwrap();
        let key = sym_key();
        filters.show(&envelope(TOPIC, b"hello", Reader::Holders(&key)), false);
        for id in [by_another, with_work] {
            assert_eq!(filters.take(&id), Some(Vec::new()));
        }
    }

    #[test]
    fn a_filter_that_nobody_asks_forgets_the_oldest() {
        let mut filters = Filters::default();
        let id = filters.add(criteria()).unwrap();
        let key = sym_key();
        let long = vec![b'x'; MAX_HELD_BYTES / 10];
        for _ in 0..12 {
            filters.show(&envelope(TOPIC, &long, Reader::Holders(&key)), false);
        }
        assert!(filters.held() <= 10);
        let filter = &filters.filters[&id];
        assert_eq!(filter.seen.len(), filter.held.len());
    }

    #[test]
    fn a_filter_removed_leaves_nothing_behind() {
        let mut filters = Filters::default();
        let id = filters.add(criteria()).unwrap();
        assert!(filters.remove(&id));
        assert!(!filters.remove(&id));
        assert!(filters.by_topic.is_empty() && filters.take(&id).is_none());
        let topics = (0..=1_000u32).map(|n| Topic(n.to_be_bytes())).collect();
        let too_many = Criteria {
            topics,
            ..criteria()
        };
        assert_eq!(filters.add(too_many), Err(TooMany));
    }
}
