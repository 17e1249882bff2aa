//! From what a client wants said to an envelope with work.
//!
//! Always true:
//! - What is wrong with a message is found in geth's order and told in its
//!   words.
//! - Mining ends: at its target, at its time, or when it is cancelled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use secp256k1::{PublicKey, SecretKey};

use crate::rlpx::{Enode, ecies};
use crate::time::{Expiry, Ttl, UnixSeconds};
use crate::whisper::message::{self, MessageRandom, Reader};
use crate::whisper::mining::{Mined, Target, Template, mine};
use crate::whisper::pow::Formula;
use crate::whisper::service::{KeyError, KeyStore};
use crate::whisper::{Envelope, Pow, Topic, Work};

/// The lifetime of a message that names none: geth's `DefaultTTL`.
pub const DEFAULT_TTL: Ttl = Ttl(50);

/// Nonces between two looks at the clock, as in geth.
const STEP: u32 = 1_024;

/// Zero bits that both definitions together may ask for. Nonces that satisfy
/// both are as rare as the product says: a million is about a second.
const MAX_BITS_OF_BOTH: u32 = 20;

/// Nonces tried for one definition alone, once the time for both is over.
const LAST_TRIES: u32 = 1 << 16;

/// What a client wants said.
#[derive(Clone, Debug, Default)]
pub struct NewMessage {
    /// Encrypt with the symmetric key of this id.
    pub sym_key_id: String,
    /// Or to this public key, 65 bytes.
    pub public_key: Vec<u8>,
    /// Sign with the key pair of this id; empty signs with none.
    pub sig: String,
    /// Lifetime in seconds; 0 means [`DEFAULT_TTL`].
    pub ttl: u32,
    /// Topic; zeros mean none.
    pub topic: Topic,
    /// What to say.
    pub payload: Vec<u8>,
    /// What to hide its length with; empty means as much as usual.
    pub padding: Vec<u8>,
    /// How long to mine, in seconds.
    pub pow_time: u32,
    /// The work to show. Below 0: as much as can be found in time.
    pub pow_target: f64,
    /// The enode of a peer to send it to alone, or empty.
    pub target_peer: String,
}

/// Why a message is not posted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PostError {
    /// No key to encrypt with, or two.
    #[error("specify either a symmetric or an asymmetric key")]
    WhichKey,
    /// A key that is named is not there.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A symmetric message needs a topic, or nobody would find it.
    #[error("missing topic(s)")]
    NoTopic,
    /// Not a public key.
    #[error("invalid public key")]
    PublicKey,
    /// Longer than three bytes can say.
    #[error("message size exceeded: {0}")]
    TooLong(#[from] message::PayloadTooLong),
    /// Mining took its time and found nothing.
    #[error("failed to reach the PoW target, specified pow time ({0} seconds) was insufficient")]
    TooLittleTime(u32),
    /// The client went away.
    #[error("cancelled")]
    Cancelled,
    /// Less work than this node asks for.
    #[error("message rejected, PoW too low")]
    LowPow,
    /// The peer to send it to is none.
    #[error("failed to parse target peer: {0}")]
    TargetPeer(String),
}

/// A message composed and encrypted: what is left is work.
#[derive(Clone, Debug)]
pub struct Composed {
    /// The envelope without its nonce.
    pub template: Template,
    /// How long to mine.
    pub pow_time: Duration,
    /// The work to show; see [`NewMessage::pow_target`].
    pub pow_target: f64,
    /// To whom alone it goes.
    pub target_peer: Option<Enode>,
}

/// A message that is checked, and its keys: what is left is to encrypt it.
#[derive(Clone, Copy, Debug)]
pub struct Checked<'a> {
    /// Who may read it.
    pub reader: Reader<'a>,
    /// Who signs it, if anybody.
    pub signer: Option<&'a SecretKey>,
    /// Its topic.
    pub topic: Topic,
    /// What it says.
    pub payload: &'a [u8],
    /// What hides the length of that; `None` means as much as usual.
    pub padding: Option<&'a [u8]>,
    /// How long it lives.
    pub ttl: Ttl,
    /// How long to mine, in seconds.
    pub pow_time: u32,
    /// The work to show; see [`NewMessage::pow_target`].
    pub pow_target: f64,
}

