//! `/api/v1/events`: what changes while a page is looked at, as server-sent events.
//!
//! | event | data | when |
//! |---|---|---|
//! | `status` | as `/api/v1/status` | at the start, and when it changed |
//! | `head` | `{cid, seq}` | at the start, if there is one, and with each new one |
//! | `peers` | `{count}` | when somebody came or went |
//! | `verify` | as `/api/v1/verify` | at the start, and when it changed |
//!
//! Always true:
//! - It is looked once a second, for all streams together, and not at all while there
//!   is none.
//! - Who does not read misses what was told meanwhile, and holds up nobody; streams
//!   are bounded in number, and end with the daemon.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Request, State};
use axum::http::HeaderValue;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::api::access::Grant;
use crate::api::client::Client;
use crate::api::seats::{Seat, Seats};
use crate::api::status;
use crate::rlpx::NodeId;

/// Streams at a time: a quarter of the connections, so that those who look keep nobody
/// from asking.
pub(super) const MAX_STREAMS: usize = 64;

/// Streams of one address beyond this machine and its private networks: the windows
/// of one browser.
const MAX_STREAMS_OF_ADDRESS: usize = 6;

/// How often it is looked what changed.
const CYCLE: Duration = Duration::from_secs(1);

/// How often something is sent, be it nothing: proxies hang up on silence.
pub(super) const ALIVE: Duration = Duration::from_secs(15);

/// Events kept for a stream that is behind.
const KEPT: usize = 32;

/// The event of who came and went.
const PEERS: &str = "peers";

/// One event: its name and its data.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    name: &'static str,
    whom: Whom,
    data: Arc<str>,
}

/// Who is told of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    Everybody,
    /// Those who are told names of folders and hosts.
    Near,
    /// Those who are not.
    Far,
}

impl Whom {
    /// Of those two.
    fn of(grant: Grant) -> Self {
        match grant {
            Grant::Read => Self::Far,
            Grant::Near | Grant::All => Self::Near,
        }
    }
}

/// Where events are told.
#[derive(Debug)]
pub(super) struct Events {
    sender: broadcast::Sender<Told>,
    seats: Seats,
}

#[derive(Serialize)]
struct Head {
    cid: String,
    seq: u64,
}

#[derive(Serialize)]
struct Peers {
    count: usize,
}

impl Events {
    /// Without a stream so far.
    pub(super) fn new(exempt_local: bool) -> Self {
        Self {
            sender: broadcast::Sender::new(KEPT),
            seats: Seats::new(MAX_STREAMS, MAX_STREAMS_OF_ADDRESS, exempt_local),
        }
    }
}

/// Looks what changes, until `stopping`.
pub(super) async fn watch(api: Arc<Api>, stopping: CancellationToken) {
    let mut cycle = tokio::time::interval(CYCLE);
    cycle.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Seen::default();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = cycle.tick() => {}
        }
        if api.events.sender.receiver_count() == 0 {
            continue;
        }
        let now = Seen::of(&api);
        for told in now.since(&last) {
            // A stream that ended meanwhile is told nothing.
            let _ = api.events.sender.send(told);
        }
        last = now;
    }
}

/// What was seen at one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    status: Arc<str>,
    /// As strangers are told it.
    status_far: Arc<str>,
    head: Option<Arc<str>>,
    peers: Vec<NodeId>,
    verify: Arc<str>,
}

impl Seen {
    fn of(api: &Api) -> Self {
        let head = api.archive.head();
        let mut peers: Vec<_> = api.node.peers().iter().map(|peer| peer.id).collect();
        peers.sort_unstable_by_key(|id| id.0);
        Self {
            status: json(&status::of(api, Grant::Near)),
            status_far: json(&status::of(api, Grant::Read)),
            head: head.map(|head| {
                json(&Head {
                    cid: head.cid().to_string(),
                    seq: head.body().sequence.0,
                })
            }),
            peers,
            verify: json(&api.verifier.told()),
        }
    }

    /// What is told to somebody who knows nothing yet.
    fn all(&self) -> Vec<Told> {
        self.since(&Self {
            peers: self.peers.clone(),
            ..Self::default()
        })
    }

