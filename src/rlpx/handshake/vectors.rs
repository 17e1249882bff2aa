//! The recorded handshakes of geth, walked field by field.

use bytes::{Bytes, BytesMut};
use secp256k1::SecretKey;
use serde::Deserialize;

use super::auth::{AuthBody, LEGACY_AUTH_PACKET};
use super::packet::PacketReader;
use super::secrets::Transcript;
use super::*;
use crate::rlpx::ecies::shared_secret;
use crate::rlpx::frame::FrameError;
use crate::rlpx::snappy::{Compressor, decompress};
use crate::rlpx::{NodeKey, signature};

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
    bad_auth: Vec<BadAuth>,
    bad_frames: Vec<BadFrame>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    format: String,
    initiator_static_private: Hex,
    initiator_static_public: Hex,
    recipient_static_private: Hex,
    recipient_static_public: Hex,
    initiator_ephemeral_private: Hex,
    initiator_ephemeral_public: Hex,
    recipient_ephemeral_private: Hex,
    recipient_ephemeral_public: Hex,
    initiator_nonce: Hex,
    recipient_nonce: Hex,
    static_shared_secret: Hex,
    signature: Hex,
    auth: Hex,
    auth_plaintext: Hex,
    ack: Hex,
    ack_plaintext: Hex,
    auth_version: u64,
    ack_version: u64,
    auth_extra_fields: usize,
    ack_extra_fields: usize,
    ephemeral_shared_secret: Hex,
    aes_secret: Hex,
    mac_secret: Hex,
    initiator_egress_mac_digest: Hex,
    initiator_ingress_mac_digest: Hex,
    frames: Vec<FrameVector>,
}

#[derive(Deserialize)]
struct FrameVector {
    note: String,
    direction: String,
    snappy: bool,
    code: u64,
    payload: Hex,
    compressed: Option<Hex>,
    frame: Hex,
    egress_mac_digest_after: Hex,
}

#[derive(Deserialize)]
struct BadAuth {
    name: String,
    recipient_static_private: Hex,
    auth: Hex,
    error: String,
}

#[derive(Deserialize)]
struct BadFrame {
    name: String,
    handshake: String,
    direction: String,
    frame: Hex,
    error: String,
}

/// Bytes that JSON writes as `0x..`.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Hex(Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        hex::decode(text.strip_prefix("0x").unwrap_or(&text)).map(Self)
    }
}

impl Hex {
    fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().unwrap()
    }

    fn node_key(&self) -> NodeKey {
        NodeKey::from_secret_bytes(&self.array()).unwrap()
    }

    fn secret(&self) -> SecretKey {
        SecretKey::from_secret_bytes(self.array()).unwrap()
    }
}

impl Vector {
    fn format(&self) -> Format {
        match self.format.as_str() {
            "eip8" => Format::Eip8,
            "legacy" => Format::Legacy,
            other => panic!("format {other}"),
        }
    }

    /// An initiator that has sent the vector's auth.
    fn initiator(&self) -> AuthSent {
        AuthSent::sent(
            &self.initiator_static_private.node_key(),
            self.recipient_static_private.node_key().id(),
            random(&self.initiator_ephemeral_private, &self.initiator_nonce),
            Bytes::from(self.auth.0.clone()),
        )
    }

    /// Both ends of the link, as the vector's packets make them.
    fn secrets(&self, role: Role) -> Secrets {
        Secrets::derive(
            role,
            &self.ephemeral_shared_secret.array(),
            &Transcript {
                initiator_nonce: &self.initiator_nonce.array(),
                responder_nonce: &self.recipient_nonce.array(),
                auth: &self.auth.0,
                ack: &self.ack.0,
            },
        )
    }
}

fn random(ephemeral: &Hex, nonce: &Hex) -> HandshakeRandom {
    let mut random = HandshakeRandom::draw();
    random.ephemeral = ephemeral.secret();
    random.nonce = nonce.array();
    random
}

fn file() -> File {
    serde_json::from_str(include_str!("../../../fixtures/wire/rlpx.json")).unwrap()
}

fn read_all(legacy_len: usize, key: &Hex, packet: &Hex) -> super::packet::Opened {
    let mut input = BytesMut::from(&packet.0[..]);
    let opened = PacketReader::new(legacy_len)
        .read(&key.secret(), &mut input)
        .unwrap()
        .expect("the packet is complete");
    assert!(input.is_empty());
    assert_eq!(opened.sent, packet.0);
    opened
}

