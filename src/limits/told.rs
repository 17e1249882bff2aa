//! Limits as an operator is shown them.

use crate::limits::Limits;

/// A bound, and why it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToldLimit {
    /// Its key in `[limits]`.
    pub name: &'static str,
    /// What holds.
    pub value: u64,
    /// What it bounds.
    pub reason: &'static str,
}

impl Limits {
    /// Every number that an operator may set.
    pub fn told(&self) -> Vec<ToldLimit> {
        let Self {
            // No number.
            exempt_local: _,
            max_peers,
            peers_per_address,
            handshakes_per_address,
            connections_per_minute,
            requests_per_second,
            open_requests_per_second,
            answer_kib_per_second,
            receive_kib_per_second,
            packets_per_second,
            envelopes_per_second,
        } = self;
        let limit = |name, value, reason| ToldLimit {
            name,
            value,
            reason,
        };
        let count = |name, value: usize, reason| limit(name, value as u64, reason);
        let rate = |name, value: u32, reason| limit(name, value.into(), reason);
        vec![
            count(
                "max-peers",
                max_peers.get(),
                "peers at a time, beside static and trusted ones",
            ),
            count(
                "peers-per-address",
                peers_per_address.get(),
                "no host holds every place",
            ),
            count(
                "handshakes-per-address",
                handshakes_per_address.get(),
                "no host holds every handshake",
            ),
            rate(
                "connections-per-minute",
                connections_per_minute.get(),
                "new connections of an address",
            ),
            rate(
                "requests-per-second",
                requests_per_second.get(),
                "sealed mail requests of a peer: a client that was offline asks page after page",
            ),
            rate(
                "open-requests-per-second",
                open_requests_per_second.get(),
                "mail requests without encryption prove nothing",
            ),
            rate(
                "answer-kib-per-second",
                answer_kib_per_second.get(),
                "KiB answered to a peer, or over HTTP to an address",
            ),
            rate(
                "receive-kib-per-second",
                receive_kib_per_second.get(),
                "KiB received from a peer; beyond it reading slows down",
            ),
            rate(
                "packets-per-second",
                packets_per_second.get(),
                "packets received from a peer; beyond it reading slows down",
            ),
            rate(
                "envelopes-per-second",
                envelopes_per_second.get(),
                "envelopes received from a peer; beyond it reading slows down",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_that_is_told_can_be_set_by_its_name() {
        for told in Limits::default().told() {
            let text = format!("{} = 7", told.name);
            let set: Limits = toml::from_str(&text).unwrap();
            let now = set.told().into_iter().find(|one| one.name == told.name);
            assert_eq!(now.unwrap().value, 7, "{text}");
        }
    }
}
