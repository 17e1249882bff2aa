//! One reader of the stream.
//!
//! Always true:
//! - It reads on only when what it read before was taken: a reader that does not read
//!   costs its connection and one page.
//! - It looks when the node tells of an envelope that it wants, and once a second at
//!   what came in other ways: by merging, following or importing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::api::Api;
use crate::api::events::ALIVE;
use crate::api::row::Row;
use crate::api::seats::Seat;
use crate::archive::disk::{News, Position, Since, SinceError, Start};
use crate::archive::leaf::Record;
use crate::limits::Address;
use crate::whisper::node::NodeEvent;

use super::Wanted;

/// Envelopes read at once, and so told again at most where a stream breaks.
const PAGE: usize = 100;

/// Bytes of them, but for the first.
const PAGE_BYTES: usize = 256 << 10;

/// How often it is looked for what the node did not tell of.
const LOOK: Duration = Duration::from_secs(1);

/// A reader.
pub(super) struct Reading {
    api: Arc<Api>,
    wanted: Wanted,
    /// Where the next page begins.
    start: Start,
    /// Whether there is more than was read.
    more: bool,
    page: VecDeque<Record>,
    /// The position that the reader was told last.
    told: Option<Position>,
    news: broadcast::Receiver<NodeEvent>,
    /// The node has ended.
    is_deaf: bool,
    look: Interval,
    last_event: Instant,
    address: Option<Address>,
    _seat: Seat,
}

/// Why waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    /// There may be something to read.
    News,
    /// Nothing was told for a while.
    Quiet,
    /// The daemon ends.
    End,
}

#[derive(Serialize)]
struct Standing {
    position: String,
}

/// Why it did not go on from where it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Missed {
    reason: &'static str,
    hint: &'static str,
}

impl Reading {
    /// Of what `wanted` asks for.
    pub(super) fn new(api: Arc<Api>, wanted: Wanted, address: Option<Address>, seat: Seat) -> Self {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            // It listens before it looks: nothing falls between.
            news: api.node.events(),
            start: wanted.start,
            wanted,
            more: true,
            page: VecDeque::new(),
            told: None,
            is_deaf: false,
            look,
            last_event: Instant::now(),
            address,
            _seat: seat,
            api,
        }
    }

    /// What is told next; `None` where the stream ends.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let event = self.next_event().await?;
        self.last_event = Instant::now();
        Some(event)
    }

    async fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(record) = self.page.pop_front() {
                return self.envelope(&record);
            }
            if !self.more {
                match self.wait().await {
                    Woken::News => {}
                    Woken::Quiet => return Some(self.quiet()),
                    Woken::End => return None,
                }
            }
            let news = tokio::select! {
                () = self.api.stopping.cancelled() => return None,
                news = self.read() => news?,
            };
            match news {
                Ok(news) => {
                    self.start = Start::Position(news.next);
                    self.more = news.more;
                    self.page = news.records.into();
                    if self.page.is_empty() && !self.more && self.told.is_none() {
                        return Some(self.quiet());
                    }
                }
                Err(missed) => {
                    self.start = Start::Now;
                    self.more = true;
                    self.told = None;
                    return Some(event("missed", &missed));
                }
            }
        }
    }

    /// An envelope; with the last of a page, where to go on.
    fn envelope(&mut self, record: &Record) -> Option<Event> {
        // Why it could not be read was logged.
        let row = Row::of_record(record, self.wanted.data).ok()?;
        let told = event("envelope", &row);
        match self.start {
            Start::Position(position) if self.page.is_empty() => {
                self.told = Some(position);
                Some(told.id(position.to_string()))
            }
            _ => Some(told),
        }
    }

    /// Where to go on, if that has changed; else anything.
    fn quiet(&mut self) -> Event {
        match self.start {
            Start::Position(position) if self.told != Some(position) => {
                self.told = Some(position);
                let position = position.to_string();
                let standing = Standing {
                    position: position.clone(),
                };
                event("position", &standing).id(position)
            }
            _ => Event::default().comment(""),
        }
    }

    /// The next page; `None` where the archive cannot be read.
    async fn read(&self) -> Option<Result<News, Missed>> {
        // A fork that rests on another's history has what it grew itself: of older
        // times nothing is fetched for whoever asks.
        if matches!(self.start, Start::Time(_)) && !self.api.archive.is_complete() {
            return Some(Err(NOT_HELD));
        }
        // Where one stands is known without reading: nobody is waited for.
        let turn = match self.start {
            Start::Now => None,
            _ => Some(Arc::clone(&self.api.streams.reads).acquire_owned().await),
        };
        let archive = Arc::clone(&self.api.archive);
        let asked = Since {
            start: self.start,
            topics: self.wanted.topics.clone(),
            limit: PAGE,
            max_bytes: PAGE_BYTES,
        };
        let read = tokio::task::spawn_blocking(move || {
            // The turn lasts as long as the work, even if nobody waits for it.
            let _turn = turn;
            archive.since_held(&asked)
        });
        let news = match read.await.ok()? {
            Ok(news) => news,
            Err(error) => return missed(&error).map(Err),
        };
        let bytes = news.records.iter().map(|record| record.bytes.len()).sum();
        let gateway = &self.api.gateway;
        let owed = gateway.charge_read(self.address, bytes, news.looked);
        tokio::time::sleep(owed).await;
        Some(Ok(news))
    }

    async fn wait(&mut self) -> Woken {
        let quiet = self.last_event + ALIVE;
        loop {
            tokio::select! {
                () = self.api.stopping.cancelled() => return Woken::End,
                heard = self.news.recv(), if !self.is_deaf => match heard {
                    Ok(NodeEvent::Envelopes(envelopes)) => {
                        let mut topics = envelopes.iter().map(|envelope| envelope.topic());
                        if topics.any(|topic| self.wanted.topics.matches(topic)) {
                            return Woken::News;
                        }
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return Woken::News,
                    Err(RecvError::Closed) => self.is_deaf = true,
                },
                _ = self.look.tick() => {
                    if self.start != Start::Position(self.api.archive.here().1) {
                        return Woken::News;
                    }
                }
                () = tokio::time::sleep_until(quiet) => return Woken::Quiet,
            }
        }
    }
}

/// What came since is with another archive.
const NOT_HELD: Missed = Missed {
    reason: "not-held",
    hint: "what came since is not held here: ask the archive that has it",
};

/// What a reader is told of why it missed something; `None` where the archive failed,
/// which is logged.
fn missed(error: &SinceError) -> Option<Missed> {
    let (reason, hint) = match error {
        SinceError::AnotherArchive => (
            "another-archive",
            "positions are of one archive: ask the one that gave it",
        ),
        SinceError::Ahead => (
            "ahead",
            "the archive was restored from a copy: ask `from` a time before that was made",
        ),
        SinceError::AnotherLineage => (
            "another-lineage",
            "the archive was restored from a copy: ask `from` a time before that was made",
        ),
        SinceError::TooOld => (
            "too-old",
            "ask `from` a time well before what was told last",
        ),
        SinceError::Disk(error) if error.is_missing() => return Some(NOT_HELD),
        SinceError::Disk(error) => {
            tracing::error!(%error, "a stream ends: the archive cannot be read");
            return None;
        }
    };
    Some(Missed { reason, hint })
}

fn event(name: &str, told: &impl Serialize) -> Event {
    let json = serde_json::to_string(told).expect("texts and numbers are JSON");
    Event::default().event(name).data(json)
}