fn digest(state: &keccak_asm::Keccak256) -> [u8; 32] {
    use keccak_asm::Digest;
    state.clone().finalize().into()
}

#[test]
fn handshakes_of_geth_give_its_secrets() {
    let vectors = file().vectors;
    assert!(!vectors.is_empty());
    for v in vectors {
        let initiator = v.initiator_static_private.node_key();
        let recipient = v.recipient_static_private.node_key();
        for (key, public) in [
            (&v.initiator_static_private, &v.initiator_static_public),
            (&v.recipient_static_private, &v.recipient_static_public),
            (
                &v.initiator_ephemeral_private,
                &v.initiator_ephemeral_public,
            ),
            (
                &v.recipient_ephemeral_private,
                &v.recipient_ephemeral_public,
            ),
        ] {
            assert_eq!(
                key.secret().public_key().serialize_uncompressed()[..],
                public.0,
                "{}",
                v.name
            );
        }

        // What the initiator wrote.
        let auth = read_all(LEGACY_AUTH_PACKET, &v.recipient_static_private, &v.auth);
        assert_eq!(auth.format, v.format(), "{}", v.name);
        assert_eq!(auth.body, v.auth_plaintext.0, "{}", v.name);
        let token = shared_secret(recipient.public(), initiator.secret());
        assert_eq!(token[..], v.static_shared_secret.0, "{}", v.name);
        let mut ours = AuthBody::new(
            &initiator,
            &v.initiator_ephemeral_private.secret(),
            v.initiator_nonce.array(),
            &token,
        );
        assert_eq!(ours.signature[..], v.signature.0, "{}", v.name);
        ours.version = v.auth_version;
        ours.extra_fields = v.auth_extra_fields;
        assert_eq!(AuthBody::decode(auth.format, &auth.body), Ok(ours.clone()));
        let ephemeral = v.initiator_ephemeral_private.node_key();
        match v.format() {
            Format::Legacy => assert_eq!(ours.encode_plain(&ephemeral.id()), auth.body),
            Format::Eip8 if ours.extra_fields == 0 => {
                let list = ours.encode();
                assert!(auth.body.starts_with(&list));
                assert!(auth.body[list.len()..].iter().all(|&byte| byte == 0));
            }
            Format::Eip8 => {}
        }
        assert_eq!(
            signature::recover(xor(&token, &ours.nonce), &ours.signature).unwrap(),
            *ephemeral.public()
        );

        // What the recipient answered.
        let ack = read_all(
            super::ack::LEGACY_ACK_PACKET,
            &v.initiator_static_private,
            &v.ack,
        );
        assert_eq!(ack.format, v.format(), "{}", v.name);
        assert_eq!(ack.body, v.ack_plaintext.0, "{}", v.name);
        let mut answer = AckBody::new(
            v.recipient_ephemeral_private.node_key().id(),
            v.recipient_nonce.array(),
        );
        answer.version = v.ack_version;
        answer.extra_fields = v.ack_extra_fields;
        assert_eq!(AckBody::decode(ack.format, &ack.body), Ok(answer.clone()));
        if answer.extra_fields == 0 {
            assert!(ack.body.starts_with(&answer.encode(v.format())));
        }

        // What both derived.
        let shared = shared_secret(
            v.recipient_ephemeral_private.node_key().public(),
            &v.initiator_ephemeral_private.secret(),
        );
        assert_eq!(shared[..], v.ephemeral_shared_secret.0, "{}", v.name);
        let Step::Done(link) = v
            .initiator()
            .receive(&mut BytesMut::from(&v.ack.0[..]))
            .unwrap()
        else {
            panic!("{}: the ack is complete", v.name)
        };
        assert_eq!(link.remote, recipient.id());
        let other = v.secrets(Role::Responder);
        for secrets in [&link.secrets, &other] {
            assert_eq!(secrets.aes[..], v.aes_secret.0, "{}", v.name);
            assert_eq!(secrets.mac[..], v.mac_secret.0, "{}", v.name);
        }
        let (egress, ingress) = (
            &v.initiator_egress_mac_digest.0,
            &v.initiator_ingress_mac_digest.0,
        );
        assert_eq!(digest(&link.secrets.egress)[..], egress[..], "{}", v.name);
        assert_eq!(digest(&link.secrets.ingress)[..], ingress[..], "{}", v.name);
        assert_eq!(digest(&other.egress)[..], ingress[..], "{}", v.name);
        assert_eq!(digest(&other.ingress)[..], egress[..], "{}", v.name);
    }
}

