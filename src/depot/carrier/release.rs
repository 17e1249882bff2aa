//! What goes once a head is kept: at the depot what is nobody's any more, from this disk
//! the oldest days.
//!
//! Always true:
//! - Superseded files are released after the head that supersedes them is there, and only
//!   where no later head is here yet.
//! - Hours, deltas and calendar are released only where this disk has all that the head
//!   reaches of them: what it has lost is in the depot alone, under a name that nobody
//!   here knows any more.
//! - A day leaves this disk only after the depot, with a head above it, said that it
//!   keeps this very file and gave every block of it back.

use super::super::bring::{bring_again, keep, read_back};
use super::super::plan::{KeptFiles, to_evict, to_release};
use super::{Carried, Carrier, CarryError, DepotError};
use crate::archive::disk::Stop;
use crate::archive::head::Head;
use crate::archive::watermark::Day;
use crate::blocks::{BlockStore, Group, group_of};

impl Carrier {
    /// Says which days were dropped, before the first of them goes.
    fn say_dropped(&self) -> Result<(), CarryError> {
        let before = self.archive.kept_from();
        if before > Day(0) && self.state().dropped != Some(before) {
            self.depot.say_dropped(before)?;
            self.state().dropped = Some(before);
        }
        Ok(())
    }

    /// Releases what was superseded or dropped.
    pub(super) fn release(
        &self,
        head: &Head,
        kept: &mut KeptFiles,
        stop: &Stop,
        carried: &mut Carried,
    ) -> Result<(), CarryError> {
        let blocks = self.archive.blocks();
        let here = blocks.folder().files()?;
        let evicted = blocks.evicted();
        // What a later head supersedes, the one there may still reach.
        if self.archive.head_cid() != Some(*head.cid()) {
            return Ok(());
        }
        self.say_dropped()?;
        let is_day = |name: &str| matches!(group_of(name), Some(Group::Day(_)));
        let mut released = to_release(&here, &evicted, kept, self.archive.kept_from());
        if released.iter().any(|name| !is_day(name)) && !self.has_its_own(head) {
            released.retain(|name| is_day(name));
        }
        if let Some(writer) = self.writer.get().filter(|_| !released.is_empty()) {
            // Another may have taken its turn since the depot said what it keeps.
            match writer.still_holds() {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    tracing::debug!(%error, "nothing is released now");
                    return Ok(());
                }
            }
        }
        for name in released {
            if stop.is_stopped() {
                return Err(CarryError::Stopped);
            }
            self.depot.release(&name)?;
            kept.remove(&name);
            carried.released += 1;
        }
        Ok(())
    }

    /// Whether this disk has all that a head reaches outside days; the log says once what
    /// it lacks.
    fn has_its_own(&self, head: &Head) -> bool {
        let lacks = self.archive.blocks().require_all_but_days(head);
        let lacks = lacks.err().map(|error| error.to_string());
        let told = &mut self.state().told_held;
        if let Some(error) = lacks.as_ref().filter(|_| *told != lacks) {
            let store = &self.address;
            tracing::error!(
                error,
                store,
                "nothing but days is released there: this disk lacks what its head names; `gwa repair` fetches it"
            );
        }
        told.clone_from(&lacks);
        lacks.is_none()
    }

    /// Lets the oldest days go from this disk; false where a file went meanwhile. Reading
    /// them back takes long: where there is a newer head the rest waits for its round.
    pub(super) fn evict(
        &self,
        head: &Head,
        kept: &KeptFiles,
        stop: &Stop,
        carried: &mut Carried,
    ) -> Result<bool, CarryError> {
        let folder = self.archive.blocks().folder();
        for file in to_evict(&folder.files()?, kept, self.keep) {
            if stop.is_stopped() {
                return Err(CarryError::Stopped);
            }
            if !keep(&*self.depot, folder, &file)? {
                return Ok(false);
            }
            match read_back(&*self.depot, folder, &file, stop) {
                Ok(()) => {
                    let bytes = self.archive.evict(&file.name, &self.address)?;
                    carried.evicted += u64::from(bytes > 0);
                    carried.evicted_bytes += bytes;
                }
                Err(CarryError::Depot(error @ DepotError::Lost { .. })) => {
                    tracing::error!(%error, "it is carried again, and stays here until it is right");
                    if !bring_again(&*self.depot, folder, &file)? {
                        return Ok(false);
                    }
                    carried.files += 1;
                    carried.bytes += file.bytes;
                }
                Err(error) => return Err(error),
            }
            // After at least one, so that each round gets on.
            if self.archive.head_cid() != Some(*head.cid()) {
                break;
            }
        }
        self.count_evicted();
        Ok(true)
    }
}
