//! What each server came to, and what servers have that others lack.

use std::fmt;

use serde::Serialize;

use crate::cli::mail::short;
use crate::cli::request::show::label;
use crate::cli::request::spool::Holders;
use crate::mailserver::Cursor;
use crate::mailserver::client::ClientError;
use crate::rlpx::Enode;

/// What became of asking one server.
pub struct Outcome {
    /// The server.
    pub server: Enode,
    /// What it calls itself, once it was reached.
    pub name: Option<String>,
    /// Different envelopes that it delivered and that were wanted.
    pub envelopes: u64,
    /// Envelopes it delivered because its filter lets more pass than was asked
    /// for: a bloom filter tells topics apart only roughly.
    pub filtered: u64,
    /// Bytes of all it delivered.
    pub bytes: u64,
    /// Pages that ended.
    pub pages: u64,
    /// Where to go on, if it has more.
    pub next: Option<Cursor>,
    /// Whether it said that it sent all there is.
    pub is_complete: bool,
    /// Whether it said that it sent an envelope which did not come.
    pub lost_some: bool,
    /// Why it did not answer to the end.
    pub error: Option<ClientError>,
}

impl Outcome {
    /// A server about to be asked, from `cursor` on.
    pub fn new(server: Enode, cursor: Option<Cursor>) -> Self {
        Self {
            server,
            name: None,
            envelopes: 0,
            filtered: 0,
            bytes: 0,
            pages: 0,
            next: cursor,
            is_complete: false,
            lost_some: false,
            error: None,
        }
    }
}

/// One server's part of a comparison, as it is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// By what it is called beside envelopes.
    #[serde(rename = "in")]
    label: String,
    server: String,
    name: Option<String>,
    envelopes: u64,
    /// How many others have and it lacks.
    lacks: u64,
    pages: u64,
    bytes: u64,
    /// Whether it said that this is all.
    complete: bool,
    /// Where to go on.
    cursor: Option<String>,
    #[serde(skip)]
    short: String,
}

impl Summary {
    /// How many envelopes others have and it lacks.
    pub fn lacks(&self) -> u64 {
        self.lacks
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            label,
            short,
            envelopes,
            lacks,
            pages,
            bytes,
            ..
        } = self;
        write!(
            f,
            "{label}  {short}  envelopes {envelopes} lacks {lacks} pages {pages} bytes {bytes}"
        )?;
        if !self.complete {
            f.write_str(" not known to be complete")?;
        }
        Ok(())
    }
}

/// Sums up what servers came to. `held` says of each envelope who has it.
pub fn summaries(outcomes: &[Outcome], held: impl Iterator<Item = Holders>) -> Vec<Summary> {
    let mut lacks = vec![0u64; outcomes.len()];
    for holders in held {
        for (at, lacks) in lacks.iter_mut().enumerate() {
            *lacks += u64::from(!holders.has(at));
        }
    }
    let servers = outcomes.iter().zip(lacks).enumerate();
    servers
        .map(|(at, (outcome, lacks))| Summary {
            label: label(at),
            server: outcome.server.to_string(),
            name: outcome.name.clone(),
            envelopes: outcome.envelopes,
            lacks,
            pages: outcome.pages,
            bytes: outcome.bytes,
            complete: outcome.is_complete,
            cursor: outcome.next.map(|cursor| cursor.to_string()),
            short: short(&outcome.server),
        })
        .collect()
}