impl Checked<'_> {
    /// Composes and encrypts it, as sent at `now`.
    pub fn seal(&self, now: UnixSeconds) -> Result<Composed, PostError> {
        let random = MessageRandom::draw();
        let usual = message::padding_len(self.payload.len(), self.signer.is_some());
        let padding = self.padding.unwrap_or(&random.padding[..usual]);
        let plain = message::compose(self.payload, padding, self.signer)?;
        let data = match self.reader {
            Reader::Holders(key) => message::encrypt_symmetric(key, &random.nonce, &plain),
            Reader::Owner(key) => ecies::encrypt(&random.ecies, key, &plain, &[]),
        };
        // Mining without a target goes on for its whole time, and lives that longer.
        let extra = if self.pow_target < 0.0 {
            self.pow_time
        } else {
            0
        };
        Ok(Composed {
            template: Template {
                expiry: Expiry::of(now.saturating_add(extra), self.ttl),
                ttl: self.ttl,
                topic: self.topic,
                data,
            },
            pow_time: Duration::from_secs(self.pow_time.into()),
            pow_target: self.pow_target,
            target_peer: None,
        })
    }
}

/// Checks, composes and encrypts a message.
pub fn compose(new: &NewMessage, keys: &KeyStore, now: UnixSeconds) -> Result<Composed, PostError> {
    if new.sym_key_id.is_empty() == new.public_key.is_empty() {
        return Err(PostError::WhichKey);
    }
    let signer = match new.sig.as_str() {
        "" => None,
        id => Some(keys.private_key(id)?),
    };
    let owner;
    let reader = if new.public_key.is_empty() {
        if new.topic == Topic::default() {
            return Err(PostError::NoTopic);
        }
        Reader::Holders(keys.sym_key(&new.sym_key_id)?)
    } else {
        owner = public_key(&new.public_key).ok_or(PostError::PublicKey)?;
        Reader::Owner(&owner)
    };
    let checked = Checked {
        reader,
        signer: signer.as_ref(),
        topic: new.topic,
        payload: &new.payload,
        padding: (!new.padding.is_empty()).then_some(&*new.padding),
        ttl: match new.ttl {
            0 => DEFAULT_TTL,
            seconds => Ttl(seconds),
        },
        pow_time: new.pow_time,
        pow_target: new.pow_target,
    };
    let composed = checked.seal(now)?;
    let target_peer =
        match new.target_peer.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|error: crate::rlpx::EnodeError| {
                PostError::TargetPeer(error.to_string())
            })?),
        };
    Ok(Composed {
        target_peer,
        ..composed
    })
}

/// A public key in 65 bytes, 04 and its coordinates.
pub fn public_key(bytes: &[u8]) -> Option<PublicKey> {
    let is_uncompressed = bytes.len() == 65 && bytes[0] == 4;
    is_uncompressed
        .then(|| PublicKey::from_slice(bytes).ok())
        .flatten()
}

