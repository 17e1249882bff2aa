//! Two sessions of our own, byte for byte, without a socket.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::rlpx::Capability;
use crate::rlpx::ecies::shared_secret;
use crate::rlpx::handshake::{Answered, AuthSent, AwaitingAuth, HandshakeRandom};

fn node(seed: u8, protocols: &[(&str, u64, u64)]) -> Arc<LocalNode> {
    let protocols = protocols
        .iter()
        .map(|(name, version, length)| Protocol {
            capability: Capability::new(name, *version),
            length: *length,
        })
        .collect();
    let key = NodeKey::from_secret_bytes(&[seed; 32]).unwrap();
    Arc::new(LocalNode::new(key, "test/v1", protocols, 0))
}

fn shh(seed: u8) -> Arc<LocalNode> {
    node(seed, &[("shh", 6, 128)])
}

/// Both ends of a fresh link, before the Hellos.
fn handshake(initiator: &LocalNode, responder: &LocalNode) -> (Established, Established) {
    let (ours, auth) = AuthSent::start(
        initiator.key(),
        responder.key().id(),
        HandshakeRandom::draw(),
    )
    .unwrap();
    let theirs = AwaitingAuth::new(responder.key(), HandshakeRandom::draw());
    let Step::Done(Answered {
        ack, established, ..
    }) = theirs.receive(&mut BytesMut::from(&auth[..])).unwrap()
    else {
        panic!("the auth is complete")
    };
    let Step::Done(ours) = ours.receive(&mut BytesMut::from(&ack[..])).unwrap() else {
        panic!("the ack is complete")
    };
    assert_eq!(ours.remote, responder.key().id());
    assert_eq!(established.remote, initiator.key().id());
    (ours, established)
}

/// Two sessions that have exchanged Hellos.
fn sessions(now: Instant) -> (Session, Session) {
    let (a, b) = (shh(1), shh(2));
    let (link_a, link_b) = handshake(&a, &b);
    let (a, hello_a) = HelloSent::start(link_a, a);
    let (b, hello_b) = HelloSent::start(link_b, b);
    (finish(a, &hello_b, now), finish(b, &hello_a, now))
}

fn finish(stage: HelloSent, hello: &[u8], now: Instant) -> Session {
    match stage.receive(&mut BytesMut::from(hello), now).unwrap() {
        Step::Done(session) => session,
        Step::NeedMore(_) => panic!("the Hello is complete"),
    }
}

/// A node waiting for a Hello, and the raw encoder and decoder of its peer.
fn against_raw_peer() -> (HelloSent, FrameEncoder, FrameDecoder) {
    let (us, them) = (shh(1), shh(2));
    let (link_us, link_them) = handshake(&us, &them);
    let (encoder, mut decoder) = link_them.secrets.into_frames();
    let (stage, hello) = HelloSent::start(link_us, us);
    let mut input = BytesMut::from(&hello[..]);
    let frame = decoder.decode(&mut input).unwrap().unwrap();
    assert_eq!(frame.code, HELLO);
    assert_eq!(Hello::decode(&frame.payload).unwrap().id, shh(1).key().id());
    (stage, encoder, decoder)
}

#[test]
fn hellos_tell_both_sides_who_is_there_and_what_is_shared() {
    let (a, b) = sessions(Instant::now());
    assert_eq!(a.remote.id, shh(2).key().id());
    assert_eq!(b.remote.id, shh(1).key().id());
    for session in [&a, &b] {
        assert_eq!(session.remote.hello.client(), "test/v1");
        let shared = session.remote.protocol("shh").unwrap();
        assert_eq!((shared.offset, shared.length), (16, 128));
        assert!(session.remote.protocol("eth").is_none());
    }
}

