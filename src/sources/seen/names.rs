//! The newest record seen of each name.
//!
//! Files: `seen/<name>.ipns`, the record; `seen/<name>.<number>.<hash>.ipns-proof`,
//! records that contradict each other.

use std::cmp::Ordering;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::{Judgement, SeenError, SeenHeads, io_error};
use crate::durable;
use crate::keccak::keccak256;
use crate::publish::ipns::{Name, Record};

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
    /// Where both are kept.
    pub proof: PathBuf,
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
                 {seen_value} before"
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

    /// Remembers a record. One that contradicts what was seen of its name is refused,
    /// and both are kept as proof; with `accept_rewrite` it takes the other's place.
    pub fn remember_record(
        &self,
        record: &Record,
        accept_rewrite: bool,
    ) -> Result<Judgement, SeenError> {
        let _turn = self.turn()?;
        let seen = self.newest_record(record.name())?;
        let judgement = judge(record, seen.as_ref());
        if let Some(seen) = seen.filter(|_| judgement.is_alarm()) {
            self.keep_record_proof(&seen)?;
            let proof = self.keep_record_proof(record)?;
            if !accept_rewrite {
                return Err(SeenError::Name(Box::new(NameContradiction {
                    judgement,
                    name: *record.name(),
                    sequence: record.sequence(),
                    value: value(record),
                    seen_sequence: seen.sequence(),
                    seen_value: value(&seen),
                    proof,
                })));
            }
        }
        if judgement != Judgement::Same {
            let path = self.record_path(record.name());
            durable::replace_file(&path, record.bytes()).map_err(io_error(&path))?;
        }
        Ok(judgement)
    }

    fn keep_record_proof(&self, record: &Record) -> Result<PathBuf, SeenError> {
        let hash = hex::encode(&keccak256(record.bytes())[..8]);
        let name = format!("{}.{}.{hash}.ipns-proof", record.name(), record.sequence());
        let path = self.dir.join(name);
        durable::replace_file(&path, record.bytes()).map_err(io_error(&path))?;
        Ok(path)
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
        for (sequence, host, expected) in [
            (3, "c.d", Judgement::Older),
            (4, "a.b", Judgement::Equivocation),
        ] {
            match remember(sequence, host, 100) {
                Err(SeenError::Name(told)) => {
                    assert_eq!(told.judgement, expected);
                    assert!(told.proof.exists());
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
