//! The steps of a canary's run, and how they went.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::error::Kind;

/// What is tried, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// A link, up to the status of Whisper.
    Connect,
    /// A request for one envelope of history is answered, which is all that
    /// status-go's node-canary tries.
    History,
    /// A message of its own is taken.
    Post,
    /// The message comes back from the mailserver.
    Mailserver,
    /// The message is found from the head.
    Head,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connect => "connect",
            Self::History => "history",
            Self::Post => "post",
            Self::Mailserver => "mailserver",
            Self::Head => "head",
        })
    }
}

/// How a step went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well, and what there is to say about it.
    Went(String),
    /// Not at all, and why.
    Failed(Kind, String),
    /// It was not tried, and why.
    Skipped(String),
}

/// A step that is over, as it is printed.
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    /// Which.
    pub step: Step,
    /// `ok`, `failed` or `skipped`.
    result: &'static str,
    /// How long it took, milliseconds.
    ms: u64,
    /// What there is to say about it.
    detail: String,
    /// Why it failed, as an exit code.
    #[serde(skip)]
    pub failure: Option<Kind>,
}

impl Done {
    /// A step that began at `start`.
    pub fn new(step: Step, start: Instant, outcome: Outcome) -> Self {
        let took = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (result, detail, failure) = match outcome {
            Outcome::Went(detail) => ("ok", detail, None),
            Outcome::Failed(kind, detail) => ("failed", detail, Some(kind)),
            Outcome::Skipped(detail) => ("skipped", detail, None),
        };
        Self {
            step,
            result,
            ms: took,
            detail,
            failure,
        }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = self.step;
        let took = format!("{} ms", self.ms);
        write!(
            f,
            "{:<7}  {step:<10}  {took:>9}  {}",
            self.result, self.detail
        )
    }
}

/// A span of time as people say it.
pub fn spoken(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
