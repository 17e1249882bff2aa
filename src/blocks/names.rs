//! Names of block files: what a file holds, and the end of its root's CID.
//!
//! ```text
//! days/2018/2018-09-15.zq4x2tkcsb5m.car     one UTC day
//! hours/2018-09-15T13.zq4x2tkcsb5m.car      one UTC hour
//! deltas/0000000042.zq4x2tkcsb5m.car        the delta of head 42
//! calendar/zq4x2tkcsb5m.car                 nodes of the calendar
//! ```
//!
//! Always true:
//! - A name gives its [`Group`] back ([`group_of`]); no two groups share one.
//! - Sorted by name, the files of a kind are sorted by time or sequence.
//! - Two files of one group and root differ in a trailing `-2`, `-3`, ..

use super::{Cid, Group};

/// Ending of every block file.
const SUFFIX: &str = ".car";

/// Characters of the root's CID in a name: 58 bits, so that two roots of one
/// group do not meet by accident. Names need not be unforgeable: bytes are
/// compared before a file passes for another.
const ROOT_CHARS: usize = 12;

/// Every name that a file of `group` under `root` may take, best first; the
/// iterator never ends.
pub(super) fn candidates(group: Group, root: &Cid) -> impl Iterator<Item = String> {
    let text = root.to_string();
    let tail = text[text.len().saturating_sub(ROOT_CHARS)..].to_owned();
    let stem = match group {
        Group::Day(day) => match date(day) {
            Some(date) => format!("days/{:04}/{date}.", date.year()),
            None => format!("days/beyond/{day:010}."),
        },
        Group::Hour(hour) => match date(hour / 24) {
            Some(date) => format!("hours/{date}T{:02}.", hour % 24),
            None => format!("hours/{hour:010}."),
        },
        Group::Delta(sequence) => format!("deltas/{sequence:010}."),
        Group::Calendar => "calendar/".to_owned(),
    };
    let first = format!("{stem}{tail}{SUFFIX}");
    std::iter::once(first).chain((2u64..).map(move |n| format!("{stem}{tail}-{n}{SUFFIX}")))
}

/// The group that a name tells of; `None` for a name no store of ours gives.
pub fn group_of(name: &str) -> Option<Group> {
    let (kind, rest) = name.strip_suffix(SUFFIX)?.split_once('/')?;
    let (group, tail) = match kind {
        "days" => {
            let (year, rest) = rest.split_once('/')?;
            let (day, tail) = rest.split_once('.')?;
            let group = if year == "beyond" {
                Group::Day(digits(day)?.try_into().ok()?)
            } else {
                Group::Day(day_number(day)?)
            };
            (group, tail)
        }
        "hours" => {
            let (hour, tail) = rest.split_once('.')?;
            let number = match hour.split_once('T') {
                Some((day, hour)) => {
                    let hour = digits(hour).filter(|hour| *hour < 24)?;
                    u64::from(day_number(day)?) * 24 + hour
                }
                None => digits(hour)?,
            };
            (Group::Hour(number.try_into().ok()?), tail)
        }
        "deltas" => {
            let (sequence, tail) = rest.split_once('.')?;
            (Group::Delta(digits(sequence)?), tail)
        }
        "calendar" => (Group::Calendar, rest),
        _ => return None,
    };
    // A name is ours only where it is spelled as we spell it: the group must
    // lead back to the same folder and stem.
    let root = tail.split_once('-').map_or(tail, |(root, _)| root);
    let base32 = |c: u8| c.is_ascii_lowercase() || (b'2'..=b'7').contains(&c);
    let ours = root.len() == ROOT_CHARS
        && root.bytes().all(base32)
        && tail[root.len()..]
            .strip_prefix('-')
            .is_none_or(|n| digits(n).is_some_and(|n| n >= 2));
    ours.then_some(group)
}

fn date(day: u32) -> Option<jiff::civil::Date> {
    let second = i64::from(day) * i64::from(crate::time::DAY);
    let instant = jiff::Timestamp::from_second(second).ok()?;
    Some(instant.to_zoned(jiff::tz::TimeZone::UTC).date())
}

fn day_number(text: &str) -> Option<u32> {
    let date: jiff::civil::Date = text.parse().ok()?;
    let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    u32::try_from(midnight.as_second() / i64::from(crate::time::DAY)).ok()
}

fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Block, Codec};
    use super::*;

    fn first(group: Group) -> String {
        let root = Block::new(Codec::Raw, &b"hello world"[..]);
        candidates(group, root.cid()).next().unwrap()
    }

    #[test]
    fn a_name_says_what_the_file_holds() {
        for (group, name) in [
            (Group::Day(17_789), "days/2018/2018-09-15.ei66wof36n5e.car"),
            (
                Group::Hour(17_789 * 24 + 3),
                "hours/2018-09-15T03.ei66wof36n5e.car",
            ),
            (Group::Delta(42), "deltas/0000000042.ei66wof36n5e.car"),
            (Group::Calendar, "calendar/ei66wof36n5e.car"),
        ] {
            assert_eq!(first(group), name);
        }
    }

    #[test]
    fn names_that_are_not_ours_have_no_group() {
        for name in [
            "",
            "readme.txt",
            "calendar/ei66wof36n5e",
            "calendar/short.car",
            "calendar/ei66wof36n5E.car",
            "calendar/ei66wof36n5e-.car",
            "calendar/ei66wof36n5e-1.car",
            "deltas/x.ei66wof36n5e.car",
            "deltas/99999999999999999999.ei66wof36n5e.car",
            "days/2018/2018-13-01.ei66wof36n5e.car",
            "days/2018-09-15.ei66wof36n5e.car",
            "hours/2018-09-15T24.ei66wof36n5e.car",
            "hours/1969-09-15T01.ei66wof36n5e.car",
            "tmp/1.car",
        ] {
            assert_eq!(group_of(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_name_of_a_group_gives_it_back(day in any::<u32>(), seq in any::<u64>(), nth in 0usize..5) {
            let root = Block::new(Codec::DagCbor, seq.to_le_bytes().to_vec());
            for group in [
                Group::Day(day),
                Group::Day(day % 50_000),
                Group::Hour(day),
                Group::Hour(day % 1_200_000),
                Group::Delta(seq),
                Group::Calendar,
            ] {
                let name = candidates(group, root.cid()).nth(nth).unwrap();
                prop_assert_eq!(group_of(&name), Some(group), "{}", name);
            }
        }
    }
}
