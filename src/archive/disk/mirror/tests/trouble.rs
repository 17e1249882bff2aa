//! Faulty deltas, lost blocks, and steps that were cut off.

use std::collections::BTreeSet;
use std::fs;

use super::super::dropped::dropped;
use super::*;
use crate::archive::head::HeadBody;
use crate::blocks::{BlockStore, Codec, MemoryStore};

/// Two sources, the first asked first.
struct Both<'s>(&'s dyn BlockSource, &'s dyn BlockSource);

impl BlockSource for Both<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.0.get(cid).or_else(|_| self.1.get(cid))
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(self.0.has(cid)? || self.1.has(cid)?)
    }
}

fn by_number(source: &Folder, number: u64) -> Head {
    let heads = source.archive.blocks().heads();
    heads.by_sequence(Sequence(number)).unwrap().unwrap()
}

/// A mirror of `source` at one of its heads.
fn mirror_at(source: &Folder, head: &Head) -> (tempfile::TempDir, Archive) {
    let (dir, mirror) = mirror_of(head);
    follow(&mirror, head, source.archive.blocks()).unwrap();
    (dir, mirror)
}

#[test]
fn a_head_whose_delta_is_not_what_it_should_be_is_followed_by_what_differs() {
    let source = Folder::with_history();
    let head = source.archive.head().unwrap();
    let junk = Block::new(Codec::Raw, b"junk".to_vec());
    let memory = MemoryStore::new();
    let mut file = memory
        .begin(
            crate::blocks::Group::Calendar,
            crate::blocks::Reuse::Nothing,
        )
        .unwrap();
    file.put(&junk).unwrap();
    file.commit(junk.cid()).unwrap();
    let gone = Block::new(Codec::DagCbor, b"gone".to_vec());
    let blocks = Both(source.archive.blocks(), &memory);
    // A calendar with topics and open days, what is none, and one that is not there.
    for added in [head.body().state.unwrap(), *junk.cid(), *gone.cid()] {
        let (_dir, mirror) = mirror_at(&source, &head);
        let body = HeadBody {
            sequence: Sequence(head.body().sequence.0 + 1),
            prev: Some(*head.cid()),
            skip: None,
            added: Some(added),
            ..head.body().clone()
        };
        let faulty = Head::sign(body, &source.archive.key).unwrap();
        let followed = follow(&mirror, &faulty, &blocks).unwrap();
        assert_eq!(followed.route, Route::Compared);
        assert_eq!(mirror.head().as_ref(), Some(&faulty));
        assert_sound(&mirror);
        // Nor does it keep anybody from beginning with it.
        let (_dir, mirror) = mirror_of(&faulty);
        follow(&mirror, &faulty, &blocks).unwrap();
        assert_sound(&mirror);
    }
}

/// A mirror at head 2 that has lost the calendar of that head.
fn lost_its_calendar(source: &Folder) -> (tempfile::TempDir, Archive) {
    let (dir, mirror) = mirror_at(source, &by_number(source, 2));
    drop(mirror);
    fs::remove_dir_all(dir.path().join("blocks/calendar")).unwrap();
    let mirror = Archive::open(dir.path()).unwrap();
    (dir, mirror)
}

#[test]
fn what_a_mirror_has_lost_of_its_head_is_asked_of_the_source() {
    let source = Folder::with_history();
    let head = source.archive.head().unwrap();
    let (_dir, mirror) = lost_its_calendar(&source);
    let followed = follow(&mirror, &head, source.archive.blocks()).unwrap();
    assert_eq!(followed.route, Route::Compared);
    assert_sound(&mirror);
    assert_eq!(hashes(&mirror), hashes(&source.archive));
}

#[test]
fn a_mirror_that_cannot_tell_what_is_gone_goes_on_when_its_user_says_so() {
    let source = Folder::with_history();
    let head = source.archive.head().unwrap();
    // It has the last head alone, and nothing of those before.
    let (_other, late) = mirror_at(&source, &head);
    let (_dir, mirror) = lost_its_calendar(&source);
    let before = mirror.head();
    let refused = follow(&mirror, &head, late.blocks()).unwrap_err();
    assert!(
        matches!(refused, FollowError::Unread { held, .. } if held == Sequence(2)),
        "{refused}"
    );
    assert_eq!(mirror.head(), before);
    let followed = mirror.follow(&head, late.blocks(), true, NOW, &Quiet);
    assert_eq!(followed.unwrap().route, Route::Compared);
    assert_sound(&mirror);
    assert_eq!(hashes(&mirror), hashes(&source.archive));
}

