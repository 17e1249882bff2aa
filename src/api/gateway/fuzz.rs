//! The readers of this module, for fuzzing.

use axum::http::{HeaderMap, HeaderValue, header};

use super::answer;
use super::ask::Ask;
use super::denylist::Rules;
use super::range::{Wanted, wanted};
use super::resolve::{End, Resolved};
use crate::blocks::{Block, Cid, Codec};

/// Reads a path after `/ipfs/`, a query and an `Accept` header.
pub(crate) fn request(path: &str, query: &str, accept: &str) {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(accept) {
        headers.insert(header::RANGE, value.clone());
        headers.insert(header::IF_NONE_MATCH, value);
    }
    for len in [0, 10] {
        if let Wanted::Part(part) = wanted(&headers, len, "\"tag\"") {
            assert!(part.start < part.end && part.end <= len);
        }
    }
    let Ok(ask) = Ask::read(path, query, [accept]) else {
        return;
    };
    // What was chosen is found again by its URL alone.
    let again = Ask::read(path, &ask.as_query(), []).expect("its own query reads");
    assert!(again.by_url);
    assert_eq!(
        (again.root, &again.names, again.form),
        (ask.root, &ask.names, ask.form)
    );
    let resolved = Resolved {
        passed: Vec::new(),
        roots: vec![ask.root],
        end: End::Block(ask.root),
    };
    let tag = answer::tag(&ask, &resolved);
    let told = answer::headers(&ask, &resolved, &format!("/ipfs/{path}"), &tag);
    assert!(told.contains_key(header::ETAG) && told.contains_key(header::CONTENT_TYPE));
    // Nothing a client says breaks out of the quotes.
    let disposition = told.get(header::CONTENT_DISPOSITION);
    let disposition = disposition.and_then(|value| value.to_str().ok());
    let quotes = disposition.expect("plain ASCII").matches('"').count();
    assert_eq!(quotes, 2);
    let _ = answer::is_known(&headers, &tag);
}

/// Reads a denylist, and asks it about a block and a path.
pub(crate) fn denylist(text: &[u8]) {
    let mut rules = Rules::default();
    let lines = text.split(|byte| *byte == b'\n').count();
    let read = rules.add(text);
    assert!(rules.count() as usize <= lines);
    if let Ok(added) = read {
        assert!(added.rules as usize + added.unknown.len() <= lines);
        assert!(added.unknown.iter().all(|line| (1..=lines).contains(line)));
    }
    let cid: Cid = *Block::new(Codec::Raw, &b"a"[..]).cid();
    let denied = rules.check(&cid).is_err();
    // A rule behind all others decides.
    let allow = format!("\n!/ipfs/{cid}\n");
    if rules.add(allow.as_bytes()).is_ok() {
        assert!(rules.check(&cid).is_ok());
    } else {
        assert!(!denied || rules.count() > 0);
    }
    let _ = rules.check_path(&cid, &["state".to_owned(), "2019".to_owned()]);
}
