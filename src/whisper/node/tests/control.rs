//! What others ask of a running node.

use super::*;
use crate::mailserver::response::Completion;
use crate::whisper::confirm::{EnvelopeFault, FaultCode, MessageResponse};
use tokio::sync::broadcast::Receiver;

/// The next event that `wanted` makes something of.
async fn event<T>(events: &mut Receiver<NodeEvent>, wanted: impl Fn(NodeEvent) -> Option<T>) -> T {
    soon(async {
        loop {
            if let Some(found) = wanted(events.recv().await.unwrap()) {
                return found;
            }
        }
    })
    .await
}

/// A peer past the status exchange, and its id.
async fn acquainted(rig: &Rig, status: Status) -> (Raw, NodeId) {
    let mut events = rig.node.events();
    let raw = Raw::ready(rig, status).await;
    let id = event(&mut events, |event| match event {
        NodeEvent::Connected(id) => Some(id),
        _ => None,
    })
    .await;
    (raw, id)
}

#[tokio::test]
async fn mail_is_taken_from_a_peer_that_is_trusted_and_from_no_other() {
    let rig = Rig::start().await;
    let (mut peer, id) = acquainted(&rig, Status::default()).await;
    let mut events = rig.node.events();
    let [unwanted, wanted] = [1, 2].map(|seed| envelope([1; 4], seed));
    peer.send(&Packet::P2pMessage(vec![unwanted])).await;
    // Not even parsed.
    peer.send_bytes(code::P2P_MESSAGE, Bytes::from_static(&[0x01]))
        .await;
    peer.until_answered().await.unwrap();

    rig.node.trust(&id).await.unwrap();
    peer.send(&Packet::P2pMessage(vec![wanted.clone()])).await;
    let mail = event(&mut events, |event| match event {
        NodeEvent::Mail { peer, envelopes } => Some((peer, envelopes.to_vec())),
        _ => None,
    })
    .await;
    assert_eq!(mail, (id, vec![wanted]));
    // Mail is for this node alone: neither archived nor passed on.
    assert_eq!((rig.archived().len(), rig.node.pooled().0), (0, 0));
    // A peer that is trusted and sends nonsense is dropped like any other.
    peer.send_bytes(code::P2P_MESSAGE, Bytes::from_static(&[0x01]))
        .await;
    assert_eq!(peer.farewell().await, told(DisconnectReason::Subprotocol));
}

#[tokio::test]
async fn a_node_asks_another_for_mail_over_the_link_they_have() {
    let server = Rig::start().await;
    let asking = Rig::with(|config| config.static_peers = vec![server.enode()]).await;
    let old: Vec<Envelope> = (0..3).map(|seed| envelope([1; 4], seed)).collect();
    server.mail.inner.archive(old.clone()).await.unwrap();
    eventually("they are connected", || !asking.node.peers().is_empty()).await;
    let mut events = asking.node.events();

    let request = MailRequest::Open(crate::mailserver::request::OpenRequest {
        id: Bytes::from_static(&[9; 32]),
        from: NOW,
        to: NOW,
        limit: 2,
        cursor: Bytes::new(),
        bloom: Bytes::from_static(&[0xff; 64]),
    });
    let id = server.node.id();
    asking.node.request_mail(&id, &request).await.unwrap();
    let mut mail = Vec::new();
    let completion = loop {
        match soon(events.recv()).await.unwrap() {
            NodeEvent::Mail { envelopes, .. } => mail.extend_from_slice(&envelopes),
            NodeEvent::MailCompleted { completion, .. } => break completion,
            _ => {}
        }
    };
    assert_eq!(mail.len(), 2);
    assert!(mail.iter().all(|envelope| old.contains(envelope)));
    assert!(matches!(
        completion,
        Completion::Done { next: Some(_), request: of, .. } if of == request.id()
    ));
    let stranger = NodeKey::generate().id();
    assert_eq!(
        asking.node.request_mail(&stranger, &request).await,
        Err(NoSuchPeer(stranger))
    );
}

