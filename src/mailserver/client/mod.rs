//! The other end: posts envelopes to a node, asks a mailserver for history.
//!
//! Always true:
//! - One request at a time; its answer is what came between it and its
//!   completion, and is handed on packet by packet, never held whole.
//! - An answer holds what was asked for and nothing else ([`answer`]): another
//!   envelope ends it with an error that says which.
//! - Every wait ends, whatever the peer sends meanwhile: [`PATIENCE`] without
//!   news, [`MAX_ANSWER_TIME`] in all.
//! - Mail that nobody asked for is thrown away unread.
//! - A server that refuses the list it was asked in is asked once more, in the
//!   other one ([`ListForm`]), and from then on in that.
//!
//! What a mailserver leaves out cannot be seen here. Asking on from cursor to
//! cursor, over lost links too, is [`history`]'s.

pub mod answer;
mod error;
pub mod history;
mod requester;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

pub use self::answer::AnswerEnd;
use self::answer::{AnswerCheck, Follow};
pub use self::error::{ClientError, Unasked};
pub use self::history::History;
pub use self::requester::{RequestForm, RequestKey, Requester};
use crate::mailserver::Cursor;
use crate::mailserver::request::{ListForm, MailQuery, MailRequest, RequestId};
use crate::mailserver::response::Completion;
use crate::rlpx::session::LocalNode;
use crate::rlpx::socket::{PeerLink, connect};
use crate::rlpx::{DisconnectReason, Enode, NodeId};
use crate::time::UnixSeconds;
use crate::whisper::confirm::{BatchHash, EnvelopeFault};
use crate::whisper::packet::{CAPABILITY, Packet, batch_hash};
use crate::whisper::peer::{Action, Session, SessionConfig};
use crate::whisper::pow::Pow;
use crate::whisper::status::Status;
use crate::whisper::{Bloom, Envelope, EnvelopeHash};

/// How long nothing may come from a server that owes something.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long one answer may take in all. status-go gives up after a minute of
/// sending a packet, and none of its answers has more than a few.
pub const MAX_ANSWER_TIME: Duration = Duration::from_secs(600);

/// Bytes of one answer: 10,000 envelopes of 100 KiB. No answer seen in the field
/// has a hundredth of it.
pub const MAX_ANSWER_BYTES: u64 = 1 << 30;

/// Envelopes of an answer to the binary form, which names no limit: a server of
/// geth sends all it has.
pub const MAX_ENDLESS: u32 = 4_000_000;

/// How long nothing has to come until an answer without completion is taken for
/// ended, unless told otherwise.
pub const QUIET: Duration = Duration::from_secs(5);

/// How a server of status-go refuses a list that it does not read: it takes its
/// first bytes for a range in the binary form, which begins in 2102.
const MISREAD: [&str; 2] = ["query range is invalid: from > to", "query range too big"];

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

/// The next piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Envelopes of one packet, each of which was asked for.
    Envelopes(Vec<Envelope>),
    /// Nothing more.
    End(AnswerEnd),
}

/// A request whose answer has not ended.
#[derive(Clone, Copy, Debug)]
struct Asked {
    id: RequestId,
    check: AnswerCheck,
    /// Where silence is the end, how much of it.
    quiet: Option<Duration>,
    until: Instant,
}

/// A request as it was asked, for asking it again in the other list.
#[derive(Clone, Debug)]
struct Again {
    query: MailQuery,
    requester: Requester,
    now: UnixSeconds,
}

/// Which list a server reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lists {
    /// This one, as far as is known.
    Probably(ListForm),
    /// This one: it refused the other, or answered it.
    Surely(ListForm),
}

impl Lists {
    fn form(self) -> ListForm {
        match self {
            Self::Probably(form) | Self::Surely(form) => form,
        }
    }
}

