//! Filters of a running node: what arrives is shown to them.
//!
//! Always true:
//! - A filter sees everything that arrives after it was added, in the order it
//!   came; the end of an answer to a mail request is told after all of the
//!   answer was shown.
//! - Where nobody waits, nothing listens: the node pays for events only while
//!   somebody does.
//! - Envelopes are opened where waiting is harmless, not where sockets are
//!   served. Listening never waits for opening; what waits to be opened is
//!   bounded, and what is dropped for it is logged.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::mailserver::request::RequestId;
use crate::mailserver::response::Completion;
use crate::whisper::Envelope;
use crate::whisper::node::{NodeControl, NodeEvent};
use crate::whisper::service::filters::TooMany;
use crate::whisper::service::{Criteria, Filters, Id, Message};

/// Envelopes opened under one lock: whoever asks for messages waits as long.
const BATCH: usize = 16;

/// Bytes of envelopes that wait to be opened: the longest answer of a
/// mailserver, twice.
const MAX_QUEUED: usize = 32 << 20;

/// The filters, and whoever shows them what arrives.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    found: watch::Sender<u64>,
    arrived: Notify,
    node: NodeControl,
    stopping: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    filters: Filters,
    /// Who waits for the end of an answer.
    ends: HashMap<RequestId, oneshot::Sender<Completion>>,
    queue: Queue,
    is_listening: bool,
}

impl State {
    fn is_awaited(&self) -> bool {
        !self.filters.is_empty() || !self.ends.is_empty()
    }
}

/// What waits to be shown, in the order it came.
#[derive(Debug, Default)]
struct Queue {
    arrivals: VecDeque<Arrival>,
    bytes: usize,
}

#[derive(Debug)]
enum Arrival {
    /// An envelope; `direct` says that it was sent to this node alone.
    Envelope { envelope: Envelope, direct: bool },
    /// The end of an answer.
    End(RequestId, Completion),
}

impl Queue {
    /// Takes envelopes in; gives how many there was no room for.
    fn push(&mut self, envelopes: &[Envelope], direct: bool) -> usize {
        let mut dropped = 0;
        for envelope in envelopes {
            let bytes = envelope.rlp().len();
            if self.bytes + bytes > MAX_QUEUED {
                dropped += 1;
                continue;
            }
            self.bytes += bytes;
            self.arrivals.push_back(Arrival::Envelope {
                // Its packet may be gone long before it is opened.
                envelope: envelope.detached(),
                direct,
            });
        }
        dropped
    }

    fn pop(&mut self) -> Option<Arrival> {
        let arrival = self.arrivals.pop_front()?;
        if let Arrival::Envelope { envelope, .. } = &arrival {
            self.bytes -= envelope.rlp().len();
        }
        Some(arrival)
    }
}

impl Waiting {
    /// No filters yet; what they will be shown comes from `node`.
    pub(super) fn new(node: NodeControl, stopping: CancellationToken) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                found: watch::Sender::new(0),
                arrived: Notify::new(),
                node,
                stopping,
            }),
        }
    }

    /// Waits for what `criteria` describe from now on.
    pub(super) fn add(&self, criteria: Criteria) -> Result<Id, TooMany> {
        let mut state = self.shared.lock();
        let id = state.filters.add(criteria)?;
        self.listen(&mut state);
        Ok(id)
    }

    /// Waits for the end of the answer to `request`. Dropping what this gives
    /// does not end waiting: [`forget`](Self::forget) does.
    pub(super) fn expect(&self, request: RequestId) -> oneshot::Receiver<Completion> {
        let (tell, told) = oneshot::channel();
        let mut state = self.shared.lock();
        state.ends.insert(request, tell);
        self.listen(&mut state);
        told
    }

    /// Waits no more for the end of an answer.
    pub(super) fn forget(&self, request: &RequestId) {
        self.shared.lock().ends.remove(request);
    }

    /// Waits no more; false where nobody did.
    pub(super) fn remove(&self, id: &Id) -> bool {
        self.shared.lock().filters.remove(id)
    }

    /// What a filter found since it was last asked.
    pub(super) fn take(&self, id: &Id) -> Option<Vec<Arc<Message>>> {
        self.shared.lock().filters.take(id)
    }

    /// How many messages wait to be asked for.
    pub(super) fn held(&self) -> usize {
        self.shared.lock().filters.held()
    }

    /// Tells whenever some filter found something.
    pub(super) fn found(&self) -> watch::Receiver<u64> {
        self.shared.found.subscribe()
    }

    /// Resolves when the node's interface ends.
    pub(super) async fn ended(&self) {
        self.shared.stopping.cancelled().await;
    }

    /// Listens, if nobody does: before the caller knows what it waits for, so
    /// that nothing that comes of it is missed.
    fn listen(&self, state: &mut State) {
        if !state.is_listening {
            state.is_listening = true;
            let events = self.shared.node.events();
            tokio::spawn(Arc::clone(&self.shared).hear_all(events));
        }
    }
}