/// Does the work of a composed message; blocks for as long as it takes.
/// `cancelled` ends it early.
pub fn mine_for(message: &Composed, cancelled: &AtomicBool) -> Result<Envelope, PostError> {
    let template = &message.template;
    let blank = template.with_nonce(0);
    if message.pow_target == 0.0 {
        return Ok(blank);
    }
    let search = Search {
        template,
        deadline: Instant::now() + message.pow_time,
        cancelled,
    };
    if message.pow_target < 0.0 {
        return search.best();
    }
    let failed =
        PostError::TooLittleTime(u32::try_from(message.pow_time.as_secs()).unwrap_or(u32::MAX));
    let Some(target) = Pow::new(message.pow_target).filter(|_| !message.pow_time.is_zero()) else {
        return Err(failed);
    };
    let bits = Formula::target_bits(target, blank.size(), template.ttl.0);
    let newer = Target::One(Formula::Leading, target);
    if 2 * bits > MAX_BITS_OF_BOTH {
        return search.until(newer)?.ok_or(failed);
    }
    if let Some(found) = search.until(Target::Both(target))? {
        return Ok(found);
    }
    match mine(template, newer, 0, LAST_TRIES) {
        Mined::Found(envelope) => Ok(envelope),
        Mined::Continue(_) => Err(failed),
    }
}

struct Search<'a> {
    template: &'a Template,
    deadline: Instant,
    cancelled: &'a AtomicBool,
}

