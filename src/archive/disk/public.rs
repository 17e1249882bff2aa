//! The part of a data folder that is for everybody, as a folder of its own: what
//! a plain web server, a mirror script or a disk given away may hold.
//!
//! Always true:
//! - Nothing is in it but heads, files of blocks and lists of them: no key, no
//!   password, nothing that waits to be sealed.
//! - `HEAD` names a head whose blocks are all there already, durably, and no later
//!   head is there; what that head has left behind goes only after it.
//! - The archive is only read, and may be written to meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use super::evicted::Evicted;
use super::heads::Heads;
use super::{BLOCKS, DiskError};
use crate::archive::head::{Head, Sequence};
use crate::blocks::{BlockStore, CarFolder, catalogues};
use crate::durable;

/// How often the work starts anew because a file went while it was being linked:
/// a daemon drops files once an hour at most.
const ATTEMPTS: usize = 5;

/// What became of a public folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The head it shows.
    pub head: Head,
    /// Files of blocks in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were added, heads included.
    pub added: u64,
    /// Files that were removed because the archive has dropped them, heads included.
    pub removed: u64,
}

/// Makes `to` show what the archive in `data` holds: files are linked where both
/// are on one disk, else copied; what is there already stays. `None` where the
/// archive has no head yet.
pub fn publish_folder(data: &Path, to: &Path) -> Result<Option<Published>, DiskError> {
    durable::create_folder(to).map_err(DiskError::io(to))?;
    if same_folder(data, to) {
        let error = io::Error::new(
            io::ErrorKind::InvalidInput,
            "the public folder cannot be the data folder itself, which holds the key",
        );
        return Err(DiskError::io(to)(error));
    }
    let mut attempt = 1;
    loop {
        match publish_once(data, to) {
            Err(DiskError::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS =>
            {
                attempt += 1;
            }
            other => return other,
        }
    }
}

fn same_folder(a: &Path, b: &Path) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

fn publish_once(data: &Path, to: &Path) -> Result<Option<Published>, DiskError> {
    let head = Heads::new(data).current()?;
    head.map(|head| show(data, to, head)).transpose()
}

/// Makes `to` show `head`; what is sealed meanwhile is for the next time.
fn show(data: &Path, to: &Path, head: Head) -> Result<Published, DiskError> {
    let folder = CarFolder::open_read_only(&data.join(BLOCKS))?;
    let mut published = Published {
        head,
        files: 0,
        bytes: 0,
        added: 0,
        removed: 0,
    };
    let (mut names, mut folders) = (BTreeSet::new(), BTreeSet::new());
    for file in folder.files()? {
        let name = format!("{BLOCKS}/{}", file.name);
        published.added += u64::from(link(data, to, &name, file.bytes)?);
        published.files += 1;
        published.bytes += file.bytes;
        folders.insert(durable::parent_of(&to.join(&name)).to_owned());
        names.insert(file.name);
    }
    let public_blocks = to.join(BLOCKS);
    for file in Evicted::open(data)?.files() {
        // One that came here before it was evicted stays.
        let there = fs::metadata(public_blocks.join(&file.file.name));
        let is_whole = there.is_ok_and(|about| about.len() == file.file.bytes);
        if !is_whole && !names.contains(&file.file.name) {
            return Err(DiskError::Evicted {
                file: file.file.name.clone(),
                store: file.store.clone(),
            });
        }
        names.insert(file.file.name.clone());
    }
    catalogues::write(&public_blocks)?;
    // Whoever looks for the newest head takes the last: a later one would name
    // blocks that are not here.
    let sequence = published.head.body().sequence;
    let head_names = Heads::new(data).files_up_to(sequence)?;
    for name in &head_names {
        let path = data.join(name);
        let len = fs::metadata(&path).map_err(DiskError::io(&path))?.len();
        published.added += u64::from(link(data, to, name, len)?);
        folders.insert(durable::parent_of(&to.join(name)).to_owned());
    }
    for folder in &folders {
        durable::sync_folder(folder).map_err(DiskError::io(folder))?;
    }
    let public_heads = Heads::new(to);
    public_heads.point_to(&published.head)?;
    // Heads that another took the place of.
    for name in public_heads.files_up_to(Sequence(u64::MAX))? {
        if !head_names.contains(&name) {
            let path = to.join(&name);
            fs::remove_file(&path).map_err(DiskError::io(&path))?;
            published.removed += 1;
        }
    }

    // From here on nobody is told of what has gone.
    for file in CarFolder::open_read_only(&public_blocks)?.files()? {
        if !names.contains(&file.name) {
            let path = public_blocks.join(&file.name);
            fs::remove_file(&path).map_err(DiskError::io(&path))?;
            published.removed += 1;
        }
    }
    if published.removed > 0 {
        catalogues::write(&public_blocks)?;
    }
    Ok(published)
}

/// Gives the file `name` of one folder the same name in the other; false where it
/// is there already. Files with these names never change, so their length tells.
fn link(from: &Path, to: &Path, name: &str, len: u64) -> Result<bool, DiskError> {
    let (source, target) = (from.join(name), to.join(name));
    match fs::metadata(&target) {
        Ok(about) if about.len() == len => return Ok(false),
        // Cut short by whoever copied it.
        Ok(_) => fs::remove_file(&target).map_err(DiskError::io(&target))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(DiskError::io(&target)(error)),
    }
    let folder = durable::parent_of(&target);
    durable::create_folder(folder).map_err(DiskError::io(folder))?;
    match fs::hard_link(&source, &target) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(DiskError::io(&source)(error)),
        // Another disk, or one without links.
        Err(_) => {
            copy(&source, &target).map_err(DiskError::io(&source))?;
            Ok(true)
        }
    }
}

