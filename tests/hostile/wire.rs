//! Peers by hand: on TCP alone, on frames, on packets.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gwa::mailserver::response::Completion;
use gwa::rlpx::frame::{FrameDecoder, FrameEncoder};
use gwa::rlpx::handshake::{AuthSent, HandshakeRandom, Step};
use gwa::rlpx::session::LocalNode;
use gwa::rlpx::socket::{LinkError, PeerLink, connect};
use gwa::rlpx::{Hello, NodeKey, PeerReason};
use gwa::whisper::packet::{Packet, code};
use gwa::whisper::status::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::Reaction;
use crate::world::{World, open_request, payload_of, soon, stranger};

/// Where Whisper's codes begin on the wire.
pub const OFFSET: u64 = 16;

/// A peer on bare TCP.
pub struct Tcp(pub TcpStream);

impl Tcp {
    pub async fn dial(world: &World) -> Self {
        Self(TcpStream::connect(world.address()).await.unwrap())
    }

    /// Sends what the server takes of it: it may close at any byte.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// Sends a byte at a time for as long as the server listens.
    pub async fn drip(&mut self, bytes: &[u8], pause: Duration) {
        for byte in bytes {
            if self.0.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(pause).await;
        }
    }

    /// Says that nothing more comes.
    pub async fn half_close(&mut self) {
        let _ = self.0.shutdown().await;
    }

    /// Ends the connection in the rudest way.
    pub fn reset(self) -> Reaction {
        self.0.set_zero_linger().unwrap();
        Reaction::Gone
    }

    /// Reads to the end; whatever comes is not to be understood.
    pub async fn closed(mut self) -> Reaction {
        let mut forgotten = Vec::new();
        let _ = soon(self.0.read_to_end(&mut forgotten)).await;
        Reaction::Closed
    }
}

/// Bytes, then the end.
pub async fn after_bytes(world: Arc<World>, bytes: Vec<u8>) -> Reaction {
    let mut tcp = Tcp::dial(&world).await;
    tcp.write(&bytes).await;
    tcp.closed().await
}

/// Bytes, half of the connection closed, then the end.
pub async fn after_the_last_bytes(world: Arc<World>, bytes: Vec<u8>) -> Reaction {
    let mut tcp = Tcp::dial(&world).await;
    tcp.write(&bytes).await;
    tcp.half_close().await;
    tcp.closed().await
}

/// A peer past the RLPx handshake, speaking frames.
pub struct Framed {
    pub tcp: Tcp,
    pub encoder: FrameEncoder,
    decoder: FrameDecoder,
    input: BytesMut,
    pub hello: Hello,
}

impl Framed {
    /// As a node nobody knows.
    pub async fn dial(world: &World) -> Self {
        Self::dial_as(world, &stranger()).await
    }

    pub async fn dial_as(world: &World, node: &LocalNode) -> Self {
        let mut tcp = Tcp::dial(world).await;
        let random = HandshakeRandom::draw();
        let (mut stage, auth) = AuthSent::start(node.key(), world.id(), random).unwrap();
        tcp.write(&auth).await;
        let mut input = BytesMut::new();
        let established = loop {
            match stage.receive(&mut input).unwrap() {
                Step::Done(established) => break established,
                Step::NeedMore(same) => stage = same,
            }
            let read = soon(tcp.0.read_buf(&mut input)).await.unwrap();
            assert_ne!(read, 0, "the server refuses a good handshake");
        };
        let (encoder, decoder) = established.secrets.into_frames();
        Self {
            tcp,
            encoder,
            decoder,
            input,
            hello: node.hello().clone(),
        }
    }

    /// Past a good Hello.
    pub async fn greeted(world: &World) -> Self {
        let mut framed = Self::dial(world).await;
        let hello = framed.hello.encode();
        framed.send(0, &hello).await;
        framed
    }

    /// The bytes of a frame.
    pub fn frame(&mut self, code: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        self.encoder.encode(code, payload, &mut out).unwrap();
        out.to_vec()
    }

    pub async fn send(&mut self, code: u64, payload: &[u8]) {
        let frame = self.frame(code, payload);
        self.tcp.write(&frame).await;
    }

    /// What the server ends this with.
    pub async fn end(mut self) -> Reaction {
        let mut last = Reaction::Closed;
        loop {
            match self.decoder.decode(&mut self.input).unwrap() {
                Some(frame) if frame.code == 1 => {
                    let PeerReason::Known(reason) = PeerReason::from_payload(&frame.payload) else {
                        panic!("a reason that geth does not know");
                    };
                    last = Reaction::Told(reason);
                }
                Some(_) => {}
                None => match soon(self.tcp.0.read_buf(&mut self.input)).await {
                    Ok(0) | Err(_) => return last,
                    Ok(_) => {}
                },
            }
        }
    }
}

/// A peer that speaks packets.
pub struct Packets(pub PeerLink);

impl Packets {
    /// Connected, nothing said yet.
    pub async fn connect(world: &World) -> Self {
        Self::connect_as(world, NodeKey::generate()).await
    }

    pub async fn connect_as(world: &World, key: NodeKey) -> Self {
        let node = crate::world::node_of(key);
        Self(soon(connect(&world.enode(), &node)).await.unwrap())
    }

    /// Past the exchange of statuses.
    pub async fn ready(world: &World) -> Self {
        let peer = Self::connect(world).await;
        peer.introduce().await;
        peer
    }

    pub async fn introduce(&self) {
        let status = Packet::Status(Status::default()).encode();
        self.send(code::STATUS, status).await;
    }

    /// Sends a packet, if the server still listens.
    pub async fn send(&self, code: u8, payload: impl Into<Bytes>) -> bool {
        let wire = OFFSET + u64::from(code);
        soon(self.0.send(wire, payload)).await.is_ok()
    }

    pub async fn next(&mut self) -> Result<(u8, Bytes), Reaction> {
        match soon(self.0.recv()).await {
            Ok(message) => {
                let code = u8::try_from(message.code - OFFSET).unwrap();
                Ok((code, message.payload))
            }
            Err(error) => Err(ended(&error)),
        }
    }

    /// Asks for mail and waits for the answer: what was sent before was ignored
    /// if it comes.
    pub async fn ignored(mut self) -> Reaction {
        let probe = open_request(0xee);
        self.send(code::REQUEST, payload_of(probe)).await;
        match self.answer([0xee; 32]).await {
            Reaction::Served => Reaction::Ignored,
            other => other,
        }
    }

    /// How the request `id` is answered.
    pub async fn answer(&mut self, id: [u8; 32]) -> Reaction {
        loop {
            let (code, payload) = match self.next().await {
                Ok(packet) => packet,
                Err(ended) => return ended,
            };
            if code != code::REQUEST_COMPLETE {
                continue;
            }
            let Ok(Packet::RequestComplete(completion)) = Packet::decode(code, &payload) else {
                panic!("a completion that does not read");
            };
            let completion = Completion::decode(&completion).unwrap();
            if completion.request().0 == id {
                return match completion {
                    Completion::Done { .. } => Reaction::Served,
                    Completion::Failed { message, .. } => Reaction::Failed(message),
                };
            }
        }
    }
}

/// What an ended link says of the other side.
pub fn ended(error: &LinkError) -> Reaction {
    match error.peer_reason() {
        Some(PeerReason::Known(reason)) => Reaction::Told(reason),
        Some(other) => panic!("the server said {other}"),
        None => Reaction::Closed,
    }
}
