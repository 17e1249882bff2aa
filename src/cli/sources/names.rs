//! Names: who is asked for them, and how it reads where they lead nowhere.

use std::path::Path;
use std::sync::Arc;

use super::{SourceAddress, Sources, kubo_at, memory_folder, origin_places, rewritten, standing};
use crate::cli::error::{CliError, Kind};
use crate::p2p::DhtSource;
use crate::publish::ipns::{NameFolder, NameRef, Record, Told};
use crate::sources::names::{KuboNames, Names, RecordGiver, ResolveError, Resolved};
use crate::sources::seen::SeenHeads;
use crate::time::{Clock, SystemClock};

/// What stands before a name that is written as a place.
const SCHEME: &str = "ipns://";

/// A name as a place: what its first key and where it came from are remembered by.
pub fn place_of(name: &NameRef) -> String {
    format!("{SCHEME}{name}")
}

/// The name in what [`place_of`] wrote.
pub fn name_in(place: &str) -> Option<NameRef> {
    place.strip_prefix(SCHEME)?.parse().ok()
}

impl Sources {
    /// Looks up what a name stands for.
    pub fn resolve(&self, name: &NameRef, data: &Path) -> Result<Resolved, CliError> {
        let names = self.names(name, data)?;
        let now = SystemClock.now();
        let handle = self.net()?.handle().clone();
        let resolved = handle.block_on(names.resolve(name, now));
        resolved.map_err(|error| unresolved(name, &error))
    }

    /// Who is asked for names: every source on the network that is known, and those
    /// that the record of `name` named the last time.
    pub fn names(&self, name: &NameRef, data: &Path) -> Result<Names, CliError> {
        let seen = SeenHeads::new(&memory_folder(data));
        let mut addresses = self.named.clone();
        addresses.extend(self.hints_seen(name, data)?);
        addresses.extend(origin_places(data)?);
        addresses.extend(standing(data)?);
        let (mut givers, mut last): (Vec<Arc<dyn RecordGiver>>, Vec<_>) = Default::default();
        let mut asked = Vec::new();
        for address in addresses {
            if asked.contains(&address) {
                continue;
            }
            match (&address, self.far(&address)?) {
                (_, Some(far)) => givers.push(far),
                (SourceAddress::Kubo(base), None) => {
                    let node = KuboNames::new(kubo_at(&address, base)?);
                    givers.push(Arc::new(node));
                }
                (SourceAddress::Dht(peer), None) => {
                    let net = Arc::clone(self.net()?);
                    last.push(Arc::new(DhtSource::new(net, peer.clone())) as _);
                }
                _ => {}
            }
            asked.push(address);
        }
        Ok(Names {
            givers,
            last,
            here: own_records(data),
            dns: Arc::clone(&self.dns),
            seen,
            accept_rewrite: self.accept_rewrite,
        })
    }

    /// Where the archive of `name` was to be had, as its record said the last time.
    pub fn hints_seen(&self, name: &NameRef, data: &Path) -> Result<Vec<SourceAddress>, CliError> {
        let NameRef::Key(name) = name else {
            return Ok(Vec::new());
        };
        let seen = SeenHeads::new(&memory_folder(data)).newest_record(name);
        match seen.ok().flatten().as_ref().map(Told::of) {
            Some(Ok(Told::Head { hints, .. })) => self.hints(&hints, data),
            _ => Ok(Vec::new()),
        }
    }
}

/// The records of the data folder's own names. What helps to find others must not
/// fail for itself.
fn own_records(data: &Path) -> Vec<Record> {
    let told = NameFolder::new(data).records();
    let (records, unread) = told.unwrap_or_else(|error| (Vec::new(), vec![error]));
    for error in unread {
        tracing::warn!(%error, "a record of the own names is left out");
    }
    records
}

fn unresolved(name: &NameRef, error: &ResolveError) -> CliError {
    let what = format!("cannot look up {}", place_of(name));
    if let ResolveError::Seen(seen) = error
        && error.is_lie()
    {
        return rewritten(&place_of(name), seen);
    }
    let kind = if error.is_lie() {
        Kind::Verification
    } else {
        Kind::Error
    };
    let told = CliError::new(kind, what).because(error);
    match error {
        ResolveError::NoRecord { .. } => told.hint(
            "name who may have its record with `--source`: a gwa of its owner, or any gateway \
             that knows IPNS",
        ),
        ResolveError::Dns(_) => told.hint("`--dns ADDR` asks another DNS server"),
        ResolveError::Seen(_) => told.hint(
            "what was seen of names before cannot be read, so that nothing told now can be \
             judged by it",
        ),
        _ => told,
    }
}
