//! Our mailserver: opens requests, answers them out of a vault.
//!
//! Always true:
//! - An answer is ascending by (sent, hash) and ends with one completion, after
//!   all its envelopes.
//! - A cursor is given exactly if more follows.
//! - At most [`PAGE_ENVELOPES`] envelopes of an answer are held at a time, and
//!   the next page is fetched only when the peer has taken the last.
//! - Envelopes, bytes and time of an answer are bounded, and so is how many
//!   answers read the archive at a time.
//! - A peer pays for what was looked into for it, also where nothing was found,
//!   or it left before the end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::mailserver::request::{MailQuery, RequestError, RequestId};
use crate::mailserver::response::Completion;
use crate::mailserver::sync::SyncRequest;
use crate::mailserver::{
    AnswerCost, ArchiveError, Archived, BoxFuture, Cursor, Delivered, MailPeer, MailRequest,
    MailServer, Page, PageQuery, PeerGone, Vault,
};
use crate::metrics::{DeliveryFailure, MailMeters};
use crate::rlpx::NodeKey;
use crate::time::{Clock, UnixSeconds};
use crate::whisper::Envelope;
use crate::whisper::keys::SymKey;
use crate::whisper::message::{MessageError, Opened};
use crate::whisper::packet::Packet;
use crate::whisper::peer::Gathering;
use crate::whisper::pow::{Pow, Work};

/// Envelopes fetched from the vault at a time.
pub const PAGE_ENVELOPES: usize = 1_000;

/// Bytes of envelopes sent for one request; the cursor leads on.
pub const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Bytes of envelopes in a packet of an answer. A frame can be checked only when
/// all of it has come, so that the two ends of a link work at the same time only
/// on different frames: eight small ones arrive sooner than one large one. Both
/// ends also keep buffers of this size and give larger ones back.
const ANSWER_PACKET: usize = 128 << 10;

/// How long an answer may take; the cursor leads on. A slow reader would
/// otherwise keep a page in memory for as long as it likes.
pub const MAX_ANSWER_TIME: Duration = Duration::from_secs(60);

/// What a day or hour that is looked into costs, in bytes sent: its directory is
/// opened, and the request's bloom tested against its topics. A year of a topic that
/// nobody uses costs some 1.5 MiB.
pub const LOOK_COST: u64 = 4 << 10;

/// Bytes read of blocks that cost as much as one that is sent: disks and hashes are
/// some ten times as fast as lines.
pub const READ_SHARE: u64 = 8;

/// What a page costs whose peer left while it was looked for: how far it came is
/// not known then.
pub const LEFT_COST: u64 = 1 << 20;

/// Pages read from the vault at a time, for all peers together. A page may read
/// a whole day of traffic, and more of them at once would only share the disk.
pub const PAGES_AT_A_TIME: usize = 4;

/// How requests are opened and what they must show.
pub struct MailserverConfig {
    /// The key of the server's password: who knows it may ask.
    pub password: Option<SymKey>,
    /// The node's key, to which a request may be encrypted instead.
    pub node_key: Option<Arc<NodeKey>>,
    /// The least work of a request, by either definition.
    pub min_pow: Pow,
    /// Whether requests without encryption are answered. What is archived is
    /// public, so the password protects nothing but the server's time.
    pub answer_open_requests: bool,
}

impl fmt::Debug for MailserverConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailserverConfig")
            .field("password", &self.password)
            .field("node_key", &self.node_key)
            .field("min_pow", &self.min_pow)
            .field("answer_open_requests", &self.answer_open_requests)
            .finish()
    }
}

/// A mailserver over a vault.
pub struct Mailserver<V> {
    vault: Arc<V>,
    config: MailserverConfig,
    clock: Arc<dyn Clock>,
    reading: Semaphore,
    meters: Arc<MailMeters>,
}

impl<V> fmt::Debug for Mailserver<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailserver")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What a mailserver never tells a client in detail.
pub(super) const ARCHIVE_FAILED: &str = "the archive cannot answer now";

