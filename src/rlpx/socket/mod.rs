//! RLPx links on TCP.
//!
//! The shell around the pure states: it reads, writes and keeps time. A link
//! has two halves. [`PeerReader::recv`] decodes in the caller's own task;
//! [`PeerWriter::send`] queues for a task that writes as many messages at once
//! as are waiting.
//!
//! Always true:
//! - Every wait has an end: dialling, handshakes, silence, writing, closing.
//! - What a link holds for a peer is bounded: the frame that is arriving, and
//!   [`OUTGOING_BUDGET`] bytes that wait to be sent.
//! - `recv` and `send` may be dropped while they wait; nothing is lost or torn.
//! - Once either half has failed, so has the other.

mod error;
mod writer;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, timeout, timeout_at};

use crate::rlpx::handshake::{AuthSent, AwaitingAuth, Established, HandshakeRandom, Step};
use crate::rlpx::session::{
    HANDSHAKE_DEADLINE, HelloSent, Inbound, Incoming, LocalNode, Message, Refused, RemotePeer,
    Session, SessionError,
};
use crate::rlpx::{DisconnectReason, Enode, NodeId};

pub use error::{LinkError, SendError};
pub use writer::{MAX_PAYLOAD, OUTGOING_BUDGET, PeerWriter};

/// How long a TCP connection may take to come about: geth's 15 s.
pub const DIAL_DEADLINE: Duration = Duration::from_secs(15);

/// How long writing may stall: geth's 20 s.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(20);

/// How long the last words may take: geth's 1 s.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// How much is asked of the socket at a time, in bytes.
const READ_CHUNK: usize = 16 << 10;

/// A read buffer that a large frame left is given back from this size on.
const KEPT_BUFFER: usize = 256 << 10;

/// Dials `enode` and opens a link to it.
pub async fn connect(enode: &Enode, local: &Arc<LocalNode>) -> Result<PeerLink, LinkError> {
    let stream = timeout(DIAL_DEADLINE, TcpStream::connect(enode.tcp_address()))
        .await
        .map_err(|_| LinkError::DialTimeout)??;
    initiate(stream, enode.id, local).await
}

/// Opens a link to `remote` over a connection that this node dialled.
pub async fn initiate(
    mut stream: TcpStream,
    remote: NodeId,
    local: &Arc<LocalNode>,
) -> Result<PeerLink, LinkError> {
    let opening = async {
        stream.set_nodelay(true)?;
        let mut input = BytesMut::new();
        let (mut stage, auth) = AuthSent::start(local.key(), remote, HandshakeRandom::draw())?;
        stream.write_all(&auth).await?;
        let established = loop {
            match stage.receive(&mut input)? {
                Step::Done(established) => break established,
                Step::NeedMore(same) => stage = same,
            }
            fill(&mut stream, &mut input).await?;
        };
        greet(stream, input, established, local).await
    };
    timeout(HANDSHAKE_DEADLINE, Box::pin(opening))
        .await
        .map_err(|_| LinkError::HandshakeTimeout)?
}

/// Opens a link over a connection that this node accepted.
pub async fn accept(mut stream: TcpStream, local: &Arc<LocalNode>) -> Result<PeerLink, LinkError> {
    let opening = async {
        stream.set_nodelay(true)?;
        let mut input = BytesMut::new();
        let mut stage = AwaitingAuth::new(local.key(), HandshakeRandom::draw());
        let answered = loop {
            match stage.receive(&mut input)? {
                Step::Done(answered) => break answered,
                Step::NeedMore(same) => stage = same,
            }
            fill(&mut stream, &mut input).await?;
        };
        stream.write_all(&answered.ack).await?;
        greet(stream, input, answered.established, local).await
    };
    timeout(HANDSHAKE_DEADLINE, Box::pin(opening))
        .await
        .map_err(|_| LinkError::HandshakeTimeout)?
}

/// Exchanges Hellos.
async fn greet(
    mut stream: TcpStream,
    mut input: BytesMut,
    established: Established,
    local: &Arc<LocalNode>,
) -> Result<PeerLink, LinkError> {
    let (mut stage, hello) = HelloSent::start(established, Arc::clone(local));
    stream.write_all(&hello).await?;
    loop {
        match stage.receive(&mut input, now()) {
            Ok(Step::Done(session)) => return PeerLink::new(stream, input, session),
            Ok(Step::NeedMore(same)) => stage = same,
            Err(Refused { error, farewell }) => {
                part(stream, &farewell).await;
                return Err(error.into());
            }
        }
        fill(&mut stream, &mut input).await?;
    }
}

