//! The one of several machines with an archive's key that seals.
//!
//! Always true:
//! - A head is stored on this machine after its number was [claimed](claims) in the
//!   depot, and claimed after all that it reaches is there.
//! - What is on this machine is what was claimed, up to some number: before it seals
//!   it goes over to the newest head that anybody claimed.
//! - While the depot is away nothing is sealed, and nothing is lost: what was
//!   acknowledged waits in the journal.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secp256k1::PublicKey;

use super::lease::{self, Holder, Record, Step, Tenant, Token};
use super::registry::Registry;
use super::{Depot, DepotError, Parcel, claims};
use crate::archive::disk::{Archive, DiskError, FollowError, Gate, GateError};
use crate::archive::head::{Head, Sequence};
use crate::blocks::{BlockFile, BlockStore, CarFolder, Cid, Group};
use crate::progress::Progress;
use crate::time::UnixSeconds;

/// Why a machine is not the one that seals.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// The depot.
    #[error(transparent)]
    Depot(#[from] DepotError),
    /// The depot knows no writing on a condition.
    #[error("{depot} cannot keep two writers apart: it knows no writing on a condition")]
    Unconditional {
        /// The depot.
        depot: String,
    },
    /// The depot is another archive's.
    #[error("{depot} holds the archive of another key")]
    AnotherKey {
        /// The depot.
        depot: String,
    },
    /// This machine has heads that the depot has not, and lacks those it has.
    #[error(
        "head {number} here is {here}, and {there} in {depot}: both were signed by this archive's key"
    )]
    TwoLineages {
        /// The depot.
        depot: String,
        /// The number that both have.
        number: Sequence,
        /// The head here.
        here: Box<Cid>,
        /// The head there.
        there: Box<Cid>,
    },
    /// Heads were signed by all that the depot says, and are not in it.
    #[error(
        "{depot} tells of head {number}, and holds none: carry it there from the machine that signed it"
    )]
    Gone {
        /// The depot.
        depot: String,
        /// The number that it tells of.
        number: u64,
    },
    /// This archive could not go over to the newest head.
    #[error("going over to the newest head: {0}")]
    Rejoin(#[from] FollowError),
    /// This archive.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another machine has the lease.
    #[error("another machine seals ({holder}); its lease is free in {} s unless it is written again", left.as_secs() + 1)]
    Held {
        /// Who has it.
        holder: String,
        /// How long it lasts yet.
        left: Duration,
    },
    /// The lease was not taken yet.
    #[error("the lease was not asked for yet")]
    Unasked,
}

/// How a machine stands to the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The number under which it seals.
    pub token: Token,
    /// Whether that began just now.
    pub is_new: bool,
}

/// A machine that seals, or waits for its turn.
pub struct Writer {
    depot: Arc<dyn Depot>,
    key: PublicKey,
    began: Instant,
    /// Held by whoever writes the lease.
    beating: Mutex<()>,
    state: Mutex<State>,
}

struct State {
    tenant: Tenant,
    /// The token under which the newest head was looked for.
    joined: Option<Token>,
    /// The number of the newest head here.
    number: u64,
    /// Why nothing is sealed now.
    why: Option<String>,
}

impl Writer {
    /// One that writes to `depot` the heads of `key`; nothing is asked yet.
    pub fn new(depot: Arc<dyn Depot>, key: PublicKey) -> Result<Self, WriterError> {
        Self::with_span(depot, key, lease::SPAN)
    }

    /// As [`Self::new`], with a lease of another span.
    pub fn with_span(
        depot: Arc<dyn Depot>,
        key: PublicKey,
        span: Duration,
    ) -> Result<Self, WriterError> {
        if depot.registry().is_none() {
            let depot = depot.name().to_owned();
            return Err(WriterError::Unconditional { depot });
        }
        let state = State {
            tenant: Tenant::new(Holder::random(), span),
            joined: None,
            number: 0,
            why: None,
        };
        Ok(Self {
            depot,
            key,
            began: Instant::now(),
            beating: Mutex::default(),
            state: Mutex::new(state),
        })
    }

