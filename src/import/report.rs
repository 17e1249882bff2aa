//! What an import came to: where the envelopes are from, and what is known of
//! them.
//!
//! Always true: `read` is `stored`, `duplicate` and the refused envelopes taken
//! together; `refused` counts besides them the parts that are no envelope.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{Found, Mismatch, Reason};
use crate::archive::disk::Appended;
use crate::time::UnixSeconds;
use crate::whisper::pow::{Formula, Pow, Work};

/// What nodes asked of envelopes: Status's nodes, the specification of Status,
/// geth.
pub const THRESHOLDS: [Pow; 3] = [
    Pow::STATUS_DEFAULT,
    Pow::STATUS_SPECIFIED,
    Pow::GETH_DEFAULT,
];

/// A definition of work, a threshold, and how many envelopes reach it.
#[derive(Clone, Debug, Serialize)]
struct WorkRow {
    /// `eip-627`, or `geth-1.8` for the one before it.
    rule: &'static str,
    /// The threshold.
    at_least: f64,
    /// Envelopes that reach it.
    count: u64,
}

fn rule(formula: Formula) -> &'static str {
    match formula {
        Formula::Leading => "eip-627",
        Formula::Trailing => "geth-1.8",
    }
}

/// Envelopes of which the source said something else than they do.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Mismatches {
    /// Envelopes; each may differ in several ways.
    envelopes: u64,
    hash: u64,
    sent: u64,
    topic: u64,
    /// Under a key that no mailserver writes.
    key: u64,
}

impl Mismatches {
    fn note(&mut self, mismatch: Mismatch) {
        let Mismatch {
            hash,
            sent,
            topic,
            key,
        } = mismatch;
        self.envelopes += u64::from(!mismatch.is_none());
        self.hash += u64::from(hash);
        self.sent += u64::from(sent);
        self.topic += u64::from(topic);
        self.key += u64::from(key);
    }
}

/// What became of what one source holds, or all of them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Tally {
    /// Envelopes found.
    pub read: u64,
    /// Of those, new and now durable.
    pub stored: u64,
    /// Of those, held before.
    pub duplicate: u64,
    /// Envelopes that the archive does not take, and parts that are no envelope.
    pub refused: u64,
}

