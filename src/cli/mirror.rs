//! `gwa mirror`: a copy of another's archive, kept up to date.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::archive::disk::{
    Archive, DiskError, FollowError, Followed, Kind as OriginKind, Origin, Route,
};
use crate::cli::context::{Context, archive_failed};
use crate::cli::error::{CliError, Kind};
use crate::cli::sources::{FromArgs, Lead};
use crate::config::Span;
use crate::node::follow::DEFAULT_EVERY;
use crate::sources::Reference;
use crate::time::{Clock, SystemClock};

const EXAMPLES: &str = "\
Examples:
  gwa mirror http://archive.example:8547
      copy the history of another gwa, or fetch what is new since the last time
  gwa mirror http://archive.example:8547 --follow
      go on for as long as it runs
  gwa mirror
      the mirror in the data folder once more

Everything is checked: blocks against their CIDs, the state against the envelopes. A
mirror that was interrupted goes on where it was. A head that goes back, that has a
rival of the same number, or that lacks envelopes which were there is not followed:
the proof is kept in DIR/alarms or DIR/seen, and `--accept-rewrite` follows it all
the same.

Exit codes: 0 up to date, 1 error, 2 usage, 10 no archive at REF, 11 locked,
20 a head or block is not what it should be, 130 interrupted.";

/// Arguments of `gwa mirror`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct MirrorArgs {
    /// Whose head to follow [default: that of the last time].
    #[arg(value_name = "REF")]
    reference: Option<Reference>,
    #[command(flatten)]
    from: FromArgs,
    /// Go on following.
    #[arg(long)]
    follow: bool,
    /// How often to ask for a new head [default: 1m].
    #[arg(long, value_name = "SPAN", requires = "follow")]
    every: Option<Span>,
}

#[derive(Serialize)]
struct Mirrored {
    head: String,
    state: Option<String>,
    seq: u64,
    watermark: u32,
    count: u64,
    bytes: u64,
    /// `here`, `copied`, `replayed` or `compared`.
    route: &'static str,
    /// Heads that were followed one by one.
    heads: u64,
    /// Blocks and bytes fetched.
    blocks: u64,
    fetched: u64,
    /// The alarm that was overruled.
    #[serde(skip_serializing_if = "Option::is_none")]
    overruled: Option<String>,
}

/// Mirrors once, or for as long as it runs.
pub fn run(args: &MirrorArgs, context: &mut Context) -> Result<(), CliError> {
    context.sources.add_from(&args.from);
    let (mut lead, places) = match &args.reference {
        Some(reference) => (
            context.sources.lead(reference, &context.data)?,
            context.sources.places(reference, &context.data)?,
        ),
        None => of_origin(context)?,
    };
    let every = args.every.map_or(DEFAULT_EVERY, |span| span.0);
    let mut archive: Option<Archive> = None;
    let mut was_there = false;
    loop {
        let followed = round(&mut lead, &places, &mut archive, context);
        match (followed, args.follow) {
            (Ok(followed), follow) => {
                was_there = true;
                if !follow || followed.route != Route::Here {
                    tell(&followed, context)?;
                    context.output.flush()?;
                }
            }
            // A source that is away comes back; the first round must succeed.
            (Err(error), true) if was_there && error.kind() == Kind::Error => {
                tracing::warn!("{}", error.brief());
            }
            (Err(error), _) => return Err(error),
        }
        if !args.follow {
            return Ok(());
        }
        std::thread::sleep(every.max(Duration::from_secs(1)));
    }
}

/// What the mirror in the data folder follows: wherever it is known to be, and
/// wherever the user says that it is as well.
fn of_origin(context: &Context) -> Result<(Lead, Vec<String>), CliError> {
    let (sources, data) = (&context.sources, &context.data);
    let origin = Origin::read(data)
        .map_err(|error| archive_failed("cannot read what is mirrored", &error))?;
    let origin = origin
        .filter(|origin| origin.kind == OriginKind::Mirror && !origin.sources.is_empty())
        .ok_or_else(|| {
            CliError::new(
                Kind::Usage,
                "there is no mirror in the data folder that knows its source",
            )
            .hint("name what to mirror: `gwa mirror REF`")
        })?;
    let lead = sources.lead_of_mirror(&origin, data)?;
    let mut places = origin.sources;
    for place in sources.places(&Reference::OwnHead, data)? {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Ok((lead, places))
}

fn round(
    lead: &mut Lead,
    places: &[String],
    archive: &mut Option<Archive>,
    context: &mut Context,
) -> Result<Followed, CliError> {
    let (offered, source) = lead.latest()?;
    let mirror = match archive {
        Some(mirror) => mirror,
        None => {
            let places = places.to_vec();
            let mirror =
                Archive::mirror(&context.data, &offered, places).map_err(|error| match error {
                    DiskError::Exists { .. } => archive_failed("cannot mirror", &error)
                        .hint("a mirror has a folder of its own: `--data DIR`"),
                    error => archive_failed("cannot mirror", &error),
                })?;
            archive.insert(mirror)
        }
    };
    let progress = context.progress();
    mirror
        .follow(
            &offered,
            &*source,
            context.sources.accepts_rewrites(),
            SystemClock.now(),
            &*progress,
        )
        .map_err(|error| failed(&error))
}

fn failed(error: &FollowError) -> CliError {
    const WHAT: &str = "cannot follow the head";
    match error {
        FollowError::Disk(error) => archive_failed(WHAT, error),
        FollowError::Unread { error: unread, .. } => {
            let kind = match unread.is_forged() {
                true => Kind::Verification,
                false => Kind::Error,
            };
            CliError::new(kind, WHAT).because(error).hint(
                "`gwa repair` fetches what is gone; `--accept-rewrite` follows the head \
                 without having compared",
            )
        }
        FollowError::Alarm { proof, .. } => CliError::new(Kind::Verification, WHAT)
            .because(error)
            .hint(format!(
                "the proof is in {}; `--accept-rewrite` follows it all the same",
                proof.display()
            )),
        FollowError::AnotherKey => CliError::new(Kind::Verification, WHAT)
            .because(error)
            .hint("mirror it into another folder: `--data DIR`"),
        FollowError::NotAMirror => CliError::new(Kind::Usage, WHAT).because(error),
    }
}

fn tell(followed: &Followed, context: &mut Context) -> Result<(), CliError> {
    let body = followed.head.body();
    let (route, heads) = match followed.route {
        Route::Here => ("here", 0),
        Route::Copied => ("copied", 1),
        Route::Replayed(heads) => ("replayed", heads),
        Route::Compared => ("compared", 1),
    };
    let mirrored = Mirrored {
        head: followed.head.cid().to_string(),
        state: body.state.map(|cid| cid.to_string()),
        seq: body.sequence.0,
        watermark: body.watermark.at().0,
        count: body.totals.count,
        bytes: body.totals.bytes,
        route,
        heads,
        blocks: followed.copied.blocks,
        fetched: followed.copied.bytes,
        overruled: followed.overruled.as_ref().map(ToString::to_string),
    };
    let line = format!(
        "head  {} ({route})\nholds {} envelopes, {} bytes; fetched {} blocks, {} bytes",
        mirrored.head, mirrored.count, mirrored.bytes, mirrored.blocks, mirrored.fetched
    );
    context.output.result(&mirrored, line)
}
