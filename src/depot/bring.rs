//! Bringing one file of this disk to a depot, and making sure that it is there.
//!
//! Always true:
//! - A file is hashed before it goes: what is damaged here stays here.
//! - A file whose name is taken in the depot by other bytes goes there under another
//!   name, which it then has here too. Names say the root and not all that is in a
//!   file: what one machine sealed bit by bit another has copied in one piece.
//! - What was read back was hashed again, whoever gave it.

use std::collections::HashSet;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;

use super::carrier::CarryError;
use super::plan::{KeptFiles, is_kept};
use super::{Depot, DepotError, Parcel};
use crate::archive::disk::Stop;
use crate::blocks::car::CarReader;
use crate::blocks::{Block, BlockError, BlockFile, BlockStore, CarFolder, Cid};

/// Brings one file there; gives it as it is called now, `None` where it is not here any
/// more.
pub(super) fn bring(
    depot: &dyn Depot,
    folder: &CarFolder,
    file: &BlockFile,
    kept: &KeptFiles,
) -> Result<Option<BlockFile>, CarryError> {
    let is_taken = kept.contains_key(&file.name) && !is_kept(file, kept);
    let file = match is_taken {
        false => file.clone(),
        true => match here(
            file,
            folder.rename(&file.name, &|name| kept.contains_key(name)),
        )? {
            Some(renamed) => renamed,
            None => return Ok(None),
        },
    };
    let Some((car, root)) = here(&file, folder.locate(&file.name))? else {
        return Ok(None);
    };
    let gone = |error: &CarryError| {
        matches!(error, CarryError::Depot(DepotError::Io { .. })) && !car.exists()
    };
    let parcel = Parcel {
        file: &file,
        root,
        car: &car,
    };
    let brought = hash(&file, &car).and_then(|()| Ok(depot.keep(&parcel)?));
    match brought {
        Err(error) if gone(&error) => Ok(None),
        other => other.map(|()| Some(file)),
    }
}

/// Makes sure that the depot keeps this very file, by what it knows of it, whatever lies
/// here; false where it is not here any more.
pub(super) fn keep(
    depot: &dyn Depot,
    folder: &CarFolder,
    file: &BlockFile,
) -> Result<bool, CarryError> {
    let Some((car, root)) = here(file, folder.locate(&file.name))? else {
        return Ok(false);
    };
    let car = &car;
    depot.keep(&Parcel { file, root, car })?;
    Ok(true)
}

/// Brings a file whose copy there is damaged; false where it is not here any more.
pub(super) fn bring_again(
    depot: &dyn Depot,
    folder: &CarFolder,
    file: &BlockFile,
) -> Result<bool, CarryError> {
    let (car, _) = folder.locate(&file.name)?;
    // What is left there is not let go for what is no better.
    hash(file, &car)?;
    depot.release(&file.name)?;
    keep(depot, folder, file)
}

/// Reads every block of a file of this disk back from the depot.
pub(super) fn read_back(
    depot: &dyn Depot,
    folder: &CarFolder,
    file: &BlockFile,
    stop: &Stop,
) -> Result<(), CarryError> {
    let cids = folder.cids(&file.name)?;
    let mut left: HashSet<Cid> = cids.iter().copied().collect();
    let mut wrong = None;
    let given = depot.get_each(&cids, &mut |block| {
        let cid = *block.cid();
        match Block::verify(&cid, block.into_bytes()) {
            Ok(_) => left.remove(&cid),
            Err(error) => {
                wrong = Some(error);
                return ControlFlow::Break(());
            }
        };
        match stop.is_stopped() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    if stop.is_stopped() {
        return Err(CarryError::Stopped);
    }
    let given = given.and(wrong.map_or(Ok(()), Err));
    let given = given.and_then(|()| match left.into_iter().next() {
        Some(cid) => Err(BlockError::Missing { cid }),
        None => Ok(()),
    });
    given.map_err(|error| {
        let (depot, what) = (depot.name().to_owned(), format!("{}: {error}", file.name));
        match error.is_missing() || error.is_corrupt() {
            true => DepotError::Lost { depot, what }.into(),
            false => DepotError::Away { depot, what }.into(),
        }
    })
}

/// What was found of a file; `None` where it went meanwhile.
fn here<T>(file: &BlockFile, found: Result<T, BlockError>) -> Result<Option<T>, CarryError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(BlockError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(BlockError::Corrupt { what, .. }) => Err(damaged(file, what)),
        Err(error) => Err(error.into()),
    }
}

fn damaged(file: &BlockFile, what: String) -> CarryError {
    CarryError::Damaged {
        file: file.name.clone(),
        what,
    }
}

/// Hashes every block of a file.
fn hash(file: &BlockFile, car: &Path) -> Result<(), CarryError> {
    let input = File::open(car).map_err(|source| DepotError::Io {
        path: car.to_owned(),
        source,
    })?;
    let reader = CarReader::new(input).map_err(|error| damaged(file, error.to_string()))?;
    let mut blocks = 0;
    for block in reader {
        block.map_err(|error| damaged(file, error.to_string()))?;
        blocks += 1;
    }
    if blocks != file.blocks {
        return Err(damaged(file, format!("{blocks} blocks of {}", file.blocks)));
    }
    Ok(())
}
