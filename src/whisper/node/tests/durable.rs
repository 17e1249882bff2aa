//! Nothing is acknowledged before it is durable.

use super::*;

#[tokio::test]
async fn a_batch_is_acknowledged_only_after_it_is_durable() {
    let rig = Rig::start().await;
    let held_up = rig.mail.gate.acquire().await.unwrap();
    let mut peer = Raw::ready(&rig, Status::default()).await;
    let batch = Packet::Messages(vec![envelope([1, 2, 3, 4], 1)]);
    peer.send(&batch).await;
    let _asked = soon(rig.mail.asked.acquire()).await.unwrap();
    // The node answers other things meanwhile, and says nothing of the batch.
    assert_eq!(peer.until_answered().await.unwrap(), []);
    assert_eq!(rig.node.pooled().0, 0);

    drop(held_up);
    let hash = batch_hash(&batch.encode());
    assert!(matches!(peer.recv().await, Ok(Packet::MessageResponse(_))));
    assert_eq!(peer.recv().await.unwrap(), Packet::BatchAcknowledged(hash));
    assert_eq!(rig.archived().len(), 1);
    assert_eq!(rig.node.counters().acked, 1);
}

#[tokio::test]
async fn what_could_not_be_stored_is_not_acknowledged_and_may_come_again() {
    let rig = Rig::start().await;
    rig.mail.fails.store(true, Ordering::SeqCst);
    let mut peer = Raw::ready(&rig, Status::default()).await;
    let batch = Packet::Messages(vec![envelope([1, 2, 3, 4], 1)]);
    peer.send(&batch).await;
    eventually("storing fails", || rig.node.counters().failed == 1).await;
    assert_eq!(peer.until_answered().await.unwrap(), []);
    assert_eq!(rig.node.pooled().0, 0, "or it would count as held");
    assert!(rig.archived().is_empty());
    assert_eq!(rig.node.counters().acked, 0);

    rig.mail.fails.store(false, Ordering::SeqCst);
    peer.send(&batch).await;
    assert!(matches!(peer.recv().await, Ok(Packet::MessageResponse(_))));
    assert!(matches!(
        peer.recv().await,
        Ok(Packet::BatchAcknowledged(_))
    ));
    assert_eq!(rig.archived().len(), 1);
    assert_eq!(rig.node.pooled().0, 1);
}

#[tokio::test]
async fn what_a_peer_sent_before_it_left_is_archived_and_passed_on() {
    let rig = Rig::start().await;
    let held_up = rig.mail.gate.acquire().await.unwrap();
    let peer = Raw::ready(&rig, Status::default()).await;
    peer.send(&Packet::Messages(vec![envelope([1, 2, 3, 4], 1)]))
        .await;
    let _asked = soon(rig.mail.asked.acquire()).await.unwrap();
    soon(peer.0.close(DisconnectReason::Requested)).await;
    drop(held_up);
    eventually("it is passed on", || rig.node.pooled().0 == 1).await;
    assert_eq!(rig.archived().len(), 1);
    assert_eq!(rig.node.counters().stored, 1);
}

/// More batches than may wait for the archive, so that some were read and wait
/// for their turn when the peer is gone.
#[tokio::test]
async fn what_a_peer_sent_before_it_left_is_archived_though_it_waited_for_its_turn() {
    let rig = Rig::start().await;
    let held_up = rig.mail.gate.acquire().await.unwrap();
    let peer = Raw::ready(&rig, Status::default()).await;
    let sent: Vec<Envelope> = (0..700).map(|seed| envelope([1; 4], seed)).collect();
    for envelope in &sent {
        peer.send(&Packet::Messages(vec![envelope.clone()])).await;
    }
    soon(peer.0.close(DisconnectReason::Requested)).await;
    assert!(rig.archived().is_empty());
    drop(held_up);
    eventually("all is archived", || rig.archived().len() == sent.len()).await;
}

/// Packets so large that they are opened before their turn, and small ones.
#[tokio::test]
async fn large_and_small_packets_are_each_acknowledged() {
    let rig = Rig::start().await;
    let mut peer = Raw::ready(&rig, Status::default()).await;
    let large = (0..2_000).map(|seed| envelope([1; 4], seed)).collect();
    let batches = [large, vec![envelope([1; 4], 3_000)], Vec::new()].map(Packet::Messages);
    for _ in 0..3 {
        for batch in &batches {
            peer.send(batch).await;
        }
    }
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 9 {
        if let Ok(Packet::BatchAcknowledged(batch)) = peer.recv().await {
            acknowledged.push(batch);
        }
    }
    let expected = batches.each_ref().map(|batch| batch_hash(&batch.encode()));
    for batch in expected {
        assert_eq!(acknowledged.iter().filter(|b| **b == batch).count(), 3);
    }
    assert_eq!(rig.archived().len(), 2_001);
}

