//! `gwa export`: writes what a head seals, for others to take in.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::archive::ArchiveError;
use crate::archive::disk::sealed_by;
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::query::Query;
use crate::blocks::BlockSource;
use crate::blocks::car::CarWriter;
use crate::cli::context::{Context, OpenedHead};
use crate::cli::error::{CliError, Kind};
use crate::cli::wanted::WantedArgs;
use crate::durable::NamedFile;
use crate::export::{DepthFirst, Format, Line};
use crate::progress::Progress;
use crate::sources::Reference;
use crate::time::TimeRange;

/// What failed where a block cannot be read.
const NOT_EXPORTED: &str = "cannot export the head";

/// Arguments of `gwa export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The head to export [default: the own head].
    #[arg(value_name = "REF")]
    reference: Option<Reference>,
    /// What to write: every block as a CAR (car), or envelopes as they are (rlp)
    /// or described, one a line (json).
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Car)]
    format: Format,
    /// Write into this file, whole or not at all, or into this pipe [default:
    /// standard output].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    wanted: WantedArgs,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    /// Blocks, or envelopes.
    count: u64,
    bytes: u64,
}

/// What was written, as it is printed.
#[derive(Debug, Serialize)]
struct Row {
    head: String,
    format: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    envelopes: Option<u64>,
    bytes: u64,
    file: String,
}

/// Writes the head; where it goes into a file, tells what it came to.
pub fn run(args: &ExportArgs, context: &mut Context) -> Result<(), CliError> {
    let filter = args.wanted.filter()?;
    let range = filter.range;
    let everything = Filter {
        topics: TopicFilter::All,
        range: TimeRange::ALL,
    };
    if args.format == Format::Car && filter != everything {
        return Err(
            CliError::new(Kind::Usage, "a CAR of this command holds the whole head").hint(
                "`--format rlp` and `--format json` write a part; `gwa fetch` makes a CAR of one",
            ),
        );
    }
    let to_terminal = args.output.is_none() && io::stdout().is_terminal();
    if to_terminal && args.format != Format::Json {
        return Err(
            CliError::new(Kind::Usage, format!("{} is not for terminals", args.format))
                .hint("name a file with `-o FILE`, or send it somewhere with `|` or `>`"),
        );
    }
    let reference = args.reference.clone().unwrap_or_default();
    let opened = context.head(&reference)?;
    let progress = context.progress();
    let write = |output: &mut dyn Write| match args.format {
        Format::Car => car(&opened, output, &*progress),
        format => envelopes(&opened, filter.clone(), format, output, &*progress),
    };
    let to_file = |path: &Path| {
        let mut file = NamedFile::begin(path)?;
        let mut output = BufWriter::new(file.file());
        let written = write(&mut output)?;
        output.flush()?;
        drop(output);
        file.commit()?;
        Ok(written)
    };
    let to_stdout = || {
        let mut output = BufWriter::new(io::stdout().lock());
        let written = write(&mut output)?;
        output.flush()?;
        Ok(written)
    };
    let outcome: Result<Written, Failure> = match &args.output {
        Some(path) => to_file(path),
        None => to_stdout(),
    };
    drop(progress);
    let written = outcome.map_err(|failure| {
        failure.told(&args.output, &|error| {
            context.unanswered(&reference, &opened, range, NOT_EXPORTED, error)
        })
    })?;
    tell(args, &opened, written, context)
}

fn tell(
    args: &ExportArgs,
    opened: &OpenedHead,
    written: Written,
    context: &mut Context,
) -> Result<(), CliError> {
    let Written { count, bytes } = written;
    let is_car = args.format == Format::Car;
    let what = if is_car { "blocks" } else { "envelopes" };
    let line = format!("{} {what} {count} bytes {bytes}", opened.head.cid());
    let Some(path) = &args.output else {
        context.output.story(line);
        return Ok(());
    };
    let row = Row {
        head: opened.head.cid().to_string(),
        format: args.format.to_string(),
        blocks: is_car.then_some(count),
        envelopes: (!is_car).then_some(count),
        bytes,
        file: path.display().to_string(),
    };
    context.output.result(&row, line)
}

/// Why an export ended early.
enum Failure {
    Source(ArchiveError),
    Output(io::Error),
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        Self::Source(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Failure {
    fn told(
        self,
        path: &Option<PathBuf>,
        of_source: &dyn Fn(&ArchiveError) -> CliError,
    ) -> CliError {
        match self {
            Self::Source(error) => of_source(&error),
            Self::Output(error) => unwritable(path, &error),
        }
    }
}

/// Every block of the head.
fn car(
    opened: &OpenedHead,
    output: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Written, Failure> {
    let totals = opened.head.body().totals;
    progress.phase("exporting", None, Some(totals.bytes));
    let source: &dyn BlockSource = &*opened.source;
    let root = *opened.head.cid();
    let mut writer = CarWriter::new(output, &root)?;
    let mut count = 0;
    for block in DepthFirst::new(source, root) {
        let block = block.map_err(ArchiveError::from)?;
        writer.put(&block)?;
        progress.advance(1, block.bytes().len() as u64);
        count += 1;
    }
    let bytes = writer.len();
    Ok(Written { count, bytes })
}

/// Envelopes by (sent, hash).
fn envelopes(
    opened: &OpenedHead,
    filter: Filter,
    format: Format,
    output: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Written, Failure> {
    let totals = opened.head.body().totals;
    progress.phase("exporting", Some(totals.count), Some(totals.bytes));
    let mut output = Counted {
        output,
        written: Written::default(),
    };
    for record in Query::new(&*opened.source, &sealed_by(&opened.head), filter)? {
        let record = record?;
        if format == Format::Rlp {
            output.write_all(&record.bytes)?;
        } else {
            // A leaf is decoded only where its envelopes are.
            let line = Line::of(&record).map_err(io::Error::other)?;
            line.write(&mut output)?;
        }
        output.written.count += 1;
        progress.advance(1, record.bytes.len() as u64);
    }
    Ok(output.written)
}

/// Counts what goes through.
struct Counted<'w> {
    output: &'w mut dyn Write,
    written: Written,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.output.write(bytes)?;
        self.written.bytes += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn unwritable(path: &Option<PathBuf>, error: &io::Error) -> CliError {
    let what = match path {
        Some(path) => format!("cannot write {}", Path::new(path).display()),
        None => "cannot write to standard output".to_owned(),
    };
    // Who stopped reading has what they wanted.
    let left = path.is_none() && error.kind() == io::ErrorKind::BrokenPipe;
    let kind = if left { Kind::ReaderLeft } else { Kind::Error };
    CliError::new(kind, what).because(error)
}
