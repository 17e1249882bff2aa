//! `gwa serve`: the daemon.

mod follow;
mod foot;
mod http;
mod line;
mod p2p;
mod qr;
mod service;
mod settings;
mod welcome;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::ApiError;
use crate::archive::disk::{Archive, DiskError};
use crate::cli::context::{Context, archive_failed};
use crate::cli::error::{CliError, Kind};
use crate::cli::publish::takers;
use crate::cli::store;
use crate::config::{MinPow, Password, PublishAs, Settings, Span};
use crate::depot::Carrier;
use crate::nat::NatMethod;
use crate::node::follow::Following;
use crate::node::p2p::P2pError;
use crate::node::publish::Publishing;
use crate::node::writer::Turn;
use crate::node::{Daemon, DaemonError, key_file};
use crate::publish::ipns::NameFolder;
use crate::rlpx::Enode;
use crate::sources::names::TakerAddress;
use crate::time::SystemClock;

use qr::Qr;
use service::Service;
use welcome::{Reachable, Started, StatusAddress};

pub use settings::{Chosen, settings};

/// Arguments of `gwa serve`. Each may stand in `gwa.toml` in the data folder too.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where to accept peers; port 0 picks one [default: 127.0.0.1:30303].
    #[arg(long, env = "GWA_LISTEN", value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Password of mail requests [default: the one of public Status servers].
    #[arg(
        long,
        env = "GWA_PASSWORD",
        value_name = "TEXT",
        hide_env_values = true
    )]
    password: Option<Password>,
    /// File of the node key, made where absent [default: DIR/node.key].
    #[arg(long, env = "GWA_NODE_KEY", value_name = "FILE")]
    node_key: Option<PathBuf>,
    /// A peer to stay connected to; may be given more than once.
    #[arg(
        long = "peer",
        env = "GWA_PEERS",
        value_name = "ENODE",
        value_delimiter = ','
    )]
    peers: Vec<Enode>,
    /// A node by which others are found; may be given more than once.
    #[arg(
        long = "bootnode",
        env = "GWA_BOOTNODES",
        value_name = "ENODE",
        value_delimiter = ','
    )]
    bootnodes: Vec<Enode>,
    /// Whether to find others and be found, by UDP at the port of `--listen`
    /// [default: true where a bootnode is given or others can reach `--listen`].
    #[arg(long, env = "GWA_DISCOVERY", value_name = "true|false")]
    discovery: Option<bool>,
    /// Another gwa to stay connected to and to fetch from what is missing here,
    /// as it is: trust it with the archive. May be given more than once.
    #[arg(
        long = "archiver",
        env = "GWA_ARCHIVERS",
        value_name = "ENODE",
        value_delimiter = ','
    )]
    archivers: Vec<Enode>,
    /// How often to compare with other archivers [default: 1m].
    #[arg(long, env = "GWA_RECONCILE_EVERY", value_name = "SPAN")]
    reconcile_every: Option<Span>,
    /// How a router is made to let others in: none, any, extip:IP, upnp, pmp
    /// [default: none].
    #[arg(long, env = "GWA_NAT", value_name = "METHOD")]
    nat: Option<NatMethod>,
    /// Least proof of work of an envelope [default: 0.001].
    #[arg(
        long,
        env = "GWA_MIN_POW",
        value_name = "POW",
        allow_negative_numbers = true
    )]
    min_pow: Option<MinPow>,
    /// How often to seal [default: 5m].
    #[arg(long, env = "GWA_SEAL_EVERY", value_name = "SPAN")]
    seal_every: Option<Span>,
    /// How long days are kept on this disk, as in 30d [default: for good].
    #[arg(long, env = "GWA_RETENTION", value_name = "SPAN")]
    retention: Option<Span>,
    /// Announce heads on the network, for `gwa discover` to find.
    #[arg(long, env = "GWA_ANNOUNCE", num_args = 0..=1, default_missing_value = "true", value_name = "true|false")]
    announce: Option<bool>,
    /// Lead a name of IPNS to each new head: that of the key in DIR/ipns [default: archive].
    #[arg(long, env = "GWA_PUBLISH", num_args = 0..=1, default_missing_value = "true", value_name = "KEY")]
    publish: Option<PublishAs>,
    /// A node of IPFS that is handed the records: kubo:URL of its RPC; may be given more
    /// than once.
    #[arg(
        long = "publish-to",
        env = "GWA_PUBLISH_TO",
        value_name = "NODE",
        value_delimiter = ',',
        hide_env_values = true
    )]
    publish_to: Vec<TakerAddress>,
    /// An address where others have the blocks, told with the heads; up to four.
    #[arg(
        long = "public-url",
        env = "GWA_PUBLIC_URLS",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    public_urls: Vec<String>,
    #[command(flatten)]
    follow: follow::FollowArgs,
    #[command(flatten)]
    store: store::StoreFlags,
    /// Take the turn to seal from a machine that is known to be dead.
    #[arg(long)]
    take_over: bool,
    /// Only answer, out of the store that others write to, and take in nothing; with
    /// the key of the archive where the store keeps several.
    #[arg(long, num_args = 0..=1, default_missing_value = "", value_name = "KEY", conflicts_with = "take_over")]
    replica: Option<store::ReplicaOf>,
    #[command(flatten)]
    http: http::HttpArgs,
    #[command(flatten)]
    p2p: p2p::P2pArgs,
    /// A JSON configuration of status-go, for what flags, environment and gwa.toml do not
    /// say; its NodeKey becomes that of DIR/node.key where there is none.
    #[arg(long, env = "GWA_STATUS_CONFIG", value_name = "FILE")]
    status_config: Option<PathBuf>,
    /// Whether the address for Status is shown as a QR code too; auto: on a terminal that
    /// is wide enough.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    qr: ShowQr,
}

