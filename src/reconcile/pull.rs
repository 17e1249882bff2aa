//! Fetching what the other side of a link has and this one lacks, as a machine
//! without a socket.
//!
//! Use: do what each step says and hand back what came of it, until it is
//! [`Step::Done`]. A range that holds too much is halved, by either side's word.
//!
//! Always true:
//! - One request is open at a time.
//! - Only what was asked for is handed over to be stored: hash and range agree.
//! - Envelopes and bytes of one pull are bounded; the next one finds the rest.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::compare::{Compare, CompareError, Next};
use super::message::{EnvelopesAnswer, MAX_HASHES, Message, Refusal, RequestNumber};
use super::snapshot::Snapshot;
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::{Envelope, EnvelopeHash};

/// Bytes of envelopes that one pull takes; the next one goes on.
pub const MAX_PULL_BYTES: u64 = 256 << 20;

/// What the machine wants.
#[derive(Debug)]
pub enum Step {
    /// This side's snapshot of a range: [`Pull::compare`], or
    /// [`Pull::too_many`].
    Snapshot(TimeRange),
    /// This message sent, and its answer: [`Pull::answered`].
    Send(Message),
    /// These stored: [`Pull::stored`].
    Store(Vec<Envelope>),
    /// Nothing more.
    Done(PullReport),
}

/// What a pull came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullReport {
    /// Envelopes fetched.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of all messages, both ways.
    pub exchanged: u64,
    /// Frames of comparisons that were sent.
    pub frames: u64,
    /// Envelopes that only this side has.
    pub ahead: u64,
    /// Why it ended before everything was compared and fetched.
    pub cut_short: Option<Refusal>,
}

/// What the other side did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// A frame that is none.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// An answer to nothing that was asked.
    #[error("an answer that nothing was asked for")]
    Unasked,
    /// An envelope that was not asked for.
    #[error("envelope {0} was not asked for")]
    Envelope(EnvelopeHash),
}

#[derive(Debug)]
enum Phase {
    /// Between ranges.
    Idle,
    Comparing(Compare),
    Fetching {
        range: TimeRange,
        wanted: VecDeque<EnvelopeHash>,
        asked: HashSet<EnvelopeHash>,
    },
}

/// A pull under way.
#[derive(Debug)]
pub struct Pull {
    ranges: Vec<TimeRange>,
    phase: Phase,
    id: RequestNumber,
    unwanted: HashSet<EnvelopeHash>,
    report: PullReport,
}

impl Pull {
    /// Begins to pull what was sent in `range`, but for `unwanted`: what was
    /// found unfit before. Its requests are numbered after `last`.
    pub fn begin(
        range: TimeRange,
        unwanted: HashSet<EnvelopeHash>,
        last: RequestNumber,
    ) -> (Self, Step) {
        let mut pull = Self {
            ranges: vec![range],
            phase: Phase::Idle,
            id: last,
            unwanted,
            report: PullReport::default(),
        };
        let step = pull.next_range();
        (pull, step)
    }

    /// The number of the last request.
    pub fn id(&self) -> RequestNumber {
        self.id
    }

    /// What it came to so far.
    pub fn report(&self) -> &PullReport {
        &self.report
    }

    fn next_range(&mut self) -> Step {
        self.phase = Phase::Idle;
        match self.ranges.last() {
            Some(range) => Step::Snapshot(*range),
            None => self.done(),
        }
    }

    fn done(&mut self) -> Step {
        self.ranges.clear();
        self.phase = Phase::Idle;
        Step::Done(std::mem::take(&mut self.report))
    }

    fn send(&mut self, message: impl FnOnce(RequestNumber) -> Message) -> Step {
        self.id = RequestNumber(self.id.0.wrapping_add(1));
        let message = message(self.id);
        self.report.exchanged += message.encode().len() as u64;
        Step::Send(message)
    }

    /// This side's snapshot of the range that was wanted.
    pub fn compare(&mut self, snapshot: Arc<Snapshot>) -> Step {
        let (compare, frame) = Compare::begin(snapshot);
        let range = compare.range();
        self.phase = Phase::Comparing(compare);
        self.report.frames += 1;
        self.send(|id| Message::Compare { id, range, frame })
    }

