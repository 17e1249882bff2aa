//! What is to be carried to a depot, released there, and evicted here.
//!
//! Pure: made of what lies on this disk and what the depot says that it keeps.
//!
//! Always true:
//! - Files are carried in the order in which they rest on each other: days, hours,
//!   calendar, deltas; the oldest of a kind first.
//! - Only what neither lies on this disk nor was evicted from it is released; of days
//!   only those that are too old to be kept. Whatever else of a day the depot keeps may
//!   be all there is of it.
//! - Only whole files of days that the depot keeps are evicted, the oldest first, and
//!   never so many that less than asked for is left.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use crate::archive::watermark::Day;
use crate::blocks::{BlockFile, Group, group_of};
use crate::config::{ParseSizeError, Size};

/// Bytes of the newest days that stay on this disk where a depot keeps them too, unless
/// another number is asked for: months of a busy network.
pub const DEFAULT_KEEP: Keep = Keep::Bytes(1 << 30);

/// How much of what a depot keeps stays on this disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All of it.
    Everything,
    /// The newest days, up to so many bytes of files.
    Bytes(u64),
}

impl FromStr for Keep {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Self::Everything),
            size => size.parse().map(|Size(bytes)| Self::Bytes(bytes)),
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("all"),
            Self::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What the depot lacks, in the order in which it is carried.
    pub carry: Vec<BlockFile>,
    /// What was evicted, and is no longer there either.
    pub lost: Vec<String>,
}

/// What a depot keeps: the names of its files, and their bytes where it tells them.
pub type KeptFiles = HashMap<String, Option<u64>>;

/// Whether a file is among those that a depot keeps. A name alone does not tell, where
/// the depot tells more: files of one name are another's where their lengths differ.
pub fn is_kept(file: &BlockFile, kept: &KeptFiles) -> bool {
    kept.get(&file.name)
        .is_some_and(|bytes| bytes.is_none_or(|bytes| bytes == file.bytes))
}

/// Where a kind of file comes among others.
fn rank(group: Group) -> u8 {
    match group {
        Group::Day(_) => 0,
        Group::Hour(_) => 1,
        Group::Calendar => 2,
        Group::Delta(_) => 3,
    }
}

/// What a depot lacks of what is here, where it keeps `kept`.
pub fn plan(here: &[BlockFile], evicted: &[BlockFile], kept: &KeptFiles) -> Plan {
    let lacks = |file: &&BlockFile| !is_kept(file, kept);
    let mut carry: Vec<BlockFile> = here.iter().filter(lacks).cloned().collect();
    carry.sort_by(|a, b| (rank(a.group), &a.name).cmp(&(rank(b.group), &b.name)));
    let is_here: HashSet<&str> = here.iter().map(|file| &*file.name).collect();
    let lost = evicted.iter().filter(lacks).map(|file| file.name.clone());
    Plan {
        carry,
        lost: lost.filter(|name| !is_here.contains(&**name)).collect(),
    }
}

/// What a depot keeps that is nobody's any more, in order; `from` is the first day whose
/// files are kept.
pub fn to_release(
    here: &[BlockFile],
    evicted: &[BlockFile],
    kept: &KeptFiles,
    from: Day,
) -> BTreeSet<String> {
    let is_needless = |name: &&String| match group_of(name) {
        Some(Group::Day(day)) => Day(day) < from,
        Some(_) => true,
        None => false,
    };
    let mut released: BTreeSet<String> = kept.keys().filter(is_needless).cloned().collect();
    for file in here.iter().chain(evicted) {
        released.remove(&file.name);
    }
    released
}

