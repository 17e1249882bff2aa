//! The newest record seen of each name.
//!
//! Files: `seen/<name>.ipns`, the record; `seen/<name>.<number>.<hash>.ipns-proof`,
//! records of one number that contradict each other. An older record is no proof of
//! anything, for its owner made it.

use std::cmp::Ordering;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::{Judgement, SeenError, SeenHeads, io_error};
use crate::durable;
use crate::keccak::keccak256;
use crate::publish::ipns::{Name, Record};

/// Most proofs of one name: an owner who signs two records of each number must not
/// fill the disks of his readers.
const MAX_PROOFS: usize = 16;

/// What contradicts what was seen of a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.told())]
pub struct NameContradiction {
    /// How.
    pub judgement: Judgement,
    /// The name.
    pub name: Name,
    /// The record's number.
    pub sequence: u64,
    /// What it points at.
    pub value: String,
    /// The number of the newest record seen.
    pub seen_sequence: u64,
    /// What that points at.
    pub seen_value: String,
    /// Where both are kept; `None` where the record is merely older, or the disk
    /// refuses.
    pub proof: Option<PathBuf>,
}

impl NameContradiction {
    fn told(&self) -> String {
        let Self {
            name,
            sequence,
            value,
            seen_sequence,
            seen_value,
            ..
        } = self;
        match self.judgement {
            Judgement::Equivocation => format!(
                "{name} has two records of number {sequence}: one for {value}, and one for \
                 {seen_value}"
            ),
            _ => format!(
                "the record of {name} has number {sequence} and points at {value}, and number \
                 {seen_sequence} was seen before, for {seen_value}"
            ),
        }
    }
}

/// Judges `record` by the newest one `seen` of its name. One that says the same for
/// longer is no contradiction, nor is one that says it for a shorter time.
fn judge(record: &Record, seen: Option<&Record>) -> Judgement {
    let Some(seen) = seen else {
        return Judgement::First;
    };
    match record.sequence().cmp(&seen.sequence()) {
        Ordering::Greater => Judgement::Newer,
        Ordering::Less => Judgement::Older,
        Ordering::Equal if !record.says_as(seen) => Judgement::Equivocation,
        Ordering::Equal if record.until() > seen.until() => Judgement::Newer,
        Ordering::Equal => Judgement::Same,
    }
}

impl SeenHeads {
    fn record_path(&self, name: &Name) -> PathBuf {
        self.dir.join(format!("{name}.ipns"))
    }

    /// The newest record seen of a name, whether it still counts or not.
    pub fn newest_record(&self, name: &Name) -> Result<Option<Record>, SeenError> {
        let path = self.record_path(name);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(io_error(&path))?,
        };
        // Its signature says whether the file is what it should be; one that is
        // damaged tells nothing.
        Ok(Record::read(name, bytes.into()).ok())
    }

    /// Judges a record without remembering it. One that contradicts what was seen of
    /// its name is refused, unless `accept_rewrite`.
    pub fn judge_record(
        &self,
        record: &Record,
        accept_rewrite: bool,
    ) -> Result<Judgement, SeenError> {
        let seen = self.newest_record(record.name())?;
        let judgement = judge(record, seen.as_ref());
        match seen.filter(|_| judgement.is_alarm()) {
            Some(seen) => {
                let refused = self.contradiction(record, &seen, judgement);
                if accept_rewrite {
                    Ok(judgement)
                } else {
                    Err(refused)
                }
            }
            None => Ok(judgement),
        }
    }

    /// Two records of one number that say different things: why neither is taken.
    /// Both are kept.
    pub fn equivocation(&self, record: &Record, other: &Record) -> SeenError {
        self.contradiction(record, other, Judgement::Equivocation)
    }

    fn contradiction(&self, record: &Record, seen: &Record, judgement: Judgement) -> SeenError {
        let proof = match judgement {
            Judgement::Equivocation => self.keep_record_proofs(&[seen, record]),
            _ => None,
        };
        SeenError::Name(Box::new(NameContradiction {
            judgement,
            name: *record.name(),
            sequence: record.sequence(),
            value: value(record),
            seen_sequence: seen.sequence(),
            seen_value: value(seen),
            proof,
        }))
    }

    /// Remembers a record. One that contradicts what was seen of its name is refused,
    /// and two of one number are kept as proof; with `accept_rewrite` it takes the
    /// other's place.
    pub fn remember_record(
        &self,
        record: &Record,
        accept_rewrite: bool,
    ) -> Result<Judgement, SeenError> {
        let _turn = self.turn()?;
        let judgement = self.judge_record(record, accept_rewrite)?;
        if judgement != Judgement::Same {
            let path = self.record_path(record.name());
            durable::replace_file(&path, record.bytes()).map_err(io_error(&path))?;
        }
        Ok(judgement)
    }

    /// Keeps records that contradict each other; gives the file of the last one. That
    /// they do is told also where the disk refuses.
    fn keep_record_proofs(&self, records: &[&Record]) -> Option<PathBuf> {
        let mut kept = None;
        for record in records {
            let hash = hex::encode(&keccak256(record.bytes())[..8]);
            let name = format!("{}.{}.{hash}.ipns-proof", record.name(), record.sequence());
            let path = self.dir.join(name);
            if self.proofs_of(record.name()) >= MAX_PROOFS && !path.exists() {
                return kept;
            }
            let made = durable::create_folder(&self.dir)
                .and_then(|()| durable::replace_file(&path, record.bytes()));
            match made {
                Ok(()) => kept = Some(path),
                Err(error) => tracing::warn!(%error, "a record is not kept as proof"),
            }
        }
        kept
    }

    fn proofs_of(&self, name: &Name) -> usize {
        let start = format!("{name}.");
        let is_proof = |file: &str| file.starts_with(&start) && file.ends_with(".ipns-proof");
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let files = entries.filter_map(|entry| entry.file_name().into_string().ok());
        files.filter(|file| is_proof(file)).count()
    }
}

