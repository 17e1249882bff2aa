//! The `gwa` command: what it accepts, and which file does it.
//!
//! One file for a command; here only the parser and the dispatch.

mod canary;
mod commands;
mod completions;
mod config;
mod context;
mod daemon;
mod demo;
mod diff;
mod discover;
pub mod error;
mod interrupt;
pub mod output;
pub mod progress;

mod elsewhere;
mod envelopes;
mod export;
mod fetch;
mod fork;
mod fsck;
mod gaps;
mod head;
mod heads;
mod health;
mod human;
mod import;
mod init;
mod log;
mod mail;
mod man;
mod merge;
mod mine;
mod mirror;
mod news;
mod opening;
mod peers;
mod post;
mod prune;
mod publish;
mod query;
mod read;
mod repair;
mod request;
mod screen;
mod seal;
mod serve;
mod share;
mod show;
mod site;
mod sources;
mod stats;
mod store;
mod story;
mod support_bundle;
mod sync;
mod verify;
mod wanted;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use self::context::Context;
use self::error::CliError;
use self::sources::SourceArgs;
use self::story::LogFormat;
use crate::config::without_credentials;

/// A Whisper v6 mailserver whose history is public, verifiable and ownerless.
#[derive(Debug, Parser)]
#[command(name = "gwa", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
struct Global {
    /// The data folder [default: ~/.local/share/gwa].
    #[arg(long, global = true, env = "GWA_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print results as JSON, one object a line.
    #[arg(long, global = true, env = "GWA_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    json: bool,
    /// Tell more on stderr; twice for still more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Tell nothing on stderr but failures.
    #[arg(long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// How lines of the log are written [default: auto, as fits where stderr goes].
    #[arg(
        long,
        global = true,
        env = "GWA_LOG_FORMAT",
        value_enum,
        value_name = "FORMAT",
        default_value = "auto",
        hide_default_value = true
    )]
    log_format: LogFormat,
    #[command(flatten, next_help_heading = "Sources")]
    sources: SourceArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the mailserver: accept peers, archive what they send, seal, answer requests.
    Serve(Box<serve::ServeArgs>),
    /// Create an archive in the data folder.
    Init(init::InitArgs),
    /// Take in envelopes from files.
    Import(import::ImportArgs),
    /// Write what a head seals: a CAR, an RLP stream or JSON lines.
    Export(export::ExportArgs),
    /// Seal what was taken in since the last head.
    Seal(seal::SealArgs),
    /// Print the head CID.
    Head,
    /// Print the lineage of a head, newest first.
    Log(log::LogArgs),
    /// Print totals, by day and by topic.
    Stats(stats::StatsArgs),
    /// Print any block, decoded.
    Show(show::ShowArgs),
    /// Ask another gwa what has come since the last time.
    News(news::NewsArgs),
    /// Fetch from another mailserver what the archive lacks.
    Sync(sync::SyncArgs),
    /// Print envelopes by topic and time, verified, newest last.
    Query(query::QueryArgs),
    /// Print what messages say, from any head.
    Read(read::ReadArgs),
    /// Fetch whole or partial history into one CAR file.
    Fetch(fetch::FetchArgs),
    /// Ask mailservers for history, ours, status-go's or geth's; compare several.
    Request(request::RequestArgs),
    /// Post a message: seal it, mine for it, hand it to nodes.
    Post(post::PostArgs),
    /// Post a message to a mailserver and read it back, from it and from the head.
    Canary(canary::CanaryArgs),
    /// Print what the archive misses, by its own habit or against mailservers.
    Gaps(gaps::GapsArgs),
    /// Begin an archive of one's own on top of another's history, in a moment.
    Fork(fork::ForkArgs),
    /// Copy another's archive, and follow its heads.
    Mirror(mirror::MirrorArgs),
    /// Print one line for others to mirror, fork and query the archive with.
    Share(share::ShareArgs),
    /// Lead a name of IPNS to the head, and print the DNS record for a host's name.
    Publish(publish::PublishArgs),
    /// Print the archives that are announced on the network.
    Discover(discover::DiscoverArgs),
    /// Print who is connected to the running daemon, and who was dropped and why.
    Peers(peers::PeersArgs),
    /// Print the settings of the daemon, or check a file of settings.
    Config(config::ConfigArgs),
    /// Ask the running daemon whether all is well; exit 1 where it is not.
    Health(health::HealthArgs),
    /// Write into one file what somebody who helps would ask for, without secrets.
    SupportBundle(support_bundle::SupportBundleArgs),
    /// Print what of two heads is in one and not in the other.
    Diff(diff::DiffArgs),
    /// Unite other archives with this one.
    Merge(merge::MergeArgs),
    /// Recompute everything a head names.
    Verify(verify::VerifyArgs),
    /// Make a folder of what is public, for any web server to show.
    Site(site::SiteArgs),
    /// Check the files of the archive.
    Fsck,
    /// Drop days from this disk; the tree still says what there was.
    Prune(prune::PruneArgs),
    /// Fetch again what is damaged or gone.
    Repair(repair::RepairArgs),
    /// Show how the archive's store stands, or carry there what it lacks.
    Store(store::StoreArgs),
    /// Show it all on this machine: peers, mailserver, seal, query, verify.
    Demo(demo::DemoArgs),
    /// Print a script with which a shell completes commands and options.
    Completions(completions::CompletionsArgs),
    /// Write a manual page for each command into a folder.
    Man(man::ManArgs),
    /// Print docs/commands.md: what every command takes.
    #[command(hide = true)]
    Commands,
}

