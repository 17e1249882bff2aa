//! The one of several machines with an archive's key that seals.
//!
//! Always true:
//! - A head is stored on this machine after its number was [claimed](claims) in the
//!   depot, and claimed after all that it reaches is there.
//! - What is on this machine is what was claimed, up to some number: before it seals
//!   it goes over to the newest head that anybody claimed.
//! - While the depot is away nothing is sealed, and nothing is lost: what was
//!   acknowledged waits in the journal.
//! - A machine that waits for its turn goes over to the heads that the other shows, so
//!   that of what it took in only that waits here which is in none of them.
//! - A place was seen to keep its conditions before the lease is written there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secp256k1::PublicKey;

use super::bring::bring;
use super::carrier::CarryError;
use super::lease::{self, Holder, Record, Step, Tenant, Token};
use super::plan::{KeptFiles, plan};
use super::registry::{Registry, keeps_conditions};
use super::{Depot, DepotError, claims};
use crate::archive::disk::{Archive, DiskError, FollowError, Gate, GateError, Stop};
use crate::archive::head::{Head, Sequence};
use crate::blocks::{BlockStore, CarFolder, Cid};
use crate::progress::Progress;
use crate::time::UnixSeconds;

/// How often a machine that waits for its turn asks for newer heads: what is new is here
/// well before the next seal.
const KEEP_UP_EVERY: Duration = Duration::from_secs(60);

