//! A walk towards a place, by asking those nearest to it whom they know.
//!
//! Always true: nobody is asked twice, at most [`ALPHA`] are asked at a time,
//! and at most [`MAX_CANDIDATES`] are kept in mind.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::discovery::table::{BUCKET_SIZE, Place, distance};
use crate::rlpx::NodeId;

/// Nodes asked at a time.
pub(super) const ALPHA: usize = 3;

/// Nodes kept in mind: several times what decides the walk.
const MAX_CANDIDATES: usize = 4 * BUCKET_SIZE;

/// A node that may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) id: NodeId,
    pub(super) udp: SocketAddr,
    pub(super) tcp: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Asked,
    Done,
}

/// A walk.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) target: NodeId,
    place: Place,
    candidates: BTreeMap<Place, (Candidate, State)>,
}

impl Lookup {
    /// A walk towards `target`, starting from these nodes.
    pub(super) fn new(target: NodeId, from: impl IntoIterator<Item = Candidate>) -> Self {
        let mut lookup = Self {
            target,
            place: target.hash(),
            candidates: BTreeMap::new(),
        };
        for candidate in from {
            lookup.learn(candidate);
        }
        lookup
    }

    /// Somebody told of a node.
    pub(super) fn learn(&mut self, candidate: Candidate) {
        let at = distance(&candidate.id.hash(), &self.place);
        self.candidates.entry(at).or_insert((candidate, State::New));
        if self.candidates.len() > MAX_CANDIDATES {
            self.candidates.pop_last();
        }
    }

    /// Whom to ask next, if anybody can be asked now.
    pub(super) fn next(&mut self) -> Option<Candidate> {
        let in_flight = |state: &State| *state == State::Asked;
        let asked = self.candidates.values().filter(|(_, s)| in_flight(s));
        if asked.count() >= ALPHA {
            return None;
        }
        // What lies beyond the nearest that answered decides nothing.
        let nearest = self.candidates.values_mut().take(BUCKET_SIZE);
        let (candidate, state) = nearest
            .into_iter()
            .find(|(_, state)| *state == State::New)?;
        *state = State::Asked;
        Some(*candidate)
    }

    /// A node has said all it will, or nothing.
    pub(super) fn done(&mut self, id: &NodeId) {
        let at = distance(&id.hash(), &self.place);
        if let Some((_, state)) = self.candidates.get_mut(&at) {
            *state = State::Done;
        }
    }

    /// A node does not answer: the next nearest counts in its stead.
    pub(super) fn forget(&mut self, id: &NodeId) {
        self.candidates.remove(&distance(&id.hash(), &self.place));
    }

    /// Whether there is nobody left to ask or to wait for.
    pub(super) fn is_over(&self) -> bool {
        let mut nearest = self.candidates.values().take(BUCKET_SIZE);
        let waits = self.candidates.values().any(|(_, s)| *s == State::Asked);
        !waits && nearest.all(|(_, state)| *state == State::Done)
    }
}
