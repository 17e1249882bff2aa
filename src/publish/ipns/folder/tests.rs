//! Keys and records of names, over folders on disk.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};

use proptest::prelude::*;

use super::super::tests::{NOW, draft, head};
use super::*;

#[test]
fn a_key_is_kept_once_and_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = NameFolder::new(dir.path());
    let name = KeyName::default();
    assert!(folder.keys().unwrap().is_empty());
    let key = folder.key_or_new(&name).unwrap();
    assert_eq!(folder.key_or_new(&name).unwrap().name(), key.name());
    assert_eq!(folder.keys().unwrap(), [(name.clone(), key.name())]);
    let mode = fs::metadata(folder.key_path(&name)).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let refused = folder.keep_key(&name, &IpnsKey::generate());
    assert!(matches!(refused, Err(NameFolderError::Exists { .. })));
    assert_eq!(folder.key(&name).unwrap().unwrap().name(), key.name());
    assert_eq!(fs::read_dir(dir.path().join("ipns")).unwrap().count(), 1);
    fs::write(folder.key_path(&name), b"nonsense").unwrap();
    assert!(matches!(
        folder.key(&name),
        Err(NameFolderError::Key { .. })
    ));
    for text in ["", ".hidden", "a/b", "../x", "a b", &"x".repeat(65)] {
        assert!(text.parse::<KeyName>().is_err(), "{text}");
    }
}

#[test]
fn a_key_that_is_written_out_touches_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("backup.new"), b"of somebody else").unwrap();
    fs::write(path("backup.key.new"), b"of another").unwrap();
    write_key(&path("backup.key"), b"key").unwrap();
    assert_eq!(fs::read(path("backup.new")).unwrap(), b"of somebody else");
    assert_eq!(fs::read(path("backup.key.new")).unwrap(), b"of another");
    assert_eq!(fs::read(path("backup.key")).unwrap(), b"key");
    let mode = fs::metadata(path("backup.key")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    // What is there already stays, whatever it is called and wherever it leads.
    symlink("backup.new", path("link.new")).unwrap();
    for name in ["backup.new", "backup.key", "link.new"] {
        let refused = write_key(&path(name), b"another key");
        assert!(
            matches!(refused, Err(NameFolderError::Exists { .. })),
            "{name}"
        );
    }
    assert_eq!(fs::read(path("backup.new")).unwrap(), b"of somebody else");
    assert_eq!(fs::read(path("backup.key")).unwrap(), b"key");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
}

#[test]
fn of_several_that_make_the_first_key_at_once_one_does() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let folder = NameFolder::new(dir.path());
        let make = || folder.key_or_new(&KeyName::default()).unwrap().name();
        let names: Vec<_> = std::thread::scope(|scope| {
            let started: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            started.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let kept = folder.key(&KeyName::default()).unwrap().unwrap().name();
        assert!(names.iter().all(|name| *name == kept));
        assert_eq!(fs::read_dir(dir.path().join("ipns")).unwrap().count(), 1);
    }
}

/// A record that somebody else with the same key made of another head.
fn numbered(key: &IpnsKey, sequence: u64) -> Record {
    let value = told::target(&head(99, "elsewhere")).to_string();
    Record::make(key, &draft(&value, sequence, BTreeMap::new())).unwrap()
}

#[test]
fn numbers_rise_whoever_else_made_some() {
    let dir = tempfile::tempdir().unwrap();
    let folder = NameFolder::new(dir.path());
    let key = folder.key_or_new(&KeyName::default()).unwrap();
    let say = |head: &Head, known: Option<u64>, now| {
        let wish = Wish::of_head(head, &Hints::default());
        let known = known.map(|number| numbered(&key, number));
        folder.say(&key, &wish, known.as_ref(), now).unwrap()
    };
    let (one, two) = (head(1, ""), head(2, ""));
    let first = say(&one, None, NOW);
    assert_eq!(first.sequence(), 0);
    assert_eq!(folder.record(&key.name()).unwrap(), Some(first.clone()));
    // The same again is the same record, as long as it counts for long.
    assert_eq!(say(&one, Some(0), NOW), first);
    let half = u32::try_from(VALIDITY.as_secs() / 2).unwrap();
    assert_eq!(say(&one, None, NOW.saturating_add(half)), first);
    let renewed = say(&one, None, NOW.saturating_add(half + 1));
    assert_eq!(renewed.sequence(), 1);
    assert!(renewed.says_as(&first) && renewed.until() > first.until());
    assert_eq!(say(&two, None, NOW).sequence(), 2);
    // Somebody with the same key went further.
    assert_eq!(say(&two, Some(9), NOW).sequence(), 10);
    assert_eq!(say(&one, Some(3), NOW).sequence(), 11);
    let wish = Wish::of_head(&one, &Hints::default());
    // The record of another name says nothing of this one.
    let other = numbered(&IpnsKey::generate(), 99);
    let record = folder.say(&key, &wish, Some(&other), NOW).unwrap();
    assert_eq!(record.sequence(), 11);
    // One of the same number that says something else for longer is gone above.
    let rival = Draft {
        until: NOW.saturating_add(10 * 86_400),
        ..draft(&told::target(&two).to_string(), 11, BTreeMap::new())
    };
    let rival = Record::make(&key, &rival).unwrap();
    let record = folder.say(&key, &wish, Some(&rival), NOW).unwrap();
    assert_eq!(record.sequence(), 12);
    assert_eq!(folder.records().unwrap().0.len(), 1);
}