impl<V: Vault> Mailserver<V> {
    /// A mailserver that stores into and reads from `vault`.
    pub fn new(vault: Arc<V>, config: MailserverConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            vault,
            config,
            clock,
            reading: Semaphore::new(PAGES_AT_A_TIME),
            meters: Arc::default(),
        }
    }

    /// What it counts of its answers.
    pub fn meters(&self) -> &Arc<MailMeters> {
        &self.meters
    }

    /// The vault.
    pub fn vault(&self) -> &Arc<V> {
        &self.vault
    }

    /// What a request asks for, if it may.
    pub fn open(&self, request: &MailRequest, now: UnixSeconds) -> Result<MailQuery, RequestError> {
        match request {
            MailRequest::Sealed(envelope) => self.open_sealed(envelope, now),
            MailRequest::Open(open) if self.config.answer_open_requests => open.query(),
            MailRequest::Open(_) => Err(RequestError::Undecryptable),
        }
    }

    fn open_sealed(
        &self,
        envelope: &Envelope,
        now: UnixSeconds,
    ) -> Result<MailQuery, RequestError> {
        if Work::of(envelope).most() < self.config.min_pow {
            return Err(RequestError::LowPow);
        }
        let opened = self.decrypt(envelope.data())?;
        // Anybody may sign: the signature shows only that a key was used.
        if opened.signer.is_none() {
            return Err(RequestError::Unsigned);
        }
        MailQuery::decode(&opened.payload, now)
    }

    fn decrypt(&self, data: &[u8]) -> Result<Opened, RequestError> {
        let by_node_key = self
            .config
            .node_key
            .iter()
            .map(|key| Opened::open_asymmetric(key.secret(), data));
        let by_password = self
            .config
            .password
            .iter()
            .map(|key| Opened::open_symmetric(key, data));
        by_node_key
            .chain(by_password)
            .find(|opened| !matches!(opened, Err(MessageError::WrongKey)))
            .and_then(Result::ok)
            .ok_or(RequestError::Undecryptable)
    }

    async fn answer(&self, peer: &dyn MailPeer, request: &MailRequest) -> Delivered {
        let id = request.id();
        let failures = &self.meters.failures;
        self.meters.attempts.count();
        let outcome = match self.open(request, self.clock.now()) {
            Ok(query) => {
                self.meters.batched.add(query.batch.into());
                self.stream(peer, id, &query).await
            }
            Err(refused) => {
                failures.count(DeliveryFailure::Validation);
                Err(Broken::Refused(refused.to_string()))
            }
        };
        let (completion, delivered) = match outcome {
            Ok((completion, cost)) => (completion, Delivered::Served(cost)),
            Err(Broken::PeerGone) => {
                failures.count(DeliveryFailure::Process);
                return Delivered::PeerGone;
            }
            Err(Broken::Archive) => {
                failures.count(DeliveryFailure::Iterator);
                let completion = Completion::Failed {
                    request: id,
                    message: ARCHIVE_FAILED.to_owned(),
                };
                (completion, Delivered::Refused)
            }
            Err(Broken::Refused(message)) => {
                tracing::debug!(peer = ?peer.id(), %message, "mail request refused");
                let completion = Completion::Failed {
                    request: id,
                    message,
                };
                (completion, Delivered::Refused)
            }
        };
        let packet = Packet::RequestComplete(completion.encode());
        match peer.send(packet).await {
            Ok(()) => delivered,
            Err(PeerGone) => {
                failures.count(DeliveryFailure::Response);
                Delivered::PeerGone
            }
        }
    }

    /// Sends what `query` finds and says how it ended.
    async fn stream(
        &self,
        peer: &dyn MailPeer,
        request: RequestId,
        query: &MailQuery,
    ) -> Result<(Completion, AnswerCost), Broken> {
        let mut answer = Measured::begin(&self.meters);
        let until = Instant::now() + MAX_ANSWER_TIME;
        let mut left = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let mut bytes_left = MAX_ANSWER_BYTES;
        let cost = &mut answer.cost;
        let mut last: Option<Cursor> = None;
        let mut more = true;
        while more && left > 0 && bytes_left > 0 {
            let page = self
                .page(
                    peer,
                    PageQuery {
                        range: query.range,
                        topics: query.topics,
                        after: last.or(query.cursor),
                        limit: left.min(PAGE_ENVELOPES),
                    },
                )
                .await?;
            cost.blocks += page.blocks;
            let (taken, cut) = within(page.envelopes, &mut bytes_left);
            more = page.more || cut;
            if taken.is_empty() {
                break;
            }
            left -= taken.len().min(left);
            for packet in packets(taken, query.batch) {
                // One packet at least, so that whoever follows the cursor gets on.
                if last.is_some() && Instant::now() >= until {
                    more = true;
                    left = 0;
                    break;
                }
                cost.envelopes += packet.len() as u64;
                cost.bytes += packet.iter().map(|e| e.rlp().len() as u64).sum::<u64>();
                last = packet.last().map(Cursor::of).or(last);
                self.send(peer, Packet::P2pMessage(packet)).await?;
            }
        }
        let completion = Completion::Done {
            request,
            last: last.map(|cursor| cursor.hash),
            next: last.filter(|_| more),
        };
        Ok((completion, answer.cost))
    }

    /// Sends envelopes, and takes down how long the link took for them.
    pub(super) async fn send(&self, peer: &dyn MailPeer, packet: Packet) -> Result<(), PeerGone> {
        let began = Instant::now();
        peer.send(packet).await?;
        self.meters.sends.took(began.elapsed());
        Ok(())
    }

    /// Whether it answers who shows nothing: no password, no work.
    pub(super) fn answers_anyone(&self) -> bool {
        self.config.answer_open_requests
    }

    /// The next page for `peer`, who is charged for the looking.
    pub(super) async fn page(
        &self,
        peer: &dyn MailPeer,
        query: PageQuery,
    ) -> Result<Page, ArchiveError> {
        // Never closed, so there is always a permit in the end.
        let _reading = self.reading.acquire().await;
        let mut charge = Charge {
            peer,
            cost: LEFT_COST,
        };
        let page = self.vault.page(query).await;
        charge.cost = match &page {
            Ok(page) => LOOK_COST * page.looked + page.read / READ_SHARE,
            Err(_) => 0,
        };
        page
    }
}

