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
use crate::config::Span;
use crate::mailserver::client::history::Event;
use crate::mailserver::client::{ClientError, History};
use crate::mailserver::request::MailQuery;
use crate::publish::announcement::topic;
use crate::publish::{self, Announcement, Heard};
use crate::rlpx::Enode;
use crate::sources::Reference;
use crate::time::{Clock, DAY, SystemClock, TimeRange, UnixSeconds};
use crate::whisper::Bloom;

/// Envelopes asked for at a time.
const PAGE: u32 = 1_000;

/// Pages looked through: a week of a thousand archives that announce every quarter
/// of an hour. Whoever keeps a mailserver can invent messages without end.
const MAX_PAGES: u32 = 700;

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
    let progress = context.progress();
    progress.phase("looking for announcements", None, None);
    match &args.server {
        Some(server) => ask(args, server, range, &mut listener)?,
        None => look(range, context, &mut listener)?,
    }
    drop(progress);
    if listener.heard.unreadable > 0 {
        context.output.story(format_args!(
            "{} messages on the topic announce nothing",
            listener.heard.unreadable
        ));
    }
    if listener.heard.roll.left_out() > 0 {
        context.output.story(format_args!(
            "{} announcements of still more archives left out",
            listener.heard.roll.left_out()
        ));
    }
    if listener.is_cut {
        context.output.story(format_args!(
            "the server has more than {MAX_PAGES} pages: `--since` a shorter span asks for less"
        ));
    }
    let rows: Vec<Row> = listener
        .heard
        .roll
        .archives()
        .into_iter()
        .map(row)
        .collect();
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
    heard: publish::Listener,
    /// Whether a server had more than is looked through.
    is_cut: bool,
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
    let heard = runtime()?.block_on(async {
        let mut history = asker.history(*server, query).retries(0);
        let heard = listen(&mut history, listener, MAX_PAGES).await;
        history.close().await;
        heard
    });
    heard.map_err(|error| server_failed("cannot ask", server, &error))
}

/// Hears what comes, packet by packet, through `most` pages.
async fn listen(
    history: &mut History,
    listener: &mut Listener,
    most: u32,
) -> Result<(), ClientError> {
    let mut pages = 0;
    loop {
        match history.next().await? {
            Event::Envelopes(envelopes) => {
                envelopes
                    .iter()
                    .for_each(|envelope| listener.heard.hear(envelope));
            }
            Event::Page(page) => {
                pages += 1;
                if pages == most {
                    listener.is_cut = page.next.is_some();
                    return Ok(());
                }
            }
            Event::End => return Ok(()),
            Event::Connected { .. } | Event::Asked(_) | Event::Lost { .. } => {}
        }
    }
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
        listener.heard.hear(&envelope_of(&record)?);
    }
    Ok(())
}

fn row(heard: &Heard) -> Row {
    let Announcement { head, hints } = &heard.announcement;
    Row {
        head: head.into(),
        announced: heard.sent.0,
        http: hints.http().to_vec(),
        enode: hints.enode().map(ToString::to_string),
        rival: heard.rival.map(|cid| cid.to_string()),
        share: heard.share().to_string(),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use secp256k1::SecretKey;

    use super::*;
    use crate::cli::mail::local_node;
    use crate::mailserver::client::Requester;
    use crate::mailserver::{MailServer, Mailserver, MailserverConfig, MemoryVault};
    use crate::rlpx::NodeKey;
    use crate::time::{Expiry, Ttl};
    use crate::whisper::Envelope;
    use crate::whisper::Pow;
    use crate::whisper::keys::SymKey;
    use crate::whisper::node::{Node, NodeConfig};

    #[tokio::test]
    async fn of_a_server_with_pages_without_end_so_many_are_heard_and_no_more() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let now = clock.now();
        let password = || SymKey::new([0x42; 32]).unwrap();
        let asked = MailserverConfig {
            password: Some(password()),
            node_key: None,
            min_pow: Pow::ZERO,
            answer_open_requests: true,
        };
        let server = Mailserver::new(Arc::new(MemoryVault::default()), asked, clock.clone());
        // They announce nothing, and are counted.
        let told = (0..50).map(|n| {
            let sent = now.saturating_sub(1_000).saturating_add(n);
            Envelope::new(Expiry::of(sent, Ttl(50)), Ttl(50), topic(), &[7; 80], 0)
        });
        server.archive(told.collect()).await.unwrap();
        let config = NodeConfig::new(NodeKey::generate());
        let node = Node::start(config, Arc::new(server), clock.clone());
        let node = node.await.unwrap();
        let signer = SecretKey::from_secret_bytes([7; 32]).unwrap();
        for (most, heard, is_cut) in [(3, 30, true), (5, 50, false), (9, 50, false)] {
            let query = MailQuery {
                range: TimeRange::new(now.saturating_sub(DAY), now).unwrap(),
                topics: Bloom::of_topic(topic()),
                limit: 10,
                cursor: None,
                batch: true,
            };
            let requester = Requester::with_password(password(), signer);
            let local = local_node(NodeKey::generate());
            let server = node.enode().unwrap();
            let mut history = History::new(server, local, requester, clock.clone(), query);
            let mut listener = Listener::default();
            listen(&mut history, &mut listener, most).await.unwrap();
            assert_eq!(
                (listener.heard.unreadable, listener.is_cut),
                (heard, is_cut)
            );
            history.close().await;
        }
        node.shutdown().await;
    }
}
