//! Whom a DHT named, and how often it may be asked.
//!
//! Always true:
//! - Of each peer there is one session at a time, however many ask it: blocks come to
//!   one place.
//! - Who gave nothing is connected as long as somebody asks it, and no longer: whom a
//!   DHT names are many, and connections are few.
//! - Who failed is not known again for a while, and who lied never, as far as
//!   [`MAX_SHUNNED`] of them are remembered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use tokio::sync::{mpsc, watch};

use super::dht::MAX_FOUND;
use super::session::Request;
use crate::blocks::Fault;
use crate::limits::bounded::Bounded;

/// Peers that are known, at most: all that a walk may find, and those that gave.
pub(super) const MAX_KNOWN: usize = MAX_FOUND + MAX_GIVERS;

/// Of them such as gave something: the others leave room for whom a walk finds.
const MAX_GIVERS: usize = 8;

/// Peers that are not asked again, at most.
const MAX_SHUNNED: usize = 256;

/// Walks within [`WINDOW`], at most. Whoever has a head has what is below it, so one is
/// enough where all goes well; where blocks are nowhere, each would cost a walk.
const MAX_WALKS: usize = 32;

/// See [`MAX_WALKS`].
const WINDOW: Duration = Duration::from_secs(600);

/// Walks that reached somebody.
#[derive(Debug, Default)]
pub(super) struct Walks(VecDeque<Instant>);

impl Walks {
    /// Whether another one may begin; otherwise what to say of it.
    pub(super) fn may_begin(&self, now: Instant) -> Result<(), String> {
        let recent = self.0.iter().filter(|at| now < **at + WINDOW);
        let Some(first) = recent
            .clone()
            .next()
            .filter(|_| recent.count() >= MAX_WALKS)
        else {
            return Ok(());
        };
        let wait = (*first + WINDOW).saturating_duration_since(now).as_secs();
        let minutes = WINDOW.as_secs() / 60;
        Err(format!(
            "the DHT was asked {MAX_WALKS} times in {minutes} minutes: the next walk in {wait} s"
        ))
    }

    /// One reached somebody.
    pub(super) fn count(&mut self, now: Instant) {
        if self.0.len() >= MAX_WALKS {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }
}

/// A peer is not asked.
#[derive(Clone, Copy, Debug)]
enum Shunned {
    Until(Instant),
    Always,
}

#[derive(Debug)]
struct Provider {
    peer: PeerId,
    gave: bool,
    /// Kept open for what is asked next, where it gave something.
    session: Option<mpsc::Sender<Request>>,
}

/// All that are known.
#[derive(Debug)]
pub(super) struct Book {
    pages: Mutex<Pages>,
    news: watch::Sender<()>,
}

#[derive(Debug)]
struct Pages {
    /// Who gave a block last comes first, then whom the last walk found.
    known: Vec<Provider>,
    /// Of those that are known no more too, as long as somebody waits for them.
    sessions: HashMap<PeerId, mpsc::WeakSender<Request>>,
    shunned: Bounded<PeerId, Option<Shunned>>,
}

impl Default for Book {
    fn default() -> Self {
        let pages = Pages {
            known: Vec::new(),
            sessions: HashMap::new(),
            shunned: Bounded::new(MAX_SHUNNED),
        };
        Self {
            pages: Mutex::new(pages),
            news: watch::Sender::default(),
        }
    }
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says when somebody is met.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Who is to be asked next, and whether it gave a block before.
    pub(super) fn next(&self, asked: &HashSet<PeerId>) -> Option<(PeerId, bool)> {
        let pages = self.pages();
        let mut others = pages.known.iter().filter(|one| !asked.contains(&one.peer));
        others.next().map(|one| (one.peer, one.gave))
    }

    /// The session with a peer: the one there is, or a new one.
    pub(super) fn session(
        &self,
        peer: &PeerId,
        begin: impl FnOnce() -> mpsc::Sender<Request>,
    ) -> mpsc::Sender<Request> {
        let mut pages = self.pages();
        let open = pages.sessions.get(peer).and_then(mpsc::WeakSender::upgrade);
        let session = open.filter(|session| !session.is_closed());
        let session = session.unwrap_or_else(begin);
        pages.sessions.retain(|_, one| one.upgrade().is_some());
        pages.sessions.insert(*peer, session.downgrade());
        session
    }

    /// Adds those that a walk found; gives how many of them are not asked again.
    pub(super) fn met(&self, peers: impl IntoIterator<Item = PeerId>, now: Instant) -> usize {
        let mut pages = self.pages();
        let mut out = 0;
        for peer in peers {
            let is_out = match pages.shunned.get(&peer).copied().flatten() {
                None => false,
                Some(Shunned::Until(until)) => now < until,
                Some(Shunned::Always) => true,
            };
            out += usize::from(is_out);
            if is_out || pages.known.iter().any(|one| one.peer == peer) {
                continue;
            }
            let behind_givers = pages.known.partition_point(|one| one.gave);
            let provider = Provider {
                peer,
                gave: false,
                session: None,
            };
            pages.known.insert(behind_givers, provider);
            pages.known.truncate(MAX_KNOWN);
        }
        drop(pages);
        self.news.send_replace(());
        out
    }