impl Shared {
    /// Queues what arrives, while anybody waits for something.
    async fn hear_all(self: Arc<Self>, mut events: Receiver<NodeEvent>) {
        let end = CancellationToken::new();
        let _ended = end.clone().drop_guard();
        tokio::spawn(Arc::clone(&self).show_all(end));
        loop {
            let event = tokio::select! {
                () = self.stopping.cancelled() => return,
                event = events.recv() => event,
            };
            let is_awaited = match event {
                Ok(event) => self.hear(event),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "filters did not see all that arrived");
                    true
                }
                Err(RecvError::Closed) => false,
            };
            if !is_awaited {
                return;
            }
        }
    }

    /// Queues what arrived; false where nobody waits for anything any more.
    fn hear(&self, event: NodeEvent) -> bool {
        let mut state = self.lock();
        if !state.is_awaited() {
            state.is_listening = false;
            state.queue = Queue::default();
            return false;
        }
        let dropped = match event {
            NodeEvent::Envelopes(envelopes) => state.queue.push(&envelopes, false),
            NodeEvent::Mail { envelopes, .. } => state.queue.push(&envelopes, true),
            NodeEvent::MailCompleted {
                request,
                completion,
                ..
            } => {
                let end = Arrival::End(request, completion);
                state.queue.arrivals.push_back(end);
                0
            }
            _ => return true,
        };
        drop(state);
        if dropped > 0 {
            tracing::warn!(dropped, "filters are too slow for what arrives");
        }
        self.arrived.notify_one();
        true
    }

    /// Shows what is queued until `end`.
    async fn show_all(self: Arc<Self>, end: CancellationToken) {
        loop {
            tokio::select! {
                () = end.cancelled() => return,
                () = self.arrived.notified() => {}
            }
            let shared = Arc::clone(&self);
            let shown = tokio::task::spawn_blocking(move || while shared.show_some() {});
            if let Err(error) = shown.await {
                tracing::error!(%error, "BUG: a filter panicked");
            }
        }
    }

    /// Shows a little of what is queued; false where nothing is.
    fn show_some(&self) -> bool {
        let mut state = self.lock();
        let mut found = 0;
        for _ in 0..BATCH {
            match state.queue.pop() {
                None => break,
                Some(Arrival::Envelope { envelope, direct }) => {
                    found += state.filters.show(&envelope, direct);
                }
                Some(Arrival::End(request, completion)) => {
                    if let Some(tell) = state.ends.remove(&request) {
                        // Whoever asked may have left.
                        let _ = tell.send(completion);
                    }
                }
            }
        }
        let is_more = !state.queue.arrivals.is_empty();
        drop(state);
        if found > 0 {
            self.found
                .send_modify(|times| *times = times.wrapping_add(1));
        }
        is_more
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that changes the filters panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
