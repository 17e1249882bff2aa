//! The envelopes of another archive's folder: what its head seals, day by day and
//! verified, then what waits in its journal.
//!
//! Always true: whatever it had acknowledged when it was opened comes out, also
//! where its daemon seals and tidies meanwhile.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, mpsc};

use super::{Found, ImportError, Items, MAX_ENVELOPE, Place};
use crate::archive::ArchiveError;
use crate::archive::calendar::CalendarReader;
use crate::archive::disk::{DiskError, Reader, journal_of, sealed_by};
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::head::Head;
use crate::archive::query::Query;
use crate::archive::watermark::Day;
use crate::journal::{self, JournalError, Salvage};
use crate::whisper::Envelope;

/// Records of the journal read ahead: at 1 MiB each at most 64 MiB.
const AHEAD: usize = 64;

/// Another archive, opened for reading.
pub struct ArchiveFolder {
    journal: Result<Arc<Salvage>, JournalError>,
    reader: Reader,
    head: Option<Head>,
}

impl ArchiveFolder {
    /// Opens the archive in `dir`. Whoever writes to it may go on.
    pub fn open(dir: &Path) -> Result<Self, DiskError> {
        // The journal first: what is removed from it before it is opened is sealed
        // by the head that is read after.
        let journal = Salvage::open(&journal_of(dir)).map(Arc::new);
        let reader = Reader::open(dir)?;
        let head = reader.head()?;
        Ok(Self {
            journal,
            reader,
            head,
        })
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
        let journal = self.journal.clone();
        let (found, records) = mpsc::sync_channel(AHEAD);
        std::thread::spawn(move || {
            let each = |item| {
                // Whoever reads may have stopped; the rest is passed over.
                let _ = found.send(Ok(item));
            };
            if let Err(error) = journal.and_then(|journal| journal.read(each)) {
                let _ = found.send(Err(error));
            }
        });
        records.into_iter().filter_map(|item| match item {
            Ok(journal::Found::Record(entry)) => {
                Some(envelope(&entry.bytes, Place::Byte(entry.location.offset)))
            }
            // It was never acknowledged, or is being appended right now.
            Ok(journal::Found::Damage {
                unfinished: true, ..
            }) => None,
            Ok(journal::Found::Damage { offset, what, .. }) => {
                Some(Err(ImportError::Waiting(format!("byte {offset}: {what}"))))
            }
            Err(error) => Some(Err(ImportError::Waiting(error.to_string()))),
        })
    }
}

fn envelope(rlp: &bytes::Bytes, place: Place) -> Result<Found, ImportError> {
    debug_assert!(rlp.len() <= MAX_ENVELOPE);
    Envelope::decode(rlp)
        .map(Found::from)
        .map_err(|source| ImportError::NotAnEnvelope { place, source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::envelope as numbered;
    use super::*;
    use crate::archive::disk::Archive;
    use crate::archive::watermark::Watermark;
    use crate::progress::Quiet;
    use crate::time::UnixSeconds;

    /// After all of these envelopes were sent.
    const LATER: UnixSeconds = UnixSeconds(1_600_100_000);

    fn read(folder: &ArchiveFolder) -> (Vec<Envelope>, Vec<ImportError>) {
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for item in folder.items() {
            match item {
                Ok(found) => taken.push(found.envelope),
                Err(error) => refused.push(error),
            }
        }
        taken.sort_by_key(Envelope::sent);
        (taken, refused)
    }

    #[test]
    fn what_waits_when_it_is_opened_comes_though_it_is_sealed_and_trimmed_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::init(dir.path(), "a").unwrap();
        let all: Vec<_> = (1..=6).map(numbered).collect();
        archive.append(&all[..3]).unwrap();
        let seal = || {
            archive
                .seal(Watermark::at_or_before(LATER), LATER, &Quiet)
                .unwrap()
        };
        for known in [3, 6] {
            archive.append(&all[..known]).unwrap();
            let folder = ArchiveFolder::open(dir.path()).unwrap();
            seal();
            let (taken, refused) = read(&folder);
            assert!(refused.is_empty(), "{refused:?}");
            assert_eq!(taken, all[..known]);
        }
    }

    #[test]
    fn what_a_crash_tore_off_the_journal_is_no_damage_and_what_it_lost_is() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::init(dir.path(), "a").unwrap();
        let all: Vec<_> = (1..=4).map(numbered).collect();
        archive.append(&all[..2]).unwrap();
        archive.append(&all[2..]).unwrap();
        let journal = fs::read_dir(journal_of(dir.path())).unwrap();
        let path = journal
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().is_some_and(|ending| ending == "journal"))
            .unwrap();
        // While the archive is open: no seam ends the last group.
        let whole = fs::read(&path).unwrap();
        drop(archive);
        let torn = whole.len() - all[3].rlp().len() / 2;
        fs::write(&path, &whole[..torn]).unwrap();
        let (taken, refused) = read(&ArchiveFolder::open(dir.path()).unwrap());
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(taken, all[..3]);

        let mut bent = whole;
        bent[60] ^= 1;
        fs::write(&path, bent).unwrap();
        let (taken, refused) = read(&ArchiveFolder::open(dir.path()).unwrap());
        assert!(
            matches!(refused[..], [ImportError::Waiting(_)]),
            "{refused:?}"
        );
        assert_eq!(taken, all[1..]);
    }
}
