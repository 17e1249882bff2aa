//! Where the envelopes of a request go: to stdout, a file, or a count.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::envelopes::Row;
use crate::cli::error::{CliError, Kind};
use crate::cli::opening::{Message, Opener};
use crate::cli::request::spool::Holders;
use crate::whisper::Envelope;

/// By what a server is called beside an envelope: `a` is the first.
pub fn label(at: usize) -> String {
    let letter = u8::try_from(at).map_or(b'z', |at| b'a'.saturating_add(at));
    char::from(letter).to_string()
}

/// An envelope as it is printed.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    message: Message,
    /// Which servers have it, where several were asked.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    holders: Option<Vec<String>>,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(holders) = &self.holders {
            write!(f, "{:<6}  ", holders.join(","))?;
        }
        write!(f, "{}", self.message)
    }
}

#[derive(Serialize)]
struct Count {
    count: u64,
}

/// Where they go.
pub struct Sink {
    servers: usize,
    opener: Option<Opener>,
    file: Option<(PathBuf, BufWriter<File>)>,
    count: Option<u64>,
}

impl Sink {
    /// Prints what `servers` servers delivered; to `file` where one is named,
    /// behind what is in it already if `append` says so; only their number where
    /// `count` says so.
    pub fn new(
        servers: usize,
        opener: Option<Opener>,
        file: Option<&Path>,
        append: bool,
        count: bool,
    ) -> Result<Self, CliError> {
        let open = |path: &Path| {
            let opened = if append {
                OpenOptions::new().append(true).create(true).open(path)
            } else {
                File::create(path)
            };
            match opened {
                Ok(file) => Ok((path.to_owned(), BufWriter::new(file))),
                Err(error) => Err(unwritable(path, &error)),
            }
        };
        Ok(Self {
            servers,
            opener,
            file: file.map(open).transpose()?,
            count: count.then_some(0),
        })
    }

    /// Takes one envelope, and who has it.
    pub fn take(
        &mut self,
        envelope: &Envelope,
        holders: Holders,
        context: &mut Context,
    ) -> Result<(), CliError> {
        if let Some((path, file)) = &mut self.file {
            file.write_all(envelope.rlp())
                .map_err(|error| unwritable(path, &error))?;
        }
        if let Some(count) = &mut self.count {
            *count += 1;
            return Ok(());
        }
        if self.file.is_some() {
            return Ok(());
        }
        let message = match &self.opener {
            Some(opener) => opener.open(envelope),
            None => Message::from(Row::from(envelope)),
        };
        let holders = (self.servers > 1).then(|| {
            let at = (0..self.servers).filter(|at| holders.has(*at));
            at.map(label).collect()
        });
        let shown = Shown { message, holders };
        context.output.result(&shown, &shown)
    }

    /// Makes what was taken durable, or hands it to the reader.
    pub fn flush(&mut self, context: &mut Context) -> Result<(), CliError> {
        if let Some((path, file)) = &mut self.file {
            let synced = file.flush().and_then(|()| file.get_ref().sync_all());
            synced.map_err(|error| unwritable(path, &error))?;
        }
        context.output.flush()
    }

    /// Prints the count, where that was asked for.
    pub fn finish(mut self, context: &mut Context) -> Result<(), CliError> {
        if let Some(count) = self.count {
            context.output.result(&Count { count }, count)?;
        }
        self.flush(context)
    }
}

fn unwritable(path: &Path, error: &io::Error) -> CliError {
    CliError::new(Kind::Error, format!("cannot write {}", path.display())).because(error)
}
