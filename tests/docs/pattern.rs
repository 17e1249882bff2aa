//! Whether an output is the one that is shown.

use std::collections::BTreeMap;

/// Stands for anything.
const WILD: char = '…';

/// What a page calls a thing, and what it is in this run.
pub type Bound = BTreeMap<String, String>;

/// A word that differs from run to run.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Cid,
    Name,
    Peer,
    Enode,
    Tag,
    Time,
    Seconds,
}

/// The word that varies at the start of `text`, and its length.
fn varying(text: &str) -> Option<(Kind, usize)> {
    let runs = |prefix: &str, len: usize, of: fn(u8) -> bool| {
        let body = text.strip_prefix(prefix)?.as_bytes();
        let is_whole = body.len() >= len
            && body[..len].iter().all(|b| of(*b))
            && body.get(len).is_none_or(|b| !of(*b));
        is_whole.then_some(prefix.len() + len)
    };
    let base32 = |b: u8| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b);
    let base36 = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let cid = runs("bafyrei", 52, base32).or_else(|| runs("bafkrei", 52, base32));
    None.or_else(|| cid.map(|len| (Kind::Cid, len)))
        .or_else(|| runs("k51", 59, base36).map(|len| (Kind::Name, len)))
        .or_else(|| {
            runs("12D3KooW", 44, |b| b.is_ascii_alphanumeric()).map(|len| (Kind::Peer, len))
        })
        .or_else(|| runs("enode://", 128, |b| b.is_ascii_hexdigit()).map(|len| (Kind::Enode, len)))
        .or_else(|| runs("gwa/", 16, |b| b.is_ascii_hexdigit()).map(|len| (Kind::Tag, len)))
        .or_else(|| is_recent_time(text).then_some((Kind::Time, "2025-01-01T00:00:00Z".len())))
        .or_else(|| {
            runs("", 10, |b| b.is_ascii_digit())
                .filter(|len| text[..*len].parse().is_ok_and(|at| RECENT.contains(&at)))
                .map(|len| (Kind::Seconds, len))
        })
}

/// Seconds since 1970 of the years 2025 to 2099.
const RECENT: std::ops::Range<u64> = 1_735_689_600..4_102_444_800;

/// A time of the run, not of what is archived.
fn is_recent_time(text: &str) -> bool {
    let shape = "dddd-dd-ddTdd:dd:ddZ";
    let has_shape = text.len() >= shape.len()
        && text.bytes().zip(shape.bytes()).all(|(b, of)| match of {
            b'd' => b.is_ascii_digit(),
            _ => b == of,
        });
    has_shape && text >= "2025"
}

/// Whether a line is the one shown. What the page calls things is added to `bound`.
fn line(shown: &str, real: &str, bound: &mut Bound) -> bool {
    let Some(first) = shown.chars().next() else {
        return real.is_empty();
    };
    if first == WILD {
        let rest = &shown[first.len_utf8()..];
        return (0..=real.len())
            .filter(|at| real.is_char_boundary(*at))
            .any(|at| attempt(bound, |bound| line(rest, &real[at..], bound)));
    }
    if let Some((kind, len)) = varying(shown) {
        let Some((_, real_len)) = varying(real).filter(|(real, _)| *real == kind) else {
            return false;
        };
        let (called, is) = (&shown[..len], &real[..real_len]);
        let is_time = matches!(kind, Kind::Time | Kind::Seconds);
        let fits = is_time || *bound.entry(called.into()).or_insert(is.into()) == is;
        return fits && line(&shown[len..], &real[real_len..], bound);
    }
    real.strip_prefix(first)
        .is_some_and(|real| line(&shown[first.len_utf8()..], real, bound))
}

/// Tries, and leaves no trace of what did not fit.
fn attempt(bound: &mut Bound, of: impl FnOnce(&mut Bound) -> bool) -> bool {
    let mut tried = bound.clone();
    let fits = of(&mut tried);
    if fits {
        *bound = tried;
    }
    fits
}

/// Whether lines are the ones shown.
pub fn fits(shown: &[&str], real: &[&str], bound: &mut Bound) -> bool {
    match shown.split_first() {
        None => real.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=real.len()).any(|at| attempt(bound, |bound| fits(rest, &real[at..], bound)))
        }
        Some((first, rest)) => real.split_first().is_some_and(|(line_of, after)| {
            attempt(bound, |bound| {
                line(first.trim_end(), line_of.trim_end(), bound) && fits(rest, after, bound)
            })
        }),
    }
}

/// A command with what the page calls things replaced by what they are.
pub fn with_real(command: &str, bound: &Bound) -> String {
    bound.iter().fold(command.to_owned(), |text, (called, is)| {
        text.replace(called, is)
    })
}

#[test]
fn what_varies_is_one_thing_wherever_it_is_shown() {
    let (a, b) = (
        "bafyrei".to_owned() + &"a".repeat(52),
        "bafyrei".to_owned() + &"b".repeat(52),
    );
    let mut bound = Bound::new();
    assert!(fits(
        &["head …", &a, "…", "at 2026-01-01T00:00:00Z", "1795287900"],
        &[
            "head of it",
            &b,
            "x",
            "y",
            "at 2027-12-31T23:59:59Z",
            "1795308000"
        ],
        &mut bound
    ));
    assert_eq!(
        with_real(&format!("gwa show {a}"), &bound),
        format!("gwa show {b}")
    );
    assert!(fits(&[&a], &[&b], &mut bound));
    assert!(!fits(&[&a], &[&a], &mut bound), "it was the other one");
    for (shown, real) in [
        ("a", "b"),
        ("a", ""),
        ("", "a"),
        ("2018-01-01T00:00:00Z", "2019-01-01T00:00:00Z"),
        ("1538395200", "1795287900"),
    ] {
        assert!(
            !fits(&[shown], &[real], &mut bound),
            "{shown} is not {real}"
        );
    }
    assert!(!fits(&["a"], &["a", "b"], &mut bound));
}