/// Writes the last bytes, if any, so that they are read: closing a socket that
/// has unread input resets it, and a reset overtakes what was just written.
async fn part(mut stream: TcpStream, farewell: &[u8]) {
    if farewell.is_empty() {
        return;
    }
    // The peer is gone either way; whether it heard why is no error of ours.
    let _ = timeout(CLOSE_DEADLINE, async {
        stream.write_all(farewell).await?;
        stream.shutdown().await?;
        drain(&mut stream).await
    })
    .await;
}

/// Reads and forgets until the peer closes.
async fn drain(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<()> {
    let mut forgotten = vec![0; READ_CHUNK];
    while stream.read(&mut forgotten).await? != 0 {}
    Ok(())
}

async fn fill(stream: &mut TcpStream, input: &mut BytesMut) -> Result<(), LinkError> {
    input.reserve(READ_CHUNK);
    match stream.read_buf(input).await? {
        0 => Err(LinkError::Eof),
        _ => Ok(()),
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// An open link to a peer.
#[derive(Debug)]
pub struct PeerLink {
    reader: PeerReader,
    writer: PeerWriter,
}

impl PeerLink {
    fn new(stream: TcpStream, input: BytesMut, session: Session) -> Result<Self, LinkError> {
        let address = stream.peer_addr()?;
        let (stream, sink) = stream.into_split();
        let writer = writer::spawn(sink, session.outbound);
        Ok(Self {
            reader: PeerReader {
                stream,
                input,
                inbound: session.inbound,
                remote: session.remote,
                address,
                writer: writer.clone(),
                ended: None,
            },
            writer,
        })
    }

    /// Who is on the other end.
    pub fn remote(&self) -> &Arc<RemotePeer> {
        &self.reader.remote
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.reader.address
    }

    /// As [`PeerReader::recv`].
    pub async fn recv(&mut self) -> Result<Message, LinkError> {
        self.reader.recv().await
    }

    /// As [`PeerWriter::send`].
    pub async fn send(&self, code: u64, payload: impl Into<bytes::Bytes>) -> Result<(), SendError> {
        self.writer.send(code, payload).await
    }

    /// The two halves, for two tasks. The link stays open while either is
    /// held.
    pub fn split(self) -> (PeerReader, PeerWriter) {
        (self.reader, self.writer)
    }

    /// Sends what is queued and a Disconnect, and waits until the peer has
    /// closed too, for [`CLOSE_DEADLINE`] each.
    pub async fn close(mut self, reason: DisconnectReason) {
        self.writer.disconnect(reason);
        self.writer.ended().await;
        // Whether the peer closed in time is no error of ours.
        let _ = timeout(CLOSE_DEADLINE, drain(&mut self.reader.stream)).await;
    }
}

/// The half of a link that receives.
#[derive(Debug)]
pub struct PeerReader {
    stream: OwnedReadHalf,
    input: BytesMut,
    inbound: Inbound,
    remote: Arc<RemotePeer>,
    address: SocketAddr,
    writer: PeerWriter,
    ended: Option<LinkError>,
}

impl PeerReader {
    /// Who is on the other end.
    pub fn remote(&self) -> &Arc<RemotePeer> {
        &self.remote
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next message of a shared protocol. Pings are answered on the way.
    /// Fails when the link has ended, and from then on: the peer was told why,
    /// where the reference nodes would tell it. May be dropped while it waits.
    pub async fn recv(&mut self) -> Result<Message, LinkError> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        let outcome = self.next().await;
        if let Err(error) = &outcome {
            match error.reply() {
                Some(reason) => self.writer.disconnect(reason),
                None => self.writer.abort(),
            }
            self.ended = Some(error.clone());
        }
        outcome
    }

    async fn next(&mut self) -> Result<Message, LinkError> {
        // A full buffer would otherwise be served without ever yielding.
        tokio::task::coop::consume_budget().await;
        loop {
            match self.inbound.receive(&mut self.input, now())? {
                Some(Incoming::Message(message)) => return Ok(message),
                Some(Incoming::Ping) => self.writer.pong(),
                None => self.read().await?,
            }
        }
    }

    async fn read(&mut self) -> Result<(), LinkError> {
        if self.input.is_empty() && self.input.capacity() > KEPT_BUFFER {
            self.input = BytesMut::new();
        }
        self.input.reserve(READ_CHUNK);
        let silent_at = Instant::from_std(self.inbound.silent_at());
        // What has arrived is read before the time is judged.
        let read = timeout_at(silent_at, self.stream.read_buf(&mut self.input));
        tokio::select! {
            biased;
            read = read => match read {
                Err(_) => Err(SessionError::Silent.into()),
                Ok(Err(error)) => Err(error.into()),
                Ok(Ok(0)) => Err(LinkError::Eof),
                Ok(Ok(_)) => Ok(()),
            },
            error = self.writer.ended() => Err(error),
        }
    }
}
