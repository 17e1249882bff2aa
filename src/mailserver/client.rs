//! The other end: posts envelopes to a node, asks a mailserver for history.
//!
//! Always true:
//! - One request at a time; its answer is what came between it and its
//!   completion.
//! - An answer holds at most as many envelopes as were asked for, each within
//!   the range asked for.
//! - Every wait ends after [`PATIENCE`].
//!
//! What a mailserver leaves out cannot be seen here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use secp256k1::SecretKey;
use tokio::time::timeout;

use crate::mailserver::Cursor;
use crate::mailserver::request::{MailQuery, MailRequest, RequestId};
use crate::mailserver::response::{Completion, CompletionError};
use crate::rlpx::session::LocalNode;
use crate::rlpx::socket::{LinkError, PeerLink, SendError, connect};
use crate::rlpx::{DisconnectReason, Enode, KeyError};
use crate::time::{Expiry, Ttl, UnixSeconds};
use crate::whisper::confirm::{BatchHash, EnvelopeFault};
use crate::whisper::keys::SymKey;
use crate::whisper::message::{MessageRandom, Reader, seal};
use crate::whisper::mining::{Target, Template, mine_within};
use crate::whisper::packet::{CAPABILITY, Packet, batch_hash};
use crate::whisper::peer::{Action, Session, SessionConfig, Violation};
use crate::whisper::pow::Pow;
use crate::whisper::status::Status;
use crate::whisper::{Bloom, Envelope, EnvelopeHash, Topic};

/// How long nothing may come from a server that owes something.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The lifetime of a request's envelope, in seconds: what status clients use.
const REQUEST_TTL: Ttl = Ttl(50);

/// Nonces tried for a request: some ten seconds of mining at most.
const REQUEST_NONCES: u32 = 1 << 24;

/// How a request is encrypted.
#[derive(Clone, Debug)]
pub enum RequestKey {
    /// With the key of the server's password.
    Password(SymKey),
    /// To the server's node key.
    ServerKey,
}

/// Who asks, and how.
#[derive(Debug)]
pub struct Requester {
    /// How requests are encrypted.
    pub key: RequestKey,
    /// Signs requests. Servers ask for a signature and do not care whose.
    pub signer: SecretKey,
    /// The work requests show.
    pub work: Target,
}

impl Requester {
    /// Asks with the key of a password and work enough for status servers.
    pub fn with_password(key: SymKey, signer: SecretKey) -> Self {
        Self {
            key: RequestKey::Password(key),
            signer,
            work: Target::Both(Pow::STATUS_DEFAULT),
        }
    }
}

/// What a mailserver delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailAnswer {
    /// The envelopes, in the order they came.
    pub envelopes: Vec<Envelope>,
    /// The last one the server says it sent.
    pub last: Option<EnvelopeHash>,
    /// Where to go on, if the server says that more follows.
    pub next: Option<Cursor>,
}

