//! What fuzz targets call: one function for each decoder of foreign bytes.
//!
//! Always true: a function takes any bytes and returns; it panics where a law
//! is broken, such as that what decodes re-encodes to the same bytes.
//!
//! `fuzz/fuzz_targets` hands these to libFuzzer, `tests/fuzz_smoke.rs` runs
//! them on a stable toolchain. A new decoder gets a function here, a target
//! there and a line in the table of the test.

mod api;
mod archive;
mod gateway;
mod import;
mod kubo;
mod p2p;
mod publish;
mod reading;
mod reconcile;
mod swarm;
mod whisper;

use std::fmt::Debug;

use bytes::BytesMut;
use keccak_asm::{Digest, Keccak256};
use secp256k1::SecretKey;

use crate::blocks::car::{CarReader, write_car};
use crate::blocks::catalogue::Catalogue;
use crate::discovery::packet::{MAX_PACKET, Packet};
use crate::journal::{Found, salvage_bytes};
use crate::keccak::keccak256;
use crate::rlpx::capability::{BASE_LENGTH, shared_protocols};
use crate::rlpx::ecies::EciesRandom;
use crate::rlpx::frame::{FrameDecoder, FrameEncoder};
use crate::rlpx::handshake::{
    AckBody, AuthBody, AuthSent, AwaitingAuth, Format, HandshakeRandom, Step,
};
use crate::rlpx::signature;
use crate::rlpx::snappy::{self, MAX_MESSAGE};
use crate::rlpx::{Capability, Hello, NodeKey, PeerReason, Protocol};

pub use api::{api_message, rpc_arguments};
pub use archive::{
    archive_calendar_node, archive_head, archive_leaf, archive_pack, archive_topic_node,
};
pub use gateway::{gateway_denylist, gateway_request};
pub use import::{import_json, import_leveldb, import_stream};
pub use kubo::kubo_holding;
pub use p2p::bitswap_message;
pub use publish::{announcement, ipns_path, ipns_record, share};
pub use reading::reading_payload;
pub use reconcile::{archive_position, gwa_frame, gwa_message};
pub use swarm::{swarm_folder, swarm_index};
pub use whisper::{
    mail_completion, mail_request, mail_sync, whisper_envelope, whisper_message, whisper_packet,
    whisper_status,
};

/// The recipient's secret key of the first vector in `fixtures/wire/rlpx.json`,
/// so that its auth packet is a seed that decrypts.
const RECIPIENT: &str = "e8a72e1d635b5f28b4d012f0408d4c239b800306d6094ca89392804f1a6a665c";
/// The initiator's secret key of that vector, for its ack packet.
const INITIATOR: &str = "8ca250692e7548c10f4feb2fa63821a95034bf9a559d56b3af6b603e120155b3";

/// Type and list of a datagram of discovery, signed here so that they are read:
/// what reads is written again, if not the same, for junk is allowed, then to
/// what reads the same.
pub fn discovery_packet(data: &[u8]) {
    let key = key(RECIPIENT);
    let signature = signature::sign(key.secret(), keccak256(data));
    let signed = [&signature[..], data].concat();
    let datagram = [&keccak256(&signed)[..], &signed].concat();
    let Ok(received) = Packet::decode(&datagram) else {
        return;
    };
    let (again, hash) = received.packet.encode(key.secret());
    if again.len() > MAX_PACKET {
        return;
    }
    let reread = Packet::decode(&again).expect("what was written reads");
    assert_eq!((reread.packet, reread.hash), (received.packet, hash));
}

/// A responder reads a handshake packet, and a decrypted body.
pub fn rlpx_auth(data: &[u8]) {
    let outcome = |cut: usize| {
        let responder = AwaitingAuth::new(&key(RECIPIENT), fixed_random());
        in_two_pieces(data, cut, responder, AwaitingAuth::receive, |answered| {
            answered.auth
        })
    };
    assert_eq!(outcome(0), outcome(data.len() / 2), "depends on the cut");

    for format in [Format::Eip8, Format::Legacy] {
        let Ok(body) = AuthBody::decode(format, data) else {
            continue;
        };
        match format {
            Format::Eip8 if body.extra_fields == 0 => assert!(data.starts_with(&body.encode())),
            Format::Eip8 => {}
            Format::Legacy => assert_eq!(&data[..65], body.signature),
        }
    }
}

/// An initiator reads a handshake packet, and a decrypted body.
pub fn rlpx_ack(data: &[u8]) {
    let remote = key(RECIPIENT).id();
    let outcome = |cut: usize| {
        let (initiator, _) = AuthSent::start(&key(INITIATOR), remote, fixed_random())
            .expect("the recipient's id is a public key");
        in_two_pieces(data, cut, initiator, AuthSent::receive, |established| {
            established.remote
        })
    };
    assert_eq!(outcome(0), outcome(data.len() / 2), "depends on the cut");

    for format in [Format::Eip8, Format::Legacy] {
        let Ok(body) = AckBody::decode(format, data) else {
            continue;
        };
        match format {
            Format::Eip8 if body.extra_fields > 0 => {}
            Format::Eip8 => assert!(data.starts_with(&body.encode(format))),
            // The last byte is a flag that nobody reads.
            Format::Legacy => assert_eq!(data[..96], body.encode(format)[..96]),
        }
    }
}

