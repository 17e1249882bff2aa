//! A peer made for pushing: what it sends is framed, encrypted and signed before
//! the clock starts, so that only the receiver's work is measured.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use gwa::rlpx::handshake::{AuthSent, HandshakeRandom, Step};
use gwa::rlpx::session::{HelloSent, Inbound, Incoming, LocalNode, Message, Outbound};
use gwa::rlpx::{DisconnectReason, Enode, NodeKey};
use gwa::whisper::Envelope;
use gwa::whisper::node::protocol;
use gwa::whisper::packet::{Packet, code};
use gwa::whisper::pow::Pow;
use gwa::whisper::status::Status;

/// Code of the first Whisper message on a link that shares nothing else.
const OFFSET: u64 = 16;

/// Bytes asked of the socket at a time.
const READ: usize = 64 << 10;

/// A connected peer.
pub struct Wire {
    stream: TcpStream,
    outbound: Outbound,
    incoming: Receiving,
}

/// The receiving half.
pub struct Receiving {
    stream: TcpStream,
    inbound: Inbound,
    input: BytesMut,
}

impl Wire {
    /// Connects and introduces itself as one that wants everything.
    pub fn dial(enode: &Enode) -> Self {
        let local = Arc::new(LocalNode::new(
            NodeKey::generate(),
            "bench/v1",
            vec![protocol()],
            0,
        ));
        let mut stream = TcpStream::connect(enode.tcp_address()).expect("it listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let mut input = BytesMut::new();
        let (mut stage, auth) = AuthSent::start(local.key(), enode.id, HandshakeRandom::draw())
            .expect("a node's id is a public key");
        stream.write_all(&auth).expect("connected");
        let established = loop {
            match stage.receive(&mut input).expect("an ack") {
                Step::Done(established) => break established,
                Step::NeedMore(same) => stage = same,
            }
            fill(&mut stream, &mut input);
        };
        let (mut stage, hello) = HelloSent::start(established, local);
        stream.write_all(&hello).expect("connected");
        let session = loop {
            match stage.receive(&mut input, Instant::now()) {
                Ok(Step::Done(session)) => break session,
                Ok(Step::NeedMore(same)) => stage = same,
                Err(refused) => panic!("{}", refused.error),
            }
            fill(&mut stream, &mut input);
        };
        let mut wire = Self {
            incoming: Receiving {
                stream: stream.try_clone().expect("a socket can be shared"),
                inbound: session.inbound,
                input,
            },
            stream,
            outbound: session.outbound,
        };
        let mut status = BytesMut::new();
        let hello = Packet::Status(Status {
            pow: Pow::ZERO,
            bloom: None,
            light: false,
            confirmations: Some(true),
        });
        wire.frame(hello.code(), &hello.encode(), &mut status);
        wire.stream.write_all(&status).expect("connected");
        while wire.incoming.packet().map(|message| message.code) != Some(OFFSET) {}
        wire
    }

    fn frame(&mut self, code: u8, payload: &[u8], out: &mut BytesMut) {
        self.outbound
            .message(OFFSET + u64::from(code), payload, out)
            .expect("it fits a frame");
    }

    /// Batches as they will be written.
    pub fn prepare(&mut self, batches: &[&[Envelope]]) -> Bytes {
        let mut out = BytesMut::new();
        for batch in batches {
            let packet = Packet::Messages(batch.to_vec());
            self.frame(code::MESSAGES, &packet.encode(), &mut out);
        }
        out.freeze()
    }

    /// A farewell, to be written behind all else.
    pub fn farewell(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        self.outbound
            .disconnect(DisconnectReason::Quitting, &mut out);
        out.freeze()
    }

    /// Both halves of the connection.
    pub fn split(self) -> (TcpStream, Receiving) {
        (self.stream, self.incoming)
    }
}

impl Receiving {
    /// The next packet; `None` for a ping.
    fn packet(&mut self) -> Option<Message> {
        loop {
            let received = self.inbound.receive(&mut self.input, Instant::now());
            match received.expect("the node goes on") {
                Some(Incoming::Message(message)) => return Some(message),
                Some(Incoming::Ping) => return None,
                None => fill(&mut self.stream, &mut self.input),
            }
        }
    }

    /// Waits until so many batches are acknowledged.
    pub fn acknowledged(&mut self, batches: usize) {
        let mut left = batches;
        while left > 0 {
            let message = self.packet();
            let ack = OFFSET + u64::from(code::BATCH_ACKNOWLEDGED);
            left -= usize::from(message.is_some_and(|message| message.code == ack));
        }
    }

    /// Reads and forgets what comes, until the connection ends.
    pub fn drain(&mut self) {
        let mut buffer = vec![0; READ];
        while self.stream.read(&mut buffer).is_ok_and(|len| len > 0) {}
    }
}

fn fill(stream: &mut TcpStream, input: &mut BytesMut) {
    let mut buffer = [0; 16 << 10];
    let len = stream.read(&mut buffer).expect("the node answers");
    assert!(len > 0, "the node hung up");
    input.extend_from_slice(&buffer[..len]);
}
