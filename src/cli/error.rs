//! How a command fails: what failed, why, and what helps.
//!
//! Always true:
//! - The [`Kind`] alone decides the exit code; scripts rely on it.
//! - A cause that repeats its parent's words is left out.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// What kind of failure it is, and so the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The reader of our output left; nobody is told, and it is no failure.
    ReaderLeft,
    /// Anything without a code of its own.
    Error,
    /// The command line or the configuration is wrong.
    Usage,
    /// Part of the work is done, and the rest is not.
    Partial,
    /// There is no archive in the data folder, or it has no head yet.
    NoArchive,
    /// Another process holds the archive.
    Locked,
    /// A key or password does not fit.
    WrongKey,
    /// Something is not what its CID or signature says.
    Verification,
    /// Ranges are missing.
    Gaps,
    /// Two archives differ, and the user asked to be told by the exit code.
    Different,
    /// Stopped by a signal.
    Interrupted,
}

impl Kind {
    /// Whatever a process can end with but success, by exit code.
    pub const FAILURES: [Self; 10] = [
        Self::Error,
        Self::Usage,
        Self::Partial,
        Self::NoArchive,
        Self::Locked,
        Self::WrongKey,
        Self::Verification,
        Self::Gaps,
        Self::Different,
        Self::Interrupted,
    ];

    /// What the exit code says to a script.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ReaderLeft => "done",
            Self::Error => "failed, for a reason without a code of its own",
            Self::Usage => "the command line or the configuration is wrong",
            Self::Partial => "part of the work is done, and the rest is not",
            Self::NoArchive => "there is no archive in the data folder, or it has no head yet",
            Self::Locked => "another process holds the archive",
            Self::WrongKey => "a key or password does not fit",
            Self::Verification => "something is not what its CID or signature says",
            Self::Gaps => "ranges are missing",
            Self::Different => "two archives differ",
            Self::Interrupted => "stopped by a signal",
        }
    }

    /// The exit code of the process.
    pub const fn code(self) -> u8 {
        match self {
            Self::ReaderLeft => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::NoArchive => 10,
            Self::Locked => 11,
            Self::WrongKey => 12,
            Self::Verification => 20,
            Self::Gaps => 21,
            Self::Different => 22,
            Self::Interrupted => 130,
        }
    }
}

/// A failure as the user reads it.
#[derive(Debug)]
pub struct CliError {
    kind: Kind,
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl CliError {
    /// `what` failed.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            causes: Vec::new(),
            hint: None,
        }
    }

    /// Adds why: `cause`, and what caused that.
    #[must_use]
    pub fn because(mut self, cause: &dyn Error) -> Self {
        let mut next = Some(cause);
        while let Some(cause) = next {
            let text = cause.to_string();
            let above = self.causes.last().unwrap_or(&self.what);
            if !above.contains(&text) {
                self.causes.push(text);
            }
            next = cause.source();
        }
        self
    }

    /// Adds what helps: a sentence, in most cases with a command to run.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, as a failure of another kind.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What failed and why, in one line.
    pub fn brief(&self) -> String {
        let mut line = self.what.clone();
        for cause in &self.causes {
            line.push_str(": ");
            line.push_str(cause);
        }
        line
    }

    /// Tells the user, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        // What differs was printed: that is a result, not a failure.
        if !matches!(self.kind, Kind::ReaderLeft | Kind::Different) {
            // Where stderr is gone too, the exit code still tells.
            let _ = write!(io::stderr().lock(), "{self}");
        }
        ExitCode::from(self.kind.code())
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Error: {}", self.what)?;
        for cause in &self.causes {
            writeln!(f, "Caused by: {cause}")?;
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "Hint: {hint}")?;
        }
        Ok(())
    }
}

impl Error for CliError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open {path}: {source}")]
    struct Outer {
        path: &'static str,
        source: Inner,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("no such file")]
    struct Inner;

    #[test]
    fn a_failure_reads_as_what_cause_and_hint() {
        let error = CliError::new(Kind::NoArchive, "cannot read the head")
            .because(&Inner)
            .hint("run `gwa init` first");
        assert_eq!(
            error.to_string(),
            "Error: cannot read the head\nCaused by: no such file\nHint: run `gwa init` first\n"
        );
    }

    #[test]
    fn a_cause_that_says_nothing_new_is_left_out() {
        let error = CliError::new(Kind::Error, "cannot seal").because(&Outer {
            path: "head",
            source: Inner,
        });
        assert_eq!(
            error.to_string(),
            "Error: cannot seal\nCaused by: cannot open head: no such file\n"
        );
    }

    #[test]
    fn each_kind_has_the_exit_code_scripts_rely_on() {
        let codes = [
            (Kind::ReaderLeft, 0),
            (Kind::Error, 1),
            (Kind::Usage, 2),
            (Kind::Partial, 3),
            (Kind::NoArchive, 10),
            (Kind::Locked, 11),
            (Kind::WrongKey, 12),
            (Kind::Verification, 20),
            (Kind::Gaps, 21),
            (Kind::Different, 22),
            (Kind::Interrupted, 130),
        ];
        for (kind, code) in codes {
            assert_eq!(kind.code(), code, "{kind:?}");
        }
        let failures = codes.iter().skip(1).map(|(kind, _)| *kind);
        assert!(failures.eq(Kind::FAILURES));
    }
}