#[test]
fn a_damaged_memory_of_a_name_does_not_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let folder = NameFolder::new(dir.path());
    let key = folder.key_or_new(&KeyName::default()).unwrap();
    let wish = Wish::of_head(&head(1, ""), &Hints::default());
    folder.say(&key, &wish, None, NOW).unwrap();
    let path = dir.path().join(format!("ipns/{}.record", key.name()));
    fs::write(path, b"nonsense").unwrap();
    let refused = folder.say(&key, &wish, None, NOW);
    assert!(matches!(refused, Err(NameFolderError::Record { .. })));
}

#[test]
fn a_name_that_was_handed_over_names_no_head_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = NameFolder::new(dir.path());
    let old = folder.key_or_new(&"old".parse().unwrap()).unwrap();
    let new = folder.key_or_new(&"new".parse().unwrap()).unwrap();
    let wish = Wish::of_head(&head(1, ""), &Hints::default());
    folder.say(&old, &wish, None, NOW).unwrap();
    let over = Wish::of_hand_over(new.name());
    let last = folder.say(&old, &over, None, NOW).unwrap();
    assert_eq!(last.sequence(), 1);
    let to = NameRef::Key(new.name());
    assert_eq!(
        Told::of(&last),
        Ok(Told::Name {
            name: to.clone(),
            path: Vec::new()
        })
    );
    match folder.say(&old, &wish, None, NOW) {
        Err(NameFolderError::HandedOver { to: told }) => assert_eq!(told, to),
        other => panic!("{other:?}"),
    }
    assert_eq!(folder.say(&new, &wish, None, NOW).unwrap().ttl(), TTL);
    assert_eq!(folder.records().unwrap().0.len(), 2);
}

#[test]
fn a_name_that_was_handed_over_elsewhere_names_no_head_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = NameFolder::new(dir.path());
    let key = folder.key_or_new(&KeyName::default()).unwrap();
    let to = NameRef::Key(IpnsKey::generate().name());
    let last = draft(&format!("/ipns/{to}"), 7, BTreeMap::new());
    let last = Record::make(&key, &last).unwrap();
    let wish = Wish::of_head(&head(1, ""), &Hints::default());
    folder.say(&key, &wish, None, NOW).unwrap();
    // Told once it is known for good: the record is here from then on.
    for known in [Some(&last), None] {
        match folder.say(&key, &wish, known, NOW) {
            Err(NameFolderError::HandedOver { to: told }) => assert_eq!(told, to),
            other => panic!("{other:?}"),
        }
        assert_eq!(folder.record(&key.name()).unwrap(), Some(last.clone()));
    }
}

#[test]
fn no_name_is_led_back_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let folder = NameFolder::new(dir.path());
    let keys = ["a", "b", "c"].map(|name| folder.key_or_new(&name.parse().unwrap()).unwrap());
    let hand_over =
        |from: &IpnsKey, to: &IpnsKey| folder.say(from, &Wish::of_hand_over(to.name()), None, NOW);
    let [a, b, c] = &keys;
    let refused = |made| matches!(made, Err(NameFolderError::Loop { .. }));
    assert!(refused(hand_over(a, a)));
    hand_over(a, b).unwrap();
    hand_over(b, c).unwrap();
    assert!(refused(hand_over(c, a)));
    assert!(refused(hand_over(b, a)));
    // To another one than before it may go.
    hand_over(a, c).unwrap();
}

#[test]
fn times_that_a_user_names_hold_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let folder = NameFolder::new(dir.path());
    let key = folder.key_or_new(&KeyName::default()).unwrap();
    let usual = Wish::of_head(&head(1, ""), &Hints::default());
    let say = |wish: &Wish| folder.say(&key, wish, None, NOW).unwrap();
    say(&usual);
    let brief = Wish {
        ttl: Duration::from_secs(60),
        exact: true,
        ..usual.clone()
    };
    let record = say(&brief);
    assert_eq!((record.sequence(), record.ttl()), (1, brief.ttl));
    assert_eq!(say(&brief), record);
    let short = Wish {
        validity: VALIDITY / 4,
        ..brief
    };
    let record = say(&short);
    assert_eq!(record.until().left(NOW), short.validity);
    // Whoever names none leaves what was named, until it has lost half of the usual.
    assert_eq!(say(&short), record);
    assert_eq!(say(&usual).sequence(), 3);
}

#[test]
fn a_record_that_is_damaged_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let folder = NameFolder::new(dir.path());
    let key = folder.key_or_new(&KeyName::default()).unwrap();
    let wish = Wish::of_head(&head(1, ""), &Hints::default());
    let record = folder.say(&key, &wish, None, NOW).unwrap();
    let other = IpnsKey::generate().name();
    fs::write(dir.path().join(format!("ipns/{other}.record")), b"nonsense").unwrap();
    let (records, unread) = folder.records().unwrap();
    assert_eq!(records, [record]);
    assert!(matches!(unread[..], [NameFolderError::Record { .. }]));
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn numbers_never_go_back(steps in proptest::collection::vec((0u8..3, proptest::option::of(0u64..20)), 1..12)) {
        let dir = tempfile::tempdir().unwrap();
        let folder = NameFolder::new(dir.path());
        let key = folder.key_or_new(&KeyName::default()).unwrap();
        let mut before: Option<Record> = None;
        for (which, known) in steps {
            let wish = Wish::of_head(&head(u64::from(which) + 1, ""), &Hints::default());
            let elsewhere = known.map(|number| numbered(&key, number));
            let record = folder.say(&key, &wish, elsewhere.as_ref(), NOW).unwrap();
            if let Some(before) = &before {
                prop_assert!(record == *before || record.sequence() > before.sequence());
            }
            prop_assert!(known.is_none_or(|known| record.sequence() > known || before.as_ref() == Some(&record)));
            before = Some(record);
        }
    }
}
