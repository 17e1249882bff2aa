//! All that one server has of a range: page after page, over as many links as
//! it takes.
//!
//! Always true:
//! - What is held is one packet. Envelopes that came twice, because a link was
//!   lost within a page, are handed on twice.
//! - [`History::cursor`] is where to go on, now or another day: everything
//!   before it was handed on.
//! - A server that was reached is dialled again a bounded number of times within
//!   a page; one that was not is not tried again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::mailserver::Cursor;
use crate::mailserver::client::answer::{AnswerEnd, Follow};
use crate::mailserver::client::{ClientError, Delivery, MailClient, Requester};
use crate::mailserver::request::{MailQuery, RequestId};
use crate::rlpx::Enode;
use crate::rlpx::session::LocalNode;
use crate::time::Clock;
use crate::whisper::Envelope;

/// Links opened for one page, after the first was lost.
pub const RECONNECTS: u32 = 5;

/// How long to wait before the first of them; each further one waits twice as
/// long: 31 s in all.
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two tries.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The most tries that can be asked for: a night of them.
pub const MAX_RETRIES: u32 = 500;

/// What happens while a history is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link is open, to a server that calls itself this.
    Connected {
        /// Its name.
        name: String,
        /// Whether it is asked in the binary form of geth, because of its name.
        is_geth: bool,
    },
    /// A page was asked for.
    Asked(RequestId),
    /// Envelopes came, each of which was asked for.
    Envelopes(Vec<Envelope>),
    /// A page has ended.
    Page(AnswerEnd),
    /// The link was lost; the page is asked for again after a pause.
    Lost {
        /// Why.
        reason: String,
        /// The pause.
        pause: Duration,
    },
    /// There is nothing more, or only one page was wanted.
    End,
}

/// The history of one server.
pub struct History {
    server: Enode,
    local: Arc<LocalNode>,
    requester: Requester,
    clock: Arc<dyn Clock>,
    query: MailQuery,
    follow: Follow,
    one_page: bool,
    retries: u32,
    first_pause: Duration,
    state: State,
    failures: u32,
    was_reached: bool,
}

enum State {
    Unconnected,
    Paused(Pin<Box<dyn Future<Output = ()> + Send>>),
    Connected(Box<MailClient>),
    Asked(Box<MailClient>),
    Ended(Option<Box<MailClient>>),
}

impl History {
    /// What `server` has that matches `query`, from its cursor on; its limit is
    /// the size of a page.
    pub fn new(
        server: Enode,
        local: Arc<LocalNode>,
        requester: Requester,
        clock: Arc<dyn Clock>,
        query: MailQuery,
    ) -> Self {
        Self {
            server,
            local,
            requester,
            clock,
            follow: Follow::from(query.cursor),
            query,
            one_page: false,
            retries: RECONNECTS,
            first_pause: FIRST_PAUSE,
            state: State::Unconnected,
            failures: 0,
            was_reached: false,
        }
    }

    /// Ends after the first page.
    #[must_use]
    pub fn one_page(mut self) -> Self {
        self.one_page = true;
        self
    }

    /// Opens at most this many links for one page after the first was lost,
    /// instead of [`RECONNECTS`].
    #[must_use]
    pub fn retries(mut self, most: u32) -> Self {
        self.retries = most.min(MAX_RETRIES);
        self
    }

    /// Waits this long before the first new link, instead of [`FIRST_PAUSE`].
    #[must_use]
    pub fn first_pause(mut self, pause: Duration) -> Self {
        self.first_pause = pause;
        self
    }

    /// The server.
    pub fn server(&self) -> &Enode {
        &self.server
    }

    /// Where to go on: everything before it was handed on. None is the
    /// beginning.
    pub fn cursor(&self) -> Option<Cursor> {
        self.follow.at()
    }

    /// Begins another query at the same server, over the link there is.
    pub fn restart(&mut self, query: MailQuery) {
        self.follow = Follow::from(query.cursor);
        self.query = query;
        self.failures = 0;
        self.state = match std::mem::replace(&mut self.state, State::Unconnected) {
            State::Connected(client) | State::Ended(Some(client)) => State::Connected(client),
            // An answer that is still under way would be taken for the next.
            _ => State::Unconnected,
        };
    }

    /// What happens next. After [`Event::End`], and after an error, nothing
    /// does. May be dropped while it waits.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        match self.try_next().await {
            Err(error) if error.is_link_lost() && self.was_reached => self.lost(error),
            Err(error) => {
                self.state = State::Ended(None);
                Err(error)
            }
            Ok(event) => Ok(event),
        }
    }

    /// Says goodbye.
    pub async fn close(self) {
        if let State::Connected(client) | State::Asked(client) | State::Ended(Some(client)) =
            self.state
        {
            client.close().await;
        }
    }

    fn lost(&mut self, error: ClientError) -> Result<Event, ClientError> {
        if self.failures >= self.retries {
            self.state = State::Ended(None);
            return Err(error);
        }
        let doubled = self
            .first_pause
            .saturating_mul(2u32.saturating_pow(self.failures));
        let pause = doubled.min(LONGEST_PAUSE.max(self.first_pause));
        self.failures += 1;
        self.state = State::Paused(Box::pin(tokio::time::sleep(pause)));
        Ok(Event::Lost {
            reason: error.to_string(),
            pause,
        })
    }

    async fn try_next(&mut self) -> Result<Event, ClientError> {
        if let State::Paused(pause) = &mut self.state {
            pause.await;
            self.state = State::Unconnected;
        }
        match &mut self.state {
            State::Unconnected | State::Paused(_) => {
                let client = MailClient::connect(&self.server, &self.local).await?;
                self.was_reached = true;
                let connected = Event::Connected {
                    name: client.server_name(),
                    is_geth: client.is_geth(),
                };
                self.state = State::Connected(Box::new(client));
                Ok(connected)
            }
            State::Connected(client) => {
                self.query.cursor = self.follow.at();
                let now = self.clock.now();
                let id = client.ask(self.query, &self.requester, now).await?;
                if let State::Connected(client) =
                    std::mem::replace(&mut self.state, State::Unconnected)
                {
                    self.state = State::Asked(client);
                }
                Ok(Event::Asked(id))
            }
            State::Asked(client) => match client.delivered().await? {
                Delivery::Envelopes(envelopes) => Ok(Event::Envelopes(envelopes)),
                Delivery::End(end) => {
                    let more = self.follow.step(&end)?;
                    self.failures = 0;
                    if let State::Asked(client) =
                        std::mem::replace(&mut self.state, State::Unconnected)
                    {
                        self.state = if more && !self.one_page {
                            State::Connected(client)
                        } else {
                            State::Ended(Some(client))
                        };
                    }
                    Ok(Event::Page(end))
                }
            },
            State::Ended(_) => Ok(Event::End),
        }
    }
}
