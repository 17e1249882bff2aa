//! `/api/v1/mirrors`: who follows this archive, whom it follows itself, and which
//! archives were heard of.
//!
//! Always true:
//! - Who follows is known in memory alone: at most [`MAX_FOLLOWERS`] addresses that
//!   asked for heads in the last [`REMEMBERED`] seconds. Of who asks for blocks alone,
//!   and of browsers, nothing is noted.
//! - What is said of archives that announce themselves is what they said: each head is
//!   signed, and nothing else of it was checked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde::Serialize;

use crate::api::Api;
use crate::api::client::Client;
use crate::api::failure::Failure;
use crate::api::gateway;
use crate::api::head::ask_again;
use crate::archive::disk::{Archive, PageRequest};
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::head::Head;
use crate::archive::times::Place;
use crate::blocks::{BlockSource, Cid};
use crate::config::without_credentials;
use crate::limits::Address;
use crate::node::rounds::{Purpose, Round};
use crate::publish::announcement::topic;
use crate::publish::{Announcement, Heard, Listener};
use crate::sources::head_of_tag;
use crate::time::{DAY, HOUR, TimeRange, UnixSeconds};
use crate::whisper::Envelope;

/// Addresses remembered: more mirrors than an archive has, in some 64 KiB.
const MAX_FOLLOWERS: usize = 256;

/// How long they are, in seconds: a mirror that is off over a long weekend is missed,
/// one that left for good is not.
const REMEMBERED: u32 = 7 * DAY;

/// Longest name of a client that is kept, in bytes.
const MAX_AGENT: usize = 120;

/// How a `gwa` that follows calls itself.
const OWN_AGENT: &str = "gwa/";

/// How far back announcements are listened to at first, as `gwa discover` does.
const HEARD_SINCE: u32 = DAY;

/// How far a later look goes back behind the last announcement: what came late by
/// more is left to `gwa discover`.
const LATE: u32 = HOUR;

/// Announcements opened for one answer: some 0.2 s of work. A network that has more
/// is caught up with by the answers that follow.
const MAX_OPENED: usize = 500;

/// The media type of one block.
const RAW: &str = "application/vnd.ipld.raw";

/// Seconds within which the same is told again.
const FRESH: u32 = 10;

/// Who follows, and who was heard of.
#[derive(Debug, Default)]
pub(super) struct Mirrors {
    followers: Mutex<BTreeMap<Address, Follower>>,
    heard: Mutex<HeardSoFar>,
}

/// One who asked for heads.
#[derive(Clone, Debug)]
struct Follower {
    agent: String,
    first: UnixSeconds,
    last: UnixSeconds,
    /// The head it was told last.
    told: Option<Told>,
    /// The newest of these that it said to have copied and recomputed, and when.
    verified: Option<(Told, UnixSeconds)>,
    carried: Arc<Carried>,
}

/// A head that a follower was told.
#[derive(Clone, Debug)]
struct Told {
    head: Cid,
    seq: u64,
}

/// What went to one follower.
#[derive(Debug, Default)]
struct Carried {
    blocks: AtomicU64,
    bytes: AtomicU64,
}

/// What was heard, and up to where.
#[derive(Debug, Default)]
struct HeardSoFar {
    listener: Listener,
    after: Option<Place>,
    at: Option<UnixSeconds>,
}

#[derive(Debug, Serialize)]
struct Page {
    mirrors: Vec<Mirror>,
    following: Vec<Followed>,
    discovered: Vec<Discovered>,
}

/// Who follows.
#[derive(Debug, Serialize)]
struct Mirror {
    /// An IPv4 address, or the first 64 bits of an IPv6 address.
    address: String,
    /// What it calls itself.
    agent: String,
    /// When it asked for heads first and last, Unix seconds.
    first: u32,
    last: u32,
    /// The head it was told last, and its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// How many heads there have been since.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<u64>,
    /// The newest of the heads told that it says to have copied and recomputed, its
    /// number, and when it said so last.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<VerifiedJson>,
    /// Blocks that it asked for one by one, and bytes of these and of CARs.
    blocks: u64,
    bytes: u64,
}

