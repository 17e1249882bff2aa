//! Decrypting envelopes for the user: the flags, and what comes out.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cli::envelopes::Row;
use crate::cli::error::{CliError, Kind};
use crate::config::Password;
use crate::node::key_file;
use crate::rlpx::NodeKey;
use crate::whisper::Envelope;
use crate::whisper::keys::SymKey;
use crate::whisper::message::Opened;

/// With which keys messages are opened.
#[derive(Debug, Args)]
pub struct OpenArgs {
    /// Print what messages say: those of the chats asked for.
    #[arg(long)]
    decrypt: bool,
    /// Print what messages say that this password opens.
    #[arg(long, value_name = "TEXT")]
    decrypt_password: Vec<Password>,
    /// Print what messages say that the secret key in this file opens.
    #[arg(long, value_name = "FILE")]
    decrypt_key: Vec<PathBuf>,
}

/// The keys.
pub struct Opener {
    symmetric: Vec<SymKey>,
    asymmetric: Vec<NodeKey>,
}

/// An envelope and what it says.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    #[serde(flatten)]
    row: Row,
    /// What was said, hex with `0x`; absent where no key opens it.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    /// The same where it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The public key that signed it, hex with `0x`.
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
}

impl Opener {
    /// The keys that the flags and `chats` name; none where nothing is to be
    /// decrypted. Deriving them takes a moment.
    pub fn new(args: &OpenArgs, chats: &[String]) -> Result<Option<Self>, CliError> {
        if args.decrypt && chats.is_empty() {
            return Err(CliError::new(
                Kind::Usage,
                "`--decrypt` opens the messages of chats, and no chat is asked for",
            )
            .hint("name one with `--chat`, or a key with `--decrypt-password`"));
        }
        let chats = if args.decrypt { chats } else { &[] };
        Self::of(chats, &args.decrypt_password, &args.decrypt_key)
    }

    /// The keys of chats, of passwords, and in files; `None` where there are none.
    pub fn of(
        chats: &[String],
        passwords: &[Password],
        keys: &[PathBuf],
    ) -> Result<Option<Self>, CliError> {
        let of_chats = chats.iter().map(String::as_str);
        let passwords = passwords.iter().map(Password::expose);
        let opener = Self {
            symmetric: of_chats
                .chain(passwords)
                .map(SymKey::from_password)
                .collect(),
            asymmetric: keys
                .iter()
                .map(|path| {
                    key_file::load(path).map_err(|error| {
                        CliError::new(Kind::WrongKey, "there is no secret key").because(&error)
                    })
                })
                .collect::<Result<_, _>>()?,
        };
        let is_needed = !(opener.symmetric.is_empty() && opener.asymmetric.is_empty());
        Ok(is_needed.then_some(opener))
    }

    /// An envelope, and what it says if one of the keys opens it.
    pub fn open(&self, envelope: &Envelope) -> Message {
        let data = envelope.data();
        let symmetric = self.symmetric.iter();
        let asymmetric = self.asymmetric.iter();
        let opened = symmetric
            .map(|key| Opened::open_symmetric(key, data))
            .chain(asymmetric.map(|key| Opened::open_asymmetric(key.secret(), data)))
            .find_map(Result::ok);
        let mut message = Message::from(Row::from(envelope));
        if let Some(opened) = opened {
            message.signer = opened
                .signer
                .map(|key| format!("0x{}", hex::encode(key.serialize_uncompressed())));
            message.payload = Some(format!("0x{}", hex::encode(&opened.payload)));
            message.text = String::from_utf8(opened.payload).ok();
        }
        message
    }
}

impl Message {
    /// Whether a key opened it.
    pub fn is_open(&self) -> bool {
        self.payload.is_some()
    }
}

impl From<Row> for Message {
    fn from(row: Row) -> Self {
        Self {
            row,
            payload: None,
            text: None,
            signer: None,
        }
    }
}

/// Whether a character does something to a terminal but stand there: controls,
/// ends of lines and paragraphs, and what turns the direction of text, so that it
/// reads as something else.
fn fools_a_terminal(c: char) -> bool {
    let breaks_a_line = matches!(c, '\u{2028}' | '\u{2029}');
    let turns_around = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    c.is_control() || breaks_a_line || turns_around
}

impl fmt::Display for Message {
    /// The row, and the text with everything escaped that could fool a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.row)?;
        match (&self.text, &self.payload) {
            (Some(text), _) => {
                f.write_str("  ")?;
                text.chars().try_for_each(|c| {
                    if fools_a_terminal(c) {
                        write!(f, "{}", c.escape_default())
                    } else {
                        write!(f, "{c}")
                    }
                })
            }
            (None, Some(payload)) => write!(f, "  {payload}"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_fool_a_terminal_is_escaped_and_other_scripts_are_not() {
        for c in "\x1b\n\u{9b}\u{2028}\u{2029}\u{202e}\u{2066}\u{2069}\u{200f}".chars() {
            assert!(fools_a_terminal(c), "{c:?}");
        }
        for c in "aä漢שלام\u{200d}👋 ".chars() {
            assert!(!fools_a_terminal(c), "{c:?}");
        }
    }
}
