use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::archive::disk::Heads;
use crate::archive::testing::envelope;
use crate::archive::watermark::Watermark;
use crate::blocks::{BlockStore, Cid};
use crate::progress::Quiet;
use crate::time::HOUR;

/// Lets a seal begin or not, and a number be claimed or not.
#[derive(Default)]
struct Keeper {
    is_shut: AtomicBool,
    refuses: AtomicBool,
    claimed: Mutex<Vec<(Cid, usize)>>,
}

impl Gate for Keeper {
    fn admit(&self) -> Result<(), GateError> {
        match self.is_shut.load(Ordering::SeqCst) {
            true => Err(GateError::new("shut")),
            false => Ok(()),
        }
    }

    fn claim(&self, head: &Head, folder: &CarFolder) -> Result<(), GateError> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(GateError::new("another was first"));
        }
        let files = folder.files().unwrap().len();
        self.claimed.lock().unwrap().push((*head.cid(), files));
        Ok(())
    }
}

fn seal(archive: &Archive, until: u32) -> Result<Head, DiskError> {
    let until = Watermark::new(UnixSeconds(until)).unwrap();
    let report = archive.seal(until, until.at(), &Quiet)?;
    Ok(report.head.unwrap())
}

#[test]
fn a_head_is_claimed_after_its_files_are_there_and_before_it_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let keeper = Arc::new(Keeper::default());
    archive.set_gate(Some(Arc::clone(&keeper) as _));
    archive.append(&[envelope(1, 100, 40)]).unwrap();
    let first = seal(&archive, HOUR + 300).unwrap();
    let claimed = keeper.claimed.lock().unwrap().clone();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].0, *first.cid());
    assert!(claimed[0].1 > 0);

    archive.append(&[envelope(2, 2 * HOUR, 40)]).unwrap();
    keeper.refuses.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let refused = seal(&archive, 3 * HOUR).unwrap_err();
        assert!(matches!(refused, DiskError::Gate(_)), "{refused}");
        assert_eq!(archive.head().unwrap(), first);
        assert_eq!(Heads::new(dir.path()).current().unwrap().unwrap(), first);
        assert_eq!(archive.waiting(), 1);
    }
    keeper.refuses.store(false, Ordering::SeqCst);
    let second = seal(&archive, 3 * HOUR).unwrap();
    assert_eq!(
        (second.body().sequence.0, second.body().totals.count),
        (2, 2)
    );
    assert_eq!(archive.waiting(), 0);
}

#[test]
fn behind_a_gate_that_is_shut_nothing_is_sealed_and_nothing_lost() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let keeper = Arc::new(Keeper::default());
    archive.set_gate(Some(Arc::clone(&keeper) as _));
    keeper.is_shut.store(true, Ordering::SeqCst);
    archive.append(&[envelope(1, 100, 40)]).unwrap();
    assert!(matches!(
        seal(&archive, HOUR + 300),
        Err(DiskError::Gate(_))
    ));
    assert!(archive.blocks().folder().files().unwrap().is_empty());
    drop(archive);
    let archive = Archive::open(dir.path()).unwrap();
    assert_eq!(archive.waiting(), 1);
    let head = seal(&archive, HOUR + 300).unwrap();
    assert_eq!(head.body().totals.count, 1);
}

#[test]
fn what_was_sealed_on_another_machine_waits_no_more_here() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Archive::init(one.path(), "twice").unwrap();
    for name in ["archive.key", "archive.json"] {
        std::fs::copy(one.path().join(name), two.path().join(name)).unwrap();
    }
    let second = Archive::open(two.path()).unwrap();
    let (both, alone) = (envelope(1, 100, 40), envelope(2, 200, 40));
    first.append(std::slice::from_ref(&both)).unwrap();
    second.append(&[both, alone]).unwrap();
    let head = seal(&first, HOUR + 300).unwrap();
    let source = first.blocks();
    second
        .rejoin(&head, source, head.body().signed_at, &Quiet)
        .unwrap();
    assert_eq!(second.head().unwrap(), head);
    assert_eq!(second.waiting(), 1);
    let next = seal(&second, 2 * HOUR).unwrap();
    assert_eq!((next.body().sequence.0, next.body().totals.count), (2, 2));
    assert_eq!(next.body().prev, Some(*head.cid()));
    assert_eq!(next.key(), head.key());
    assert_eq!(next.body().name, "twice");
    // And back again.
    first
        .rejoin(&next, second.blocks(), next.body().signed_at, &Quiet)
        .unwrap();
    assert_eq!(first.head().unwrap(), next);

    // Another's head is no head of this archive's.
    let other = tempfile::tempdir().unwrap();
    let stranger = Archive::init(other.path(), "").unwrap();
    stranger.append(&[envelope(3, 100, 40)]).unwrap();
    let strange = seal(&stranger, HOUR + 300).unwrap();
    let refused = first.rejoin(&strange, stranger.blocks(), UnixSeconds(4 * HOUR), &Quiet);
    assert!(matches!(refused, Err(FollowError::AnotherKey)));
}
