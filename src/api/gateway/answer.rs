//! What stands in the head of an answer.
//!
//! Always true: an answer names what its body is made of, so that equal tags mean
//! equal bytes.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::ask::{Ask, CAR, Form, RAW};
use super::resolve::Resolved;

/// What a path under `/ipfs/` leads to never changes.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=29030400, immutable");

/// The path that was asked for.
const X_IPFS_PATH: HeaderName = HeaderName::from_static("x-ipfs-path");
/// What its names lead to.
const X_IPFS_ROOTS: HeaderName = HeaderName::from_static("x-ipfs-roots");

/// Characters of a file name that is repeated.
const MAX_FILENAME: usize = 200;

/// What RFC 8187 lets stand as it is.
const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The tag of the answer to `ask`, with its quotes. It is strong: equal requests
/// have equal bytes.
pub(super) fn tag(ask: &Ask, resolved: &Resolved) -> String {
    let cid = resolved.last();
    let Form::Car(car) = &ask.form else {
        return format!("\"{cid}.raw\"");
    };
    // What else the bytes depend on: where the path starts, and what was said.
    let said = format!("{}\n{}\n{}", ask.root, ask.names.join("\n"), ask.as_query());
    let digest = Sha256::digest(said);
    format!("\"{}-{cid}.car.{}\"", car.scope, hex::encode(&digest[..8]))
}

/// Whether the client has what `tag` names already. Whether a tag is weak makes no
/// difference here (RFC 9110, section 13.1.2).
pub(in crate::api) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let tag = tag.trim_start_matches("W/");
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    tags.any(|given| given == "*" || given.trim_start_matches("W/") == tag)
}

/// The headers of every answer to `ask`, but those of its body alone. `target` is
/// the path as it was asked for.
pub(super) fn headers(ask: &Ask, resolved: &Resolved, target: &str, tag: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: String| {
        // A target may hold bytes that no header may.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    let (kind, ending, ranges) = match &ask.form {
        Form::Raw => (RAW.to_owned(), "bin", "bytes"),
        Form::Car(car) => {
            let kind = format!("{CAR}; version=1; order=dfs; dups={}", car.dups());
            (kind, "car", "none")
        }
    };
    let roots: Vec<_> = resolved.roots.iter().map(ToString::to_string).collect();
    let filename = match &ask.filename {
        Some(name) => name.clone(),
        None => format!("{}.{ending}", resolved.last()),
    };
    set(header::CONTENT_TYPE, kind);
    set(header::CONTENT_DISPOSITION, attachment(&filename));
    set(header::ETAG, tag.to_owned());
    set(header::ACCEPT_RANGES, ranges.to_owned());
    set(X_IPFS_PATH, target.to_owned());
    set(X_IPFS_ROOTS, roots.join(","));
    if !ask.by_url {
        let location = format!("{target}?{}", ask.as_query());
        set(header::CONTENT_LOCATION, location);
    }
    headers.insert(header::CACHE_CONTROL, FOREVER);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    // Without a format in the URL, `Accept` decides.
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers
}

/// A browser is to save it, never to show it.
fn attachment(filename: &str) -> String {
    let name: String = filename.chars().take(MAX_FILENAME).collect();
    let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !"\"\\/".contains(c);
    let ascii: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    if name.is_ascii() {
        return format!("attachment; filename=\"{ascii}\"");
    }
    let encoded = utf8_percent_encode(&name, ATTRIBUTE);
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filename_leaves_its_quotes_nowhere() {
        assert_eq!(attachment("a b.bin"), r#"attachment; filename="a b.bin""#);
        assert_eq!(
            attachment("a\"; x=\"\r\n../b"),
            r#"attachment; filename="a_; x=___.._b""#
        );
        assert_eq!(
            attachment("testтест.pdf"),
            "attachment; filename=\"test____.pdf\"; filename*=UTF-8''test%D1%82%D0%B5%D1%81%D1%82.pdf"
        );
        assert!(attachment(&"ж".repeat(5_000)).len() < 2_000);
    }

    #[test]
    fn a_tag_is_found_among_others_and_weak_ones_count() {
        let known = |value: &'static str| {
            let headers = [(header::IF_NONE_MATCH, HeaderValue::from_static(value))];
            is_known(&HeaderMap::from_iter(headers), "\"b.raw\"")
        };
        assert!(known("\"b.raw\""));
        assert!(known("\"a\", W/\"b.raw\""));
        assert!(known("*"));
        assert!(!known("\"b\""));
        assert!(!known("b.raw"));
    }
}