#[test]
fn a_session_opens_whatever_way_the_bytes_are_cut() {
    let now = Instant::now();
    let (a, b) = (shh(1), shh(2));
    let (mut ours, auth) = AuthSent::start(a.key(), b.key().id(), HandshakeRandom::draw()).unwrap();
    let mut theirs = AwaitingAuth::new(b.key(), HandshakeRandom::draw());
    let mut input = BytesMut::new();
    let mut answered = None;
    for byte in &auth {
        input.extend_from_slice(&[*byte]);
        match theirs.receive(&mut input).unwrap() {
            Step::NeedMore(stage) => theirs = stage,
            Step::Done(done) => {
                answered = Some(done);
                break;
            }
        }
    }
    let Answered {
        ack, established, ..
    } = answered.expect("the auth has fully arrived");
    let (_, hello) = HelloSent::start(established, Arc::clone(&b));

    // Ack and Hello in one piece, then byte by byte.
    let mut input = BytesMut::from(&[&ack[..], &hello[..]].concat()[..]);
    let rest = input.split_off(ack.len() - 1);
    let Step::NeedMore(stage) = ours.receive(&mut input).unwrap() else {
        panic!("a byte is missing")
    };
    ours = stage;
    input.extend_from_slice(&rest);
    let Step::Done(established) = ours.receive(&mut input).unwrap() else {
        panic!("the ack is complete")
    };
    let (mut stage, _) = HelloSent::start(established, a);
    let hello = input.split();
    let mut session = None;
    for byte in &hello {
        input.extend_from_slice(&[*byte]);
        match stage.receive(&mut input, now).unwrap() {
            Step::NeedMore(next) => stage = next,
            Step::Done(done) => {
                session = Some(done);
                break;
            }
        }
    }
    assert_eq!(
        session.expect("the Hello has arrived").remote.id,
        b.key().id()
    );
}

#[test]
fn a_hello_that_does_not_fit_is_refused_with_its_reason() {
    let other = shh(3).key().id();
    let theirs = shh(2).hello().clone();
    let cases = [
        (
            Hello {
                id: other,
                ..theirs.clone()
            },
            Some(DisconnectReason::UnexpectedIdentity),
            true,
        ),
        (
            Hello {
                id: NodeId::NULL,
                ..theirs.clone()
            },
            Some(DisconnectReason::NullIdentity),
            false,
        ),
        (
            Hello {
                capabilities: vec![Capability::new("eth", 63), Capability::new("shh", 5)],
                ..theirs.clone()
            },
            Some(DisconnectReason::UselessPeer),
            true,
        ),
        (
            Hello {
                capabilities: vec![],
                version: 4,
                ..theirs.clone()
            },
            Some(DisconnectReason::UselessPeer),
            false,
        ),
        (
            Hello {
                name: vec![b'n'; MAX_HELLO],
                ..theirs
            },
            None,
            false,
        ),
    ];
    for (hello, reason, compressed) in cases {
        let (stage, mut encoder, mut decoder) = against_raw_peer();
        let mut input = BytesMut::new();
        encoder.encode(HELLO, &hello.encode(), &mut input).unwrap();
        let refused = stage.receive(&mut input, Instant::now()).unwrap_err();
        assert!(refused.error.is_peers_fault());
        assert_eq!(refused.error.reply(), reason, "{}", refused.error);
        let Some(reason) = reason else {
            assert!(refused.farewell.is_empty());
            continue;
        };
        let mut input = BytesMut::from(&refused.farewell[..]);
        let frame = decoder.decode(&mut input).unwrap().unwrap();
        assert_eq!(frame.code, DISCONNECT);
        assert_eq!(
            PeerReason::from_payload(&frame.payload),
            PeerReason::Known(reason)
        );
        assert_eq!(frame.payload[0] < 0xc0, compressed, "{reason}");
    }
}

#[test]
fn a_node_does_not_talk_to_itself() {
    let (us, again) = (shh(1), shh(1));
    let (link_us, link_again) = handshake(&us, &again);
    let (_, hello) = HelloSent::start(link_again, again);
    let (stage, _) = HelloSent::start(link_us, us);
    let refused = stage
        .receive(&mut BytesMut::from(&hello[..]), Instant::now())
        .unwrap_err();
    assert_eq!(refused.error, SessionError::ToSelf);
    assert_eq!(refused.error.reply(), Some(DisconnectReason::ToSelf));
}