/// A frame whose tags match holds any body; and any bytes as a frame.
pub fn rlpx_frame(data: &[u8]) {
    let (mut encoder, mut decoder) = frames();
    let mut wire = BytesMut::new();
    encoder.seal(data.len(), &mut wire, |out| out.extend_from_slice(data));
    let rest = wire.split_off(wire.len() / 2);
    let mut outcome = decoder.decode(&mut wire);
    wire.unsplit(rest);
    if outcome == Ok(None) {
        outcome = decoder.decode(&mut wire);
    }
    if let Ok(frame) = outcome {
        let frame = frame.expect("the frame has fully arrived");
        assert!(wire.is_empty());
        let mut body = alloy_rlp::encode(frame.code);
        body.extend_from_slice(&frame.payload);
        assert_eq!(body, data);
        if let Ok(plain) = snappy::decompress(&frame.payload) {
            assert!(plain.len() <= MAX_MESSAGE);
        }
    }

    let (_, mut decoder) = frames();
    let forged = decoder.decode(&mut BytesMut::from(data));
    assert!(!matches!(forged, Ok(Some(_))), "a forged frame passed");
}

/// The payloads of Hello and Disconnect.
pub fn rlpx_hello(data: &[u8]) {
    if let Ok(hello) = Hello::decode(data) {
        if hello.extra_fields == 0 {
            assert!(data.starts_with(&hello.encode()));
        }
        assert!(
            hello
                .client()
                .bytes()
                .all(|byte| (b' '..=b'~').contains(&byte))
        );
        let ours =
            [("shh", 6, 128), ("eth", 62, 8), ("eth", 63, 17)].map(|(name, version, length)| {
                Protocol {
                    capability: Capability::new(name, version),
                    length,
                }
            });
        let mut next = BASE_LENGTH;
        for shared in shared_protocols(&ours, &hello.capabilities) {
            assert_eq!(shared.offset, next);
            assert!(hello.capabilities.contains(&shared.capability));
            next += shared.length;
        }
    }
    if let PeerReason::Known(reason) = PeerReason::from_payload(data) {
        assert_eq!(
            PeerReason::from_payload(&reason.payload()),
            PeerReason::Known(reason)
        );
    }
}

/// A CAR from anywhere.
pub fn car(data: &[u8]) {
    let Ok(reader) = CarReader::new(data) else {
        return;
    };
    let roots = reader.roots().to_vec();
    let blocks: Vec<_> = reader.collect();
    // Every block costs 37 bytes at least; what is none, two.
    let whole = blocks.iter().filter(|block| block.is_ok()).count();
    assert!(whole <= data.len() / 37 && blocks.len() <= data.len() / 2);
    let Ok(blocks) = blocks.into_iter().collect::<Result<Vec<_>, _>>() else {
        return;
    };
    let mut again = Vec::new();
    if let [root] = roots[..]
        && write_car(&mut again, &root, blocks.into_iter().map(Ok)).is_ok()
    {
        assert_eq!(again, data);
    }
}

/// A catalogue of the blocks of a folder.
pub fn catalogue(data: &[u8]) {
    if let Ok(catalogue) = Catalogue::decode(data) {
        assert_eq!(catalogue.encode(), data);
    }
}

/// A file of the journal, read around its damage.
pub fn journal_record(data: &[u8]) {
    let len = data.len() as u64;
    let mut end = 0;
    salvage_bytes(data.to_vec().into(), |found| {
        let (offset, bytes) = match &found {
            Found::Record(entry) => {
                let at = entry.location;
                let from = usize::try_from(at.offset).expect("within the data") + 8;
                assert_eq!(entry.bytes, data[from..from + at.len as usize]);
                (at.offset, 8 + u64::from(at.len))
            }
            Found::Damage { offset, bytes, .. } => (*offset, *bytes),
        };
        // In order and apart; what lies between are a header and seams.
        assert!(offset >= end && (offset - end).is_multiple_of(16));
        end = offset + bytes;
        assert!(end <= len);
    });
    assert!((len - end).is_multiple_of(16));
}

/// What a handshake stage makes of `data`, given to it in two pieces; the
/// result that counts is `keep` of what it becomes.
fn in_two_pieces<Stage: Debug, Next, Kept: Debug, Error: Debug>(
    data: &[u8],
    cut: usize,
    stage: Stage,
    receive: impl Fn(Stage, &mut BytesMut) -> Result<Step<Stage, Next>, Error>,
    keep: impl Fn(Next) -> Kept,
) -> String {
    let mut input = BytesMut::from(&data[..cut]);
    let step = match receive(stage, &mut input) {
        Ok(Step::NeedMore(stage)) => {
            input.extend_from_slice(&data[cut..]);
            receive(stage, &mut input)
        }
        done => {
            input.extend_from_slice(&data[cut..]);
            done
        }
    };
    match step {
        Ok(Step::NeedMore(_)) => "incomplete".to_owned(),
        Ok(Step::Done(next)) => format!("{:?}, {} left", keep(next), input.len()),
        Err(error) => format!("{error:?}"),
    }
}

fn key(hex: &str) -> NodeKey {
    hex.parse().expect("a fixed key")
}

/// No randomness: a failing input fails again.
fn fixed_random() -> HandshakeRandom {
    let secret = |byte| SecretKey::from_secret_bytes([byte; 32]).expect("a fixed key");
    HandshakeRandom {
        ephemeral: secret(0x66),
        nonce: [0x88; 32],
        ecies: EciesRandom {
            ephemeral: secret(0x44),
            iv: [0x55; 16],
        },
        padding: 100,
    }
}

fn frames() -> (FrameEncoder, FrameDecoder) {
    (
        FrameEncoder::new(&[1; 32], &[2; 32], Keccak256::new()),
        FrameDecoder::new(&[1; 32], &[2; 32], Keccak256::new()),
    )
}
