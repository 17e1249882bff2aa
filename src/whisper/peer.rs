//! One peer's side of the conversation, as a state machine without a socket.
//!
//! Use: send [`Session::open`]; hand every packet to [`Session::receive`] and
//! do what it says; call [`Session::relay`] now and then. A batch offered is
//! acknowledged by calling [`Session::batch_stored`] once it is durable, or
//! dropped in silence by [`Session::batch_failed`].
//!
//! Always true:
//! - Nothing is acknowledged before the shell says it is durable.
//! - A peer gets only what it asked for: enough work by its definition, or by
//!   both where that is unknown, its topics, alive, not ahead of time, and nothing it has.
//! - What a peer must not send is not even parsed.
//! - A light node passes on nothing but what it posted itself.
//! - Each packet sent stays below what every peer accepts.

use std::collections::HashMap;

use bytes::Bytes;

use crate::time::UnixSeconds;
use crate::whisper::Envelope;
use crate::whisper::admission::DEFAULT_MAX_MESSAGE_SIZE;
use crate::whisper::bloom::Bloom;
use crate::whisper::confirm::{BatchHash, EnvelopeFault, MAX_FAULTS, MessageResponse};
use crate::whisper::dialect::{Dialect, Evidence};
use crate::whisper::known::KnownSet;
use crate::whisper::packet::{
    Packet, PacketError, batch_hash, code, envelopes_of, list_packet_len,
};
use crate::whisper::pool::{Origin, Pool, Pooled, Sequence};
use crate::whisper::pow::{Pow, Work};
use crate::whisper::status::Status;

/// The Disconnect reason for everything a peer does wrong here: "subprotocol
/// error", as geth gives.
pub const SUBPROTOCOL_ERROR: u8 = 0x10;

/// The largest packet every peer takes: 1 MiB unless its owner lowered it.
pub const PACKET_LIMIT: usize = DEFAULT_MAX_MESSAGE_SIZE;

/// Envelopes are gathered into packets up to this size, clear of
/// [`PACKET_LIMIT`]: the reference forgets the list header and overshoots.
pub const PACKET_TARGET: usize = PACKET_LIMIT - (16 << 10);

/// Bytes passed on to one peer in one turn, so that a newcomer draining a full
/// pool does not starve the others.
pub const RELAY_TURN: usize = 4 << 20;

/// Envelopes of the pool looked at for one peer in one turn: a peer that changes
/// its mind all the time would otherwise have the whole pool searched each time.
pub const RELAY_SEARCH: usize = 1 << 14;

/// A batch offered for storage, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchId(u64);

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The peer's status arrived: packets may be sent now.
    Ready,
    /// Store these, then call [`Session::batch_stored`].
    Offer {
        /// The batch to name then.
        batch: BatchId,
        /// Its envelopes, unjudged.
        envelopes: Vec<Envelope>,
    },
    /// Answer this mail request (payload of packet 126).
    AnswerMail(Bytes),
    /// Answer this mailserver's request (payload of packet 123).
    AnswerSync(Bytes),
    /// Mail for us, from a peer we trust.
    Mail(Vec<Envelope>),
    /// The end of an answer to a mail request (byte string of packet 125).
    MailComplete(Bytes),
    /// A batch sent to this peer arrived.
    Acknowledged(BatchHash),
    /// What was wrong in a batch sent to this peer.
    Faults {
        /// The batch.
        batch: BatchHash,
        /// Envelopes the peer did not take.
        faults: Vec<EnvelopeFault>,
    },
}

/// What a peer did wrong. Always answered by [`SUBPROTOCOL_ERROR`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Spoke before introducing itself.
    #[error("packet {code} before the status")]
    BeforeStatus {
        /// The code sent.
        code: u8,
    },
    /// A packet larger than any of its kind.
    #[error("packet {code} of {len} bytes, more than {max}")]
    TooLarge {
        /// Packet code.
        code: u8,
        /// Its bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Two nodes that forward nothing are of no use to each other.
    #[error("both nodes are light")]
    BothLight,
    /// A packet that does not read.
    #[error(transparent)]
    Packet(#[from] PacketError),
}

/// The payload of a packet of envelopes, read and hashed: all that can be done
/// before its turn comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    envelopes: Vec<Envelope>,
    batch: BatchHash,
}

impl Opened {
    /// Reads a payload. The envelopes share its bytes.
    pub fn of(payload: &Bytes) -> Result<Self, Violation> {
        Ok(Self {
            envelopes: envelopes_of(payload)?,
            batch: batch_hash(payload),
        })
    }
}

/// What we say about ourselves and do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// The status we open with.
    pub status: Status,
    /// Whether mail requests are answered here.
    pub is_mailserver: bool,
}

