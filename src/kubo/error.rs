//! Why a node did not do what it was asked for.

/// Why a node did not do what it was asked for. Texts name no node: whoever
/// reports one says which it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KuboError {
    /// No connection, one that broke, or silence for too long.
    #[error("{0}")]
    Away(String),
    /// It has no room left.
    #[error("{0}")]
    Full(String),
    /// It does not let us, or is no Kubo.
    #[error("{0}")]
    Refused(String),
    /// A block is not there, and it was not to look for it elsewhere.
    #[error("{0}")]
    Missing(String),
    /// It tried, and says why it failed.
    #[error("{0}")]
    Failed(String),
    /// Its answer is not what the call is answered with.
    #[error("answered what is not understood: {0}")]
    NotUnderstood(String),
    /// A file of this disk could not be read.
    #[error("{path}: {what}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        what: String,
        /// Which kind of failure it was.
        kind: std::io::ErrorKind,
    },
}

/// Longest text of a node that is repeated, in characters: enough for two CIDs and
/// a sentence.
const LONGEST_TEXT: usize = 500;

/// Texts in which Kubo, its datastores and the system below say that there is no
/// room.
const FULL: [&str; 4] = [
    "no space left on device",
    "disk quota exceeded",
    "maximum storage limit exceeded",
    "file too large",
];

/// Texts in which it says that it has not got a block, or has it wrongly.
const MISSING: [&str; 4] = [
    "block was not found locally",
    "ipld: could not find",
    "merkledag: not found",
    "different hash than requested",
];

impl KuboError {
    /// What the text of a failure says.
    pub(super) fn of_text(text: &str) -> Self {
        let text = shortened(text);
        let lower = text.to_lowercase();
        let says = |what: &[&str]| what.iter().any(|what| lower.contains(what));
        if says(&FULL) {
            Self::Full(text)
        } else if says(&MISSING) {
            Self::Missing(text)
        } else {
            Self::Failed(text)
        }
    }

    /// What a status other than success says; `text` is what came with it.
    pub(super) fn of_status(status: u16, text: &str) -> Self {
        match status {
            401 | 403 => Self::Refused(format!(
                "HTTP status {status}: it wants other credentials, or allows this to nobody"
            )),
            404 | 405 => Self::Refused(format!(
                "HTTP status {status}: there is no RPC of Kubo at this address"
            )),
            300..=399 => Self::Refused(format!(
                "HTTP status {status}: it sends on to another place"
            )),
            413 => Self::Refused("HTTP status 413: something between limits requests".to_owned()),
            429 | 502 | 503 | 504 => Self::Away(format!("HTTP status {status}")),
            507 => Self::Full("HTTP status 507".to_owned()),
            _ if text.trim().is_empty() => Self::Failed(format!("HTTP status {status}")),
            _ => Self::of_text(text),
        }
    }

    /// Whether the same call may succeed later without anybody's doing.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Full(_))
    }

    /// Whether a block is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }
}

/// A text of a node as it may be repeated: short, and without what steers a
/// terminal.
pub(super) fn shortened(text: &str) -> String {
    let plain = text.trim().chars();
    let plain = plain.map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = plain.clone().take(LONGEST_TEXT).collect();
    if plain.count() > LONGEST_TEXT {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_told_apart() {
        for (text, expected) in [
            (
                "block was not found locally (offline): ipld: could not find bafy",
                KuboError::Missing as fn(String) -> KuboError,
            ),
            (
                "write /x/blocks/put-1: no space left on device",
                KuboError::Full,
            ),
            (
                "maximum storage limit exceeded. Try to unpin some files",
                KuboError::Full,
            ),
            ("not pinned or pinned indirectly", KuboError::Failed),
        ] {
            assert_eq!(KuboError::of_text(text), expected(text.to_owned()));
        }
        for (status, is_transient) in [(401, false), (403, false), (404, false), (502, true)] {
            let error = KuboError::of_status(status, "<html>");
            assert_eq!(error.is_transient(), is_transient, "{error}");
        }
        assert_eq!(
            KuboError::of_status(500, "not pinned"),
            KuboError::Failed("not pinned".to_owned())
        );
    }

    #[test]
    fn a_text_that_is_repeated_is_short_and_steers_no_terminal() {
        let text = shortened(&format!(" \u{1b}[31m{}\n", "x".repeat(10_000)));
        assert!(text.chars().count() <= LONGEST_TEXT + 1);
        assert!(!text.chars().any(char::is_control));
    }
}