/// Why a server did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No link, or no longer.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Something was too large to be sent, or the link ended meanwhile.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The server speaks no Whisper.
    #[error("the peer speaks no Whisper")]
    NoWhisper,
    /// The server broke the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The server ended its answer with nonsense.
    #[error("malformed completion: {0}")]
    Completion(#[from] CompletionError),
    /// The server said no, in these words.
    #[error("the mailserver refused: {0}")]
    Refused(String),
    /// The server delivered more than was asked for.
    #[error("the mailserver delivered more than the {limit} envelopes asked for")]
    TooMany {
        /// What was asked for.
        limit: u32,
    },
    /// The server delivered an envelope from outside the range.
    #[error("the mailserver delivered {hash}, which was not asked for")]
    Unasked {
        /// The envelope.
        hash: EnvelopeHash,
    },
    /// The server owes an answer and is silent.
    #[error("nothing came for {} s", PATIENCE.as_secs())]
    Silent,
    /// No nonce was found for the request.
    #[error("the work asked of requests is out of reach")]
    TooMuchWork,
    /// The server's id is no public key.
    #[error(transparent)]
    ServerKey(#[from] KeyError),
}

/// A connection to a node or mailserver.
#[derive(Debug)]
pub struct MailClient {
    link: PeerLink,
    session: Session,
    offset: u64,
    actions: VecDeque<Action>,
}

impl MailClient {
    /// Connects to `server` and exchanges statuses. The server is told that
    /// nothing but mail is wanted.
    pub async fn connect(server: &Enode, local: &Arc<LocalNode>) -> Result<Self, ClientError> {
        let link = connect(server, local).await?;
        let (name, _) = CAPABILITY;
        let offset = link
            .remote()
            .protocol(name)
            .ok_or(ClientError::NoWhisper)?
            .offset;
        let mut session = Session::new(SessionConfig {
            status: Status {
                pow: Pow::ZERO,
                bloom: Some(Bloom::EMPTY),
                light: false,
                confirmations: Some(false),
            },
            is_mailserver: false,
        });
        session.trust();
        let mut client = Self {
            link,
            session,
            offset,
            actions: VecDeque::new(),
        };
        let status = client.session.open();
        client.send(&status).await?;
        while client.session.status().is_none() {
            client.receive().await?;
        }
        client.actions.clear();
        Ok(client)
    }

    /// The least work of envelopes the server takes.
    pub fn server_pow(&self) -> Pow {
        self.session.pow()
    }

    /// Sends envelopes, without waiting for anything.
    pub async fn post(&mut self, envelopes: Vec<Envelope>) -> Result<BatchHash, ClientError> {
        let packet = Packet::Messages(envelopes);
        let batch = batch_hash(&packet.encode());
        self.send(&packet).await?;
        Ok(batch)
    }

    /// Waits until the server acknowledged `batch`: all of it is in its
    /// archive, but for the faults given. geth never acknowledges.
    pub async fn acknowledged(
        &mut self,
        batch: BatchHash,
    ) -> Result<Vec<EnvelopeFault>, ClientError> {
        let mut found = Vec::new();
        loop {
            match self.next_action().await? {
                Action::Acknowledged(acknowledged) if acknowledged == batch => return Ok(found),
                Action::Faults {
                    batch: faulty,
                    faults,
                } if faulty == batch => found = faults,
                _ => {}
            }
        }
    }

    /// Asks for what `query` describes and collects one answer; `next` in it
    /// says whether there is more.
    pub async fn request(
        &mut self,
        query: MailQuery,
        requester: &Requester,
        now: UnixSeconds,
    ) -> Result<MailAnswer, ClientError> {
        let request = self.seal(query, requester, now).await?;
        let id = RequestId::from(request.hash());
        self.send(&Packet::Request(MailRequest::Sealed(request).encode()))
            .await?;
        let mut envelopes = Vec::new();
        loop {
            match self.next_action().await? {
                Action::Mail(mail) => {
                    for envelope in mail {
                        if envelopes.len() >= usize::try_from(query.limit).unwrap_or(usize::MAX) {
                            return Err(ClientError::TooMany { limit: query.limit });
                        }
                        if !query.range.contains(envelope.sent()) {
                            let hash = envelope.hash();
                            return Err(ClientError::Unasked { hash });
                        }
                        envelopes.push(envelope);
                    }
                }
                Action::MailComplete(payload) => match Completion::decode(&payload)? {
                    Completion::Done {
                        request,
                        last,
                        next,
                    } if request == id => {
                        return Ok(MailAnswer {
                            envelopes,
                            last,
                            next,
                        });
                    }
                    Completion::Failed { request, message } if request == id => {
                        return Err(ClientError::Refused(message));
                    }
                    // Of an earlier request that was given up.
                    Completion::Done { .. } | Completion::Failed { .. } => {}
                },
                _ => {}
            }
        }
    }

    /// Asks again and again until nothing more follows.
    pub async fn request_all(
        &mut self,
        mut query: MailQuery,
        requester: &Requester,
        now: UnixSeconds,
    ) -> Result<Vec<Envelope>, ClientError> {
        let mut all = Vec::new();
        loop {
            let answer = self.request(query, requester, now).await?;
            all.extend(answer.envelopes);
            // A server that leads in circles is not followed.
            match answer.next {
                Some(next) if Some(next) > query.cursor => query.cursor = Some(next),
                _ => return Ok(all),
            }
        }
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.link.close(DisconnectReason::Requested).await;
    }

    async fn seal(
        &self,
        query: MailQuery,
        requester: &Requester,
        now: UnixSeconds,
    ) -> Result<Envelope, ClientError> {
        let payload = query.encode();
        let signer = Some(&requester.signer);
        let random = MessageRandom::draw();
        let sealed = match &requester.key {
            RequestKey::Password(key) => seal(&payload, signer, Reader::Holders(key), &random),
            RequestKey::ServerKey => {
                let key = self.link.remote().id.public_key()?;
                seal(&payload, signer, Reader::Owner(&key), &random)
            }
        };
        let template = Template {
            expiry: Expiry::of(now, REQUEST_TTL),
            ttl: REQUEST_TTL,
            topic: Topic::default(),
            data: sealed.expect("a query is far shorter than the longest payload"),
        };
        let work = requester.work;
        tokio::task::spawn_blocking(move || mine_within(&template, work, REQUEST_NONCES))
            .await
            .ok()
            .flatten()
            .ok_or(ClientError::TooMuchWork)
    }

    async fn send(&self, packet: &Packet) -> Result<(), ClientError> {
        let code = self.offset + u64::from(packet.code());
        Ok(self.link.send(code, packet.encode()).await?)
    }

    async fn next_action(&mut self) -> Result<Action, ClientError> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Ok(action);
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> Result<(), ClientError> {
        let message = timeout(PATIENCE, self.link.recv())
            .await
            .map_err(|_| ClientError::Silent)??;
        let code = message
            .code
            .checked_sub(self.offset)
            .and_then(|code| u8::try_from(code).ok());
        let Some(code) = code else {
            return Ok(());
        };
        for action in self.session.receive(code, &message.payload)? {
            match action {
                // Nothing was asked for, so nothing is stored or acknowledged.
                Action::Offer { batch, .. } => self.session.batch_failed(batch),
                action => self.actions.push_back(action),
            }
        }
        Ok(())
    }
}
