//! A link of one's own to an archiver: what is new there, what differs, and
//! pulling it.
//!
//! Always true:
//! - One request at a time; its answer is the next message of its kind with its
//!   number.
//! - Every wait ends after [`PATIENCE`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::compare::{Compare, CompareError, Difference, Next};
use super::message::{
    Message, MessageError, NewsAnswer, Refusal, RequestNumber, Status as ArchiveStatus,
};
use super::pull::{Pull, PullError, PullReport, Step};
use super::shelf::{Shelf, apart};
use super::snapshot::Snapshot;
use super::{CAPABILITY, check::Standard};
use crate::archive::disk::Start;
use crate::rlpx::session::{LocalNode, Message as Frame};
use crate::rlpx::socket::{LinkError, PeerLink, SendError, connect};
use crate::rlpx::{DisconnectReason, Enode, NodeKey};
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::Bloom;
use crate::whisper::node::protocol as whisper;
use crate::whisper::packet::{self, Packet};
use crate::whisper::pow::Pow;
use crate::whisper::status::Status;

/// How long an answer is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Why an archiver did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveClientError {
    /// No link, or no longer.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The link ended while something was sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The peer is no archiver.
    #[error("the peer does not speak gwa/1")]
    NoArchiver,
    /// The peer sent what is no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The peer answered what was not asked.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// The peer's frame is none.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// The peer said no.
    #[error("the archiver refused: {0}")]
    Refused(Refusal),
    /// The peer owes an answer and is silent.
    #[error("nothing came for {} s", PATIENCE.as_secs())]
    Silent,
    /// The archive here could not be read or written.
    #[error("the archive here: {0}")]
    Here(String),
}

/// A link to an archiver.
#[derive(Debug)]
pub struct ArchiveClient {
    link: PeerLink,
    offset: u64,
    status: ArchiveStatus,
    id: RequestNumber,
}

/// What a pull over a link of its own came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// The exchange.
    pub report: PullReport,
    /// Envelopes that were new.
    pub stored: u64,
    /// Envelopes that were not taken.
    pub unfit: u64,
}

/// The node that such a client is: Whisper, which every node wants, and `gwa/1`.
pub fn local_node(key: NodeKey) -> LocalNode {
    let name = concat!("gwa/v", env!("CARGO_PKG_VERSION"));
    LocalNode::new(key, name, vec![whisper(), super::protocol()], 0)
}

impl ArchiveClient {
    /// Connects to `archiver` as [`local_node`], and says who is there. `own` is
    /// what the archiver is told of an archive here; it need not be true.
    pub async fn connect(
        archiver: &Enode,
        local: &Arc<LocalNode>,
        own: Option<ArchiveStatus>,
    ) -> Result<Self, ArchiveClientError> {
        let link = connect(archiver, local).await?;
        let remote = Arc::clone(link.remote());
        let (name, _) = CAPABILITY;
        let Some(shared) = remote.protocol(name) else {
            link.close(DisconnectReason::UselessPeer).await;
            return Err(ArchiveClientError::NoArchiver);
        };
        // A node that is told nothing of Whisper takes the seat away again.
        let (name, _) = packet::CAPABILITY;
        if let Some(whisper) = remote.protocol(name) {
            let status = Packet::Status(Status {
                pow: Pow::ZERO,
                bloom: Some(Bloom::EMPTY),
                light: false,
                confirmations: Some(false),
            });
            let code = whisper.offset + u64::from(status.code());
            link.send(code, status.encode()).await?;
        }
        let mut client = Self {
            link,
            offset: shared.offset,
            status: own.unwrap_or_else(no_archive),
            id: RequestNumber::default(),
        };
        client.send(&Message::Status(client.status.clone())).await?;
        client.status = client
            .wait(|message| match message {
                Message::Status(status) => Ok(status),
                other => Err(other),
            })
            .await?;
        Ok(client)
    }

    /// What the archiver said of itself.
    pub fn status(&self) -> &ArchiveStatus {
        &self.status
    }

    /// What is new since `start`, of these topics or of all; at most `limit`
    /// envelopes. Go on with the answer's position.
    pub async fn news(
        &mut self,
        start: Start,
        topics: Option<Bloom>,
        limit: u32,
    ) -> Result<NewsAnswer, ArchiveClientError> {
        self.id = RequestNumber(self.id.0.wrapping_add(1));
        let asked = self.id;
        self.send(&Message::GetNews {
            id: asked,
            start,
            topics,
            limit,
        })
        .await?;
        let answer = self
            .wait(|message| match message {
                Message::News { id, answer } if id == asked => Ok(answer),
                other => Err(other),
            })
            .await?;
        answer.map_err(ArchiveClientError::Refused)
    }

