//! `gwa discover`: the archives that are announced on the network.

use std::fmt;

use clap::Args;
use serde::Serialize;

use crate::archive::disk::sealed_by;
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::query::Query;
use crate::cli::context::{Context, unreadable};
use crate::cli::envelopes::envelope_of;
use crate::cli::error::{CliError, Kind};
use crate::cli::mail::{Asker, MailArgs, runtime, server_failed};
use crate::cli::reference::Reference;
use crate::config::Span;
use crate::mailserver::client::MailClient;
use crate::mailserver::request::MailQuery;
use crate::publish::announcement::topic;
use crate::publish::{Announcement, Heard, Roll, Share};
use crate::rlpx::Enode;
use crate::time::{Clock, DAY, SystemClock, TimeRange, UnixSeconds};
use crate::whisper::{Bloom, Envelope};

/// Envelopes asked for at a time.
const PAGE: u32 = 1_000;

const EXAMPLES: &str = "\
Examples:
  gwa discover enode://..
      the archives announced on the network of that mailserver, gwa's or not
  gwa discover
      those announced where this archive listens, as far as it has sealed
  gwa discover enode://.. --since 7d --json

An announcement is signed by the archive it tells of. The line printed last for each
is what `gwa mirror`, `gwa fork` and `gwa query` take, once they may trust its key.

Exit codes: 0 ok, 1 error, 2 usage, 10 no archive here and no mailserver named.";

/// Arguments of `gwa discover`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DiscoverArgs {
    /// A mailserver to ask [default: the archive in the data folder].
    #[arg(value_name = "ENODE")]
    server: Option<Enode>,
    /// How far to look back [default: 1d].
    #[arg(long, value_name = "SPAN")]
    since: Option<Span>,
    #[command(flatten)]
    mail: MailArgs,
}

/// An archive that was heard of, as it is printed.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    head: crate::cli::heads::Row,
    /// When it was announced last, Unix seconds.
    announced: u32,
    /// Where it is to be had.
    http: Vec<String>,
    enode: Option<String>,
    /// Another head of the same number and key: whoever signed both lies to
    /// somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    rival: Option<String>,
    /// All of it in one line.
    share: String,
}

/// Prints the archives, the largest first.
pub fn run(args: &DiscoverArgs, context: &mut Context) -> Result<(), CliError> {
    let now = SystemClock.now();
    let since = args.since.map_or(DAY, |span| {
        u32::try_from(span.0.as_secs()).unwrap_or(u32::MAX)
    });
    let range = TimeRange::new(now.saturating_sub(since), now)
        .expect("what lies before now is not after it");
    let mut listener = Listener::default();
    match &args.server {
        Some(server) => ask(args, server, range, &mut listener)?,
        None => look(range, context, &mut listener)?,
    }
    if listener.unreadable > 0 {
        context.output.story(format_args!(
            "{} messages on the topic announce nothing",
            listener.unreadable
        ));
    }
    if listener.roll.left_out() > 0 {
        context.output.story(format_args!(
            "{} announcements of still more archives left out",
            listener.roll.left_out()
        ));
    }
    let rows: Vec<Row> = listener.roll.archives().into_iter().map(row).collect();
    if rows.is_empty() {
        context.output.story("no archive is announced");
    }
    for row in rows {
        context.output.result(&row, &row)?;
    }
    Ok(())
}

/// What was heard so far.
#[derive(Default)]
struct Listener {
    roll: Roll,
    unreadable: u64,
}

impl Listener {
    fn hear(&mut self, envelope: &Envelope) {
        // A bloom matches other topics as well.
        if envelope.topic() != topic() {
            return;
        }
        match Announcement::open(envelope) {
            Ok(announcement) => self.roll.note(announcement, envelope.sent()),
            Err(error) => {
                tracing::debug!(hash = %envelope.hash(), %error, "announces nothing");
                self.unreadable += 1;
            }
        }
    }
}

/// Asks a mailserver.
fn ask(
    args: &DiscoverArgs,
    server: &Enode,
    range: TimeRange,
    listener: &mut Listener,
) -> Result<(), CliError> {
    let asker = Asker::new(&args.mail);
    let query = MailQuery {
        range,
        topics: Bloom::of_topic(topic()),
        limit: PAGE,
        cursor: None,
        batch: true,
    };
    let asked = runtime()?.block_on(async {
        let mut client = MailClient::connect(server, &asker.local).await?;
        let now = SystemClock.now();
        let all = client.request_all(query, &asker.requester, now).await;
        client.close().await;
        all
    });
    let envelopes = asked.map_err(|error| server_failed("cannot ask", server, &error))?;
    envelopes
        .iter()
        .for_each(|envelope| listener.hear(envelope));
    Ok(())
}

/// Looks into the archive in the data folder.
fn look(range: TimeRange, context: &Context, listener: &mut Listener) -> Result<(), CliError> {
    let opened = context.head(&Reference::OwnHead).map_err(|error| {
        if error.kind() == Kind::NoArchive {
            error.hint("name a mailserver of the network: `gwa discover ENODE`")
        } else {
            error
        }
    })?;
    let filter = Filter {
        topics: TopicFilter::Any([topic()].into()),
        range,
    };
    let failed = |error: &crate::archive::ArchiveError| unreadable("cannot look", error);
    let query = Query::new(&*opened.source, &sealed_by(&opened.head), filter)
        .map_err(|error| failed(&error))?;
    for record in query {
        let record = record.map_err(|error| failed(&error))?;
        listener.hear(&envelope_of(&record)?);
    }
    Ok(())
}

fn row(heard: &Heard) -> Row {
    let Announcement { head, hints } = &heard.announcement;
    let share = Share {
        head: *head.cid(),
        key: Some(*head.key()),
        name: head.body().name.clone(),
        hints: hints.clone(),
    };
    Row {
        head: head.into(),
        announced: heard.sent.0,
        http: hints.http().to_vec(),
        enode: hints.enode().map(ToString::to_string),
        rival: heard.rival.map(|cid| cid.to_string()),
        share: share.to_string(),
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = UnixSeconds(self.announced);
        writeln!(f, "{}", self.head.as_found(at))?;
        if let Some(rival) = &self.rival {
            writeln!(f, "  beware: {rival} has the same number and key")?;
        }
        write!(f, "  {}", self.share)
    }
}