#[test]
fn a_responder_answers_geth_in_the_format_it_used() {
    for v in file().vectors {
        let responder = AwaitingAuth::new(
            &v.recipient_static_private.node_key(),
            random(&v.recipient_ephemeral_private, &v.recipient_nonce),
        );
        let mut input = BytesMut::from(&v.auth.0[..]);
        let Step::Done(answered) = responder.receive(&mut input).unwrap() else {
            panic!("{}: the auth is complete", v.name)
        };
        assert_eq!(
            answered.established.remote,
            v.initiator_static_private.node_key().id()
        );
        assert_eq!(answered.auth.version, v.auth_version);
        assert_eq!(
            answered.ack.len() == super::ack::LEGACY_ACK_PACKET,
            v.format() == Format::Legacy
        );

        let Step::Done(link) = v
            .initiator()
            .receive(&mut BytesMut::from(&answered.ack[..]))
            .unwrap()
        else {
            panic!("{}: the ack is complete", v.name)
        };
        assert_eq!(
            digest(&link.secrets.egress),
            digest(&answered.established.secrets.ingress)
        );
        assert_eq!(
            digest(&link.secrets.ingress),
            digest(&answered.established.secrets.egress)
        );
    }
}

#[test]
fn frames_of_geth_are_read_and_written_byte_for_byte() {
    let vectors = file().vectors;
    for v in &vectors {
        assert!(!v.frames.is_empty());
        let (mut i_egress, mut i_ingress) = v.secrets(Role::Initiator).into_frames();
        let (mut r_egress, mut r_ingress) = v.secrets(Role::Responder).into_frames();
        for f in &v.frames {
            let place = format!("{}: {}", v.name, f.note);
            let (egress, ingress) = match f.direction.as_str() {
                "i2r" => (&mut i_egress, &mut r_ingress),
                "r2i" => (&mut r_egress, &mut i_ingress),
                other => panic!("direction {other}"),
            };
            let carried = match &f.compressed {
                Some(compressed) => {
                    assert_eq!(decompress(&compressed.0).unwrap(), f.payload.0, "{place}");
                    let again = Compressor::new().compress(&f.payload.0).to_vec();
                    assert_eq!(decompress(&again).unwrap(), f.payload.0, "{place}");
                    &compressed.0
                }
                None => &f.payload.0,
            };
            assert_eq!(f.snappy, f.compressed.is_some(), "{place}");

            let mut written = BytesMut::new();
            egress.encode(f.code, carried, &mut written).unwrap();
            assert_eq!(hex::encode(&written), hex::encode(&f.frame.0), "{place}");
            assert_eq!(egress.mac_digest()[..], f.egress_mac_digest_after.0);

            let mut input = BytesMut::from(&f.frame.0[..]);
            let frame = ingress.decode(&mut input).unwrap().expect("complete");
            assert_eq!(frame.code, f.code, "{place}");
            assert_eq!(frame.payload, *carried, "{place}");
            assert_eq!(ingress.mac_digest()[..], f.egress_mac_digest_after.0);
            assert!(input.is_empty());
        }
    }
}

#[test]
fn auth_packets_geth_refuses_are_refused_for_the_same_reason() {
    use crate::rlpx::ecies::EciesError;

    let vectors = file().bad_auth;
    assert!(!vectors.is_empty());
    for v in vectors {
        let responder = AwaitingAuth::new(
            &v.recipient_static_private.node_key(),
            HandshakeRandom::draw(),
        );
        let outcome = responder.receive(&mut BytesMut::from(&v.auth.0[..]));
        let expected = match v.error.as_str() {
            "unexpected EOF" => {
                assert!(matches!(outcome, Ok(Step::NeedMore(_))), "{}", v.name);
                continue;
            }
            "ecies: invalid message" => HandshakeError::Ecies(EciesError::BadTag),
            "ecies: invalid public key" => HandshakeError::Ecies(EciesError::BadPublicKey),
            "size underflow, need at least 307 bytes" => HandshakeError::TooShort {
                size: usize::from(u16::from_be_bytes([v.auth.0[0], v.auth.0[1]])),
                least: 307,
            },
            "recovery failed" => HandshakeError::BadSignature,
            "invalid secp256k1 public key" => HandshakeError::BadPublicKey,
            "rlp: too few elements for p2p.authMsgV4" => {
                HandshakeError::Rlp(alloy_rlp::Error::InputTooShort)
            }
            other => panic!("{}: error {other}", v.name),
        };
        assert_eq!(outcome.unwrap_err(), expected, "{}", v.name);
    }
}