#[test]
fn exactly_the_envelopes_that_are_gone_are_found_whatever_the_shape() {
    for seed in 0..6u32 {
        let (before, after) = (Folder::new(), Folder::new());
        let everything = sent(u64::from(seed), 400, 0, 2 * DAY);
        let (mut old, mut new) = (BTreeSet::new(), BTreeSet::new());
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (n, envelope) in everything.iter().enumerate() {
            // Some are in both, some in one.
            if n % 7 != seed as usize % 7 {
                old.insert(envelope.hash());
                first.push(envelope.clone());
            }
            if n % 11 != 3 {
                new.insert(envelope.hash());
                second.push(envelope.clone());
            }
        }
        // Under heads that end in the middle of an hour, and at a later time.
        let until = DAY + seed * 7 * 600;
        before.add(&first[..200], until);
        before.add(&first[200..], until + 600);
        let later = [until + 600, until + 1_200, 2 * DAY + 600][seed as usize % 3];
        after.add(&second, later);
        let sealed = sealed_by(&before.archive.head().unwrap());
        let limit = sealed.watermark;
        let expected: BTreeSet<_> = everything
            .iter()
            .filter(|envelope| limit.covers(envelope.sent()))
            .map(Envelope::hash)
            .filter(|hash| old.contains(hash) && !new.contains(hash))
            .collect();
        let blocks = Both(before.archive.blocks(), after.archive.blocks());
        let later = sealed_by(&after.archive.head().unwrap());
        let (count, some) = dropped(&blocks, &sealed, &later, Day(0)).unwrap();
        assert_eq!(count, expected.len() as u64);
        let some: BTreeSet<_> = some.into_iter().map(|key| key.hash).collect();
        assert!(!expected.is_empty() && some == expected);
    }
}

/// Cuts a change to `head` off after so many renames: the head that was chosen
/// is written, those it takes the place of go aside one by one.
fn cut_off(dir: &std::path::Path, head: &Head, renames: usize) {
    let folder = dir.join("heads");
    let number = |name: &str| name.split('.').next().unwrap().parse::<u64>().unwrap();
    let chosen = format!("{:010}.{}.head", head.body().sequence.0, head.cid());
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".head") && number(name) >= head.body().sequence.0)
        .collect();
    names.sort();
    for name in names.iter().take(renames) {
        fs::rename(folder.join(name), folder.join(format!("{name}.aside"))).unwrap();
    }
    let bytes = head.block().bytes();
    fs::write(folder.join(format!("{chosen}.chosen")), bytes).unwrap();
}

#[test]
fn a_change_to_an_earlier_head_that_was_cut_off_is_finished() {
    let source = Folder::with_history();
    let (earlier, head) = (by_number(&source, 2), source.archive.head().unwrap());
    for renames in 0..=4 {
        let (dir, mirror) = mirror_at(&source, &earlier);
        follow(&mirror, &head, source.archive.blocks()).unwrap();
        drop(mirror);
        cut_off(dir.path(), &earlier, renames);
        let mirror = Archive::open(dir.path()).unwrap();
        assert_eq!(mirror.head().as_ref(), Some(&earlier), "{renames}");
        follow(&mirror, &head, source.archive.blocks()).unwrap();
        assert_eq!(mirror.head().as_ref(), Some(&head));
        assert_sound(&mirror);
        // In a process that lives on it is finished by the next call.
        cut_off(dir.path(), &earlier, renames);
        let third = by_number(&source, 3);
        let followed = follow(&mirror, &third, source.archive.blocks()).unwrap();
        assert_eq!(followed.route, Route::Replayed(1));
        assert_eq!(mirror.head().as_ref(), Some(&third));
    }
}

#[test]
fn a_head_that_was_stored_when_its_folder_could_not_be_synced_is_taken_over() {
    let source = Folder::with_history();
    let (second, third) = (by_number(&source, 2), by_number(&source, 3));
    let (dir, mirror) = mirror_at(&source, &second);
    let pointer = || fs::read_to_string(dir.path().join("HEAD")).unwrap();
    let at_second = pointer();
    follow(&mirror, &third, source.archive.blocks()).unwrap();
    // The head has its name, and nobody was told.
    mirror.write_state().head = Some(second);
    fs::write(dir.path().join("HEAD"), at_second).unwrap();
    let followed = follow(&mirror, &third, source.archive.blocks()).unwrap();
    assert_eq!(followed.route, Route::Here);
    assert_eq!(mirror.head().as_ref(), Some(&third));
    assert!(pointer().contains(&third.cid().to_string()));
    let head = source.archive.head().unwrap();
    follow(&mirror, &head, source.archive.blocks()).unwrap();
    assert_eq!(mirror.head().as_ref(), Some(&head));
}
