//! The connections that can be spoken to, by peer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rlpx::NodeId;
use crate::whisper::node::orders::Line;

/// Lines to the connected peers.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<Mutex<HashMap<NodeId, Line>>>);

impl Lines {
    /// Notes the line to a peer, until what is returned is dropped.
    pub(super) fn note(&self, id: NodeId, line: Line) -> Noted {
        self.lock().insert(id, line);
        Noted {
            lines: self.clone(),
            id,
        }
    }

    /// The line to one peer.
    pub(super) fn to(&self, id: &NodeId) -> Option<Line> {
        self.lock().get(id).cloned()
    }

    /// The lines to all.
    pub(super) fn all(&self) -> Vec<Line> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line that is noted.
#[derive(Debug)]
pub(super) struct Noted {
    lines: Lines,
    id: NodeId,
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.lines.lock().remove(&self.id);
    }
}
