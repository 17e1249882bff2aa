//! What the encrypted link costs, beside the Keccak-256 that bounds it: each
//! direction hashes every byte once, and three permutations more per frame.

use std::time::Instant;

use bytes::BytesMut;
use divan::Bencher;
use divan::counter::BytesCount;
use gwa::keccak::keccak256;
use gwa::rlpx::frame::{FrameDecoder, FrameEncoder};
use gwa::rlpx::handshake::{AuthSent, AwaitingAuth, Established, HandshakeRandom, Step};
use gwa::rlpx::session::{HelloSent, Incoming, LocalNode, Session};
use gwa::rlpx::{Capability, NodeKey, Protocol};

fn main() {
    divan::main();
}

/// An envelope, and the largest packet of Whisper.
const SIZES: [usize; 2] = [300, 1 << 20];

/// The baseline: the same bytes, hashed once.
#[divan::bench(args = SIZES)]
fn keccak(bencher: Bencher<'_, '_>, size: usize) {
    let payload = incompressible(size);
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| keccak256(&payload));
}

/// One direction: encrypt and sign.
#[divan::bench(args = SIZES)]
fn encode(bencher: Bencher<'_, '_>, size: usize) {
    let payload = incompressible(size);
    let (mut encoder, _) = frames();
    let mut wire = BytesMut::new();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        wire.clear();
        encoder
            .encode(17, &payload, &mut wire)
            .expect("it fits a frame");
    });
}

/// Both directions: encrypt and sign, check and decrypt. Hashes twice.
#[divan::bench(args = SIZES)]
fn encode_and_decode(bencher: Bencher<'_, '_>, size: usize) {
    let payload = incompressible(size);
    let (mut encoder, mut decoder) = frames();
    let mut wire = BytesMut::new();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        encoder
            .encode(17, &payload, &mut wire)
            .expect("it fits a frame");
        decoder.decode(&mut wire).expect("it is untouched")
    });
}

/// As above, compressed and with message codes checked, as a session does.
#[divan::bench(args = SIZES)]
fn session(bencher: Bencher<'_, '_>, size: usize) {
    let payload = incompressible(size);
    let (mut ours, mut theirs) = sessions();
    let mut wire = BytesMut::new();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        ours.outbound
            .message(17, &payload, &mut wire)
            .expect("it fits a frame");
        let incoming = theirs.inbound.receive(&mut wire, Instant::now());
        let Ok(Some(Incoming::Message(message))) = incoming else {
            panic!("the message arrives")
        };
        message
    });
}

/// Both sides of a handshake: 5 ECDH, 1 signature, 1 recovery, 2 new keys.
#[divan::bench]
fn handshake() -> (Established, Established) {
    let (ours, theirs) = (node(1), node(2));
    handshake_of(&ours, &theirs)
}

fn handshake_of(ours: &LocalNode, theirs: &LocalNode) -> (Established, Established) {
    let (initiator, auth) = AuthSent::start(ours.key(), theirs.key().id(), HandshakeRandom::draw())
        .expect("a node's id is a public key");
    let responder = AwaitingAuth::new(theirs.key(), HandshakeRandom::draw());
    let Ok(Step::Done(answered)) = responder.receive(&mut BytesMut::from(&auth[..])) else {
        panic!("the auth is complete")
    };
    let Ok(Step::Done(established)) = initiator.receive(&mut BytesMut::from(&answered.ack[..]))
    else {
        panic!("the ack is complete")
    };
    (established, answered.established)
}

fn frames() -> (FrameEncoder, FrameDecoder) {
    let (ours, theirs) = handshake_of(&node(1), &node(2));
    let (encoder, _) = ours.secrets.into_frames();
    let (_, decoder) = theirs.secrets.into_frames();
    (encoder, decoder)
}

fn sessions() -> (Session, Session) {
    let (ours, theirs) = (node(1), node(2));
    let (link_ours, link_theirs) = handshake_of(&ours, &theirs);
    let (ours, our_hello) = HelloSent::start(link_ours, ours.into());
    let (theirs, their_hello) = HelloSent::start(link_theirs, theirs.into());
    let finish = |stage: HelloSent, hello: &[u8]| {
        let Ok(Step::Done(session)) = stage.receive(&mut BytesMut::from(hello), Instant::now())
        else {
            panic!("the Hello is complete")
        };
        session
    };
    (finish(ours, &their_hello), finish(theirs, &our_hello))
}

fn node(seed: u8) -> LocalNode {
    let key = NodeKey::from_secret_bytes(&[seed; 32]).expect("a fixed key");
    let shh = Protocol {
        capability: Capability::new("shh", 6),
        length: 128,
    };
    LocalNode::new(key, "bench/v1", vec![shh], 0)
}

/// Bytes as envelopes hold them: ciphertext.
fn incompressible(len: usize) -> Vec<u8> {
    let mut block = [0; 32];
    let mut bytes = Vec::with_capacity(len + block.len());
    while bytes.len() < len {
        block = keccak256(block);
        bytes.extend_from_slice(&block);
    }
    bytes.truncate(len);
    bytes
}
