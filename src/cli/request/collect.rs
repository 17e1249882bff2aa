//! Asks all servers at once, and gathers what comes.

use std::collections::BTreeSet;
use std::pin::pin;

use serde::Serialize;
use tokio::sync::mpsc;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::mail::short;
use crate::cli::request::compare::Outcome;
use crate::cli::request::resume::ResumeFile;
use crate::cli::request::show::Sink;
use crate::cli::request::spool::{Holders, Spool, SpoolError};
use crate::cli::serve::Signals;
use crate::mailserver::client::answer::AnswerEnd;
use crate::mailserver::client::history::{Event, History};
use crate::mailserver::client::{ClientError, Unasked};
use crate::mailserver::request::RequestId;
use crate::progress::Progress;
use crate::whisper::{Envelope, EnvelopeHash, Topic};

/// Packets of all servers that may wait to be kept: the servers are slowed down
/// to the speed of the disk.
const WAITING: usize = 8;

/// How collecting ended.
pub enum Ended {
    /// Every server answered, or failed.
    All,
    /// The user asked for an end.
    Interrupted,
    /// No more could be held.
    Full(SpoolError),
}

/// What gathers.
pub struct Collector<'c> {
    pub context: &'c mut Context,
    /// Topics wanted; none means all.
    pub topics: BTreeSet<Topic>,
    pub spool: Spool,
    pub sink: Sink,
    pub outcomes: Vec<Outcome>,
    /// Where pages are printed one by one, what remembers the last.
    pub resume: Option<ResumeFile>,
    /// Whether everything is printed as it happens.
    pub events: bool,
}

/// A request was sent, as `--async` prints it.
#[derive(Serialize)]
struct Sent {
    request: String,
    server: String,
}

/// An answer ended, as `--async` prints it.
#[derive(Serialize)]
struct Completed {
    completed: String,
    server: String,
    last: Option<String>,
    cursor: Option<String>,
    complete: bool,
}

type Report = (usize, Result<Event, ClientError>);

