//! `gwa peers`: who is connected to the running daemon, and who was dropped.

use std::fmt;
use std::time::Duration;

use clap::Args;

use crate::api::peers::Peers;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::limits::{DropCount, Dropped};
use crate::node::run_file::{self, RunInfo};
use crate::whisper::node::PeerActivity;

/// How long the daemon may take: it answers from memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of an answer: some hundred peers and drops are a tenth of it.
const MAX_ANSWER: usize = 4 << 20;

/// How much of an id is shown to people.
const SHORT_ID: usize = 16;

const EXAMPLES: &str = "\
Examples:
  gwa peers
      who is connected, since when, and what it sent and asked for
  gwa peers --why
      also who was dropped or refused, newest first, and how often for which reason

The daemon over the data folder is asked by HTTP; `gwa serve` must run.";

/// Arguments of `gwa peers`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PeersArgs {
    /// Also print who was dropped or refused, and why.
    #[arg(long)]
    why: bool,
}

/// Prints the peers, then the drops and their reasons.
pub fn run(args: &PeersArgs, context: &mut Context) -> Result<(), CliError> {
    let answer = asked(context)?;
    let output = &mut context.output;
    for peer in &answer.peers {
        output.result(peer, PeerLine(peer))?;
    }
    if answer.peers.is_empty() {
        output.story("nobody is connected");
    }
    if args.why {
        for drop in &answer.drops {
            output.result(drop, DropLine(drop))?;
        }
        for count in &answer.reasons {
            output.result(count, CountLine(count))?;
        }
    }
    Ok(())
}

/// What the daemon says.
fn asked(context: &Context) -> Result<Peers, CliError> {
    let path = context.data.join(run_file::NAME);
    let no_daemon = || {
        let dir = context.data.display();
        CliError::new(Kind::Error, format!("no daemon runs over {dir}"))
    };
    let text = std::fs::read(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => no_daemon().hint("`gwa serve` starts one"),
        _ => no_daemon().because(&error),
    })?;
    let run: RunInfo = serde_json::from_slice(&text)
        .map_err(|error| no_daemon().because(&error).hint("`gwa serve` starts one"))?;
    let http = run.http.ok_or_else(|| {
        CliError::new(Kind::Error, "the daemon has no HTTP interface to ask")
            .hint("start it without `--http off`")
    })?;
    let failed = |error: &dyn std::error::Error| {
        CliError::new(Kind::Error, format!("the daemon at {http} does not answer"))
            .because(error)
            .hint(format!("does process {} still run?", run.pid))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    runtime
        .block_on(fetch(&format!("{http}/api/v1/peers")))
        .map_err(|error| failed(&error))
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("more than {MAX_ANSWER} bytes")]
    TooLong,
    #[error("not the answer of this program: {0}")]
    Json(#[from] serde_json::Error),
}

async fn fetch(url: &str) -> Result<Peers, FetchError> {
    // The daemon is on this machine or was named by its owner: no proxy knows it.
    let client = crate::tls::http_client()
        .no_proxy()
        .timeout(PATIENCE)
        .build()?;
    let mut response = client.get(url).send().await?.error_for_status()?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(FetchError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(serde_json::from_slice(&body)?)
}

fn short(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

struct PeerLine<'a>(&'a PeerActivity);

impl fmt::Display for PeerLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.0;
        let traffic = &peer.traffic;
        let direction = match (peer.is_static, peer.inbound) {
            (true, _) => "static",
            (false, true) => "in",
            (false, false) => "out",
        };
        write!(
            f,
            "{}  {:<21}  {direction:<6}  since {}  in {} B {} packets {} envelopes  out {} B  requests {} limited {} answered {} B  {}",
            short(&peer.id),
            peer.address,
            peer.since,
            traffic.bytes_in,
            traffic.packets_in,
            traffic.envelopes_in,
            traffic.bytes_out,
            traffic.requests,
            traffic.requests_limited,
            traffic.answered_bytes,
            peer.client,
        )
    }
}

struct DropLine<'a>(&'a Dropped);

impl fmt::Display for DropLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drop = self.0;
        let peer = drop.peer.as_deref().map_or("-", short);
        write!(
            f,
            "{}  {:<19}  x{:<5}  {:<15}  {peer:<16}  {}",
            drop.at, drop.reason, drop.times, drop.ip, drop.detail,
        )?;
        if !drop.client.is_empty() {
            write!(f, "  ({})", drop.client)?;
        }
        Ok(())
    }
}

struct CountLine<'a>(&'a DropCount);

impl fmt::Display for CountLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<19}  {:>10}", self.0.reason, self.0.count)
    }
}