    /// One gave a block, in this session.
    pub(super) fn gave(&self, peer: &PeerId, session: &mpsc::Sender<Request>) {
        let mut pages = self.pages();
        let known = &mut pages.known;
        let Some(at) = known.iter().position(|one| one.peer == *peer) else {
            return;
        };
        let mut provider = known.remove(at);
        provider.gave = true;
        provider.session = Some(session.clone());
        known.insert(0, provider);
        // Who gave something long ago is one of the others again.
        if let Some(last) = known.get_mut(MAX_GIVERS) {
            last.gave = false;
            last.session = None;
        }
    }

    /// One failed or lied.
    pub(super) fn failed(&self, peer: &PeerId, fault: &Fault, until: Instant) {
        let shunned = match fault {
            Fault::Absent => return,
            Fault::Failed(_) => Shunned::Until(until),
            Fault::Lied(_) => Shunned::Always,
        };
        let mut pages = self.pages();
        pages.known.retain(|known| known.peer != *peer);
        let kept = pages.shunned.entry(peer);
        // All that waited for a liar hear of it; later ones hear that it was hung up on.
        if !matches!(kept, Some(Shunned::Always)) {
            *kept = Some(shunned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(count: usize) -> Vec<PeerId> {
        std::iter::repeat_with(PeerId::random).take(count).collect()
    }

    fn known(book: &Book) -> Vec<PeerId> {
        book.pages().known.iter().map(|one| one.peer).collect()
    }

    fn gave(book: &Book, peer: &PeerId) {
        book.gave(peer, &mpsc::channel(1).0);
    }

    #[test]
    fn who_gave_last_is_asked_first_and_whom_a_walk_found_before_the_others() {
        let book = Book::default();
        let (old, new) = (peers(3), peers(3));
        let now = Instant::now();
        book.met(old.clone(), now);
        gave(&book, &old[0]);
        gave(&book, &old[1]);
        book.met(new.clone(), now);
        let expected = [old[1], old[0], new[2], new[1], new[0], old[2]];
        assert_eq!(known(&book), expected);
        assert_eq!(book.next(&HashSet::new()), Some((old[1], true)));
        let asked = HashSet::from([old[0], old[1]]);
        assert_eq!(book.next(&asked), Some((new[2], false)));
    }

    #[test]
    fn givers_leave_room_for_whom_a_walk_finds() {
        let book = Book::default();
        let now = Instant::now();
        for _ in 0..10 {
            let some = peers(20);
            book.met(some.clone(), now);
            some.iter().for_each(|peer| gave(&book, peer));
        }
        let new = peers(MAX_KNOWN - MAX_GIVERS);
        book.met(new.clone(), now);
        let known = known(&book);
        assert_eq!(known.len(), MAX_KNOWN);
        assert!(new.iter().all(|peer| known.contains(peer)));
    }

    #[test]
    fn who_failed_rests_and_who_lied_is_out_whatever_is_heard_of_it_later() {
        let book = Book::default();
        let both = peers(2);
        let now = Instant::now();
        let later = now + Duration::from_secs(30);
        book.met(both.clone(), now);
        book.failed(&both[0], &Fault::Failed("gone".to_owned()), later);
        book.failed(&both[1], &Fault::Lied("wrong".to_owned()), later);
        book.failed(&both[1], &Fault::Failed("hung up on".to_owned()), later);
        assert_eq!(book.met(both.clone(), now), 2);
        assert_eq!(known(&book), []);
        assert_eq!(book.met(both.clone(), later), 1);
        assert_eq!(known(&book), [both[0]]);
    }

    #[test]
    fn a_peer_has_one_session_as_long_as_anybody_asks_it() {
        let book = Book::default();
        let peer = peers(1)[0];
        let (first, receiver) = mpsc::channel(1);
        let kept = book.session(&peer, || first);
        let same = book.session(&peer, || unreachable!("there is one"));
        assert!(kept.same_channel(&same));
        drop(receiver);
        let (second, _receiver) = mpsc::channel(1);
        let next = book.session(&peer, || second);
        assert!(!kept.same_channel(&next));
    }

    #[test]
    fn sessions_stay_open_with_those_alone_that_gave_something_of_late() {
        let book = Book::default();
        let all = peers(2 * MAX_GIVERS);
        book.met(all.clone(), Instant::now());
        let mut asked: Vec<mpsc::Receiver<Request>> = Vec::new();
        for (n, peer) in all.iter().enumerate() {
            let (session, requests) = mpsc::channel(1);
            let session = book.session(peer, || session);
            // Of two one gives nothing.
            if n % 2 == 0 {
                book.gave(peer, &session);
            }
            asked.push(requests);
        }
        let is_open: Vec<bool> = asked.iter().map(|one| !one.is_closed()).collect();
        let expected: Vec<bool> = (0..all.len()).map(|n| n % 2 == 0).collect();
        assert_eq!(is_open, expected);
        let others = peers(MAX_GIVERS);
        book.met(others.clone(), Instant::now());
        others.iter().for_each(|peer| gave(&book, peer));
        assert!(asked.iter().all(mpsc::Receiver::is_closed));
    }

    #[test]
    fn walks_come_at_a_rate_and_never_end_for_good() {
        let mut walks = Walks::default();
        let now = Instant::now();
        for n in 0..MAX_WALKS {
            let at = now + Duration::from_secs(n as u64);
            walks.may_begin(at).unwrap();
            walks.count(at);
        }
        let soon = now + WINDOW - Duration::from_secs(7);
        let told = walks.may_begin(soon).unwrap_err();
        assert!(told.ends_with("the next walk in 7 s"), "{told}");
        walks.may_begin(now + WINDOW).unwrap();
        walks.count(now + WINDOW);
        assert!(walks.may_begin(now + WINDOW).is_err());
    }
}
