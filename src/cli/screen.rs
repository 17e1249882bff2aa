//! The line at the foot of a terminal, and what is written above it.
//!
//! Always true: there is one line at a time; whoever writes through this room while it
//! is there writes above it, and never into it.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};

/// The line that is drawn now.
static FOOT: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn current() -> Option<ProgressBar> {
    let foot = FOOT.lock().unwrap_or_else(PoisonError::into_inner);
    foot.clone()
}

/// Does `write`, which writes to the terminal, while no line is in its way.
pub fn above<R>(write: impl FnOnce() -> R) -> R {
    match current() {
        Some(foot) => foot.suspend(write),
        None => write(),
    }
}

/// Stderr, above the line. What is written at once stays together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stderr;

/// Stderr, for whoever makes a writer of each line.
pub fn stderr() -> Stderr {
    Stderr
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        above(|| io::stderr().lock().write(bytes))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        above(|| io::stderr().lock().write_all(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// A line at the foot of stderr; gone when dropped.
#[derive(Debug)]
pub struct Foot(ProgressBar);

impl Foot {
    /// Begins one, empty so far; it takes the place of one that is there.
    pub fn begin() -> Self {
        let style =
            ProgressStyle::with_template("{wide_msg}").expect("the template is well-formed");
        let bar = ProgressBar::new_spinner().with_style(style);
        let mut foot = FOOT.lock().unwrap_or_else(PoisonError::into_inner);
        *foot = Some(bar.clone());
        Self(bar)
    }

    /// Writes another text there.
    pub fn show(&self, text: String) {
        if !self.0.is_finished() {
            self.0.set_message(text);
        }
    }
}

impl Drop for Foot {
    fn drop(&mut self) {
        let mut foot = FOOT.lock().unwrap_or_else(PoisonError::into_inner);
        *foot = None;
        self.0.finish_and_clear();
    }
}
