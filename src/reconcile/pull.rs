//! Fetching what the other side of a link has and this one lacks, as a machine
//! without a socket.
//!
//! Use: do what each step says and hand back what came of it, until it is
//! [`Step::Done`]. A range that holds too much is halved, by either side's word, and
//! so is one in which too much differs.
//!
//! Always true:
//! - One request is open at a time.
//! - Only what was asked for is handed over to be stored: hash and range agree.
//! - No range is compared twice, and no envelope asked for again that was not given.
//! - Requests and bytes of one pull are bounded; the next one finds the rest.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::compare::{Compare, CompareError, Next};
use super::message::{EnvelopesAnswer, MAX_HASHES, Message, Refusal, RequestNumber};
use super::snapshot::Snapshot;
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::{Envelope, EnvelopeHash};

/// Bytes of envelopes that one pull takes; the next one goes on.
pub const MAX_PULL_BYTES: u64 = 256 << 20;

/// Requests of one pull. Sets of a hundred million envelopes that differ little
/// take some ten thousand; one who never agrees is left after these.
pub const MAX_REQUESTS: u32 = 1 << 14;

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
    requests: u32,
    /// What is not asked for: unfit, given already, or asked for and not given.
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
            requests: 0,
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
        if self.requests == MAX_REQUESTS {
            return self.give_up(Refusal::Busy);
        }
        self.requests += 1;
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
        self.halve();
        self.next_range()
    }

    /// Replaces the range by its halves.
    fn halve(&mut self) {
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
                // The rest of what was cut short is in its halves.
                if found.cut_short {
                    self.halve();
                } else {
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
        let gave_nothing = given.envelopes.is_empty();
        // An answer that gives nothing and promises more would never end.
        if given.complete || gave_nothing {
            self.unwanted.extend(asked.drain());
        } else {
            wanted.extend(asked.drain());
        }
        if gave_nothing {
            return Ok(self.stored());
        }
        Ok(Step::Store(given.envelopes))
    }

    /// What was handed over is stored.
    pub fn stored(&mut self) -> Step {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Fetching { range, wanted, .. } => self.fetch(range, wanted),
            Phase::Idle | Phase::Comparing(_) => self.next_range(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::key::Key;
    use crate::archive::testing::envelope;
    use crate::time::DAY;
    use crate::whisper::Topic;

    const FROM: u32 = 1_538_352_000;

    fn day() -> TimeRange {
        TimeRange::new(UnixSeconds(FROM), UnixSeconds(FROM + DAY)).unwrap()
    }

    /// So many keys of nothing, over the day.
    fn keys(count: u32) -> Vec<Key> {
        let key = |n: u32| Key {
            topic: Topic([0; 4]),
            sent: UnixSeconds(FROM + n % DAY),
            hash: EnvelopeHash(crate::keccak::keccak256(n.to_be_bytes())),
        };
        (0..count).map(key).collect()
    }

    /// Pulls to the end from a peer that answers as `peer` does; gives the report
    /// and what was handed over to be stored.
    fn run(
        mut ours: Vec<Key>,
        mut peer: impl FnMut(Message) -> Message,
    ) -> (PullReport, Vec<EnvelopeHash>) {
        let mut stored = Vec::new();
        let (mut pull, mut step) = Pull::begin(day(), HashSet::new(), RequestNumber(0));
        let mut requests = 0;
        loop {
            step = match step {
                Step::Snapshot(range) => match Snapshot::new(range, ours.iter().copied()) {
                    Some(snapshot) => pull.compare(Arc::new(snapshot)),
                    None => pull.too_many(),
                },
                Step::Send(request) => {
                    requests += 1;
                    assert!(requests <= MAX_REQUESTS);
                    pull.answered(peer(request)).unwrap()
                }
                Step::Store(envelopes) => {
                    ours.extend(envelopes.iter().map(Key::from));
                    stored.extend(envelopes.iter().map(Envelope::hash));
                    pull.stored()
                }
                Step::Done(report) => return (report, stored),
            };
        }
    }

    /// Answers as one who holds `theirs` and says the truth.
    fn honest(theirs: &[Envelope], request: Message) -> Message {
        match request {
            Message::Compare { id, range, frame } => {
                let snapshot = Snapshot::new(range, theirs.iter().map(Key::from)).unwrap();
                let answer = Ok(snapshot.answer(&frame).unwrap().into());
                Message::Compared { id, answer }
            }
            Message::GetEnvelopes { id, range, hashes } => {
                let wanted = |envelope: &&Envelope| {
                    range.contains(envelope.sent()) && hashes.contains(&envelope.hash())
                };
                let answer = Ok(EnvelopesAnswer {
                    complete: true,
                    envelopes: theirs.iter().filter(wanted).cloned().collect(),
                });
                Message::Envelopes { id, answer }
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_differs_beyond_what_is_found_at_a_time_is_found_in_the_halves() {
        let theirs: Vec<_> = (0..40)
            .map(|n| envelope(1, FROM + n * (DAY / 40), 10))
            .collect();
        let ours = keys(u32::try_from(super::super::compare::MAX_FOUND).unwrap() + 20_000);
        let (report, stored) = run(ours, |request| honest(&theirs, request));
        let stored: HashSet<_> = stored.into_iter().collect();
        assert_eq!(stored, theirs.iter().map(Envelope::hash).collect());
        assert_eq!((report.envelopes, report.cut_short), (40, None));
    }

    /// A frame that names one hash at the start of `range` and agrees with nothing
    /// after it.
    fn never_agreed(range: TimeRange, hash: [u8; 32]) -> bytes::Bytes {
        let until = u64::from(range.from().0) + 2;
        let digits: Vec<u8> = (0..5)
            .rev()
            .map(|at| u8::try_from((until >> (7 * at)) & 0x7f).unwrap())
            .collect();
        let mut frame = vec![0x61];
        frame.extend(digits[..4].iter().map(|digit| digit | 0x80));
        frame.extend([digits[4], 0, 2, 1]);
        frame.extend(hash);
        frame.extend([0, 0, 1]);
        frame.extend([0xee; 16]);
        frame.into()
    }

    #[test]
    fn one_who_names_what_it_never_gives_is_not_asked_for_ever() {
        let (mut named, mut asked) = (0u64, HashSet::new());
        let (report, stored) = run(keys(1_000), |request| match request {
            Message::Compare { id, range, .. } => {
                named += 1;
                let hash = crate::keccak::keccak256((named % 200).to_be_bytes());
                let answer = Ok(never_agreed(range, hash));
                Message::Compared { id, answer }
            }
            Message::GetEnvelopes { id, hashes, .. } => {
                assert!(hashes.iter().all(|hash| asked.insert(*hash)), "asked twice");
                let answer = Ok(EnvelopesAnswer {
                    complete: named.is_multiple_of(2),
                    envelopes: Vec::new(),
                });
                Message::Envelopes { id, answer }
            }
            other => panic!("{other:?}"),
        });
        assert_eq!((report.envelopes, stored.len()), (0, 0));
        assert!(!asked.is_empty() && report.cut_short.is_some());
    }
}