/// The conversation with one peer.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    status: Option<Status>,
    pow: Pow,
    bloom: Bloom,
    hint: Dialect,
    evidence: Evidence,
    known: KnownSet,
    relayed: Sequence,
    trusted: bool,
    offered: HashMap<BatchId, BatchHash>,
    last_batch: u64,
    repeats: u64,
}

impl Session {
    /// A conversation about to start.
    pub fn new(config: SessionConfig) -> Self {
        Self {
            config,
            status: None,
            pow: Pow::ZERO,
            bloom: Bloom::FULL,
            hint: Dialect::Unknown,
            evidence: Evidence::default(),
            known: KnownSet::default(),
            relayed: Sequence::default(),
            trusted: false,
            offered: HashMap::new(),
            last_batch: 0,
            repeats: 0,
        }
    }

    /// The first packet to send, without waiting for the peer's.
    pub fn open(&self) -> Packet {
        Packet::Status(self.config.status)
    }

    /// The peer's status, once it came.
    pub fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    /// The least work the peer wants.
    pub fn pow(&self) -> Pow {
        self.pow
    }

    /// The topics the peer wants.
    pub fn bloom(&self) -> Bloom {
        self.bloom
    }

    /// What the peer's name tells about how it counts work.
    pub fn hint(&mut self, dialect: Dialect) {
        self.hint = dialect;
    }