/// Copies a file; its bytes are durable when it has its name.
fn copy(source: &Path, target: &Path) -> io::Result<()> {
    let mut from = fs::File::open(source)?;
    durable::replace_file_with(target, |file| io::copy(&mut from, file).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::disk::{Archive, open_public, sealed_by};
    use crate::archive::testing::envelope;
    use crate::archive::verify::{Sample, verify};
    use crate::archive::watermark::Watermark;
    use crate::progress::Quiet;
    use crate::time::{DAY, HOUR, UnixSeconds};

    fn seal(archive: &Archive, until: u32) {
        let until = Watermark::new(UnixSeconds(until)).unwrap();
        archive.seal(until, until.at(), &Quiet).unwrap();
    }

    fn everything_below(dir: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![dir.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(dir).unwrap();
                    found.push(name.to_string_lossy().into_owned());
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn a_public_folder_follows_the_archive_and_holds_no_secret() {
        let data = tempfile::tempdir().unwrap();
        let public = tempfile::tempdir().unwrap();
        let archive = Archive::init(data.path(), "").unwrap();
        assert_eq!(publish_folder(data.path(), public.path()).unwrap(), None);
        archive
            .append(&[envelope(1, 100, 40), envelope(2, 2 * HOUR, 40)])
            .unwrap();
        seal(&archive, HOUR + 300);
        seal(&archive, 3 * HOUR + 300);
        let first = publish_folder(data.path(), public.path()).unwrap().unwrap();
        assert!(first.added > 2 && first.removed == 0);
        let again = publish_folder(data.path(), public.path()).unwrap().unwrap();
        assert_eq!((again.added, again.removed), (0, 0));
        for name in everything_below(public.path()) {
            let of_a_kind = name == "HEAD"
                || name.ends_with(".head")
                || name.ends_with(".car")
                || name.ends_with("CATALOGUE");
            assert!(of_a_kind, "{name}");
        }

        archive.append(&[envelope(1, DAY + 100, 40)]).unwrap();
        seal(&archive, 2 * DAY + 300);
        archive.sweep(UnixSeconds::MAX).unwrap();
        let later = publish_folder(data.path(), public.path()).unwrap().unwrap();
        assert!(later.added > 0 && later.removed > 0);
        let blocks = open_public(public.path()).unwrap().unwrap();
        let head = blocks.heads().current().unwrap().unwrap();
        assert_eq!(head, later.head);
        let verified = verify(
            &blocks,
            &sealed_by(&head),
            *head.cid(),
            Sample::EVERYTHING,
            &Quiet,
        );
        assert!(verified.faults.is_empty());
        assert_eq!(verified.envelopes, 3);
    }

    #[test]
    fn what_is_sealed_while_files_are_linked_is_not_shown_yet() {
        let data = tempfile::tempdir().unwrap();
        let public = tempfile::tempdir().unwrap();
        let archive = Archive::init(data.path(), "").unwrap();
        archive.append(&[envelope(1, 100, 40)]).unwrap();
        seal(&archive, HOUR + 300);
        let first = archive.head().unwrap();
        archive.append(&[envelope(2, 2 * HOUR, 40)]).unwrap();
        seal(&archive, 3 * HOUR + 300);
        // A seal came after the head was read.
        show(data.path(), public.path(), first.clone()).unwrap();
        let newest = || Heads::new(public.path()).current().unwrap();
        assert_eq!(newest(), Some(first));
        publish_folder(data.path(), public.path()).unwrap();
        assert_eq!(newest(), archive.head());
    }

    #[test]
    fn a_head_that_was_set_aside_is_shown_no_more() {
        let data = tempfile::tempdir().unwrap();
        let public = tempfile::tempdir().unwrap();
        let archive = Archive::init(data.path(), "").unwrap();
        archive.append(&[envelope(1, 100, 40)]).unwrap();
        seal(&archive, HOUR + 300);
        let first = archive.head().unwrap();
        seal(&archive, 3 * HOUR + 300);
        publish_folder(data.path(), public.path()).unwrap();
        Heads::new(data.path()).replace_from(&first).unwrap();
        publish_folder(data.path(), public.path()).unwrap();
        let newest = Heads::new(public.path()).current().unwrap();
        assert_eq!(newest, Some(first));
    }

    #[test]
    fn a_copy_onto_another_disk_is_whole_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("source"), dir.path().join("target"));
        fs::write(&source, b"blocks").unwrap();
        copy(&source, &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"blocks");
        assert_eq!(everything_below(dir.path()), ["source", "target"]);
        let gone = copy(&dir.path().join("gone"), &target).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_data_folder_is_not_made_public() {
        let data = tempfile::tempdir().unwrap();
        Archive::init(data.path(), "").unwrap();
        assert!(publish_folder(data.path(), data.path()).is_err());
    }

    #[test]
    fn a_file_that_was_cut_short_is_put_right() {
        let data = tempfile::tempdir().unwrap();
        let public = tempfile::tempdir().unwrap();
        let archive = Archive::init(data.path(), "").unwrap();
        archive.append(&[envelope(1, 100, 40)]).unwrap();
        seal(&archive, 2 * DAY);
        publish_folder(data.path(), public.path()).unwrap();
        let name = everything_below(public.path())
            .into_iter()
            .find(|name| name.ends_with(".car"))
            .unwrap();
        let whole = fs::read(data.path().join(&name)).unwrap();
        let path = public.path().join(&name);
        // A copy of its own, as on another disk.
        fs::remove_file(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let mended = publish_folder(data.path(), public.path()).unwrap().unwrap();
        assert_eq!(mended.added, 1);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}
