//! Torn writes, damage and crashes between steps.

use proptest::prelude::*;

use super::*;

#[test]
fn a_torn_tail_loses_only_what_was_never_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    journal.append(records(0..5)).unwrap();
    let acknowledged = journal.len_bytes();
    journal.append(records(5..7)).unwrap();
    kill(journal);
    let path = newest(dir.path());
    let whole = fs::read(&path).unwrap();
    let first = usize::try_from(acknowledged).unwrap() + record::SEAM;
    let second = first + 8 + record(5).len();
    for len in usize::try_from(acknowledged).unwrap()..=whole.len() {
        // Cut off, or never written in part: both happen.
        for fill in [None, Some(0), Some(0xff)] {
            let mut torn = whole[..len].to_vec();
            if let Some(byte) = fill {
                torn.resize(whole.len(), byte);
            }
            fs::write(&path, &torn).unwrap();
            let (found, cut) = reopen(dir.path()).unwrap();
            assert!(
                found.len() >= 5 && found == records(0..found.len() as u64),
                "{len} {fill:?}"
            );
            // The filling may happen to be what belongs there.
            let same = whole.iter().zip(&torn).take_while(|(a, b)| a == b).count();
            let ends = [second, whole.len()];
            let expected = 5 + ends.iter().filter(|end| **end <= same).count();
            assert_eq!(found.len(), expected, "{len} {fill:?}");
            let cut = cut.map_or(0, |torn| torn.bytes);
            let ends = [
                usize::try_from(acknowledged).unwrap(),
                first,
                second,
                whole.len(),
            ];
            let intact = ends.into_iter().filter(|end| *end <= same).max().unwrap();
            assert_eq!(cut, (torn.len() - intact) as u64, "{len} {fill:?}");
            // The tail is gone for good, and the journal goes on behind it.
            let (journal, recovery, _) = open(dir.path()).unwrap();
            assert_eq!(recovery.torn, None);
            journal.append(records(100..101)).unwrap();
            drop(journal);
            let (again, _) = reopen(dir.path()).unwrap();
            assert_eq!(again, [found, records(100..101)].concat());
        }
    }
}

#[test]
fn damage_to_what_was_acknowledged_is_refused_by_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    journal.append(records(0..4)).unwrap();
    journal.append(records(4..6)).unwrap();
    let before_last = journal.len_bytes();
    drop(journal);
    let path = newest(dir.path());
    let whole = fs::read(&path).unwrap();
    for at in 0..usize::try_from(before_last).unwrap() {
        let mut bent = whole.clone();
        bent[at] ^= 0x10;
        fs::write(&path, &bent).unwrap();
        let error = reopen(dir.path()).unwrap_err();
        assert!(error.is_corrupt(), "{at}: {error}");
        let JournalError::Corrupt {
            path: named,
            offset,
            ..
        } = error
        else {
            panic!("{at}: {error}");
        };
        let earliest = if at < record::HEADER {
            0
        } else {
            at.saturating_sub(80)
        };
        assert!(named == path && offset >= earliest as u64 && offset <= at as u64);
        assert_eq!(fs::read(&path).unwrap(), bent);
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(reopen(dir.path()).unwrap().0, records(0..6));
}

#[test]
fn a_killed_process_leaves_all_groups_but_the_last_beyond_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    journal.append(records(0..4)).unwrap();
    let first = usize::try_from(journal.len_bytes()).unwrap();
    journal.append(records(4..6)).unwrap();
    kill(journal);
    let path = newest(dir.path());
    let whole = fs::read(&path).unwrap();
    for at in record::HEADER..whole.len() {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        fs::write(&path, &bent).unwrap();
        match reopen(dir.path()) {
            Err(error) => assert!(
                error.is_corrupt() && at < first + record::SEAM,
                "{at}: {error}"
            ),
            // The last group may be what the crash tore.
            Ok((found, torn)) => {
                assert!(at >= first && found.len() >= 4 && torn.is_some(), "{at}");
            }
        }
    }
}

#[test]
fn a_record_that_looks_like_a_journal_stays_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    journal.append(records(0..3)).unwrap();
    drop(journal);
    let forged = Bytes::from(fs::read(newest(dir.path())).unwrap());
    let other = tempfile::tempdir().unwrap();
    let (journal, ..) = open(other.path()).unwrap();
    journal
        .append(vec![forged.clone(), forged.slice(16..)])
        .unwrap();
    kill(journal);
    let path = newest(other.path());
    let whole = fs::read(&path).unwrap();
    for len in record::HEADER..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let (found, _) = reopen(other.path()).unwrap();
        assert!(found.iter().all(|record| forged.ends_with(record)));
    }
}

#[test]
fn a_closed_file_must_be_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    journal.append(records(0..2)).unwrap();
    journal.append(records(2..4)).unwrap();
    journal.rotate().unwrap();
    journal.append(records(4..5)).unwrap();
    journal.rotate().unwrap();
    journal.append(records(5..6)).unwrap();
    drop(journal);
    let path = file::path(dir.path(), FileNumber(1));
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(reopen(dir.path()).unwrap_err().is_corrupt(), "{len}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(reopen(dir.path()).unwrap().0, records(0..6));
    let middle = file::path(dir.path(), FileNumber(2));
    let bytes = fs::read(&middle).unwrap();
    fs::remove_file(&middle).unwrap();
    let error = reopen(dir.path()).unwrap_err();
    assert!(matches!(&error, JournalError::MissingFile { path } if *path == middle));
    assert!(error.is_corrupt());
    fs::write(&middle, bytes).unwrap();
    assert_eq!(reopen(dir.path()).unwrap().0, records(0..6));
}

