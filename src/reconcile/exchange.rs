//! Archivers on the links of a node: answers them, and pulls from them what is
//! missing here.
//!
//! Always true:
//! - One request of a peer is answered at a time, and a few wait; what it costs is
//!   charged to the peer and its address ([`Traffic`]), whether it stays for the
//!   answer or not.
//! - Every archiver's recent past is compared when it connects and then every
//!   [`ExchangeConfig::every`], well before an hour closes.
//! - What a pull brings is durable before the next request.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::check::{MAX_AHEAD, Standard};
use super::message::{MAX_PAYLOAD, Message, Refusal};
use super::pull::{Pull, PullReport, Step};
use super::shelf::{Shelf, apart};
use crate::limits::{Address, Limits, Party, RequestKind, Traffic};
use crate::mailserver::BoxFuture;
use crate::rlpx::NodeId;
use crate::rlpx::capability::Protocol;
use crate::time::{Clock, DAY, HOUR, TimeRange, UnixSeconds};
use crate::whisper::node::side::{SideLink, SideProtocol, SideWriter};
use crate::whisper::pow::Pow;
use crate::whisper::{Envelope, EnvelopeHash};

/// How often the recent past is compared, unless configured otherwise: many times
/// before an hour closes.
pub const DEFAULT_EVERY: Duration = Duration::from_secs(60);

/// How far back the recent past goes: the hour that is closing and one before it,
/// in seconds.
pub const RECENT: u32 = 2 * HOUR;

/// How far back is compared when an archiver connects: what an archiver that was
/// away for a day has missed, in seconds.
pub const AWAY: u32 = DAY + 2 * HOUR;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests of one peer that wait while one is answered.
const MAX_WAITING: usize = 4;

/// Unfit envelopes that are remembered of a peer, so that they are not fetched
/// again each time.
const MAX_UNFIT: usize = 1 << 14;

/// How archivers are dealt with.
#[derive(Clone, Debug)]
pub struct ExchangeConfig {
    /// Archivers the owner named: their envelopes need show no work, and more of
    /// the past is compared.
    pub archivers: HashSet<NodeId>,
    /// The least work of envelopes from others that speak the protocol.
    pub min_pow: Pow,
    /// How often the recent past is compared.
    pub every: Duration,
    /// What may be asked of this node.
    pub limits: Limits,
}

impl Default for ExchangeConfig {
    fn default() -> Self {
        Self {
            archivers: HashSet::new(),
            min_pow: Pow::STATUS_DEFAULT,
            every: DEFAULT_EVERY,
            limits: Limits::default(),
        }
    }
}

/// What all pulls came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Pulls that ended.
    pub pulls: u64,
    /// Envelopes that were new.
    pub stored: u64,
    /// Envelopes that were not taken.
    pub unfit: u64,
    /// Bytes of envelopes fetched.
    pub bytes: u64,
    /// Bytes of all messages of pulls, both ways.
    pub exchanged: u64,
}

/// The protocol `gwa/1` of a node.
pub struct Exchange {
    inner: Arc<Inner>,
}

struct Inner {
    shelf: Arc<Shelf>,
    config: ExchangeConfig,
    clock: Arc<dyn Clock>,
    traffic: Mutex<Traffic>,
    totals: watch::Sender<Totals>,
    nudge: Notify,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

impl Exchange {
    /// The protocol over the archive on `shelf`.
    pub fn new(shelf: Arc<Shelf>, config: ExchangeConfig, clock: Arc<dyn Clock>) -> Self {
        let traffic = Mutex::new(Traffic::new(config.limits.clone()));
        Self {
            inner: Arc::new(Inner {
                shelf,
                config,
                clock,
                traffic,
                totals: watch::Sender::default(),
                nudge: Notify::new(),
            }),
        }
    }

    /// What all pulls came to, as they end.
    pub fn totals(&self) -> watch::Receiver<Totals> {
        self.inner.totals.subscribe()
    }

    /// Compares with every archiver connected now, without waiting for the time.
    pub fn pull_now(&self) {
        self.inner.nudge.notify_waiters();
    }
}

impl SideProtocol for Exchange {
    fn protocol(&self) -> Protocol {
        super::protocol()
    }

    fn max_payload(&self) -> usize {
        MAX_PAYLOAD
    }

    fn talk(&self, link: SideLink) -> BoxFuture<'static, Result<(), String>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            match inner.talk(link).await {
                Ended::Gone => Ok(()),
                Ended::Fault(fault) => Err(fault),
            }
        })
    }
}

