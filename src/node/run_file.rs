//! `run.json`: how programs beside a running daemon find it.
//!
//! Always true:
//! - The file is there, whole, from when the daemon accepts peers until it begins to end:
//!   it is gone before its ports are anybody's.
//! - After a crash it is left over, and no longer believed: others may have the ports.
//!   Whoever opens the archive next takes it away.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::archive::disk::{RUN_FILE, is_held_by};
use crate::durable;
use crate::rlpx::Enode;

/// Name of the file in the data folder.
pub const NAME: &str = RUN_FILE;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Process id of the daemon.
    pub pid: u32,
    /// Where peers reach it.
    pub enode: Enode,
    /// Where its HTTP interface is, if it is on.
    pub http: Option<String>,
    /// Where IPFS nodes reach its libp2p peer; none where it is off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub p2p: Vec<String>,
    /// Where others have the blocks, as the operator told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public_urls: Vec<String>,
    /// The head CID when this was written; none before the first seal.
    pub head: Option<String>,
}

impl RunInfo {
    /// What the daemon that runs over the folder `data` says of itself; `None` where none
    /// runs, though one that was killed left its file.
    pub fn of_running(data: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(data.join(NAME)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let told: Self = serde_json::from_slice(&text)?;
        Ok(is_held_by(data, told.pid)?.then_some(told))
    }
}

/// The file of this process, removed when dropped.
#[derive(Debug)]
pub struct RunFile {
    path: PathBuf,
    info: RunInfo,
}

impl RunFile {
    /// Writes the file into the folder `data`.
    pub fn create(data: &Path, info: RunInfo) -> io::Result<Self> {
        let file = Self {
            path: data.join(NAME),
            info,
        };
        file.write()?;
        Ok(file)
    }

    /// Tells of a new head.
    pub fn set_head(&mut self, head: String) -> io::Result<()> {
        self.info.head = Some(head);
        self.write()
    }

    /// Tells where peers reach the daemon now.
    pub fn set_enode(&mut self, enode: Enode) -> io::Result<()> {
        self.info.enode = enode;
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let mut json = serde_json::to_vec(&self.info)?;
        json.push(b'\n');
        durable::replace_file(&self.path, &json)
    }
}

impl Drop for RunFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "run file not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::disk::Archive;
    use crate::rlpx::NodeKey;

    fn read(path: &Path) -> RunInfo {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn the_file_follows_the_daemon_and_goes_with_it() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(NAME);
        let id = NodeKey::generate().id();
        let info = RunInfo {
            pid: 7,
            enode: Enode::new(id, "127.0.0.1:30303".parse().unwrap()),
            http: None,
            p2p: Vec::new(),
            public_urls: Vec::new(),
            head: None,
        };
        let mut file = RunFile::create(data.path(), info.clone()).unwrap();
        assert_eq!(read(&path), info);
        file.set_head("bafy".to_owned()).unwrap();
        assert_eq!(read(&path).head.as_deref(), Some("bafy"));
        let outside = Enode::new(id, "203.0.113.7:30303".parse().unwrap());
        file.set_enode(outside).unwrap();
        assert_eq!(read(&path).enode, outside);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_is_believed_while_the_process_that_it_names_holds_the_archive() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        assert_eq!(RunInfo::of_running(data).unwrap(), None);
        let archive = Archive::init(data, "").unwrap();
        let of = |pid| RunInfo {
            pid,
            enode: Enode::new(NodeKey::generate().id(), "127.0.0.1:1".parse().unwrap()),
            http: Some("http://127.0.0.1:8547".to_owned()),
            p2p: Vec::new(),
            public_urls: Vec::new(),
            head: None,
        };
        let own = RunFile::create(data, of(std::process::id())).unwrap();
        let told = RunInfo::of_running(data).unwrap();
        assert_eq!(told, Some(own.info.clone()));
        // One that was killed, while another command works on the archive.
        let left = RunFile::create(data, of(std::process::id() + 1)).unwrap();
        assert_eq!(RunInfo::of_running(data).unwrap(), None);
        // And one that was killed while nobody does.
        own.write().unwrap();
        drop(archive);
        assert_eq!(RunInfo::of_running(data).unwrap(), None);
        drop(left);
    }
}
