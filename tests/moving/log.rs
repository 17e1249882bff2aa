//! `gwa log`.

use crate::house::{House, corpus, text};

#[test]
fn a_merge_is_drawn_and_what_is_not_held_is_said() {
    let (ours, theirs) = (House::new(), House::new());
    ours.import(&[&ours.file("ours.rlps", &corpus(300))]);
    let all = corpus(600);
    theirs.import(&[&theirs.file("theirs.rlps", &all[corpus(300).len()..])]);
    let car = text(&theirs.path().join("theirs.car"));
    theirs.ok(&["export", "-o", &car]);
    let before = ours.ok(&["head"]).out.trim().to_owned();
    let other = theirs.ok(&["head"]).out.trim().to_owned();
    ours.ok(&["merge", &car]);
    let head = ours.ok(&["head"]).out.trim().to_owned();

    let rows = ours.ok(&["--json", "log", "--graph"]).objects();
    assert_eq!(rows[0]["head"], head);
    assert_eq!(rows[0]["prev"], before);
    assert_eq!(rows[0]["merged"], serde_json::json!([other]));
    let heads: Vec<_> = rows.iter().map(|row| row["head"].as_str()).collect();
    assert!(heads.contains(&Some(&before[..])));

    let drawn = ours.ok(&["log", "--graph"]).out;
    let lines: Vec<&str> = drawn.lines().collect();
    assert!(lines[0].starts_with("*  "), "{drawn}");
    assert!(lines[0].ends_with(&head), "{drawn}");
    // Theirs is drawn where it is held, and named where it is not.
    assert_eq!(drawn.matches(&other).count(), 1, "{drawn}");
    let one = ours.ok(&["log", "--graph", "--limit", "1"]).out;
    assert!(drawn.starts_with(&one));

    let plain = ours.ok(&["log"]).out;
    assert_eq!(plain.lines().count(), 2, "{plain}");
}
