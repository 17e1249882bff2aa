//! `gwa post`: seals a message, mines for it, and hands it to nodes.
//!
//! Always true:
//! - Every node is asked what work it wants before mining starts, and its link
//!   is kept alive until the envelope is there.
//! - A node that acknowledges has stored the envelope; of one that never does,
//!   as geth, it is said that nothing is known.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use secp256k1::PublicKey;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::cli::context::Context;
use crate::cli::envelopes::Row;
use crate::cli::error::{CliError, Kind};
use crate::cli::mail::{self, local_node, server_failed, short};
use crate::cli::mine::mine_for;
use crate::config::{MinPow, Password, Span};
use crate::mailserver::client::{ClientError, MailClient};
use crate::node::key_file;
use crate::rlpx::session::LocalNode;
use crate::rlpx::{Enode, KeyError, NodeId, NodeKey};
use crate::time::{Clock, Expiry, SystemClock, Ttl, UnixSeconds};
use crate::whisper::confirm::EnvelopeFault;
use crate::whisper::keys::SymKey;
use crate::whisper::message::{MessageRandom, Reader, seal};
use crate::whisper::mining::{Target, Template};
use crate::whisper::peer::PACKET_TARGET;
use crate::whisper::pow::{Pow, Work};
use crate::whisper::{Envelope, Topic};

/// The longest payload: sealed it has to fit the packets every node takes.
const MAX_PAYLOAD: usize = PACKET_TARGET - (1 << 10);

/// How long a node that never acknowledges is watched: geth ends the link with
/// who sends it what it does not want.
const SETTLE: Duration = Duration::from_secs(2);

/// How long to mine, unless told otherwise. Both definitions at the 0.2 of geth
/// take some ten million hashes.
const MINING_TIME: Duration = Duration::from_secs(120);

const EXAMPLES: &str = "\
Examples:
  gwa post --to enode://.. --chat status --payload 'hello'
  echo hello | gwa post --to enode://..a enode://..b --chat status --file -
  gwa post --to enode://.. --topic 5a4ea131 --password wwww --payload hi --ttl 20
  gwa post --to enode://.. --public-key 04.. --topic aabbccdd --file note.txt --sign my.key

The hash of the envelope is printed once the nodes have it. The envelope shows
enough work for each of them by both definitions in the field, that of geth up to
1.8 and that of geth from 1.9 and status-go; a short --ttl makes mining easier.

Exit codes: 0 every node took it, 1 none did, 2 usage, 3 some did.";

/// Arguments of `gwa post`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PostArgs {
    /// The nodes to hand it to.
    #[arg(long, required = true, num_args = 1.., value_name = "ENODE")]
    to: Vec<Enode>,
    /// A public chat: its name is its topic and its key.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["password", "public_key", "topic"])]
    chat: Option<String>,
    /// The topic, 8 hex digits.
    #[arg(long, value_name = "T")]
    topic: Option<Topic>,
    /// Encrypt with this password's key.
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "public_key",
        requires = "topic"
    )]
    password: Option<Password>,
    /// Encrypt to the owner of this public key, 128 hex digits with or without
    /// 04 before them.
    #[arg(long, value_name = "KEY", value_parser = parse_public_key)]
    public_key: Option<PublicKey>,
    /// What to say.
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "file",
        required_unless_present = "file"
    )]
    payload: Option<String>,
    /// What to say, from a file, or - for standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How long it lives on the network, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=604_800))]
    ttl: u32,
    /// Least proof of work; more is shown where a node wants more.
    #[arg(long, value_name = "POW", default_value = "0.001")]
    pow: MinPow,
    /// How long to mine at most [default: 2m].
    #[arg(long, value_name = "SPAN")]
    pow_time: Option<Span>,
    /// Sign with the secret key in this file, 64 hex digits.
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
}

fn parse_public_key(text: &str) -> Result<PublicKey, KeyError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let digits = match digits.strip_prefix("04") {
        Some(rest) if rest.len() == 128 => rest,
        _ => digits,
    };
    digits.parse::<NodeId>()?.public_key()
}

/// What became of a message, as it is printed.
#[derive(Serialize)]
struct Posted {
    #[serde(flatten)]
    row: Row,
    /// By the definition of geth up to 1.8, and by that of all others.
    work: [f64; 2],
    servers: Vec<AtServer>,
}

/// What one node did with it.
#[derive(Serialize)]
struct AtServer {
    server: String,
    name: Option<String>,
    /// Whether it said that it has stored it; none where it never says.
    acknowledged: Option<bool>,
    error: Option<String>,
}