/// What stands before the Hello, and what becomes of it.
type BeforeHello = (u64, Vec<u8>, fn(&SessionError) -> bool);

#[test]
fn anything_but_a_hello_ends_the_exchange_without_a_word() {
    let cases: Vec<BeforeHello> = vec![
        (PING, vec![0xc0], |e| {
            *e == SessionError::NotHello { code: 2 }
        }),
        (16, vec![0xc0], |e| {
            *e == SessionError::NotHello { code: 16 }
        }),
        (u64::MAX, vec![], |e| {
            *e == SessionError::NotHello { code: u64::MAX }
        }),
        (HELLO, vec![], |e| {
            matches!(e, SessionError::Hello(HelloError::Rlp(_)))
        }),
        (HELLO, vec![0xc0], |e| {
            matches!(e, SessionError::Hello(HelloError::Rlp(_)))
        }),
        // An integer with a leading zero.
        (HELLO, vec![0xc2, 0x00, 0x80], |e| {
            matches!(e, SessionError::Hello(HelloError::Rlp(_)))
        }),
        // A long form for a short list.
        (HELLO, vec![0xf8, 0x01, 0x05], |e| {
            matches!(e, SessionError::Hello(HelloError::Rlp(_)))
        }),
        (HELLO, vec![0xc1; 2_048], |e| {
            matches!(e, SessionError::Hello(HelloError::Rlp(_)))
        }),
        (HELLO, vec![0; 2_049], |e| {
            matches!(
                e,
                SessionError::Frame(FrameError::TooLarge {
                    size: 2_050,
                    most: 2_049
                })
            )
        }),
        (DISCONNECT, vec![0xc1, 0x04], |e| {
            *e == SessionError::Disconnected(PeerReason::Known(DisconnectReason::TooManyPeers))
        }),
        (DISCONNECT, vec![0x02, 0x04, 0xc1, 0x04], |e| {
            *e == SessionError::Disconnected(PeerReason::Known(DisconnectReason::TooManyPeers))
        }),
        (DISCONNECT, vec![0xc1, 0x11], |e| {
            *e == SessionError::Disconnected(PeerReason::Other(17))
        }),
    ];
    for (code, payload, expected) in cases {
        let (stage, mut encoder, _) = against_raw_peer();
        let mut input = BytesMut::new();
        encoder.encode(code, &payload, &mut input).unwrap();
        let refused = stage.receive(&mut input, Instant::now()).unwrap_err();
        assert!(expected(&refused.error), "{code}: {:?}", refused.error);
        assert!(refused.farewell.is_empty(), "{}", refused.error);
    }
}

/// A session, and its peer's raw encoder.
fn session_against_raw_peer(version: u64, now: Instant) -> (Session, FrameEncoder) {
    let (stage, mut encoder, _) = against_raw_peer();
    let mut input = BytesMut::new();
    let hello = Hello {
        version,
        ..shh(2).hello().clone()
    };
    encoder.encode(HELLO, &hello.encode(), &mut input).unwrap();
    (finish(stage, &input, now), encoder)
}

