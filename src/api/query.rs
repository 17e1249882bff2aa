//! `/api/v1/query`: envelopes by topic and time, page by page.
//!
//! Always true:
//! - A page is what its head seals, in the order asked for, after its cursor, and
//!   nothing is left out: where a block of the answer is not here, there is no answer.
//! - Every envelope was hashed under the head, and lies in no block that a denylist
//!   names.
//! - An answer, and what is read for it, is bounded in bytes.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::api::Api;
use crate::api::asked::Asked;
use crate::api::client::Client;
use crate::api::failure::Failure;
use crate::api::gateway::{Gateway, Told};
use crate::api::head::{ask_again, no_head};
use crate::api::row::Row;
use crate::archive::disk::sealed_by;
use crate::archive::filter::Filter;
use crate::archive::head::Head;
use crate::archive::query::{First, Order, Query};
use crate::archive::times::Place;
use crate::blocks::{Block, BlockError, BlockSource, Cid, MAX_BLOCK_READ};
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::EnvelopeHash;

/// Envelopes of an answer, unless another number is asked for.
const DEFAULT_LIMIT: usize = 50;

/// Most envelopes of an answer: what a mailserver gives in a page.
const MAX_LIMIT: usize = 1_000;

/// Bytes of an answer, but for its first envelope: the room that answers have to wait
/// in.
const MAX_ANSWER: usize = MAX_BLOCK_READ;

/// Bytes read for an answer. Without a topic whole buckets are read; a month of a
/// million envelopes has 10 MB a day, and this much is hashed in about half a second.
const MAX_READ: u64 = 256 << 20;

/// Bytes of envelopes found for an answer before it looks no further: eight of the
/// largest answers, for only with `data` do the envelopes' bytes count in it.
const MAX_FOUND: usize = 8 * MAX_ANSWER;

/// Answers looked for at a time: each holds up to 64 MiB of leaves, and what it found.
pub(super) const MAX_QUERIES: usize = 3;

/// What of an envelope's JSON does not depend on it, in bytes, about.
const ROW: usize = 330;

/// The turns of queries.
#[derive(Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_QUERIES)))
    }
}

/// Which envelopes are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    filter: Filter,
    order: Order,
    limit: usize,
    after: Option<Cursor>,
    data: bool,
}

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor(Place);

#[derive(Debug, Serialize)]
struct Page {
    /// The head they are of.
    head: String,
    /// What was sent before this instant is not kept here, Unix seconds.
    kept_from: u32,
    envelopes: Vec<Row>,
    /// What `cursor` leads on; absent after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// What was read for it.
    blocks: u64,
    bytes: u64,
}

/// Answers `/api/v1/query`.
pub(super) async fn get(State(api): State<Arc<Api>>, request: Request) -> Response {
    let wanted = match Asked::of(request.uri()).and_then(|asked| Wanted::read(&asked)) {
        Ok(wanted) => wanted,
        Err(failure) => return failure.into_response(),
    };
    let Some(head) = api.archive.head() else {
        return no_head();
    };
    let of_archive = Arc::clone(&api);
    let work = move |source: &dyn BlockSource| {
        let page = page(&of_archive, source, &head, &wanted)?;
        Told::json(ask_again(), &page)
    };
    let address = Client::address_of(&request);
    let turns = Arc::clone(&api.queries.0);
    api.gateway.tell_in_turn(address, turns, work).await
}

impl Wanted {
    fn read(asked: &Asked) -> Result<Self, Failure> {
        let topics = asked.topics()?;
        let from = asked.one("from")?.unwrap_or(UnixSeconds::MIN);
        let to = asked.one("to")?.unwrap_or(UnixSeconds::MAX);
        let range = TimeRange::new(from, to);
        let range = range.map_err(|error| Failure::bad_request(error.to_string()))?;
        let order = match asked.one::<String>("order")?.as_deref() {
            None | Some("newest") => Order::NewestFirst,
            Some("oldest") => Order::OldestFirst,
            Some(_) => return Err(Failure::bad_request("`order` is newest or oldest")),
        };
        Ok(Self {
            filter: Filter { topics, range },
            order,
            limit: asked.number("limit", DEFAULT_LIMIT, 1..=MAX_LIMIT)?,
            after: asked.one("cursor")?,
            data: asked.data()?,
        })
    }

    /// What is left to look for, of what is kept; `None` where nothing can be.
    fn filter(&self, kept_from: UnixSeconds) -> Option<Filter> {
        let mut rest = TimeRange::new(kept_from, UnixSeconds::MAX).ok()?;
        if let Some(Cursor((sent, _))) = self.after {
            let side = match self.order {
                Order::NewestFirst => TimeRange::new(UnixSeconds::MIN, sent),
                Order::OldestFirst => TimeRange::new(sent, UnixSeconds::MAX),
            };
            rest = rest.intersect(side.ok()?)?;
        }
        self.filter.within(rest)
    }
}