#[tokio::test]
async fn an_envelope_for_one_peer_goes_to_it_alone() {
    let rig = Rig::start().await;
    let (mut one, id) = acquainted(&rig, Status::default()).await;
    let (mut other, _) = acquainted(&rig, Status::default()).await;
    let [a, b] = [1, 2].map(|seed| envelope([1; 4], seed));
    let both = vec![a.clone(), b.clone()];
    rig.node.send_p2p(&id, both).await.unwrap();
    for sent in [a, b] {
        assert_eq!(one.recv().await.unwrap(), Packet::P2pMessage(vec![sent]));
    }
    assert_eq!(other.until_answered().await.unwrap(), []);
    assert_eq!(rig.archived(), []);
}

#[tokio::test]
async fn peers_learn_of_new_demands_and_have_ten_seconds_to_follow() {
    let rig = Rig::start().await;
    let (mut peer, _) = acquainted(&rig, Status::default()).await;
    let weak = envelope([8, 8, 8, 0], 1);
    let pow = Pow::new(1_000.0).unwrap();
    rig.node.set_min_pow(pow);
    assert_eq!(peer.recv().await.unwrap(), Packet::PowRequirement(pow));
    let bloom = Bloom::of_topic(Topic([16, 16, 16, 0]));
    rig.node.set_bloom(bloom);
    assert_eq!(peer.recv().await.unwrap(), Packet::BloomFilter(bloom));
    // The clock of this node stands still: the former demands still count.
    peer.send(&Packet::Messages(vec![weak.clone()])).await;
    eventually("it is archived", || rig.archived() == [weak.hash()]).await;

    let more = Bloom::of_topic(Topic([32, 32, 32, 0]));
    rig.node.want_topics(more);
    assert_eq!(rig.node.rules().bloom(), bloom.union(&more));
    // Whoever comes now hears what counts now.
    let mut newcomer = Raw::connect(&rig).await;
    newcomer.send(&Packet::Status(Status::default())).await;
    let Packet::Status(status) = newcomer.recv().await.unwrap() else {
        panic!("the first packet is the status");
    };
    assert_eq!((status.pow, status.filter()), (pow, bloom.union(&more)));
}

#[tokio::test]
async fn a_light_node_passes_on_its_own_and_nothing_else() {
    let rig = Rig::with(|config| config.light = true).await;
    let (giver, _) = acquainted(&rig, Status::default()).await;
    let (mut taker, _) = acquainted(&rig, Status::default()).await;
    let [foreign, own] = [1, 2].map(|seed| envelope([1; 4], seed));
    giver.send(&Packet::Messages(vec![foreign.clone()])).await;
    eventually("it is archived", || rig.archived().len() == 1).await;
    rig.node.post(own.clone()).await.unwrap();
    assert_eq!(taker.recv().await.unwrap(), Packet::Messages(vec![own]));

    // Made a full node, it passes on what it held back.
    rig.node.set_light(false);
    assert_eq!(taker.recv().await.unwrap(), Packet::Messages(vec![foreign]));
}

#[tokio::test]
async fn two_light_nodes_part() {
    let rig = Rig::with(|config| config.light = true).await;
    let mut other = Raw::connect(&rig).await;
    let light = Status {
        light: true,
        ..Status::default()
    };
    other.send(&Packet::Status(light)).await;
    assert_eq!(other.farewell().await, told(DisconnectReason::Subprotocol));
}