#[test]
fn a_crash_at_any_step_of_a_rotation_is_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    journal.append(records(0..2)).unwrap();
    let open_end = usize::try_from(journal.len_bytes()).unwrap();
    journal.rotate().unwrap();
    drop(journal);
    let (old, new) = (file::path(dir.path(), FileNumber(1)), newest(dir.path()));
    let (closed, header) = (fs::read(&old).unwrap(), fs::read(&new).unwrap());
    let mut steps: Vec<_> = (open_end..=closed.len()).map(|len| (len, None)).collect();
    steps.extend((0..=header.len()).map(|len| (closed.len(), Some(header[..len].to_vec()))));
    steps.push((closed.len(), Some(vec![0; header.len()])));
    // A new file that outlived the failure to create it, while the old one
    // went on.
    steps.extend((open_end..closed.len()).map(|len| (len, Some(header.clone()))));
    for (len, created) in steps {
        for number in file::numbers(dir.path()).unwrap() {
            fs::remove_file(file::path(dir.path(), number)).unwrap();
        }
        fs::write(&old, &closed[..len]).unwrap();
        if let Some(bytes) = &created {
            fs::write(&new, bytes).unwrap();
        }
        let (journal, _, found) = open(dir.path()).unwrap();
        assert_eq!(found, records(0..2), "{len} {created:?}");
        journal.append(records(2..3)).unwrap();
        journal.rotate().unwrap();
        journal.append(records(3..4)).unwrap();
        kill(journal);
        assert_eq!(
            reopen(dir.path()).unwrap(),
            (records(0..4), None),
            "{len} {created:?}"
        );
    }
}

#[derive(Clone, Debug)]
enum Op {
    Append(u64),
    Rotate,
    RemoveOldest,
    Reopen,
    /// The power goes while so many records are being written: of the bytes
    /// under way some part is there, and a hole may be in it.
    Crash {
        records: u64,
        cut: prop::sample::Index,
        hole: Option<(prop::sample::Index, prop::sample::Index)>,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let crash = (
        1u64..6,
        any::<prop::sample::Index>(),
        any::<Option<(prop::sample::Index, prop::sample::Index)>>(),
    );
    let op = prop_oneof![
        4 => (0u64..6).prop_map(Op::Append),
        2 => Just(Op::Rotate),
        1 => Just(Op::RemoveOldest),
        1 => Just(Op::Reopen),
        2 => crash.prop_map(|(records, cut, hole)| Op::Crash { records, cut, hole }),
    ];
    prop::collection::vec(op, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_was_acknowledged_survives_every_crash(ops in ops()) {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, ..) = open(dir.path()).unwrap();
        // Records acknowledged and not removed, by file.
        let mut expected: Vec<(FileNumber, Bytes)> = Vec::new();
        let mut next = 0;
        for op in ops {
            match op {
                Op::Append(count) => {
                    let batch = records(next..next + count);
                    next += count;
                    let at = journal.append(batch.clone()).unwrap();
                    expected.extend(at.iter().map(|at| at.file).zip(batch));
                }
                Op::Rotate => {
                    let closed = journal.rotate().unwrap();
                    prop_assert!(expected.iter().all(|(file, _)| *file <= closed));
                }
                Op::RemoveOldest => {
                    let oldest = file::numbers(dir.path()).unwrap()[0];
                    journal.remove_through(oldest).unwrap();
                    if file::numbers(dir.path()).unwrap()[0] != oldest {
                        expected.retain(|(file, _)| *file != oldest);
                    }
                }
                Op::Reopen => {
                    drop(journal);
                    let (opened, recovery, found) = open(dir.path()).unwrap();
                    prop_assert_eq!(recovery.torn, None);
                    let held: Vec<_> = expected.iter().map(|(_, bytes)| bytes.clone()).collect();
                    prop_assert_eq!(found, held);
                    journal = opened;
                }
                Op::Crash { records: count, cut, hole } => {
                    let path = newest(dir.path());
                    let durable = fs::read(&path).unwrap().len();
                    let batch = records(next..next + count);
                    next += count;
                    let at = journal.append(batch.clone()).unwrap();
                    kill(journal);
                    let mut bytes = fs::read(&path).unwrap();
                    let under_way = bytes.len() - durable;
                    bytes.truncate(durable + cut.index(under_way + 1));
                    let part = bytes.len() - durable;
                    if let Some((from, len)) = hole && part > 0 {
                        let from = from.index(part);
                        let len = len.index(part - from + 1);
                        bytes[durable + from..durable + from + len].fill(0);
                    }
                    fs::write(&path, &bytes).unwrap();
                    let (opened, _, found) = open(dir.path()).unwrap();
                    let held: Vec<_> = expected.iter().map(|(_, bytes)| bytes.clone()).collect();
                    prop_assert!(found.starts_with(&held));
                    // Nothing else but the first of what was under way.
                    let extra = found.len() - held.len();
                    prop_assert_eq!(&found[held.len()..], &batch[..extra]);
                    expected.extend(at.iter().map(|at| at.file).zip(batch).take(extra));
                    journal = opened;
                }
            }
        }
    }
}