/// How often files are brought anew before a claim because some went meanwhile: the
/// carrier beside gives another name to each whose own is taken, and meets it so soon.
const PASSES: usize = 8;

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
    /// The depot does not do what a condition says.
    #[error(
        "{depot} cannot keep two writers apart: it writes over what is there, though it is told not to"
    )]
    Heedless {
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
    /// What a head reaches could not be brought there.
    #[error(transparent)]
    Carry(#[from] CarryError),
    /// The numbers of this archive's heads are claimed at another depot.
    #[error(
        "the numbers of this archive's heads are claimed at {there}, not at {depot}; where the archive moved for good, delete claims.json in its folder"
    )]
    ClaimedElsewhere {
        /// The depot.
        depot: String,
        /// The one where they are claimed.
        there: String,
    },
    /// Files that a head reaches went again and again while they were carried.
    #[error("files change faster than they are carried to {depot}")]
    Restless {
        /// The depot.
        depot: String,
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
    /// Ends a copy of what another machine sealed.
    stop: Stop,
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
    /// Whether conditions were seen to hold there.
    is_tried: bool,
    /// When newer heads were asked for last, while it is another's turn.
    asked: Option<Duration>,
    /// Why it could not go over to them.
    lagging: Option<String>,
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
            is_tried: false,
            asked: None,
            lagging: None,
        };
        Ok(Self {
            depot,
            key,
            stop: Stop::default(),
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

    fn depot_name(&self) -> String {
        self.depot.name().to_owned()
    }

    /// Ends what is copied of another machine's heads, now and later: it is gone on with
    /// by whoever opens the archive next.
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// Demands that the numbers of this archive's heads are claimed nowhere else.
    pub fn require_claims_here(&self, archive: &Archive) -> Result<(), WriterError> {
        match archive.claims_at()? {
            Some(there) if there != self.depot.name() => Err(WriterError::ClaimedElsewhere {
                depot: self.depot_name(),
                there,
            }),
            _ => Ok(()),
        }
    }

    /// Demands that the depot keeps its conditions; asked once.
    fn tried(&self) -> Result<(), WriterError> {
        if self.state().is_tried {
            return Ok(());
        }
        if !keeps_conditions(self.registry())? {
            let depot = self.depot_name();
            return Err(WriterError::Heedless { depot });
        }
        self.state().is_tried = true;
        Ok(())
    }

    /// Writes the lease again, or takes it where it is free; with `force` from a
    /// holder that is known to be dead.
    fn beat(&self, force: bool) -> Result<Token, WriterError> {
        let _beating = self.beating.lock().unwrap_or_else(PoisonError::into_inner);
        self.tried()?;
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
        self.require_claims_here(archive)?;
        self.state().number = number_of(archive.head().as_ref());
        let token = self.beat(force)?;
        let is_new = self.state().joined != Some(token);
        if is_new {
            self.state().joined = None;
            self.join(archive, token, now, progress)?;
            // From now on nothing is signed here that the depot does not know of.
            archive.set_claims_at(self.depot.name())?;
            self.state().joined = Some(token);
        }
        Ok(Standing { token, is_new })
    }

    /// Goes over to what the holder shows, now and then, while it is another's turn:
    /// nothing of it is signed here. It may copy a whole history.
    pub fn keep_up(&self, archive: &Archive, now: UnixSeconds, progress: &dyn Progress) {
        let at = self.now();
        {
            let mut state = self.state();
            if state.asked.is_some_and(|asked| at < asked + KEEP_UP_EVERY) {
                return;
            }
            state.asked = Some(at);
        }
        let kept_up = self.try_keep_up(archive, now, progress);
        if self.stop.is_stopped() {
            return;
        }
        let why = kept_up.err().map(|error| error.to_string());
        let mut state = self.state();
        if let Some(error) = why.as_ref().filter(|_| state.lagging != why) {
            tracing::warn!(error, "the heads of the machine that seals are not had");
        }
        state.lagging = why;
    }

    fn try_keep_up(
        &self,
        archive: &Archive,
        now: UnixSeconds,
        progress: &dyn Progress,
    ) -> Result<(), WriterError> {
        let Some(there) = self.own(self.depot.newest_head()?)? else {
            return Ok(());
        };
        if number_of(archive.head().as_ref()) < there.body().sequence.0 {
            self.go_over(archive, &there, now, progress)?;
            let seq = there.body().sequence.0;
            tracing::info!(head = %there.cid(), seq, "went over to a head of the machine that seals");
        }
        Ok(())
    }

    /// A head that is in the depot must be of this archive's key.
    fn own(&self, there: Option<Head>) -> Result<Option<Head>, WriterError> {
        if there.as_ref().is_some_and(|head| *head.key() != self.key) {
            let depot = self.depot_name();
            return Err(WriterError::AnotherKey { depot });
        }
        Ok(there)
    }

    fn go_over(
        &self,
        archive: &Archive,
        there: &Head,
        now: UnixSeconds,
        progress: &dyn Progress,
    ) -> Result<(), WriterError> {
        // What it goes over to was signed by another: from now on nothing is signed here
        // that the depot does not know of.
        archive.set_claims_at(self.depot.name())?;
        // A folder that begins with nothing is not to wait for days that are not to be had.
        if archive.head().is_none()
            && let Some(before) = self.depot.dropped_before()?
        {
            archive.believe_dropped(before, there)?;
        }
        let source = claims::Heads::new(&*self.depot, self.registry(), there);
        archive.rejoin(there, &self.stop.guard(&source), now, progress)?;
        Ok(())
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
        let there = self.own(claims::newest(&*self.depot, self.registry(), told)?)?;
        let here = number_of(archive.head().as_ref());
        if told > here.max(number_of(there.as_ref())) {
            // Whoever goes on from an earlier one would sign those between again.
            let depot = self.depot_name();
            return Err(WriterError::Gone {
                depot,
                number: told,
            });
        }
        let from = match &there {
            // The depot is new, and learns of the newest head alone.
            None => here.max(1),
            Some(there) if here < there.body().sequence.0 => {
                // What was carried just before a claim may be in no list yet.
                self.depot.kept()?;
                return self.go_over(archive, there, now, progress);
            }
            Some(there) => {
                let sequence = there.body().sequence;
                let same = archive.blocks().heads().by_sequence(sequence)?;
                match same {
                    Some(same) if same.cid() != there.cid() => {
                        return Err(WriterError::TwoLineages {
                            depot: self.depot_name(),
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
        if from <= here {
            // Also where this ends right after the first claim.
            archive.set_claims_at(self.depot.name())?;
            self.carry(archive.blocks().folder())?;
        }
        for sequence in from..=here {
            if let Some(head) = archive.blocks().heads().by_sequence(Sequence(sequence))? {
                claims::claim(self.depot.name(), self.registry(), &head, token)?;
            }
        }
        Ok(())
    }

    /// Brings to the depot the files that it lacks, all there are: one that went
    /// meanwhile was superseded, or has another name by now, and is looked for again.
    fn carry(&self, folder: &CarFolder) -> Result<(), WriterError> {
        for _ in 0..PASSES {
            let kept = self.depot.kept_files()?.into_iter();
            let kept: KeptFiles = kept.map(|file| (file.name, file.bytes)).collect();
            let files = folder.files().map_err(DiskError::from)?;
            let mut is_whole = true;
            for file in plan(&files, &[], &kept).carry {
                is_whole &= bring(&*self.depot, folder, &file, &kept)?.is_some();
            }
            if is_whole {
                return Ok(());
            }
        }
        let depot = self.depot_name();
        Err(WriterError::Restless { depot })
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

/// The number of a head, 0 for none.
fn number_of(head: Option<&Head>) -> u64 {
    head.map_or(0, |head| head.body().sequence.0)
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
