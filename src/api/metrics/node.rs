//! Figures of the Whisper node: envelopes, peers, drops.

use crate::limits::Reason;
use crate::metrics::Exposition;
use crate::time::UnixSeconds;
use crate::whisper::node::{CounterValues, NodeControl};

pub(super) fn tell(told: &mut Exposition, node: &NodeControl, last_stored: Option<UnixSeconds>) {
    let counted = node.counters();
    envelopes(told, &counted, last_stored);
    let (alive, bytes) = node.pooled();
    told.gauge(
        "gwa_pool_envelopes",
        "Envelopes that are alive and passed on to peers.",
        alive as u64,
    );
    told.gauge("gwa_pool_bytes", "Bytes of those.", bytes as u64);
    peers(told, node, &counted);
}

fn envelopes(told: &mut Exposition, counted: &CounterValues, last_stored: Option<UnixSeconds>) {
    told.counter(
        "gwa_envelopes_received_total",
        "Envelopes received from peers, or posted here.",
        counted.received,
    );
    told.counter(
        "gwa_envelopes_stored_total",
        "Envelopes received that were new, and are durable.",
        counted.stored,
    );
    told.counter(
        "gwa_envelopes_duplicate_total",
        "Envelopes received that were held already.",
        counted.duplicate,
    );
    told.counter(
        "gwa_envelopes_stale_total",
        "Envelopes received that had died moments ago.",
        counted.stale,
    );
    told.counter(
        "gwa_envelopes_failed_total",
        "Envelopes received that could not be stored; nobody was told they were.",
        counted.failed,
    );
    let refused = counted.refused;
    let reasons = [
        ("future", refused.future),
        ("very-old", refused.very_old),
        ("low-pow", refused.low_pow),
        ("too-large", refused.too_large),
        ("unwanted-topic", refused.unwanted_topic),
    ];
    told.counters(
        "gwa_envelopes_refused_total",
        "Envelopes received that were refused, by reason.",
        reasons.map(|(reason, count)| (vec![("reason", reason)], count)),
    );
    told.counter(
        "gwa_envelopes_relayed_total",
        "Envelopes sent on, counted for each peer.",
        counted.relayed,
    );
    told.gauge_if(
        "gwa_last_envelope_timestamp_seconds",
        "When an envelope that was new was last stored; absent before the first.",
        last_stored.map(|at| at.0.into()),
    );
}

fn peers(told: &mut Exposition, node: &NodeControl, counted: &CounterValues) {
    let (inbound, outbound) = node.peers_by_direction();
    let directions = [("inbound", inbound), ("outbound", outbound)];
    told.gauges(
        "gwa_peers",
        "Whisper peers connected, by who dialled.",
        directions.map(|(direction, count)| (vec![("direction", direction)], count as u64)),
    );
    let (connected, most) = ((inbound + outbound) as u64, node.max_peers() as u64);
    told.gauge(
        "gwa_peers_max",
        "Whisper peers there may be, beside static and trusted ones.",
        most,
    );
    told.gauge(
        "p2p_peers_absolute",
        "Absolute number of connected peers; status-go's name.",
        connected,
    );
    told.gauge(
        "p2p_peers_max",
        "Maximum number of peers that can connect; status-go's name.",
        most,
    );
    let counts = node.drop_counts();
    let of = |reason: Reason| {
        let mut given = counts.iter();
        given.find(|one| one.reason == reason)
    };
    told.counters(
        "gwa_peer_drops_total",
        "Peers dropped or turned away, and requests refused for their rate, by reason.",
        Reason::ALL.iter().map(|&reason| {
            let count = of(reason).map_or(0, |one| one.count);
            (vec![("reason", reason.name())], count)
        }),
    );
    told.counter(
        "gwa_peer_violations_total",
        "Peers dropped for breaking the protocol.",
        counted.violations,
    );
    told.gauge_if(
        "gwa_discovered_nodes",
        "Nodes that discovery knows; absent where it is off.",
        node.discovered().map(|count| count as u64),
    );
    let carried = node.carried();
    let ways = |received, sent| {
        [
            (vec![("direction", "received")], received),
            (vec![("direction", "sent")], sent),
        ]
    };
    told.counters(
        "gwa_peer_bytes_total",
        "Bytes exchanged with Whisper peers, uncompressed.",
        ways(carried.bytes_in, carried.bytes_out),
    );
    told.counters(
        "gwa_peer_packets_total",
        "Packets exchanged with Whisper peers.",
        ways(carried.packets_in, carried.packets_out),
    );
}
