//! `gwa mirror`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use gwa::time::UnixSeconds;
use gwa::whisper::Topic;

use crate::house::{House, envelope};

#[test]
fn following_ends_when_its_first_round_fails() {
    let house = House::new();
    let sent = UnixSeconds(1_538_265_600);
    house.archive("source", &[envelope(Topic([1; 4]), sent, 1)]);
    house.run("source", &["seal"]).expect(0);
    // It names a head, and has lost the blocks.
    let days = house.path("source/blocks/days");
    std::fs::remove_dir_all(days).expect("a closed day");
    let mut follow = house
        .gwa("mirror", &["mirror", &house.path("source"), "--follow"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("gwa runs");
    let told = BufReader::new(follow.stderr.take().expect("its errors are piped"));
    // One that goes on says so, and is not waited for.
    let last = told
        .lines()
        .map(|line| line.expect("text"))
        .find(|line| line.starts_with("Error:") || line.contains("cannot follow"));
    let ends = last.as_ref().is_some_and(|line| line.starts_with("Error:"));
    if !ends {
        follow.kill().expect("it is killed");
    }
    let status = follow.wait().expect("it ends");
    assert!(ends, "{last:?}");
    assert_eq!(status.code(), Some(1));
}