#[tokio::test]
async fn whoever_posts_hears_who_has_taken_it_and_who_has_not() {
    let rig = Rig::start().await;
    let confirming = Status {
        confirmations: Some(true),
        ..Status::default()
    };
    let (mut peer, id) = acquainted(&rig, confirming).await;
    let mut events = rig.node.events();
    let [refused, taken] = [1, 2].map(|seed| envelope([1; 4], seed));
    let sent = |event| match event {
        NodeEvent::Sent { hash, peer } => Some((hash, peer)),
        _ => None,
    };
    for (envelope, is_taken) in [(&refused, false), (&taken, true)] {
        rig.node.post(envelope.clone()).await.unwrap();
        let packet = peer.recv().await.unwrap();
        assert_eq!(packet, Packet::Messages(vec![envelope.clone()]));
        let batch = batch_hash(&packet.encode());
        if !is_taken {
            let faults = vec![EnvelopeFault {
                hash: envelope.hash(),
                code: FaultCode::OTHER,
                description: "no room".to_owned(),
            }];
            peer.send(&Packet::MessageResponse(MessageResponse::Batch {
                batch,
                faults,
            }))
            .await;
        }
        peer.send(&Packet::BatchAcknowledged(batch)).await;
    }
    let reason = event(&mut events, |event| match event {
        NodeEvent::NotTaken { hash, reason, .. } => Some((hash, reason)),
        _ => None,
    });
    assert_eq!(reason.await, (refused.hash(), "no room".to_owned()));
    assert_eq!(event(&mut events, sent).await, (taken.hash(), id));

    // geth acknowledges nothing: what it was sent counts as sent.
    let (mut silent, silent_id) = acquainted(&rig, Status::default()).await;
    assert!(matches!(silent.recv().await, Ok(Packet::Messages(_))));
    for _ in 0..2 {
        assert_eq!(event(&mut events, sent).await.1, silent_id);
    }
}

#[tokio::test]
async fn who_is_removed_is_dropped_and_not_dialled_again() {
    let server = Rig::start().await;
    let rig = Rig::with(|config| config.static_peers = vec![server.enode()]).await;
    eventually("they are connected", || rig.node.peers().len() == 1).await;
    rig.node.remove_peer(server.node.id());
    eventually("it is gone", || rig.node.peers().is_empty()).await;
    eventually("there, too", || server.node.peers().is_empty()).await;
    rig.node.add_peer(server.enode());
    eventually("they are connected again", || rig.node.peers().len() == 1).await;
}

#[tokio::test]
async fn a_peer_with_a_reserved_seat_comes_in_where_others_do_not() {
    let expected = NodeKey::generate();
    let id = expected.id();
    let rig = Rig::with(|config| {
        config.limits.max_peers = std::num::NonZeroUsize::MIN;
        config.trusted_peers = vec![id];
    })
    .await;
    let _first = Raw::ready(&rig, Status::default()).await;
    let mut second = Raw::connect(&rig).await;
    assert_eq!(
        second.farewell().await,
        told(DisconnectReason::TooManyPeers)
    );
    let local = Arc::new(LocalNode::new(expected, "test", vec![protocol()], 0));
    let mut third = Raw(soon(connect(&rig.enode(), &local)).await.unwrap());
    assert!(matches!(third.recv().await, Ok(Packet::Status(_))));
}

#[tokio::test]
async fn a_size_that_the_archive_cannot_keep_is_refused() {
    let rig = Rig::with(|config| config.policy.max_message_size = 1_000).await;
    assert!(rig.node.set_max_message_size(1_000).is_ok());
    let error = rig.node.set_max_message_size(1_001).unwrap_err();
    assert_eq!(error.to_string(), "message size too large [1001>1000]");
    rig.node.set_max_message_size(30).unwrap();
    let refused = rig.node.post(envelope([1; 4], 1)).await;
    assert!(matches!(
        refused,
        Err(PostError::Refused(Refusal::TooLarge { .. }))
    ));
}

#[tokio::test]
async fn posted_and_passed_on_envelopes_are_events_once() {
    let rig = Rig::start().await;
    let mut events = rig.node.events();
    let posted = envelope([1; 4], 1);
    rig.node.post(posted.clone()).await.unwrap();
    rig.node.post(posted.clone()).await.unwrap();
    let (giver, _) = acquainted(&rig, Status::default()).await;
    let passed_on = envelope([1; 4], 2);
    giver
        .send(&Packet::Messages(vec![posted.clone(), passed_on.clone()]))
        .await;
    for expected in [posted, passed_on] {
        let heard = event(&mut events, |event| match event {
            NodeEvent::Envelopes(envelopes) => Some(envelopes.to_vec()),
            _ => None,
        });
        assert_eq!(heard.await, [expected]);
    }
}
