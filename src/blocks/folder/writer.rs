//! Writing one CAR file.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::temp::TempFile;
use super::{CarFolder, TEMP, io_error, listing};
use crate::blocks::car::{CarWriter, one_root_header};
use crate::blocks::{
    Block, BlockError, BlockFile, BlockSource, BlockWriter, Cid, Group, Reuse, check_cid,
    check_writable, names,
};
use crate::durable;
use crate::index::BlockAt;

/// A file being written. Memory: a row for each block put, and one buffer.
pub(super) struct Writer<'a> {
    folder: &'a CarFolder,
    group: Group,
    /// Files whose blocks may be left out: those there at the start.
    group_files: HashSet<Arc<str>>,
    car: CarWriter<TempFile>,
    order: Vec<BlockAt>,
    added: HashMap<Cid, usize>,
    /// A block was written in part: what follows would not be a CAR.
    torn: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        folder: &'a CarFolder,
        group: Group,
        reuse: Reuse,
    ) -> Result<Self, BlockError> {
        let group_files = match reuse {
            Reuse::Nothing => HashSet::new(),
            Reuse::SameGroup => {
                let mut rows = folder.index().files();
                rows.retain(|row| names::group_of(&row.name) == Some(group));
                rows.into_iter().map(|row| row.name).collect()
            }
        };
        let dir = folder.path(TEMP);
        let car = TempFile::create(&dir)
            .and_then(CarWriter::unrooted)
            .map_err(io_error(&dir))?;
        Ok(Self {
            folder,
            group,
            group_files,
            car,
            order: Vec::new(),
            added: HashMap::new(),
            torn: false,
        })
    }

    fn intact(&self) -> Result<(), BlockError> {
        if self.torn {
            return Err(BlockError::Corrupt {
                path: self.car.output().path().into(),
                what: "abandoned, since a write to it failed".to_owned(),
            });
        }
        Ok(())
    }

    fn group_holds(&self, cid: &Cid) -> Result<bool, BlockError> {
        if self.group_files.is_empty() {
            return Ok(false);
        }
        let (index, locations) = self.folder.locations(cid)?;
        let mut files = locations.iter().filter_map(|at| index.name(at.file));
        Ok(files.any(|name| self.group_files.contains(&name)))
    }
}

impl BlockSource for Writer<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        let Some(at) = self.added.get(cid).and_then(|&at| self.order.get(at)) else {
            return self.folder.get(cid);
        };
        let temp = self.car.output();
        let mut bytes = vec![0; at.len as usize];
        temp.read_exact_at(&mut bytes, at.offset)
            .map_err(io_error(temp.path()))?;
        Block::verify(cid, bytes)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(self.added.contains_key(cid) || self.folder.has(cid)?)
    }
}

impl BlockWriter for Writer<'_> {
    fn put(&mut self, block: &Block) -> Result<bool, BlockError> {
        check_writable(block)?;
        self.intact()?;
        let cid = *block.cid();
        if self.leaves_out(&cid)? {
            return Ok(false);
        }
        let offset = self.car.put(block).map_err(|error| {
            self.torn = true;
            io_error(self.car.output().path())(error)
        })?;
        let len = u32::try_from(block.bytes().len()).expect("check_writable allows 2 MiB");
        self.added.insert(cid, self.order.len());
        self.order.push(BlockAt { cid, offset, len });
        Ok(true)
    }

    fn leaves_out(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(self.added.contains_key(cid) || self.group_holds(cid)?)
    }

    fn commit(self: Box<Self>, root: &Cid) -> Result<Option<BlockFile>, BlockError> {
        check_cid(root)?;
        self.intact()?;
        if self.order.is_empty() {
            return Ok(None);
        }
        let Self {
            folder,
            group,
            car,
            order,
            ..
        } = *self;
        let path = car.output().path().to_owned();
        let mut temp = car.finish().map_err(io_error(&path))?;
        let written = u64::from(folder.clock.now().0);
        let header = one_root_header(root)?;
        let durable = temp.file().write_all_at(&header, 0).and_then(|()| {
            let written = SystemTime::UNIX_EPOCH + Duration::from_secs(written);
            temp.file().set_modified(written)?;
            // A crash until here leaves a file in `tmp/`, which nobody reads.
            temp.file().sync_all()
        });
        durable.map_err(io_error(&path))?;

        let changing = folder.changing();
        for name in names::candidates(group, root) {
            let path = folder.path(&name);
            match File::open(&path) {
                Ok(same) if holds_the_same(&same, temp.file()).map_err(io_error(&path))? => {
                    // Whoever renamed it may not have come to sync its name.
                    durable::sync_folder(durable::parent_of(&path)).map_err(io_error(&path))?;
                    if folder.index().file(&name).is_none() {
                        folder.reindex(&changing, &name)?;
                    }
                }
                // Another file under this root, or a damaged one: it stays.
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    temp.rename(&path).map_err(io_error(&path))?;
                    // A crash here leaves a file the index does not know, which
                    // the next opening finds.
                    add(folder, &changing, &name, &path, &order)?;
                }
                Err(error) => return Err(io_error(&path)(error)),
            }
            return Ok(folder.about(&folder.row(&name)?));
        }
        unreachable!("names::candidates never ends")
    }
}

fn add(
    folder: &CarFolder,
    changing: &super::Changing<'_>,
    name: &str,
    path: &Path,
    blocks: &[BlockAt],
) -> Result<(), BlockError> {
    let mark = listing::mark(&fs::metadata(path).map_err(io_error(path))?);
    match folder.index().put_file(name, mark, blocks) {
        Ok(_) => Ok(()),
        Err(failure) => folder.rebuild(changing, &failure),
    }
}

/// Whether two files have the same bytes.
fn holds_the_same(mut a: &File, b: &File) -> io::Result<bool> {
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let mut ours = vec![0; 64 << 10];
    let mut theirs = vec![0; ours.len()];
    let mut at = 0;
    loop {
        let read = a.read(&mut ours)?;
        if read == 0 {
            return Ok(true);
        }
        match b.read_exact_at(&mut theirs[..read], at) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        if ours[..read] != theirs[..read] {
            return Ok(false);
        }
        at += read as u64;
    }
}
