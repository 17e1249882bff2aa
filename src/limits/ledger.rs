//! Who was dropped or refused, and why.
//!
//! Always true:
//! - Every drop is counted by its [`Reason`]; the last [`KEPT`] are kept with
//!   whom they hit.
//! - The same again, soon after, counts up instead of pushing others out: a flood
//!   does not hide what came before it.
//! - What a peer says about itself is cut short and cleared of control characters
//!   before it is kept.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::rlpx::NodeId;
use crate::time::UnixSeconds;

/// Drops that are kept: some screens full, under 200 KiB.
pub const KEPT: usize = 256;

/// How many of the last drops are looked through for the same.
const SAME_WITHIN: usize = 32;

/// Longest client name that is kept, in characters.
const CLIENT_LEN: usize = 64;

/// Longest detail that is kept, in characters.
const DETAIL_LEN: usize = 200;

/// Why a connection ended, or a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Its address opened too many connections.
    ConnectionRate,
    /// Its handshake made room for a newcomer's.
    Displaced,
    /// Its handshake took too long.
    HandshakeTimeout,
    /// Its handshake, or its Hello, did not read.
    Handshake,
    /// It speaks no Whisper.
    NoSharedProtocol,
    /// It is not who it said, or this node itself.
    Identity,
    /// It is connected already.
    AlreadyConnected,
    /// All places are taken.
    TooManyPeers,
    /// All places for its address are taken.
    TooManyOfAddress,
    /// It did not introduce itself.
    NoStatus,
    /// A frame or its compression did not read.
    BadFrame,
    /// A packet broke the protocol.
    Violation,
    /// It sent too much that is good for nothing.
    Flood,
    /// It did not read what it was sent.
    SlowReader,
    /// Nothing was heard of it for too long.
    Silent,
    /// The operator had it dropped.
    Requested,
    /// It left.
    Left,
    /// The connection failed.
    Network,
    /// A request beyond its rate; the connection was kept.
    RequestRate,
    /// A request beyond the bytes it may be answered; the connection was kept.
    AnswerBudget,
}

impl Reason {
    /// All there are.
    pub const ALL: &'static [Self] = &[
        Self::ConnectionRate,
        Self::Displaced,
        Self::HandshakeTimeout,
        Self::Handshake,
        Self::NoSharedProtocol,
        Self::Identity,
        Self::AlreadyConnected,
        Self::TooManyPeers,
        Self::TooManyOfAddress,
        Self::NoStatus,
        Self::BadFrame,
        Self::Violation,
        Self::Flood,
        Self::SlowReader,
        Self::Silent,
        Self::Requested,
        Self::Left,
        Self::Network,
        Self::RequestRate,
        Self::AnswerBudget,
    ];

    /// The word for it, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectionRate => "connection-rate",
            Self::Displaced => "displaced",
            Self::HandshakeTimeout => "handshake-timeout",
            Self::Handshake => "handshake",
            Self::NoSharedProtocol => "no-shared-protocol",
            Self::Identity => "identity",
            Self::AlreadyConnected => "already-connected",
            Self::TooManyPeers => "too-many-peers",
            Self::TooManyOfAddress => "too-many-of-address",
            Self::NoStatus => "no-status",
            Self::BadFrame => "bad-frame",
            Self::Violation => "violation",
            Self::Flood => "flood",
            Self::SlowReader => "slow-reader",
            Self::Silent => "silent",
            Self::Requested => "requested",
            Self::Left => "left",
            Self::Network => "network",
            Self::RequestRate => "request-rate",
            Self::AnswerBudget => "answer-budget",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One drop or refusal, or several that are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// When, the last time.
    pub at: UnixSeconds,
    /// Why.
    pub reason: Reason,
    /// Whose, where it was known yet: 128 hex digits.
    pub peer: Option<String>,
    /// From where.
    pub ip: IpAddr,
    /// What the peer calls itself; empty where unknown.
    pub client: String,
    /// What exactly was wrong.
    pub detail: String,
    /// How many times.
    pub times: u64,
}

impl Dropped {
    /// A drop of somebody whose name is not known yet.
    pub fn of_address(at: UnixSeconds, reason: Reason, ip: IpAddr, detail: &str) -> Self {
        Self {
            at,
            reason,
            peer: None,
            ip: ip.to_canonical(),
            client: String::new(),
            detail: readable(detail, DETAIL_LEN),
            times: 1,
        }
    }