#[tokio::test]
async fn a_post_that_could_not_be_stored_fails() {
    let rig = Rig::start().await;
    rig.mail.fails.store(true, Ordering::SeqCst);
    let outcome = rig.node.post(envelope([1, 2, 3, 4], 1)).await;
    assert!(matches!(outcome, Err(PostError::Archive(_))));
    assert_eq!(rig.node.pooled().0, 0);
}

#[tokio::test]
async fn faults_are_reported_and_the_good_is_kept() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let good = envelope([1, 2, 3, 4], 1);
    let old = sent_at(NOW.saturating_sub(1_000), [1, 2, 3, 4], 2);
    let future = sent_at(NOW.saturating_add(1_000), [1, 2, 3, 4], 3);
    let batch = client
        .post(vec![
            old.clone(),
            good.clone(),
            future.clone(),
            good.clone(),
        ])
        .await
        .unwrap();
    let faults = soon(client.acknowledged(batch)).await.unwrap();
    let faulty: Vec<_> = faults
        .iter()
        .map(|fault| (fault.hash, fault.code.0))
        .collect();
    assert_eq!(faulty, [(old.hash(), 36), (future.hash(), 36)]);
    assert_eq!(rig.archived(), [good.hash()]);
    let counters = rig.node.counters();
    assert_eq!(counters.received, 4);
    assert_eq!((counters.stored, counters.duplicate), (1, 1));
    assert_eq!((counters.refused.very_old, counters.refused.future), (1, 1));
}

#[tokio::test]
async fn a_shutdown_acknowledges_what_becomes_durable_and_says_goodbye() {
    let rig = Rig::start().await;
    let mail = Arc::clone(&rig.mail);
    let held_up = mail.gate.acquire().await.unwrap();
    let mut peer = Raw::ready(&rig, Status::default()).await;
    peer.send(&Packet::Messages(vec![envelope([1, 2, 3, 4], 1)]))
        .await;
    let _asked = soon(mail.asked.acquire()).await.unwrap();
    let shutdown = tokio::spawn(rig.node.shutdown());
    drop(held_up);
    assert!(matches!(peer.recv().await, Ok(Packet::MessageResponse(_))));
    assert!(matches!(
        peer.recv().await,
        Ok(Packet::BatchAcknowledged(_))
    ));
    assert_eq!(peer.farewell().await, told(DisconnectReason::Quitting));
    drop(peer);
    soon(shutdown).await.unwrap();
}

#[tokio::test]
async fn each_of_many_peers_is_acknowledged_what_was_archived_together() {
    let rig = Rig::start().await;
    let held_up = rig.mail.gate.acquire().await.unwrap();
    let mut peers = Vec::new();
    for seed in 0..6 {
        let peer = Raw::ready(&rig, Status::default()).await;
        let batch = Packet::Messages(vec![envelope([1, 2, 3, 4], seed)]);
        peer.send(&batch).await;
        peers.push((peer, batch_hash(&batch.encode())));
    }
    eventually("all came", || rig.node.counters().received == 6).await;
    drop(held_up);
    for (peer, hash) in &mut peers {
        loop {
            match peer.recv().await.unwrap() {
                Packet::BatchAcknowledged(acknowledged) => {
                    assert_eq!(acknowledged, *hash);
                    break;
                }
                Packet::MessageResponse(_) | Packet::Messages(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(rig.archived().len(), 6);
    assert_eq!(rig.node.counters().stored, 6);
}

#[tokio::test]
async fn who_was_gathered_with_a_batch_that_fails_is_stored_all_the_same() {
    let rig = Rig::start().await;
    let held_up = rig.mail.gate.acquire().await.unwrap();
    let envelopes: Vec<_> = (0..6).map(|seed| envelope([1, 2, 3, 4], seed)).collect();
    // Those that came first may be under way alone.
    *rig.mail.bad.lock().unwrap() = Some(envelopes[4].hash());
    let mut peers = Vec::new();
    for (n, envelope) in envelopes.iter().enumerate() {
        let peer = Raw::ready(&rig, Status::default()).await;
        peer.send(&Packet::Messages(vec![envelope.clone()])).await;
        let came = u64::try_from(n + 1).unwrap();
        eventually("it came", || rig.node.counters().received == came).await;
        peers.push(peer);
    }
    drop(held_up);
    eventually("all are settled", || {
        let counters = rig.node.counters();
        counters.stored + counters.failed == 6
    })
    .await;
    assert_eq!(rig.node.counters().failed, 1);
    assert_eq!(rig.archived().len(), 5);
}