#[test]
fn hostile_messages_end_the_session_as_geth_ends_it() {
    let cases: Vec<BeforeHello> = vec![
        (15 + 128 + 1, vec![0xc0], |e| {
            *e == SessionError::UnknownCode { code: 0x90 }
        }),
        (u64::MAX, vec![], |e| {
            *e == SessionError::UnknownCode { code: u64::MAX }
        }),
        // A bomb: 16 MiB - 1 claimed, nothing there; and more than that.
        (16, vec![0xff, 0xff, 0xff, 0x07], |e| {
            matches!(e, SessionError::Snappy(SnappyError::Impossible { .. }))
        }),
        (16, vec![0x80, 0x80, 0x80, 0x08], |e| {
            matches!(e, SessionError::Snappy(SnappyError::TooLarge { .. }))
        }),
        (16, vec![0xff; 12], |e| {
            matches!(e, SessionError::Snappy(SnappyError::Malformed(_)))
        }),
        (16, vec![], |e| {
            matches!(e, SessionError::Snappy(SnappyError::Malformed(_)))
        }),
        (DISCONNECT, vec![0x02, 0x04, 0xc1, 0x08], |e| {
            *e == SessionError::Disconnected(PeerReason::Known(DisconnectReason::Quitting))
        }),
        (DISCONNECT, vec![0xc1, 0x08], |e| {
            *e == SessionError::Disconnected(PeerReason::Known(DisconnectReason::Quitting))
        }),
        (DISCONNECT, vec![], |e| {
            *e == SessionError::Disconnected(PeerReason::Known(DisconnectReason::Requested))
        }),
    ];
    let now = Instant::now();
    for (code, payload, expected) in cases {
        let (mut session, mut encoder) = session_against_raw_peer(5, now);
        let mut input = BytesMut::new();
        encoder.encode(code, &payload, &mut input).unwrap();
        let error = session.inbound.receive(&mut input, now).unwrap_err();
        assert!(expected(&error), "{code}: {error:?}");
        assert_eq!(error.reply(), None, "{error}");
        let theirs = matches!(error, SessionError::Disconnected(_));
        assert_eq!(error.is_peers_fault(), !theirs, "{error}");
    }
}

#[test]
fn pings_are_reported_and_other_base_messages_ignored() {
    let now = Instant::now();
    let (mut session, mut encoder) = session_against_raw_peer(5, now);
    let mut input = BytesMut::new();
    for code in [PONG, HELLO, 4, 15, PING] {
        encoder.encode(code, b"anything", &mut input).unwrap();
    }
    assert_eq!(
        session.inbound.receive(&mut input, now),
        Ok(Some(Incoming::Ping))
    );
    assert_eq!(session.inbound.receive(&mut input, now), Ok(None));
}

#[test]
fn a_peer_of_version_4_gets_and_sends_plain_payloads() {
    let now = Instant::now();
    let (mut session, mut encoder) = session_against_raw_peer(4, now);
    let mut input = BytesMut::new();
    encoder.encode(16, b"\xffplain", &mut input).unwrap();
    assert_eq!(
        session.inbound.receive(&mut input, now),
        Ok(Some(Incoming::Message(Message {
            code: 16,
            payload: Bytes::from_static(b"\xffplain"),
        })))
    );
    let (mut small, mut large) = (BytesMut::new(), BytesMut::new());
    session.outbound.message(16, &[0; 100], &mut small).unwrap();
    session.outbound.message(16, &[0; 200], &mut large).unwrap();
    assert_eq!((small.len(), large.len()), (32 + 112 + 16, 32 + 208 + 16));
}

#[test]
fn a_silent_peer_is_dropped_after_30_seconds_and_told_why() {
    let start = Instant::now();
    let (mut a, mut b) = sessions(start);
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut input = BytesMut::new();
    assert_eq!(a.inbound.check_silence(after(29)), Ok(()));
    b.outbound.ping(after(29), &mut input);
    assert_eq!(
        a.inbound.receive(&mut input, after(29)),
        Ok(Some(Incoming::Ping))
    );
    assert_eq!(a.inbound.silent_at(), after(59));
    assert_eq!(a.inbound.check_silence(after(58)), Ok(()));

    // Half a message is silence, too: a frame has to end within the limit.
    b.outbound.ping(after(58), &mut input);
    input.truncate(input.len() - 1);
    assert_eq!(a.inbound.receive(&mut input, after(58)), Ok(None));
    let error = a.inbound.check_silence(after(59)).unwrap_err();
    assert_eq!(error, SessionError::Silent);
    assert_eq!(error.reply(), Some(DisconnectReason::ReadTimeout));
}

