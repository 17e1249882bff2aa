//! Why a server did not do what was asked.

use crate::mailserver::client::{MAX_ANSWER_TIME, PATIENCE};
use crate::mailserver::response::CompletionError;
use crate::rlpx::KeyError;
use crate::rlpx::socket::{LinkError, SendError};
use crate::whisper::EnvelopeHash;
use crate::whisper::peer::Violation;

/// What status-go's server, and ours, says to who does not know its password.
const WRONG_PASSWORD: &str = "failed to decrypt p2p request";

/// Why a server did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No link, or no longer.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Something was too large to be sent, or the link ended meanwhile.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The server speaks no Whisper.
    #[error("the peer speaks no Whisper")]
    NoWhisper,
    /// The server broke the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The server ended its answer with nonsense.
    #[error("malformed completion: {0}")]
    Completion(#[from] CompletionError),
    /// The server said no, in these words.
    #[error("the mailserver refused: {0}")]
    Refused(String),
    /// The server delivered something that was not asked for.
    #[error("the mailserver sent what was not asked for: {0}")]
    Unasked(#[from] Unasked),
    /// The server owes an answer and is silent.
    #[error("nothing came for {} s", PATIENCE.as_secs())]
    Silent,
    /// The server goes on and on.
    #[error("an answer took more than {} s", MAX_ANSWER_TIME.as_secs())]
    Endless,
    /// No nonce was found for the request.
    #[error("the work asked of requests is out of reach")]
    TooMuchWork,
    /// The server's id is no public key.
    #[error(transparent)]
    ServerKey(#[from] KeyError),
    /// Nothing is asked at the moment, so nothing can be answered.
    #[error("no request is open")]
    NothingAsked,
}

/// What in an answer was not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unasked {
    /// An envelope sent at another time.
    #[error("{hash} was sent outside the range")]
    Time {
        /// The envelope.
        hash: EnvelopeHash,
    },
    /// An envelope whose topic the filter does not let pass.
    #[error("{hash} has a topic that the filter excludes")]
    Topic {
        /// The envelope.
        hash: EnvelopeHash,
    },
    /// More envelopes than the limit.
    #[error("more than {limit} envelopes")]
    Count {
        /// The limit.
        limit: u32,
    },
    /// More bytes than an answer may have.
    #[error("an answer of more than {limit} bytes")]
    Bytes {
        /// The limit.
        limit: u64,
    },
    /// A cursor that does not lead on from the one before.
    #[error("a cursor that leads in a circle")]
    Circle,
}

impl ClientError {
    /// Whether the same may succeed over a new link: this one failed, and
    /// nobody was found to do wrong.
    pub fn is_link_lost(&self) -> bool {
        match self {
            Self::Link(error) | Self::Send(SendError::Ended(error)) => !error.is_peers_fault(),
            Self::Silent | Self::Send(SendError::Full) => true,
            _ => false,
        }
    }

    /// Whether the server could not open the request: another password is
    /// needed.
    pub fn is_wrong_password(&self) -> bool {
        matches!(self, Self::Refused(text) if text == WRONG_PASSWORD)
    }

    /// Whether the server sent what no honest server sends.
    pub fn is_servers_fault(&self) -> bool {
        match self {
            Self::Violation(_) | Self::Completion(_) | Self::Unasked(_) | Self::Endless => true,
            Self::Link(error) | Self::Send(SendError::Ended(error)) => error.is_peers_fault(),
            _ => false,
        }
    }
}
