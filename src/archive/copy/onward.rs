//! Fetching what it takes to seal on, and nothing else.
//!
//! Always true: with what was fetched every day can be sealed that was open at the
//! head, or comes after it. Nothing else of the history need be to be had.
//!
//! That is the way from the state to the month of the open day, this month's topic
//! index, and what is sealed of the open day: its hours, and its part of the open
//! deltas. Both are recomputed; an index cannot be, since its days are not here.

use super::{Copied, Copy, CopyRequest, Wanted};
use crate::archive::ArchiveError;
use crate::archive::calendar::{CalendarNode, Level};
use crate::archive::verify;
use crate::archive::watermark::{Day, Hour};
use crate::blocks::{Group, Reuse};
use crate::progress::Progress;

/// Copies it; `added` and `from` of the request say nothing here.
pub fn copy_onward(
    request: &CopyRequest<'_>,
    progress: &dyn Progress,
) -> Result<Copied, ArchiveError> {
    let CopyRequest { store, sealed, .. } = *request;
    let mut copy = Copy::new(request, progress)?;
    let day = sealed.watermark.open_hour().day();
    progress.phase("fetching the open day", None, None);
    let hours = copy.open_day(day)?;
    copy.segments(&hours)?;
    for root in &sealed.open {
        for (_, segment) in copy.delta(*root, |of, _| of == day)? {
            let range = sealed.watermark.before(day.range());
            let range = range.ok_or(ArchiveError::NotAsLinked { cid: *root })?;
            verify::recompute(store, segment, range)?;
        }
    }
    Ok(copy.copied)
}

impl Copy<'_> {
    /// Fetches the calendar down to `day`, which is open, with the topic index of
    /// its month; gives its hours.
    fn open_day(&mut self, day: Day) -> Result<Vec<Wanted>, ArchiveError> {
        let CopyRequest { store, sealed, .. } = *self.request;
        let Some(state) = sealed.state else {
            return Ok(Vec::new());
        };
        let mut file = store.begin(Group::Calendar, Reuse::SameGroup)?;
        let mut hours = Vec::new();
        let block = self.nodes(&[state], &mut *file)?.remove(0);
        let root = CalendarNode::read(Level::State, &block, None)?;
        let (month, number) = day.date();
        let number = u16::from(number);
        let year = root.children.get_key_value(&month.year);
        for (_, node) in self.level(Level::Year, year.map(owned).into_iter(), &mut *file)? {
            let of_year = node.children.get_key_value(&u16::from(month.month));
            for (_, node) in self.level(Level::Month, of_year.map(owned).into_iter(), &mut *file)? {
                self.index(&node, &mut *file)?;
                let open = node.children.get_key_value(&number).map(owned);
                for (_, node) in self.level(Level::OpenDay, open.into_iter(), &mut *file)? {
                    hours.extend(node.children);
                }
            }
        }
        self.commit(file, &state)?;
        hours
            .into_iter()
            .map(|(number, segment)| {
                let hour = Hour(day.0 * 24 + u32::from(number));
                if !sealed.watermark.closes_hour(hour) {
                    return Err(ArchiveError::NotAsLinked { cid: state });
                }
                Ok(Wanted {
                    day,
                    group: Group::Hour(hour.0),
                    bucket: verify::Bucket {
                        range: hour.range(),
                        segment,
                    },
                })
            })
            .collect()
    }
}

fn owned<T: std::marker::Copy, U: std::marker::Copy>((number, child): (&T, &U)) -> (T, U) {
    (*number, *child)
}
