//! Peers that break the protocol, or bend it.

use super::*;

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_is_told_so() {
    let rig = Rig::start().await;
    let one = envelope([1, 2, 3, 4], 1);
    let list_of_junk = {
        let mut list = Packet::Messages(vec![one.clone()]).encode().to_vec();
        list.truncate(list.len() - 1);
        Bytes::from(list)
    };
    let hex = |text: &str| Bytes::from(hex::decode(text).unwrap());
    for (what, code, payload) in [
        ("a bare envelope", 1, one.rlp().clone()),
        ("a list cut short", 1, list_of_junk),
        ("a string", 1, hex("83616263")),
        ("a NaN requirement", 2, hex("887ff8000000000001")),
        ("an infinite requirement", 2, hex("887ff0000000000000")),
        ("a negative requirement", 2, hex("88bff0000000000000")),
        ("a bloom of 3 bytes", 3, hex("83616263")),
        ("an oversized packet", 50, vec![0; PACKET_LIMIT + 1].into()),
        ("a sync request that is none", 123, hex("ffff")),
        ("a request that is none", 126, hex("c101")),
    ] {
        let mut peer = Raw::ready(&rig, Status::default()).await;
        peer.send_bytes(code, payload).await;
        assert_eq!(
            peer.farewell().await,
            told(DisconnectReason::Subprotocol),
            "{what}"
        );
    }
    for (what, code, payload) in [
        ("version 5", 0, hex("c105")),
        ("a NaN requirement", 0, hex("ca06887ff8000000000001")),
        ("messages before the status", 1, hex("c0")),
    ] {
        let mut peer = Raw::connect(&rig).await;
        peer.send_bytes(code, payload).await;
        assert_eq!(
            peer.farewell().await,
            told(DisconnectReason::Subprotocol),
            "{what}"
        );
    }
    assert_eq!(rig.node.counters().violations, 13);
    assert!(rig.archived().is_empty());
}

#[tokio::test]
async fn what_is_merely_odd_is_ignored() {
    let rig = Rig::start().await;
    let mut peer = Raw::ready(&rig, Status::default()).await;
    let junk = Bytes::from_static(&[0xff, 0xff]);
    for code in [0, 4, 20, 50, 124, 125, 127] {
        peer.send_bytes(code, junk.clone()).await;
    }
    assert_eq!(peer.until_answered().await.unwrap(), []);
    assert_eq!(rig.node.counters().violations, 0);
}

#[tokio::test]
async fn more_faults_than_a_packet_tells_of_are_answered_by_silence() {
    let rig = Rig::start().await;
    let mut peer = Raw::ready(&rig, Status::default()).await;
    let dead = |count: u64| {
        let one = |nonce| Envelope::new(Expiry(100), Ttl(1), Topic([1; 4]), &[], nonce);
        Packet::Messages((0..count).map(one).collect())
    };
    peer.send(&dead(60_000)).await;
    let last = dead(1);
    peer.send(&last).await;
    // Batches are judged side by side: the answer to the second may come first.
    eventually("all are refused", || {
        rig.node.counters().refused.very_old == 60_001
    })
    .await;
    assert!(matches!(peer.recv().await, Ok(Packet::MessageResponse(_))));
    assert_eq!(
        peer.recv().await.unwrap(),
        Packet::BatchAcknowledged(batch_hash(&last.encode()))
    );
    assert_eq!(peer.until_answered().await.unwrap(), []);
    assert_eq!(rig.node.counters().acked, 1);
}

#[tokio::test]
async fn a_peer_that_leaves_its_answers_unread_is_not_listened_to() {
    let rig = Rig::start().await;
    let link = soon(connect(&rig.enode(), &stranger())).await.unwrap();
    let (_reader, writer) = link.split();
    let (outbox, sending) =
        send::Outbox::new(send::PacketWriter::new(writer, Raw::OFFSET, Arc::default()));
    outbox.answer([Packet::Status(Status::default())]);
    assert!(!outbox.is_clogged());
    outbox.answer([Packet::RequestComplete(vec![7; PACKET_LIMIT - 8].into())]);
    outbox.answer([Packet::RequestComplete(vec![7; 100].into())]);
    assert!(outbox.is_clogged());
    let sending = tokio::spawn(sending);
    eventually("it is sent", || !outbox.is_clogged()).await;
    drop(outbox);
    soon(sending).await.unwrap();
}

#[tokio::test]
async fn one_peer_too_many_is_turned_away() {
    let rig = Rig::with(|config| config.limits.max_peers = std::num::NonZeroUsize::MIN).await;
    let mut first = Raw::ready(&rig, Status::default()).await;
    let mut second = Raw::connect(&rig).await;
    assert_eq!(
        second.farewell().await,
        told(DisconnectReason::TooManyPeers)
    );
    first.until_answered().await.unwrap();
    drop(first);
    eventually("the seat is free", || rig.node.peers().is_empty()).await;
    Raw::ready(&rig, Status::default()).await;
}

#[tokio::test]
async fn a_peer_that_never_introduces_itself_loses_its_seat() {
    let rig = Rig::start().await;
    let mut silent = Raw::connect(&rig).await;
    let mut polite = Raw::ready(&rig, Status::default()).await;
    assert!(matches!(silent.recv().await, Ok(Packet::Status(_))));
    tokio::time::pause();
    tokio::time::advance(link::STATUS_DEADLINE).await;
    tokio::time::resume();
    assert_eq!(silent.farewell().await, told(DisconnectReason::UselessPeer));
    polite.until_answered().await.unwrap();
    assert_eq!(rig.node.counters().violations, 0);
}

#[tokio::test]
async fn silent_connections_do_not_keep_an_honest_peer_out() {
    let rig = Rig::start().await;
    let address = rig.node.local_addr().unwrap();
    let mut silent = Vec::new();
    for _ in 0..MAX_PENDING_HANDSHAKES + 10 {
        silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    let mut peer = Raw::ready(&rig, Status::default()).await;
    peer.until_answered().await.unwrap();
    drop(silent);
}

#[tokio::test]
async fn too_many_requests_at_once_are_refused_and_each_is_answered() {
    let rig = Rig::start().await;
    let mut peer = Raw::ready(&rig, Status::default()).await;
    let request = |n: u8| {
        MailRequest::Open(crate::mailserver::request::OpenRequest {
            id: vec![n; 32].into(),
            from: NOW,
            to: NOW,
            limit: 1,
            cursor: Bytes::new(),
            bloom: Bloom::FULL.0.to_vec().into(),
        })
    };
    for n in 0..100 {
        peer.send_bytes(code::REQUEST, request(n).encode()).await;
    }
    let mut answered = std::collections::BTreeSet::new();
    while answered.len() < 100 {
        if let Packet::RequestComplete(completion) = peer.recv().await.unwrap() {
            let completion = crate::mailserver::response::Completion::decode(&completion);
            answered.insert(completion.unwrap().request().0);
        }
    }
}