/// When a QR code is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ShowQr {
    /// On a terminal that is wide enough.
    Auto,
    /// Also where it is too wide, or output is kept.
    Always,
    /// Never.
    Never,
}

/// How long work that cannot be broken off may take at the end.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// Serves until a signal; a second one does not wait for the end.
pub fn run(args: &ServeArgs, context: &mut Context) -> Result<(), CliError> {
    let Chosen { settings, node_key } = settings(args, context)?;
    if let Some(conflict) = settings.conflicts().first() {
        let told = CliError::new(Kind::Usage, "the settings are wrong").because(conflict);
        return Err(told.hint(conflict.hint));
    }
    let (archive, leader) = match args.replica {
        None if !store::is_replica(&context.data)? => (open_or_create(context)?, None),
        of => {
            let (archive, leader) = store::replica(&args.store, &context.data, of)?;
            (archive, Some(leader))
        }
    };
    let no_key = |error: &dyn std::error::Error| {
        CliError::new(Kind::WrongKey, "there is no node key").because(error)
    };
    if let Some(brought) = node_key {
        key_file::adopt(&settings.node_key, &brought).map_err(|error| {
            no_key(&error).hint("take the file away to be known by the other key, or NodeKey")
        })?;
    }
    let key = key_file::load_or_create(&settings.node_key).map_err(|error| no_key(&error))?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| CliError::new(Kind::Error, "cannot start").because(&error))?;
    let mut following = follow::following(&settings, &archive, context)?;
    let is_replica = leader.is_some();
    following.origin = leader.or(following.origin);
    let publishing = publishing(&settings, &archive)?;
    let archive = Arc::new(archive);
    let carrier = match is_replica {
        true => None,
        false => store::carrier(&args.store, Arc::clone(&archive), &context.data)?,
    };
    let turn = match &carrier {
        Some(carrier) => store::turn(carrier, &archive, args.take_over)?,
        None => None,
    };
    store::require_claims(&archive, turn.as_ref())?;
    let beside = Beside {
        following,
        publishing,
        carrier,
        turn,
        qr: args.qr,
    };
    let served = runtime.block_on(serve(archive, key, &settings, beside, context));
    // A call to a store that does not answer is left to itself.
    runtime.shutdown_timeout(LAST_CALLS);
    served
}

/// What the daemon does beside serving.
struct Beside {
    following: Following,
    publishing: Option<Publishing>,
    carrier: Option<Arc<Carrier>>,
    turn: Option<Turn>,
    qr: ShowQr,
}

/// As whom, and to whom, heads are told by IPNS. The key is made here, so that a
/// daemon that cannot have one does not start.
fn publishing(settings: &Settings, archive: &Archive) -> Result<Option<Publishing>, CliError> {
    let Some(key) = settings.publish.clone() else {
        return Ok(None);
    };
    let folder = NameFolder::new(archive.dir());
    let secret = folder.key_or_new(&key).map_err(|error| {
        CliError::new(Kind::WrongKey, "there is no key to publish as").because(&error)
    })?;
    Ok(Some(Publishing {
        name: secret.name(),
        key,
        hints: settings.public_urls.clone(),
        to: takers(&settings.publish_to)?,
    }))
}

/// A first run needs no other command before it.
fn open_or_create(context: &Context) -> Result<Archive, CliError> {
    let opened = match context.sources.archive(&context.data) {
        Err(DiskError::NoArchive { .. }) => {
            let created = Archive::init(&context.data, "");
            if created.is_ok() {
                let dir = context.data.display();
                context.output.story(format!("created an archive in {dir}"));
            }
            created
        }
        other => other,
    };
    opened.map_err(|error| archive_failed("cannot open the archive", &error))
}

