//! `gwa canary`: posts a message and reads it back, through the mailserver
//! protocol and through the head.
//!
//! Always true: a run ends; each step has an end of its own, and what failed is
//! named.

mod head;
mod memory;
mod step;

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use self::memory::{Memory, Pending, Remembered};
use self::step::{Done, Outcome, Step, spoken};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::mail::{self, Asker, MailArgs, PAGE, short};
use crate::cli::mine::mine_for;
use crate::cli::post::{Taken, hand_over};
use crate::config::Span;
use crate::mailserver::client::answer::Follow;
use crate::mailserver::client::{ClientError, Delivery, MailClient};
use crate::mailserver::request::MailQuery;
use crate::node::run_file::RunInfo;
use crate::progress::Quiet;
use crate::rlpx::Enode;
use crate::sources::Reference;
use crate::time::{Clock, DAY, Expiry, SystemClock, TimeRange, Ttl};
use crate::whisper::keys::SymKey;
use crate::whisper::message::{MessageRandom, Reader, seal};
use crate::whisper::mining::{Target, Template};
use crate::whisper::pow::Pow;
use crate::whisper::{Bloom, Envelope, EnvelopeHash, Topic};

/// The public chat that canaries sing in, unless told otherwise.
const CHAT: &str = "gwa-canary";

/// How long a message lives: it has to reach one node.
const TTL: Ttl = Ttl(20);

/// How long one step may take, unless told otherwise.
const STEP_TIME: Duration = Duration::from_secs(60);

/// How often the mailserver is asked again for a message it does not have yet.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How far around now a message is looked for, in seconds: clocks differ.
const SLACK: u32 = 60;

const EXAMPLES: &str = "\
Examples:
  gwa canary enode://..@1.2.3.4:30303
      one run: connects, asks for history, posts, reads the message back
  gwa canary enode://.. --every 5m
      for ever; the age of the last success is told each time
  gwa --data DIR canary enode://.. --wait-seal 10m
      waits until the head of the archive in DIR shows the message

The head is that of `--head REF`, or of the data folder where the daemon that runs
there is the one asked. A message is found in a head only once a seal has covered it,
some minutes later: without --wait-seal a run looks for those of earlier runs, which
DIR/canary.json remembers.

Exit codes: 0 every step went well or was skipped, 1 a step failed, 2 usage,
12 the password is not the server's, 20 the head does not verify,
21 a message that was taken does not come back, 130 interrupted.";

/// Arguments of `gwa canary`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CanaryArgs {
    /// The mailserver.
    #[arg(value_name = "ENODE")]
    server: Enode,
    /// The head that shows what the server archived.
    #[arg(long, value_name = "REF")]
    head: Option<Reference>,
    /// Wait this long for a seal to cover the message.
    #[arg(long, value_name = "SPAN")]
    wait_seal: Option<Span>,
    /// How long each step may take [default: 60s].
    #[arg(long, value_name = "SPAN")]
    timeout: Option<Span>,
    /// Run again and again, this far apart.
    #[arg(long, value_name = "SPAN")]
    every: Option<Span>,
    /// End after so many runs.
    #[arg(long, value_name = "N", requires = "every")]
    runs: Option<u64>,
    /// The public chat to post in.
    #[arg(long, value_name = "NAME", default_value = CHAT)]
    chat: String,
    #[command(flatten)]
    mail: MailArgs,
}

/// How a run ended, as it is printed.
#[derive(Serialize)]
struct Verdict {
    canary: &'static str,
    server: String,
    last_success: Option<u32>,
    /// Seconds since then.
    age: Option<u32>,
    failures: u64,
}

/// Runs the canary, once or for ever.
pub fn run(args: &CanaryArgs, context: &mut Context) -> Result<(), CliError> {
    let mut memory = Memory::open(&context.data)?;
    let canary = Canary {
        args,
        asker: Asker::new(&args.mail),
        key: SymKey::from_password(&args.chat),
        topic: Topic::of_public_chat(&args.chat),
        time: args.timeout.map_or(STEP_TIME, |Span(time)| time),
    };
    let runtime = mail::runtime()?;
    let mut worst = Ok(());
    for number in 1.. {
        let outcome = runtime.block_on(canary.run(&mut memory, context));
        context.output.flush()?;
        let Some(Span(every)) = args.every else {
            return outcome;
        };
        if let Err(error) = outcome {
            context.output.story(error.brief());
            worst = Err(error);
        }
        if args.runs == Some(number) {
            break;
        }
        std::thread::sleep(every);
    }
    worst
}

struct Canary<'a> {
    args: &'a CanaryArgs,
    asker: Asker,
    key: SymKey,
    topic: Topic,
    time: Duration,
}