impl Collector<'_> {
    /// Gathers what all `histories` bring.
    pub async fn collect(&mut self, histories: Vec<History>) -> Result<Ended, CliError> {
        let signals = Signals::new()
            .map_err(|error| CliError::new(Kind::Error, "cannot ask").because(&error))?;
        let mut interrupted = pin!(signals.ended());
        let progress = self.context.progress();
        let servers = histories.len();
        progress.phase(&format!("asking {}", servers_text(servers)), None, None);

        let (reports, mut received) = mpsc::channel(WAITING);
        for (at, history) in histories.into_iter().enumerate() {
            tokio::spawn(report(at, history, reports.clone()));
        }
        drop(reports);
        let mut ids = vec![RequestId([0; 32]); servers];
        loop {
            let report = tokio::select! {
                () = &mut interrupted => return Ok(Ended::Interrupted),
                report = received.recv() => report,
            };
            let Some((at, event)) = report else {
                return Ok(Ended::All);
            };
            match event {
                Ok(event) => match self.on(at, event, &mut ids, &*progress)? {
                    None => {}
                    Some(full) => return Ok(Ended::Full(full)),
                },
                Err(error) => {
                    // What a cursor that misleads leads to is no place to go on.
                    if matches!(error, ClientError::Unasked(Unasked::Circle)) {
                        self.outcomes[at].next = None;
                    }
                    self.outcomes[at].error = Some(error);
                }
            }
        }
    }

    /// One thing that happened at the server at position `at`. Gives why no more
    /// is kept.
    fn on(
        &mut self,
        at: usize,
        event: Event,
        ids: &mut [RequestId],
        progress: &dyn Progress,
    ) -> Result<Option<SpoolError>, CliError> {
        let server = self.outcomes[at].server;
        match event {
            Event::Connected { name, is_geth } => {
                tracing::info!(server = %short(&server), %name, "connected");
                if is_geth && self.outcomes[at].name.is_none() {
                    self.context.output.story(format_args!(
                        "{} calls itself {name}: asked in the form of geth",
                        short(&server)
                    ));
                }
                self.outcomes[at].name = Some(name);
            }
            Event::Asked(id) => {
                ids[at] = id;
                if self.events {
                    let request = EnvelopeHash(id.0).to_string();
                    let line = format!("request {request} {}", short(&server));
                    let server = server.to_string();
                    let sent = Sent { request, server };
                    self.context.output.result(&sent, line)?;
                    self.context.output.flush()?;
                }
            }
            Event::Envelopes(envelopes) => {
                let bytes: usize = envelopes.iter().map(|e| e.rlp().len()).sum();
                progress.advance(envelopes.len() as u64, bytes as u64);
                self.outcomes[at].bytes += bytes as u64;
                for envelope in &envelopes {
                    if let Err(error) = self.keep(at, envelope)? {
                        return Ok(Some(error));
                    }
                }
                if self.events {
                    self.context.output.flush()?;
                }
            }
            Event::Page(end) => self.page(at, &end, ids[at])?,
            Event::Lost { reason, pause } => self.context.output.story(format_args!(
                "{}: {reason}; trying again in {} s",
                short(&server),
                pause.as_secs()
            )),
            Event::End => {}
        }
        Ok(None)
    }

    fn keep(&mut self, at: usize, envelope: &Envelope) -> Result<Result<(), SpoolError>, CliError> {
        if !self.topics.is_empty() && !self.topics.contains(&envelope.topic()) {
            self.outcomes[at].filtered += 1;
            return Ok(Ok(()));
        }
        match self.spool.take(at, envelope) {
            Ok(false) => {}
            Ok(true) => {
                self.outcomes[at].envelopes += 1;
                if self.events {
                    self.sink.take(envelope, Holders::only(at), self.context)?;
                }
            }
            Err(error) => return Ok(Err(error)),
        }
        Ok(Ok(()))
    }

    fn page(&mut self, at: usize, end: &AnswerEnd, id: RequestId) -> Result<(), CliError> {
        let outcome = &mut self.outcomes[at];
        outcome.pages += 1;
        outcome.next = end.next;
        outcome.is_complete = end.completed && end.next.is_none();
        outcome.lost_some |= !end.last_came;
        if self.events {
            let completed = EnvelopeHash(id.0).to_string();
            let cursor = end.next.map(|cursor| cursor.to_string());
            let line = format!(
                "completed {completed} cursor {}",
                cursor.as_deref().unwrap_or("none")
            );
            let object = Completed {
                completed,
                server: outcome.server.to_string(),
                last: end.last.map(|hash| hash.to_string()),
                cursor,
                complete: outcome.is_complete,
            };
            self.context.output.result(&object, line)?;
            self.context.output.flush()?;
        }
        if let Some(resume) = &mut self.resume {
            for held in self.spool.drain() {
                let (envelope, holders) = held.map_err(|error| {
                    CliError::new(Kind::Error, "cannot keep what comes").because(&error)
                })?;
                self.sink.take(&envelope, holders, self.context)?;
            }
            // Printed first, remembered then: what is printed twice is no loss.
            self.sink.flush(self.context)?;
            if let Some(cursor) = end.next {
                resume.reached(cursor)?;
            }
        }
        Ok(())
    }
}

/// Reports all that happens at one server.
async fn report(at: usize, mut history: History, reports: mpsc::Sender<Report>) {
    loop {
        let event = history.next().await;
        if matches!(event, Err(_) | Ok(Event::End)) {
            history.close().await;
            // Who is told has left, or hears it.
            let _ = reports.send((at, event)).await;
            return;
        }
        if reports.send((at, event)).await.is_err() {
            return;
        }
    }
}

fn servers_text(servers: usize) -> String {
    if servers == 1 {
        "the server".to_owned()
    } else {
        format!("{servers} servers")
    }
}