/// The files of days that go from this disk so that it holds no more than `keep` of
/// those that the depot keeps; the oldest first.
pub fn to_evict(here: &[BlockFile], kept: &KeptFiles, keep: Keep) -> Vec<BlockFile> {
    let Keep::Bytes(most) = keep else {
        return Vec::new();
    };
    let mut days: Vec<(u32, &BlockFile)> = here
        .iter()
        .filter_map(|file| match file.group {
            Group::Day(day) => Some((day, file)),
            _ => None,
        })
        .collect();
    days.sort_by(|a, b| (b.0, &b.1.name).cmp(&(a.0, &a.1.name)));
    let mut bytes = 0u64;
    let mut evicted: Vec<BlockFile> = Vec::new();
    for (_, file) in days {
        bytes = bytes.saturating_add(file.bytes);
        if bytes > most && is_kept(file, kept) {
            evicted.push(file.clone());
        }
    }
    evicted.reverse();
    evicted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::UnixSeconds;

    fn file(group: Group, n: u64, bytes: u64) -> BlockFile {
        let stem = match group {
            Group::Day(day) => format!("days/beyond/{day:010}."),
            Group::Hour(hour) => format!("hours/{hour:010}."),
            Group::Delta(sequence) => format!("deltas/{sequence:010}."),
            Group::Calendar => "calendar/".to_owned(),
        };
        let root = match n % 3 {
            0 => "aaaaaaaaaaaa",
            1 => "bbbbbbbbbbbb",
            _ => "cccccccccccc",
        };
        BlockFile {
            name: format!("{stem}{root}.car"),
            group,
            blocks: 1,
            bytes,
            written: UnixSeconds(0),
        }
    }

    fn files() -> impl Strategy<Value = Vec<BlockFile>> {
        let group = prop_oneof![
            (0u32..9).prop_map(Group::Day),
            (0u32..9).prop_map(Group::Hour),
            (0u64..9).prop_map(Group::Delta),
            Just(Group::Calendar),
        ];
        let files = proptest::collection::vec((group, 0u64..3, 1u64..100), 0..24);
        files.prop_map(|files| {
            let mut files: Vec<_> = files.into_iter().map(|(g, n, b)| file(g, n, b)).collect();
            files.sort_by(|a, b| a.name.cmp(&b.name));
            files.dedup_by(|a, b| a.name == b.name);
            files
        })
    }

    fn some_of(files: &[BlockFile], bits: u32) -> Vec<BlockFile> {
        let chosen = files.iter().enumerate();
        let chosen = chosen.filter(|(at, _)| bits & (1 << (at % 32)) != 0);
        chosen.map(|(_, file)| file.clone()).collect()
    }

    fn names(files: &[BlockFile]) -> HashSet<String> {
        files.iter().map(|file| file.name.clone()).collect()
    }

    fn as_they_are(files: &[BlockFile]) -> KeptFiles {
        let kept = files.iter();
        kept.map(|file| (file.name.clone(), Some(file.bytes)))
            .collect()
    }

    #[test]
    fn days_go_before_what_rests_on_them() {
        let here = [
            file(Group::Delta(4), 1, 1),
            file(Group::Calendar, 1, 1),
            file(Group::Hour(3), 1, 1),
            file(Group::Day(2), 1, 1),
            file(Group::Day(1), 1, 1),
        ];
        let plan = plan(&here, &[], &KeptFiles::new());
        let order: Vec<_> = plan.carry.iter().map(|file| file.group).collect();
        let days = [Group::Day(1), Group::Day(2)];
        let rest = [Group::Hour(3), Group::Calendar, Group::Delta(4)];
        assert_eq!(order, [&days[..], &rest].concat());
    }

    #[test]
    fn the_newest_days_stay() {
        let here: Vec<_> = (1..6).map(|day| file(Group::Day(day), 1, 10)).collect();
        let kept = as_they_are(&here);
        let evicted = |keep| -> Vec<Group> {
            let files = to_evict(&here, &kept, keep);
            files.into_iter().map(|file| file.group).collect()
        };
        assert_eq!(evicted(Keep::Bytes(25)), [1, 2, 3].map(Group::Day));
        assert_eq!(evicted(Keep::Bytes(0)).len(), 5);
        assert!(evicted(Keep::Everything).is_empty());
    }

    #[test]
    fn how_much_to_keep_is_read_as_it_is_written() {
        assert_eq!("all".parse(), Ok(Keep::Everything));
        assert_eq!("10M".parse(), Ok(Keep::Bytes(10 << 20)));
        assert!("most".parse::<Keep>().is_err());
    }

    #[test]
    fn other_bytes_under_the_same_name_are_another_file() {
        let here = [file(Group::Day(1), 1, 10), file(Group::Calendar, 1, 10)];
        let shorter = here.iter().map(|file| (file.name.clone(), Some(9)));
        let shorter: KeptFiles = shorter.collect();
        assert_eq!(plan(&here, &[], &shorter).carry.len(), 2);
        assert_eq!(plan(&[], &here, &shorter).lost.len(), 2);
        assert!(to_evict(&here, &shorter, Keep::Bytes(0)).is_empty());
        // Where no length is told the name has to do.
        let untold = here.iter().map(|file| (file.name.clone(), None));
        let untold: KeptFiles = untold.collect();
        assert_eq!(plan(&here, &[], &untold), Plan::default());
    }

    #[test]
    fn of_days_that_nobody_here_knows_only_those_too_old_to_be_kept_are_released() {
        let kept = as_they_are(&[
            file(Group::Day(3), 1, 10),
            file(Group::Day(4), 1, 10),
            file(Group::Hour(3), 1, 10),
        ]);
        let released = to_release(&[], &[], &kept, Day(4));
        let groups: Vec<_> = released.iter().map(|name| group_of(name)).collect();
        assert_eq!(groups, [Some(Group::Day(3)), Some(Group::Hour(3))]);
        let foreign = KeptFiles::from([("LEASE".to_owned(), Some(1))]);
        assert!(to_release(&[], &[], &foreign, Day(4)).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_by_any_plan(
            all in files(), here in any::<u32>(), evicted in any::<u32>(),
            kept in any::<u32>(), cut in any::<u32>(), most in 0u64..400, from in 0u32..9,
        ) {
            let (here, evicted) = (some_of(&all, here), some_of(&all, evicted));
            let mut kept = as_they_are(&some_of(&all, kept));
            for file in some_of(&all, cut) {
                kept.entry(file.name).and_modify(|bytes| *bytes = bytes.map(|bytes| bytes - 1));
            }
            let plan = plan(&here, &evicted, &kept);
            let mut carried = kept.clone();
            for file in &plan.carry {
                prop_assert!(!is_kept(file, &kept));
                carried.insert(file.name.clone(), Some(file.bytes));
            }
            // What is here is there afterwards, carried once and for a reason.
            prop_assert!(here.iter().all(|file| is_kept(file, &carried)));
            for name in &plan.lost {
                let file = evicted.iter().find(|file| file.name == *name).unwrap();
                prop_assert!(!is_kept(file, &carried));
            }
            let released = to_release(&here, &evicted, &carried, Day(from));
            for name in &released {
                prop_assert!(!names(&here).contains(name) && !names(&evicted).contains(name));
                let is_kept = matches!(group_of(name), Some(Group::Day(day)) if day >= from);
                prop_assert!(!is_kept);
            }
            let going = to_evict(&here, &carried, Keep::Bytes(most));
            for file in &going {
                prop_assert!(matches!(file.group, Group::Day(_)));
                prop_assert!(is_kept(file, &carried) && !released.contains(&file.name));
            }
            let days: u64 = here.iter().map(|f| match f.group { Group::Day(_) => f.bytes, _ => 0 }).sum();
            let gone: u64 = going.iter().map(|file| file.bytes).sum();
            prop_assert!(going.is_empty() || days > most);
            prop_assert!(days - gone <= most || going.len() < names(&here).len());
        }
    }
}