    /// What the archiver has of a snapshot's range and the snapshot has not, and
    /// the other way round.
    pub async fn difference(
        &mut self,
        snapshot: Arc<Snapshot>,
    ) -> Result<Difference, ArchiveClientError> {
        let range = snapshot.range();
        let (mut compare, mut frame) = Compare::begin(snapshot);
        loop {
            self.id = RequestNumber(self.id.0.wrapping_add(1));
            let id = self.id;
            self.send(&Message::Compare { id, range, frame }).await?;
            let answer = match self.answer_to(id).await? {
                Message::Compared { answer, .. } => answer,
                _ => return Err(PullError::Unasked.into()),
            };
            let answer = answer.map_err(ArchiveClientError::Refused)?;
            let next;
            (compare, next) = compare.answered(&answer)?;
            match next {
                Next::Send(next) => frame = next,
                Next::Done(found) => return Ok(found),
            }
        }
    }

    /// Stores on `shelf` what the archiver has of `range` and the shelf has not.
    pub async fn pull(
        &mut self,
        range: TimeRange,
        shelf: &Arc<Shelf>,
        standard: Standard,
        now: UnixSeconds,
    ) -> Result<Pulled, ArchiveClientError> {
        let mut pulled = Pulled::default();
        let (mut pull, mut step) = Pull::begin(range, HashSet::new(), self.id);
        pulled.report = loop {
            step = match step {
                Step::Snapshot(range) => match shelf.snapshot_soon(range).await {
                    Ok(Some(snapshot)) => {
                        let compared = apart(pull, |pull| pull.compare(snapshot)).await;
                        let next;
                        (pull, next) = compared.ok_or_else(panicked)?;
                        next
                    }
                    Ok(None) => pull.too_many(),
                    Err(error) => return Err(ArchiveClientError::Here(error)),
                },
                Step::Send(request) => {
                    self.send(&request).await?;
                    let answer = self.answer_to(pull.id()).await?;
                    let answered = apart(pull, |pull| pull.answered(answer)).await;
                    let next;
                    (pull, next) = answered.ok_or_else(panicked)?;
                    next?
                }
                Step::Store(mut envelopes) => {
                    let given = envelopes.len();
                    envelopes.retain(|envelope| standard.judge(envelope, now).is_ok());
                    let unfit = given - envelopes.len();
                    pulled.unfit += u64::try_from(unfit).unwrap_or(u64::MAX);
                    let stored = shelf.store(envelopes).await;
                    pulled.stored += stored.map_err(ArchiveClientError::Here)?.stored;
                    pull.stored()
                }
                Step::Done(report) => break report,
            };
        };
        self.id = pull.id();
        Ok(pulled)
    }

    /// Ends the link.
    pub async fn close(self) {
        self.link.close(DisconnectReason::Requested).await;
    }

    async fn answer_to(&mut self, id: RequestNumber) -> Result<Message, ArchiveClientError> {
        self.wait(|message| {
            // The archiver numbers its own requests as it likes.
            if message.id() == Some(id) && !is_request(&message) {
                Ok(message)
            } else {
                Err(message)
            }
        })
        .await
    }

    async fn send(&self, message: &Message) -> Result<(), ArchiveClientError> {
        let code = self.offset + u64::from(message.code());
        Ok(self.link.send(code, message.encode()).await?)
    }

    /// Waits for a message that `wanted` takes. An archiver may ask meanwhile: it
    /// is told that there is no time for it.
    async fn wait<T>(
        &mut self,
        mut wanted: impl FnMut(Message) -> Result<T, Message>,
    ) -> Result<T, ArchiveClientError> {
        let waiting = async {
            loop {
                let frame = self.link.recv().await?;
                let Some(message) = self.read(&frame)? else {
                    continue;
                };
                match wanted(message) {
                    Ok(found) => return Ok(found),
                    Err(other) => self.turn_down(other).await?,
                }
            }
        };
        timeout(PATIENCE, waiting)
            .await
            .map_err(|_| ArchiveClientError::Silent)?
    }

    fn read(&self, frame: &Frame) -> Result<Option<Message>, ArchiveClientError> {
        let code = frame
            .code
            .checked_sub(self.offset)
            .filter(|code| *code < super::CODES_RESERVED)
            .and_then(|code| u8::try_from(code).ok());
        match code {
            Some(code) => Ok(Some(Message::decode(code, &frame.payload)?)),
            None => Ok(None),
        }
    }

    async fn turn_down(&self, request: Message) -> Result<(), ArchiveClientError> {
        if is_request(&request) {
            self.send(&request.refused(Refusal::Busy)).await?;
        }
        Ok(())
    }
}

fn panicked() -> ArchiveClientError {
    ArchiveClientError::Here("BUG: the comparison panicked".to_owned())
}

fn is_request(message: &Message) -> bool {
    matches!(
        message,
        Message::GetNews { .. } | Message::Compare { .. } | Message::GetEnvelopes { .. }
    )
}

/// What one says who has no archive.
fn no_archive() -> ArchiveStatus {
    use crate::archive::disk::position::{ArchiveTag, Arrived, HeadMark, Position};
    let archive = ArchiveTag([0; 8]);
    ArchiveStatus {
        archive,
        head: None,
        sequence: 0,
        watermark: UnixSeconds(0),
        position: Position {
            archive,
            since: HeadMark::default(),
            arrived: Arrived::default(),
            walk: None,
        },
    }
}