    /// What the work of envelopes that the peer passed on tells about the same.
    /// Once that changes, what was held back is considered again.
    pub fn learn<'a>(&mut self, works: impl IntoIterator<Item = &'a Work>) {
        let before = self.dialect();
        for work in works {
            self.evidence.add(work, self.pow);
        }
        if self.dialect() != before {
            self.relayed = Sequence::default();
        }
    }

    fn dialect(&self) -> Dialect {
        self.evidence.or(self.hint)
    }

    /// Pass on nothing but own envelopes from now on, or everything.
    pub fn set_light(&mut self, light: bool) {
        self.config.status.light = light;
        if !light {
            self.relayed = Sequence::default();
        }
    }

    /// Accept mail from this peer: it was asked for some.
    pub fn trust(&mut self) {
        self.trusted = true;
    }

    /// Batches offered and neither stored nor failed yet.
    pub fn in_flight(&self) -> usize {
        self.offered.len()
    }

    /// How many envelopes came since this was asked last that the peer had sent,
    /// or been sent, before.
    pub fn take_repeats(&mut self) -> u64 {
        std::mem::take(&mut self.repeats)
    }

    /// Takes one packet of the peer.
    pub fn receive(&mut self, code: u8, payload: &Bytes) -> Result<Vec<Action>, Violation> {
        // A list of envelopes may exceed the limit that its sender cannot know:
        // geth passes a whole pool on in one packet. The frame bounds it.
        let is_list = matches!(code, code::MESSAGES | code::P2P_MESSAGE);
        if !is_list && payload.len() > PACKET_LIMIT {
            return Err(Violation::TooLarge {
                code,
                len: payload.len(),
                max: PACKET_LIMIT,
            });
        }
        if self.status.is_none() {
            if code != code::STATUS {
                return Err(Violation::BeforeStatus { code });
            }
            let status = Status::decode(payload).map_err(PacketError::from)?;
            if status.light && self.config.status.light {
                return Err(Violation::BothLight);
            }
            self.pow = status.pow;
            self.bloom = status.filter();
            self.status = Some(status);
            return Ok(vec![Action::Ready]);
        }
        if !self.may_send(code) {
            return Ok(Vec::new());
        }
        let packet = Packet::decode(code, payload)?;
        Ok(self.act(packet, payload).into_iter().collect())
    }

    /// Takes a packet of envelopes that was opened before its turn; the same as
    /// [`Self::receive`] of what it was opened from.
    pub fn receive_opened(
        &mut self,
        opened: Result<Opened, Violation>,
    ) -> Result<Vec<Action>, Violation> {
        if self.status.is_none() {
            return Err(Violation::BeforeStatus {
                code: code::MESSAGES,
            });
        }
        Ok(vec![self.offer(opened?)])
    }

    fn offer(&mut self, opened: Opened) -> Action {
        let Opened { envelopes, batch } = opened;
        for envelope in &envelopes {
            if !self.known.insert(envelope.hash()) {
                self.repeats += 1;
            }
        }
        self.last_batch += 1;
        let id = BatchId(self.last_batch);
        self.offered.insert(id, batch);
        Action::Offer {
            batch: id,
            envelopes,
        }
    }

    /// Whether a packet of this code is worth reading; all else is ignored
    /// unread, as in the reference.
    fn may_send(&self, code: u8) -> bool {
        match code {
            code::REQUEST | code::SYNC_REQUEST => self.config.is_mailserver,
            code::REQUEST_COMPLETE | code::P2P_MESSAGE => self.trusted,
            code::MESSAGES
            | code::POW_REQUIREMENT
            | code::BLOOM_FILTER
            | code::BATCH_ACKNOWLEDGED
            | code::MESSAGE_RESPONSE => true,
            // A second status, rate limits, synchronisation, codes unknown.
            _ => false,
        }
    }

    fn act(&mut self, packet: Packet, payload: &Bytes) -> Option<Action> {
        match packet {
            Packet::Messages(envelopes) => {
                let batch = batch_hash(payload);
                Some(self.offer(Opened { envelopes, batch }))
            }
            Packet::PowRequirement(pow) => {
                self.pow = pow;
                self.relayed = Sequence::default();
                None
            }
            Packet::BloomFilter(bloom) => {
                self.bloom = bloom;
                self.relayed = Sequence::default();
                None
            }
            Packet::BatchAcknowledged(batch) => Some(Action::Acknowledged(batch)),
            Packet::MessageResponse(MessageResponse::Batch { batch, faults }) => {
                (!faults.is_empty()).then_some(Action::Faults { batch, faults })
            }
            Packet::Request(payload) => Some(Action::AnswerMail(payload)),
            Packet::SyncRequest(payload) => Some(Action::AnswerSync(payload)),
            Packet::RequestComplete(completion) => Some(Action::MailComplete(completion)),
            Packet::P2pMessage(envelopes) => Some(Action::Mail(envelopes)),
            Packet::Status(_)
            | Packet::MessageResponse(MessageResponse::NotUnderstood { .. })
            | Packet::SyncResponse(_)
            | Packet::Ignored(_) => None,
        }
    }

    /// What to send once every admitted envelope of `batch` is durable: the
    /// faults found, then the acknowledgement. Where the faults are more than
    /// [`MAX_FAULTS`], nothing: an answer that left some out would say that
    /// they were taken.
    pub fn batch_stored(&mut self, batch: BatchId, faults: Vec<EnvelopeFault>) -> Vec<Packet> {
        let Some(batch) = self.offered.remove(&batch) else {
            return Vec::new();
        };
        if faults.len() > MAX_FAULTS {
            return Vec::new();
        }
        vec![
            Packet::MessageResponse(MessageResponse::Batch { batch, faults }),
            Packet::BatchAcknowledged(batch),
        ]
    }

    /// The batch could not be stored: it is not acknowledged, so that its
    /// sender, or others, offer it again.
    pub fn batch_failed(&mut self, batch: BatchId) {
        self.offered.remove(&batch);
    }

    /// What of the pool the peer should have and has not, as packets to send
    /// now. At most [`RELAY_TURN`] bytes out of [`RELAY_SEARCH`] envelopes; the
    /// next call continues.
    pub fn relay(&mut self, pool: &Pool, now: UnixSeconds) -> Vec<Vec<Envelope>> {
        if self.status.is_none() {
            return Vec::new();
        }
        let mut packets = Vec::new();
        let mut gathering = Gathering::default();
        let mut turn = 0;
        for (sequence, pooled) in pool.after(self.relayed).take(RELAY_SEARCH) {
            if turn >= RELAY_TURN {
                break;
            }
            self.relayed = sequence;
            if !self.wants(pooled, now) || !self.known.insert(pooled.envelope.hash()) {
                continue;
            }
            turn += pooled.envelope.rlp().len();
            packets.extend(gathering.push(pooled.envelope.clone(), PACKET_TARGET));
        }
        packets.extend(gathering.finish());
        packets
    }

    fn wants(&self, pooled: &Pooled, now: UnixSeconds) -> bool {
        let envelope = &pooled.envelope;
        let forwards = pooled.origin == Origin::Own || !self.config.status.light;
        forwards
            && self.dialect().counts(&pooled.work) >= self.pow
            && self.bloom.matches(envelope.topic())
            && UnixSeconds(envelope.expiry().0) >= now
            && list_packet_len(envelope.rlp().len()) <= PACKET_LIMIT
    }
}

/// Envelopes on their way into packets of bounded size.
#[derive(Debug, Default)]
pub struct Gathering {
    envelopes: Vec<Envelope>,
    bytes: usize,
}

impl Gathering {
    /// Adds one; gives the packet that is complete without it, if it does not
    /// fit below `limit` bytes any more.
    pub fn push(&mut self, envelope: Envelope, limit: usize) -> Option<Vec<Envelope>> {
        let len = envelope.rlp().len();
        let full = if self.bytes > 0 && list_packet_len(self.bytes + len) > limit {
            self.finish()
        } else {
            None
        };
        self.bytes += len;
        self.envelopes.push(envelope);
        full
    }

    /// The last packet, if anything is left.
    pub fn finish(&mut self) -> Option<Vec<Envelope>> {
        self.bytes = 0;
        Some(std::mem::take(&mut self.envelopes)).filter(|left| !left.is_empty())
    }
}

#[cfg(test)]
mod tests;
