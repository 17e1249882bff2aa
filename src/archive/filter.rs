//! Which envelopes a query is after.

use std::collections::BTreeSet;

use super::key::Key;
use super::pack::LeafEntry;
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::Topic;
use crate::whisper::bloom::Bloom;

/// Which topics are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicFilter {
    /// Every topic.
    All,
    /// These topics.
    Any(BTreeSet<Topic>),
    /// Topics that match a bloom filter, as mailserver requests ask.
    Bloom(Box<Bloom>),
}

impl TopicFilter {
    /// Whether a topic is wanted.
    pub fn matches(&self, topic: Topic) -> bool {
        match self {
            Self::All => true,
            Self::Any(topics) => topics.contains(&topic),
            Self::Bloom(bloom) => bloom.matches(topic),
        }
    }

    /// Whether a topic from `first` to `last` may be wanted.
    pub fn may_match_between(&self, first: Topic, last: Topic) -> bool {
        match self {
            // A range that runs backwards would panic.
            _ if first > last => false,
            Self::Any(topics) => topics.range(first..=last).next().is_some(),
            Self::All | Self::Bloom(_) => true,
        }
    }
}

/// What is wanted: topics, and when they were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Topics.
    pub topics: TopicFilter,
    /// Instants of sending, both ends included.
    pub range: TimeRange,
}

impl Filter {
    /// Whether an envelope is wanted.
    pub fn matches(&self, topic: Topic, sent: UnixSeconds) -> bool {
        self.range.contains(sent) && self.topics.matches(topic)
    }

    /// Whether a leaf may hold a wanted envelope, as its topic runs say.
    pub fn may_match_leaf(&self, leaf: &LeafEntry) -> bool {
        leaf.runs.iter().any(|run| {
            run.first <= self.range.to()
                && self.range.from() <= run.last
                && self.topics.matches(run.topic)
        })
    }

    /// Whether a pack may hold a wanted envelope: one whose keys start at
    /// `first` and end before `next`.
    pub fn may_match_pack(&self, first: Key, next: Option<Key>) -> bool {
        let last = next.map_or(Topic([0xff; 4]), |next| next.topic);
        self.topics.may_match_between(first.topic, last)
    }

    /// The same topics over what `range` leaves of the time.
    pub fn within(&self, range: TimeRange) -> Option<Self> {
        let range = self.range.intersect(range)?;
        Some(Self {
            topics: self.topics.clone(),
            range,
        })
    }
}