/// A connection to a node or mailserver.
#[derive(Debug)]
pub struct MailClient {
    link: PeerLink,
    session: Session,
    offset: u64,
    actions: VecDeque<Action>,
    asked: Option<Asked>,
    lists: Lists,
    /// What `asked` asks, where it is a list that the server may not read.
    again: Option<Again>,
    /// Whether `again` is to be asked.
    refused: bool,
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
        let lists = Lists::Probably(ListForm::of_server(&link.remote().hello.client()));
        let mut client = Self {
            link,
            session,
            offset,
            actions: VecDeque::new(),
            asked: None,
            lists,
            again: None,
            refused: false,
        };
        let status = client.session.open();
        client.send(&status).await?;
        let until = Instant::now() + PATIENCE;
        while client.session.status().is_none() {
            client.receive(until).await?;
        }
        client.actions.clear();
        Ok(client)
    }

    /// Who is on the other end.
    pub fn server(&self) -> NodeId {
        self.link.remote().id
    }

    /// What the server calls itself, fit for a terminal.
    pub fn server_name(&self) -> String {
        self.link.remote().hello.client()
    }

    /// The least work of envelopes the server takes.
    pub fn server_pow(&self) -> Pow {
        self.session.pow()
    }

    /// Whether the server says that it acknowledges what it is sent. geth does
    /// not even know the word.
    pub fn server_acknowledges(&self) -> bool {
        let status = self.session.status();
        status.is_some_and(|status| status.confirmations == Some(true))
    }

    /// Whether the server's name is that of a mailserver of geth, which knows
    /// only the binary form and ends no answer.
    pub fn is_geth(&self) -> bool {
        let name = self.server_name();
        ["Geth/", "wnode/"]
            .iter()
            .any(|geth| name.starts_with(geth))
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
        let until = Instant::now() + PATIENCE;
        let mut found = Vec::new();
        loop {
            match self.next_action(until).await? {
                Action::Acknowledged(acknowledged) if acknowledged == batch => return Ok(found),
                Action::Faults {
                    batch: faulty,
                    faults,
                } if faulty == batch => found = faults,
                _ => {}
            }
        }
    }

    /// Keeps the link alive until `other` is done. What the server sends
    /// meanwhile is thrown away. May be dropped while it waits.
    pub async fn attend<T>(&mut self, other: impl Future<Output = T>) -> Result<T, ClientError> {
        tokio::pin!(other);
        loop {
            self.actions.clear();
            let never = Instant::now() + MAX_ANSWER_TIME;
            tokio::select! {
                biased;
                done = &mut other => return Ok(done),
                received = self.receive(never) => match received {
                    // Pings keep a link alive without a packet for us.
                    Ok(()) | Err(ClientError::Silent) => {}
                    Err(error) => return Err(error),
                },
            }
        }
    }

    /// Sends a request; its answer is collected with [`Self::delivered`]. An
    /// answer that was open is given up.
    pub async fn ask(
        &mut self,
        query: MailQuery,
        requester: &Requester,
        now: UnixSeconds,
    ) -> Result<RequestId, ClientError> {
        self.asked = None;
        self.refused = false;
        self.again = None;
        let binary = match requester.form {
            RequestForm::ByName => self.is_geth(),
            RequestForm::List => false,
            RequestForm::Binary => true,
        };
        let list = (!binary).then_some(self.lists.form());
        let id = self.send_request(query, requester, list, now).await?;
        let may_be_refused = !binary && matches!(self.lists, Lists::Probably(_));
        self.again = may_be_refused.then(|| Again {
            query,
            requester: requester.clone(),
            now,
        });
        self.asked = Some(Asked {
            id,
            check: if binary {
                AnswerCheck::without_limit(query)
            } else {
                AnswerCheck::new(query)
            },
            quiet: binary.then_some(requester.quiet),
            until: Instant::now() + MAX_ANSWER_TIME,
        });
        Ok(id)
    }

    async fn send_request(
        &self,
        query: MailQuery,
        requester: &Requester,
        list: Option<ListForm>,
        now: UnixSeconds,
    ) -> Result<RequestId, ClientError> {
        let request = requester.seal(self, query, list, now).await?;
        let id = RequestId::from(request.hash());
        self.send(&Packet::Request(MailRequest::Sealed(request).encode()))
            .await?;
        Ok(id)
    }

    /// The next piece of the answer to what was asked. May be dropped while it
    /// waits; nothing is lost.
    pub async fn delivered(&mut self) -> Result<Delivery, ClientError> {
        loop {
            if self.refused {
                self.ask_in_the_other_list().await?;
            }
            // A copy, so that a wait that is dropped leaves the request open.
            let mut asked = self.asked.ok_or(ClientError::NothingAsked)?;
            let delivered = self.piece(&mut asked).await;
            match &delivered {
                Err(ClientError::Refused(text))
                    if self.again.is_some()
                        && MISREAD.iter().any(|misread| text.starts_with(misread)) =>
                {
                    self.refused = true;
                    continue;
                }
                Ok(Delivery::Envelopes(_)) => self.asked = Some(asked),
                _ => self.asked = None,
            }
            if delivered.is_ok() && self.again.take().is_some() {
                self.lists = Lists::Surely(self.lists.form());
            }
            return delivered;
        }
    }

    /// Asks again what the server took for something else: no range that is asked
    /// for ends before it starts.
    async fn ask_in_the_other_list(&mut self) -> Result<(), ClientError> {
        let (Some(again), Some(asked)) = (self.again.clone(), self.asked) else {
            return Err(ClientError::NothingAsked);
        };
        let other = self.lists.form().other();
        let Again {
            query,
            requester,
            now,
        } = again;
        let sent = self.send_request(query, &requester, Some(other), now).await;
        self.refused = false;
        self.again = None;
        self.lists = Lists::Surely(other);
        self.asked = sent.as_ref().ok().map(|id| Asked { id: *id, ..asked });
        sent.map(|_| ())
    }

    async fn piece(&mut self, asked: &mut Asked) -> Result<Delivery, ClientError> {
        let patience = asked.quiet.unwrap_or(PATIENCE);
        let until = Instant::now() + patience;
        loop {
            let action = match self.next_action(until.min(asked.until)).await {
                Err(ClientError::Silent) if Instant::now() >= asked.until => {
                    return Err(ClientError::Endless);
                }
                Err(ClientError::Silent) if asked.quiet.is_some() => {
                    return Ok(Delivery::End(asked.check.fell_silent()));
                }
                other => other?,
            };
            match action {
                Action::Mail(mail) => {
                    for envelope in &mail {
                        asked.check.take(envelope)?;
                    }
                    if !mail.is_empty() {
                        return Ok(Delivery::Envelopes(mail));
                    }
                }
                Action::MailComplete(payload) => {
                    let completion = Completion::decode(&payload)?;
                    // Others are of requests that were given up.
                    if completion.request() == asked.id {
                        return match completion {
                            Completion::Done { last, next, .. } => {
                                Ok(Delivery::End(asked.check.completed(last, next)))
                            }
                            Completion::Failed { message, .. } => {
                                Err(ClientError::Refused(message))
                            }
                        };
                    }
                }
                _ => {}
            }
        }
    }

    /// Asks for what `query` describes and collects one answer; `next` in it
    /// says whether there is more. For answers that are known to be small.
    pub async fn request(
        &mut self,
        query: MailQuery,
        requester: &Requester,
        now: UnixSeconds,
    ) -> Result<MailAnswer, ClientError> {
        self.ask(query, requester, now).await?;
        let mut envelopes = Vec::new();
        loop {
            match self.delivered().await? {
                Delivery::Envelopes(mail) => envelopes.extend(mail),
                Delivery::End(end) => {
                    return Ok(MailAnswer {
                        envelopes,
                        last: end.last,
                        next: end.next,
                    });
                }
            }
        }
    }

    /// Asks again and again until nothing more follows. For histories that are
    /// known to be small; [`History`] holds only a packet of them.
    pub async fn request_all(
        &mut self,
        mut query: MailQuery,
        requester: &Requester,
        now: UnixSeconds,
    ) -> Result<Vec<Envelope>, ClientError> {
        let mut all = Vec::new();
        let mut follow = Follow::from(query.cursor);
        loop {
            self.ask(query, requester, now).await?;
            let end = loop {
                match self.delivered().await? {
                    Delivery::Envelopes(mail) => all.extend(mail),
                    Delivery::End(end) => break end,
                }
            };
            if !follow.step(&end)? {
                return Ok(all);
            }
            query.cursor = follow.at();
        }
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.link.close(DisconnectReason::Requested).await;
    }

    async fn send(&self, packet: &Packet) -> Result<(), ClientError> {
        let code = self.offset + u64::from(packet.code());
        Ok(self.link.send(code, packet.encode()).await?)
    }

    async fn next_action(&mut self, until: Instant) -> Result<Action, ClientError> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Ok(action);
            }
            self.receive(until).await?;
        }
    }

    /// Takes one message of the server, if one comes before `until`.
    async fn receive(&mut self, until: Instant) -> Result<(), ClientError> {
        let message = timeout_at(until, self.link.recv())
            .await
            .map_err(|_| ClientError::Silent)??;
        let code = message
            .code
            .checked_sub(self.offset)
            .and_then(|code| u8::try_from(code).ok());
        let Some(code) = code else {
            return Ok(());
        };
        self.act(code, &message.payload)
    }

    fn act(&mut self, code: u8, payload: &Bytes) -> Result<(), ClientError> {
        for action in self.session.receive(code, payload)? {
            match action {
                // Nothing was asked for, so nothing is stored or acknowledged.
                Action::Offer { batch, .. } => self.session.batch_failed(batch),
                action => self.actions.push_back(action),
            }
        }
        Ok(())
    }
}
