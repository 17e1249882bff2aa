use super::*;
use crate::time::{Expiry, Ttl};
use crate::whisper::Topic;
use crate::whisper::admission::{AdmissionPolicy, Admitted, Verdict};
use crate::whisper::pool::PoolLimits;

const NOW: UnixSeconds = UnixSeconds(1_600_000_000);

fn session() -> Session {
    Session::new(SessionConfig {
        status: Status::default(),
        is_mailserver: true,
    })
}

/// A session past the status exchange, with a peer that said `status`.
fn ready(status: Status) -> Session {
    let mut session = session();
    assert_eq!(
        session.receive(code::STATUS, &status.encode()),
        Ok(vec![Action::Ready])
    );
    session
}

fn envelope(topic: [u8; 4], seed: u64, len: usize) -> Envelope {
    Envelope::new(
        Expiry::of(NOW, Ttl(50)),
        Ttl(50),
        Topic(topic),
        &vec![7; len],
        seed,
    )
}

fn admitted(envelope: Envelope) -> Admitted {
    let policy = AdmissionPolicy {
        min_pow: Pow::ZERO,
        max_message_size: 10 << 20,
        bloom: Bloom::FULL,
    };
    match policy.judge(envelope, NOW) {
        Verdict::Admitted(admitted) => admitted,
        other => panic!("{other:?}"),
    }
}

fn pool_of(envelopes: impl IntoIterator<Item = Envelope>) -> Pool {
    let mut pool = Pool::new(PoolLimits { bytes: 1 << 30 });
    for envelope in envelopes {
        pool.insert(&admitted(envelope), Origin::Peer, NOW);
    }
    pool
}

