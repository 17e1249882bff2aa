//! The vectors of the archive format: `fixtures/archive/v1`. A new vector of a
//! known kind needs no code here.

mod compute;
mod given;

use std::path::PathBuf;

use serde_json::Value;

fn walk(folder: &str) -> Vec<(String, Value)> {
    let folder = format!(
        "{}/fixtures/archive/v1/{folder}",
        env!("CARGO_MANIFEST_DIR")
    );
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of vectors")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a vector");
            let name = path.file_stem().expect("a name").to_string_lossy();
            let vector = serde_json::from_str(&text);
            (name.into_owned(), vector.expect("a vector is JSON"))
        })
        .collect()
}

/// A vector's fields are all looked at: these, and no others.
fn check_fields(name: &str, vector: &Value, fields: [&str; 4]) {
    let found: Vec<_> = vector.as_object().expect("an object").keys().collect();
    assert_eq!(found, fields, "{name}");
}

#[test]
fn what_is_accepted_gives_what_its_vector_expects() {
    let vectors = walk("accepted");
    let mut kinds: Vec<_> = vectors
        .iter()
        .map(|(name, vector)| {
            check_fields(name, vector, ["description", "expect", "given", "kind"]);
            let kind = given::text(&vector["kind"]);
            let found = compute::expect(kind, &vector["given"]);
            assert_eq!(found, vector["expect"], "{name}");
            kind
        })
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let all = [
        "archive",
        "calendar",
        "envelopes",
        "generated",
        "head",
        "leaf",
        "pack",
        "segment",
        "splitter",
        "table",
        "topics",
    ];
    assert_eq!(kinds, all, "every kind has its vectors");
}

#[test]
fn what_breaks_a_rule_is_refused_for_it() {
    let vectors = walk("rejected");
    assert!(vectors.len() > 50, "one for each rule");
    for (name, vector) in vectors {
        check_fields(&name, &vector, ["given", "kind", "refused", "rule"]);
        let kind = given::text(&vector["kind"]);
        let found = compute::refusal(kind, &vector["given"]);
        assert_eq!(found.as_ref(), Some(&vector["refused"]), "{name}");
    }
}
