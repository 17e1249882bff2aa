//! Stretches of a part read ahead, in order of time.
//!
//! A leaf is sorted by topic, a day's mail by time: neighbours in a page lie all
//! over the day's leaves. Who reads everything of a time reads on, so a whole
//! stretch is fetched in the order in which it lies on disk, where its envelopes
//! touch, and laid out in the order of time. The pages that follow copy from it.
//!
//! Always true:
//! - A stretch holds only bytes that their checksums vouched for when it was
//!   read; what is damaged is never kept.
//! - What is kept is at most [`KEPT`] bytes, whoever asks for what, and none of
//!   it after [`Ahead::give_up`].
//! - Threads that want the same stretch at once wait for one of them to read it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::PageError;
use super::part::Part;

/// Envelopes of a stretch at most: enough for those of one topic to touch, few
/// enough to be read within some 5 ms.
const STRETCH_ENTRIES: u32 = 8_192;

/// Bytes that a stretch has on average at most.
const STRETCH_BYTES: u64 = 8 << 20;

/// Bytes of one whose envelopes are larger than the average; beyond it nothing
/// is read ahead.
const LARGEST_STRETCH: usize = 16 << 20;

/// Shorter ones gain nothing.
const SHORTEST_STRETCH: u32 = 256;

/// A page that takes less than this share of a stretch does not read it: whoever
/// asks for little must not make us read much.
const WORTH: usize = 16;

/// Bytes of all stretches kept: a day of 40,000 usual envelopes.
const KEPT: usize = 40 << 20;

/// Stretches that can be read at once, by threads that want different ones.
const TURNS: usize = 4;

/// A part, and the number of its first entry.
type Key = (u64, u32);

/// See the module.
#[derive(Debug)]
pub(super) struct Ahead {
    most_entries: u32,
    shortest: u32,
    kept: Mutex<VecDeque<(Key, Arc<Stretch>)>>,
    turns: [Mutex<()>; TURNS],
}

/// The envelopes of consecutive entries, one after the other.
#[derive(Debug)]
pub(super) struct Stretch {
    first: u32,
    /// Where each starts, and where the last one ends.
    bounds: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stretch {
    /// Envelopes from entry `first` on, that end at those bounds.
    pub(super) fn new(first: u32, bounds: Vec<usize>, bytes: Vec<u8>) -> Self {
        Self {
            first,
            bounds,
            bytes,
        }
    }

    /// The envelope of entry `number`, if it has it.
    pub(super) fn of(&self, number: u32) -> Option<&[u8]> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let (start, end) = (self.bounds.get(at)?, self.bounds.get(at + 1)?);
        self.bytes.get(*start..*end)
    }
}

impl Ahead {
    /// Nothing read yet.
    pub(super) fn new() -> Self {
        Self {
            most_entries: STRETCH_ENTRIES,
            shortest: SHORTEST_STRETCH,
            kept: Mutex::default(),
            turns: Default::default(),
        }
    }

    /// Stretches of so many entries, a power of two.
    #[cfg(test)]
    pub(super) fn of_entries(entries: u32) -> Self {
        Self {
            most_entries: entries,
            shortest: 1,
            ..Self::new()
        }
    }

    /// Gives up all memory.
    pub(super) fn give_up(&self) {
        self.kept().clear();
    }

    /// The entries of the stretch that entry `at` of a part is in; `None` where
    /// envelopes are too large for stretches.
    pub(super) fn around(&self, part: &Part, at: u32) -> Option<Range<u32>> {
        let count = part.directory.count();
        let mean = part.directory.sums.bytes / u64::from(count.max(1));
        let mut entries = self.most_entries;
        while u64::from(entries) * mean > STRETCH_BYTES {
            entries /= 2;
        }
        if entries < self.shortest {
            return None;
        }
        let first = at - at % entries;
        Some(first..count.min(first.saturating_add(entries)))
    }

    /// Whether a stretch of so many entries is read for a page that takes so
    /// many of them.
    pub(super) fn is_worth(entries: &Range<u32>, taken: usize) -> bool {
        taken >= entries.len().div_ceil(WORTH)
    }

    /// The most bytes a stretch may have.
    pub(super) fn fits(bytes: usize) -> bool {
        bytes <= LARGEST_STRETCH
    }

    /// A stretch that was read before.
    pub(super) fn kept_at(&self, part: &Part, first: u32) -> Option<Arc<Stretch>> {
        let key = (part.id, first);
        let mut kept = self.kept();
        let at = kept.iter().position(|(held, _)| *held == key)?;
        let entry = kept.remove(at)?;
        let stretch = Arc::clone(&entry.1);
        kept.push_back(entry);
        Some(stretch)
    }

    /// A stretch, read by `read` if it is not kept.
    pub(super) fn read_at(
        &self,
        part: &Part,
        first: u32,
        read: impl FnOnce() -> Result<Option<Stretch>, PageError>,
    ) -> Result<Option<Arc<Stretch>>, PageError> {
        let stripe = usize::try_from(first / self.most_entries).unwrap_or(0) % TURNS;
        let turn = self.turns[stripe].lock();
        let _turn = turn.unwrap_or_else(PoisonError::into_inner);
        if let Some(stretch) = self.kept_at(part, first) {
            return Ok(Some(stretch));
        }
        let Some(stretch) = read()?.map(Arc::new) else {
            return Ok(None);
        };
        self.keep((part.id, first), &stretch);
        Ok(Some(stretch))
    }

    /// The one used last is at the back.
    fn keep(&self, key: Key, stretch: &Arc<Stretch>) {
        let mut kept = self.kept();
        kept.push_back((key, Arc::clone(stretch)));
        let mut bytes: usize = kept.iter().map(|(_, s)| s.bytes.len()).sum();
        while bytes > KEPT
            && let Some((_, oldest)) = kept.pop_front()
        {
            bytes -= oldest.bytes.len();
        }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(Key, Arc<Stretch>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_within_its_bound_and_is_what_was_used_last() {
        let ahead = Ahead::new();
        for part in 0..10 {
            let stretch = Stretch::new(0, vec![0, KEPT / 4], vec![0; KEPT / 4]);
            ahead.keep((part, 0), &Arc::new(stretch));
            let bytes: usize = ahead.kept().iter().map(|(_, s)| s.bytes.len()).sum();
            assert!(bytes <= KEPT);
        }
        let parts: Vec<u64> = ahead.kept().iter().map(|((part, _), _)| *part).collect();
        assert_eq!(parts, [6, 7, 8, 9]);
        ahead.give_up();
        assert!(ahead.kept().is_empty());
    }

    #[test]
    fn a_stretch_has_nothing_beyond_its_bounds() {
        let stretch = Stretch::new(8, vec![0, 2, 5], b"aabbb".to_vec());
        let of = [7, 8, 9, 10, u32::MAX].map(|number| stretch.of(number));
        let expected = [None, Some(&b"aa"[..]), Some(b"bbb"), None, None];
        assert_eq!(of, expected);
        assert!(Ahead::is_worth(&(0..32), 2) && !Ahead::is_worth(&(0..33), 2));
    }
}
