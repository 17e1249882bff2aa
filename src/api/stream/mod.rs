//! `GET /api/v1/stream`: envelopes as they are archived, as server-sent events, for
//! programs beside the mailserver: bridges, bots, push servers.
//!
//! | event | data | when |
//! |---|---|---|
//! | `envelope` | a row of `/api/v1/query` | it is durable |
//! | `position` | `{position}` | at the start, and where time passed without an envelope |
//! | `missed` | `{reason, hint}` | it cannot go on from where it was asked to |
//!
//! Always true:
//! - Nothing is held for a reader: each reads the archive from its own position
//!   (`docs/spec/positions.md`). Who is slow is told later, and holds up nobody.
//! - Whoever goes on from the last `id` is told of every envelope that arrived since,
//!   at least once; where that cannot be, `missed` says so first.
//! - Streams are bounded in number, and end with the daemon.

mod reading;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::Semaphore;

use crate::api::Api;
use crate::api::asked::Asked;
use crate::api::client::Client;
use crate::api::events::ALIVE;
use crate::api::failure::Failure;
use crate::api::seats::Seats;
use crate::archive::disk::{Position, Start};
use crate::archive::filter::TopicFilter;

use reading::Reading;

/// Streams at a time: as many as of `/api/v1/events`; both together leave half of the
/// connections to those who ask.
pub(super) const MAX_STREAMS: usize = 64;

/// Streams of one address beyond this machine and its private networks: a program may
/// follow some groups of topics apart.
const MAX_STREAMS_OF_ADDRESS: usize = 6;

/// Streams that read the disk at a time: sealing, mail and queries go on beside them.
const MAX_READS: usize = 2;

/// Where a browser goes on that lost its stream.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The seats of streams, and their turns.
#[derive(Debug)]
pub(super) struct Streams {
    seats: Seats,
    reads: Arc<Semaphore>,
}

impl Streams {
    /// Without a stream so far.
    pub(super) fn new(exempt_local: bool) -> Self {
        Self {
            seats: Seats::new(MAX_STREAMS, MAX_STREAMS_OF_ADDRESS, exempt_local),
            reads: Arc::new(Semaphore::new(MAX_READS)),
        }
    }
}

/// What is listened for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    topics: TopicFilter,
    /// With ciphertext.
    data: bool,
    start: Start,
}

impl Wanted {
    fn read(uri: &Uri, headers: &HeaderMap) -> Result<Self, Failure> {
        let asked = Asked::of(uri)?;
        let since = asked.one::<Position>("since")?.map(Start::Position);
        let from = asked.one("from")?.map(Start::Time);
        if since.is_some() && from.is_some() {
            let told = "either `since` or `from` says where to begin";
            return Err(Failure::bad_request(told));
        }
        // It says what was told since the URL was written.
        let last = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty());
        let last = last.map(|id| {
            let position = id.to_str().ok().and_then(|id| id.parse().ok());
            let told = "`Last-Event-ID` is no position: it is the `id` of an event";
            position.ok_or_else(|| Failure::bad_request(told))
        });
        let last = last.transpose()?.map(Start::Position);
        Ok(Self {
            topics: asked.topics()?,
            data: asked.data()?,
            start: last.or(since).or(from).unwrap_or(Start::Now),
        })
    }
}

/// Answers `/api/v1/stream`.
pub(super) async fn get(State(api): State<Arc<Api>>, request: Request) -> Response {
    let address = Client::address_of(&request);
    let wanted = Wanted::read(request.uri(), request.headers());
    let begun = wanted.and_then(|wanted| Ok((wanted, api.streams.seats.take(address)?)));
    let (wanted, seat) = match begun {
        Ok(begun) => begun,
        Err(failure) => return failure.into_response(),
    };
    let reading = Reading::new(api, wanted, address, seat);
    let told = stream::unfold(reading, |mut reading| async {
        let event = reading.next().await?;
        Some((Ok::<_, std::convert::Infallible>(event), reading))
    });
    // Also while the archive is read, or a turn for it is waited for.
    let alive = KeepAlive::new().interval(ALIVE);
    let mut response = Sse::new(told).keep_alive(alive).into_response();
    // A proxy that gathers an answer before it passes it on would pass on nothing.
    let headers = response.headers_mut();
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixSeconds;
    use crate::whisper::Topic;

    const HERE: &str = "01aaaaaaaaaaaaaaaa0000000000000001000000640bbbbbbb0000000700000000000000\
                        09";

    fn read(query: &str, last: Option<&str>) -> Result<Wanted, Failure> {
        let uri: Uri = format!("/api/v1/stream?{query}").parse().unwrap();
        let last = last.map(|last| (LAST_EVENT_ID, HeaderValue::from_str(last).unwrap()));
        Wanted::read(&uri, &HeaderMap::from_iter(last))
    }

    #[test]
    fn it_begins_now_or_where_it_is_asked_to_and_goes_on_where_it_was_left() {
        let here: Position = HERE.parse().unwrap();
        let start = |query: &str, last| read(query, last).unwrap().start;
        assert_eq!(start("", None), Start::Now);
        assert_eq!(start("from=77", None), Start::Time(UnixSeconds(77)));
        let since = format!("since={HERE}");
        assert_eq!(start(&since, None), Start::Position(here));
        assert_eq!(start("from=77", Some(HERE)), Start::Position(here));
        assert_eq!(start("", Some("")), Start::Now);
        for wrong in [
            format!("{since}&from=77"),
            "since=01".to_owned(),
            "from=x".to_owned(),
        ] {
            assert!(read(&wrong, None).is_err(), "{wrong}");
        }
        assert!(read("", Some("7")).is_err());
    }

    #[test]
    fn topics_and_chats_are_any_of_them() {
        let wanted = read("topic=0x01020304&chat=status&data=1", None).unwrap();
        let chat = Topic::of_public_chat("status");
        let any = TopicFilter::Any([Topic([1, 2, 3, 4]), chat].into());
        assert_eq!((wanted.topics, wanted.data), (any, true));
        assert_eq!(read("", None).unwrap().topics, TopicFilter::All);
        assert!(read("topic=0x01", None).is_err());
    }
}
