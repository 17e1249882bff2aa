//! The limits of a node at work: they are told the time here, and what they
//! refuse is logged.
//!
//! Always true: every connection that ends, but for our own end, and every request that is refused is
//! in the ledger and in the log; the log tells a flood of the same once.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{
    Address, DropCount, Dropped, Ledger, Limits, Load, Party, Reason, Refused, RequestKind, Traffic,
};
use crate::rlpx::session::SessionError;
use crate::rlpx::socket::LinkError;
use crate::time::Clock;

/// What all connections of a node are held to.
pub(super) struct Guard {
    limits: Limits,
    traffic: Mutex<Traffic>,
    ledger: Mutex<Ledger>,
    clock: Arc<dyn Clock>,
}

impl Guard {
    pub(super) fn new(limits: Limits, clock: Arc<dyn Clock>) -> Self {
        Self {
            traffic: Mutex::new(Traffic::new(limits.clone())),
            limits,
            ledger: Mutex::default(),
            clock,
        }
    }

    /// Whether limits by address do not hold for `address`.
    pub(super) fn exempts(&self, address: &Address) -> bool {
        self.limits.exempt_local && address.is_local()
    }

    /// How many handshakes of `address` may be pending, if that is limited.
    pub(super) fn handshakes_of(&self, address: &Address) -> Option<usize> {
        (!self.exempts(address)).then(|| self.limits.handshakes_per_address.get())
    }

    /// How many peers `address` may seat, if that is limited.
    pub(super) fn peers_of(&self, address: &Address) -> Option<usize> {
        (!self.exempts(address)).then(|| self.limits.peers_per_address.get())
    }

    /// An address opened a connection.
    pub(super) fn connect(&self, address: &Address) -> Result<(), Duration> {
        self.traffic().connect(address, now())
    }

    /// A peer sent something; how long to wait before reading on.
    pub(super) fn received(&self, from: &Party, load: Load) -> Duration {
        self.traffic().received(from, load, now())
    }

    /// A peer asks for mail.
    pub(super) fn request(&self, from: &Party, kind: RequestKind) -> Result<(), Refused> {
        self.traffic().request(from, kind, now())
    }

    /// A peer was sent bytes for its requests.
    pub(super) fn answered(&self, to: &Party, bytes: u64) {
        self.traffic().answered(to, bytes, now());
    }

    /// Takes down that somebody of unknown name was dropped.
    pub(super) fn dropped_stranger(&self, reason: Reason, ip: IpAddr, detail: &str) {
        self.record(Dropped::of_address(self.clock.now(), reason, ip, detail));
    }

    /// Takes down that a peer was dropped or refused.
    pub(super) fn dropped(&self, reason: Reason, who: &Known<'_>, detail: &str) {
        let drop = Dropped::of_address(self.clock.now(), reason, who.ip, detail);
        self.record(drop.by(&who.peer, who.client));
    }

    fn record(&self, drop: Dropped) {
        let Dropped {
            reason,
            ip,
            client,
            detail,
            ..
        } = drop.clone();
        let peer = drop.peer.clone();
        if self.ledger().record(drop) {
            tracing::info!(%reason, %ip, peer, client, detail, "dropped");
        } else {
            tracing::debug!(%reason, %ip, peer, client, detail, "dropped, as before");
        }
    }

    /// The last drops, newest first.
    pub(super) fn drops(&self) -> Vec<Dropped> {
        self.ledger().drops()
    }

    /// How often each reason was given.
    pub(super) fn counts(&self) -> Vec<DropCount> {
        self.ledger().counts()
    }

    // Nothing that changes either panics half way.
    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A peer that has proven its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) peer: crate::rlpx::NodeId,
    pub(super) ip: IpAddr,
    pub(super) client: &'a str,
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// Why a link that was open ended, in the ledger's words.
pub(super) fn reason_of(error: &LinkError) -> Reason {
    match error {
        LinkError::Eof => Reason::Left,
        LinkError::WriteTimeout => Reason::SlowReader,
        LinkError::HandshakeTimeout | LinkError::DialTimeout => Reason::HandshakeTimeout,
        LinkError::Handshake(_) => Reason::Handshake,
        LinkError::Io(_) | LinkError::Closed | LinkError::Key(_) => Reason::Network,
        LinkError::Session(error) => match error {
            SessionError::Frame(_) | SessionError::Snappy(_) => Reason::BadFrame,
            SessionError::Hello(_) | SessionError::NotHello { .. } => Reason::Handshake,
            SessionError::UnexpectedIdentity { .. } | SessionError::ToSelf => Reason::Identity,
            SessionError::NothingShared { .. } => Reason::NoSharedProtocol,
            SessionError::UnknownCode { .. } => Reason::Violation,
            SessionError::Silent => Reason::Silent,
            SessionError::Flood(_) => Reason::Flood,
            SessionError::Disconnected(_) => Reason::Left,
        },
    }
}
