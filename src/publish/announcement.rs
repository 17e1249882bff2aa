//! An archive told of on the Whisper network itself.
//!
//! An announcement is a message like any other: on the topic of the public chat
//! [`CHAT`], readable by all who know that name, signed with the archive's key.
//! Its payload is DAG-CBOR, `{v: 1, head: bytes, http: [text], enode: text|null}`,
//! where `head` is the block of the head. `docs/spec/announcements.md` has it.
//!
//! Always true of an announcement that was read:
//! - The head's signature holds, and the key that signed it signed the message.
//! - Its hints are within the bounds of [`Hints`].

use std::sync::OnceLock;

use secp256k1::SecretKey;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::hints::{Hints, HintsError};
use crate::archive::cbor::{self, CborError};
use crate::archive::head::{Head, HeadError, MAX_HEAD_LEN};
use crate::blocks::{Block, Codec};
use crate::time::{Expiry, Ttl, UnixSeconds};
use crate::whisper::keys::SymKey;
use crate::whisper::message::{MessageError, MessageRandom, Opened, Reader, seal};
use crate::whisper::mining::Template;
use crate::whisper::{Envelope, Topic};

/// The public chat on which archives are announced: its name is topic and key.
pub const CHAT: &str = "gwa-heads-1";

/// How long an announcement circulates: what status clients give their messages.
pub const TTL: Ttl = Ttl(50);

/// Longest payload in bytes: a head and the fullest hints.
pub const MAX_PAYLOAD: usize = MAX_HEAD_LEN + 2_048;

/// Version of the payload.
const VERSION: u16 = 1;

/// A head, and where its archive is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The head.
    pub head: Head,
    /// Where to ask for its blocks.
    pub hints: Hints,
}

/// Why a message announces nothing.
#[derive(Debug, thiserror::Error)]
pub enum AnnouncementError {
    /// It is not for those who read the chat, or no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Its payload is longer than any announcement.
    #[error("a payload of {0} bytes, above the limit of {MAX_PAYLOAD}")]
    TooLong(usize),
    /// Its payload is no announcement.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// Of another version.
    #[error("an announcement of version {0}")]
    Version(u16),
    /// The head in it is none.
    #[error("head: {0}")]
    Head(#[from] HeadError),
    /// It was not signed by whoever signed the head.
    #[error("the message is not signed with the archive's key")]
    Signer,
    /// Its hints are out of bounds.
    #[error("hints: {0}")]
    Hints(#[from] HintsError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    v: u16,
    head: ByteBuf,
    http: Vec<String>,
    enode: Option<String>,
}

/// The topic of announcements.
pub fn topic() -> Topic {
    Topic::of_public_chat(CHAT)
}

/// The key of announcements. The first call derives it, which takes a moment.
pub fn key() -> &'static SymKey {
    static KEY: OnceLock<SymKey> = OnceLock::new();
    KEY.get_or_init(|| SymKey::from_password(CHAT))
}

impl Announcement {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let payload = Payload {
            v: VERSION,
            head: ByteBuf::from(self.head.block().bytes().to_vec()),
            http: self.hints.http().to_vec(),
            enode: self.hints.enode().map(ToString::to_string),
        };
        cbor::encode(&payload).bytes().to_vec()
    }

    /// Reads a payload; who signed the message is not looked at.
    pub fn decode(payload: &[u8]) -> Result<Self, AnnouncementError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(AnnouncementError::TooLong(payload.len()));
        }
        let Payload {
            v,
            head,
            http,
            enode,
        } = cbor::decode(payload)?;
        if v != VERSION {
            return Err(AnnouncementError::Version(v));
        }
        Ok(Self {
            head: Head::decode(Block::new(Codec::DagCbor, head.into_vec()))?,
            hints: Hints::read(http, enode.as_deref())?,
        })
    }

    /// The message, signed with the archive's key; it lacks only its work.
    pub fn seal(&self, key: &SecretKey, now: UnixSeconds, random: &MessageRandom) -> Template {
        let reader = Reader::Holders(self::key());
        let data = seal(&self.encode(), Some(key), reader, random)
            .expect("an announcement is shorter than any message may be");
        Template {
            expiry: Expiry::of(now, TTL),
            ttl: TTL,
            topic: topic(),
            data,
        }
    }

    /// Opens an envelope of the announcements' topic.
    pub fn open(envelope: &Envelope) -> Result<Self, AnnouncementError> {
        let opened = Opened::open_symmetric(key(), envelope.data())?;
        let announcement = Self::decode(&opened.payload)?;
        if opened.signer.as_ref() != Some(announcement.head.key()) {
            return Err(AnnouncementError::Signer);
        }
        Ok(announcement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::disk::Archive;
    use crate::archive::testing::envelope;
    use crate::archive::watermark::Watermark;
    use crate::progress::Quiet;

    const NOW: UnixSeconds = UnixSeconds(1_600_000_000);

    fn head() -> (Head, SecretKey) {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::init(dir.path(), "told").unwrap();
        archive.append(&[envelope(1, 100, 40)]).unwrap();
        let until = Watermark::new(UnixSeconds(86_400)).unwrap();
        let head = archive.seal(until, NOW, &Quiet).unwrap().head.unwrap();
        let text = std::fs::read_to_string(dir.path().join("archive.key")).unwrap();
        (head, text.trim().parse().unwrap())
    }

    fn announcement(head: Head) -> Announcement {
        let http = vec!["http://127.0.0.1:8547".to_owned()];
        Announcement {
            head,
            hints: Hints::new(http, None).unwrap(),
        }
    }

    #[test]
    fn what_is_announced_is_read_by_whoever_knows_the_chat() {
        let (head, key) = head();
        let told = announcement(head);
        let envelope = told.seal(&key, NOW, &MessageRandom::draw()).with_nonce(0);
        assert_eq!(envelope.topic(), topic());
        assert_eq!(Announcement::open(&envelope).unwrap(), told);
    }

    #[test]
    fn nobody_announces_for_another() {
        let (head, _) = head();
        let stranger = SecretKey::from_secret_bytes([7; 32]).unwrap();
        let told = announcement(head);
        let envelope = told
            .seal(&stranger, NOW, &MessageRandom::draw())
            .with_nonce(0);
        assert!(matches!(
            Announcement::open(&envelope),
            Err(AnnouncementError::Signer)
        ));
    }

    #[test]
    fn a_payload_that_is_none_is_refused() {
        let (head, _) = head();
        let whole = announcement(head).encode();
        for len in 0..whole.len() {
            assert!(Announcement::decode(&whole[..len]).is_err(), "{len} bytes");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(Announcement::decode(&longer).is_err());
        let long = vec![0; MAX_PAYLOAD + 1];
        assert!(matches!(
            Announcement::decode(&long),
            Err(AnnouncementError::TooLong(_))
        ));
    }

    #[test]
    fn the_fullest_announcement_fits() {
        let (head, _) = head();
        let http = vec![format!("http://{}", "a".repeat(249)); super::super::hints::MAX_ADDRESSES];
        let enode = format!(
            "enode://{}@[2001:db8::1]:30303?discport=30304",
            "ab".repeat(64)
        );
        let hints = Hints::read(
            http,
            enode
                .parse::<crate::rlpx::Enode>()
                .ok()
                .map(|e| e.to_string())
                .as_deref(),
        );
        let told = Announcement {
            head,
            hints: hints.unwrap(),
        };
        let payload = told.encode();
        assert!(payload.len() - told.head.block().bytes().len() + MAX_HEAD_LEN <= MAX_PAYLOAD);
    }
}