async fn serve(
    archive: Arc<Archive>,
    key: crate::rlpx::NodeKey,
    settings: &Settings,
    Beside {
        following,
        publishing,
        carrier,
        turn,
        qr,
    }: Beside,
    context: &mut Context,
) -> Result<(), CliError> {
    let failed =
        |error: &dyn std::error::Error| CliError::new(Kind::Error, "cannot serve").because(error);
    let signals = Signals::new().map_err(|error| failed(&error))?;
    let head = archive.head_cid().map(|cid| cid.to_string());
    let dir = archive.dir().to_owned();
    let store = match &carrier {
        Some(carrier) => Some(carrier.status().store),
        None if archive.is_replica() => archive.blocks().evicted_to(),
        None => None,
    };
    let takes_in = !archive.is_mirror();
    let clock = Arc::new(SystemClock);
    let mut daemon = Daemon::start_with_store(archive, key, settings, clock, carrier)
        .await
        .map_err(|error| match &error {
            DaemonError::Start(_) => {
                failed(&error).hint("`--listen 127.0.0.1:0` takes any free port")
            }
            DaemonError::Http(ApiError::Listen { .. }) => {
                failed(&error).hint("`--http 127.0.0.1:0` takes any free port, `--http off` none")
            }
            DaemonError::Http(ApiError::OpenToOthers { .. }) => failed(&error)
                .of_kind(Kind::Usage)
                .hint("leave out `--rpc-open`, and give clients DIR/rpc.token"),
            DaemonError::Http(ApiError::Denylist(_)) => {
                failed(&error).hint("mend the file, or leave out `--denylist`")
            }
            DaemonError::P2p(P2pError::Node(_)) => failed(&error)
                .hint("`--p2p /ip4/127.0.0.1/tcp/0` takes any free port, `--p2p off` none"),
            DaemonError::P2p(P2pError::Denylist(_)) => {
                failed(&error).hint("mend the file, or leave out `--denylist`")
            }
            DaemonError::P2p(P2pError::Identity(_))
            | DaemonError::Http(ApiError::Token(_))
            | DaemonError::RunFile { .. } => failed(&error),
        })?;

    daemon.set_following(following);
    let name = publishing.as_ref().map(|publishing| publishing.name);
    let name = name.map(|name| format!("ipns://{name}"));
    if let Some(turn) = turn {
        daemon.set_turn(turn);
    }
    if let Some(publishing) = publishing {
        daemon.set_publishing(publishing);
    }
    let started = Started {
        enode: daemon.enode(),
        listen: daemon.listen(),
        http: daemon.http_url(),
        p2p: daemon.p2p_addresses(),
        archive: dir,
        store,
        head,
        name,
    };
    let shown = show(&started, settings, qr, context)?;

    let observer = daemon.observer();
    let service = Service::of_this_process();
    if let Some(service) = &service {
        service.ready(&observer.look());
    }
    let telling = service.map(|service| tokio::spawn(service.keep_told(observer.clone())));
    let drawing = tokio::spawn(match shown {
        Shown::OnTerminal => foot::keep_drawn(observer, settings.password.clone()).boxed(),
        Shown::Kept => foot::keep_logged(observer).boxed(),
    });
    let ending = async {
        signals.ended().await;
        drawing.abort();
        // Its line is gone before anything else is said.
        let _ = drawing.await;
        if let (Some(service), Some(telling)) = (&service, &telling) {
            telling.abort();
            service.stopping();
        }
    };
    daemon.run_until(ending).await;
    context.output.story(match takes_in {
        true => "stopped; what waits to be sealed is kept",
        false => "stopped",
    });
    Ok(())
}

/// How a daemon that has started was told of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// To somebody who looks.
    OnTerminal,
    /// Where output is kept, or nowhere.
    Kept,
}

/// Tells of a daemon that has started: JSON, lines for a log, or what fits a terminal.
fn show(
    started: &Started,
    settings: &Settings,
    qr: ShowQr,
    context: &mut Context,
) -> Result<Shown, CliError> {
    let output = &mut context.output;
    let is_seen = io::stdout().is_terminal() && io::stderr().is_terminal();
    let on_terminal = is_seen && !output.is_json() && !output.is_quiet();
    let mut enode = started.enode;
    let own = welcome::own_address(started.listen);
    if enode.ip.is_unspecified() {
        // What nobody can dial is no address to paste.
        enode.ip = own.unwrap_or(enode.ip);
    }
    let status = StatusAddress {
        enode,
        password: &settings.password,
    };
    let reach = Reachable::of(started.listen, settings.nat, own);
    let lines = match on_terminal {
        false => welcome::plain(started, &status, &reach),
        true => welcome::on_terminal(started, &status, &reach, settings.seal_every),
    };
    let columns = terminal_size::terminal_size().map_or(0, |(width, _)| usize::from(width.0));
    let is_wanted = |code: &Qr| match qr {
        // A phone cannot dial an address that only this machine has.
        ShowQr::Auto => on_terminal && !enode.ip.is_loopback() && code.columns() <= columns,
        ShowQr::Always => !output.is_json() && (on_terminal || status.is_public()),
        ShowQr::Never => false,
    };
    let code = Qr::of(&status.to_string()).filter(is_wanted);
    let code = code.map(|code| code.lines(is_seen)).unwrap_or_default();
    output.result(started, format_args!("{code}{lines}"))?;
    output.flush()?;
    Ok(match on_terminal {
        true => Shown::OnTerminal,
        false => Shown::Kept,
    })
}

/// The signals that ask for an end.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on signals are waited for, and end nothing by themselves.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Resolves at the first signal. A second one ends the process at once.
    pub async fn ended(mut self) {
        self.next().await;
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(Kind::Interrupted.code().into());
        });
    }

    /// Resolves at the next signal.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
