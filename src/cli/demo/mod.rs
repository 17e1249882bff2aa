//! `gwa demo`: the whole journey of a message, on one machine, in one process.
//!
//! Everything is real: RLPx over TCP on loopback, the archive on disk, the
//! mailserver protocol. Only the folder is made for the occasion.

mod chat;
mod peer;

use std::error::Error;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use self::chat::Chat;
use self::peer::Peer;
use crate::archive::disk::{Archive, sealed_by};
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::head::Head;
use crate::archive::query::Query;
use crate::archive::verify::{Sample, verify};
use crate::archive::watermark::{WATERMARK_STEP, Watermark};
use crate::cli::context::Context;
use crate::cli::envelopes::envelope_of;
use crate::cli::error::{CliError, Kind};
use crate::cli::heads::Row;
use crate::cli::serve::Signals;
use crate::config::{HttpAddress, HttpPartial, Partial, Settings};
use crate::mailserver::client::{MailClient, Requester};
use crate::mailserver::request::MailQuery;
use crate::node::Daemon;
use crate::progress::Quiet;
use crate::rlpx::session::LocalNode;
use crate::rlpx::{Enode, NodeKey};
use crate::time::{Clock, SystemClock, TimeRange};
use crate::whisper::keys::SymKey;
use crate::whisper::node::protocol;
use crate::whisper::{Bloom, Envelope, EnvelopeHash};

/// How long any step may take before the demo gives up: all of them together
/// take seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often a step looks whether it is done.
const LOOK: Duration = Duration::from_millis(20);

/// The chat that is read again at the end.
const CHAT: &str = "gwa-demo";

/// What is said there, and by whom.
const TALK: [(Speaker, &str); 4] = [
    (
        Speaker::Alice,
        "Who keeps what we say when we are all offline?",
    ),
    (
        Speaker::Bob,
        "Anyone who likes. It is public, and nobody owns it.",
    ),
    (Speaker::Alice, "And if a keeper leaves something out?"),
    (
        Speaker::Bob,
        "Ask for the head CID: it can withhold, it cannot lie.",
    ),
];

/// Messages on other topics, so that there is something to be found among.
const OTHERS: usize = 60;

/// Chats those are in.
const OTHER_CHATS: [&str; 3] = ["weather", "trains", "recipes"];

/// Arguments of `gwa demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leave the mailserver running at the end, until Ctrl-C, and its archive in
    /// place.
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy)]
enum Speaker {
    Alice,
    Bob,
}

/// Runs the demo; prints the head CID.
pub fn run(args: &DemoArgs, context: &mut Context) -> Result<(), CliError> {
    let folder = Folder::create().map_err(|error| failed("make a folder", &error))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| failed("start", &error))?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new().map_err(|error| failed("wait for Ctrl-C", &error))?;
        let (daemon, head) = tokio::select! {
            shown = show(&folder.path, context) => shown?,
            () = signals.next() => return Err(CliError::new(Kind::Interrupted, "interrupted")),
        };
        context.output.story("\nThe head CID names all of it:");
        let row = Row::from(&head);
        context.output.result(&row, &row)?;
        context.output.flush()?;
        if args.keep {
            context.output.story(format_args!(
                "The mailserver goes on until Ctrl-C. Try: gwa --data {} query --chat {CHAT}",
                folder.path.display()
            ));
            daemon.run_until(signals.ended()).await;
        } else {
            daemon.run_until(std::future::ready(())).await;
        }
        Ok(())
    });
    if !args.keep {
        folder.remove();
    }
    outcome
}