    /// The same, now that its name is known.
    #[must_use]
    pub fn by(mut self, peer: &NodeId, client: &str) -> Self {
        self.peer = Some(hex::encode(peer.0));
        self.client = readable(client, CLIENT_LEN);
        self
    }

    fn is_same(&self, other: &Self) -> bool {
        self.reason == other.reason && self.ip == other.ip && self.peer == other.peer
    }
}

/// `text` as it may be shown: so many characters, none of them control.
fn readable(text: &str, most: usize) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    text.chars().take(most).map(shown).collect()
}

/// How often a reason was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// The reason.
    pub reason: Reason,
    /// How often.
    pub count: u64,
}

/// The ledger.
#[derive(Debug, Default)]
pub struct Ledger {
    drops: VecDeque<Dropped>,
    counts: BTreeMap<Reason, u64>,
}

impl Ledger {
    /// Takes a drop down. True if it is not the same as one just before.
    pub fn record(&mut self, drop: Dropped) -> bool {
        *self.counts.entry(drop.reason).or_default() += 1;
        let recent = self.drops.len().saturating_sub(SAME_WITHIN);
        if let Some(same) = self
            .drops
            .range_mut(recent..)
            .find(|one| one.is_same(&drop))
        {
            same.times += 1;
            same.at = drop.at;
            same.detail = drop.detail;
            return false;
        }
        if self.drops.len() >= KEPT {
            self.drops.pop_front();
        }
        self.drops.push_back(drop);
        true
    }

    /// The last drops, newest first.
    pub fn drops(&self) -> Vec<Dropped> {
        self.drops.iter().rev().cloned().collect()
    }

    /// How often each reason was given, those that never were left out.
    pub fn counts(&self) -> Vec<DropCount> {
        let counts = self.counts.iter();
        counts
            .map(|(&reason, &count)| DropCount { reason, count })
            .collect()
    }

    /// How often `reason` was given.
    pub fn count(&self, reason: Reason) -> u64 {
        self.counts.get(&reason).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn drop(n: u32, reason: Reason) -> Dropped {
        let ip = Ipv4Addr::from_bits(0x0b00_0000 | n);
        Dropped::of_address(UnixSeconds(n), reason, ip.into(), "because")
    }

    #[test]
    fn a_flood_does_not_hide_what_came_before() {
        let mut ledger = Ledger::default();
        assert!(ledger.record(drop(1, Reason::Violation)));
        for _ in 0..10_000 {
            ledger.record(drop(2, Reason::Displaced));
        }
        let drops = ledger.drops();
        assert_eq!(drops.len(), 2);
        assert_eq!(
            (drops[0].reason, drops[0].times),
            (Reason::Displaced, 10_000)
        );
        assert_eq!(drops[1].reason, Reason::Violation);
        assert_eq!(ledger.count(Reason::Displaced), 10_000);
    }

    #[test]
    fn only_so_many_are_kept_and_all_are_counted() {
        let mut ledger = Ledger::default();
        for n in 0..1_000 {
            ledger.record(drop(n, Reason::Left));
        }
        assert_eq!(ledger.drops().len(), KEPT);
        assert_eq!(ledger.drops()[0].at, UnixSeconds(999));
        let left = DropCount {
            reason: Reason::Left,
            count: 1_000,
        };
        assert_eq!(ledger.counts(), [left]);
    }

    #[test]
    fn what_a_peer_says_is_cut_and_cleaned() {
        let rude = format!("evil\u{1b}[31m{}", "x".repeat(10_000));
        let one = drop(1, Reason::Left).by(&NodeId([7; 64]), &rude);
        assert_eq!(one.client.chars().count(), CLIENT_LEN);
        assert!(one.client.starts_with("evil?[31mx"));
        assert_eq!(one.peer.unwrap(), "07".repeat(64));
    }

    #[test]
    fn a_reason_has_one_name_in_text_and_json() {
        for reason in [
            Reason::ConnectionRate,
            Reason::TooManyOfAddress,
            Reason::NoStatus,
            Reason::AnswerBudget,
        ] {
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(json, format!("\"{}\"", reason.name()));
        }
    }
}
