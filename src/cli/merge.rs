//! `gwa merge`: unites other archives with the one in the data folder.

use std::fmt;

use clap::Args;
use serde::Serialize;

use crate::archive::diff::{Detail, Diff, Fault, Found, Side, Sides};
use crate::archive::disk::{DiskError, MergeError, Merged, sealed_by};
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::fresh::Sealed;
use crate::archive::head::Head;
use crate::blocks::{BlockSource, Cid};
use crate::cli::context::{Context, OpenedHead, archive_failed};
use crate::cli::error::{CliError, Kind};
use crate::cli::sources::FromArgs;
use crate::sources::Reference;
use crate::time::{Clock, SystemClock, TimeRange};

/// What failed.
const UNMERGED: &str = "cannot merge";

/// Arguments of `gwa merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The heads whose archives are united with this one.
    #[arg(value_name = "REF", required = true)]
    references: Vec<Reference>,
    #[command(flatten)]
    from: FromArgs,
    /// Only print what is new in each of them; nothing is sealed.
    #[arg(long)]
    dry_run: bool,
}

/// What a merge came to, as it is printed.
#[derive(Serialize)]
struct Row {
    head: Option<String>,
    state: Option<String>,
    seq: Option<u64>,
    watermark: Option<u32>,
    /// Heads signed.
    heads: u64,
    /// Envelopes that are new, and their bytes.
    new: u64,
    bytes: u64,
    /// Days taken over whole.
    days: u64,
    /// Blocks fetched, and their bytes.
    blocks: u64,
    fetched: u64,
    /// Bytes written.
    written: u64,
    /// Buckets of days that are no longer kept here.
    left_out: u64,
}

/// What one head would bring.
#[derive(Serialize)]
struct Preview {
    head: String,
    new: u64,
    bytes: u64,
    /// Blocks fetched to find out, and their bytes.
    blocks: u64,
    fetched: u64,
}

/// Merges; prints the head.
pub fn run(args: &MergeArgs, context: &mut Context) -> Result<(), CliError> {
    context.sources.add_from(&args.from);
    let others = args
        .references
        .iter()
        .map(|reference| Ok((reference, context.head(reference)?)))
        .collect::<Result<Vec<_>, CliError>>()?;
    if args.dry_run {
        return preview(&others, context);
    }
    let archive = context
        .sources
        .archive(&context.data)
        .map_err(|error| unopened(&error))?;
    let heads: Vec<(Head, &dyn BlockSource)> = others
        .iter()
        .map(|(_, opened)| (opened.head.clone(), &*opened.source))
        .collect();
    let progress = context.progress();
    let merged = archive
        .merge(&heads, SystemClock.now(), &*progress)
        .map_err(|error| failed(&others, &error, context))?;
    drop(progress);

    tell(&merged, context);
    let row = Row::from(&merged);
    context.output.result(&row, &row)
}

fn tell(merged: &Merged, context: &Context) {
    if merged.left_out > 0 {
        context.output.story(format_args!(
            "{} days and hours differ that are no longer kept here: they stay as they are",
            merged.left_out
        ));
    }
    if merged.heads == 0 {
        context.output.story("nothing new: the head stays");
        return;
    }
    let copied = merged.copied;
    context.output.story(format_args!(
        "{} new envelopes, {} bytes, {} days of them taken over whole; {} blocks of {} bytes fetched",
        merged.added.count, merged.added.bytes, merged.days, copied.blocks, copied.bytes
    ));
}

