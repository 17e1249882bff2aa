//! What a peer's packets cost it.
//!
//! Always true:
//! - More than its rate makes a peer wait: nothing is read from it until what it
//!   sent is paid for, and TCP tells it to slow down.
//! - What is good for nothing is counted apart, and a flood of it ends the link:
//!   waiting would only make it last.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::limits::{Flood, Load, Nuisance, Party};
use crate::rlpx::session::Message;
use crate::whisper::node::guard::Guard;
use crate::whisper::node::tally::Tally;
use crate::whisper::packet::code;
use crate::whisper::peer::Action;

/// What one connection has to pay.
pub(super) struct Toll {
    party: Party,
    tally: Arc<Tally>,
    idle: Nuisance,
    repeats: Nuisance,
    paid_at: Option<Instant>,
}

impl Toll {
    pub(super) fn new(party: Party, tally: Arc<Tally>) -> Self {
        Self {
            party,
            tally,
            idle: Nuisance::of(Flood::Idle),
            repeats: Nuisance::of(Flood::Repeats),
            paid_at: None,
        }
    }

    /// Charges for a packet of `code` that led to `actions`, with `repeats`
    /// envelopes the peer had sent before.
    pub(super) fn charge(
        &mut self,
        guard: &Guard,
        message: &Message,
        code: u8,
        actions: &[Action],
        repeats: u64,
    ) -> Result<(), Flood> {
        let load = Load {
            packets: 1,
            bytes: count(message.payload.len()),
            envelopes: actions.iter().map(envelopes_in).sum(),
        };
        self.tally.received(&load);
        let now = Instant::now();
        if is_idle(code, &load, actions) {
            self.idle.count(1, now.into_std())?;
        }
        self.repeats.count(repeats, now.into_std())?;
        self.pay(guard, load, now);
        Ok(())
    }

    /// Charges for a message of the protocol beside Whisper.
    pub(super) fn charge_side(&mut self, guard: &Guard, message: &Message) {
        let load = Load {
            packets: 1,
            bytes: count(message.payload.len()),
            envelopes: 0,
        };
        self.tally.received(&load);
        self.pay(guard, load, Instant::now());
    }

    fn pay(&mut self, guard: &Guard, load: Load, now: Instant) {
        let wait = guard.received(&self.party, load);
        self.paid_at = (wait > Duration::ZERO).then(|| now + wait);
    }

    /// Whether nothing is to be read now.
    pub(super) fn is_owed(&self) -> bool {
        self.paid_at.is_some_and(|at| Instant::now() < at)
    }

    /// Resolves when reading may go on.
    pub(super) fn settled(&self) -> impl Future<Output = ()> + use<> {
        let at = self.paid_at.unwrap_or_else(Instant::now);
        sleep_until(at)
    }
}

/// Whether a packet is ignored, empty, or a change of mind. Confirmations lead to
/// nothing either, but answer what was sent.
fn is_idle(code: u8, load: &Load, actions: &[Action]) -> bool {
    match code {
        code::BATCH_ACKNOWLEDGED | code::MESSAGE_RESPONSE => false,
        code::MESSAGES => load.envelopes == 0,
        _ => actions.is_empty(),
    }
}

fn envelopes_in(action: &Action) -> u64 {
    match action {
        Action::Offer { envelopes, .. } | Action::Mail(envelopes) => count(envelopes.len()),
        _ => 0,
    }
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
