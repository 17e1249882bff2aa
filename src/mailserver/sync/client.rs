//! Asks another mailserver for pages of what it holds.
//!
//! Always true:
//! - A page holds what was asked for and nothing else: range, topics, number and
//!   bytes agree, or it ends with an error.
//! - Every wait ends after [`PATIENCE`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::mailserver::Cursor;
use crate::mailserver::sync::{SyncRequest, SyncResponse, SyncResponseError};
use crate::rlpx::session::LocalNode;
use crate::rlpx::socket::{LinkError, PeerLink, SendError, connect};
use crate::rlpx::{DisconnectReason, Enode};
use crate::whisper::bloom::Bloom;
use crate::whisper::packet::{CAPABILITY, Packet, code};
use crate::whisper::pow::Pow;
use crate::whisper::status::Status;
use crate::whisper::{Envelope, EnvelopeHash};

/// How long one page may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a page: what our own server gives at most, and one packet more.
pub const MAX_PAGE_BYTES: usize = 17 << 20;

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncPage {
    /// Its envelopes.
    pub envelopes: Vec<Envelope>,
    /// Where to go on, if more follows.
    pub next: Option<Cursor>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// No link, or no longer.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The link ended while something was sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The peer speaks no Whisper.
    #[error("the peer speaks no Whisper")]
    NoWhisper,
    /// The peer's response does not read.
    #[error(transparent)]
    Response(#[from] SyncResponseError),
    /// The peer said no, in these words.
    #[error("the mailserver refused: {0}")]
    Refused(String),
    /// An envelope that was not asked for.
    #[error("the mailserver gave {0}, which was not asked for")]
    Unasked(EnvelopeHash),
    /// More than was asked for.
    #[error("the mailserver gave more than was asked for")]
    TooMuch,
    /// A cursor that leads nowhere.
    #[error("the mailserver's cursor does not lead on")]
    Cursor,
    /// Nothing came, or not the end.
    #[error("no whole page came within {} s", PATIENCE.as_secs())]
    Silent,
}

/// A link to a mailserver.
#[derive(Debug)]
pub struct SyncClient {
    link: PeerLink,
    offset: u64,
}

impl SyncClient {
    /// Connects to `server`, as one who wants no messages.
    pub async fn connect(server: &Enode, local: &Arc<LocalNode>) -> Result<Self, SyncError> {
        let link = connect(server, local).await?;
        let (name, _) = CAPABILITY;
        let offset = link.remote().protocol(name).map(|shared| shared.offset);
        let Some(offset) = offset else {
            link.close(DisconnectReason::UselessPeer).await;
            return Err(SyncError::NoWhisper);
        };
        let client = Self { link, offset };
        let status = Packet::Status(Status {
            pow: Pow::ZERO,
            bloom: Some(Bloom::EMPTY),
            light: false,
            confirmations: Some(false),
        });
        client.send(&status).await?;
        Ok(client)
    }

    /// One page.
    pub async fn page(&mut self, request: SyncRequest) -> Result<SyncPage, SyncError> {
        self.send(&Packet::SyncRequest(request.encode())).await?;
        timeout(PATIENCE, self.answer(request))
            .await
            .map_err(|_| SyncError::Silent)?
    }

    async fn answer(&mut self, request: SyncRequest) -> Result<SyncPage, SyncError> {
        let mut page = SyncPage {
            envelopes: Vec::new(),
            next: None,
        };
        let mut bytes = 0;
        loop {
            let message = self.link.recv().await?;
            if message.code != self.offset + u64::from(code::SYNC_RESPONSE) {
                continue;
            }
            let response = SyncResponse::decode(&message.payload)?;
            if !response.error.is_empty() {
                return Err(SyncError::Refused(response.error));
            }
            for envelope in &response.envelopes {
                let place = Cursor::of(envelope);
                let wanted = request.range.contains(envelope.sent())
                    && request.topics.matches(envelope.topic());
                if !wanted || request.cursor == Some(place) {
                    return Err(SyncError::Unasked(envelope.hash()));
                }
                bytes += envelope.rlp().len();
            }
            page.envelopes.extend(response.envelopes);
            let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
            if page.envelopes.len() > limit || bytes > MAX_PAGE_BYTES {
                return Err(SyncError::TooMuch);
            }
            if response.is_final {
                // One that stands still would be asked for ever.
                if response.cursor.is_some() && response.cursor == request.cursor {
                    return Err(SyncError::Cursor);
                }
                page.next = response.cursor;
                return Ok(page);
            }
        }
    }

    /// Ends the link.
    pub async fn close(self) {
        self.link.close(DisconnectReason::Requested).await;
    }

    async fn send(&self, packet: &Packet) -> Result<(), SendError> {
        let code = self.offset + u64::from(packet.code());
        self.link.send(code, packet.encode()).await
    }
}
