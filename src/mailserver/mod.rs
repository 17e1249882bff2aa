//! The mailserver: archives envelopes, delivers history to peers that ask.
//!
//! A Whisper node registers one [`MailServer`], the two methods of the
//! specification: it archives what arrives and delivers on request.
//! [`Mailserver`] is ours; it speaks the protocol of status-go's server over
//! anything that is a [`Vault`].
//!
//! Always true:
//! - [`MailServer::archive`] resolves after its envelopes are durable, not
//!   before: the acknowledgement to the sender waits for it.
//! - Every mail request is answered by a completion, be it an error.

pub mod client;
pub mod cursor;
pub mod deliver;
pub mod memory;
pub mod request;
pub mod response;
pub mod sync;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::rlpx::NodeId;
use crate::time::TimeRange;
use crate::whisper::packet::Packet;
use crate::whisper::{Bloom, Envelope};

pub use client::{ClientError, MailAnswer, MailClient, RequestKey, Requester};
pub use cursor::Cursor;
pub use deliver::{Mailserver, MailserverConfig};
pub use memory::MemoryVault;
pub use request::MailRequest;
pub use sync::{SyncRequest, SyncResponse};

/// A future that may be kept behind a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What became of envelopes given to an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// New ones, now durable.
    pub stored: u64,
    /// Ones it had.
    pub duplicate: u64,
}

/// The archive could not do what was asked. Never the fault of the peer that
/// asked.
#[derive(Debug, thiserror::Error)]
#[error("the archive cannot {doing}")]
pub struct ArchiveError {
    /// What it was about, as in "store envelopes".
    pub doing: &'static str,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl ArchiveError {
    /// An error while `doing` something, and its cause.
    pub fn new(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            doing,
            source: source.into(),
        }
    }
}

/// What a Whisper node needs of a mailserver: the interface of the
/// specification.
pub trait MailServer: Send + Sync + 'static {
    /// Stores envelopes. Resolves once every one of them is durable; after an
    /// error any of them may be missing, and all may be given again.
    fn archive(&self, envelopes: Vec<Envelope>) -> BoxFuture<'_, Result<Archived, ArchiveError>>;

    /// Answers `request` by sending to `peer`. Resolves when the answer is on
    /// its way, ending with a completion, or the peer is gone.
    fn deliver_mail(
        &self,
        peer: Arc<dyn MailPeer>,
        request: MailRequest,
    ) -> BoxFuture<'_, Delivered>;

    /// Answers another mailserver by sending to `peer`. Resolves when the answer
    /// is on its way, ending with a final response or one that says why not. A
    /// server that does not synchronise says so.
    fn sync(&self, peer: Arc<dyn MailPeer>, _request: SyncRequest) -> BoxFuture<'_, Delivered> {
        Box::pin(async move {
            let refused = SyncResponse::failed(sync::serve::REFUSED);
            match peer.send(Packet::SyncResponse(refused.encode())).await {
                Ok(()) => Delivered::Refused,
                Err(PeerGone) => Delivered::PeerGone,
            }
        })
    }
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// With a completion, and this.
    Served(AnswerCost),
    /// With an error completion: the request was refused or the archive failed.
    Refused,
    /// The peer left first.
    PeerGone,
}

/// What an answer amounted to. Whoever limits what a peer may cost can go by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerCost {
    /// Envelopes sent.
    pub envelopes: u64,
    /// Bytes of their RLP.
    pub bytes: u64,
    /// Blocks that were read whole and hashed for it. What was read lately costs
    /// none.
    pub blocks: u64,
}

/// A peer that asked for mail.
pub trait MailPeer: Send + Sync {
    /// Who it is.
    fn id(&self) -> NodeId;

    /// Sends it one packet. Resolves when the link has taken it, which is what
    /// slows an answer down to the speed of the peer.
    fn send(&self, packet: Packet) -> BoxFuture<'_, Result<(), PeerGone>>;

    /// Is told what looking for its mail cost, found or not: as much as so many
    /// bytes sent.
    fn looked(&self, _cost: u64) {}
}

/// The peer is no longer connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer is gone")]
pub struct PeerGone;

/// What a mailserver needs of an archive. No envelope in it is larger than a
/// packet may be (`whisper::peer::PACKET_LIMIT`).
pub trait Vault: Send + Sync + 'static {
    /// Stores envelopes; durable on return.
    fn append(&self, envelopes: Vec<Envelope>) -> BoxFuture<'_, Result<Archived, ArchiveError>>;

    /// The next envelopes of a query, ascending by (sent, hash): at least one
    /// where there is one, and fewer than the limit where they would be too
    /// large to be held together.
    fn page(&self, query: PageQuery) -> BoxFuture<'_, Result<Page, ArchiveError>>;
}

/// Which envelopes are wanted next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageQuery {
    /// When they were sent.
    pub range: TimeRange,
    /// Their topics; [`Bloom::FULL`] means all.
    pub topics: Bloom,
    /// Only what sorts after this.
    pub after: Option<Cursor>,
    /// At most so many.
    pub limit: usize,
}

/// A stretch of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The envelopes, ascending by (sent, hash), at most the limit.
    pub envelopes: Vec<Envelope>,
    /// Whether at least one more follows.
    pub more: bool,
    /// Blocks that were read whole and hashed for it.
    pub blocks: u64,
    /// Bytes that were read of blocks for it.
    pub read: u64,
    /// Days and hours that were looked into, whether they held anything wanted or
    /// not.
    pub looked: u64,
}