impl Search<'_> {
    fn is_over(&self) -> Result<bool, PostError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(PostError::Cancelled);
        }
        Ok(Instant::now() >= self.deadline)
    }

    /// Searches until the target or the deadline is reached.
    fn until(&self, target: Target) -> Result<Option<Envelope>, PostError> {
        let mut from = 0;
        loop {
            match mine(self.template, target, from, STEP) {
                Mined::Found(envelope) => return Ok(Some(envelope)),
                Mined::Continue(next) => from = next,
            }
            if self.is_over()? {
                return Ok(None);
            }
        }
    }

    /// Searches until the deadline; gives the best that was found.
    fn best(&self) -> Result<Envelope, PostError> {
        let mut best = self.template.with_nonce(0);
        let mut from = 1;
        while !self.is_over()? {
            let shown = Work::of(&best).by(Formula::Leading);
            let more = Pow::new(shown.get() * 1.5).unwrap_or(shown);
            match mine(
                self.template,
                Target::One(Formula::Leading, more),
                from,
                STEP,
            ) {
                Mined::Found(better) => {
                    from = better.nonce().wrapping_add(1);
                    best = better;
                }
                Mined::Continue(next) => from = next,
            }
        }
        Ok(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whisper::message::Opened;

    const NOW: UnixSeconds = UnixSeconds(1_600_000_000);
    static NEVER: AtomicBool = AtomicBool::new(false);

    fn keys() -> (KeyStore, String, String) {
        let mut keys = KeyStore::default();
        let sym = keys.add_sym_key(&[0x11; 32]).unwrap().to_string();
        let pair = keys.add_private_key(&[0x33; 32]).unwrap().to_string();
        (keys, sym, pair)
    }

    fn hello(sym: &str) -> NewMessage {
        NewMessage {
            sym_key_id: sym.to_owned(),
            topic: Topic([1, 2, 3, 4]),
            payload: b"hello".to_vec(),
            pow_time: 30,
            pow_target: 0.001,
            ..NewMessage::default()
        }
    }

    #[test]
    fn a_message_posted_is_one_its_readers_open() {
        let (keys, sym, pair) = keys();
        let new = NewMessage {
            sig: pair.clone(),
            ..hello(&sym)
        };
        let composed = compose(&new, &keys, NOW).unwrap();
        let envelope = mine_for(&composed, &NEVER).unwrap();
        assert_eq!((envelope.ttl(), envelope.sent()), (DEFAULT_TTL, NOW));
        assert!(Work::of(&envelope).least() >= Pow::new(0.001).unwrap());
        let opened = Opened::open_symmetric(keys.sym_key(&sym).unwrap(), envelope.data()).unwrap();
        assert_eq!(opened.payload, b"hello");
        assert_eq!(opened.signer, keys.public_key(&pair).ok());

        let owner = keys.public_key(&pair).unwrap();
        let to_owner = NewMessage {
            sym_key_id: String::new(),
            public_key: owner.serialize_uncompressed().to_vec(),
            topic: Topic::default(),
            padding: vec![0xaa; 9],
            ..hello("")
        };
        let composed = compose(&to_owner, &keys, NOW).unwrap();
        let secret = keys.private_key(&pair).unwrap();
        let opened = Opened::open_asymmetric(&secret, &composed.template.data).unwrap();
        assert_eq!(opened.padding, [0xaa; 9]);
    }

    #[test]
    fn what_is_wrong_is_told_in_geths_order_and_words() {
        let (keys, sym, _) = keys();
        let none = NewMessage {
            sig: "?".to_owned(),
            ..NewMessage::default()
        };
        let both = NewMessage {
            public_key: vec![4],
            ..hello(&sym)
        };
        let unknown_sig = NewMessage {
            sig: "?".to_owned(),
            topic: Topic::default(),
            ..hello(&sym)
        };
        let no_topic = NewMessage {
            topic: Topic::default(),
            ..hello("?")
        };
        let bad_owner = NewMessage {
            sym_key_id: String::new(),
            public_key: vec![4; 65],
            ..hello("")
        };
        let bad_peer = NewMessage {
            target_peer: "enode".to_owned(),
            ..hello(&sym)
        };
        for (new, told) in [
            (none, "specify either a symmetric or an asymmetric key"),
            (both, "specify either a symmetric or an asymmetric key"),
            (unknown_sig, "invalid id"),
            (no_topic, "missing topic(s)"),
            (hello("?"), "non-existent key ID"),
            (bad_owner, "invalid public key"),
            (
                bad_peer,
                "failed to parse target peer: does not start with enode://",
            ),
        ] {
            let error = compose(&new, &keys, NOW).unwrap_err();
            assert_eq!(error.to_string(), told);
        }
    }

    #[test]
    fn work_is_shown_by_both_definitions_where_that_is_near() {
        let (keys, sym, _) = keys();
        let far = NewMessage {
            pow_target: 1.0,
            ..hello(&sym)
        };
        for (new, least) in [(hello(&sym), 0.001), (far, 0.0)] {
            let composed = compose(&new, &keys, NOW).unwrap();
            let work = Work::of(&mine_for(&composed, &NEVER).unwrap());
            assert!(work.by(Formula::Leading) >= Pow::new(new.pow_target).unwrap());
            assert!(work.least() >= Pow::new(least).unwrap());
        }
    }

    #[test]
    fn mining_ends_with_its_time_or_when_cancelled() {
        let (keys, sym, _) = keys();
        let no_time = NewMessage {
            pow_time: 0,
            ..hello(&sym)
        };
        let composed = compose(&no_time, &keys, NOW).unwrap();
        assert_eq!(
            mine_for(&composed, &NEVER).unwrap_err().to_string(),
            "failed to reach the PoW target, specified pow time (0 seconds) was insufficient"
        );
        let endless = NewMessage {
            pow_target: 1e30,
            pow_time: u32::MAX,
            ..hello(&sym)
        };
        let composed = compose(&endless, &keys, NOW).unwrap();
        let cancelled = AtomicBool::new(true);
        assert_eq!(mine_for(&composed, &cancelled), Err(PostError::Cancelled));
    }

    #[test]
    fn without_a_target_no_work_and_below_zero_the_best_in_time() {
        let (keys, sym, _) = keys();
        let none = NewMessage {
            pow_target: 0.0,
            ..hello(&sym)
        };
        let composed = compose(&none, &keys, NOW).unwrap();
        assert_eq!(mine_for(&composed, &NEVER).unwrap().nonce(), 0);
        let best = NewMessage {
            pow_target: -1.0,
            pow_time: 1,
            ..hello(&sym)
        };
        let composed = compose(&best, &keys, NOW).unwrap();
        let envelope = mine_for(&composed, &NEVER).unwrap();
        assert_eq!(envelope.sent().0, NOW.0 + 1);
        assert!(
            Work::of(&envelope).by(Formula::Leading)
                > Work::of(&composed.template.with_nonce(0)).by(Formula::Leading)
        );
    }
}
