//! One peer is told things: each message on a stream of its own.
//!
//! A stream that is kept for the next message would save a round trip. But some
//! programs give a stream up that was silent for seconds, and what is written to it
//! at that moment is lost without a word.

use std::time::Duration;

use futures_util::io::AsyncWriteExt;
use libp2p::PeerId;
use tokio::time::timeout;

use super::bitswap::frame;
use super::bitswap::message::Message;
use super::node::Node;

/// How long a stream may take to come about, and to be closed.
const OPEN: Duration = Duration::from_secs(10);

/// Sends a message; the error is told in words.
pub(super) async fn send(node: &Node, peer: PeerId, message: &Message) -> Result<(), String> {
    let opened = timeout(OPEN, node.open(peer)).await;
    let (mut stream, dialect) =
        opened.unwrap_or_else(|_| Err("opened no stream in time".to_owned()))?;
    let sent = frame::write(&mut stream, message, dialect).await;
    sent.map_err(|error| error.to_string())?;
    let closed = timeout(OPEN, stream.close()).await;
    match closed {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("reads nothing".to_owned()),
    }
}
