//! What a machine does while it is another's turn, and what it never does.

use super::*;

#[test]
fn a_place_that_passes_over_conditions_is_written_to_by_nobody() {
    let (folders, store) = (folders(1), Arc::new(InMemory::new()));
    let machine = Machine::start(folders[0].path(), &store);
    machine.line.is_heedless.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let refused = machine.round(true, HOUR).unwrap_err();
        assert!(matches!(refused, WriterError::Heedless { .. }), "{refused}");
    }
    assert_eq!(machine.line.depot.entry(lease::NAME).unwrap(), None);
    machine.append(&[envelope(1, 100, 40)]);
    assert!(matches!(machine.seal(2 * HOUR), Err(DiskError::Gate(_))));
    machine.line.is_heedless.store(false, Ordering::SeqCst);
    machine.round(false, HOUR).unwrap();
    machine.seal(2 * HOUR).unwrap();
}

/// Shows the newest head of a machine in the depot, as its carrier does.
fn show(machine: &Machine) {
    let head = machine.archive.head().unwrap();
    let before = machine.line.depot.newest_head().unwrap();
    machine
        .line
        .depot
        .keep_head(&head, before.as_ref())
        .unwrap();
}

/// Files of the journal of an archive, bytes.
fn journal_len(folder: &tempfile::TempDir) -> u64 {
    let files = std::fs::read_dir(folder.path().join("journal")).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

#[test]
fn whoever_waits_follows_and_keeps_what_is_sealed_nowhere() {
    let (folders, store) = (folders(2), Arc::new(InMemory::new()));
    let machines = machines(&folders, &store);
    let [a, b] = &machines[..] else {
        unreachable!("there are two")
    };
    a.round(false, HOUR).unwrap();
    let both: Vec<Envelope> = (0..50)
        .map(|n| envelope(n, 100 + u32::from(n), 40))
        .collect();
    let alone = envelope(99, 300, 40);
    a.append(&both);
    b.append(&both);
    b.append(std::slice::from_ref(&alone));
    let before = journal_len(&folders[1]);
    let sealed = a.seal(2 * HOUR).unwrap();
    show(a);
    let held = b.round(false, 2 * HOUR).unwrap_err();
    assert!(matches!(held, WriterError::Held { .. }), "{held}");
    assert_eq!(b.archive.head(), Some(sealed));
    assert_eq!(b.archive.waiting(), 1);
    assert!(journal_len(&folders[1]) < before / 10);
    assert!(!b.writer.may_seal());
    // A command that is not told of the store signs nothing on top of it.
    assert_eq!(b.archive.claims_at().unwrap().as_deref(), Some("s3:memory"));
    b.archive.set_gate(None);
    assert!(matches!(b.seal(3 * HOUR), Err(DiskError::Gate(_))));
    // What it alone has is there after a restart, and sealed when its turn comes.
    drop(machines);
    let b = Machine::start(folders[1].path(), &store);
    assert_eq!(b.archive.waiting(), 1);
    b.round(true, 3 * HOUR).unwrap();
    assert_eq!(b.seal(3 * HOUR).unwrap().body().totals.count, 51);
}

#[test]
fn a_number_that_was_told_of_is_signed_by_nobody_again() {
    let (folders, store) = (folders(2), Arc::new(InMemory::new()));
    let machines = machines(&folders, &store);
    let [a, b] = &machines[..] else {
        unreachable!("there are two")
    };
    a.round(false, HOUR).unwrap();
    for n in 1..4 {
        a.append(&[envelope(u8::try_from(n).unwrap(), n * HOUR, 40)]);
        a.seal((n + 1) * HOUR).unwrap();
        if n == 1 {
            show(a);
        }
    }
    a.round(false, 5 * HOUR).unwrap();
    // The store loses claims, and the lease and the first head are left.
    for number in 2..4 {
        let path = format!("a/claims/{number:010}").into();
        let deleted = object_store::ObjectStoreExt::delete(&*store, &path);
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(deleted)
            .unwrap();
    }
    let refused = b.round(true, 5 * HOUR).unwrap_err();
    assert!(
        matches!(refused, WriterError::Gone { number: 3, .. }),
        "{refused}"
    );
    b.append(&[envelope(9, 5 * HOUR, 40)]);
    assert!(matches!(b.seal(6 * HOUR), Err(DiskError::Gate(_))));
    // The machine that signed them claims them again.
    b.writer.give_back().unwrap();
    a.round(true, 6 * HOUR).unwrap();
    a.writer.give_back().unwrap();
    b.round(true, 6 * HOUR).unwrap();
    assert_eq!(b.seal(7 * HOUR).unwrap().body().sequence, Sequence(4));
}

#[test]
fn nothing_is_claimed_above_a_file_that_is_damaged() {
    let (folders, store) = (folders(1), Arc::new(InMemory::new()));
    let name = {
        let archive = Archive::open(folders[0].path()).unwrap();
        archive.append(&[envelope(1, 100, 400)]).unwrap();
        testing::seal(&archive, 2 * HOUR);
        let folder = archive.blocks().folder();
        let mut files = folder.files().unwrap().into_iter();
        let file = files.find(|file| file.bytes > 400).unwrap();
        let (path, _) = folder.locate(&file.name).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        file.name
    };
    let machine = Machine::start(folders[0].path(), &store);
    let refused = machine.round(false, 3 * HOUR).unwrap_err();
    assert!(
        matches!(&refused, WriterError::Carry(CarryError::Damaged { file, .. }) if *file == name),
        "{refused}"
    );
    assert!(!machine.line.depot.kept().unwrap().contains(&name));
    let claimed = claims::claimed("a", &machine.line.depot, Sequence(1)).unwrap();
    assert!(claimed.is_none() && !machine.writer.may_seal());
}

#[test]
fn where_numbers_are_claimed_nothing_is_signed_without_asking() {
    let (folders, store) = (folders(1), Arc::new(InMemory::new()));
    {
        let machine = Machine::start(folders[0].path(), &store);
        assert_eq!(machine.archive.claims_at().unwrap(), None);
        machine.round(false, HOUR).unwrap();
        machine.append(&[envelope(1, 100, 40)]);
        machine.seal(2 * HOUR).unwrap();
    }
    let archive = Archive::open(folders[0].path()).unwrap();
    assert_eq!(archive.claims_at().unwrap().as_deref(), Some("s3:memory"));
    archive.append(&[envelope(2, 2 * HOUR, 40)]).unwrap();
    let until = Watermark::at_or_before(UnixSeconds(4 * HOUR));
    let refused = archive.seal(until, until.at(), &Quiet).unwrap_err();
    assert!(refused.to_string().contains("s3:memory"), "{refused}");
    assert_eq!(archive.waiting(), 1);
    drop(archive);
    let machine = Machine::start(folders[0].path(), &store);
    machine.round(true, 4 * HOUR).unwrap();
    assert_eq!(machine.seal(5 * HOUR).unwrap().body().totals.count, 2);
}

#[test]
fn whoever_begins_with_nothing_goes_on_without_the_days_that_were_dropped() {
    let (folders, store) = (folders(2), Arc::new(InMemory::new()));
    let machines = machines(&folders, &store);
    let [a, b] = &machines[..] else {
        unreachable!("there are two")
    };
    let now = testing::FROM + 9 * crate::time::DAY;
    a.round(false, now).unwrap();
    testing::live_through(&a.archive, 3);
    show(a);
    let day = UnixSeconds(testing::FROM + crate::time::DAY);
    let dropped = a.archive.drop_before(day).unwrap();
    assert_eq!(dropped.days, 1);
    let left = a.archive.blocks().folder().files().unwrap();
    for name in a.line.depot.kept().unwrap() {
        if left.iter().all(|file| file.name != name) {
            a.line.depot.release(&name).unwrap();
        }
    }
    // As long as nothing is said of it, it is lost.
    assert!(matches!(b.round(true, now), Err(WriterError::Rejoin(_))));
    a.line.depot.say_dropped(dropped.kept_from).unwrap();
    b.round(true, now).unwrap();
    assert_eq!(b.archive.head(), a.archive.head());
    assert_eq!(b.archive.kept_from(), dropped.kept_from);
    // Whoever has a head knows by itself what it keeps.
    let (head, later) = (b.archive.head().unwrap(), Day(dropped.kept_from.0 + 1));
    b.archive.believe_dropped(later, &head).unwrap();
    assert_eq!(b.archive.kept_from(), dropped.kept_from);
}

#[test]
fn a_command_that_waits_copies_nothing_and_a_daemon_that_ends_copies_no_more() {
    let (_folders, _store, [a, b]) = two();
    a.round(false, HOUR).unwrap();
    for n in 1..4u32 {
        a.append(&[envelope(u8::try_from(n).unwrap(), n * HOUR, 40)]);
        a.seal((n + 1) * HOUR).unwrap();
    }
    show(&a);
    let held = b.ask(false, 5 * HOUR).unwrap_err();
    assert!(matches!(held, WriterError::Held { .. }), "{held}");
    assert_eq!(b.archive.head(), None);
    // Told to end in the middle of a copy.
    let writer = Arc::clone(&b.writer);
    *b.line.while_read.lock().unwrap() = Some(Box::new(move || writer.stop()));
    b.round(false, 5 * HOUR).unwrap_err();
    assert!(b.line.while_read.lock().unwrap().is_none());
    assert_eq!(b.archive.head(), None);
}

#[test]
fn a_folder_whose_numbers_are_claimed_at_one_place_claims_none_at_another() {
    let (folders, store) = (folders(1), Arc::new(InMemory::new()));
    let machine = Machine::start(folders[0].path(), &store);
    machine.archive.set_claims_at("s3:elsewhere").unwrap();
    machine.append(&[envelope(1, 100, 40)]);
    let refused = machine.round(true, HOUR).unwrap_err();
    assert!(
        matches!(&refused, WriterError::ClaimedElsewhere { there, .. } if there == "s3:elsewhere"),
        "{refused}"
    );
    assert!(matches!(machine.seal(2 * HOUR), Err(DiskError::Gate(_))));
    let claims_at = machine.archive.claims_at().unwrap();
    assert_eq!(claims_at.as_deref(), Some("s3:elsewhere"));
    assert_eq!(machine.line.depot.entry(lease::NAME).unwrap(), None);
}

#[test]
fn whoever_stopped_right_after_its_first_claim_knows_that_it_claims() {
    let (folders, store) = (folders(1), Arc::new(InMemory::new()));
    {
        let archive = Archive::open(folders[0].path()).unwrap();
        archive.append(&[envelope(1, 100, 40)]).unwrap();
        testing::seal(&archive, 2 * HOUR);
    }
    let machine = Machine::start(folders[0].path(), &store);
    machine.line.claims_untold.store(true, Ordering::SeqCst);
    machine.round(false, 3 * HOUR).unwrap_err();
    let claimed = claims::claimed("a", &machine.line.depot, Sequence(1)).unwrap();
    assert!(claimed.is_some());
    let claims_at = machine.archive.claims_at().unwrap();
    assert_eq!(claims_at.as_deref(), Some("s3:memory"));
}

#[test]
fn nothing_is_claimed_before_a_file_is_there_that_got_another_name_meanwhile() {
    let (folders, store) = (folders(1), Arc::new(InMemory::new()));
    let machine = Machine::start(folders[0].path(), &store);
    machine.round(false, HOUR).unwrap();
    machine.append(&[envelope(1, 100, 40), envelope(2, 2 * HOUR, 40)]);
    // As the carrier does beside, where the name is taken there.
    let archive = Arc::clone(&machine.archive);
    *machine.line.while_kept.lock().unwrap() = Some(Box::new(move || {
        let folder = archive.blocks().folder();
        let files = folder.files().unwrap().into_iter();
        // The last to be carried.
        let mut deltas = files.filter(|file| matches!(file.group, Group::Delta(_)));
        let name = deltas.next().unwrap().name;
        let renamed = folder.rename(&name, &|taken| taken == name).unwrap();
        assert_ne!(renamed.name, name);
    }));
    machine.seal(3 * HOUR).unwrap();
    assert!(machine.line.while_kept.lock().unwrap().is_none());
    let kept = machine.line.depot.kept().unwrap();
    for file in machine.archive.blocks().folder().files().unwrap() {
        assert!(kept.contains(&file.name), "{} is not there", file.name);
    }
    assert!(
        claims::claimed("a", &machine.line.depot, Sequence(1))
            .unwrap()
            .is_some()
    );
}
