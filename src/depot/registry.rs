//! Small entries at a place that several machines share, written on a condition.
//!
//! Always true: of several who create one entry, or who replace one version of it,
//! one alone succeeds, whatever becomes of the answers it is told by. Whoever is not
//! told reads the entry, and knows its own by what it wrote.

use super::DepotError;

/// Which writing of an entry it is; another writing is another version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub(crate) String);

/// An entry as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was written.
    pub bytes: Vec<u8>,
    /// The writing.
    pub version: Version,
}

/// Largest entry, bytes: a head and a few lines.
pub const MAX_ENTRY: u64 = 4 << 10;

/// Entries that are written on a condition. Calls wait for the network.
pub trait Registry: Send + Sync {
    /// The entry, `None` where there is none. Names are like those of files below a
    /// folder.
    fn entry(&self, name: &str) -> Result<Option<Entry>, DepotError>;

    /// Writes an entry where there is none; `None` where there is one.
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Option<Version>, DepotError>;

    /// Writes an entry in the place of one version; `None` where it is another by now.
    fn replace(
        &self,
        name: &str,
        bytes: &[u8],
        version: &Version,
    ) -> Result<Option<Version>, DepotError>;
}

/// Name of the entry by which conditions are tried.
const TRIAL: &str = "CONDITIONS";

/// First line of that entry; what follows is drawn anew each time.
const FIRST_LINE: &str = "gwa conditions 1";

/// Whether a place writes nothing over what is there where it is told not to. There are
/// servers that take the conditions of a request and pass over them, and all who write
/// there win.
pub fn keeps_conditions(registry: &dyn Registry) -> Result<bool, DepotError> {
    let text = || {
        let drawn: [u8; 16] = rand::random();
        format!("{FIRST_LINE}\n{}\n", hex::encode(drawn)).into_bytes()
    };
    registry.create(TRIAL, &text())?;
    if registry.create(TRIAL, &text())?.is_some() {
        return Ok(false);
    }
    let Some(Entry { version, .. }) = registry.entry(TRIAL)? else {
        return Ok(false);
    };
    // Whoever succeeds here, of several who try at once: this version is gone then.
    registry.replace(TRIAL, &text(), &version)?;
    Ok(registry.replace(TRIAL, &text(), &version)?.is_none())
}
