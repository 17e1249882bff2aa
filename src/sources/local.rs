//! Sources on this machine.

use std::path::Path;

use crate::archive::disk::open_public;
use crate::blocks::car::CarFile;
use crate::blocks::{Block, BlockError, BlockSource, Cid};

/// CAR files of one folder that are opened: each holds a file handle.
const MAX_CARS: usize = 512;

/// Opens a folder: a data folder, a copy of what of it is public, or a folder of
/// CAR files.
pub fn open_folder(dir: &Path) -> Result<Box<dyn BlockSource>, BlockError> {
    if let Some(blocks) = open_public(dir)? {
        return Ok(Box::new(blocks));
    }
    let io = |source| BlockError::Io {
        path: dir.to_owned(),
        source,
    };
    let mut cars = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let is_car = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("car"));
        if is_car && path.is_file() {
            cars.push(path);
        }
    }
    cars.sort();
    let refused = |what: String| BlockError::Corrupt {
        path: dir.to_owned(),
        what,
    };
    if cars.is_empty() {
        return Err(refused(
            "neither an archive nor a folder of CAR files".to_owned(),
        ));
    }
    if cars.len() > MAX_CARS {
        return Err(refused(format!("more than {MAX_CARS} CAR files")));
    }
    let cars: Result<Vec<_>, _> = cars.iter().map(|path| CarFile::open(path)).collect();
    Ok(Box::new(Cars(cars?)))
}

/// CAR files looked through in order of name.
struct Cars(Vec<CarFile>);

impl BlockSource for Cars {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        let mut damaged = None;
        for car in &self.0 {
            match car.get(cid) {
                Ok(block) => return Ok(block),
                Err(error) if error.is_missing() => {}
                Err(error) => damaged = damaged.or(Some(error)),
            }
        }
        Err(damaged.unwrap_or(BlockError::Missing { cid: *cid }))
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        let mut cars = self.0.iter();
        Ok(cars.any(|car| car.has(cid).unwrap_or(false)))
    }
}
