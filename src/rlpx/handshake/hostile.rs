//! Handshake packets nobody honest sends, and honest ones that look odd.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::rlpx::NodeKey;

fn key(seed: u8) -> NodeKey {
    NodeKey::from_secret_bytes(&[seed; 32]).unwrap()
}

fn responder() -> AwaitingAuth {
    AwaitingAuth::new(&key(2), HandshakeRandom::draw())
}

fn auth_with_padding(padding: usize) -> BytesMut {
    let mut random = HandshakeRandom::draw();
    random.padding = padding;
    let (_, auth) = AuthSent::start(&key(1), key(2).id(), random).unwrap();
    BytesMut::from(&auth[..])
}

#[test]
fn a_packet_is_refused_by_its_size_alone() {
    for (prefix, expected) in [
        (65_000_u16, HandshakeError::TooLarge { size: 65_002 }),
        (u16::MAX, HandshakeError::TooLarge { size: 65_537 }),
        (2_047, HandshakeError::TooLarge { size: 2_049 }),
        (
            306,
            HandshakeError::TooShort {
                size: 306,
                least: 307,
            },
        ),
        (
            0,
            HandshakeError::TooShort {
                size: 0,
                least: 307,
            },
        ),
    ] {
        let outcome = responder().receive(&mut BytesMut::from(&prefix.to_be_bytes()[..]));
        assert_eq!(outcome.unwrap_err(), expected);
    }
}

#[test]
fn a_packet_whose_size_looks_like_the_plain_form_is_read() {
    // A size of 0x04.. starts as an unprefixed public key does.
    for padding in [100, 299, 800, 900, 980] {
        let mut auth = auth_with_padding(padding);
        assert_eq!(auth[0] == 4, padding >= 800, "{padding}");
        let last = auth.split_off(auth.len() - 1);
        let Step::NeedMore(stage) = responder().receive(&mut auth).unwrap() else {
            panic!("a byte is missing")
        };
        auth.extend_from_slice(&last);
        auth.extend_from_slice(b"next");
        let Step::Done(answered) = stage.receive(&mut auth).unwrap() else {
            panic!("the auth is complete")
        };
        assert_eq!(answered.established.remote, key(1).id());
        assert_eq!(&auth[..], b"next");
    }
}

#[test]
fn the_largest_packet_that_is_read_has_2_kb() {
    let least = auth_with_padding(0).len();
    let mut largest = auth_with_padding(MAX_PACKET - least);
    assert_eq!(largest.len(), MAX_PACKET);
    assert!(matches!(
        responder().receive(&mut largest),
        Ok(Step::Done(_))
    ));
    let mut larger = auth_with_padding(MAX_PACKET - least + 1);
    assert_eq!(
        responder().receive(&mut larger).unwrap_err(),
        HandshakeError::TooLarge {
            size: MAX_PACKET + 1
        }
    );
}

#[test]
fn a_node_that_does_not_hold_the_dialled_key_learns_nothing() {
    let (_, auth) = AuthSent::start(&key(1), key(3).id(), HandshakeRandom::draw()).unwrap();
    let outcome = responder().receive(&mut BytesMut::from(&auth[..]));
    assert_eq!(
        outcome.unwrap_err(),
        HandshakeError::Ecies(EciesError::BadTag)
    );
}

#[test]
fn an_id_that_is_no_key_cannot_be_dialled() {
    let outcome = AuthSent::start(&key(1), NodeId::NULL, HandshakeRandom::draw());
    assert!(outcome.is_err());
}

#[test]
fn bodies_of_another_shape_are_refused() {
    for format in [Format::Eip8, Format::Legacy] {
        for body in [
            &b""[..],
            b"\xc0",
            b"\x80",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            &[0; 96],
            &[0; 193],
            &[0; 195],
            &[0xc1; 500],
        ] {
            assert!(AuthBody::decode(format, body).is_err(), "{body:02x?}");
            assert!(AckBody::decode(format, body).is_err(), "{body:02x?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_altered_byte_fails_the_handshake(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut auth = auth_with_padding(150);
        let at = at.index(auth.len());
        auth[at] ^= 1_u8 << bit;
        match responder().receive(&mut auth) {
            // A larger size: more is awaited.
            Ok(Step::NeedMore(_)) => prop_assert!(at < 2),
            Ok(Step::Done(_)) => prop_assert!(false, "an altered packet was accepted"),
            Err(_) => {}
        }
    }

    #[test]
    fn random_bytes_never_pass(bytes in proptest::collection::vec(any::<u8>(), 0..2_100)) {
        let mut input = BytesMut::from(&bytes[..]);
        let accepted = matches!(responder().receive(&mut input), Ok(Step::Done(_)));
        prop_assert!(!accepted);
        let (stage, _) = AuthSent::start(&key(1), key(2).id(), HandshakeRandom::draw()).unwrap();
        let mut input = BytesMut::from(&bytes[..]);
        let accepted = matches!(stage.receive(&mut input), Ok(Step::Done(_)));
        prop_assert!(!accepted);
    }
}
