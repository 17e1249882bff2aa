//! Names looked up: from a name or a host to the head of an archive.
//!
//! Always true:
//! - A record is checked whoever gave it; of several that count the one with the
//!   highest number does.
//! - A name never goes back: where all that is offered is older than the newest record
//!   seen, that one counts until it expires; whoever is behind takes nothing from it.
//! - Two records of one number that say different things are refused, whether one was
//!   seen before or both come at once.
//! - A way from name to name ends after [`MAX_STEPS`].
//! - Whoever is asked as the last resort, the DHT, is asked only where nobody else has
//!   a record that counts and is not behind.
//! - A disk that remembers nothing keeps nobody from reading; one whose memory cannot be
//!   read does, for nothing could be judged.

mod dns;
mod giver;
mod taker;
#[doc(hidden)]
pub mod testing;

use std::sync::Arc;

use futures_util::future::join_all;

pub use self::dns::{Dns, DnsError};
pub use self::giver::{Giving, RecordGiver};
pub use self::taker::{KuboNames, RecordTaker, TakerAddress, Taking};
use super::seen::{SeenError, SeenHeads};
use crate::archive::head::Head;
use crate::blocks::Cid;
use crate::publish::Hints;
use crate::publish::ipns::{
    ContentPath, Name, NameRef, PathError, Record, RecordError, Told, ToldError,
};
use crate::time::UnixSeconds;

/// Most names on the way from one to a head. A host that points at a name, and one
/// hand-over a year for as long as anybody will care.
pub const MAX_STEPS: usize = 32;

/// What a name stands for in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The head's CID, or what the path below begins at.
    pub cid: Cid,
    /// Names to follow from there.
    pub path: Vec<String>,
    /// The head itself, where the record carried it.
    pub head: Option<Box<Head>>,
    /// Where its archive is to be had.
    pub hints: Hints,
    /// The names on the way, the first one included.
    pub way: Vec<NameRef>,
}