/// Why a conversation ended.
enum Ended {
    /// The link is gone.
    Gone,
    /// The peer did something wrong.
    Fault(String),
}

impl Ended {
    fn fault(error: &dyn fmt::Display) -> Self {
        Self::Fault(error.to_string())
    }
}

impl From<crate::rlpx::socket::SendError> for Ended {
    fn from(_: crate::rlpx::socket::SendError) -> Self {
        Self::Gone
    }
}

/// The range from the start of the hour `back` seconds ago to just ahead of now.
pub fn recent(now: UnixSeconds, back: u32) -> TimeRange {
    let from = now.saturating_sub(back).0;
    TimeRange::new(
        UnixSeconds(from - from % HOUR),
        now.saturating_add(MAX_AHEAD),
    )
    .expect("the past is before the future")
}

impl Inner {
    async fn talk(self: &Arc<Self>, mut link: SideLink) -> Ended {
        let writer = link.writer.clone();
        let party = Party {
            peer: link.peer,
            address: Address::from(link.address.ip()),
        };
        let (requests, mut waiting) = mpsc::channel(MAX_WAITING);
        let (answers, mut answered) = mpsc::channel(MAX_WAITING);
        let introduced = Notify::new();
        let reading = self.read(&mut link, &requests, &answers, &introduced);
        let answering = self.answer(&party, &writer, &mut waiting);
        let pulling = async {
            introduced.notified().await;
            self.pull_on(&party.peer, &writer, &mut answered).await
        };
        tokio::select! {
            ended = reading => ended,
            ended = answering => ended,
            ended = pulling => ended,
        }
    }

    /// Reads what comes and sorts it.
    async fn read(
        &self,
        link: &mut SideLink,
        requests: &mpsc::Sender<Message>,
        answers: &mpsc::Sender<Message>,
        introduced: &Notify,
    ) -> Ended {
        let status = Message::Status(self.shelf.status());
        if link
            .writer
            .send(status.code(), status.encode())
            .await
            .is_err()
        {
            return Ended::Gone;
        }
        let mut known = false;
        while let Some((code, payload)) = link.recv().await {
            let message = match Message::decode(code, &payload) {
                Ok(message) => message,
                Err(error) => return Ended::fault(&error),
            };
            match message {
                Message::Status(status) if !known => {
                    known = true;
                    tracing::debug!(peer = ?link.peer, archive = ?status.archive,
                        seq = status.sequence, "an archiver");
                    introduced.notify_one();
                }
                _ if !known => return Ended::fault(&"a message before the status"),
                Message::Status(_) => return Ended::fault(&"a second status"),
                Message::GetNews { .. }
                | Message::Compare { .. }
                | Message::GetEnvelopes { .. } => {
                    if let Err(full) = requests.try_send(message) {
                        let busy = full.into_inner().refused(Refusal::Busy);
                        // Who does not read the answer need not have it.
                        let _ = link.writer.try_send(busy.code(), busy.encode());
                    }
                }
                Message::News { .. } | Message::Compared { .. } | Message::Envelopes { .. } => {
                    if answers.try_send(message).is_err() {
                        return Ended::fault(&"answers that nothing was asked for");
                    }
                }
            }
        }
        Ended::Gone
    }

    /// Answers requests, one after another.
    async fn answer(
        self: &Arc<Self>,
        party: &Party,
        writer: &SideWriter,
        waiting: &mut mpsc::Receiver<Message>,
    ) -> Ended {
        while let Some(request) = waiting.recv().await {
            let allowed = self
                .traffic()
                .request(party, RequestKind::Sealed, Instant::now());
            let answer = if allowed.is_ok() {
                let (inner, party) = (Arc::clone(self), *party);
                let charge = move |cost| inner.traffic().answered(&party, cost, Instant::now());
                let Some(answer) = self.shelf.answer(request, charge).await else {
                    continue;
                };
                answer
            } else {
                request.refused(Refusal::Busy)
            };
            if writer.send(answer.code(), answer.encode()).await.is_err() {
                break;
            }
        }
        Ended::Gone
    }

    fn traffic(&self) -> std::sync::MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pulls now and then.
    async fn pull_on(
        &self,
        peer: &NodeId,
        writer: &SideWriter,
        answers: &mut mpsc::Receiver<Message>,
    ) -> Ended {
        let named = self.config.archivers.contains(peer);
        let mut puller = Puller {
            inner: self,
            peer,
            writer,
            answers,
            standard: Standard {
                min_pow: if named {
                    Pow::ZERO
                } else {
                    self.config.min_pow
                },
            },
            unfit: HashSet::new(),
            id: super::message::RequestNumber::default(),
        };
        let mut back = if named { AWAY } else { RECENT };
        loop {
            let nudged = self.nudge.notified();
            match puller.pull(recent(self.clock.now(), back)).await {
                // What was left is compared next time.
                Ok(report) if report.cut_short.is_some() => {}
                Ok(_) => back = RECENT,
                Err(ended) => return ended,
            }
            tokio::select! {
                () = sleep(self.config.every) => {}
                () = nudged => {}
            }
        }
    }
}

