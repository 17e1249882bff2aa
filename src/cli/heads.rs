//! Heads as commands print them.

use std::fmt;

use serde::Serialize;

use crate::archive::head::Head;
use crate::time::UnixSeconds;

/// What is told of a head.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its CID.
    head: String,
    /// Root of the calendar; null while no hour has closed.
    state: Option<String>,
    /// Its number.
    seq: u64,
    /// Envelopes sent before this instant are in it, Unix seconds.
    watermark: u32,
    /// Envelopes it holds.
    count: u64,
    /// Their bytes.
    bytes: u64,
    /// When it was signed, Unix seconds.
    time: u32,
    /// Who signed it, hex of the compressed key with `0x`.
    key: String,
    /// The name its owner gave the archive, where one was given.
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    /// The head before it; null for the first.
    prev: Option<String>,
    /// Heads of others united into it.
    merged: Vec<String>,
}

impl From<&Head> for Row {
    fn from(head: &Head) -> Self {
        let body = head.body();
        Self {
            head: head.cid().to_string(),
            state: body.state.map(|state| state.to_string()),
            seq: body.sequence.0,
            watermark: body.watermark.at().0,
            count: body.totals.count,
            bytes: body.totals.bytes,
            time: body.signed_at.0,
            key: format!("0x{}", hex::encode(head.key().serialize())),
            name: body.name.clone(),
            prev: body.prev.map(|prev| prev.to_string()),
            merged: body.merged.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Row {
    /// The line of an archive that was heard of at `at`.
    pub fn as_found(&self, at: UnixSeconds) -> impl fmt::Display {
        let name = if self.name.is_empty() {
            "(no name)"
        } else {
            &self.name
        };
        // What another wrote must not steer a terminal.
        let name: String = name.chars().flat_map(char::escape_default).collect();
        format!(
            "{name}  head {} up to {}, {} envelopes, heard {at}",
            self.seq,
            UnixSeconds(self.watermark),
            self.count,
        )
    }

    /// The line beside a head in a drawing: who signed it matters where lines
    /// meet.
    pub fn in_graph(&self) -> String {
        let Self {
            seq, count, head, ..
        } = self;
        let key = &self.key[..10];
        // What another wrote must not steer a terminal.
        let name: String = self.name.chars().flat_map(char::escape_default).collect();
        let by = if name.is_empty() { key } else { &name };
        let at = UnixSeconds(self.watermark);
        format!("{seq}  {at}  {count}  {by}  {head}")
    }

    /// The line of a lineage.
    pub fn in_log(&self) -> impl fmt::Display {
        format!(
            "{:>6}  {}  {:>10}  {}",
            self.seq,
            UnixSeconds(self.watermark),
            self.count,
            self.head
        )
    }
}

/// The CID alone: what scripts want of a head.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head)
    }
}
