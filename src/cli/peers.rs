//! `gwa peers`: who is connected to the running daemon, and who was dropped.

use std::fmt;

use clap::Args;

use crate::api::peers::Peers;
use crate::cli::context::Context;
use crate::cli::daemon;
use crate::cli::error::CliError;
use crate::limits::{DropCount, Dropped};
use crate::whisper::node::PeerActivity;

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
    let answer: Peers = daemon::ask(context, "/api/v1/peers")?;
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