    /// The range holds more than is compared at a time: it is halved.
    pub fn too_many(&mut self) -> Step {
        if let Some(range) = self.ranges.pop() {
            let (from, to) = (range.from(), range.to());
            let middle = UnixSeconds(from.0 + to.since(from) / 2);
            if from < to {
                let half = |a, b| TimeRange::new(a, b).expect("a half ends after it starts");
                self.ranges.push(half(middle.saturating_add(1), to));
                self.ranges.push(half(from, middle));
            } else {
                // Of one second there are no halves.
                self.report.cut_short = Some(Refusal::TooMany);
            }
        }
        self.next_range()
    }

    /// The answer to the request that is open.
    pub fn answered(&mut self, answer: Message) -> Result<Step, PullError> {
        self.report.exchanged += answer.encode().len() as u64;
        match answer {
            Message::Compared { id, answer } if id == self.id => {
                let Phase::Comparing(compare) = std::mem::replace(&mut self.phase, Phase::Idle)
                else {
                    return Err(PullError::Unasked);
                };
                self.compared(compare, answer)
            }
            Message::Envelopes { id, answer } if id == self.id => self.fetched(answer),
            _ => Err(PullError::Unasked),
        }
    }

    fn compared(
        &mut self,
        compare: Compare,
        answer: Result<bytes::Bytes, Refusal>,
    ) -> Result<Step, PullError> {
        let frame = match answer {
            Ok(frame) => frame,
            Err(Refusal::TooMany) => return Ok(self.too_many()),
            Err(refusal) => return Ok(self.give_up(refusal)),
        };
        let range = compare.range();
        let (compare, next) = compare.answered(&frame)?;
        match next {
            Next::Send(frame) => {
                self.phase = Phase::Comparing(compare);
                self.report.frames += 1;
                Ok(self.send(|id| Message::Compare { id, range, frame }))
            }
            Next::Done(found) => {
                self.report.ahead += found.have.len() as u64;
                let wanted = found.need.into_iter();
                let wanted = wanted.filter(|hash| !self.unwanted.contains(hash));
                let wanted: VecDeque<_> = wanted.collect();
                // What was cut short is compared again once this is settled.
                if !found.cut_short || wanted.is_empty() {
                    self.ranges.pop();
                }
                Ok(self.fetch(range, wanted))
            }
        }
    }

    fn give_up(&mut self, refusal: Refusal) -> Step {
        self.report.cut_short = Some(refusal);
        self.done()
    }

    fn fetch(&mut self, range: TimeRange, mut wanted: VecDeque<EnvelopeHash>) -> Step {
        if wanted.is_empty() {
            return self.next_range();
        }
        if self.report.bytes >= MAX_PULL_BYTES {
            return self.give_up(Refusal::Busy);
        }
        let hashes: Vec<_> = wanted.drain(..wanted.len().min(MAX_HASHES)).collect();
        self.phase = Phase::Fetching {
            range,
            wanted,
            asked: hashes.iter().copied().collect(),
        };
        self.send(|id| Message::GetEnvelopes { id, range, hashes })
    }

    fn fetched(&mut self, answer: Result<EnvelopesAnswer, Refusal>) -> Result<Step, PullError> {
        let Phase::Fetching {
            range,
            wanted,
            asked,
        } = &mut self.phase
        else {
            return Err(PullError::Unasked);
        };
        let given = match answer {
            Ok(given) => given,
            Err(refusal) => return Ok(self.give_up(refusal)),
        };
        let progressed = !given.envelopes.is_empty();
        for envelope in &given.envelopes {
            let hash = envelope.hash();
            if !range.contains(envelope.sent()) || !asked.remove(&hash) {
                return Err(PullError::Envelope(hash));
            }
            // Whatever becomes of it, it is not fetched twice.
            self.unwanted.insert(hash);
            self.report.envelopes += 1;
            self.report.bytes += envelope.rlp().len() as u64;
        }
        // An answer that gives nothing and promises more would never end.
        if !given.complete && progressed {
            wanted.extend(asked.drain());
        }
        if progressed {
            return Ok(Step::Store(given.envelopes));
        }
        Ok(self.stored())
    }

    /// What was handed over is stored.
    pub fn stored(&mut self) -> Step {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Fetching { range, wanted, .. } => self.fetch(range, wanted),
            Phase::Idle | Phase::Comparing(_) => self.next_range(),
        }
    }
}
