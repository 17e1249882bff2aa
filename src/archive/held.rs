//! Which days of a head a source does not hold.

use std::fmt;

use super::ArchiveError;
use super::calendar::CalendarReader;
use super::fresh::Sealed;
use super::watermark::Day;
use crate::blocks::BlockSource;
use crate::time::TimeRange;

/// The days before `floor`, within `range`, that a head has and `source` has not:
/// of each the root of its segment is looked for. They are those that an archive
/// dropped; a later day that is missing is damage.
pub fn days_lacking(
    source: &dyn BlockSource,
    sealed: &Sealed,
    range: TimeRange,
    floor: Day,
) -> Result<Vec<Day>, ArchiveError> {
    let mut calendar = CalendarReader::new(source, sealed.state.as_ref())?;
    let mut lacking = Vec::new();
    for (month, _) in calendar.months()? {
        let Some(node) = calendar.month(month)? else {
            continue;
        };
        for (number, child) in &node.children {
            let number = u8::try_from(*number).ok();
            let Some(day) = number.and_then(|number| Day::from_date(month, number)) else {
                continue;
            };
            if day >= floor {
                return Ok(lacking);
            }
            if day.range().intersect(range).is_some() && !source.has(&child.cid)? {
                lacking.push(day);
            }
        }
    }
    Ok(lacking)
}

/// Days in order, told as runs of days that follow each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs(Vec<(Day, Day)>);

impl Runs {
    /// The runs: first and last day of each.
    pub fn each(&self) -> impl Iterator<Item = (Day, Day)> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Day> for Runs {
    fn from_iter<I: IntoIterator<Item = Day>>(days: I) -> Self {
        let mut runs: Vec<(Day, Day)> = Vec::new();
        for day in days {
            match runs.last_mut() {
                Some((_, last)) if last.0 + 1 == day.0 => *last = day,
                _ => runs.push((day, day)),
            }
        }
        Self(runs)
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            if first == last {
                write!(f, "{first}")?;
            } else {
                write!(f, "{first} to {last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_follow_each_other_are_one_run() {
        let runs: Runs = [17_775, 17_776, 17_777, 17_780]
            .map(Day)
            .into_iter()
            .collect();
        assert_eq!(runs.to_string(), "2018-09-01 to 2018-09-03, 2018-09-06");
        assert_eq!(runs.each().count(), 2);
        assert_eq!(Runs::from_iter([]).to_string(), "");
    }
}
