//! The envelopes of another archive's folder: what its head seals, day by day and
//! verified, then what waits in its journal.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc;

use super::{Found, ImportError, Items, MAX_ENVELOPE, Place};
use crate::archive::ArchiveError;
use crate::archive::calendar::CalendarReader;
use crate::archive::disk::{DiskError, Reader, journal_of, sealed_by};
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::head::Head;
use crate::archive::query::Query;
use crate::archive::watermark::Day;
use crate::journal;
use crate::whisper::Envelope;

/// Records of the journal read ahead: at 1 MiB each at most 64 MiB.
const AHEAD: usize = 64;

/// Another archive, opened for reading.
pub struct ArchiveFolder {
    reader: Reader,
    head: Option<Head>,
}

impl ArchiveFolder {
    /// Opens the archive in `dir`. Whoever writes to it may go on.
    pub fn open(dir: &Path) -> Result<Self, DiskError> {
        let reader = Reader::open(dir)?;
        let head = reader.head()?;
        Ok(Self { reader, head })
    }

    /// Envelopes and bytes that its head seals.
    pub fn totals(&self) -> (u64, u64) {
        self.head.as_ref().map_or((0, 0), |head| {
            let totals = head.body().totals;
            (totals.count, totals.bytes)
        })
    }

    /// Its envelopes. A day that is not held, or does not verify, is named, and
    /// the days behind it still come.
    pub fn items(&self) -> Items<'_> {
        let sealed = self.head.as_ref().map(|head| self.sealed(head));
        Box::new(sealed.into_iter().flatten().chain(self.waiting()))
    }

    fn sealed<'a>(&'a self, head: &'a Head) -> Items<'a> {
        let sealed = sealed_by(head);
        let unreadable = |error| ImportError::Tree {
            head: *head.cid(),
            source: Box::new(error),
        };
        let days = match self.days(head) {
            Ok(days) => days,
            Err(error) => return Box::new(std::iter::once(Err(unreadable(error)))),
        };
        Box::new(days.into_iter().flat_map(move |day| -> Items<'a> {
            let failed = move |error| ImportError::Day {
                day,
                source: Box::new(error),
            };
            let filter = Filter {
                topics: TopicFilter::All,
                range: day.range(),
            };
            match Query::new(self.reader.blocks(), &sealed, filter) {
                Err(error) => Box::new(std::iter::once(Err(failed(error)))),
                Ok(query) => Box::new(query.map(move |record| {
                    let record = record.map_err(failed)?;
                    envelope(&record.bytes, Place::Row(record.key.hash.0.to_vec()))
                })),
            }
        }))
    }

    /// The days that have envelopes.
    fn days(&self, head: &Head) -> Result<VecDeque<Day>, ArchiveError> {
        let body = head.body();
        let mut days = VecDeque::new();
        CalendarReader::new(self.reader.blocks(), body.state.as_ref())?.for_each_day(
            |day, _| {
                days.push_back(day);
                Ok::<_, ArchiveError>(())
            },
        )?;
        // What the open hour has may be in no day yet.
        let open = body.watermark.open_hour().day();
        if days.back() != Some(&open) {
            days.push_back(open);
        }
        Ok(days)
    }

    /// What was acknowledged and is in no head yet. Some of it may be.
    fn waiting(&self) -> impl Iterator<Item = Result<Found, ImportError>> + use<> {
        let dir = journal_of(self.reader.dir());
        let (found, records) = mpsc::sync_channel(AHEAD);
        std::thread::spawn(move || {
            let each = |item| {
                // Whoever reads may have stopped; the rest is passed over.
                let _ = found.send(Ok(item));
            };
            if let Err(error) = journal::salvage(&dir, each) {
                let _ = found.send(Err(error));
            }
        });
        records.into_iter().map(|item| match item {
            Ok(journal::Found::Record(entry)) => {
                envelope(&entry.bytes, Place::Byte(entry.location.offset))
            }
            Ok(journal::Found::Damage { offset, what, .. }) => {
                Err(ImportError::Waiting(format!("byte {offset}: {what}")))
            }
            Err(error) => Err(ImportError::Waiting(error.to_string())),
        })
    }
}

fn envelope(rlp: &bytes::Bytes, place: Place) -> Result<Found, ImportError> {
    debug_assert!(rlp.len() <= MAX_ENVELOPE);
    Envelope::decode(rlp)
        .map(Found::from)
        .map_err(|source| ImportError::NotAnEnvelope { place, source })
}