#[test]
fn frames_geth_refuses_are_refused_for_the_same_reason() {
    let file = file();
    assert!(!file.bad_frames.is_empty());
    for bad in &file.bad_frames {
        let handshake = file
            .vectors
            .iter()
            .find(|v| v.name == bad.handshake)
            .expect("the handshake is among the vectors");
        assert_eq!(bad.direction, "i2r");
        let (_, mut ingress) = handshake.secrets(Role::Responder).into_frames();
        let outcome = ingress.decode(&mut BytesMut::from(&bad.frame.0[..]));
        match bad.error.as_str() {
            "bad header MAC" => assert_eq!(outcome, Err(FrameError::HeaderMac), "{}", bad.name),
            "bad frame MAC" => assert_eq!(outcome, Err(FrameError::BodyMac), "{}", bad.name),
            "unexpected EOF" | "EOF" => assert_eq!(outcome, Ok(None), "{}", bad.name),
            other => panic!("{}: error {other}", bad.name),
        }
    }
}

#[test]
fn the_worked_example_gives_its_secrets_and_frames() {
    let key = |byte| SecretKey::from_secret_bytes([byte; 32]).unwrap();
    let shared = shared_secret(&key(0x77).public_key(), &key(0x66));
    let transcript = Transcript {
        initiator_nonce: &[0x88; 32],
        responder_nonce: &[0x99; 32],
        auth: &[1, 2, 3],
        ack: &[4, 5],
    };
    let ours = Secrets::derive(Role::Initiator, &shared, &transcript);
    assert_eq!(
        hex::encode(*ours.aes),
        "4bc22cac7b385efd7b589f8a62b02eaef04431b35133b9cddef61b8630be3658"
    );
    assert_eq!(
        hex::encode(*ours.mac),
        "b9165a86c3b219fc6e53c6983a40ee20790b8f21bebb5730bfb58fe66432dc9f"
    );
    assert_eq!(
        hex::encode(digest(&ours.egress)),
        "6df4a8aabe9742ce03794537a1927497c24d73c9e054bfabc0d25e01cfab70be"
    );
    assert_eq!(
        hex::encode(digest(&ours.ingress)),
        "c9383b4d1e5a643877464a6d52b49a8c17e7a551ab7698cb42fe983cd9d1790b"
    );

    let (mut egress, _) = ours.into_frames();
    let mut first = BytesMut::new();
    egress.encode(0x10, &[0xc0], &mut first).unwrap();
    assert_eq!(
        hex::encode(&first),
        "913521007aa80bfec24e5ca730f1826ff35147d229e8164da7fa8b2d1fec38dc\
         c16a947870ec4caaf7b1daadad1683d037100f4b6f2f5f5ee2c816c01bc1d823"
    );

    let theirs = Secrets::derive(Role::Responder, &shared, &transcript);
    let (_, mut ingress) = theirs.into_frames();
    let second = hex::decode(
        "09e2b40867c81797de2be16696e48eba46ec247cac48f2175e6e38d0e3c2e06e\
         ebd1d10d34c408b5a0de917f7e967b6c02eda11c8b059d20a18cf2e0b8771d39",
    )
    .unwrap();
    first.extend_from_slice(&second);
    let frame = ingress.decode(&mut first).unwrap().unwrap();
    assert_eq!((frame.code, &frame.payload[..]), (0x10, &[0xc0][..]));
    let frame = ingress.decode(&mut first).unwrap().unwrap();
    assert_eq!(frame.code, 0x8f);
    let mut expected = vec![0xaa; 41];
    expected[0] = 0xa8;
    assert_eq!(decompress(&frame.payload).unwrap(), expected);
}

#[test]
fn the_worked_example_gives_its_auth_signature() {
    let key = |byte| SecretKey::from_secret_bytes([byte; 32]).unwrap();
    let token = shared_secret(&key(0x44).public_key(), &key(0x33));
    let body = AuthBody::new(&NodeKey::from(key(0x33)), &key(0x66), [0x88; 32], &token);
    assert_eq!(
        hex::encode(body.signature),
        "11e75067d1542e8f4dc08cf9e4c48caa1260621090d2da803abce6cbc804ea6e\
         0653ddcf1ab9aca15e7538b7463050a980a667655d9d2f2f670f38b5ce97bfc400"
    );
}
