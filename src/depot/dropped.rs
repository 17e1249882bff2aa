//! From which day on a depot keeps an archive, where its owner let days go.
//!
//! Always true:
//! - It is said before the first file goes, and the day never falls.
//! - It is the depot's word, as all that it lacks is: it tells what was dropped from what
//!   was lost, and nobody keeps less for it.

use super::DepotError;
use crate::archive::watermark::{Day, Month};

/// Name of the entry, beside `HEAD`.
pub(super) const NAME: &str = "DROPPED";

/// First line of it.
const FIRST_LINE: &str = "gwa dropped 1";

/// Longest text of it that is read, bytes.
pub(super) const MAX_LEN: u64 = 256;

/// The text that says so.
pub(super) fn encode(before: Day) -> Vec<u8> {
    format!("{FIRST_LINE}\nbefore {before}\n").into_bytes()
}

/// Reads what [`encode`] wrote, and nothing else.
pub(super) fn decode(depot: &str, bytes: &[u8]) -> Result<Day, DepotError> {
    let read = || {
        let text = std::str::from_utf8(bytes).ok()?;
        let date = text.strip_prefix(FIRST_LINE)?.strip_prefix("\nbefore ")?;
        let (year, rest) = date.trim_end().split_once('-')?;
        let (month, day) = rest.split_once('-')?;
        let month = Month {
            year: year.parse().ok()?,
            month: month.parse().ok()?,
        };
        let day = Day::from_date(month, day.parse().ok()?)?;
        (encode(day) == bytes).then_some(day)
    };
    read().ok_or_else(|| DepotError::Refused {
        depot: depot.to_owned(),
        what: format!("its {NAME} names no day: there is something else"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_names_no_day_is_refused() {
        for text in [
            "",
            "gwa dropped 1\n",
            "gwa dropped 1\nbefore 2018-09-15",
            "gwa dropped 1\nbefore 2018-9-15\n",
            "gwa dropped 1\nbefore 2018-02-30\n",
            "gwa dropped 2\nbefore 2018-09-15\n",
        ] {
            assert!(decode("a store", text.as_bytes()).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_day_reads_as_it_was_written(day in 0u32..49_000) {
            prop_assert_eq!(decode("", &encode(Day(day))).unwrap(), Day(day));
        }
    }
}