fn page(
    api: &Api,
    source: &dyn BlockSource,
    head: &Head,
    wanted: &Wanted,
) -> Result<Page, Failure> {
    let kept_from = api.archive.kept_from().range().from();
    let First {
        records,
        more,
        cost,
    } = match wanted.filter(kept_from) {
        None => First::default(),
        Some(filter) => {
            let bounded = Bounded {
                source,
                gateway: &api.gateway,
                read: AtomicU64::new(0),
                refused: OnceLock::new(),
            };
            let after = wanted.after.map(|cursor| cursor.0);
            let found = Query::new(&bounded, &sealed_by(head), filter)
                // One more tells whether a page follows.
                .and_then(|query| query.first(wanted.order, after, wanted.limit + 1, MAX_FOUND));
            match (found, bounded.refused.into_inner()) {
                (Ok(found), _) => found,
                (Err(_), Some(failure)) => return Err(failure),
                (Err(error), None) => return Err(Failure::unread(&api.archive, &error)),
            }
        }
    };
    let mut page = Page {
        head: head.cid().to_string(),
        kept_from: kept_from.0,
        envelopes: Vec::new(),
        next: None,
        blocks: cost.blocks,
        bytes: cost.bytes,
    };
    let (mut len, mut last) = (0, None);
    for record in &records {
        let data = if wanted.data {
            2 * record.bytes.len()
        } else {
            0
        };
        len += ROW + data;
        let is_full = page.envelopes.len() == wanted.limit || len > MAX_ANSWER;
        if is_full && let Some(last) = last {
            page.next = Some(Cursor(last).to_string());
            break;
        }
        page.envelopes.push(Row::of_record(record, wanted.data)?);
        last = Some((record.key.sent, record.key.hash));
    }
    if more && page.next.is_none() {
        page.next = last.map(|last| Cursor(last).to_string());
    }
    Ok(page)
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, hash) = self.0;
        write!(f, "{:08x}{}", sent.0, hex::encode(hash.0))
    }
}

impl FromStr for Cursor {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 36];
        hex::decode_to_slice(text, &mut bytes)?;
        let (sent, hash) = bytes.split_first_chunk().expect("36 bytes hold 4");
        let mut identity = [0; 32];
        identity.copy_from_slice(hash);
        let sent = UnixSeconds(u32::from_be_bytes(*sent));
        Ok(Self((sent, EnvelopeHash(identity))))
    }
}

/// A source that gives no block that is denied, and not more than [`MAX_READ`] bytes.
struct Bounded<'a> {
    source: &'a dyn BlockSource,
    gateway: &'a Gateway,
    read: AtomicU64,
    /// Why it gave no more.
    refused: OnceLock<Failure>,
}

impl Bounded<'_> {
    /// The query fails by a block that is not given; why is told by `refused`.
    fn refuse(&self, cid: &Cid, failure: Failure) -> BlockError {
        // The first reason stands.
        let _ = self.refused.set(failure);
        BlockError::Missing { cid: *cid }
    }

    /// Fails where `cid` is not given to anybody.
    fn check(&self, cid: &Cid) -> Result<(), BlockError> {
        if !self.gateway.denies(cid) {
            return Ok(());
        }
        let told = "a block of the answer is blocked by a denylist of this gateway";
        Err(self.refuse(cid, Failure::new(StatusCode::GONE, told)))
    }

    /// Fails where `block` is more than is read for one answer.
    fn count(&self, block: &Block) -> Result<(), BlockError> {
        let len = block.bytes().len() as u64;
        if self.read.fetch_add(len, Ordering::Relaxed) <= MAX_READ {
            return Ok(());
        }
        let told = "more would have to be read than for one answer";
        let failure = Failure::new(StatusCode::UNPROCESSABLE_ENTITY, told)
            .hint("name a topic or a chat, a shorter time, or a smaller `limit`");
        Err(self.refuse(block.cid(), failure))
    }
}

impl BlockSource for Bounded<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.check(cid)?;
        let block = self.source.get(cid)?;
        self.count(&block)?;
        Ok(block)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        for cid in cids {
            self.check(cid)?;
        }
        let mut counted = Ok(());
        self.source.get_each(cids, &mut |block| {
            counted = self.count(&block);
            match counted {
                Ok(()) => take(block),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        counted
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.source.has(cid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::filter::TopicFilter;

    #[test]
    fn a_cursor_reads_what_it_prints_and_nothing_else() {
        let cursor = Cursor((UnixSeconds(0x5b9c_4f80), EnvelopeHash([0xab; 32])));
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "5b9c4f80", &"x".repeat(72), &"0".repeat(74)] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_cursor_leaves_its_own_second_and_what_follows_in_the_order() {
        let range = |from, to| TimeRange::new(UnixSeconds(from), UnixSeconds(to)).unwrap();
        let wanted = |order| Wanted {
            filter: Filter {
                topics: TopicFilter::All,
                range: range(100, 900),
            },
            order,
            limit: 1,
            after: Some(Cursor((UnixSeconds(500), EnvelopeHash([1; 32])))),
            data: false,
        };
        let left = |order, kept| {
            let filter = wanted(order).filter(UnixSeconds(kept));
            filter.map(|filter| filter.range)
        };
        assert_eq!(left(Order::NewestFirst, 0), Some(range(100, 500)));
        assert_eq!(left(Order::NewestFirst, 300), Some(range(300, 500)));
        assert_eq!(left(Order::NewestFirst, 501), None);
        assert_eq!(left(Order::OldestFirst, 0), Some(range(500, 900)));
    }
}