    /// What is told to somebody who knows `last`.
    fn since(&self, last: &Self) -> Vec<Told> {
        let mut news = Vec::new();
        let mut tell = |whom, name, data: &Arc<str>| {
            let data = Arc::clone(data);
            news.push(Told { name, whom, data });
        };
        if self.status != last.status {
            tell(Whom::Near, "status", &self.status);
        }
        if self.status_far != last.status_far {
            tell(Whom::Far, "status", &self.status_far);
        }
        if let Some(head) = self.head.as_ref().filter(|_| self.head != last.head) {
            tell(Whom::Everybody, "head", head);
        }
        if self.peers != last.peers {
            let count = self.peers.len();
            tell(Whom::Everybody, PEERS, &json(&Peers { count }));
        }
        if self.verify != last.verify {
            tell(Whom::Everybody, "verify", &self.verify);
        }
        news
    }
}

fn json(told: &impl Serialize) -> Arc<str> {
    serde_json::to_string(told)
        .expect("texts and numbers are JSON")
        .into()
}

/// A stream that is listened to; dropped, its place is free.
struct Listening {
    whom: Whom,
    /// What was told last under each name: what was seen when it began is seen again
    /// by the next look.
    known: BTreeMap<&'static str, Arc<str>>,
    first: std::vec::IntoIter<Told>,
    news: broadcast::Receiver<Told>,
    stopping: CancellationToken,
    _seat: Seat,
}

impl Listening {
    async fn next(&mut self) -> Option<Told> {
        loop {
            let told = self.next_of_all().await?;
            if told.whom != Whom::Everybody && told.whom != self.whom {
                continue;
            }
            // Somebody may come while another goes.
            let is_news = told.name == PEERS || self.known.get(told.name) != Some(&told.data);
            if is_news {
                self.known.insert(told.name, Arc::clone(&told.data));
                return Some(told);
            }
        }
    }

    async fn next_of_all(&mut self) -> Option<Told> {
        if let Some(told) = self.first.next() {
            return Some(told);
        }
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                told = self.news.recv() => match told {
                    Ok(told) => return Some(told),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            }
        }
    }
}

/// Answers `/api/v1/events`.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    Extension(grant): Extension<Grant>,
    request: Request,
) -> Response {
    let events = &api.events;
    let seat = match events.seats.take(Client::address_of(&request)) {
        Ok(seat) => seat,
        Err(failure) => return failure.into_response(),
    };
    // It listens before it looks: nothing falls between.
    let news = events.sender.subscribe();
    let listening = Listening {
        whom: Whom::of(grant),
        known: BTreeMap::new(),
        first: Seen::of(&api).all().into_iter(),
        news,
        stopping: api.stopping.clone(),
        _seat: seat,
    };
    let told = stream::unfold(listening, |mut listening| async {
        let told = listening.next().await?;
        let event = Event::default().event(told.name).data(&*told.data);
        Some((Ok::<_, Infallible>(event), listening))
    });
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

    fn seen(status: &str, head: Option<&str>, peers: &[u8], verify: &str) -> Seen {
        Seen {
            status: status.into(),
            status_far: format!("{status} far").into(),
            head: head.map(Into::into),
            peers: peers.iter().map(|n| NodeId([*n; 64])).collect(),
            verify: verify.into(),
        }
    }

    fn names(told: &[Told]) -> Vec<&'static str> {
        told.iter().map(|told| told.name).collect()
    }

    #[test]
    fn what_changed_is_told_and_nothing_else() {
        let one = seen("a", None, &[], "v");
        assert_eq!(names(&one.all()), ["status", "status", "verify"]);
        assert_eq!(
            [one.all()[0].whom, one.all()[1].whom],
            [Whom::Near, Whom::Far]
        );
        assert!(one.since(&one).is_empty());
        let two = seen("b", Some("h"), &[1], "v");
        let news = ["status", "status", "head", "peers"];
        assert_eq!(names(&two.since(&one)), news);
        assert_eq!(names(&two.all()), ["status", "status", "head", "verify"]);
        // One came while another went.
        let three = seen("b", Some("h"), &[2], "w");
        let told = three.since(&two);
        assert_eq!(names(&told), ["peers", "verify"]);
        assert_eq!(&*told[0].data, r#"{"count":1}"#);
    }
}