/// What pulls from one peer.
struct Puller<'a> {
    inner: &'a Inner,
    peer: &'a NodeId,
    writer: &'a SideWriter,
    answers: &'a mut mpsc::Receiver<Message>,
    standard: Standard,
    unfit: HashSet<EnvelopeHash>,
    id: super::message::RequestNumber,
}

impl Puller<'_> {
    /// Pulls once.
    async fn pull(&mut self, range: TimeRange) -> Result<PullReport, Ended> {
        let (mut pull, mut step) = Pull::begin(range, self.unfit.clone(), self.id);
        let (mut stored, mut unfit) = (0, 0);
        let report = loop {
            step = match step {
                Step::Snapshot(range) => match self.inner.shelf.snapshot_soon(range).await {
                    Ok(Some(snapshot)) => {
                        let compared = apart(pull, |pull| pull.compare(snapshot)).await;
                        let next;
                        (pull, next) = compared.ok_or(Ended::Gone)?;
                        next
                    }
                    Ok(None) => pull.too_many(),
                    Err(error) => {
                        tracing::error!(error, "cannot compare with an archiver");
                        break given_up(&pull, Refusal::Unavailable);
                    }
                },
                Step::Send(request) => {
                    self.writer.send(request.code(), request.encode()).await?;
                    match timeout(PATIENCE, self.answer_to(pull.id())).await {
                        Ok(answer) => {
                            let answer = answer?;
                            let answered = apart(pull, |pull| pull.answered(answer)).await;
                            let next;
                            (pull, next) = answered.ok_or(Ended::Gone)?;
                            next.map_err(|error| Ended::fault(&error))?
                        }
                        Err(_) => break given_up(&pull, Refusal::Unavailable),
                    }
                }
                Step::Store(envelopes) => {
                    let before = envelopes.len();
                    let fit = self.fit(envelopes);
                    unfit += before - fit.len();
                    match self.inner.shelf.store(fit).await {
                        Ok(appended) => stored += appended.stored,
                        Err(error) => {
                            tracing::error!(error, "cannot store what an archiver gave");
                            break given_up(&pull, Refusal::Unavailable);
                        }
                    }
                    pull.stored()
                }
                Step::Done(report) => break report,
            };
        };
        self.id = pull.id();
        self.tell(&report, stored, unfit);
        Ok(report)
    }

    /// The answer to request `id`; earlier ones that were given up are passed
    /// over.
    async fn answer_to(&mut self, id: super::message::RequestNumber) -> Result<Message, Ended> {
        loop {
            match self.answers.recv().await {
                Some(answer) if answer.id() == Some(id) => return Ok(answer),
                Some(_) => {}
                None => return Err(Ended::Gone),
            }
        }
    }

    fn fit(&mut self, envelopes: Vec<Envelope>) -> Vec<Envelope> {
        let now = self.inner.clock.now();
        let mut fit = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            match self.standard.judge(&envelope, now) {
                Ok(()) => fit.push(envelope),
                Err(why) => {
                    tracing::debug!(peer = ?self.peer, hash = %envelope.hash(), %why, "not taken");
                    if self.unfit.len() >= MAX_UNFIT {
                        self.unfit.clear();
                    }
                    self.unfit.insert(envelope.hash());
                }
            }
        }
        fit
    }

    fn tell(&self, report: &PullReport, stored: u64, unfit: usize) {
        let unfit = u64::try_from(unfit).unwrap_or(u64::MAX);
        if stored > 0 || unfit > 0 {
            tracing::info!(peer = ?self.peer, stored, unfit, bytes = report.bytes,
                exchanged = report.exchanged, "pulled from an archiver");
        }
        self.inner.totals.send_modify(|totals| {
            totals.pulls += 1;
            totals.stored += stored;
            totals.unfit += unfit;
            totals.bytes += report.bytes;
            totals.exchanged += report.exchanged;
        });
    }
}

fn given_up(pull: &Pull, why: Refusal) -> PullReport {
    PullReport {
        cut_short: Some(why),
        ..pull.report().clone()
    }
}