#[test]
fn a_message_that_arrived_in_time_counts_however_late_it_is_read() {
    let start = Instant::now();
    let (mut a, mut b) = sessions(start);
    let mut input = BytesMut::new();
    b.outbound.message(20, b"early", &mut input).unwrap();
    let late = start + Duration::from_secs(1_000);
    assert!(matches!(
        a.inbound.receive(&mut input, late),
        Ok(Some(Incoming::Message(_)))
    ));
}

#[test]
fn pings_are_due_every_15_seconds() {
    let start = Instant::now();
    let (mut a, _) = sessions(start);
    assert_eq!(a.outbound.ping_at(), start + Duration::from_secs(15));
    let later = start + Duration::from_secs(16);
    a.outbound.ping(later, &mut BytesMut::new());
    assert_eq!(a.outbound.ping_at(), later + Duration::from_secs(15));
}

#[test]
fn a_message_too_large_is_refused_and_the_session_goes_on() {
    let now = Instant::now();
    let (mut a, mut b) = sessions(now);
    let mut input = BytesMut::new();
    let zeros = vec![0; MAX_FRAME + 1];
    assert_eq!(
        a.outbound.message(16, &zeros, &mut input),
        Err(crate::rlpx::frame::MessageTooLarge {
            size: MAX_FRAME + 1
        })
    );
    assert!(input.is_empty());
    a.outbound
        .message(16, &zeros[..MAX_FRAME], &mut input)
        .unwrap();
    let Ok(Some(Incoming::Message(message))) = b.inbound.receive(&mut input, now) else {
        panic!("the message arrives")
    };
    assert_eq!(message.payload.len(), MAX_FRAME);
}

#[test]
fn secrets_do_not_show_in_debug() {
    let (a, b) = (shh(1), shh(2));
    let (established, _) = handshake(&a, &b);
    let token = hex::encode(*shared_secret(b.key().public(), a.key().secret()));
    let text = format!("{established:?} {a:?}");
    assert!(text.contains("Secrets(..)"));
    assert!(!text.contains(&token) && !text.contains(&"01".repeat(32)));
    let (stage, _) = HelloSent::start(established, a);
    assert!(format!("{stage:?}").contains("FrameEncoder"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn messages_arrive_whatever_way_the_bytes_are_cut(
        messages in proptest::collection::vec(
            (16..144_u64, proptest::collection::vec(any::<u8>(), 0..3_000)), 1..12),
        cuts in proptest::collection::vec(1..5_000_usize, 1..20),
    ) {
        let now = Instant::now();
        let (mut a, mut b) = sessions(now);
        let mut wire = BytesMut::new();
        for (code, payload) in &messages {
            a.outbound.message(*code, payload, &mut wire).unwrap();
        }
        let mut cuts = cuts.iter().cycle();
        let mut input = BytesMut::new();
        let mut arrived = Vec::new();
        while !wire.is_empty() {
            let len = wire.len().min(*cuts.next().unwrap());
            input.extend_from_slice(&wire.split_to(len));
            while let Some(incoming) = b.inbound.receive(&mut input, now).unwrap() {
                let Incoming::Message(message) = incoming else {
                    panic!("only messages were sent")
                };
                arrived.push((message.code, message.payload.to_vec()));
            }
        }
        prop_assert_eq!(arrived, messages);
        prop_assert!(input.is_empty());
    }

    #[test]
    fn an_altered_byte_ends_the_link_and_nothing_altered_comes_out(
        payload in proptest::collection::vec(any::<u8>(), 0..500),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let now = Instant::now();
        let (mut a, mut b) = sessions(now);
        let mut wire = BytesMut::new();
        a.outbound.message(17, &payload, &mut wire).unwrap();
        let at = at.index(wire.len());
        wire[at] ^= 1_u8 << bit;
        let error = b.inbound.receive(&mut wire, now).unwrap_err();
        let expected = if at < 32 { FrameError::HeaderMac } else { FrameError::BodyMac };
        prop_assert_eq!(error, SessionError::Frame(expected));
    }
}
