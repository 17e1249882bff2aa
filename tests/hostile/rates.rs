//! Rates of peers and addresses, over a link: what is refused, what slows down.

use std::time::Instant;

use gwa::limits::{Limits, Reason};
use gwa::whisper::packet::code;

use crate::Reaction;
use crate::wire::Packets;
use crate::world::{World, open_request, payload_of};

/// Limits that hold on loopback, too.
fn limited(toml: &str) -> Limits {
    let limits = format!("exempt-local = false\nconnections-per-minute = 1000000\n{toml}");
    toml::from_str(&limits).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_key_buys_no_more_mail() {
    let world = World::with(limited("open-requests-per-second = 1")).await;
    let started = Instant::now();
    let (mut served, mut refused) = (0_u64, 0);
    for _ in 0..8 {
        let mut peer = Packets::ready(&world).await;
        for id in 0..12 {
            peer.send(code::REQUEST, payload_of(open_request(id))).await;
            match peer.answer([id; 32]).await {
                Reaction::Served => served += 1,
                Reaction::Failed(text) => {
                    assert_eq!(text, "exceeded the number of requests limit");
                    refused += 1;
                }
                other => panic!("{other:?}: the connection stays"),
            }
        }
    }
    // Four peers' worth of ten at once, and of one a second.
    let most = 40 + 4 * (started.elapsed().as_secs() + 1);
    assert!((40..=most).contains(&served), "{served} served");
    assert_eq!(served + refused, 96);
    assert_eq!(world.dropped_for(Reason::RequestRate), refused);
    // Sealed requests have a rate of their own, ten times as high.
    world.honest("too many open requests").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_answered_too_much_waits_and_keeps_the_link() {
    let world = World::with(limited("answer-kib-per-second = 10")).await;
    let mut peer = Packets::ready(&world).await;
    let mut large = open_request(1);
    large.limit = 50;
    peer.send(code::REQUEST, payload_of(large)).await;
    assert_eq!(peer.answer([1; 32]).await, Reaction::Served);
    peer.send(code::REQUEST, payload_of(open_request(2))).await;
    assert!(matches!(peer.answer([2; 32]).await, Reaction::Failed(_)));
    assert_eq!(world.dropped_for(Reason::AnswerBudget), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_bytes_are_read_slowly_and_none_is_lost() {
    let world = World::with(limited("receive-kib-per-second = 200")).await;
    let peer = Packets::ready(&world).await;
    let started = Instant::now();
    for _ in 0..6 {
        assert!(peer.send(50, vec![7; 500 << 10]).await);
    }
    assert_eq!(peer.ignored().await, Reaction::Ignored);
    // 3,000 KiB, of which 2,000 at once: the last packet is read when those before
    // it are paid for.
    let least = (5 * 500 - 2_000) / 200;
    assert!(
        started.elapsed().as_secs() >= least,
        "the reader did not slow down"
    );
    world.honest("a peer that sends too much").await;
}