/// Posts, and prints the hash.
pub fn run(args: &PostArgs, context: &mut Context) -> Result<(), CliError> {
    let payload = payload(args)?;
    let signer = args
        .sign
        .as_ref()
        .map(|path| key_file::load(path))
        .transpose()
        .map_err(|error| {
            CliError::new(Kind::WrongKey, "there is no key to sign with").because(&error)
        })?;
    let (topic, key) = match (&args.chat, &args.password, args.public_key) {
        (Some(chat), ..) => (
            Topic::of_public_chat(chat),
            EnvelopeKey::Symmetric(SymKey::from_password(chat)),
        ),
        (None, Some(password), _) => (
            args.topic.unwrap_or_default(),
            EnvelopeKey::Symmetric(SymKey::from_password(password.expose())),
        ),
        (None, None, Some(key)) => (args.topic.unwrap_or_default(), EnvelopeKey::Public(key)),
        (None, None, None) => {
            return Err(CliError::new(Kind::Usage, "nobody could read this message")
                .hint("name a `--chat`, a `--topic` and `--password`, or a `--public-key`"));
        }
    };
    let data = seal(
        &payload,
        signer.as_ref().map(NodeKey::secret),
        key.reader(),
        &MessageRandom::draw(),
    )
    .map_err(|error| CliError::new(Kind::Usage, "cannot seal the message").because(&error))?;
    mail::runtime()?.block_on(post(args, topic, data, context))
}

enum EnvelopeKey {
    Symmetric(SymKey),
    Public(PublicKey),
}

impl EnvelopeKey {
    fn reader(&self) -> Reader<'_> {
        match self {
            Self::Symmetric(key) => Reader::Holders(key),
            Self::Public(key) => Reader::Owner(key),
        }
    }
}

fn payload(args: &PostArgs) -> Result<Vec<u8>, CliError> {
    let payload = match (&args.payload, &args.file) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(path)) => read_file(path)?,
        (None, None) => Vec::new(),
    };
    if payload.len() > MAX_PAYLOAD {
        return Err(CliError::new(
            Kind::Usage,
            format!("the message is longer than {MAX_PAYLOAD} bytes, which no node takes"),
        ));
    }
    Ok(payload)
}

fn read_file(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |error| {
        CliError::new(Kind::Error, format!("cannot read {}", path.display())).because(&error)
    };
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut payload = Vec::new();
    // One byte more than fits tells that it does not.
    let most = u64::try_from(MAX_PAYLOAD + 1).unwrap_or(u64::MAX);
    input.take(most).read_to_end(&mut payload).map_err(failed)?;
    Ok(payload)
}

/// One node, as far as it got.
struct Node {
    server: Enode,
    name: Option<String>,
    outcome: Option<Result<Taken, ClientError>>,
}

/// What a node did with an envelope that it was sent.
pub enum Taken {
    /// It stored it, unless there are faults.
    Acknowledged(Vec<EnvelopeFault>),
    /// It never says.
    Unsaid,
}

/// Hands `envelope` over, and waits for what the node has to say.
pub async fn hand_over(client: &mut MailClient, envelope: Envelope) -> Result<Taken, ClientError> {
    let acknowledges = client.server_acknowledges();
    let batch = client.post(vec![envelope]).await?;
    if acknowledges {
        return Ok(Taken::Acknowledged(client.acknowledged(batch).await?));
    }
    client.attend(tokio::time::sleep(SETTLE)).await?;
    Ok(Taken::Unsaid)
}

/// What a task at one node tells.
enum Report {
    Reached { name: String, pow: Pow },
    Ended(Result<Taken, ClientError>),
}

async fn post(
    args: &PostArgs,
    topic: Topic,
    data: Vec<u8>,
    context: &mut Context,
) -> Result<(), CliError> {
    let local = local_node(NodeKey::generate());
    let (reports, mut received) = mpsc::channel(args.to.len() * 2);
    let (ready, envelope) = watch::channel(None);
    let mut tasks = JoinSet::new();
    let mut nodes = Vec::new();
    for (at, server) in args.to.iter().enumerate() {
        tasks.spawn(at_node(
            at,
            *server,
            Arc::clone(&local),
            reports.clone(),
            envelope.clone(),
        ));
        nodes.push(Node {
            server: *server,
            name: None,
            outcome: None,
        });
    }
    drop(reports);

    // What every node that is there wants.
    let mut pow = args.pow.0;
    for _ in 0..nodes.len() {
        match received.recv().await {
            Some((at, Report::Reached { name, pow: wanted })) => {
                pow = pow.max(wanted);
                nodes[at].name = Some(name);
            }
            Some((at, Report::Ended(outcome))) => nodes[at].outcome = Some(outcome),
            None => break,
        }
    }
    if nodes.iter().all(|node| node.outcome.is_some()) {
        return verdict(&nodes);
    }
    let envelope = mine_message(args, topic, data, pow, context).await?;
    // Nodes that left meanwhile say so themselves.
    let _ = ready.send(Some(envelope.clone()));
    while let Some((at, report)) = received.recv().await {
        if let Report::Ended(outcome) = report {
            nodes[at].outcome = Some(outcome);
        }
    }
    while tasks.join_next().await.is_some() {}
    print(&envelope, &nodes, context)?;
    verdict(&nodes)
}

