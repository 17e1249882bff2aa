//! Who waits for the writer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{FileNumber, JournalError, Location};

/// Most bytes that wait; a batch is let in while fewer do. 64 MiB are half a
/// second of a disk of the usual speed.
const MOST_BYTES: usize = 64 << 20;
/// Most requests that wait; an empty batch costs memory, too.
const MOST_REQUESTS: usize = 4_096;

/// Called once with the outcome of an append.
pub(super) type Appended = Box<dyn FnOnce(Result<Vec<Location>, JournalError>) + Send>;
/// Called once with the outcome of a rotation.
pub(super) type Rotated = Box<dyn FnOnce(Result<FileNumber, JournalError>) + Send>;

/// Called once when the writer has come so far, or takes nothing any more.
pub(super) type Passed = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// What the writer is asked to do.
pub(super) enum Request {
    Append { batch: Vec<Bytes>, done: Appended },
    Rotate { done: Rotated },
    Pass { done: Passed },
}

impl Request {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append { batch, .. } => batch.iter().map(Bytes::len).sum(),
            Self::Rotate { .. } | Self::Pass { .. } => 0,
        }
    }

    pub(super) fn refuse(self, error: JournalError) {
        match self {
            Self::Append { done, .. } => done(Err(error)),
            Self::Rotate { done } => done(Err(error)),
            Self::Pass { done } => done(Err(error)),
        }
    }
}

/// A bounded queue with one taker.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Something came, or the queue was closed.
    came: Condvar,
    /// Something was taken.
    left: Condvar,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    bytes: usize,
    closed: bool,
}

impl Waiting {
    fn is_full(&self) -> bool {
        self.bytes >= MOST_BYTES || self.requests.len() >= MOST_REQUESTS
    }

    fn add(&mut self, request: Request) {
        self.bytes += request.bytes();
        self.requests.push_back(request);
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request, or gives it back with the reason.
    pub(super) fn push(&self, request: Request) -> Result<(), (Request, JournalError)> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err((request, JournalError::closed()));
        }
        if waiting.is_full() {
            return Err((request, JournalError::Busy));
        }
        waiting.add(request);
        self.came.notify_one();
        Ok(())
    }

    /// Adds a request as soon as there is room; refuses it where the queue is
    /// closed.
    pub(super) fn push_waiting(&self, request: Request) {
        let mut waiting = self.lock();
        while waiting.is_full() && !waiting.closed {
            waiting = self
                .left
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.closed {
            drop(waiting);
            return request.refuse(JournalError::closed());
        }
        waiting.add(request);
        self.came.notify_one();
    }

    /// Takes what waits, in order: one request at least, and more while their
    /// bytes stay below `most`. `None` once the queue is closed and empty.
    pub(super) fn take(&self, most: usize) -> Option<Vec<Request>> {
        let mut waiting = self.lock();
        while waiting.requests.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = self
                .came
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(request) = waiting.requests.front() {
            let next = request.bytes();
            if !taken.is_empty() && bytes + next > most {
                break;
            }
            bytes += next;
            waiting.bytes -= next;
            taken.extend(waiting.requests.pop_front());
        }
        self.left.notify_all();
        Some(taken)
    }

    /// Lets nothing more in; what waits is still taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.came.notify_all();
        self.left.notify_all();
    }

    /// Lets nothing more in, and refuses what waits: nobody will take it.
    pub(super) fn abandon(&self) {
        self.close();
        let left = std::mem::take(&mut self.lock().requests);
        for request in left {
            request.refuse(JournalError::closed());
        }
    }
}
