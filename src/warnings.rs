//! The last warnings and errors of this process, for an operator who has no log at
//! hand.
//!
//! Always true: at most [`KEPT`] are kept, each of [`MAX_TEXT`] bytes at most; one
//! that comes again and again takes one place.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::time::{Clock, SystemClock, UnixSeconds};

/// Warnings kept: more than anybody reads on a page.
pub const KEPT: usize = 100;

/// Longest text of one, in bytes: some lines.
pub const MAX_TEXT: usize = 500;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// When it was written last, Unix seconds.
    pub at: UnixSeconds,
    /// `warn` or `error`.
    pub level: &'static str,
    /// The module that wrote it.
    pub target: String,
    /// What it says, and its fields.
    pub text: String,
    /// How often it was written in a row.
    pub times: u64,
}

/// The last warnings, the oldest first, and how many there were.
#[derive(Debug, Default)]
struct Warnings {
    kept: Mutex<VecDeque<Warning>>,
    warnings: AtomicU64,
    errors: AtomicU64,
}

impl Warnings {
    fn note(&self, warning: Warning) {
        let counter = match warning.level {
            "error" => &self.errors,
            _ => &self.warnings,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let again = kept.iter().position(|known| {
            known.level == warning.level
                && known.target == warning.target
                && known.text == warning.text
        });
        let times = again.and_then(|at| kept.remove(at));
        let times = times.map_or(0, |known| known.times);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Warning {
            times: times + warning.times,
            ..warning
        });
    }

    fn newest_first(&self) -> Vec<Warning> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().cloned().collect()
    }
}

/// Those of this process.
fn own() -> &'static Arc<Warnings> {
    static OWN: OnceLock<Arc<Warnings>> = OnceLock::new();
    OWN.get_or_init(Arc::default)
}

/// The last warnings and errors of this process, newest first; none where no
/// [`layer`] listens.
pub fn recent() -> Vec<Warning> {
    own().newest_first()
}

/// How many warnings, and how many errors, this process has logged.
pub fn counted() -> (u64, u64) {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    (read(&own().warnings), read(&own().errors))
}

/// What keeps them.
pub fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    Keeper(Arc::clone(own())).with_filter(LevelFilter::WARN)
}

struct Keeper(Arc<Warnings>);

impl<S: Subscriber> Layer<S> for Keeper {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let of = event.metadata();
        let mut told = Told::default();
        event.record(&mut told);
        self.0.note(Warning {
            at: SystemClock.now(),
            level: match *of.level() {
                Level::ERROR => "error",
                _ => "warn",
            },
            target: of.target().to_owned(),
            text: told.text(),
            times: 1,
        });
    }
}

/// An event as text: the message, then its fields.
#[derive(Default)]
struct Told {
    message: String,
    fields: String,
}

impl Told {
    fn text(mut self) -> String {
        self.message.push_str(&self.fields);
        let mut end = self.message.len().min(MAX_TEXT);
        while !self.message.is_char_boundary(end) {
            end -= 1;
        }
        self.message.truncate(end);
        self.message
    }

    fn note(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let told = match field.name() {
            "message" => write!(self.message, "{value}"),
            name => write!(self.fields, " {name}={value}"),
        };
        told.expect("a text takes what is written");
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.note(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What is kept of what `work` logs.
    fn kept(work: impl FnOnce()) -> Vec<Warning> {
        let kept = Arc::new(Warnings::default());
        let keeper = Keeper(Arc::clone(&kept)).with_filter(LevelFilter::WARN);
        let subscriber = tracing_subscriber::registry().with(keeper);
        tracing::subscriber::with_default(subscriber, work);
        kept.newest_first()
    }

    #[test]
    fn warnings_and_errors_are_kept_with_their_fields_and_nothing_else() {
        let told = kept(|| {
            tracing::info!("all is well");
            tracing::warn!(file = "a", "made again");
            tracing::error!(error = %"disk full", bytes = 7, "sealing failed");
        });
        let told: Vec<_> = told
            .iter()
            .map(|one| (one.level, one.text.as_str()))
            .collect();
        let expected = [
            ("error", "sealing failed error=disk full bytes=7"),
            ("warn", "made again file=a"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn one_that_comes_again_takes_one_place_and_is_the_newest() {
        let told = kept(|| {
            tracing::warn!("a");
            tracing::warn!("b");
            tracing::warn!("a");
        });
        let told: Vec<_> = told.iter().map(|one| (&*one.text, one.times)).collect();
        assert_eq!(told, [("a", 2), ("b", 1)]);
    }

    #[test]
    fn warnings_without_end_and_of_any_length_are_bounded() {
        let told = kept(|| {
            for n in 0..3 * KEPT {
                tracing::warn!("{n} {}", "ä".repeat(MAX_TEXT));
            }
        });
        assert_eq!(told.len(), KEPT);
        assert!(told.iter().all(|one| one.text.len() <= MAX_TEXT));
        assert!(told[0].text.starts_with(&format!("{} ", 3 * KEPT - 1)));
    }
}
