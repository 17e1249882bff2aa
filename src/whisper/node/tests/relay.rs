//! Passing envelopes on.

use super::*;

#[tokio::test]
async fn what_one_node_posts_the_other_archives_and_passes_on() {
    let first = Rig::start().await;
    let second = Rig::with(|config| config.static_peers = vec![first.enode()]).await;
    let third = Rig::with(|config| config.static_peers = vec![second.enode()]).await;
    let posted: Vec<Envelope> = (0..20).map(|seed| envelope([1, 2, 3, 4], seed)).collect();
    for envelope in &posted {
        first.node.post(envelope.clone()).await.unwrap();
    }
    for rig in [&first, &second, &third] {
        eventually("all is archived", || rig.archived().len() == 20).await;
        let mut archived = rig.archived();
        archived.sort();
        assert_eq!(archived, hashes(&posted));
    }
    eventually("the second acknowledged", || {
        first.node.counters().confirmed > 0
    })
    .await;
    let counters = second.node.counters();
    assert_eq!((counters.received, counters.stored), (20, 20));
    // Nothing comes back to where it came from.
    assert_eq!(first.node.counters().received, 20);
    assert_eq!(second.node.peers().len(), 2);
    for rig in [third, second, first] {
        soon(rig.node.shutdown()).await;
    }
}

#[tokio::test]
async fn peers_are_sent_nothing_they_did_not_want() {
    let rig = Rig::start().await;
    let topic = [1, 2, 3, 0];
    let pow = Pow::new(0.0003).unwrap();
    let mut by_topic = Raw::ready(
        &rig,
        Status {
            bloom: Some(Bloom::of_topic(Topic(topic))),
            ..Status::default()
        },
    )
    .await;
    let mut by_pow = Raw::ready(
        &rig,
        Status {
            pow,
            ..Status::default()
        },
    )
    .await;
    let mut all: Vec<Envelope> = (0..40)
        .map(|seed| envelope(if seed % 2 == 0 { topic } else { [200, 9, 9, 0] }, seed))
        .collect();
    // The last is wanted by both, and ends the test.
    all.push(
        (1_000..)
            .map(|seed| envelope(topic, seed))
            .find(|envelope| Work::of(envelope).least() >= pow)
            .unwrap(),
    );
    for envelope in &all {
        rig.node.post(envelope.clone()).await.unwrap();
    }
    let last = all.last().map(Envelope::hash).unwrap();
    for (peer, wants) in [
        (
            &mut by_topic,
            (|envelope| envelope.topic() == Topic([1, 2, 3, 0])) as fn(&Envelope) -> bool,
        ),
        (&mut by_pow, |envelope| {
            Work::of(envelope).least() >= Pow::new(0.0003).unwrap()
        }),
    ] {
        let mut got = Vec::new();
        while got.last().map(Envelope::hash) != Some(last) {
            if let Packet::Messages(envelopes) = peer.recv().await.unwrap() {
                got.extend(envelopes);
            }
        }
        let wanted: Vec<Envelope> = all.iter().filter(|one| wants(one)).cloned().collect();
        assert!(wanted.len() < all.len());
        assert_eq!(got, wanted);
    }
}

#[tokio::test]
async fn a_static_peer_that_comes_late_is_found() {
    let first = Rig::start().await;
    let address = first.node.local_addr().unwrap();
    let key = NodeKey::generate();
    let enode = Enode::new(key.id(), address);
    let id = key.id();
    // The address answers, but it is somebody else.
    first.node.add_peer(enode);
    soon(first.node.shutdown()).await;

    let second = Rig::with(|config| config.static_peers = vec![enode]).await;
    let late = Rig::with(|config| {
        config.key = key;
        config.listen = Some(address);
    })
    .await;
    eventually("they meet", || !late.node.peers().is_empty()).await;
    assert_eq!(second.node.peers()[0].id, id);
    assert!(second.node.peers()[0].is_static);
}

#[tokio::test]
async fn a_full_pool_reaches_a_newcomer_in_bounded_packets() {
    let rig = Rig::start().await;
    let large: Vec<Envelope> = (0..30)
        .map(|seed| {
            Envelope::new(
                Expiry::of(NOW, Ttl(50)),
                Ttl(50),
                Topic([1, 2, 3, 4]),
                &vec![7; 100_000],
                seed,
            )
        })
        .collect();
    for envelope in &large {
        rig.node.post(envelope.clone()).await.unwrap();
    }
    let mut peer = Raw::ready(&rig, Status::default()).await;
    let mut got = Vec::new();
    while got.len() < large.len() {
        let message = soon(peer.0.recv()).await.unwrap();
        assert!(message.payload.len() < PACKET_LIMIT);
        match Packet::decode(code::MESSAGES, &message.payload) {
            Ok(Packet::Messages(envelopes)) => got.extend(envelopes),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, large);
}
