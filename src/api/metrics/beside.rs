//! Figures of what runs beside the archive: its store, its libp2p peer, whom it
//! follows, who follows it, names, verification.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::api::Api;
use crate::metrics::{Exposition, Labels};
use crate::p2p::Counters;

pub(super) fn tell(told: &mut Exposition, api: &Api) {
    store(told, api);
    p2p(told, api);
    follow(told, api);
    exchange(told, api);
    verify(told, api);
    told.gauge(
        "gwa_followers",
        "Addresses that asked for heads in the last seven days.",
        api.mirrors.count(api.node.now()),
    );
    told.gauge(
        "gwa_name_failing",
        "1 where a name of the archive leads to no newer head.",
        u64::from(api.name_trouble.now().is_some()),
    );
}

fn store(told: &mut Exposition, api: &Api) {
    let status = api.carrier.as_ref().map(|carrier| carrier.status());
    let status = status.as_ref();
    told.gauge_if(
        "gwa_store_up",
        "1 where the store took what it was brought last, 0 where it did not; absent without one.",
        status.map(|store| u64::from(store.failing_since.is_none())),
    );
    told.gauge_if(
        "gwa_store_failing_since_timestamp_seconds",
        "Since when nothing could be brought to the store; absent while it can.",
        status.and_then(|store| store.failing_since.map(u64::from)),
    );
    told.gauge_if(
        "gwa_store_head_seq",
        "The number of the newest head that the store keeps, as far as it said.",
        status.and_then(|store| store.seq),
    );
    told.gauge_if(
        "gwa_store_waiting_files",
        "Files that the store lacks; absent where it did not say what it keeps.",
        status.and_then(|store| store.waiting_files),
    );
    told.gauge_if(
        "gwa_store_waiting_bytes",
        "Bytes of those.",
        status.and_then(|store| store.waiting_bytes),
    );
    told.gauge_if(
        "gwa_store_evicted_files",
        "Files of days that the store alone keeps.",
        status.map(|store| store.evicted_files),
    );
    told.gauge_if(
        "gwa_store_lost_files",
        "Files that neither the store nor this disk has.",
        status.map(|store| store.lost_files),
    );
}

fn p2p(told: &mut Exposition, api: &Api) {
    let node = api.p2p.as_ref();
    told.gauge_if(
        "gwa_p2p_peers",
        "libp2p peers connected; absent where libp2p is off.",
        node.map(|node| node.peers() as u64),
    );
    let mut count = |name, help, of: fn(&Counters) -> &AtomicU64| {
        let count = node.map(|node| of(node.counters()).load(Ordering::Relaxed));
        told.counters(name, help, count.map(|count| (Labels::new(), count)));
    };
    count("gwa_p2p_wants_total", "Wants that came.", |all| &all.wants);
    count("gwa_p2p_blocks_total", "Blocks sent over bitswap.", |all| {
        &all.blocks
    });
    count("gwa_p2p_bytes_total", "Bytes of those.", |all| &all.bytes);
    let help = "libp2p peers dropped for what they sent.";
    count("gwa_p2p_drops_total", help, |all| &all.dropped);
    let dht = node.and_then(|node| node.dht().map(|standing| *standing.borrow()));
    told.gauge_if(
        "gwa_dht_reached",
        "1 where a node of the DHT answered when one was last asked; absent where it is off.",
        dht.map(|dht| u64::from(dht.reached)),
    );
    told.gauge_if(
        "gwa_dht_roots",
        "Blocks that are to be announced in the DHT.",
        dht.map(|dht| dht.roots as u64),
    );
    told.gauge_if(
        "gwa_dht_announced",
        "How many of those were, less than 22 hours ago.",
        dht.map(|dht| dht.announced as u64),
    );
}

fn follow(told: &mut Exposition, api: &Api) {
    let follow = &api.follow;
    let outcomes = [
        ("succeeded", follow.succeeded.get()),
        ("failed", follow.failed.get()),
    ];
    told.counters(
        "gwa_follow_rounds_total",
        "How often another's head was asked for, by what came of it.",
        outcomes.map(|(outcome, count)| (vec![("outcome", outcome)], count)),
    );
    told.gauge_if(
        "gwa_follow_last_success_timestamp_seconds",
        "When all of another's newest head was last here; absent before.",
        follow.last_success().map(|at| at.0.into()),
    );
    told.gauge_if(
        "gwa_follow_leader_seq",
        "The number of the newest head that a mirror's leader told of; absent elsewhere.",
        follow.leader(),
    );
}

fn exchange(told: &mut Exposition, api: &Api) {
    let totals = *api.exchanged.borrow();
    told.counter(
        "gwa_exchange_pulls_total",
        "Comparisons with other archivers that ended.",
        totals.pulls,
    );
    told.counter(
        "gwa_exchange_stored_total",
        "Envelopes that comparisons brought.",
        totals.stored,
    );
    told.counter(
        "gwa_exchange_unfit_total",
        "Envelopes of other archivers that were not taken.",
        totals.unfit,
    );
    told.counter(
        "gwa_exchange_bytes_total",
        "Bytes of all messages of comparisons, both ways.",
        totals.exchanged,
    );
}

fn verify(told: &mut Exposition, api: &Api) {
    let last = api.verifier.last();
    told.gauge(
        "gwa_verify_running",
        "1 while a verification runs.",
        u64::from(api.verifier.is_running()),
    );
    told.gauge_if(
        "gwa_verify_last_timestamp_seconds",
        "When the last verification that came to its end began; absent before.",
        last.map(|last| last.started.into()),
    );
    told.gauge_if(
        "gwa_verify_faults",
        "Faults that it found.",
        last.map(|last| last.faults as u64),
    );
}
