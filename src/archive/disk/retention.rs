//! Which days this disk still keeps.
//!
//! Always true:
//! - What is dropped is said durably before its first byte goes; a drop cut off
//!   by a crash is finished by the next one.
//! - Whole closed days go, never parts of one, and never a day of which anything
//!   waits to be sealed. Of an archive that takes in, the first day kept never falls.
//! - Heads, calendar and topic indexes stay: the tree still says what there was,
//!   and whoever holds the days elsewhere can check them against it.
//!
//! File: `retention.json`, absent while everything is kept.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Archive, DiskError, State};
use crate::archive::head::Head;
use crate::archive::watermark::Day;
use crate::blocks::{BlockFile, BlockStore, Group};
use crate::durable;
use crate::time::{TimeRange, UnixSeconds};

/// Name of the file: JSON.
const FILE: &str = "retention.json";

/// What `retention.json` says.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    /// Midnight, UTC, of the first day kept.
    kept_from: UnixSeconds,
}

/// What a drop came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The first day kept now.
    pub kept_from: Day,
    /// Files of days that went, here or at the depot.
    pub days: u64,
    /// The bytes of those that were here.
    pub bytes: u64,
}

/// What a drop would come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The first day that would be kept.
    pub kept_from: Day,
    /// Days that would go, and the bytes of their files on this disk.
    pub days: Vec<(Day, u64)>,
}

/// The first day that the archive in `dir` keeps; the first of all while nothing
/// was dropped.
pub fn kept_from(dir: &Path) -> Result<Day, DiskError> {
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .map(|said: Said| Day::of(said.kept_from))
            .map_err(|error| DiskError::io(&path)(io::Error::other(error))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Day(0)),
        Err(error) => Err(DiskError::io(&path)(error)),
    }
}

fn say(dir: &Path, day: Day) -> Result<(), DiskError> {
    let path = dir.join(FILE);
    let said = Said {
        kept_from: day.range().from(),
    };
    let mut text = serde_json::to_string(&said).expect("a time is JSON");
    text.push('\n');
    durable::replace_file(&path, text.as_bytes()).map_err(DiskError::io(&path))
}

/// The part of a range that is kept; `None` where none is.
pub(super) fn kept(range: TimeRange, from: Day) -> Option<TimeRange> {
    let from = from.range().from().max(range.from());
    TimeRange::new(from, range.to()).ok()
}

/// See [`Archive::drop_before`].
pub(super) fn drop_before(archive: &Archive, before: UnixSeconds) -> Result<Dropped, DiskError> {
    let kept_from = {
        // No envelope is on its way into what waits while the floor rises.
        let _gate = archive.gate_alone();
        let mut state = archive.write_state();
        let floor = floor(&state, before);
        if floor > state.kept_from {
            say(&archive.dir, floor)?;
            state.kept_from = floor;
        }
        state.kept_from
    };
    let folder = archive.blocks.folder();
    let mut dropped = Dropped {
        kept_from,
        days: 0,
        bytes: 0,
    };
    for (_, file) in days_before(archive, kept_from)? {
        folder.remove(&file.name)?;
        dropped.days += 1;
        dropped.bytes += file.bytes;
    }
    // The depot lets them go when it is told next.
    for (_, file) in evicted_before(archive, kept_from) {
        archive.blocks.evicted.forget(&file.name)?;
        dropped.days += 1;
    }
    Ok(dropped)
}

/// The first day that would be kept: no open one goes, and none of which anything
/// waits.
fn floor(state: &State, before: UnixSeconds) -> Day {
    let closed = match &state.head {
        Some(head) => Day::of(head.body().watermark.at()),
        None => Day(0),
    };
    let waits = state.waiting.first().map_or(closed, Day::of);
    Day::of(before).min(closed).min(waits)
}

/// See [`Archive::believe_dropped`].
pub(super) fn believe(archive: &Archive, before: Day, head: &Head) -> Result<(), DiskError> {
    let _gate = archive.gate_alone();
    let mut state = archive.write_state();
    let closed = Day::of(head.body().watermark.at());
    let waits = state.waiting.first().map_or(closed, Day::of);
    let floor = before.min(closed).min(waits);
    if floor != state.kept_from {
        say(&archive.dir, floor)?;
        state.kept_from = floor;
    }
    Ok(())
}

/// The files of days before `kept_from`, by day.
fn days_before(archive: &Archive, kept_from: Day) -> Result<Vec<(Day, BlockFile)>, DiskError> {
    let files = archive.blocks.folder().files()?.into_iter();
    let mut days: Vec<_> = files
        .filter_map(|file| match file.group {
            Group::Day(day) if Day(day) < kept_from => Some((Day(day), file)),
            _ => None,
        })
        .collect();
    days.sort_by_key(|(day, _)| *day);
    Ok(days)
}

/// The evicted files of days before `kept_from`, by day.
fn evicted_before(archive: &Archive, kept_from: Day) -> Vec<(Day, BlockFile)> {
    let files = archive.blocks.evicted().into_iter();
    let days = files.filter_map(|file| match file.group {
        Group::Day(day) if Day(day) < kept_from => Some((Day(day), file)),
        _ => None,
    });
    days.collect()
}

/// See [`Archive::would_drop`].
pub(super) fn would_drop(archive: &Archive, before: UnixSeconds) -> Result<Plan, DiskError> {
    let kept_from = {
        let state = archive.read_state();
        floor(&state, before).max(state.kept_from)
    };
    let mut days: BTreeMap<Day, u64> = BTreeMap::new();
    for (day, file) in days_before(archive, kept_from)? {
        *days.entry(day).or_default() += file.bytes;
    }
    for (day, _) in evicted_before(archive, kept_from) {
        days.entry(day).or_default();
    }
    let days = days.into_iter().collect();
    Ok(Plan { kept_from, days })
}

#[cfg(test)]
mod tests;
