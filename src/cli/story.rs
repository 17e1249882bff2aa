//! The log on stderr: who reads it decides how a line looks.
//!
//! | where stderr goes | a line |
//! |---|---|
//! | a terminal | time, level, room, what happened and its fields, in colours |
//! | systemd's journal | the same without what the journal knows itself: the time; the level is said as the journal reads it |
//! | elsewhere | plain, with the time |
//! | anywhere, where JSON is asked for | one object a line, each field a member |

use std::fmt;
use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::cli::screen;
use crate::warnings;

/// What systemd names the socket that it gave a service as stderr.
const JOURNAL: &str = "JOURNAL_STREAM";

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// As fits where stderr goes.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// For systemd's journal.
    Journal,
}

/// Sends the log to stderr; `GWA_LOG` filters it as `RUST_LOG` would.
pub fn tell(format: LogFormat, verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "gwa=info,warn",
        (false, 2) => "gwa=debug,info",
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_env("GWA_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(screen::stderr);
    let lines = match chosen(format, std::env::var(JOURNAL).ok().as_deref()) {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_filter(filter)
            .boxed(),
        LogFormat::Journal => lines
            .with_ansi(false)
            .event_format(ForJournal(
                Format::default().without_time().with_level(false),
            ))
            .with_filter(filter)
            .boxed(),
        LogFormat::Auto | LogFormat::Text => lines
            .with_ansi(io::stderr().is_terminal())
            .with_filter(filter)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(lines)
        .with(warnings::layer())
        .init();
}

/// What `Auto` comes to.
fn chosen(format: LogFormat, journal: Option<&str>) -> LogFormat {
    let is_journal = || journal.is_some_and(stderr_is);
    match format {
        LogFormat::Auto if is_journal() => LogFormat::Journal,
        other => other,
    }
}

/// Whether stderr is what `JOURNAL_STREAM` names: device and inode, as in `8:1234`. A
/// program that was started by a service inherits the variable, and perhaps not stderr.
fn stderr_is(journal: &str) -> bool {
    let Ok(about) = rustix::fs::fstat(io::stderr()) else {
        return false;
    };
    journal == format!("{}:{}", about.st_dev, about.st_ino)
}

/// Lines that begin as systemd reads a level: `<4>`.
struct ForJournal(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// The level as syslog numbers it.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is written to it.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_for_the_journal_begins_with_its_priority_and_has_no_time() {
        let lines = Lines::default();
        let written = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || written.clone())
            .with_ansi(false)
            .event_format(ForJournal(
                Format::default().without_time().with_level(false),
            ));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(file = "a.car", "damaged");
            tracing::info!("sealed");
        });
        let told = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let told: Vec<_> = told.lines().collect();
        assert_eq!(
            told,
            [
                "<3>gwa::cli::story::tests: damaged file=\"a.car\"",
                "<6>gwa::cli::story::tests: sealed"
            ]
        );
    }

    #[test]
    fn a_journal_that_is_not_at_stderr_is_none() {
        let about = rustix::fs::fstat(io::stderr()).unwrap();
        let here = format!("{}:{}", about.st_dev, about.st_ino);
        let auto = |journal| chosen(LogFormat::Auto, journal);
        assert_eq!(auto(Some(&here)), LogFormat::Journal);
        assert_eq!(auto(Some("1:2")), LogFormat::Auto);
        assert_eq!(auto(Some("nonsense")), LogFormat::Auto);
        assert_eq!(auto(None), LogFormat::Auto);
        assert_eq!(chosen(LogFormat::Json, Some(&here)), LogFormat::Json);
    }
}
