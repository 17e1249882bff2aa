//! Fetching the history that a fork rests on.
//!
//! Always true: what is fetched was hashed and recomputed as a mirror's is. An
//! archive is called complete once everything its head named was on this disk;
//! it may be stopped anywhere, and goes on from there.

use std::ops::ControlFlow;

use super::{Archive, DiskError, Stop, sealed_by};
use crate::archive::copy::{Copied, CopyRequest, copy};
use crate::blocks::{Block, BlockError, BlockSource, Cid};
use crate::progress::Progress;

impl Archive {
    /// Whether all that its head names is meant to be on this disk: true of
    /// whatever is no fork, and of a fork whose history was fetched.
    pub fn is_complete(&self) -> bool {
        self.origin().is_none_or(|origin| origin.complete)
    }

    /// Fetches from `source` what this disk lacks of the current head's history.
    /// Seals may go on meanwhile.
    pub fn complete(
        &self,
        source: &dyn BlockSource,
        stop: &Stop,
        progress: &dyn Progress,
    ) -> Result<Copied, DiskError> {
        let head = self.head().ok_or_else(|| DiskError::NoHead {
            dir: self.dir.clone(),
        })?;
        let request = CopyRequest {
            source: &stop.guard(source),
            store: &self.blocks.own(),
            sealed: &sealed_by(&head),
            head: *head.cid(),
            added: head.body().added,
            sequence: head.body().sequence.0,
            from: self.kept_from(),
        };
        let copied = match copy(&request, progress) {
            Err(_) if stop.is_stopped() => return Err(DiskError::Stopped),
            other => other?,
        };
        if let Some(mut origin) = self.origin().filter(|origin| !origin.complete) {
            origin.complete = true;
            self.set_origin(origin)?;
        }
        Ok(copied)
    }
}

impl Stop {
    /// `source`, until this is stopped.
    pub fn guard<'a>(&'a self, source: &'a dyn BlockSource) -> Stoppable<'a> {
        Stoppable { source, stop: self }
    }
}

/// A source until it is stopped; see [`Stop::guard`].
pub struct Stoppable<'a> {
    source: &'a dyn BlockSource,
    stop: &'a Stop,
}

impl Stoppable<'_> {
    fn check(&self) -> Result<(), BlockError> {
        if self.stop.is_stopped() {
            return Err(BlockError::Io {
                path: "source".into(),
                source: std::io::ErrorKind::Interrupted.into(),
            });
        }
        Ok(())
    }

    /// Whether whoever takes blocks breaks off, or is made to.
    fn go_on(&self, taken: ControlFlow<()>) -> ControlFlow<()> {
        if self.stop.is_stopped() {
            return ControlFlow::Break(());
        }
        taken
    }
}

impl BlockSource for Stoppable<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.check()?;
        self.source.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.check()?;
        self.source.has(cid)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        self.check()?;
        self.source
            .get_each(cids, &mut |block| self.go_on(take(block)))?;
        self.check()
    }

    fn get_dag(
        &self,
        root: &Cid,
        skip: &dyn Fn(&Cid) -> bool,
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        self.check()?;
        self.source
            .get_dag(root, skip, &mut |block| self.go_on(take(block)))?;
        self.check()
    }
}
