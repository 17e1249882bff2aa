//! `gwa request`: asks mailservers for history, ours, status-go's or geth's.

mod collect;
mod compare;
mod resume;
mod show;
pub mod spool;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;

use self::collect::{Collector, Ended};
use self::compare::{Outcome, summaries};
use self::resume::{Asked, ResumeFile};
use self::show::{Sink, label};
use self::spool::MAX_SERVERS;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::mail::{self, Asker, MailArgs, PAGE, server_failed, short};
use crate::cli::opening::{OpenArgs, Opener};
use crate::mailserver::Cursor;
use crate::mailserver::client::history::RECONNECTS;
use crate::mailserver::request::{MAX_LIMIT, MailQuery};
use crate::rlpx::Enode;
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::{Bloom, Topic};

const EXAMPLES: &str = "\
Examples:
  gwa request enode://..@1.2.3.4:30303 --chat status
      the last day of a public chat, newest last
  gwa request enode://.. --chat status --decrypt --all --from 2026-11-01
      all of it since then, decrypted, page after page
  gwa request enode://.. --all --from 0 --rlp all.rlps --resume all.json
      a whole history into a file; the same line again goes on where it stopped
  gwa request enode://..a enode://..b --topic cd423760
      compares two servers; exit code 21 where they differ
  gwa request enode://.. --legacy --password wwww
      a mailserver of geth

The answer is printed when it is complete; with --async each thing is printed as it
happens: the request's id, envelopes as they come, and how the answer ended, which
is what status-go tells by `requestMessages` and its signals. The answer goes to
whoever asked, so the command stays until it has ended.

Exit codes: 0 all that was asked for came, 1 error, 2 usage, 3 part of it came,
12 the password is not the server's, 21 servers differ, 130 interrupted.";

/// Arguments of `gwa request`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RequestArgs {
    /// The mailservers; several are compared, and asked for all they have.
    #[arg(required = true, value_name = "ENODE")]
    servers: Vec<Enode>,
    /// A topic, 8 hex digits; more than one is meant as any of them.
    #[arg(long = "topic", value_name = "T", value_delimiter = ',')]
    topics: Vec<Topic>,
    /// A public chat, whose topic is meant.
    #[arg(long = "chat", value_name = "NAME")]
    chats: Vec<String>,
    /// Sent at this time or later: Unix seconds, RFC 3339 or a day [default: a
    /// day before the end].
    #[arg(long, value_name = "T")]
    from: Option<UnixSeconds>,
    /// Sent at this time or earlier [default: now].
    #[arg(long, value_name = "T")]
    to: Option<UnixSeconds>,
    /// Most envelopes of one answer; the cursor leads on.
    #[arg(long, value_name = "N", default_value_t = PAGE,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LIMIT)))]
    limit: u32,
    /// Follow the cursor until nothing is left.
    #[arg(long)]
    all: bool,
    /// Go on at this cursor, 72 hex digits.
    #[arg(long, value_name = "C")]
    cursor: Option<Cursor>,
    /// Keep the cursor in this file, and go on at it if it is there. Implies
    /// --all; pages are printed as they come.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cursor", "events"])]
    resume: Option<PathBuf>,
    /// How often to connect again for a page after the link was lost.
    #[arg(long, value_name = "N", default_value_t = RECONNECTS)]
    retries: u32,
    /// Have several envelopes sent in a packet, as is the default.
    #[arg(long, overrides_with = "no_batch")]
    batch: bool,
    /// Have each envelope sent in a packet of its own.
    #[arg(long)]
    no_batch: bool,
    /// Print things as they happen: the request's id, envelopes, the end.
    #[arg(long = "async")]
    events: bool,
    /// Write the envelopes themselves, one after another, to a file.
    #[arg(long, value_name = "FILE")]
    rlp: Option<PathBuf>,
    /// Print only how many there are.
    #[arg(long)]
    count: bool,
    /// End with what each server came to: envelopes, pages, bytes, cursor.
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    mail: MailArgs,
    #[command(flatten)]
    open: OpenArgs,
}

impl RequestArgs {
    /// Every topic asked for; none means all.
    fn topics(&self) -> BTreeSet<Topic> {
        let chats = self.chats.iter().map(|name| Topic::of_public_chat(name));
        self.topics.iter().copied().chain(chats).collect()
    }
}

/// Asks, and prints what came.
pub fn run(args: &RequestArgs, context: &mut Context) -> Result<(), CliError> {
    check_servers(args)?;
    let topics = args.topics();
    let opener = Opener::new(&args.open, &args.chats)?;

    let found = args.resume.as_deref().map(ResumeFile::read).transpose()?;
    let (found, range, cursor) = match found.flatten() {
        Some((asked, range, cursor)) if args.from.is_none() && args.to.is_none() => {
            (Some(asked), range, cursor)
        }
        Some((asked, _, cursor)) => (Some(asked), mail::range(args.from, args.to)?, cursor),
        None => (None, mail::range(args.from, args.to)?, args.cursor),
    };
    let resume = match &args.resume {
        Some(path) => {
            let asked = Asked::new(args.servers[0].id, range, &topics);
            if found.is_some() && cursor.is_some() {
                context.output.story("going on where it stopped");
            }
            Some(ResumeFile::of(path, asked, found)?)
        }
        None => None,
    };
    let query = MailQuery {
        range,
        topics: if topics.is_empty() {
            Bloom::FULL
        } else {
            Bloom::of_topics(topics.iter().copied())
        },
        limit: args.limit,
        cursor,
        batch: !args.no_batch,
    };
    let sink = Sink::new(
        args.servers.len(),
        opener,
        args.rlp.as_deref(),
        resume.is_some() && cursor.is_some(),
        args.count,
    )?;
    let asker = Asker::new(&args.mail);
    let to_the_end = args.all || args.servers.len() > 1 || resume.is_some();
    let histories = args.servers.iter().map(|server| {
        let history = asker.history(*server, query).retries(args.retries);
        if to_the_end {
            history
        } else {
            history.one_page()
        }
    });
    let histories: Vec<_> = histories.collect();
    let mut collector = Collector {
        context,
        topics,
        spool: spool::Spool::new().map_err(|error| cannot_keep(&error))?,
        sink,
        outcomes: args
            .servers
            .iter()
            .map(|server| Outcome::new(*server, cursor))
            .collect(),
        resume,
        events: args.events,
    };
    let ended = mail::runtime()?.block_on(collector.collect(histories))?;
    conclude(args, range, collector, ended)
}

