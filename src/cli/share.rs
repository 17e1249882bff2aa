//! `gwa share`: one line for others to carry the history on with.

use std::fmt;

use clap::Args;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::node::run_file::RunInfo;
use crate::publish::{Hints, Share};
use crate::rlpx::Enode;
use crate::sources::Reference;

const EXAMPLES: &str = "\
Examples:
  gwa share --from https://archive.example
      a line that `gwa mirror`, `gwa fork` and `gwa query` take
  gwa share --json
      the same, and the TXT record of DNSLink

While the daemon runs its addresses are told too, its public URLs before all, unless
they are of this machine alone; `--from` and `--enode` name those that others reach.

Exit codes: 0 ok, 1 error, 2 usage, 10 no archive.";

/// Arguments of `gwa share`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ShareArgs {
    /// The head to share [default: the own head].
    #[arg(value_name = "REF")]
    reference: Option<Reference>,
    /// An address where others have the blocks; may be given more than once.
    #[arg(long, value_name = "URL")]
    from: Vec<String>,
    /// The archive's node, as others reach it.
    #[arg(long, value_name = "ENODE")]
    enode: Option<Enode>,
}

#[derive(Serialize)]
struct Shared {
    share: String,
    head: String,
    key: String,
    /// The TXT record of `_dnslink.NAME`.
    dnslink: String,
}

/// Prints the line.
pub fn run(args: &ShareArgs, context: &mut Context) -> Result<(), CliError> {
    let opened = context.head(&args.reference.clone().unwrap_or_default())?;
    let running = match args.reference {
        None => running(context),
        Some(_) => Hints::default(),
    };
    let http = if args.from.is_empty() {
        running.http().to_vec()
    } else {
        args.from.clone()
    };
    let hints = Hints::new(http, args.enode.or(running.enode().copied()))
        .map_err(|error| CliError::new(Kind::Usage, "cannot share").because(&error))?;
    let head = &opened.head;
    let share = Share::of(head, hints);
    let shared = Shared {
        share: share.to_string(),
        head: head.cid().to_string(),
        key: head.key().to_string(),
        dnslink: format!("dnslink=/ipfs/{}", head.cid()),
    };
    context.output.result(&shared, &shared)
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.share)
    }
}

/// What the running daemon is reached by, as far as that is more than this
/// machine.
fn running(context: &Context) -> Hints {
    let Ok(Some(run)) = RunInfo::of_running(&context.data) else {
        return Hints::default();
    };
    let public = Hints::new(run.public_urls, None).unwrap_or_default();
    Hints::of_daemon(&public, run.http.as_deref(), Some(run.enode))
}