async fn at_node(
    at: usize,
    server: Enode,
    local: Arc<LocalNode>,
    reports: mpsc::Sender<(usize, Report)>,
    mut envelope: watch::Receiver<Option<Envelope>>,
) {
    let outcome = async {
        let mut client = MailClient::connect(&server, &local).await?;
        let reached = Report::Reached {
            name: client.server_name(),
            pow: client.server_pow(),
        };
        // The channel holds all that is ever sent.
        let _ = reports.send((at, reached)).await;
        let mined = client.attend(envelope.wait_for(Option::is_some)).await?;
        let mined = mined.ok().and_then(|envelope| envelope.clone());
        let taken = match mined {
            Some(envelope) => hand_over(&mut client, envelope).await?,
            // Nothing was mined, and that is told elsewhere.
            None => Taken::Unsaid,
        };
        client.close().await;
        Ok(taken)
    };
    let outcome = outcome.await;
    let _ = reports.send((at, Report::Ended(outcome))).await;
}

async fn mine_message(
    args: &PostArgs,
    topic: Topic,
    data: Vec<u8>,
    pow: Pow,
    context: &Context,
) -> Result<Envelope, CliError> {
    let ttl = Ttl(args.ttl);
    let template = Template {
        expiry: Expiry::of(SystemClock.now(), ttl),
        ttl,
        topic,
        data,
    };
    let time = args.pow_time.map_or(MINING_TIME, |Span(time)| time);
    let progress = context.progress();
    progress.phase(&format!("mining for a work of {pow}"), None, None);
    let expiry = UnixSeconds(template.expiry.0);
    let mined = tokio::task::spawn_blocking(move || {
        mine_for(&template, Target::Both(pow), time, &*progress)
    })
    .await
    .ok()
    .flatten();
    let easier = "a shorter `--ttl` makes mining easier, `--pow-time` gives it longer";
    let envelope = mined.ok_or_else(|| {
        CliError::new(
            Kind::Error,
            format!("no nonce shows a work of {pow} within {} s", time.as_secs()),
        )
        .hint(easier)
    })?;
    if SystemClock.now() > expiry {
        return Err(CliError::new(
            Kind::Error,
            "the message expired while its nonce was searched for",
        )
        .hint("name a longer `--ttl`, or less `--pow`"));
    }
    Ok(envelope)
}

fn print(envelope: &Envelope, nodes: &[Node], context: &mut Context) -> Result<(), CliError> {
    let mut servers = Vec::new();
    let mut taken = false;
    for node in nodes {
        let mut at = AtServer {
            server: node.server.to_string(),
            name: node.name.clone(),
            acknowledged: None,
            error: None,
        };
        match &node.outcome {
            Some(Ok(Taken::Unsaid)) => {
                taken = true;
                context.output.story(format_args!(
                    "{} never acknowledges: it did not refuse, that is all that is known",
                    short(&node.server)
                ));
            }
            Some(Ok(Taken::Acknowledged(faults))) => {
                at.acknowledged = Some(faults.is_empty());
                at.error = faults.first().map(|fault| fault.description.clone());
                taken |= faults.is_empty();
            }
            Some(Err(error)) => at.error = Some(error.to_string()),
            None => {}
        }
        servers.push(at);
    }
    if !taken {
        return Ok(());
    }
    let work = Work::of(envelope);
    let posted = Posted {
        row: Row::from(envelope),
        work: [work.trailing.get(), work.leading.get()],
        servers,
    };
    context.output.result(&posted, envelope.hash())
}

/// Whether every node took it.
fn verdict(nodes: &[Node]) -> Result<(), CliError> {
    let failures: Vec<CliError> = nodes.iter().filter_map(failure).collect();
    let all = failures.len() == nodes.len();
    match failures.into_iter().next() {
        None => Ok(()),
        Some(error) if all => Err(error),
        Some(error) => Err(error.of_kind(Kind::Partial)),
    }
}

fn failure(node: &Node) -> Option<CliError> {
    let what = "the message was not taken by";
    match node.outcome.as_ref()? {
        Ok(Taken::Unsaid) => None,
        Ok(Taken::Acknowledged(faults)) => {
            let fault = faults.first()?;
            let text = format!("{what} {}: {}", short(&node.server), fault.description);
            Some(CliError::new(Kind::Error, text))
        }
        Err(error @ (ClientError::Link(_) | ClientError::Send(_))) if node.name.is_some() => Some(
            server_failed(what, &node.server, error)
                .hint("geth ends the link with who sends it what it does not take"),
        ),
        Err(error) => Some(server_failed(what, &node.server, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_read_as_peers_and_web3_write_it() {
        let key = NodeKey::from_secret_bytes(&[0x33; 32]).unwrap();
        let id = key.id().to_string();
        for text in [
            id.clone(),
            format!("0x{id}"),
            format!("04{id}"),
            format!("0x04{id}"),
        ] {
            assert_eq!(parse_public_key(&text), Ok(*key.public()), "{text}");
        }
        assert!(parse_public_key("04").is_err());
    }
}
