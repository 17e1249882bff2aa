//! The stream on which one peer is told things.

use std::io;
use std::time::Duration;

use futures_util::io::AsyncWriteExt;
use libp2p::PeerId;
use tokio::time::timeout;

use super::bitswap::behaviour::Spoken;
use super::bitswap::frame;
use super::bitswap::message::Message;
use super::node::Node;

/// How long a stream may take to come about.
const OPEN: Duration = Duration::from_secs(10);

/// How often a message is tried: a stream that lay idle may be gone.
const TRIES: usize = 2;

/// Tells one peer things, on a stream that is kept for the next message.
pub(super) struct Outbox {
    node: Node,
    peer: PeerId,
    stream: Option<Spoken>,
}

impl Outbox {
    pub(super) fn new(node: Node, peer: PeerId) -> Self {
        Self {
            node,
            peer,
            stream: None,
        }
    }

    /// Sends a message; the error is told in words.
    pub(super) async fn send(&mut self, message: &Message) -> Result<usize, String> {
        let mut told = String::new();
        for _ in 0..TRIES {
            let (mut stream, dialect) = match self.stream.take() {
                Some(spoken) => spoken,
                None => timeout(OPEN, self.node.open(self.peer))
                    .await
                    .unwrap_or_else(|_| Err("opened no stream in time".to_owned()))?,
            };
            match frame::write(&mut stream, message, dialect).await {
                Ok(sent) => {
                    self.stream = Some((stream, dialect));
                    return Ok(sent);
                }
                // It does not read, and a new stream would not make it.
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err("reads nothing".to_owned());
                }
                Err(error) => told = error.to_string(),
            }
        }
        Err(told)
    }

    /// Whether a stream is kept open.
    pub(super) fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Closes the stream; the next message opens another one.
    pub(super) async fn rest(&mut self) {
        if let Some((mut stream, _)) = self.stream.take() {
            let _ = timeout(OPEN, stream.close()).await;
        }
    }
}
