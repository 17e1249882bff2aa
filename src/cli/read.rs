//! `gwa read`: what messages say, from any head and any source.

use std::path::PathBuf;

use clap::Args;

use crate::archive::disk::sealed_by;
use crate::archive::leaf::Record;
use crate::archive::query::Query;
use crate::cli::context::Context;
use crate::cli::envelopes::envelope_of;
use crate::cli::error::{CliError, Kind};
use crate::cli::opening::{Line, Opener};
use crate::cli::wanted::WantedArgs;
use crate::config::Password;
use crate::sources::Reference;

/// What failed where a block cannot be read.
const UNREAD: &str = "cannot read the messages";

/// Arguments of `gwa read`.
#[derive(Debug, Args)]
pub struct ReadArgs {
    /// The head to read from [default: the own head].
    #[arg(value_name = "REF")]
    reference: Option<Reference>,
    #[command(flatten)]
    wanted: WantedArgs,
    /// Open messages with this password; that of a public chat is its name, and known.
    #[arg(
        long = "password",
        value_name = "P",
        env = "GWA_READ_PASSWORD",
        hide_env_values = true
    )]
    passwords: Vec<Password>,
    /// Open messages with the secret key in this file.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Only the newest N envelopes.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// What was gone through.
#[derive(Default)]
struct Seen {
    opened: u64,
    closed: u64,
}

/// Prints the messages that open, oldest first.
pub fn run(args: &ReadArgs, context: &mut Context) -> Result<(), CliError> {
    let chats = args.wanted.chats();
    let opener = Opener::of(chats, &args.passwords, &args.keys)?.ok_or_else(|| {
        CliError::new(Kind::Usage, "there is no key to open messages with")
            .hint("name a chat with `--chat`, or a password or key, and the topic")
    })?;
    let filter = args.wanted.filter()?;
    let reference = args.reference.clone().unwrap_or_default();
    let opened = context.head(&reference)?;
    let sealed = sealed_by(&opened.head);
    let failed = |context: &Context, error| context.unreadable(&reference, UNREAD, &error);
    let query = Query::new(&*opened.source, &sealed, filter).map_err(|e| failed(context, e))?;
    let mut seen = Seen::default();
    let progress = context.progress_beside_results();
    progress.phase("reading", None, None);
    match args.limit {
        Some(limit) => {
            let (records, _) = query.newest(limit).map_err(|e| failed(context, e))?;
            for record in &records {
                show(record, &opener, &mut seen, context)?;
            }
        }
        None => {
            for record in query {
                let record = record.map_err(|e| failed(context, e))?;
                progress.advance(1, record.bytes.len() as u64);
                show(&record, &opener, &mut seen, context)?;
            }
        }
    }
    drop(progress);
    if seen.closed == 0 {
        return Ok(());
    }
    let told = format!(
        "{} of {} envelopes open with none of the keys",
        seen.closed,
        seen.closed + seen.opened
    );
    if seen.opened == 0 {
        return Err(CliError::new(Kind::WrongKey, told)
            .hint("a topic may be shared by several chats: the name or password may be another"));
    }
    context.output.story(told);
    Ok(())
}

fn show(
    record: &Record,
    opener: &Opener,
    seen: &mut Seen,
    context: &mut Context,
) -> Result<(), CliError> {
    let message = opener.open(&envelope_of(record)?);
    if !message.is_open() {
        seen.closed += 1;
        return Ok(());
    }
    seen.opened += 1;
    context.output.result(&message, Line(&message))
}
