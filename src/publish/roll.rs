//! The archives that were heard of.
//!
//! Always true: of each key the head with the highest number counts, told by the
//! message sent last; two heads of one number under one key are noted. At most
//! [`MAX_ARCHIVES`] keys are kept: who comes after is counted.

use std::collections::BTreeMap;

use super::announcement::{Announcement, topic};
use super::share::Share;
use crate::blocks::Cid;
use crate::time::UnixSeconds;
use crate::whisper::Envelope;

/// Most keys kept. Whoever mines can announce keys without end.
pub const MAX_ARCHIVES: usize = 1_000;

/// What is known of one archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its newest head, and where it is to be had.
    pub announcement: Announcement,
    /// When that was sent.
    pub sent: UnixSeconds,
    /// Another head of the same number, if one was announced.
    pub rival: Option<Cid>,
}

/// Archives by key.
#[derive(Clone, Debug, Default)]
pub struct Roll {
    archives: BTreeMap<[u8; 33], Heard>,
    left_out: u64,
}

impl Roll {
    /// Notes an announcement that was sent at `sent`.
    pub fn note(&mut self, announcement: Announcement, sent: UnixSeconds) {
        let key = announcement.head.key().serialize();
        let full = self.archives.len() >= MAX_ARCHIVES;
        let Some(known) = self.archives.get_mut(&key) else {
            if full {
                self.left_out += 1;
                return;
            }
            let heard = Heard {
                announcement,
                sent,
                rival: None,
            };
            self.archives.insert(key, heard);
            return;
        };
        let number = |announcement: &Announcement| announcement.head.body().sequence;
        match number(&announcement).cmp(&number(&known.announcement)) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Greater => {
                *known = Heard {
                    announcement,
                    sent,
                    rival: None,
                };
            }
            std::cmp::Ordering::Equal => {
                let (cid, held) = (*announcement.head.cid(), *known.announcement.head.cid());
                if cid != held {
                    known.rival = Some(cid);
                } else if sent > known.sent {
                    known.announcement = announcement;
                    known.sent = sent;
                }
            }
        }
    }

    /// The archives, the largest first.
    pub fn archives(&self) -> Vec<&Heard> {
        let mut archives: Vec<&Heard> = self.archives.values().collect();
        archives
            .sort_by_key(|heard| std::cmp::Reverse(heard.announcement.head.body().totals.count));
        archives
    }

    /// Forgets archives that were last announced before `at`.
    pub fn forget_before(&mut self, at: UnixSeconds) {
        self.archives.retain(|_, heard| heard.sent >= at);
    }

    /// How many announcements were left out for want of room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// Hears envelopes, and keeps what they announce.
#[derive(Clone, Debug, Default)]
pub struct Listener {
    /// The archives heard of.
    pub roll: Roll,
    /// Messages on the topic that announce nothing.
    pub unreadable: u64,
}

impl Listener {
    /// Hears an envelope; one on another topic, as a bloom matches too, is passed over.
    pub fn hear(&mut self, envelope: &Envelope) {
        if envelope.topic() != topic() {
            return;
        }
        match Announcement::open(envelope) {
            Ok(announcement) => self.roll.note(announcement, envelope.sent()),
            Err(error) => {
                tracing::debug!(hash = %envelope.hash(), %error, "announces nothing");
                self.unreadable += 1;
            }
        }
    }
}

impl Heard {
    /// All of it in one line, for others to carry the history on with.
    pub fn share(&self) -> Share {
        let Announcement { head, hints } = &self.announcement;
        Share::of(head, hints.clone())
    }
}

#[cfg(test)]
mod tests {
    use secp256k1::SecretKey;

    use super::*;
    use crate::archive::head::{Head, HeadBody, Sequence};
    use crate::archive::sums::Sums;
    use crate::archive::watermark::Watermark;
    use crate::publish::Hints;

    fn told(key: u8, sequence: u64, name: &str) -> Announcement {
        let link = *crate::blocks::Block::new(crate::blocks::Codec::DagCbor, vec![1]).cid();
        let body = HeadBody {
            network: "shh/6".into(),
            name: name.into(),
            sequence: Sequence(sequence),
            watermark: Watermark::default(),
            signed_at: UnixSeconds(1),
            state: None,
            open: Vec::new(),
            added: None,
            totals: Sums::default(),
            prev: (sequence > 1).then_some(link),
            skip: None,
            merged: Vec::new(),
        };
        Announcement {
            head: Head::sign(body, &SecretKey::from_secret_bytes([key; 32]).unwrap()).unwrap(),
            hints: Hints::default(),
        }
    }

    #[test]
    fn the_newest_head_of_each_key_counts_in_whatever_order_they_come() {
        let mut roll = Roll::default();
        for (key, sequence, sent) in [(1, 2, 20), (1, 3, 30), (2, 9, 90), (1, 1, 10)] {
            roll.note(told(key, sequence, ""), UnixSeconds(sent));
        }
        let mut numbers: Vec<_> = roll
            .archives()
            .iter()
            .map(|heard| heard.announcement.head.body().sequence.0)
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [3, 9]);
    }

    #[test]
    fn two_heads_of_one_number_are_noted_until_there_is_a_later_one() {
        let mut roll = Roll::default();
        roll.note(told(1, 2, "a"), UnixSeconds(1));
        roll.note(told(1, 2, "b"), UnixSeconds(2));
        assert!(roll.archives()[0].rival.is_some());
        roll.note(told(1, 3, "a"), UnixSeconds(3));
        assert!(roll.archives()[0].rival.is_none());
    }

    #[test]
    fn an_archive_that_falls_silent_is_forgotten() {
        let mut roll = Roll::default();
        roll.note(told(1, 2, ""), UnixSeconds(10));
        roll.note(told(2, 2, ""), UnixSeconds(20));
        roll.forget_before(UnixSeconds(11));
        let sent: Vec<_> = roll.archives().iter().map(|heard| heard.sent.0).collect();
        assert_eq!(sent, [20]);
    }

    #[test]
    fn keys_without_end_are_not_all_kept() {
        let archives = (0..MAX_ARCHIVES)
            .map(|n| {
                let mut key = [0; 33];
                key[..8].copy_from_slice(&n.to_be_bytes());
                let heard = Heard {
                    announcement: told(1, 1, ""),
                    sent: UnixSeconds(1),
                    rival: None,
                };
                (key, heard)
            })
            .collect();
        let mut roll = Roll {
            archives,
            left_out: 0,
        };
        roll.note(told(9, 1, ""), UnixSeconds(1));
        assert_eq!((roll.archives().len(), roll.left_out()), (MAX_ARCHIVES, 1));
    }
}