/// A head that was verified.
#[derive(Debug, Serialize)]
struct VerifiedJson {
    head: String,
    seq: u64,
    /// Unix seconds.
    at: u32,
}

/// Somebody whom this daemon follows.
#[derive(Debug, Serialize)]
struct Followed {
    /// Where, as its user wrote it, without what is secret.
    name: String,
    /// `origin`, whose mirror or fork this is, or `merge`.
    purpose: &'static str,
    /// When it was asked last, Unix seconds; absent before the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<u32>,
    /// Its newest head that was fetched and recomputed since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<VerifiedJson>,
    /// Why the last round brought nothing, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

/// An archive that announces itself.
#[derive(Debug, Serialize)]
struct Discovered {
    /// The key that its heads are signed with, hex with `0x`.
    archive: String,
    /// Whether that is this archive's.
    own: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    head: String,
    seq: u64,
    /// Envelopes it says to hold, and their bytes.
    count: u64,
    bytes: u64,
    /// When it was announced last, Unix seconds.
    heard: u32,
    /// Where it says to be had.
    endpoints: Vec<String>,
    /// All of it in one line.
    share: String,
    /// Another head of the same number and key: whoever signed both lies to somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    rival: Option<String>,
}

/// Answers `/api/v1/mirrors`.
pub(super) async fn get(State(api): State<Arc<Api>>, request: Request) -> Response {
    let of_daemon = Arc::clone(&api);
    let work = move |_: &dyn BlockSource| {
        let (archive, now) = (&of_daemon.archive, of_daemon.node.now());
        let (discovered, read) = of_daemon.mirrors.discovered(archive, now)?;
        let seq = archive.head().map(|head| head.body().sequence.0);
        let page = Page {
            mirrors: of_daemon.mirrors.followers(now, seq),
            following: of_daemon.rounds.now().into_iter().map(followed).collect(),
            discovered,
        };
        Ok(gateway::Told::json(ask_again(), &page)?.having_read(read))
    };
    let address = Client::address_of(&request);
    api.gateway.tell(address, work).await
}

/// Notes who asks for heads.
pub(super) async fn note_heads(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Response {
    let asks = asks(&request).then(|| {
        let tag = request.headers().get(header::IF_NONE_MATCH);
        let has = tag.and_then(head_of_tag);
        (Client::address_of(&request), agent(request.headers()), has)
    });
    let response = next.run(request).await;
    let answered = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
    if answered && let Some((Some(address), agent, has)) = asks {
        let head = api.archive.head();
        let head = head.as_ref().map(Told::from);
        api.mirrors.note(address, agent, head, has, api.node.now());
    }
    response
}

/// Counts what is given of blocks, and what of it goes to those who follow.
pub(super) async fn count_blocks(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Response {
    let address = Client::address_of(&request).filter(|_| asks(&request));
    let is_get = request.method() == Method::GET;
    let response = next.run(request).await;
    if !is_get || !response.status().is_success() {
        return response;
    }
    let carried = address.and_then(|address| api.mirrors.carried(address));
    let meters = Arc::clone(&api.meters);
    let kind = response.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind == RAW) {
        meters.blocks.count();
        if let Some(carried) = &carried {
            carried.blocks.fetch_add(1, Ordering::Relaxed);
        }
    } else {
        meters.cars.count();
    }
    let (parts, body) = response.into_parts();
    let counted = body.map_frame(move |frame| {
        if let Some(bytes) = frame.data_ref() {
            let bytes = bytes.len() as u64;
            meters.bytes.add(bytes);
            if let Some(carried) = &carried {
                carried.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
        }
        frame
    });
    (parts, Body::new(counted)).into_response()
}

/// Whether it is a program that asks. Browsers say of a request where it is from, but
/// not to every host; all of them go by one old name.
fn asks(request: &Request) -> bool {
    let headers = request.headers();
    !headers.contains_key("sec-fetch-mode") && !agent(headers).starts_with("Mozilla/")
}

/// What a client calls itself, printable and bounded.
fn agent(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok()).unwrap_or("");
    agent.chars().take(MAX_AGENT).collect()
}

impl From<&Head> for Told {
    fn from(head: &Head) -> Self {
        Self {
            head: *head.cid(),
            seq: head.body().sequence.0,
        }
    }
}

impl Told {
    fn at(&self, at: UnixSeconds) -> VerifiedJson {
        VerifiedJson {
            head: self.head.to_string(),
            seq: self.seq,
            at: at.0,
        }
    }
}

impl Mirrors {
    /// Notes that somebody was told `head`, who says to `have` one. Only a gwa that
    /// follows says so, and only of what it recomputed; of heads that it was not told
    /// here nothing is believed.
    fn note(
        &self,
        address: Address,
        agent: String,
        head: Option<Told>,
        has: Option<Cid>,
        now: UnixSeconds,
    ) {
        let mut followers = self.lock();
        if !followers.contains_key(&address) && followers.len() >= MAX_FOLLOWERS {
            let oldest = followers.iter().min_by_key(|(_, follower)| follower.last);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                followers.remove(&oldest);
            }
        }
        let follower = followers.entry(address).or_insert_with(|| Follower {
            agent: String::new(),
            first: now,
            last: now,
            told: None,
            verified: None,
            carried: Arc::default(),
        });
        follower.last = now;
        if agent.starts_with(OWN_AGENT)
            && let Some(has) = has
        {
            let told = [follower.told.as_ref(), head.as_ref()];
            let told = told.into_iter().flatten().find(|told| told.head == has);
            follower.verified = told
                .cloned()
                .map(|told| (told, now))
                .or(follower.verified.take());
        }
        follower.agent = agent;
        follower.told = head;
    }

    fn carried(&self, address: Address) -> Option<Arc<Carried>> {
        let followers = self.lock();
        followers
            .get(&address)
            .map(|follower| Arc::clone(&follower.carried))
    }

    /// How many follow.
    pub(super) fn count(&self, now: UnixSeconds) -> u64 {
        let followers = self.lock();
        let recent = followers
            .values()
            .filter(|follower| now.since(follower.last) <= REMEMBERED);
        recent.count() as u64
    }

    /// Who follows, the latest first.
    fn followers(&self, now: UnixSeconds, seq: Option<u64>) -> Vec<Mirror> {
        let mut followers = self.lock();
        followers.retain(|_, follower| now.since(follower.last) <= REMEMBERED);
        let mut mirrors: Vec<_> = followers
            .iter()
            .map(|(address, follower)| {
                let told = follower.told.as_ref();
                let behind = seq
                    .zip(told)
                    .map(|(seq, told)| seq.saturating_sub(told.seq));
                let verified = follower.verified.as_ref();
                Mirror {
                    address: address.to_string(),
                    agent: follower.agent.clone(),
                    first: follower.first.0,
                    last: follower.last.0,
                    head: told.map(|told| told.head.to_string()),
                    seq: told.map(|told| told.seq),
                    behind,
                    verified: verified.map(|(told, at)| told.at(*at)),
                    blocks: follower.carried.blocks.load(Ordering::Relaxed),
                    bytes: follower.carried.bytes.load(Ordering::Relaxed),
                }
            })
            .collect();
        mirrors.sort_by_key(|mirror| std::cmp::Reverse(mirror.last));
        mirrors
    }

    /// The archives heard of in the last day, the largest first, and how many segments
    /// were looked into for them.
    fn discovered(
        &self,
        archive: &Archive,
        now: UnixSeconds,
    ) -> Result<(Vec<Discovered>, u64), Failure> {
        // One listens at a time; whoever waits is told the same.
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = heard
            .at
            .is_some_and(|at| at <= now && now.since(at) < FRESH);
        let read = match is_fresh {
            true => 0,
            false => heard.listen(archive, now)?,
        };
        let own = archive.public_key();
        let since = now.saturating_sub(HEARD_SINCE);
        let archives = heard.listener.roll.archives().into_iter();
        let recent = archives.filter(|heard| heard.sent >= since);
        let discovered = recent
            .map(|heard| discovered(heard, heard.announcement.head.key() == &own))
            .collect();
        Ok((discovered, read))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Address, Follower>> {
        self.followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeardSoFar {
    /// Listens to what this disk has of the topic, sealed or waiting, from where it was
    /// left. Gives how many segments were looked into.
    fn listen(&mut self, archive: &Archive, now: UnixSeconds) -> Result<u64, Failure> {
        let since = now.saturating_sub(HEARD_SINCE);
        let range = TimeRange::new(since, now).expect("what lies before now is not after it");
        let request = PageRequest {
            filter: Filter {
                topics: TopicFilter::Any([topic()].into()),
                range,
            },
            after: self.after,
            limit: MAX_OPENED,
        };
        let page = archive.page_here(&request);
        let page = page.map_err(|error| Failure::unread_disk(archive, &error))?;
        for record in &page.records {
            let envelope = Envelope::known(&record.bytes, record.key.hash);
            self.listener
                .hear(&envelope.map_err(|error| Failure::internal(&error))?);
        }
        let last = page.records.last();
        let last = last.map(|record| (record.key.sent, record.key.hash));
        self.after = match (last, page.more) {
            (Some(last), true) => Some(last),
            // All there is was heard: of what comes late, a little is heard again.
            (last, _) => {
                let last = last.or(self.after);
                last.map(|(sent, hash)| (sent.saturating_sub(LATE), hash))
            }
        };
        self.listener.roll.forget_before(since);
        self.at = Some(now);
        Ok(page.looked)
    }
}

fn followed(round: Round) -> Followed {
    Followed {
        name: without_credentials(&round.name),
        purpose: match round.purpose {
            Purpose::Origin => "origin",
            Purpose::Merge => "merge",
        },
        asked: round.asked.map(|at| at.0),
        verified: round.verified.map(|verified| VerifiedJson {
            head: verified.head.to_string(),
            seq: verified.sequence.0,
            at: verified.at.0,
        }),
        trouble: round.trouble,
    }
}

fn discovered(heard: &Heard, own: bool) -> Discovered {
    let Announcement { head, hints } = &heard.announcement;
    let body = head.body();
    let endpoints = hints.http().iter().cloned();
    Discovered {
        archive: format!("0x{}", hex::encode(head.key().serialize())),
        own,
        name: body.name.clone(),
        head: head.cid().to_string(),
        seq: body.sequence.0,
        count: body.totals.count,
        bytes: body.totals.bytes,
        heard: heard.sent.0,
        endpoints: endpoints
            .chain(hints.enode().map(ToString::to_string))
            .collect(),
        share: heard.share().to_string(),
        rival: heard.rival.map(|cid| cid.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: usize) -> Address {
        let [_, _, a, b] = u32::try_from(n).unwrap().to_be_bytes();
        std::net::IpAddr::from([203, 0, a, b]).into()
    }

    #[test]
    fn who_followed_longest_ago_makes_room_and_is_forgotten_in_time() {
        let mirrors = Mirrors::default();
        for n in 0..MAX_FOLLOWERS + 10 {
            let at = UnixSeconds(1_000 + u32::try_from(n).unwrap());
            mirrors.note(address(n), format!("gwa/{n}"), None, None, at);
        }
        let now = UnixSeconds(2_000);
        let told = mirrors.followers(now, None);
        assert_eq!(told.len(), MAX_FOLLOWERS);
        assert_eq!(told[0].agent, format!("gwa/{}", MAX_FOLLOWERS + 9));
        assert!(told.iter().all(|mirror| mirror.first >= 1_010));
        let later = UnixSeconds(told[0].last).saturating_add(REMEMBERED);
        assert_eq!(mirrors.followers(later, None).len(), 1);
        assert!(mirrors.followers(later.saturating_add(1), None).is_empty());
    }

    #[test]
    fn of_who_asks_for_blocks_alone_nothing_is_noted() {
        let mirrors = Mirrors::default();
        assert!(mirrors.carried(address(1)).is_none());
        assert!(mirrors.followers(UnixSeconds(5), None).is_empty());
    }
}