/// The whole journey; gives the daemon, still running, and the head.
async fn show(folder: &Path, context: &Context) -> Result<(Daemon, Head), CliError> {
    let archive =
        Archive::init(folder, "demo").map_err(|error| failed("make an archive", &error))?;
    let archive = Arc::new(archive);
    let flags = Partial {
        listen: Some(([127, 0, 0, 1], 0).into()),
        http: HttpPartial {
            address: Some(HttpAddress::Off),
            ..HttpPartial::default()
        },
        ..Partial::default()
    };
    let settings = Settings::resolve(folder, flags, Partial::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let daemon = Daemon::start(Arc::clone(&archive), NodeKey::generate(), &settings, clock)
        .await
        .map_err(|error| failed("start the mailserver", &error))?;
    let server = daemon.enode();
    context.output.story(format_args!("mailserver  {server}"));

    let chat = Chat::new(CHAT);
    let posted = talk(&chat, server, &daemon, context).await?;
    let head = seal(&archive, context)?;
    find(&chat, &archive, &head, &posted, context)?;
    check(&archive, &head, context)?;
    ask(&chat, server, &settings, &posted, context).await?;
    Ok((daemon, head))
}

/// Two peers talk through the server, which archives all it hears. Gives what
/// was said in the chat.
async fn talk(
    chat: &Chat,
    server: Enode,
    daemon: &Daemon,
    context: &Context,
) -> Result<Vec<EnvelopeHash>, CliError> {
    chapter(
        context,
        1,
        "Alice and Bob connect to the mailserver, and talk",
    );
    let start = |error| failed("start a peer", &error);
    let alice = Peer::start("alice", server).await.map_err(start)?;
    let bob = Peer::start("bob", server).await.map_err(start)?;
    until("connect the peers", || {
        alice.is_connected() && bob.is_connected()
    })
    .await?;

    let mut posted = Vec::new();
    for (speaker, text) in TALK {
        let (name, from, to) = match speaker {
            Speaker::Alice => ("Alice", &alice, &bob),
            Speaker::Bob => ("Bob", &bob, &alice),
        };
        let hash = post(chat, from, text).await?;
        until("pass a message on", || to.has_heard(hash)).await?;
        // Whisper counts whole seconds: talk that is faster comes back shuffled.
        let said = SystemClock.now();
        until("let a second pass", || SystemClock.now() > said).await?;
        posted.push(hash);
        context.output.story(format_args!("  {name:>5}: {text}"));
    }
    let others = OTHER_CHATS.map(Chat::new);
    for (n, other) in (0..OTHERS).zip(others.iter().cycle()) {
        let from = if n % 2 == 0 { &alice } else { &bob };
        post(other, from, &format!("{} number {n}", other.name())).await?;
    }
    let all = (TALK.len() + OTHERS) as u64;
    until("archive every message", || {
        daemon.node().counters().stored == all
    })
    .await?;
    context.output.story(format_args!(
        "  The mailserver heard {all} envelopes. It sees topics, times and sizes, no words."
    ));
    alice.stop().await;
    bob.stop().await;
    Ok(posted)
}

async fn post(chat: &Chat, from: &Peer, text: &str) -> Result<EnvelopeHash, CliError> {
    let envelope = chat
        .write(text, from.key(), SystemClock.now())
        .map_err(|error| failed("write a message", &error))?;
    let hash = envelope.hash();
    from.post(envelope)
        .await
        .map_err(|error| failed("post a message", &error))?;
    Ok(hash)
}

/// Seals everything, and not only what is old enough for a daemon to seal.
fn seal(archive: &Archive, context: &Context) -> Result<Head, CliError> {
    chapter(
        context,
        2,
        "The archive seals what it heard under a signed head",
    );
    let now = SystemClock.now();
    let until = Watermark::at_or_before(now.saturating_add(WATERMARK_STEP));
    let report = archive
        .seal(until, now, &Quiet)
        .map_err(|error| failed("seal", &error))?;
    let Some(head) = report.head else {
        return Err(CliError::new(Kind::Error, "the demo sealed nothing"));
    };
    context.output.story(format_args!(
        "  {} envelopes, {} bytes, {} bytes of blocks written",
        report.added.count, report.added.bytes, report.written
    ));
    Ok(head)
}

/// From here on the head CID is all that is needed.
fn find(
    chat: &Chat,
    archive: &Archive,
    head: &Head,
    posted: &[EnvelopeHash],
    context: &Context,
) -> Result<(), CliError> {
    chapter(
        context,
        3,
        "Anyone who has the head CID asks it for the chat's topic",
    );
    let filter = Filter {
        topics: TopicFilter::Any([chat.topic()].into()),
        range: TimeRange::ALL,
    };
    let query = |error| failed("query the head", &error);
    let mut found = Query::new(archive.blocks(), &sealed_by(head), filter).map_err(query)?;
    let mut envelopes = Vec::new();
    for record in found.by_ref() {
        envelopes.push(envelope_of(&record.map_err(query)?)?);
    }
    let cost = found.cost();
    expect_all("the query", &envelopes, posted)?;
    for envelope in &envelopes {
        let text = chat.read(envelope).unwrap_or_default();
        context
            .output
            .story(format_args!("  {}  {text}", envelope.sent()));
    }
    context.output.story(format_args!(
        "  {} blocks fetched, {} bytes, each checked against its CID",
        cost.blocks, cost.bytes
    ));
    Ok(())
}

fn check(archive: &Archive, head: &Head, context: &Context) -> Result<(), CliError> {
    chapter(context, 4, "Everything is recomputed from the head");
    let verified = verify(
        archive.blocks(),
        &sealed_by(head),
        *head.cid(),
        Sample::EVERYTHING,
        &Quiet,
    );
    if let Some(fault) = verified.faults.first() {
        return Err(
            CliError::new(Kind::Verification, "the demo's archive does not verify").because(fault),
        );
    }
    context.output.story(format_args!(
        "  {} envelopes hashed, nothing wrong",
        verified.envelopes
    ));
    Ok(())
}

/// A client that heard nothing asks over the mailserver protocol.
async fn ask(
    chat: &Chat,
    server: Enode,
    settings: &Settings,
    posted: &[EnvelopeHash],
    context: &Context,
) -> Result<(), CliError> {
    chapter(context, 5, "Carol, who was offline, asks the mailserver");
    let asking = |error| failed("ask the mailserver", &error);
    let carol = NodeKey::generate();
    let password = SymKey::from_password(settings.password.expose());
    let requester = Requester::with_password(password, *carol.secret());
    let local = Arc::new(LocalNode::new(carol, "gwa-demo/carol", vec![protocol()], 0));
    let mut client = MailClient::connect(&server, &local).await.map_err(asking)?;
    let query = MailQuery {
        range: TimeRange::ALL,
        topics: Bloom::of_topic(chat.topic()),
        limit: 1_000,
        cursor: None,
        batch: true,
    };
    let mail = client
        .request_all(query, &requester, SystemClock.now())
        .await
        .map_err(asking)?;
    client.close().await;
    expect_all("the mailserver", &mail, posted)?;
    context.output.story(format_args!(
        "  she gets {} envelopes, and reads: {}",
        mail.len(),
        mail.iter()
            .rev()
            .find_map(|e| chat.read(e))
            .unwrap_or_default()
    ));
    Ok(())
}

/// A demo that shows less than was posted has failed.
fn expect_all(who: &str, found: &[Envelope], posted: &[EnvelopeHash]) -> Result<(), CliError> {
    let missing = posted
        .iter()
        .filter(|hash| !found.iter().any(|envelope| envelope.hash() == **hash))
        .count();
    if missing == 0 {
        return Ok(());
    }
    Err(CliError::new(
        Kind::Error,
        format!("{who} lacks {missing} of {} messages", posted.len()),
    ))
}

/// Waits until `done`; a step that takes too long fails the demo.
async fn until(what: &str, done: impl Fn() -> bool) -> Result<(), CliError> {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() > deadline {
            return Err(CliError::new(
                Kind::Error,
                format!("the demo could not {what} in {} s", PATIENCE.as_secs()),
            ));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

fn chapter(context: &Context, number: u32, title: impl Display) {
    context.output.story(format_args!("\n{number}. {title}"));
}

fn failed(what: &str, error: &dyn Error) -> CliError {
    CliError::new(Kind::Error, format!("the demo could not {what}")).because(error)
}

/// A folder of the demo's own.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn create() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("gwa-demo-{}", std::process::id()));
        // A folder that is there already belongs to somebody else.
        std::fs::create_dir(&path)?;
        Ok(Self { path })
    }

    fn remove(self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "folder not removed");
        }
    }
}
