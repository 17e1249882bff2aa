//! `gwa query`: envelopes by topic and time.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::archive::disk::sealed_by;
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::leaf::Record;
use crate::archive::query::{Cost, Query};
use crate::archive::watermark::Day;
use crate::cli::context::Context;
use crate::cli::envelopes::{Row, envelope_of};
use crate::cli::error::{CliError, Kind};
use crate::cli::wanted::WantedArgs;
use crate::sources::Balance;
use crate::sources::Reference;
use crate::time::TimeRange;

/// What failed where a block cannot be read.
const UNANSWERED: &str = "cannot answer the query";

/// Arguments of `gwa query`.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// The head to ask [default: the own head].
    #[arg(value_name = "REF")]
    reference: Option<Reference>,
    #[command(flatten)]
    wanted: WantedArgs,
    /// Only the newest N.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Write the envelopes themselves, one after another, to a file.
    #[arg(long, value_name = "FILE")]
    rlp: Option<PathBuf>,
    /// Print only how many there are.
    #[arg(long)]
    count: bool,
    /// End with what the answer cost: blocks, bytes, rounds of fetches.
    #[arg(long)]
    explain: bool,
    /// Fetch whole days, so that no source learns which topics are asked for.
    #[arg(long)]
    private: bool,
}

#[derive(Serialize)]
struct Count {
    count: u64,
}

/// Prints the envelopes, oldest first.
pub fn run(args: &QueryArgs, context: &mut Context) -> Result<(), CliError> {
    let Filter {
        topics: wanted,
        range,
    } = args.wanted.filter()?;
    let reference = args.reference.clone().unwrap_or_default();
    let opened = context.head(&reference)?;

    // Who fetches every topic tells no source which is wanted.
    let asked = if args.private {
        TopicFilter::All
    } else {
        wanted.clone()
    };
    let sealed = sealed_by(&opened.head);
    let filter = Filter {
        topics: asked,
        range: if args.private {
            whole_days(range)
        } else {
            range
        },
    };
    let mut query = Query::new(&*opened.source, &sealed, filter)
        .map_err(|error| context.unanswered(&reference, &opened, range, UNANSWERED, &error))?;
    query.charge(opened.head.block());

    let mut sink = Sink::new(args)?;
    let progress = if args.count || args.rlp.is_some() {
        context.progress()
    } else {
        context.progress_beside_results()
    };
    progress.phase("querying", None, None);
    let cost = match args.limit {
        Some(limit) if !args.private => {
            let (records, cost) = query.newest(limit).map_err(|error| {
                context.unanswered(&reference, &opened, range, UNANSWERED, &error)
            })?;
            for record in records {
                sink.take(&record, context)?;
            }
            cost
        }
        limit => {
            let mut last = Last::new(limit);
            for record in query.by_ref() {
                let record = record.map_err(|error| {
                    context.unanswered(&reference, &opened, range, UNANSWERED, &error)
                })?;
                progress.advance(1, record.bytes.len() as u64);
                let key = &record.key;
                if wanted.matches(key.topic)
                    && range.contains(key.sent)
                    && let Some(record) = last.push(record)
                {
                    sink.take(&record, context)?;
                }
            }
            for record in last.held {
                sink.take(&record, context)?;
            }
            query.cost()
        }
    };
    drop(progress);
    sink.finish(context)?;
    if args.explain {
        let explained = Explained {
            cost,
            sources: opened.balances(),
        };
        context.output.result(&explained, &explained)?;
    }
    Ok(())
}

/// What an answer cost, and what of it each source gave.
#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    cost: Cost,
    sources: Vec<Balance>,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for source in &self.sources {
            writeln!(f, "{source}")?;
        }
        let Cost {
            blocks,
            bytes,
            rounds,
        } = self.cost;
        write!(f, "blocks {blocks} bytes {bytes} rounds {rounds}")
    }
}

/// The whole UTC days that a range touches.
fn whole_days(range: TimeRange) -> TimeRange {
    let from = Day::of(range.from()).range().from();
    let to = Day::of(range.to()).range().to();
    TimeRange::new(from, to).unwrap_or(range)
}

/// Holds back the last so many records, or none.
struct Last {
    limit: Option<usize>,
    held: VecDeque<Record>,
}

impl Last {
    fn new(limit: Option<usize>) -> Self {
        Self {
            limit,
            held: VecDeque::new(),
        }
    }

    /// Takes one more; gives what may go on now.
    fn push(&mut self, record: Record) -> Option<Record> {
        let Some(limit) = self.limit else {
            return Some(record);
        };
        self.held.push_back(record);
        if self.held.len() > limit {
            self.held.pop_front();
        }
        None
    }
}

/// Where found envelopes go.
struct Sink {
    file: Option<(PathBuf, BufWriter<File>)>,
    count: Option<u64>,
}

impl Sink {
    fn new(args: &QueryArgs) -> Result<Self, CliError> {
        let file = args
            .rlp
            .as_ref()
            .map(|path| match File::create(path) {
                Ok(file) => Ok((path.clone(), BufWriter::new(file))),
                Err(error) => Err(unwritable(path, &error)),
            })
            .transpose()?;
        Ok(Self {
            file,
            count: args.count.then_some(0),
        })
    }

    fn take(&mut self, record: &Record, context: &mut Context) -> Result<(), CliError> {
        if let Some((path, file)) = &mut self.file {
            file.write_all(&record.bytes)
                .map_err(|error| unwritable(path, &error))?;
        }
        if let Some(count) = &mut self.count {
            *count += 1;
            return Ok(());
        }
        if self.file.is_some() {
            return Ok(());
        }
        let row = Row::from(&envelope_of(record)?);
        context.output.result(&row, &row)
    }

    fn finish(self, context: &mut Context) -> Result<(), CliError> {
        if let Some((path, file)) = self.file {
            file.into_inner()
                .map_err(|error| unwritable(&path, error.error()))?
                .sync_all()
                .map_err(|error| unwritable(&path, &error))?;
        }
        match self.count {
            Some(count) => context.output.result(&Count { count }, count),
            None => Ok(()),
        }
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new(Kind::Error, format!("cannot write {}", path.display())).because(error)
}
