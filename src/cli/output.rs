//! Results on stdout, the story on stderr.
//!
//! Always true:
//! - stdout carries results alone: one a line, or one JSON object a line.
//! - JSON is harmless to a terminal, whatever foreign text is in it.
//! - Where the reader of stdout leaves, the command ends quietly: it was
//!   served.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::cli::error::{CliError, Kind};
use crate::cli::screen;
use crate::reading::fools_a_terminal;

/// Where a command writes.
pub struct Output {
    json: bool,
    quiet: bool,
    results: BufWriter<Box<dyn Write>>,
}

impl Output {
    /// Writes to the process's stdout and stderr.
    pub fn new(json: bool, quiet: bool) -> Self {
        Self::to(Box::new(io::stdout()), json, quiet)
    }

    fn to(results: Box<dyn Write>, json: bool, quiet: bool) -> Self {
        Self {
            json,
            quiet,
            results: BufWriter::new(results),
        }
    }

    /// Whether results are objects.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether the story is left untold.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// One result: `object` as JSON where that was asked for, else `line`.
    pub fn result(&mut self, object: &impl Serialize, line: impl Display) -> Result<(), CliError> {
        if self.json {
            let mut json = Serializer::with_formatter(&mut self.results, InertJson);
            object
                .serialize(&mut json)
                .map_err(|error| failed(&error.into()))?;
            self.results
                .write_all(b"\n")
                .map_err(|error| failed(&error))
        } else {
            writeln!(self.results, "{line}").map_err(|error| failed(&error))
        }
    }

    /// One line of the story. Lost where stderr is closed.
    pub fn story(&self, line: impl Display) {
        if !self.quiet {
            screen::above(|| {
                let _ = writeln!(io::stderr().lock(), "{line}");
            });
        }
    }

    /// Hands everything written so far to the reader.
    pub fn flush(&mut self) -> Result<(), CliError> {
        self.results.flush().map_err(|error| failed(&error))
    }
}

/// JSON on one line, in which what would do something to a terminal is escaped: the
/// same values for who parses it, and harmless for who looks at it.
struct InertJson;

impl Formatter for InertJson {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(fools_a_terminal) {
            let (before, from) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut chars = from.chars();
            let c = chars.next().expect("one was found there");
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// A failed write to stdout.
fn failed(error: &io::Error) -> CliError {
    let kind = match error.kind() {
        io::ErrorKind::BrokenPipe => Kind::ReaderLeft,
        _ => Kind::Error,
    };
    CliError::new(kind, "cannot write the results").because(error)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Rc<RefCell<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[derive(Serialize)]
    struct Sealed {
        seq: u64,
    }

    fn written(json: bool) -> String {
        let shared = Shared::default();
        let mut output = Output::to(Box::new(shared.clone()), json, false);
        output.result(&Sealed { seq: 7 }, "seven").unwrap();
        output.flush().unwrap();
        let bytes = shared.0.borrow().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_result_is_one_line_or_one_object() {
        assert_eq!(written(false), "seven\n");
        assert_eq!(written(true), "{\"seq\":7}\n");
    }

    #[test]
    fn json_is_harmless_to_a_terminal_and_means_the_same() {
        let shared = Shared::default();
        let mut output = Output::to(Box::new(shared.clone()), true, false);
        let text = "\x1b[2J \u{9b}\u{7f}\u{202e}\u{e0041} ä漢👋 \"\\\n";
        output.result(&text, text).unwrap();
        output.flush().unwrap();
        let bytes = shared.0.borrow().clone();
        let line = String::from_utf8(bytes).unwrap();
        let line = line.strip_suffix('\n').unwrap();
        assert!(!line.contains(fools_a_terminal), "{line:?}");
        assert!(line.contains("ä漢👋"), "{line:?}");
        assert_eq!(serde_json::from_str::<String>(line).unwrap(), text);
    }

    #[test]
    fn a_reader_who_leaves_is_no_failure() {
        for json in [false, true] {
            let mut output = Output::to(Box::new(Closed), json, false);
            let long = "x".repeat(100_000);
            let error = output.result(&long, &long).unwrap_err();
            assert_eq!(error.kind(), Kind::ReaderLeft);
        }
    }
}
