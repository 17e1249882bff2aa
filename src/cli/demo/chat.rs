//! A public chat as Status clients know it: its name is its key and its topic.

use crate::reading;
use crate::rlpx::NodeKey;
use crate::time::{Expiry, Ttl, UnixSeconds};
use crate::whisper::keys::SymKey;
use crate::whisper::message::{self, MessageRandom, Opened, PayloadTooLong, Reader};
use crate::whisper::mining::{Target, Template, mine_within};
use crate::whisper::pow::Pow;
use crate::whisper::{Envelope, Topic};

/// How long messages live on the network: long enough for everyone to hear one.
const TTL: Ttl = Ttl(50);

/// Nonces tried for a message. Some 250 are needed for the work that Status
/// asks for.
const NONCES: u32 = 1 << 20;

/// A chat that whoever knows its name can read.
pub struct Chat {
    name: &'static str,
    key: SymKey,
    topic: Topic,
}

/// Why a message was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The text is too long.
    #[error(transparent)]
    TooLong(#[from] PayloadTooLong),
    /// No nonce was found.
    #[error("no nonce shows enough work")]
    TooMuchWork,
}

impl Chat {
    /// The chat called `name`. Deriving its key takes a moment.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            key: SymKey::from_password(name),
            topic: Topic::of_public_chat(name),
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The topic its messages are under.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// An envelope that says `text`, signed by `author`.
    pub fn write(
        &self,
        text: &str,
        author: &NodeKey,
        now: UnixSeconds,
    ) -> Result<Envelope, WriteError> {
        let data = message::seal(
            text.as_bytes(),
            Some(author.secret()),
            Reader::Holders(&self.key),
            &MessageRandom::draw(),
        )?;
        let template = Template {
            expiry: Expiry::of(now, TTL),
            ttl: TTL,
            topic: self.topic,
            data,
        };
        mine_within(&template, Target::Both(Pow::STATUS_DEFAULT), NONCES)
            .ok_or(WriteError::TooMuchWork)
    }

    /// What an envelope of this chat says; `None` for any other.
    pub fn read(&self, envelope: &Envelope) -> Option<String> {
        if envelope.topic() != self.topic {
            return None;
        }
        let opened = Opened::open_symmetric(&self.key, envelope.data()).ok()?;
        reading::read(&opened.payload).text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whisper::pow::Work;

    #[test]
    fn what_is_written_is_read_by_who_knows_the_name() {
        let (chat, other) = (Chat::new("a chat"), Chat::new("another chat"));
        let author = NodeKey::generate();
        let envelope = chat
            .write("hello", &author, UnixSeconds(1_600_000_000))
            .unwrap();
        assert_eq!(chat.read(&envelope).as_deref(), Some("hello"));
        assert_eq!(other.read(&envelope), None);
        assert_eq!(envelope.sent(), UnixSeconds(1_600_000_000));
        assert!(Work::of(&envelope).least() >= Pow::STATUS_DEFAULT);
    }
}
