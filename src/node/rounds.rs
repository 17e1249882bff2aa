//! How following others goes, for whoever asks.
//!
//! Always true: what is told as verified is a head whose history is here, every block
//! of it hashed and its state recomputed, or united with this archive.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::archive::head::{Head, Sequence};
use crate::blocks::Cid;
use crate::time::UnixSeconds;

/// Why somebody is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// This archive is a mirror of theirs, or rests on their history.
    Origin,
    /// What they have is united with what is here.
    Merge,
}

/// A head that was fetched and recomputed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its CID.
    pub head: Cid,
    /// Its number.
    pub sequence: Sequence,
    /// When that was done, or found to be still the newest.
    pub at: UnixSeconds,
}

/// Somebody who is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Who, as the user of this daemon named it.
    pub name: String,
    /// Why.
    pub purpose: Purpose,
    /// When it was asked last; `None` before the first time.
    pub asked: Option<UnixSeconds>,
    /// The newest head of it that was verified since the start.
    pub verified: Option<Verified>,
    /// Why the last round brought nothing, where it failed.
    pub trouble: Option<String>,
}

/// All who are followed; shared by whoever follows and whoever tells of it. Of whom
/// nothing is wanted any more there is none.
#[derive(Clone, Debug, Default)]
pub struct Rounds(Arc<Mutex<Vec<Option<Round>>>>);

impl Rounds {
    /// Everybody, in the order in which they are asked.
    pub fn now(&self) -> Vec<Round> {
        self.lock().iter().flatten().cloned().collect()
    }

    /// From now on these are followed.
    pub(super) fn begin(&self, followed: impl Iterator<Item = (String, Purpose)>) {
        *self.lock() = followed
            .map(|(name, purpose)| {
                Some(Round {
                    name,
                    purpose,
                    asked: None,
                    verified: None,
                    trouble: None,
                })
            })
            .collect();
    }

    /// Number `at` is asked no more.
    pub(super) fn over(&self, at: usize) {
        if let Some(round) = self.lock().get_mut(at) {
            *round = None;
        }
    }

    /// What came of asking number `at`: the head that is verified now, none where there
    /// was nothing to do, or what failed.
    pub(super) fn done(&self, at: usize, now: UnixSeconds, came: Result<Option<&Head>, &str>) {
        let mut rounds = self.lock();
        let Some(Some(round)) = rounds.get_mut(at) else {
            return;
        };
        round.asked = Some(now);
        match came {
            Ok(head) => {
                round.trouble = None;
                let verified = head.map(|head| Verified {
                    head: *head.cid(),
                    sequence: head.body().sequence,
                    at: now,
                });
                round.verified = verified.or(round.verified);
            }
            Err(trouble) => round.trouble = Some(trouble.to_owned()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Round>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_fails_leaves_what_was_verified() {
        let dir = tempfile::tempdir().unwrap();
        let archive = crate::archive::disk::Archive::init(dir.path(), "").unwrap();
        archive
            .append(&[crate::archive::testing::envelope(1, 5_000, 100)])
            .unwrap();
        crate::archive::disk::seal_due(&archive, UnixSeconds(10_000)).unwrap();
        let head = archive.head().unwrap();
        let rounds = Rounds::default();
        let followed = [("a".to_owned(), Purpose::Origin)];
        rounds.begin(followed.into_iter());
        assert_eq!(rounds.now()[0].asked, None);
        rounds.done(0, UnixSeconds(7), Ok(Some(&head)));
        rounds.done(0, UnixSeconds(8), Err("it is away"));
        let [round] = &rounds.now()[..] else {
            panic!("one is followed");
        };
        let verified = round.verified.unwrap();
        assert_eq!((verified.head, verified.at), (*head.cid(), UnixSeconds(7)));
        assert_eq!(round.asked, Some(UnixSeconds(8)));
        assert_eq!(round.trouble.as_deref(), Some("it is away"));
        rounds.done(0, UnixSeconds(9), Ok(None));
        assert_eq!(rounds.now()[0].trouble, None);
        assert_eq!(rounds.now()[0].verified.unwrap().at, UnixSeconds(7));
    }
}