/// What an answer amounts to, taken down when it ends, in whatever way.
pub(super) struct Measured<'m> {
    meters: &'m MailMeters,
    began: Instant,
    pub(super) cost: AnswerCost,
}

impl<'m> Measured<'m> {
    pub(super) fn begin(meters: &'m MailMeters) -> Self {
        Self {
            meters,
            began: Instant::now(),
            cost: AnswerCost::default(),
        }
    }
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        let AnswerCost {
            envelopes, bytes, ..
        } = self.cost;
        self.meters.answered(self.began.elapsed(), envelopes, bytes);
    }
}

/// Charges a peer when it is dropped.
struct Charge<'p> {
    peer: &'p dyn MailPeer,
    cost: u64,
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.peer.looked(self.cost);
    }
}

/// The envelopes that fit what is left of an answer, at least one if anything
/// is left; and whether some did not.
fn within(mut envelopes: Vec<Envelope>, bytes_left: &mut usize) -> (Vec<Envelope>, bool) {
    let mut fit = 0;
    for envelope in &envelopes {
        if *bytes_left == 0 {
            break;
        }
        *bytes_left = bytes_left.saturating_sub(envelope.rlp().len());
        fit += 1;
    }
    let cut = fit < envelopes.len();
    envelopes.truncate(fit);
    (envelopes, cut)
}

/// The packets that envelopes travel in. One that nearly fills a packet, or more
/// than that, travels alone, and therefore bare.
pub(super) fn packets(envelopes: Vec<Envelope>, batch: bool) -> Vec<Vec<Envelope>> {
    // Without batches, each envelope is over the target by itself.
    let target = if batch { ANSWER_PACKET } else { 0 };
    let mut gathering = Gathering::default();
    let mut packets = Vec::new();
    for envelope in envelopes {
        packets.extend(gathering.push(envelope, target));
    }
    packets.extend(gathering.finish());
    packets
}

/// Why an answer did not end well.
enum Broken {
    PeerGone,
    Archive,
    Refused(String),
}

impl From<PeerGone> for Broken {
    fn from(PeerGone: PeerGone) -> Self {
        Self::PeerGone
    }
}

impl From<ArchiveError> for Broken {
    fn from(error: ArchiveError) -> Self {
        tracing::error!(error = %error, cause = %error.source, "mail request not answered");
        Self::Archive
    }
}

impl<V: Vault> MailServer for Mailserver<V> {
    fn archive(&self, envelopes: Vec<Envelope>) -> BoxFuture<'_, Result<Archived, ArchiveError>> {
        self.vault.append(envelopes)
    }

    fn deliver_mail(
        &self,
        peer: Arc<dyn MailPeer>,
        request: MailRequest,
    ) -> BoxFuture<'_, Delivered> {
        Box::pin(async move {
            let began = Instant::now();
            let delivered = self.answer(&*peer, &request).await;
            self.meters.delivered(began.elapsed());
            delivered
        })
    }

    fn sync(&self, peer: Arc<dyn MailPeer>, request: SyncRequest) -> BoxFuture<'_, Delivered> {
        Box::pin(async move { self.synchronise(&*peer, &request).await })
    }
}

#[cfg(test)]
mod tests;
