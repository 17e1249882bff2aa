//! Open files, as many as are worth keeping.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files kept open at once: 64, well below the 1,024 that Linux grants a
/// process by default, beside its peers' sockets.
const MOST_OPEN: usize = 64;

/// Files opened for reading, the one used last at the back.
#[derive(Debug, Default)]
pub(super) struct Handles(Mutex<VecDeque<(Arc<str>, Arc<File>)>>);

impl Handles {
    fn queue(&self) -> MutexGuard<'_, VecDeque<(Arc<str>, Arc<File>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file `name`, which lies at `path`.
    pub(super) fn open(&self, name: &Arc<str>, path: &Path) -> io::Result<Arc<File>> {
        {
            let mut queue = self.queue();
            if let Some(at) = queue.iter().position(|(held, _)| held == name)
                && let Some(entry) = queue.remove(at)
            {
                let file = Arc::clone(&entry.1);
                queue.push_back(entry);
                return Ok(file);
            }
        }
        // Opened outside the lock: two threads may both do so, which costs one
        // descriptor for as long as the slower one reads.
        let file = Arc::new(File::open(path)?);
        let mut queue = self.queue();
        queue.push_back((Arc::clone(name), Arc::clone(&file)));
        if queue.len() > MOST_OPEN {
            queue.pop_front();
        }
        Ok(file)
    }

    /// Lets go of a file that is gone or was replaced.
    pub(super) fn forget(&self, name: &str) {
        self.queue().retain(|(held, _)| **held != *name);
    }
}
