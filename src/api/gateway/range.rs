//! `Range`, for single blocks (RFC 9110, section 14).
//!
//! Always true: what cannot be read, and more than one range, counts as none, as
//! the standard allows.

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// What a request wants of the bytes there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of them.
    All,
    /// These.
    Part(Range<usize>),
    /// Some that are not there.
    Nothing,
}

/// What `headers` want of `len` bytes whose tag is `tag`.
pub(super) fn wanted(headers: &HeaderMap, len: usize, tag: &str) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // What the client has a part of may be something else by now.
    if text(header::IF_RANGE).is_some_and(|given| given != tag) {
        return Wanted::All;
    }
    let range = text(header::RANGE).and_then(|value| read(value, len));
    range.unwrap_or(Wanted::All)
}

fn read(value: &str, len: usize) -> Option<Wanted> {
    let (from, to) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(usize::MAX))
    };
    let range = match (from, to) {
        ("", suffix) => len.saturating_sub(number(suffix)?)..len,
        (from, "") => number(from)?..len,
        (from, to) => {
            let (from, to) = (number(from)?, number(to)?);
            if to < from {
                return None;
            }
            from..to.saturating_add(1).min(len)
        }
    };
    Some(if range.start < range.end {
        Wanted::Part(range)
    } else {
        Wanted::Nothing
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_to_what_there_is() {
        let part = |from, to| Some(Wanted::Part(from..to));
        assert_eq!(read("bytes=0-0", 10), part(0, 1));
        assert_eq!(read("bytes=3-", 10), part(3, 10));
        assert_eq!(read("bytes=3-99", 10), part(3, 10));
        assert_eq!(read("bytes=-4", 10), part(6, 10));
        assert_eq!(read("bytes=-40", 10), part(0, 10));
        assert_eq!(read("bytes=2-99999999999999999999999", 10), part(2, 10));
        for outside in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(read(outside, 10), Some(Wanted::Nothing), "{outside}");
        }
        assert_eq!(read("bytes=0-", 0), Some(Wanted::Nothing));
        for none in [
            "bytes=5-3",
            "bytes=0-1,3-4",
            "bytes=-",
            "items=0-1",
            "bytes=a-b",
            "",
        ] {
            assert_eq!(read(none, 10), None, "{none}");
        }
    }
}
