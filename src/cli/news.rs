//! `gwa news`: what another gwa has taken in since one last asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use crate::archive::disk::{Position, Start};
use crate::cli::context::Context;
use crate::cli::envelopes::Row;
use crate::cli::error::{CliError, Kind};
use crate::cli::mail::{runtime, short};
use crate::durable;
use crate::reconcile::client::local_node;
use crate::reconcile::message::{MAX_NEWS, Refusal};
use crate::reconcile::{ArchiveClient, ArchiveClientError};
use crate::rlpx::{Enode, NodeKey};
use crate::time::UnixSeconds;
use crate::whisper::{Bloom, Topic};

const EXAMPLES: &str = "\
Examples:
  gwa news enode://.. --keep position
      prints nothing the first time, then what has come since the last time
  gwa news enode://.. --from 2026-11-01 --chat status
      what was sent since then, and the position to go on from
  gwa news enode://.. --since 01adad..
      what has come since that position

Envelopes come in the order the archive took them in, late ones among them: what
`gwa request` asks for by time misses those. The last line says the position to go on
from; an archive understands its own alone. An envelope may come twice after the
archive was opened again, never not at all.

Exit codes: 0 ok, 1 error, 2 usage, 130 interrupted.";

/// Arguments of `gwa news`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct NewsArgs {
    /// The archive: a node that is a gwa.
    #[arg(value_name = "ENODE")]
    server: Enode,
    /// Go on from this position.
    #[arg(long, value_name = "POSITION", conflicts_with_all = ["from", "keep"])]
    since: Option<Position>,
    /// Begin with what was sent at this time or later [default: begin now].
    #[arg(long, value_name = "T")]
    from: Option<UnixSeconds>,
    /// Keep the position in this file, and go on from it if it is there.
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// A topic, 8 hex digits; more than one is meant as any of them.
    #[arg(long = "topic", value_name = "T", value_delimiter = ',')]
    topics: Vec<Topic>,
    /// A public chat, whose topic is meant.
    #[arg(long = "chat", value_name = "NAME")]
    chats: Vec<String>,
}

/// The last line.
#[derive(Serialize)]
struct GoOn {
    position: String,
}

/// Prints what is new.
pub fn run(args: &NewsArgs, context: &mut Context) -> Result<(), CliError> {
    let start = start(args)?;
    runtime()?.block_on(news(args, start, context))
}

fn start(args: &NewsArgs) -> Result<Start, CliError> {
    let kept = args.keep.as_deref().map(kept).transpose()?.flatten();
    let position = args.since.or(kept).map(Start::Position);
    Ok(position
        .or(args.from.map(Start::Time))
        .unwrap_or(Start::Now))
}

/// The position in a file, if there is one.
fn kept(path: &Path) -> Result<Option<Position>, CliError> {
    let failed = |error: &dyn std::error::Error| {
        let what = format!("{} holds no position", path.display());
        CliError::new(Kind::Error, what).because(error)
    };
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|e| failed(&e)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

async fn news(args: &NewsArgs, mut start: Start, context: &mut Context) -> Result<(), CliError> {
    let failed = |error: &ArchiveClientError| {
        let what = format!("no news from {}", short(&args.server));
        let told = CliError::new(Kind::Error, what).because(error);
        match error {
            ArchiveClientError::NoArchiver => {
                told.hint("it is no gwa: `gwa request` asks any mailserver, by time")
            }
            ArchiveClientError::Refused(
                Refusal::TooOld
                | Refusal::Ahead
                | Refusal::AnotherLineage
                | Refusal::AnotherArchive,
            ) => told.hint("begin anew with `--from`, at a time well before the last answer"),
            _ => told,
        }
    };
    let chats = args.chats.iter().map(|name| Topic::of_public_chat(name));
    let topics: Vec<Topic> = args.topics.iter().copied().chain(chats).collect();
    let bloom = (!topics.is_empty()).then(|| Bloom::of_topics(topics.iter().copied()));
    let local = Arc::new(local_node(NodeKey::generate()));
    let mut client = ArchiveClient::connect(&args.server, &local, None)
        .await
        .map_err(|error| failed(&error))?;
    loop {
        let answer = client.news(start, bloom, MAX_NEWS).await;
        let answer = answer.map_err(|error| failed(&error))?;
        for envelope in &answer.envelopes {
            // A bloom filter lets some others through.
            if topics.is_empty() || topics.contains(&envelope.topic()) {
                let row = Row::from(envelope);
                context.output.result(&row, &row)?;
            }
        }
        if start == Start::Position(answer.next) && answer.more {
            return Err(CliError::new(
                Kind::Error,
                format!("{} does not lead on", short(&args.server)),
            ));
        }
        start = Start::Position(answer.next);
        if let Some(path) = &args.keep {
            // What is kept was printed.
            context.output.flush()?;
            keep(path, &answer.next)?;
        }
        if !answer.more {
            let position = answer.next.to_string();
            let line = format!("position {position}");
            context.output.result(&GoOn { position }, line)?;
            break;
        }
    }
    client.close().await;
    Ok(())
}

fn keep(path: &Path, position: &Position) -> Result<(), CliError> {
    durable::replace_file(path, format!("{position}\n").as_bytes()).map_err(|error| {
        let what = format!("cannot write {}", path.display());
        CliError::new(Kind::Error, what).because(&error)
    })
}
