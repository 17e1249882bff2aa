//! Decrypting envelopes for the user: the flags, and what comes out.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use secp256k1::PublicKey;
use serde::Serialize;

use crate::cli::envelopes::Row;
use crate::cli::error::{CliError, Kind};
use crate::config::Password;
use crate::node::key_file;
use crate::reading::{self, Attached, Format, Inert, Said, short_key};
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
    #[serde(flatten)]
    opened: Option<Read>,
}

/// What a key opened.
#[derive(Clone, Debug, Serialize)]
struct Read {
    /// The payload, hex with `0x`.
    payload: String,
    /// How many bytes that is.
    #[serde(skip)]
    size: usize,
    /// The public key that signed the Whisper message, hex with `0x`.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "reading::as_hex"
    )]
    signer: Option<PublicKey>,
    /// What the payload says.
    #[serde(flatten)]
    said: Said,
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
        Message {
            row: Row::from(envelope),
            opened: opened.map(|opened| Read {
                payload: format!("0x{}", hex::encode(&opened.payload)),
                size: opened.payload.len(),
                signer: opened.signer,
                said: reading::read(&opened.payload),
            }),
        }
    }
}

impl Message {
    /// Whether a key opened it.
    pub fn is_open(&self) -> bool {
        self.opened.is_some()
    }
}

impl From<Row> for Message {
    fn from(row: Row) -> Self {
        Self { row, opened: None }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.opened {
            Some(read) => write!(f, "{}  {read}", self.row),
            None => write!(f, "{}", self.row),
        }
    }
}

/// Who says what, on one line; foreign text is [`Inert`].
impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = &self.said;
        match (&said.author, &self.signer) {
            (Some(author), Some(signer)) if author != signer => {
                let (author, signer) = (short_key(author), short_key(signer));
                write!(f, "{author} (sent by {signer})")?;
            }
            (Some(key), _) | (None, Some(key)) => f.write_str(&short_key(key))?,
            (None, None) => f.write_str("unsigned")?,
        }
        if let Some(name) = &said.name {
            write!(f, " {}", Inert(name))?;
        }
        f.write_str(":")?;
        self.remark(f)?;
        match &said.text {
            Some(text) => write!(f, " {}", Inert(text)),
            None => Ok(()),
        }
    }
}

impl Read {
    /// What stands before the text, where it is no plain one.
    fn remark(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = &self.said;
        let kind = said.kind.as_deref().unwrap_or_default();
        match (said.format, &said.attached) {
            (Format::Unknown, _) => {
                let comma = if kind.is_empty() { "" } else { ", " };
                let (kind, size) = (Inert(kind), self.size);
                write!(
                    f,
                    " [unknown application format{comma}{kind}, {size} bytes]"
                )
            }
            (_, Some(Attached::Sticker { hash, pack })) => {
                write!(f, " [sticker {} of pack {pack}]", Inert(hash))
            }
            (_, Some(Attached::Image { bytes, encoding })) => {
                write!(f, " [image, {encoding}, {bytes} bytes]")
            }
            (_, Some(Attached::Audio { bytes, duration })) => {
                write!(f, " [audio, {duration} ms, {bytes} bytes]")
            }
            (Format::Text, None) => Ok(()),
            // What a text is needs no words.
            (_, None) if said.text.is_some() && is_text(kind) => Ok(()),
            (_, None) => write!(f, " [{}]", Inert(kind)),
        }?;
        match &said.replies_to {
            Some(id) => write!(f, " [about {}]", Inert(id)),
            None => Ok(()),
        }
    }
}

/// Whether a kind is that of texts, in either format of Status.
fn is_text(kind: &str) -> bool {
    kind == "text" || kind.ends_with("text/plain")
}

/// What `gwa read` prints: when it was sent, under which topic, and who says what.
pub struct Line<'a>(pub &'a Message);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { row, opened } = self.0;
        let (sent, topic) = row.sent_and_topic();
        write!(f, "{sent}  {topic}  ")?;
        match opened {
            Some(read) => write!(f, "{read}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(payload: &[u8], said: Said) -> String {
        Read {
            payload: String::new(),
            size: payload.len(),
            signer: None,
            said,
        }
        .to_string()
    }

    #[test]
    fn what_an_attacker_writes_stays_on_its_line() {
        let evil = "\x1b[2J\u{202e}\n".to_owned();
        let said = Said {
            format: Format::StatusProtobuf,
            kind: Some(evil.clone()),
            text: Some(evil.clone()),
            attached: Some(Attached::Sticker {
                hash: evil.clone(),
                pack: 1,
            }),
            name: Some(evil.clone()),
            chat: Some(evil.clone()),
            replies_to: Some(evil),
            ..Said::default()
        };
        let unattached = Said {
            attached: None,
            ..said.clone()
        };
        for said in [said, unattached] {
            let line = line(b"", said);
            assert!(
                line.chars().all(|c| c.is_ascii_graphic() || c == ' '),
                "{line}"
            );
        }
    }

    #[test]
    fn a_line_says_what_no_text_says() {
        let cases: [(&[u8], &str); 4] = [
            (b"hello", "unsigned: hello"),
            (
                b"\xff\xfe",
                "unsigned: [unknown application format, 2 bytes]",
            ),
            (
                b"{\"a\":1}",
                "unsigned: [unknown application format, JSON, 7 bytes] {\"a\":1}",
            ),
            (
                b"[\"~#c2\",[\"Alice\"]]",
                "unsigned Alice: [contact request]",
            ),
        ];
        for (payload, expected) in cases {
            assert_eq!(line(payload, reading::read(payload)), expected);
        }
    }

    #[test]
    fn another_author_than_the_signer_is_told() {
        let key = |byte: u8| {
            let secret = secp256k1::SecretKey::from_secret_bytes([byte; 32]);
            secret.expect("a scalar").public_key()
        };
        let read = |author, signer| {
            let said = Said {
                format: Format::StatusProtobuf,
                kind: Some("text".to_owned()),
                text: Some("hi".to_owned()),
                author,
                ..Said::default()
            };
            let payload = String::new();
            Read {
                payload,
                size: 0,
                signer,
                said,
            }
            .to_string()
        };
        let (one, two) = (short_key(&key(1)), short_key(&key(2)));
        assert_eq!(read(Some(key(1)), Some(key(1))), format!("{one}: hi"));
        assert_eq!(read(None, Some(key(1))), format!("{one}: hi"));
        assert_eq!(
            read(Some(key(1)), Some(key(2))),
            format!("{one} (sent by {two}): hi")
        );
    }
}