/// What a record points at, as it may stand in a message.
fn value(record: &Record) -> String {
    match record.path() {
        Ok(path) => path.to_string(),
        Err(error) => format!("({error})"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::publish::ipns::{Draft, IpnsKey};
    use crate::time::UnixSeconds;

    fn record(key: &IpnsKey, sequence: u64, host: &str, until: u32) -> Record {
        let draft = Draft {
            value: format!("/ipns/{host}").parse().unwrap(),
            sequence,
            until: UnixSeconds(until),
            ttl: Duration::from_secs(1),
            extra: BTreeMap::new(),
        };
        Record::make(key, &draft).unwrap()
    }

    #[test]
    fn names_go_forward_and_never_back() {
        let dir = tempfile::tempdir().unwrap();
        let seen = SeenHeads::new(dir.path());
        let key = IpnsKey::generate();
        let remember = |sequence, host, until| {
            seen.remember_record(&record(&key, sequence, host, until), false)
        };
        assert_eq!(remember(3, "a.b", 100).unwrap(), Judgement::First);
        assert_eq!(remember(3, "a.b", 100).unwrap(), Judgement::Same);
        assert_eq!(remember(3, "a.b", 200).unwrap(), Judgement::Newer);
        assert_eq!(remember(3, "a.b", 50).unwrap(), Judgement::Same);
        assert_eq!(remember(4, "c.d", 100).unwrap(), Judgement::Newer);
        for (sequence, host, expected, is_proof) in [
            (3, "c.d", Judgement::Older, false),
            (4, "a.b", Judgement::Equivocation, true),
        ] {
            match remember(sequence, host, 100) {
                Err(SeenError::Name(told)) => {
                    assert_eq!(told.judgement, expected);
                    assert_eq!(told.proof.is_some_and(|proof| proof.exists()), is_proof);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(remember(4, "c.d", 100).unwrap(), Judgement::Same);
        // Another name has a history of its own.
        let other = record(&IpnsKey::generate(), 0, "a.b", 100);
        assert_eq!(
            seen.remember_record(&other, false).unwrap(),
            Judgement::First
        );
        // Whoever accepts it goes on from there.
        let back = record(&key, 1, "e.f", 100);
        assert_eq!(seen.remember_record(&back, true).unwrap(), Judgement::Older);
        assert_eq!(seen.newest_record(&key.name()).unwrap(), Some(back));
    }

    #[test]
    fn proofs_do_not_fill_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let seen = SeenHeads::new(dir.path());
        let key = IpnsKey::generate();
        seen.remember_record(&record(&key, 9, "a.b", 100), false)
            .unwrap();
        for n in 0..40 {
            let rival = record(&key, 9, &format!("{n}.example"), 100);
            let older = record(&key, 3, &format!("{n}.example"), 100);
            assert!(seen.remember_record(&rival, false).is_err());
            assert!(seen.remember_record(&older, false).is_err());
        }
        assert_eq!(seen.proofs_of(&key.name()), MAX_PROOFS);
        let other = IpnsKey::generate();
        assert_eq!(seen.proofs_of(&other.name()), 0);
    }

    #[test]
    fn a_record_is_judged_also_where_nothing_can_be_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let seen = SeenHeads::new(dir.path());
        let key = IpnsKey::generate();
        seen.remember_record(&record(&key, 3, "a.b", 100), false)
            .unwrap();
        let lock = dir.path().join("seen/lock");
        fs::remove_file(&lock).unwrap();
        fs::create_dir(&lock).unwrap();
        let (newer, rival) = (record(&key, 4, "a.b", 100), record(&key, 3, "c.d", 100));
        let unwritten = seen.remember_record(&newer, false);
        assert!(matches!(unwritten, Err(SeenError::Io { .. })));
        assert_eq!(seen.judge_record(&newer, false).unwrap(), Judgement::Newer);
        let refused = seen.judge_record(&rival, false);
        assert!(matches!(refused, Err(SeenError::Name(_))));
    }

    #[test]
    fn a_damaged_memory_of_a_name_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let seen = SeenHeads::new(dir.path());
        let key = IpnsKey::generate();
        seen.remember_record(&record(&key, 3, "a.b", 100), false)
            .unwrap();
        fs::write(seen.record_path(&key.name()), b"nonsense").unwrap();
        assert_eq!(seen.newest_record(&key.name()).unwrap(), None);
    }
}
