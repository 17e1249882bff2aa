//! A store that several machines share: whose turn it is to write, and those that
//! only read.

use std::error::Error;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use secp256k1::{PublicKey, SecretKey};

use super::settings::{StoreFlags, depot, environment, settings, unusable};
use super::with_way_in;
use crate::archive::disk::{Archive, DiskError, FollowError, Kind as OriginKind, Origin};
use crate::archive::head::Head;
use crate::archive::watermark::Day;
use crate::blocks::BlockSource;
use crate::cli::context::archive_failed;
use crate::cli::error::{CliError, Kind};
use crate::depot::writer::Writer;
use crate::depot::{Carrier, Depot, StoreAddress};
use crate::node::follow::Leader;
use crate::node::writer::Turn;
use crate::progress::Quiet;
use crate::time::{Clock, SystemClock};

/// Which archive a replica answers for.
#[derive(Clone, Copy, Debug)]
pub enum ReplicaOf {
    /// The one that the store shows.
    Whichever,
    /// That of this key.
    Key(PublicKey),
}

impl FromStr for ReplicaOf {
    type Err = secp256k1::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Ok(Self::Whichever),
            key => key.strip_prefix("0x").unwrap_or(key).parse().map(Self::Key),
        }
    }
}

/// The turn of a daemon at a store that several machines may write to; `None` where it
/// knows no such thing, or the archive is not written.
pub fn turn(
    carrier: &Carrier,
    archive: &Archive,
    take_over: bool,
) -> Result<Option<Turn>, CliError> {
    if archive.is_mirror() {
        return Ok(None);
    }
    if carrier.depot().registry().is_none() {
        return match take_over {
            false => Ok(None),
            true => Err(CliError::new(
                Kind::Usage,
                format!(
                    "{} has no lease that could be taken over",
                    carrier.depot().name()
                ),
            )),
        };
    }
    let writer = Writer::new(Arc::clone(carrier.depot()), archive.public_key());
    let writer = Arc::new(writer.map_err(|error| unusable(&error))?);
    archive.set_gate(Some(Arc::clone(&writer) as _));
    carrier.set_writer(Arc::clone(&writer));
    Ok(Some(Turn { writer, take_over }))
}

/// Refuses to serve an archive whose numbers are claimed at a store with no such store, or
/// with another one.
pub fn require_claims(archive: &Archive, turn: Option<&Turn>) -> Result<(), CliError> {
    if let Some(turn) = turn {
        let claimed = turn.writer.require_claims_here(archive);
        return claimed
            .map_err(|error| CliError::new(Kind::Usage, "another store is named").because(&error));
    }
    let claims_at = archive.claims_at();
    let claims_at = claims_at.map_err(|error| archive_failed("cannot serve", &error))?;
    match (claims_at, turn) {
        (Some(store), None) if !archive.is_mirror() => Err(CliError::new(
            Kind::Usage,
            format!("the numbers of this archive's heads are claimed at {store}"),
        )
        .hint(format!(
            "name it: `--store {store}`; where no other machine has the archive's key, \
             delete {}",
            archive.dir().join("claims.json").display()
        ))),
        _ => Ok(()),
    }
}

/// Takes the turn for one command, where the configuration names a store that several
/// machines may write to, or the archive's numbers were claimed at one. Where it is
/// another's, sealing says so.
pub fn wait_turn(archive: &Archive, data: &Path) {
    if archive.is_mirror() {
        return;
    }
    let opened = settings(&environment(), data).and_then(|mut settings| {
        // What cannot be read keeps heads from being signed, and is told then.
        let claimed = archive.claims_at().ok().flatten();
        if let (StoreAddress::Embedded, Some(store)) = (&settings.address, claimed) {
            settings.address = store.parse().map_err(|error| unusable(&error))?;
        }
        depot(&settings, data, archive.public_key())
    });
    let depot = match opened {
        Ok(Some(depot)) if depot.registry().is_some() => depot,
        // What is wrong with the address was told when it was attached.
        _ => return,
    };
    if let Ok(writer) = Writer::new(depot, archive.public_key()) {
        let writer = Arc::new(writer);
        archive.set_gate(Some(Arc::clone(&writer) as _));
        if let Err(error) = writer.round(archive, false, SystemClock.now(), &Quiet) {
            tracing::debug!(%error, "no head can be signed now");
        }
    }
}

/// Whether the data folder is that of a replica.
pub fn is_replica(data: &Path) -> Result<bool, CliError> {
    Ok(origin(data)?.is_some())
}

fn origin(data: &Path) -> Result<Option<Origin>, CliError> {
    let origin = Origin::read(data)
        .map_err(|error| archive_failed("cannot read what this archive is", &error))?;
    Ok(origin.filter(|origin| origin.kind == OriginKind::Replica))
}