impl Tally {
    /// What came since `before`.
    fn since(self, before: Self) -> Self {
        Self {
            read: self.read - before.read,
            stored: self.stored - before.stored,
            duplicate: self.duplicate - before.duplicate,
            refused: self.refused - before.refused,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct SourceRow {
    source: String,
    kind: &'static str,
    #[serde(flatten)]
    tally: Tally,
}

/// What an import came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    #[serde(flatten)]
    tally: Tally,
    /// Bytes of the envelopes read.
    bytes: u64,
    /// What was refused, by reason.
    refusals: BTreeMap<Reason, u64>,
    mismatches: Mismatches,
    /// When the first and the last was sent, Unix seconds; none without any.
    first_sent: Option<UnixSeconds>,
    last_sent: Option<UnixSeconds>,
    /// Envelopes sent later than the import began: they wait for their time.
    ahead: u64,
    pow: Vec<WorkRow>,
    sources: Vec<SourceRow>,
    /// Sources that were not looked at: the first could not be opened, or another
    /// failed before.
    not_read: Vec<String>,
    #[serde(skip)]
    began: UnixSeconds,
    #[serde(skip)]
    before: Tally,
}

impl Report {
    /// Nothing yet, at `now`.
    pub fn new(now: UnixSeconds) -> Self {
        let rules = [Formula::Leading, Formula::Trailing];
        let pow = rules.into_iter().flat_map(|formula| {
            THRESHOLDS.iter().map(move |threshold| WorkRow {
                rule: rule(formula),
                at_least: threshold.get(),
                count: 0,
            })
        });
        Self {
            pow: pow.collect(),
            began: now,
            ..Self::default()
        }
    }

    /// Notes an envelope and the work it shows.
    pub fn note(&mut self, found: &Found, work: Work) {
        let envelope = &found.envelope;
        let sent = envelope.sent();
        self.tally.read += 1;
        self.bytes += envelope.rlp().len() as u64;
        self.mismatches.note(found.mismatch);
        self.first_sent = Some(self.first_sent.map_or(sent, |first| first.min(sent)));
        self.last_sent = Some(self.last_sent.map_or(sent, |last| last.max(sent)));
        self.ahead += u64::from(sent > self.began);
        for row in &mut self.pow {
            let shown = if row.rule == rule(Formula::Leading) {
                work.leading
            } else {
                work.trailing
            };
            row.count += u64::from(shown.get() >= row.at_least);
        }
    }

    /// Counts a part that was refused.
    pub fn refuse(&mut self, reason: Reason) {
        self.refuse_many(reason, 1);
    }

    /// Counts what the archive made of a batch.
    pub fn took(&mut self, appended: Appended) {
        self.tally.stored += appended.stored;
        self.tally.duplicate += appended.duplicate;
        self.refuse_many(Reason::TooLarge, appended.refused);
        self.refuse_many(Reason::NoLongerKept, appended.too_old);
    }

    fn refuse_many(&mut self, reason: Reason, count: u64) {
        if count > 0 {
            self.tally.refused += count;
            *self.refusals.entry(reason).or_default() += count;
        }
    }

    /// Ends a source: what was counted since the last one is its.
    pub fn end_source(&mut self, source: impl fmt::Display, kind: &'static str) {
        self.sources.push(SourceRow {
            source: source.to_string(),
            kind,
            tally: self.tally.since(self.before),
        });
        self.before = self.tally;
    }

    /// Notes a source of which nothing was read.
    pub fn not_read(&mut self, source: impl fmt::Display) {
        self.not_read.push(source.to_string());
    }

    /// The totals.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// How many were refused for `reason`.
    pub fn refused_as(&self, reason: Reason) -> u64 {
        self.refusals.get(&reason).copied().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            read,
            stored,
            duplicate,
            refused,
        } = self.tally;
        write!(
            f,
            "read {read} stored {stored} duplicate {duplicate} refused {refused}"
        )?;
        for (reason, count) in &self.refusals {
            write!(f, "\nrefused as {reason}: {count}")?;
        }
        let Mismatches {
            envelopes,
            hash,
            sent,
            topic,
            key,
        } = self.mismatches;
        if envelopes > 0 {
            write!(
                f,
                "\nunder a key that says something else: {envelopes} (hash {hash}, sent {sent}, \
                 topic {topic}, form {key}); taken as their own bytes say"
            )?;
        }
        if let (Some(first), Some(last)) = (self.first_sent, self.last_sent) {
            write!(f, "\nsent from {first} to {last}, {} bytes", self.bytes)?;
        }
        if self.ahead > 0 {
            write!(f, "\nsent ahead of their time: {}", self.ahead)?;
        }
        for rows in self.pow.chunks(THRESHOLDS.len()).filter(|_| read > 0) {
            write!(f, "\nwork by {}:", rows[0].rule)?;
            for (at, row) in rows.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                write!(f, "{comma} {} show {}", row.count, row.at_least)?;
            }
        }
        if self.sources.len() > 1 {
            for SourceRow {
                source,
                kind,
                tally,
            } in &self.sources
            {
                write!(
                    f,
                    "\n{source} ({kind}): read {} stored {} duplicate {} refused {}",
                    tally.read, tally.stored, tally.duplicate, tally.refused
                )?;
            }
        }
        for source in &self.not_read {
            write!(f, "\n{source}: not read")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::envelope;
    use super::*;

    #[test]
    fn the_report_adds_up() {
        let mut report = Report::new(UnixSeconds(1_599_999_951 + 3));
        for n in 1..=4 {
            let mut found = Found::from(envelope(n));
            found.mismatch.hash = n == 2;
            found.mismatch.topic = n == 2;
            report.note(&found, Work::of(&found.envelope));
        }
        report.took(Appended {
            stored: 2,
            duplicate: 1,
            too_old: 1,
            ..Appended::default()
        });
        report.end_source("a", "file");
        report.refuse(Reason::Undecodable);
        report.end_source("b", "LevelDB");
        report.not_read("c");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["read"], 4);
        assert_eq!((&json["stored"], &json["refused"]), (&2.into(), &2.into()));
        assert_eq!(json["refusals"]["no-longer-kept"], 1);
        assert_eq!(json["refusals"]["undecodable"], 1);
        assert_eq!(json["mismatches"]["envelopes"], 1);
        assert_eq!(json["first_sent"], 1_599_999_951);
        assert_eq!(json["last_sent"], 1_599_999_954);
        assert_eq!(json["ahead"], 0);
        assert_eq!(json["sources"][0]["refused"], 1);
        assert_eq!(json["sources"][1]["refused"], 1);
        assert_eq!(json["pow"].as_array().unwrap().len(), 6);
        let text = report.to_string();
        assert!(text.starts_with("read 4 stored 2 duplicate 1 refused 2\n"));
        assert!(text.contains("refused as of days no longer kept: 1"));
        assert!(text.ends_with("\nc: not read"));
        assert_eq!(json["not_read"], serde_json::json!(["c"]));
    }

    #[test]
    fn work_is_counted_by_each_rule_and_threshold() {
        let mut report = Report::new(UnixSeconds(0));
        for n in 0..200 {
            let found = Found::from(envelope(n));
            report.note(&found, Work::of(&found.envelope));
        }
        let expected = |formula: Formula, threshold: Pow| {
            let reaches = |n: &u32| Work::of(&envelope(*n)).by(formula) >= threshold;
            (0..200).filter(reaches).count() as u64
        };
        for row in &report.pow {
            let formula = Formula::ALL
                .into_iter()
                .find(|formula| rule(*formula) == row.rule)
                .unwrap();
            assert_eq!(
                row.count,
                expected(formula, Pow::new(row.at_least).unwrap())
            );
        }
        assert_eq!(report.ahead, 200);
    }
}
