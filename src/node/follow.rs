//! Following the heads of others, beside all else.
//!
//! Always true:
//! - A mirror follows the one key it mirrors; any other archive unites what it is
//!   told to follow with its own.
//! - One round at a time. A source that fails, lies or breaks the rules of a
//!   lineage costs a line in the log; the archive stays what it was, and the next
//!   round tries again.
//! - Nothing is counted or told of somebody who was not asked.
//! - It ends soon after it is told to.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::chain;
use super::rounds::{Purpose, Rounds};
use crate::archive::disk::{Archive, Route, Stop};
use crate::archive::head::Head;
use crate::archive::watermark::Day;
use crate::blocks::BlockSource;
use crate::metrics::FollowMeters;
use crate::progress::Quiet;
use crate::time::Clock;

/// Where the newest head of an archive is told, and its blocks are to be had.
/// Calls may wait for a network.
pub trait Leader: Send + Sync {
    /// What it is, as its user named it.
    fn name(&self) -> &str;

    /// The newest head, its signature checked, and where its blocks come from.
    fn latest(&self) -> Result<(Head, Arc<dyn BlockSource>), Box<dyn Error + Send + Sync>>;

    /// The first day that its owner keeps, where days were dropped.
    fn dropped_before(&self) -> Result<Option<Day>, Box<dyn Error + Send + Sync>> {
        Ok(None)
    }

    /// `head`, which it told, is here and was recomputed.
    fn is_verified(&self, head: &Head) {
        let _ = head;
    }

    /// Nothing will be wanted of it any more: calls that wait for a network, and
    /// those of the sources it gave, fail soon.
    fn end(&self);
}

/// What is followed, and how often.
#[derive(Clone)]
pub struct Following {
    /// Where the archive's own history comes from: followed by a mirror, and asked
    /// by a fork for what it lacks.
    pub origin: Option<Arc<dyn Leader>>,
    /// Whose archives are united with this one.
    pub others: Vec<Arc<dyn Leader>>,
    /// Time between two rounds.
    pub every: Duration,
    /// Whether a fork fetches the history it rests on.
    pub complete: bool,
}

impl Default for Following {
    fn default() -> Self {
        Self {
            origin: None,
            others: Vec::new(),
            every: DEFAULT_EVERY,
            complete: true,
        }
    }
}

/// How often heads are asked for: what is new reaches a mirror well before the
/// next seal.
pub const DEFAULT_EVERY: Duration = Duration::from_secs(60);

/// Follows in the background.
pub(super) struct Follower {
    stopping: CancellationToken,
    stop: Stop,
    leaders: Vec<Arc<dyn Leader>>,
    task: Option<JoinHandle<()>>,
}

impl Follower {
    /// Begins; `changed` is told of every new head, `rounds` how it goes.
    pub(super) fn start(
        archive: Arc<Archive>,
        following: Following,
        clock: Arc<dyn Clock>,
        meters: Arc<FollowMeters>,
        rounds: Rounds,
        changed: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let (stopping, stop) = (CancellationToken::new(), Stop::default());
        let leaders: Vec<_> = following
            .origin
            .iter()
            .chain(&following.others)
            .cloned()
            .collect();
        let named = |purpose| move |leader: &Arc<dyn Leader>| (leader.name().to_owned(), purpose);
        rounds.begin(
            (following.origin.iter().map(named(Purpose::Origin)))
                .chain(following.others.iter().map(named(Purpose::Merge))),
        );
        let work = Work {
            archive,
            following,
            rounds,
            clock,
            meters,
            stop: stop.clone(),
            changed: Box::new(changed),
        };
        let task =
            (!leaders.is_empty()).then(|| tokio::spawn(run(Arc::new(work), stopping.clone())));
        Self {
            stopping,
            stop,
            leaders,
            task,
        }
    }

