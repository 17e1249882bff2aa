//! What waits to be sealed, and what an archive counts of itself.

use super::{Archive, MAX_WAITING, MAX_WAITING_BYTES};
use crate::archive::watermark::Watermark;
use crate::metrics::ArchiveMeters;
use crate::time::UnixSeconds;

impl Archive {
    /// How many envelopes wait to be sealed.
    pub fn waiting(&self) -> u64 {
        self.read_state().waiting.count()
    }

    /// Their bytes.
    pub fn waiting_bytes(&self) -> u64 {
        self.read_state().waiting.bytes()
    }

    /// Whether so much waits that a seal is due whatever the time.
    pub fn seal_is_due(&self, now: UnixSeconds) -> bool {
        let due = Watermark::due(now);
        let state = self.read_state();
        state.waiting.exceeds(MAX_WAITING, MAX_WAITING_BYTES, due)
    }

    /// What it counts of itself.
    pub fn meters(&self) -> &ArchiveMeters {
        &self.meters
    }
}
