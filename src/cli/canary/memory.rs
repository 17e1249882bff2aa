//! `canary.json`: what a canary remembers from run to run.
//!
//! Always true: it holds at most [`MAX_SERVERS`] servers, and of each at most
//! [`MAX_PENDING`] messages that no head has shown yet.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::error::{CliError, Kind};
use crate::durable;
use crate::time::UnixSeconds;

/// Name of the file in the data folder.
pub const NAME: &str = "canary.json";

/// Servers remembered; the one asked longest ago is forgotten first.
pub const MAX_SERVERS: usize = 256;

/// Messages remembered until a head shows them: five hours of a canary that
/// runs every five minutes.
pub const MAX_PENDING: usize = 60;

/// A message that a server acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Its hash, hex with `0x`.
    pub hash: String,
    /// When it was sent.
    pub sent: UnixSeconds,
    /// When the server had it: a head signed later, over a watermark past
    /// `sent`, shows it.
    pub taken: UnixSeconds,
}

/// What is remembered of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// When it was last tried.
    pub last_run: UnixSeconds,
    /// When every step last went well.
    pub last_success: Option<UnixSeconds>,
    /// Runs since then that did not.
    pub failures: u64,
    /// Messages that no head has shown yet, oldest first.
    pub pending: Vec<Pending>,
}

/// The file.
pub struct Memory {
    path: PathBuf,
    servers: BTreeMap<String, Remembered>,
}

impl Memory {
    /// The memory in the data folder, which is made where it is not there.
    pub fn open(data: &Path) -> Result<Self, CliError> {
        let path = data.join(NAME);
        let failed = |error: &dyn std::error::Error| {
            CliError::new(Kind::Error, format!("cannot use {}", path.display()))
                .because(error)
                .hint("`--data DIR` names a folder that may be written to")
        };
        durable::create_folder(data).map_err(|error| failed(&error))?;
        let servers = match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map_err(|error| failed(&error))?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(failed(&error)),
        };
        Ok(Self { path, servers })
    }

    /// What is remembered of the server with this id.
    pub fn of(&mut self, server: &str) -> &mut Remembered {
        self.servers.entry(server.to_owned()).or_default()
    }

    /// Makes it durable.
    pub fn save(&mut self) -> Result<(), CliError> {
        while self.servers.len() > MAX_SERVERS
            && let Some(oldest) = self.servers.iter().min_by_key(|(_, of)| of.last_run)
        {
            let oldest = oldest.0.clone();
            self.servers.remove(&oldest);
        }
        for server in self.servers.values_mut() {
            let too_many = server.pending.len().saturating_sub(MAX_PENDING);
            server.pending.drain(..too_many);
        }
        let mut json = serde_json::to_vec_pretty(&self.servers).map_err(|error| {
            CliError::new(Kind::Error, "cannot write the canary's memory").because(&error)
        })?;
        json.push(b'\n');
        durable::replace_file(&self.path, &json).map_err(|error| {
            CliError::new(Kind::Error, format!("cannot write {}", self.path.display()))
                .because(&error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_outlives_a_run_and_stays_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let mut memory = Memory::open(&data).unwrap();
        for n in 0..u32::try_from(MAX_SERVERS).unwrap() + 5 {
            let of = memory.of(&format!("server {n}"));
            of.last_run = UnixSeconds(n);
            of.pending = (0..100)
                .map(|n| Pending {
                    hash: format!("0x{n}"),
                    sent: UnixSeconds(n),
                    taken: UnixSeconds(n),
                })
                .collect();
        }
        memory.save().unwrap();
        let mut again = Memory::open(&data).unwrap();
        assert_eq!(again.servers.len(), MAX_SERVERS);
        assert_eq!(again.of("server 4"), &Remembered::default());
        let newest = again.of("server 260");
        assert_eq!(newest.pending.len(), MAX_PENDING);
        assert_eq!(newest.pending.last().map(|p| p.sent), Some(UnixSeconds(99)));
    }
}