/// Prints what each head has that the own one has not.
fn preview(others: &[(&Reference, OpenedHead)], context: &mut Context) -> Result<(), CliError> {
    let own = match context.head(&Reference::default()) {
        Ok(own) => Some(own),
        // An archive without a head lacks everything; without an archive there is
        // nothing to merge into.
        Err(error) if error.kind() == Kind::NoArchive && has_archive(context) => None,
        Err(error) => return Err(error),
    };
    let base = own
        .as_ref()
        .map(|own| sealed_by(&own.head))
        .unwrap_or_default();
    for (reference, other) in others {
        let source = own.as_ref().map_or(&*other.source, |own| &*own.source);
        let row = compare(source, &base, other).map_err(|fault| {
            let reference = match fault.side {
                Side::A => &Reference::default(),
                Side::B => *reference,
            };
            context.unreadable(reference, "cannot compare the heads", &fault.error)
        })?;
        context.output.result(&row, &row)?;
    }
    Ok(())
}

fn has_archive(context: &Context) -> bool {
    matches!(crate::archive::disk::Meta::read(&context.data), Ok(Some(_)))
}

fn compare(own: &dyn BlockSource, base: &Sealed, other: &OpenedHead) -> Result<Preview, Fault> {
    let everything = Filter {
        topics: TopicFilter::All,
        range: TimeRange::ALL,
    };
    let theirs = sealed_by(&other.head);
    let sources = Sides {
        a: own,
        b: &*other.source,
    };
    let sealed = Sides {
        a: base,
        b: &theirs,
    };
    let mut diff = Diff::new(sources, sealed, &everything, Detail::Counts)?;
    diff.retain(|bucket| !bucket.parts.b.is_empty());
    let (mut new, mut bytes) = (0, 0);
    for difference in diff.by_ref() {
        match difference? {
            difference if difference.side == Side::A => {}
            difference => match difference.found {
                Found::Envelope(record) => {
                    new += 1;
                    bytes += record.bytes.len() as u64;
                }
                Found::Leaf(leaf) => {
                    new += leaf.sums.count;
                    bytes += leaf.sums.bytes;
                }
            },
        }
    }
    let cost = diff.cost_of(Side::B);
    Ok(Preview {
        head: other.head.cid().to_string(),
        new,
        bytes,
        blocks: cost.blocks,
        fetched: cost.bytes,
    })
}

fn unopened(error: &DiskError) -> CliError {
    let told = archive_failed("cannot open the archive", error);
    match error {
        DiskError::Locked { .. } => told.hint(
            "a running `gwa serve` holds it: stop it for the merge; `--dry-run` needs no lock",
        ),
        _ => told,
    }
}

fn failed(others: &[(&Reference, OpenedHead)], error: &MergeError, context: &Context) -> CliError {
    match error {
        MergeError::Disk(error) => {
            let told = archive_failed(UNMERGED, error);
            match error {
                DiskError::Mirror { .. } => {
                    told.hint("a mirror signs no heads: merge in an archive of your own")
                }
                DiskError::Ahead { .. } => {
                    told.hint("a watermark never falls; one of the clocks is wrong")
                }
                _ => told,
            }
        }
        MergeError::Other { head, error } => {
            let of = |cid: &Cid| others.iter().find(|(_, opened)| opened.head.cid() == cid);
            let what = format!("{UNMERGED} head {head}");
            let own = Reference::default();
            let reference = of(head).map_or(&own, |(reference, _)| reference);
            context
                .unreadable(reference, what, error)
                .hint("what was copied stays: merging again goes on from there")
        }
    }
}

impl From<&Merged> for Row {
    fn from(merged: &Merged) -> Self {
        let body = merged.head.as_ref().map(Head::body);
        Self {
            head: merged.head.as_ref().map(|head| head.cid().to_string()),
            state: body.and_then(|body| body.state).map(|cid| cid.to_string()),
            seq: body.map(|body| body.sequence.0),
            watermark: body.map(|body| body.watermark.at().0),
            heads: merged.heads,
            new: merged.added.count,
            bytes: merged.added.bytes,
            days: merged.days,
            blocks: merged.copied.blocks,
            fetched: merged.copied.bytes,
            written: merged.copied.written,
            left_out: merged.left_out,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.head.as_deref().unwrap_or("no head"))
    }
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            head, new, bytes, ..
        } = self;
        write!(f, "{head} new {new} bytes {bytes}")
    }
}