fn check_servers(args: &RequestArgs) -> Result<(), CliError> {
    let usage = |what: &str| Err(CliError::new(Kind::Usage, what));
    let different: BTreeSet<_> = args.servers.iter().map(|server| server.id).collect();
    if different.len() < args.servers.len() {
        return usage("a server is named twice");
    }
    if args.servers.len() > MAX_SERVERS {
        return usage("too many servers: 16 are compared at a time");
    }
    if args.servers.len() > 1 && (args.resume.is_some() || args.cursor.is_some()) {
        return usage("a cursor is of one server, and several are compared");
    }
    Ok(())
}

/// Prints what was collected, and says what it came to.
fn conclude(
    args: &RequestArgs,
    range: TimeRange,
    collector: Collector<'_>,
    ended: Ended,
) -> Result<(), CliError> {
    let Collector {
        context,
        mut spool,
        mut sink,
        outcomes,
        resume,
        ..
    } = collector;
    let summaries = summaries(&outcomes, spool.holders());
    // With a file to go on with, whole pages were printed, and the rest comes
    // again.
    if resume.is_none() && !args.events {
        for held in spool.drain() {
            let (envelope, holders) = held.map_err(|error| cannot_keep(&error))?;
            sink.take(&envelope, holders, context)?;
        }
    }
    sink.finish(context)?;
    if args.explain {
        for summary in &summaries {
            context.output.result(summary, summary)?;
        }
    } else if outcomes.len() > 1 {
        for summary in &summaries {
            context.output.story(summary);
        }
    }
    context.output.flush()?;
    tell(args, range, context, &outcomes);

    if let Some(file) = resume
        && matches!(ended, Ended::All)
        && outcomes.iter().all(|outcome| outcome.error.is_none())
    {
        file.done()?;
    }
    match ended {
        Ended::Interrupted => {
            return Err(CliError::new(
                Kind::Interrupted,
                "interrupted before all had come",
            ));
        }
        Ended::Full(error) => {
            return Err(CliError::new(Kind::Partial, "not all that came is kept")
                .because(&error)
                .hint("ask for a shorter range, or page by page with `--resume FILE`"));
        }
        Ended::All => {}
    }
    verdict(&outcomes)?;
    if summaries.iter().any(|summary| summary.lacks() > 0) {
        return Err(CliError::new(Kind::Gaps, "the servers differ"));
    }
    Ok(())
}

/// What the user should know of each answer.
fn tell(args: &RequestArgs, range: TimeRange, context: &Context, outcomes: &[Outcome]) {
    for (at, outcome) in outcomes.iter().enumerate() {
        let server = if outcomes.len() > 1 {
            format!("{}  {}", label(at), short(&outcome.server))
        } else {
            short(&outcome.server)
        };
        if let Some(error) = &outcome.error
            && outcomes.len() > 1
        {
            context.output.story(format_args!("{server}: {error}"));
        }
        if outcome.error.is_none() && !outcome.is_complete && outcome.next.is_none() {
            let known = if outcome.envelopes + outcome.filtered == 0 {
                "nothing came: it has nothing, or it could not open the request; \
                 this kind of server says neither"
            } else {
                "this kind of server never says that its answer is complete: \
                 nothing more came for a while, that is all that is known"
            };
            context.output.story(format_args!("{server}: {known}"));
        }
        if let Some(cursor) = outcome.next {
            let how = match &args.resume {
                Some(path) => format!("--resume {}", path.display()),
                None => format!(
                    "--from {} --to {} --cursor {cursor}",
                    range.from().0,
                    range.to().0
                ),
            };
            context
                .output
                .story(format_args!("{server}: more follows: go on with {how}"));
        }
    }
}

/// Whether every server answered to the end.
fn verdict(outcomes: &[Outcome]) -> Result<(), CliError> {
    let failed = outcomes.iter().filter_map(|outcome| {
        let error = outcome.error.as_ref()?;
        Some((outcome, error))
    });
    let came = outcomes
        .iter()
        .any(|outcome| outcome.error.is_none() || outcome.pages > 0 || outcome.envelopes > 0);
    if let Some((outcome, error)) = failed.into_iter().next() {
        let told = server_failed("no whole answer from", &outcome.server, error);
        return Err(if came && !error.is_wrong_password() {
            told.of_kind(Kind::Partial)
        } else {
            told
        });
    }
    if let Some(outcome) = outcomes.iter().find(|outcome| outcome.lost_some) {
        return Err(CliError::new(
            Kind::Partial,
            format!(
                "{} names an envelope as its last that did not come",
                short(&outcome.server)
            ),
        ));
    }
    Ok(())
}

fn cannot_keep(error: &std::io::Error) -> CliError {
    CliError::new(Kind::Error, "cannot keep what comes").because(error)
}