    /// Stops, and waits until the archive is let go of.
    pub(super) async fn end(mut self) {
        self.stop();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "BUG: following panicked");
        }
    }

    fn stop(&self) {
        self.stopping.cancel();
        self.stop.stop();
        self.leaders.iter().for_each(|leader| leader.end());
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Work {
    archive: Arc<Archive>,
    following: Following,
    rounds: Rounds,
    clock: Arc<dyn Clock>,
    meters: Arc<FollowMeters>,
    stop: Stop,
    changed: Box<dyn Fn() + Send + Sync>,
}

async fn run(work: Arc<Work>, stopping: CancellationToken) {
    loop {
        let round = Arc::clone(&work);
        if let Err(error) = tokio::task::spawn_blocking(move || round.round()).await {
            tracing::error!(%error, "BUG: a round of following panicked");
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(work.following.every) => {}
        }
    }
}

impl Work {
    fn round(&self) {
        let following = &self.following;
        let mut place = 0..;
        let mut next = || place.next().unwrap_or(usize::MAX);
        if let Some(origin) = &following.origin {
            let at = next();
            if self.archive.is_mirror() {
                self.told(at, &**origin, |leader| self.follow(leader));
            } else if following.complete && !self.archive.is_complete() {
                self.told(at, &**origin, |leader| self.complete(leader));
            } else {
                // All that was wanted of it is here, or is asked for when it is read.
                self.rounds.over(at);
            }
        }
        for other in &following.others {
            self.told(next(), &**other, |leader| self.merge(leader));
        }
    }

    /// Does something with the leader at place `at`, and tells how that went: with the
    /// head that is verified then, where one is.
    fn told(
        &self,
        at: usize,
        leader: &dyn Leader,
        work: impl FnOnce(&dyn Leader) -> Result<Option<Head>, String>,
    ) {
        if self.stop.is_stopped() {
            return;
        }
        let before = self.archive.head_cid();
        match work(leader) {
            Ok(head) => {
                let now = self.clock.now();
                self.meters.took_over(now);
                head.iter().for_each(|head| leader.is_verified(head));
                self.rounds.done(at, now, Ok(head.as_ref()));
            }
            // What was cut off tells nothing of the leader.
            Err(_) if self.stop.is_stopped() => {}
            Err(error) => {
                self.meters.failed.count();
                tracing::warn!(leader = leader.name(), error, "not followed");
                self.rounds.done(at, self.clock.now(), Err(&error));
            }
        }
        if self.archive.head_cid() != before {
            (self.changed)();
        }
    }

    /// Brings a mirror to the newest head.
    fn follow(&self, leader: &dyn Leader) -> Result<Option<Head>, String> {
        let (head, blocks) = latest(leader)?;
        self.meters.leader_is_at(head.body().sequence.0);
        let source = self.stop.guard(&*blocks);
        let now = self.clock.now();
        let followed = match self.archive.is_replica() {
            true => self.archive.show(&head, &source, now),
            false => self.archive.follow(&head, &source, false, now, &Quiet),
        };
        let followed = followed.map_err(|error| chain(&error))?;
        if self.archive.is_replica() {
            let before = leader.dropped_before().map_err(|error| chain(&*error))?;
            let believed = self
                .archive
                .believe_dropped(before.unwrap_or(Day(0)), &head);
            believed.map_err(|error| chain(&error))?;
        }
        if followed.route != Route::Here {
            tracing::info!(
                head = %head.cid(),
                seq = head.body().sequence.0,
                bytes = followed.copied.bytes,
                "followed"
            );
        }
        // A replica only shows what is at the store: it recomputes nothing.
        Ok((!self.archive.is_replica()).then_some(head))
    }

    /// Fetches what a fork rests on, once.
    fn complete(&self, leader: &dyn Leader) -> Result<Option<Head>, String> {
        let (_, blocks) = latest(leader)?;
        let copied = self.archive.complete(&*blocks, &self.stop, &Quiet);
        let copied = copied.map_err(|error| chain(&error))?;
        tracing::info!(bytes = copied.bytes, "the history is all here");
        // What was completed is what this archive rests on, which may be no head of now.
        Ok(None)
    }

    /// Takes in what another archive has and this one has not.
    fn merge(&self, leader: &dyn Leader) -> Result<Option<Head>, String> {
        let (head, blocks) = latest(leader)?;
        let source = self.stop.guard(&*blocks);
        let merged = self
            .archive
            .merge(&[(head.clone(), &source)], self.clock.now(), &Quiet);
        let merged = merged.map_err(|error| chain(&error))?;
        if merged.heads > 0 {
            tracing::info!(added = merged.added.count, leader = leader.name(), "merged");
        }
        Ok(Some(head))
    }
}

fn latest(leader: &dyn Leader) -> Result<(Head, Arc<dyn BlockSource>), String> {
    leader.latest().map_err(|error| chain(&*error))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::time::SystemClock;

    /// Whoever says nothing until nobody wants to know.
    struct Silent {
        asked: Sender<()>,
        ended: Mutex<Option<Sender<()>>>,
        end: Mutex<Receiver<()>>,
    }

    impl Leader for Silent {
        fn name(&self) -> &str {
            "silent"
        }

        fn latest(&self) -> Result<(Head, Arc<dyn BlockSource>), Box<dyn Error + Send + Sync>> {
            self.asked.send(())?;
            let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
            Err(end.recv().unwrap_err().into())
        }

        fn end(&self) {
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            ended.take();
        }
    }

    /// Whoever is away, and counts who asks.
    #[derive(Default)]
    struct Away(AtomicUsize);

    impl Leader for Away {
        fn name(&self) -> &str {
            "away"
        }

        fn latest(&self) -> Result<(Head, Arc<dyn BlockSource>), Box<dyn Error + Send + Sync>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Err("it is away".into())
        }

        fn end(&self) {}
    }

    #[test]
    fn of_an_origin_that_nothing_is_wanted_of_nothing_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (origin, other) = (Arc::new(Away::default()), Arc::new(Away::default()));
        let meters = Arc::<FollowMeters>::default();
        let rounds = Rounds::default();
        let followed = [("origin", Purpose::Origin), ("other", Purpose::Merge)];
        let followed = followed.map(|(name, purpose)| (name.to_owned(), purpose));
        rounds.begin(followed.into_iter());
        let origin_of_all: Arc<dyn Leader> = Arc::clone(&origin) as _;
        let work = Work {
            // It rests on nobody's history.
            archive: Arc::new(Archive::init(dir.path(), "").unwrap()),
            following: Following {
                origin: Some(origin_of_all),
                others: vec![Arc::clone(&other) as _],
                ..Following::default()
            },
            rounds: rounds.clone(),
            clock: Arc::new(SystemClock),
            meters: Arc::clone(&meters),
            stop: Stop::default(),
            changed: Box::new(|| panic!("nothing changes")),
        };
        for round in 1..4 {
            work.round();
            assert_eq!(origin.0.load(Ordering::SeqCst), 0);
            assert_eq!(other.0.load(Ordering::SeqCst), round);
            assert_eq!(
                (meters.succeeded.get(), meters.failed.get()),
                (0, round as u64)
            );
        }
        let [other] = &rounds.now()[..] else {
            panic!("the origin is not followed any more");
        };
        assert_eq!(other.name, "other");
        assert!(other.asked.is_some() && other.trouble.is_some());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_end_waits_for_no_leader_that_is_silent() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Arc::new(Archive::init(dir.path(), "").unwrap());
        let ((asked, was_asked), (ended, end)) = (channel(), channel());
        let silent = Arc::new(Silent {
            asked,
            ended: Mutex::new(Some(ended)),
            end: Mutex::new(end),
        });
        let following = Following {
            others: vec![silent],
            ..Following::default()
        };
        let clock = Arc::new(SystemClock);
        let follower = Follower::start(
            Arc::clone(&archive),
            following,
            clock,
            Arc::default(),
            Rounds::default(),
            || {},
        );
        tokio::task::spawn_blocking(move || was_asked.recv().unwrap())
            .await
            .unwrap();
        follower.end().await;
        assert!(Arc::into_inner(archive).is_some(), "it is still held");
    }
}