/// Why a name stands for nothing.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// DNS does not say.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// Nobody who was asked has a record that counts.
    #[error("nobody has a record of {name} that counts{}", told(.refusals))]
    NoRecord {
        /// The name.
        name: Name,
        /// What those said who were asked.
        refusals: Vec<String>,
        /// Whether one of them gave what is no record of the name.
        lied: bool,
    },
    /// It contradicts what was seen.
    #[error(transparent)]
    Seen(#[from] SeenError),
    /// What the record says is not usable.
    #[error("the record of {name}: {reason}")]
    Told {
        /// The name.
        name: Name,
        /// What is wrong.
        reason: ToldError,
    },
    /// Names lead to names without end.
    #[error("{start} leads to more than {MAX_STEPS} other names")]
    TooLong {
        /// The first.
        start: NameRef,
    },
    /// The way leads to a path below a name that is a path itself.
    #[error("{0}")]
    Path(#[from] PathError),
}

fn told(refusals: &[String]) -> String {
    match refusals {
        [] => ", for there is nobody to ask".to_owned(),
        some => format!(": {}", some.join("; ")),
    }
}

impl ResolveError {
    /// Whether somebody provably lied, or history was taken back.
    pub fn is_lie(&self) -> bool {
        match self {
            Self::NoRecord { lied, .. } => *lied,
            Self::Seen(SeenError::Io { .. }) => false,
            Self::Seen(_) | Self::Told { .. } => true,
            Self::Dns(_) | Self::TooLong { .. } | Self::Path(_) => false,
        }
    }
}

/// Who is asked for names.
pub struct Names {
    /// Asked for records, all of them.
    pub givers: Vec<Arc<dyn RecordGiver>>,
    /// Asked where none of the others has one that counts.
    pub last: Vec<Arc<dyn RecordGiver>>,
    /// Records that are here.
    pub here: Vec<Record>,
    /// The way to DNS.
    pub dns: Arc<Dns>,
    /// What was seen before.
    pub seen: SeenHeads,
    /// Whether a name may go back.
    pub accept_rewrite: bool,
}

/// What givers had of a name.
#[derive(Default)]
struct Offered {
    records: Vec<Record>,
    refusals: Vec<String>,
    lied: bool,
    away: bool,
}

impl Names {
    /// Looks up what `start` stands for.
    pub async fn resolve(
        &self,
        start: &NameRef,
        now: UnixSeconds,
    ) -> Result<Resolved, ResolveError> {
        let (mut name, mut below) = (start.clone(), Vec::new());
        let mut way = Vec::new();
        while way.len() < MAX_STEPS {
            way.push(name.clone());
            let told = match &name {
                NameRef::Host(host) => of_path(self.dns.link(host).await?),
                NameRef::Key(key) => {
                    let record = self.record(key, now).await?;
                    Told::of(&record).map_err(|reason| ResolveError::Told { name: *key, reason })?
                }
            };
            match told {
                Told::Head {
                    cid,
                    path,
                    head,
                    hints,
                } => {
                    return Ok(Resolved {
                        cid,
                        path: [path, below].concat(),
                        head,
                        hints,
                        way,
                    });
                }
                Told::Name { name: next, path } => {
                    below = [path, below].concat();
                    name = next;
                }
            }
        }
        let start = start.clone();
        Err(ResolveError::TooLong { start })
    }

    /// The newest record that anybody has of `name`, whether it still counts or not.
    pub async fn highest(&self, name: &Name) -> Option<Record> {
        let mut offered = Offered::default();
        // Nothing has expired at the first second there is.
        self.ask(&self.givers, name, UnixSeconds::MIN, &mut offered)
            .await;
        let seen = self.seen.newest_record(name).ok().flatten();
        let known = self.here.iter().filter(|record| record.name() == name);
        let known = known.chain(&seen).chain(&offered.records);
        known.max_by_key(|record| record.precedence()).cloned()
    }

    /// The newest record of `name` that counts, remembered.
    pub async fn record(&self, name: &Name, now: UnixSeconds) -> Result<Record, ResolveError> {
        let seen = self.seen.newest_record(name)?;
        let is_behind = |record: &Record| {
            seen.as_ref()
                .is_some_and(|seen| record.sequence() < seen.sequence())
        };
        let mut offered = Offered::default();
        let here = self.here.iter().filter(|record| record.name() == name);
        offered
            .records
            .extend(here.filter(|record| !record.is_expired(now)).cloned());
        self.ask(&self.givers, name, now, &mut offered).await;
        if offered.records.iter().all(is_behind) {
            self.ask(&self.last, name, now, &mut offered).await;
        }
        let best = offered
            .records
            .iter()
            .max_by_key(|record| record.precedence());
        if let Some(best) = best.filter(|best| self.accept_rewrite || !is_behind(best)) {
            return Ok(self.taken(best, &offered.records)?);
        }
        if let Some(seen) = seen.as_ref().filter(|seen| !seen.is_expired(now)) {
            let (number, until) = (seen.sequence(), seen.until());
            match best.map(Record::sequence) {
                None => {
                    tracing::warn!(%name, number, %until, "nobody has its record: the one seen before counts");
                }
                Some(told) => tracing::warn!(
                    %name, told, number, %until,
                    "only older records are told: the newer one that was seen before counts"
                ),
            }
            return Ok(seen.clone());
        }
        if let Some(best) = best {
            // History was taken back, unless somebody who is away knows better.
            if !offered.away {
                return Ok(self.taken(best, &offered.records)?);
            }
            let older = best.sequence();
            offered.refusals.push(format!(
                "number {older} is older than the record seen before"
            ));
        }
        Err(ResolveError::NoRecord {
            name: *name,
            refusals: offered.refusals,
            lied: offered.lied && !offered.away,
        })
    }

    /// Takes and remembers `best` of `offered`, unless it contradicts another one of
    /// them, or what was seen.
    fn taken(&self, best: &Record, offered: &[Record]) -> Result<Record, SeenError> {
        let is_rival =
            |other: &&Record| other.sequence() == best.sequence() && !other.says_as(best);
        if let Some(rival) = offered.iter().find(is_rival) {
            let refused = self.seen.equivocation(best, rival);
            if !self.accept_rewrite {
                return Err(refused);
            }
            tracing::warn!("{refused}");
        }
        if let Err(error) = self.seen.remember_record(best, self.accept_rewrite) {
            let SeenError::Io { .. } = error else {
                return Err(error);
            };
            self.seen.judge_record(best, self.accept_rewrite)?;
            tracing::warn!(%error, "cannot remember the record");
        }
        Ok(best.clone())
    }

    async fn ask(
        &self,
        givers: &[Arc<dyn RecordGiver>],
        name: &Name,
        now: UnixSeconds,
        offered: &mut Offered,
    ) {
        let asked = givers.iter().map(|giver| giver.record(name));
        for (giver, given) in givers.iter().zip(join_all(asked).await) {
            let by = giver.name();
            let bytes = match given {
                Ok(Some(bytes)) => bytes,
                Ok(None) => {
                    offered.refusals.push(format!("{by} has none"));
                    continue;
                }
                Err(error) => {
                    offered.away = true;
                    offered.refusals.push(format!("{by}: {error}"));
                    continue;
                }
            };
            match Record::check(name, bytes, now) {
                Ok(record) => offered.records.push(record),
                Err(error) => {
                    tracing::warn!(%name, by, %error, "passed over");
                    // An old one is no lie.
                    offered.lied |= !matches!(error, RecordError::Expired(_));
                    offered.refusals.push(format!("{by} has {error}"));
                }
            }
        }
    }
}

fn of_path(path: ContentPath) -> Told {
    match path {
        ContentPath::Name { name, path } => Told::Name { name, path },
        ContentPath::Block { cid, path } => Told::Head {
            cid,
            path,
            head: None,
            hints: Hints::default(),
        },
    }
}

#[cfg(test)]
mod tests;