impl Command {
    /// Whether it winds up on an interrupt by itself.
    fn ends_itself_when_interrupted(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Demo(_) | Self::Request(_))
    }
}

/// The parser, for what is made of it: completions, manuals, checks of the documentation.
pub fn parser() -> clap::Command {
    // `gwa help` needs no page, and each command has its `--help`.
    let mut parser = Cli::command().disable_help_subcommand(true);
    parser.build();
    parser
}

/// The parser of this process. A variable that is set to nothing says nothing: files of
/// services hand on what nobody filled in.
fn parser_here() -> clap::Command {
    fn without_empty(command: clap::Command) -> clap::Command {
        let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|set| set.is_empty());
        let heard = |argument: clap::Arg| match argument.get_env().is_some_and(is_empty) {
            true => argument.env(clap::builder::Resettable::Reset),
            false => argument,
        };
        command.mut_args(heard).mut_subcommands(without_empty)
    }
    without_empty(Cli::command())
}

fn read() -> Result<Cli, clap::Error> {
    let mut parser = parser_here();
    let mut matches = parser.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut parser))
}

/// The same, with URLs as they may be logged: a value that is refused may be that of a
/// variable that nobody sees.
fn without_passwords(mut error: clap::Error) -> clap::Error {
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidArg] {
        let Some(ContextValue::String(text)) = error.get(kind) else {
            continue;
        };
        if text.contains("://") {
            let told = ContextValue::String(without_credentials(text));
            error.insert(kind, told);
        }
    }
    error
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match read() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; a reader who left is no failure.
            let error = without_passwords(error);
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    story::tell(cli.global.log_format, cli.global.verbose, cli.global.quiet);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

/// Whether the parser takes `args`, which are what stands behind `gwa`. Nothing is run.
///
/// # Errors
///
/// What the command line would be told.
pub fn accepts(args: &[String]) -> Result<(), clap::Error> {
    let line = std::iter::once("gwa").chain(args.iter().map(String::as_str));
    match Cli::try_parse_from(line) {
        // Help and version are asked for as errors.
        Err(error) if error.use_stderr() => Err(error),
        _ => Ok(()),
    }
}

fn run(cli: Cli) -> Result<(), CliError> {
    let Global {
        data,
        json,
        quiet,
        sources,
        ..
    } = cli.global;
    let mut context = Context::new(data, json, quiet)?;
    context.sources.add(&sources);
    let context = &mut context;
    if !cli.command.ends_itself_when_interrupted() {
        interrupt::exit_on_interrupt();
    }
    let outcome = match &cli.command {
        Command::Serve(args) => serve::run(args, context),
        Command::Init(args) => init::run(args, context),
        Command::Import(args) => import::run(args, context),
        Command::Export(args) => export::run(args, context),
        Command::Seal(args) => seal::run(args, context),
        Command::Head => head::run(context),
        Command::Log(args) => log::run(args, context),
        Command::Stats(args) => stats::run(args, context),
        Command::Show(args) => show::run(args, context),
        Command::News(args) => news::run(args, context),
        Command::Sync(args) => sync::run(args, context),
        Command::Query(args) => query::run(args, context),
        Command::Read(args) => read::run(args, context),
        Command::Fetch(args) => fetch::run(args, context),
        Command::Request(args) => request::run(args, context),
        Command::Post(args) => post::run(args, context),
        Command::Canary(args) => canary::run(args, context),
        Command::Gaps(args) => gaps::run(args, context),
        Command::Fork(args) => fork::run(args, context),
        Command::Mirror(args) => mirror::run(args, context),
        Command::Share(args) => share::run(args, context),
        Command::Publish(args) => publish::run(args, context),
        Command::Discover(args) => discover::run(args, context),
        Command::Peers(args) => peers::run(args, context),
        Command::Config(args) => config::run(args, context),
        Command::Health(args) => health::run(args, context),
        Command::SupportBundle(args) => support_bundle::run(args, context),
        Command::Diff(args) => diff::run(args, context),
        Command::Merge(args) => merge::run(args, context),
        Command::Verify(args) => verify::run(args, context),
        Command::Site(args) => site::run(args, context),
        Command::Fsck => fsck::run(context),
        Command::Prune(args) => prune::run(args, context),
        Command::Repair(args) => repair::run(args, context),
        Command::Store(args) => store::run(args, context),
        Command::Demo(args) => demo::run(args, context),
        Command::Completions(args) => completions::run(args, context),
        Command::Man(args) => man::run(args, context),
        Command::Commands => commands::run(context),
    };
    // What a command printed before it failed is a result too.
    let flushed = context.output.flush();
    outcome.and(flushed)
}