impl Canary<'_> {
    async fn run(&self, memory: &mut Memory, context: &mut Context) -> Result<(), CliError> {
        let id = self.args.server.id.to_string();
        let remembered = memory.of(&id);
        let failed = self.steps(remembered, context).await?;
        let now = SystemClock.now();
        remembered.last_run = now;
        if failed.is_none() {
            remembered.last_success = Some(now);
            remembered.failures = 0;
        } else {
            remembered.failures += 1;
        }
        self.conclude(remembered, context)?;
        memory.save()?;
        match failed {
            None => Ok(()),
            Some((kind, step)) => Err(CliError::new(
                kind,
                format!(
                    "the canary failed at {}: {step:?}",
                    short(&self.args.server)
                ),
            )),
        }
    }

    fn conclude(&self, remembered: &Remembered, context: &mut Context) -> Result<(), CliError> {
        let now = SystemClock.now();
        let age = remembered.last_success.map(|at| now.since(at));
        let verdict = Verdict {
            canary: if remembered.failures == 0 {
                "ok"
            } else {
                "failed"
            },
            server: self.args.server.to_string(),
            last_success: remembered.last_success.map(|at| at.0),
            age,
            failures: remembered.failures,
        };
        let last = match (remembered.last_success, age) {
            (Some(at), Some(age)) => {
                format!("{at}, {} ago", spoken(Duration::from_secs(age.into())))
            }
            _ => "never".to_owned(),
        };
        let line = format!("{:<7}  last success {last}", verdict.canary);
        context.output.result(&verdict, line)
    }

    /// Tries every step that makes sense; gives the first that failed.
    async fn steps(
        &self,
        remembered: &mut Remembered,
        context: &mut Context,
    ) -> Result<Option<(Kind, Step)>, CliError> {
        let mut first = None;
        let mut tell = |step, start, outcome, context: &mut Context| {
            let done = Done::new(step, start, outcome);
            if let Some(kind) = done.failure {
                first = first.or(Some((kind, step)));
            }
            context.output.result(&done, &done)
        };

        let start = Instant::now();
        let connecting = MailClient::connect(&self.args.server, &self.asker.local);
        let mut client = match self.in_time(connecting).await {
            Ok(client) => {
                tell(
                    Step::Connect,
                    start,
                    Outcome::Went(client.server_name()),
                    context,
                )?;
                Some(client)
            }
            Err(failed) => {
                tell(Step::Connect, start, failed, context)?;
                None
            }
        };
        if let Some(client) = &mut client {
            let start = Instant::now();
            let outcome = outcome_of(self.in_time(self.history(client)).await);
            tell(Step::History, start, outcome, context)?;

            let start = Instant::now();
            match self.in_time(self.post(client)).await {
                Err(failed) => tell(Step::Post, start, failed, context)?,
                Ok(Err(failed)) => tell(Step::Post, start, failed, context)?,
                Ok(Ok((envelope, said))) => {
                    tell(Step::Post, start, Outcome::Went(said), context)?;
                    let hash = envelope.hash();
                    let pending = Pending {
                        hash: hash.to_string(),
                        sent: envelope.sent(),
                        taken: SystemClock.now(),
                    };
                    remembered.pending.push(pending);
                    let start = Instant::now();
                    let outcome = self.read_back(client, hash).await;
                    tell(Step::Mailserver, start, outcome, context)?;
                }
            }
        }
        if let Some(client) = client {
            client.close().await;
        }
        let start = Instant::now();
        let outcome = self.head(&mut remembered.pending, context).await;
        tell(Step::Head, start, outcome, context)?;
        Ok(first)
    }

    /// What `step` comes to within the time of a step.
    async fn in_time<T>(
        &self,
        step: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, Outcome> {
        match timeout(self.time, step).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(failed(&error)),
            Err(_) => Err(Outcome::Failed(
                Kind::Error,
                format!("not within {}", spoken(self.time)),
            )),
        }
    }

    fn query(&self, before: u32, after: u32, limit: u32) -> MailQuery {
        let now = SystemClock.now();
        let range = TimeRange::new(now.saturating_sub(before), now.saturating_add(after));
        MailQuery {
            range: range.expect("the past is before the future"),
            topics: Bloom::of_topic(self.topic),
            limit,
            cursor: None,
            batch: true,
        }
    }

    /// Asks for one envelope, as node-canary does.
    async fn history(&self, client: &mut MailClient) -> Result<String, ClientError> {
        let query = self.query(DAY, 0, 1);
        let requester = &self.asker.requester;
        client.ask(query, requester, SystemClock.now()).await?;
        let mut count = 0;
        loop {
            match client.delivered().await? {
                Delivery::Envelopes(envelopes) => count += envelopes.len(),
                Delivery::End(end) if end.completed => {
                    return Ok(format!("answered with {count} envelopes"));
                }
                Delivery::End(_) => {
                    return Ok(format!("{count} envelopes, and no word that this is all"));
                }
            }
        }
    }

    /// Posts a message nobody else posts; gives it, and what the server said.
    async fn post(
        &self,
        client: &mut MailClient,
    ) -> Result<Result<(Envelope, String), Outcome>, ClientError> {
        let random: [u8; 16] = crate::rlpx::random::random_bytes();
        let text = format!("gwa canary {}", hex::encode(random));
        let data = seal(
            text.as_bytes(),
            Some(&self.asker.requester.signer),
            Reader::Holders(&self.key),
            &MessageRandom::draw(),
        )
        .expect("a line is far shorter than the longest payload");
        let template = Template {
            expiry: Expiry::of(SystemClock.now(), TTL),
            ttl: TTL,
            topic: self.topic,
            data,
        };
        let target = Target::Both(client.server_pow().max(Pow::STATUS_DEFAULT));
        let time = self.time;
        let mining = tokio::task::spawn_blocking(move || mine_for(&template, target, time, &Quiet));
        let Some(envelope) = client.attend(mining).await?.ok().flatten() else {
            return Err(ClientError::TooMuchWork);
        };
        Ok(match hand_over(client, envelope.clone()).await? {
            Taken::Unsaid => Ok((envelope, "not refused; it never acknowledges".to_owned())),
            Taken::Acknowledged(faults) => match faults.first() {
                None => Ok((envelope, "acknowledged".to_owned())),
                Some(fault) => Err(Outcome::Failed(Kind::Error, fault.description.clone())),
            },
        })
    }

    /// Asks for the message until it comes.
    async fn read_back(&self, client: &mut MailClient, hash: EnvelopeHash) -> Outcome {
        let looking = async {
            loop {
                match self.is_delivered(client, hash).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    // status-go's answer to who asks twice in a short time.
                    Err(ClientError::Refused(text)) if text.contains("rate limit") => {}
                    Err(error) => return Err(error),
                }
                client.attend(sleep(ASK_AGAIN)).await?;
            }
        };
        match timeout(self.time, looking).await {
            Ok(Ok(())) => Outcome::Went("the message came back".to_owned()),
            Ok(Err(error)) => failed(&error),
            Err(_) => Outcome::Failed(
                Kind::Gaps,
                format!("{hash} did not come back within {}", spoken(self.time)),
            ),
        }
    }

    async fn is_delivered(
        &self,
        client: &mut MailClient,
        hash: EnvelopeHash,
    ) -> Result<bool, ClientError> {
        let time = u32::try_from(self.time.as_secs()).unwrap_or(u32::MAX);
        let before = time.saturating_add(SLACK);
        let mut query = self.query(before, SLACK, PAGE);
        let mut follow = Follow::default();
        let mut came = false;
        loop {
            let requester = &self.asker.requester;
            client.ask(query, requester, SystemClock.now()).await?;
            let end = loop {
                match client.delivered().await? {
                    Delivery::Envelopes(envelopes) => {
                        came |= envelopes.iter().any(|envelope| envelope.hash() == hash);
                    }
                    Delivery::End(end) => break end,
                }
            };
            if came || !follow.step(&end)? {
                return Ok(came);
            }
            query.cursor = follow.at();
        }
    }

    async fn head(&self, pending: &mut Vec<Pending>, context: &Context) -> Outcome {
        let Some(reference) = self.reference(context) else {
            pending.clear();
            return Outcome::Skipped("no head is known of this server: `--head REF`".to_owned());
        };
        if pending.is_empty() {
            return Outcome::Skipped("there is nothing to look for".to_owned());
        }
        let wait = self.args.wait_seal.map(|Span(wait)| wait);
        head::look_for(&reference, self.topic, pending, wait, context).await
    }

    /// The head that was named; the own one where the daemon over it is the
    /// server asked.
    fn reference(&self, context: &Context) -> Option<Reference> {
        if self.args.head.is_some() {
            return self.args.head.clone();
        }
        let run = RunInfo::of_running(&context.data).ok()??;
        (run.enode.id == self.args.server.id).then_some(Reference::OwnHead)
    }
}

fn failed(error: &ClientError) -> Outcome {
    let kind = if error.is_wrong_password() {
        Kind::WrongKey
    } else {
        Kind::Error
    };
    Outcome::Failed(kind, error.to_string())
}

fn outcome_of(done: Result<String, Outcome>) -> Outcome {
    match done {
        Ok(detail) => Outcome::Went(detail),
        Err(failed) => failed,
    }
}