    fn registry(&self) -> &dyn Registry {
        let registry = self.depot.registry();
        registry.expect("it was there when this was made")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Writes the lease again, or takes it where it is free; with `force` from a
    /// holder that is known to be dead.
    fn beat(&self, force: bool) -> Result<Token, WriterError> {
        let _beating = self.beating.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.registry().entry(lease::NAME)?;
        let step = {
            let mut state = self.state();
            let now = self.now();
            if !state.tenant.read(now, entry) {
                return Err(self.refused(format!("{} is no lease", lease::NAME)).into());
            }
            state.tenant.next(now, force, state.number)
        };
        let (record, on) = match step {
            Step::Wait(left) => {
                let holder = self.state().tenant.holder();
                let holder = holder.map_or_else(String::new, |holder| holder.to_string());
                return Err(WriterError::Held { holder, left });
            }
            Step::Write(record, on) => (record, on),
        };
        let asked = self.now();
        let bytes = record.encode();
        let written = match &on {
            None => self.registry().create(lease::NAME, &bytes)?,
            Some(version) => self.registry().replace(lease::NAME, &bytes, version)?,
        };
        let mut state = self.state();
        state.tenant.wrote(asked, record, written);
        let now = self.now();
        state.tenant.token(now).ok_or_else(|| WriterError::Held {
            holder: "which was faster".to_owned(),
            left: Duration::ZERO,
        })
    }

    fn refused(&self, what: String) -> DepotError {
        DepotError::Refused {
            depot: self.depot.name().to_owned(),
            what,
        }
    }

    /// Keeps the lease, or takes it; a new holder goes over to the newest head. Called
    /// every [`lease::BEAT_EVERY`].
    pub fn round(
        &self,
        archive: &Archive,
        force: bool,
        now: UnixSeconds,
        progress: &dyn Progress,
    ) -> Result<Standing, WriterError> {
        let done = self.try_round(archive, force, now, progress);
        self.state().why = done.as_ref().err().map(ToString::to_string);
        done
    }

    fn try_round(
        &self,
        archive: &Archive,
        force: bool,
        now: UnixSeconds,
        progress: &dyn Progress,
    ) -> Result<Standing, WriterError> {
        let here = archive.head().map_or(0, |head| head.body().sequence.0);
        self.state().number = here;
        let token = self.beat(force)?;
        let is_new = self.state().joined != Some(token);
        if is_new {
            self.state().joined = None;
            self.join(archive, token, now, progress)?;
            self.state().joined = Some(token);
        }
        Ok(Standing { token, is_new })
    }

    /// Brings this archive and the depot to one head.
    fn join(
        &self,
        archive: &Archive,
        token: Token,
        now: UnixSeconds,
        progress: &dyn Progress,
    ) -> Result<(), WriterError> {
        let told = self.state().tenant.number();
        let there = claims::newest(&*self.depot, self.registry(), told)?;
        let depot = || self.depot.name().to_owned();
        if there.as_ref().is_some_and(|head| *head.key() != self.key) {
            return Err(WriterError::AnotherKey { depot: depot() });
        }
        let here = archive.head();
        let number = |head: &Option<Head>| head.as_ref().map_or(0, |head| head.body().sequence.0);
        let from = match &there {
            None if told > number(&here) => {
                let depot = depot();
                return Err(WriterError::Gone {
                    depot,
                    number: told,
                });
            }
            // The depot is new, and learns of the newest head alone.
            None => number(&here).max(1),
            Some(there) if number(&here) < there.body().sequence.0 => {
                // What was carried just before a claim may be in no list yet.
                self.depot.kept()?;
                let source = claims::Heads::new(&*self.depot, self.registry(), there);
                archive.rejoin(there, &source, now, progress)?;
                return Ok(());
            }
            Some(there) => {
                let sequence = there.body().sequence;
                let same = archive.blocks().heads().by_sequence(sequence)?;
                match same {
                    Some(same) if same.cid() != there.cid() => {
                        return Err(WriterError::TwoLineages {
                            depot: depot(),
                            number: sequence,
                            here: Box::new(*same.cid()),
                            there: Box::new(*there.cid()),
                        });
                    }
                    _ => sequence.0 + 1,
                }
            }
        };
        // Heads that were signed before there was a depot.
        if from <= number(&here) {
            self.carry(archive.blocks().folder())?;
        }
        for sequence in from..=number(&here) {
            if let Some(head) = archive.blocks().heads().by_sequence(Sequence(sequence))? {
                claims::claim(self.depot.name(), self.registry(), &head, token)?;
            }
        }
        Ok(())
    }

    /// Brings to the depot the files that it lacks.
    fn carry(&self, folder: &CarFolder) -> Result<(), WriterError> {
        let kept: HashSet<String> = self.depot.kept()?.into_iter().collect();
        let files = folder.files().map_err(DiskError::from)?;
        let mut lacking: Vec<BlockFile> = files
            .into_iter()
            .filter(|file| !kept.contains(&file.name))
            .collect();
        lacking.sort_by_key(|file| match file.group {
            Group::Day(_) => 0,
            Group::Hour(_) => 1,
            Group::Calendar => 2,
            Group::Delta(_) => 3,
        });
        for file in &lacking {
            let (car, root) = folder.locate(&file.name).map_err(DiskError::from)?;
            let car = &car;
            self.depot.keep(&Parcel { file, root, car })?;
        }
        Ok(())
    }

    /// The token, where it holds and the newest head was looked for under it.
    fn sealing(&self) -> Option<Token> {
        let now = self.now();
        let state = self.state();
        let token = state.tenant.token(now)?;
        (state.joined == Some(token)).then_some(token)
    }

    /// Whether a seal may begin.
    pub fn may_seal(&self) -> bool {
        self.sealing().is_some()
    }

    /// Whether this machine holds the lease by what the depot says now: asked before
    /// anything is deleted there.
    pub fn still_holds(&self) -> Result<bool, WriterError> {
        let _beating = self.beating.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.registry().entry(lease::NAME)?;
        let now = self.now();
        self.state().tenant.read(now, entry);
        Ok(self.may_seal())
    }

    /// Gives the lease back, so that another need not wait for it.
    pub fn give_back(&self) -> Result<(), WriterError> {
        let _beating = self.beating.lock().unwrap_or_else(PoisonError::into_inner);
        let given = {
            let mut state = self.state();
            state.joined = None;
            let number = state.number;
            let given = state.tenant.give_back();
            given.map(|(record, version)| {
                let number = record.number.max(number);
                (Record { number, ..record }, version)
            })
        };
        if let Some((record, version)) = given {
            self.registry()
                .replace(lease::NAME, &record.encode(), &version)?;
        }
        Ok(())
    }

    fn try_claim(&self, head: &Head, folder: &CarFolder) -> Result<(), WriterError> {
        self.carry(folder)?;
        // Carrying may have taken long.
        let token = match self.sealing() {
            Some(token) => token,
            None => self.beat(false)?,
        };
        if self.state().joined != Some(token) {
            return Err(WriterError::Unasked);
        }
        let claimed = claims::claim(self.depot.name(), self.registry(), head, token);
        let mut state = self.state();
        if let Err(DepotError::Overtaken { .. }) = &claimed {
            state.joined = None;
        }
        claimed?;
        state.number = head.body().sequence.0;
        Ok(())
    }
}

/// A command that ends in the middle of something leaves the lease to others.
impl Drop for Writer {
    fn drop(&mut self) {
        let holds = self.may_seal();
        // Asynchronous code must not wait for a network, whoever drops this.
        std::thread::scope(|scope| {
            let given = holds.then(|| scope.spawn(|| self.give_back()));
            if let Some(Ok(Err(error))) = given.map(std::thread::ScopedJoinHandle::join) {
                tracing::debug!(%error, "the lease runs out by itself");
            }
        });
    }
}

impl Gate for Writer {
    fn admit(&self) -> Result<(), GateError> {
        match self.sealing() {
            Some(_) => Ok(()),
            None => {
                let why = self.state().why.clone();
                Err(GateError::new(
                    why.unwrap_or_else(|| WriterError::Unasked.to_string()),
                ))
            }
        }
    }

    fn claim(&self, head: &Head, folder: &CarFolder) -> Result<(), GateError> {
        self.try_claim(head, folder).map_err(GateError::new)
    }
}

#[cfg(test)]
mod tests;