/// Opens a replica, and who leads it: its store.
pub fn replica(
    flags: &StoreFlags,
    data: &Path,
    of: Option<ReplicaOf>,
) -> Result<(Archive, Arc<dyn Leader>), CliError> {
    let failed =
        |error: &dyn Error| CliError::new(Kind::Error, "cannot be a replica").because(error);
    let origin = origin(data)?;
    let mut settings = settings(flags, data)?;
    if let (StoreAddress::Embedded, Some(origin)) = (&settings.address, &origin)
        && let Some(store) = origin.sources.first()
    {
        settings.address = store.parse().map_err(|error| unusable(&error))?;
    }
    let told = match of {
        Some(ReplicaOf::Key(key)) => Some(key),
        _ => origin.as_ref().map(|origin| origin.key),
    };
    let key = match (&settings.address, told) {
        (_, Some(key)) => key,
        // One archive each: what they show says whose.
        (StoreAddress::S3(_) | StoreAddress::Folder(_), None) => {
            SecretKey::new(&mut secp256k1::rand::rng()).public_key()
        }
        (StoreAddress::Embedded, None) => {
            return Err(CliError::new(Kind::Usage, "a replica needs a store")
                .hint("name it with `--store`"));
        }
        (other, None) => {
            return Err(CliError::new(
                Kind::Usage,
                format!("{other} keeps archives by their keys"),
            )
            .hint("name the archive's: `--replica KEY`"));
        }
    };
    let address = settings.address.to_string();
    let store = depot(&settings, data, key)?.ok_or_else(|| {
        CliError::new(Kind::Usage, "a replica needs a store").hint("name it with `--store`")
    })?;
    let newest = store.newest_head();
    let archive = match (newest, &origin) {
        (Ok(Some(head)), _) => {
            check_key(&head, told, &address)?;
            let opened = Archive::replica(data, &head, address.clone());
            opened.map_err(|error| archive_failed("cannot open the replica", &error))?
        }
        (Ok(None), None) => {
            return Err(CliError::new(
                Kind::NoArchive,
                format!("there is no head in {address} yet"),
            ));
        }
        (Err(error), None) => return Err(with_way_in(failed(&error), &error)),
        // What was seen before is answered for as far as it goes.
        (_, Some(_)) => Archive::open(data)
            .map_err(|error: DiskError| archive_failed("cannot open the replica", &error))?,
    };
    archive
        .blocks()
        .set_depot(&address, Arc::new(Arc::clone(&store)));
    let leader = Arc::new(StoreLeader { store });
    if let Ok((head, source)) = leader.latest() {
        match archive.show(&head, &*source, SystemClock.now()) {
            // As a replica that runs: what was shown before is answered for.
            Err(error @ FollowError::Alarm { .. }) if archive.head().is_some() => {
                tracing::warn!(store = %address, %error, "not followed");
            }
            shown => drop(shown.map_err(|error| failed(&error))?),
        }
        if let (Ok(before), Some(head)) = (leader.dropped_before(), archive.head()) {
            let believed = archive.believe_dropped(before.unwrap_or(Day(0)), &head);
            believed.map_err(|error| failed(&error))?;
        }
    }
    Ok((archive, leader))
}

fn check_key(head: &Head, told: Option<PublicKey>, address: &str) -> Result<(), CliError> {
    match told {
        Some(key) if key != *head.key() => Err(CliError::new(
            Kind::Verification,
            format!("the head in {address} is signed by another key than this replica is of"),
        )),
        _ => Ok(()),
    }
}

/// A store that is followed.
struct StoreLeader {
    store: Arc<dyn Depot>,
}

impl Leader for StoreLeader {
    fn name(&self) -> &str {
        self.store.name()
    }

    fn latest(&self) -> Result<(Head, Arc<dyn BlockSource>), Box<dyn Error + Send + Sync>> {
        let head = self.store.newest_head()?.ok_or("it has no head any more")?;
        Ok((head, Arc::new(Arc::clone(&self.store))))
    }

    fn dropped_before(&self) -> Result<Option<Day>, Box<dyn Error + Send + Sync>> {
        Ok(self.store.dropped_before()?)
    }

    /// Its calls end by their own limits.
    fn end(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_in_each_form_in_which_it_is_shown() {
        let key = SecretKey::from_secret_bytes([7; 32]).unwrap().public_key();
        for text in [key.to_string(), format!("0x{key}")] {
            let of = text.parse::<ReplicaOf>().unwrap();
            assert!(matches!(of, ReplicaOf::Key(told) if told == key), "{text}");
        }
        assert!(matches!("".parse(), Ok(ReplicaOf::Whichever)));
        for text in ["0x", "0x037b", "0x0x02"] {
            assert!(text.parse::<ReplicaOf>().is_err(), "{text}");
        }
    }
}