fn offer(session: &mut Session, packet: &Packet) -> (BatchId, Vec<Envelope>) {
    match session.receive(packet.code(), &packet.encode()).as_deref() {
        Ok([Action::Offer { batch, envelopes }]) => (*batch, envelopes.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_heard_before_the_status() {
    for code in [1, 2, 11, 50, 126, 127] {
        assert_eq!(
            session().receive(code, &Bytes::from_static(&[0xc0])),
            Err(Violation::BeforeStatus { code })
        );
    }
}

#[test]
fn a_packet_opened_before_its_turn_is_taken_as_if_it_were_not() {
    let several = |n: u64| {
        (0..n)
            .map(|seed| envelope([1, 2, 3, 4], seed, 30))
            .collect()
    };
    let mut payloads: Vec<Bytes> = [0, 1, 3, 3]
        .map(|n| Packet::Messages(several(n)).encode())
        .to_vec();
    payloads.push(Bytes::from_static(&[0xc1, 0xc0]));
    payloads.push(Bytes::from_static(&[0x80]));
    let (mut one, mut other) = (ready(Status::default()), ready(Status::default()));
    for payload in &payloads {
        assert_eq!(
            one.receive(code::MESSAGES, payload),
            other.receive_opened(Opened::of(payload))
        );
        assert_eq!(one.take_repeats(), other.take_repeats());
        assert_eq!(one.offered, other.offered);
        assert_eq!(
            session().receive(code::MESSAGES, payload),
            session().receive_opened(Opened::of(payload))
        );
    }
}

#[test]
fn bad_packets_end_the_conversation_and_odd_ones_are_ignored() {
    enum Is {
        Ended,
        Ignored,
    }
    let one = envelope([1, 2, 3, 4], 1, 30);
    let status = |version: &str| format!("c1{version}");
    let cases: Vec<(&str, u8, Vec<u8>, Is)> = vec![
        (
            "a second status",
            0,
            hex::decode(status("07")).unwrap(),
            Is::Ignored,
        ),
        ("a bare envelope", 1, one.rlp().to_vec(), Is::Ended),
        (
            "half an envelope",
            1,
            vec![0xc3, 0xd3, 0x84, 0x5f],
            Is::Ended,
        ),
        ("no list", 1, vec![0x83, 1, 2, 3], Is::Ended),
        (
            "a NaN requirement",
            2,
            hex::decode("887ff8000000000001").unwrap(),
            Is::Ended,
        ),
        ("a requirement in a list", 2, vec![0xc1, 0x05], Is::Ended),
        ("a short bloom", 3, vec![0x83, 1, 2, 3], Is::Ended),
        ("an empty bloom", 3, vec![0x80], Is::Ended),
        ("a short batch hash", 11, vec![0x83, 1, 2, 3], Is::Ended),
        ("a response that is no list", 12, vec![0x80], Is::Ended),
        (
            "a response of version 2",
            12,
            vec![0xc3, 2, 0xc1, 0x78],
            Is::Ignored,
        ),
        ("an unknown code", 50, vec![0xff, 0xff], Is::Ignored),
        ("rate limits", 20, vec![0xc0], Is::Ignored),
        ("mail nobody asked for", 127, vec![0xff, 0xff], Is::Ignored),
        (
            "a completion nobody waits for",
            125,
            vec![0xff, 0xff],
            Is::Ignored,
        ),
        (
            "an unknown code, oversized",
            50,
            vec![0; PACKET_LIMIT + 1],
            Is::Ended,
        ),
    ];
    for (what, code, payload, expected) in cases {
        let mut session = ready(Status::default());
        let reaction = session.receive(code, &payload.into());
        match expected {
            Is::Ended => assert!(reaction.is_err(), "{what}: {reaction:?}"),
            Is::Ignored => assert_eq!(reaction, Ok(vec![]), "{what}"),
        }
    }
}

#[test]
fn a_wrong_status_ends_the_conversation() {
    for (what, payload) in [
        ("version 5", "c105"),
        ("version 7", "c107"),
        ("no version", "c0"),
        ("no list", "06"),
        ("NaN", "ca06887ff8000000000001"),
        ("infinite", "ca06887ff0000000000000"),
        ("negative", "ca0688bff0000000000000"),
        ("a bloom of one byte", "c4068081ff"),
    ] {
        let payload = Bytes::from(hex::decode(payload).unwrap());
        assert!(session().receive(0, &payload).is_err(), "{what}");
    }
}

#[test]
fn a_batch_is_acknowledged_only_when_it_is_durable() {
    let mut session = ready(Status::default());
    let packet = Packet::Messages(vec![envelope([1, 2, 3, 4], 1, 30)]);
    let (batch, envelopes) = offer(&mut session, &packet);
    assert_eq!(envelopes.len(), 1);
    assert_eq!(session.in_flight(), 1);

    let hash = batch_hash(&packet.encode());
    assert_eq!(
        session.batch_stored(batch, Vec::new()),
        [
            Packet::MessageResponse(MessageResponse::accepted(hash)),
            Packet::BatchAcknowledged(hash),
        ]
    );
    assert_eq!(session.batch_stored(batch, Vec::new()), [], "once");
    assert_eq!(session.in_flight(), 0);
}

#[test]
fn a_batch_that_failed_is_never_acknowledged() {
    let mut session = ready(Status::default());
    let packet = Packet::Messages(vec![envelope([1, 2, 3, 4], 1, 30)]);
    let (batch, _) = offer(&mut session, &packet);
    session.batch_failed(batch);
    assert_eq!(session.batch_stored(batch, Vec::new()), []);
    // The same batch may come again.
    let (again, _) = offer(&mut session, &packet);
    assert_ne!(again, batch);
}

#[test]
fn an_empty_batch_is_acknowledged_too() {
    let mut session = ready(Status::default());
    let (batch, envelopes) = offer(&mut session, &Packet::Messages(vec![]));
    assert!(envelopes.is_empty());
    assert_eq!(session.batch_stored(batch, Vec::new()).len(), 2);
}

#[test]
fn what_came_from_a_peer_is_not_sent_back() {
    let mut session = ready(Status::default());
    let [theirs, ours] = [1, 2].map(|seed| envelope([1, 2, 3, 4], seed, 30));
    offer(&mut session, &Packet::Messages(vec![theirs.clone()]));
    let pool = pool_of([theirs, ours.clone()]);
    assert_eq!(session.relay(&pool, NOW), [vec![ours]]);
    assert!(session.relay(&pool, NOW).is_empty(), "and once only");
}

#[test]
fn a_peer_gets_only_topics_it_wants() {
    let topic = [1, 2, 3, 0];
    let mut session = ready(Status {
        bloom: Some(Bloom::of_topic(Topic(topic))),
        ..Status::default()
    });
    let wanted = envelope(topic, 1, 30);
    let other = envelope([200, 201, 202, 0], 2, 30);
    let pool = pool_of([other.clone(), wanted.clone()]);
    assert_eq!(session.relay(&pool, NOW), [vec![wanted]]);

    // Changing its mind brings what it lacks, and repeats nothing.
    let everything = Packet::BloomFilter(Bloom::FULL);
    session.receive(3, &everything.encode()).unwrap();
    assert_eq!(session.relay(&pool, NOW), [vec![other]]);
}

#[test]
fn a_peer_gets_only_work_that_both_definitions_see() {
    let envelopes: Vec<Envelope> = (0..64)
        .map(|seed| envelope([1, 2, 3, 4], seed, 30))
        .collect();
    let pow = Pow::new(0.001).unwrap();
    let mut session = ready(Status {
        pow,
        ..Status::default()
    });
    let pool = pool_of(envelopes.clone());
    let sent: Vec<Envelope> = session.relay(&pool, NOW).into_iter().flatten().collect();
    let enough: Vec<Envelope> = envelopes
        .into_iter()
        .filter(|envelope| crate::whisper::Work::of(envelope).least() >= pow)
        .collect();
    assert!(!enough.is_empty() && enough.len() < 64);
    assert_eq!(sent, enough);

    session
        .receive(2, &Packet::PowRequirement(Pow::ZERO).encode())
        .unwrap();
    let rest: usize = session.relay(&pool, NOW).iter().map(Vec::len).sum();
    assert_eq!(rest + enough.len(), 64);
}

#[test]
fn the_dead_are_not_passed_on() {
    let mut session = ready(Status::default());
    let pool = pool_of([envelope([1, 2, 3, 4], 1, 30)]);
    assert!(session.relay(&pool, NOW.saturating_add(51)).is_empty());
}

#[test]
fn nothing_is_sent_to_a_peer_that_did_not_introduce_itself() {
    let pool = pool_of([envelope([1, 2, 3, 4], 1, 30)]);
    assert!(session().relay(&pool, NOW).is_empty());
}

#[test]
fn packets_stay_below_a_mebibyte_and_turns_are_bounded() {
    let mut session = ready(Status::default());
    let pool = pool_of((0..60).map(|seed| envelope([1, 2, 3, 4], seed, 200_000)));
    let mut sent = 0;
    let mut turns = 0;
    loop {
        let packets = session.relay(&pool, NOW);
        if packets.is_empty() {
            break;
        }
        turns += 1;
        let mut bytes = 0;
        for packet in packets {
            sent += packet.len();
            let len = Packet::Messages(packet).encode().len();
            assert!(len <= PACKET_TARGET, "{len}");
            bytes += len;
        }
        assert!(bytes <= RELAY_TURN + PACKET_LIMIT);
    }
    assert_eq!((sent, turns), (60, 3));
}

#[test]
fn a_turn_searches_a_bounded_part_of_the_pool() {
    let unwanted = (0..RELAY_SEARCH as u64).map(|seed| envelope([200, 9, 9, 0], seed, 1));
    let wanted = envelope([1, 2, 3, 0], 0, 1);
    let pool = pool_of(unwanted.chain([wanted.clone()]));
    let mut session = ready(Status {
        bloom: Some(Bloom::of_topic(wanted.topic())),
        ..Status::default()
    });
    assert!(session.relay(&pool, NOW).is_empty());
    assert_eq!(session.relay(&pool, NOW), [vec![wanted]]);
}

#[test]
fn a_batch_with_more_faults_than_are_told_is_not_acknowledged() {
    let mut session = ready(Status::default());
    let one = envelope([1, 2, 3, 4], 1, 30);
    let fault = EnvelopeFault {
        hash: one.hash(),
        code: crate::whisper::confirm::FaultCode::OTHER,
        description: String::new(),
    };
    let packet = Packet::Messages(vec![one]);
    for (faults, answers) in [(MAX_FAULTS, 2), (MAX_FAULTS + 1, 0)] {
        let (batch, _) = offer(&mut session, &packet);
        let said = session.batch_stored(batch, vec![fault.clone(); faults]);
        assert_eq!(said.len(), answers);
        assert_eq!(session.in_flight(), 0);
    }
}

#[test]
fn an_envelope_no_packet_can_carry_is_not_passed_on() {
    let mut session = ready(Status::default());
    let large = envelope([1, 2, 3, 4], 1, PACKET_LIMIT - 40);
    let too_large = envelope([1, 2, 3, 4], 2, PACKET_LIMIT);
    let pool = pool_of([large.clone(), too_large]);
    assert_eq!(session.relay(&pool, NOW), [vec![large]]);
}

#[test]
fn mail_is_accepted_from_a_trusted_peer_only() {
    let mail = Packet::P2pMessage(vec![envelope([1, 2, 3, 4], 1, 30)]);
    let complete = Packet::RequestComplete(Bytes::from_static(&[7; 64]));
    let mut session = ready(Status::default());
    assert_eq!(session.receive(127, &mail.encode()), Ok(vec![]));
    session.trust();
    assert_eq!(
        session.receive(127, &mail.encode()),
        Ok(vec![Action::Mail(vec![envelope([1, 2, 3, 4], 1, 30)])])
    );
    assert_eq!(
        session.receive(125, &complete.encode()),
        Ok(vec![Action::MailComplete(Bytes::from_static(&[7; 64]))])
    );
    assert!(session.receive(127, &Bytes::from_static(&[0x80])).is_err());
}

#[test]
fn mail_requests_reach_a_mailserver_and_nobody_else() {
    let payload = Bytes::from_static(b"a request");
    let mut server = ready(Status::default());
    assert_eq!(
        server.receive(126, &payload),
        Ok(vec![Action::AnswerMail(payload.clone())])
    );
    let mut client = Session::new(SessionConfig {
        status: Status::default(),
        is_mailserver: false,
    });
    client.receive(0, &Status::default().encode()).unwrap();
    assert_eq!(client.receive(126, &payload), Ok(vec![]));
}

#[test]
fn a_peer_whose_definition_is_learned_gets_what_that_one_counts() {
    let pow = Pow::new(0.001).unwrap();
    let mut session = ready(Status {
        pow,
        ..Status::default()
    });
    let works: Vec<(Envelope, Work)> = (0..64)
        .map(|seed| envelope([1, 2, 3, 4], seed, 30))
        .map(|envelope| (envelope.clone(), Work::of(&envelope)))
        .collect();
    let pool = pool_of(works.iter().map(|(envelope, _)| envelope.clone()));
    let by_both: usize = session.relay(&pool, NOW).iter().map(Vec::len).sum();

    let telling = works
        .iter()
        .map(|(_, work)| work)
        .find(|work| work.leading >= pow && work.trailing < pow)
        .unwrap();
    session.learn([telling]);
    let more: usize = session.relay(&pool, NOW).iter().map(Vec::len).sum();
    let by_leading = works.iter().filter(|(_, work)| work.leading >= pow).count();
    assert!(more > 0);
    assert_eq!(by_both + more, by_leading);
}
