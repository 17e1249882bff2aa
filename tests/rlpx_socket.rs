//! Links between two nodes on the loopback, and against peers that misbehave.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use gwa::rlpx::frame::{FrameDecoder, FrameEncoder};
use gwa::rlpx::handshake::{AuthSent, HandshakeError, HandshakeRandom, Step};
use gwa::rlpx::session::LocalNode;
use gwa::rlpx::socket::{self, LinkError, MAX_PAYLOAD, PeerLink, SendError};
use gwa::rlpx::{
    Capability, DisconnectReason, Enode, Hello, NodeKey, PeerReason, Protocol, SessionError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn node(seed: u8) -> Arc<LocalNode> {
    let shh = Protocol {
        capability: Capability::new("shh", 6),
        length: 128,
    };
    let key = NodeKey::from_secret_bytes(&[seed; 32]).unwrap();
    Arc::new(LocalNode::new(key, "test/v1", vec![shh], 0))
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Both ends of an open link.
async fn linked() -> (PeerLink, PeerLink) {
    let (listener, address) = listener().await;
    let enode = Enode::new(node(2).key().id(), address);
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        socket::accept(stream, &node(2)).await.unwrap()
    };
    let dialling = async { socket::connect(&enode, &node(1)).await.unwrap() };
    tokio::join!(dialling, accepting)
}

fn reason_of(error: &LinkError) -> PeerReason {
    match error {
        LinkError::Session(SessionError::Disconnected(reason)) => *reason,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn messages_cross_in_both_directions() {
    let (mut a, mut b) = linked().await;
    assert_eq!(a.remote().id, node(2).key().id());
    assert_eq!(b.remote().id, node(1).key().id());
    assert_eq!(b.remote().hello.client(), "test/v1");
    a.send(16, Bytes::from_static(b"one")).await.unwrap();
    a.send(143, Bytes::new()).await.unwrap();
    b.send(17, vec![7; 2_000_000]).await.unwrap();
    let one = b.recv().await.unwrap();
    assert_eq!((one.code, &one.payload[..]), (16, &b"one"[..]));
    let two = b.recv().await.unwrap();
    assert_eq!((two.code, &two.payload[..]), (143, &b""[..]));
    let large = a.recv().await.unwrap();
    assert_eq!(large.payload, vec![7; 2_000_000]);
}

#[tokio::test]
async fn both_ends_may_send_more_than_the_sockets_hold() {
    let (a, b) = linked().await;
    let flood = |link: PeerLink| async move {
        let (mut reader, writer) = link.split();
        let sending = async {
            for number in 0..200_u8 {
                writer.send(20, vec![number; 50_000]).await.unwrap();
            }
        };
        let receiving = async {
            for number in 0..200_u8 {
                let message = reader.recv().await.unwrap();
                assert_eq!(message.payload[..], [number; 50_000]);
            }
        };
        tokio::join!(sending, receiving);
        (reader, writer)
    };
    let _ends = tokio::join!(flood(a), flood(b));
}

#[tokio::test]
async fn a_receive_that_is_dropped_loses_nothing() {
    let (a, mut b) = linked().await;
    let sending = async {
        for number in 0..50_u8 {
            a.send(20, vec![number; 9_000]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let receiving = async {
        let mut received = 0_u8;
        while received < 50 {
            tokio::select! {
                biased;
                message = b.recv() => {
                    assert_eq!(message.unwrap().payload[..], [received; 9_000]);
                    received += 1;
                }
                () = tokio::task::yield_now() => {}
            }
        }
    };
    tokio::join!(sending, receiving);
}

#[tokio::test]
async fn the_reason_of_a_close_arrives_after_what_was_sent() {
    for reason in DisconnectReason::ALL {
        let (a, mut b) = linked().await;
        a.send(16, vec![1; 100_000]).await.unwrap();
        let closing = a.close(reason);
        let receiving = async {
            assert_eq!(b.recv().await.unwrap().payload.len(), 100_000);
            let error = b.recv().await.unwrap_err();
            assert_eq!(reason_of(&error), PeerReason::Known(reason));
            assert_eq!(error.peer_reason(), Some(PeerReason::Known(reason)));
            assert!(!error.is_peers_fault());
            let again = b.recv().await.unwrap_err();
            assert_eq!(reason_of(&again), PeerReason::Known(reason));
            drop(b);
        };
        tokio::join!(closing, receiving);
    }
}

#[tokio::test]
async fn dropping_a_link_tells_the_peer() {
    let (a, mut b) = linked().await;
    drop(a);
    let error = b.recv().await.unwrap_err();
    assert_eq!(
        reason_of(&error),
        PeerReason::Known(DisconnectReason::Requested)
    );
}

#[tokio::test]
async fn a_link_lives_while_either_half_is_held() {
    let (a, b) = linked().await;
    let (reader, writer) = a.split();
    drop(reader);
    writer.send(16, Bytes::from_static(b"x")).await.unwrap();
    let (mut reader, other_writer) = b.split();
    drop(other_writer);
    assert_eq!(reader.recv().await.unwrap().payload, "x");
    writer.disconnect(DisconnectReason::Quitting);
    let error = reader.recv().await.unwrap_err();
    assert_eq!(
        reason_of(&error),
        PeerReason::Known(DisconnectReason::Quitting)
    );
}

#[tokio::test]
async fn a_listener_with_another_key_cannot_answer() {
    let (listener, address) = listener().await;
    let enode = Enode::new(node(3).key().id(), address);
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        socket::accept(stream, &node(2)).await.unwrap_err()
    };
    let us = node(1);
    let (dialled, accepted) = tokio::join!(socket::connect(&enode, &us), accepting);
    assert!(matches!(
        dialled.unwrap_err(),
        LinkError::Eof | LinkError::Io(_)
    ));
    assert!(matches!(
        accepted,
        LinkError::Handshake(HandshakeError::Ecies(_))
    ));
    assert!(accepted.is_peers_fault());
}

/// The peer of a link by hand: a handshake as `seed`, then whatever comes.
struct RawPeer {
    stream: TcpStream,
    encoder: FrameEncoder,
    decoder: FrameDecoder,
    input: BytesMut,
}

impl RawPeer {
    async fn dial(address: SocketAddr, seed: u8, acceptor: u8) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (mut stage, auth) = AuthSent::start(
            node(seed).key(),
            node(acceptor).key().id(),
            HandshakeRandom::draw(),
        )
        .unwrap();
        stream.write_all(&auth).await.unwrap();
        let mut input = BytesMut::new();
        let established = loop {
            match stage.receive(&mut input).unwrap() {
                Step::Done(established) => break established,
                Step::NeedMore(same) => stage = same,
            }
            stream.read_buf(&mut input).await.unwrap();
        };
        let (encoder, decoder) = established.secrets.into_frames();
        Self {
            stream,
            encoder,
            decoder,
            input,
        }
    }

    async fn send(&mut self, code: u64, payload: &[u8]) {
        let mut out = BytesMut::new();
        self.encoder.encode(code, payload, &mut out).unwrap();
        self.stream.write_all(&out).await.unwrap();
    }

    async fn hello(&mut self, change: impl FnOnce(&mut Hello)) {
        let mut hello = node(1).hello().clone();
        change(&mut hello);
        self.send(0, &hello.encode()).await;
    }

    /// The next frame's code and payload; `None` at the end of the stream.
    async fn next(&mut self) -> Option<(u64, Bytes)> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.input).unwrap() {
                return Some((frame.code, frame.payload));
            }
            if self.stream.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// All frames up to the end of the stream.
    async fn all(mut self) -> Vec<(u64, Bytes)> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// The reason in the last frame, if that is a Disconnect.
    async fn last_words(self) -> Option<PeerReason> {
        let frames = self.all().await;
        for (code, payload) in &frames {
            let seventeen =
                *code == 1 && PeerReason::from_payload(payload) == PeerReason::Other(17);
            assert!(!seventeen, "reason 17 was sent");
        }
        let (code, payload) = frames.last()?;
        (*code == 1).then(|| PeerReason::from_payload(payload))
    }
}

#[tokio::test]
async fn hellos_that_do_not_fit_are_answered_with_their_reason() {
    type Change = fn(&mut Hello);
    let cases: [(Change, Option<DisconnectReason>); 6] = [
        (
            |hello| hello.id = node(3).key().id(),
            Some(DisconnectReason::UnexpectedIdentity),
        ),
        (
            |hello| hello.id.0 = [0; 64],
            Some(DisconnectReason::NullIdentity),
        ),
        (
            |hello| hello.capabilities.clear(),
            Some(DisconnectReason::UselessPeer),
        ),
        (
            |hello| hello.capabilities = vec![Capability::new("shh", 5)],
            Some(DisconnectReason::UselessPeer),
        ),
        (|hello| hello.name = vec![b'n'; 2_048], None),
        (|hello| hello.name = vec![b'n'; 100_000], None),
    ];
    for (change, expected) in cases {
        let (listener, address) = listener().await;
        let accepting = async {
            let (stream, _) = listener.accept().await.unwrap();
            socket::accept(stream, &node(2)).await.unwrap_err()
        };
        let peer = async {
            let mut peer = RawPeer::dial(address, 1, 2).await;
            peer.hello(change).await;
            // What a peer in a hurry sends behind its Hello must not keep the
            // reason from arriving.
            peer.send(16, &[0; 2_000]).await;
            peer.last_words().await
        };
        let (error, heard) = tokio::join!(accepting, peer);
        assert!(error.is_peers_fault(), "{error}");
        assert_eq!(heard, expected.map(PeerReason::Known), "{error}");
    }
}

#[tokio::test]
async fn a_node_that_dials_itself_is_told_so() {
    let (listener, address) = listener().await;
    let enode = Enode::new(node(2).key().id(), address);
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        socket::accept(stream, &node(2)).await.unwrap_err()
    };
    let us = node(2);
    let (dialled, accepted) = tokio::join!(socket::connect(&enode, &us), accepting);
    for error in [dialled.unwrap_err(), accepted] {
        assert!(matches!(
            error,
            LinkError::Session(SessionError::ToSelf | SessionError::Disconnected(_))
        ));
        assert!(!error.is_peers_fault());
    }
}

/// An accepted link, and its peer by hand.
async fn against_raw_peer() -> (PeerLink, RawPeer) {
    let (listener, address) = listener().await;
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        socket::accept(stream, &node(2)).await.unwrap()
    };
    let peer = async {
        let mut peer = RawPeer::dial(address, 1, 2).await;
        peer.hello(|_| {}).await;
        peer
    };
    tokio::join!(accepting, peer)
}

#[tokio::test]
async fn pings_are_answered() {
    let (mut link, mut peer) = against_raw_peer().await;
    assert_eq!(peer.next().await.unwrap().0, 0);
    let pinging = async {
        for _ in 0..3 {
            // The payload is a compressed empty list.
            peer.send(2, &[1, 0, 0xc0]).await;
            let pong = (3, Bytes::from_static(&[1, 0, 0xc0]));
            assert_eq!(peer.next().await, Some(pong));
        }
        peer.send(16, &[1, 0, 0x01]).await;
    };
    let (message, ()) = tokio::join!(link.recv(), pinging);
    assert_eq!(message.unwrap().payload[..], [1]);
}

#[tokio::test]
async fn a_bad_frame_closes_the_connection_without_a_word() {
    let (mut link, mut peer) = against_raw_peer().await;
    let mut out = BytesMut::new();
    peer.encoder.encode(16, &[0; 100], &mut out).unwrap();
    out[40] ^= 1;
    peer.stream.write_all(&out).await.unwrap();
    let error = link.recv().await.unwrap_err();
    assert!(matches!(error, LinkError::Session(SessionError::Frame(_))));
    assert!(error.is_peers_fault());
    drop(link);
    assert_eq!(peer.last_words().await, None);
}

#[tokio::test]
async fn a_peer_that_leaves_is_noticed_by_both_halves() {
    let (link, peer) = against_raw_peer().await;
    drop(peer);
    let (mut reader, writer) = link.split();
    let error = reader.recv().await.unwrap_err();
    assert!(
        matches!(error, LinkError::Eof | LinkError::Io(_)),
        "{error}"
    );
    writer.ended().await;
    assert!(matches!(
        writer.send(16, Bytes::new()).await,
        Err(SendError::Ended(_))
    ));
}

#[tokio::test]
async fn a_payload_too_large_is_refused_at_once() {
    let (link, _peer) = against_raw_peer().await;
    let len = MAX_PAYLOAD + 1;
    assert!(matches!(
        link.send(16, vec![0; len]).await,
        Err(SendError::TooLarge { len: seen }) if seen == len
    ));
}

// Below, time is paused: it jumps to the next deadline once nothing else is to
// be done. Connections are made before, because time does not wait for sockets.

#[tokio::test]
async fn a_silent_stranger_is_given_5_seconds() {
    let (listener, address) = listener().await;
    let silent = TcpStream::connect(address).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let error = socket::accept(stream, &node(2)).await.unwrap_err();
    assert!(matches!(error, LinkError::HandshakeTimeout), "{error}");
    assert_eq!(start.elapsed().as_secs(), 5);
    drop(silent);
}

#[tokio::test]
async fn a_stranger_that_stops_after_half_a_packet_is_given_5_seconds() {
    let (listener, address) = listener().await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    let (_, auth) =
        AuthSent::start(node(1).key(), node(2).key().id(), HandshakeRandom::draw()).unwrap();
    slow.write_all(&auth[..100]).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    tokio::time::pause();
    let error = socket::accept(stream, &node(2)).await.unwrap_err();
    assert!(matches!(error, LinkError::HandshakeTimeout), "{error}");
}

#[tokio::test]
async fn a_peer_silent_for_30_seconds_is_dropped_and_told_why() {
    let (mut link, peer) = against_raw_peer().await;
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let error = link.recv().await.unwrap_err();
    assert!(
        matches!(error, LinkError::Session(SessionError::Silent)),
        "{error}"
    );
    assert!((29..=30).contains(&start.elapsed().as_secs()));
    tokio::time::resume();
    let frames = peer.all();
    let (frames, ()) = tokio::join!(frames, async { drop(link) });
    let codes: Vec<_> = frames.iter().map(|(code, _)| *code).collect();
    assert_eq!(
        codes,
        [0, 2, 1],
        "a Hello, a Ping in the middle, the reason"
    );
    assert_eq!(
        PeerReason::from_payload(&frames[2].1),
        PeerReason::Known(DisconnectReason::ReadTimeout)
    );
}

#[tokio::test]
async fn a_peer_that_takes_no_bytes_holds_a_bounded_amount_and_is_dropped() {
    let (link, peer) = against_raw_peer().await;
    let (_reader, writer) = link.split();
    let payload = Bytes::from(incompressible(60_000));
    tokio::time::pause();
    let mut queued = 0;
    let error = loop {
        match writer.send(16, payload.clone()).await {
            Ok(()) => queued += payload.len(),
            Err(SendError::Ended(error)) => break error,
            Err(error) => panic!("{error}"),
        }
        // Far above what the sockets of any system hold.
        assert!(queued < 256 << 20);
    };
    assert!(matches!(error, LinkError::WriteTimeout), "{error}");
    assert!(!error.is_peers_fault());
    assert!(matches!(writer.ended().await, LinkError::WriteTimeout));
    assert!(matches!(
        writer.try_send(16, payload),
        Err(SendError::Ended(LinkError::WriteTimeout))
    ));
    drop(peer);
}

#[tokio::test]
async fn trying_to_send_never_waits() {
    let (link, peer) = against_raw_peer().await;
    let (_reader, writer) = link.split();
    // The writing task cannot run in between, so that only the budget counts.
    let payload = Bytes::from(incompressible(300_000));
    for _ in 0..3 {
        writer.try_send(16, payload.clone()).unwrap();
    }
    let full = writer.try_send(16, payload);
    assert!(matches!(full, Err(SendError::Full)));
    drop(peer);
}

/// Bytes that do not compress.
fn incompressible(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}
