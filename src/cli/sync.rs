//! `gwa sync`: fetches from another mailserver what is missing here.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use crate::cli::context::{Context, archive_failed};
use crate::cli::error::{CliError, Kind};
use crate::cli::mail::{range, runtime, short};
use crate::mailserver::SyncRequest;
use crate::mailserver::sync::MAX_SYNC_LIMIT;
use crate::mailserver::sync::client::{SyncClient, SyncError};
use crate::progress::Progress;
use crate::reconcile::check::Standard;
use crate::reconcile::client::{Pulled, local_node};
use crate::reconcile::{ArchiveClient, ArchiveClientError, Shelf};
use crate::rlpx::session::LocalNode;
use crate::rlpx::{Enode, NodeKey};
use crate::time::{Clock, SystemClock, TimeRange, UnixSeconds};
use crate::whisper::{Bloom, Envelope, Pow};

const EXAMPLES: &str = "\
Examples:
  gwa sync enode://..
      what the mailserver has of the last day and the archive has not
  gwa sync enode://.. --from 2026-10-01 --to 2026-11-01
      the same of a month

Another gwa is compared with first, and only what is missing is sent; status-go's
mailserver sends all it has of the time. Envelopes are checked, and taken in whatever
work they show: name a mailserver you trust. They are sealed by the next `gwa seal`.
A daemon does this by itself with those named by `gwa serve --archiver`.

Exit codes: 0 all was fetched, 1 error, 2 usage, 3 only a part was, 10 no archive,
11 locked: a daemon has it, 130 interrupted.";

/// Arguments of `gwa sync`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SyncArgs {
    /// The mailserver.
    #[arg(value_name = "ENODE")]
    server: Enode,
    /// Fetch what was sent at this time or later [default: a day before the end].
    #[arg(long, value_name = "T")]
    from: Option<UnixSeconds>,
    /// Fetch what was sent at this time or earlier [default: now].
    #[arg(long, value_name = "T")]
    to: Option<UnixSeconds>,
}

/// What came of it, as it is printed.
#[derive(Clone, Debug, Default, Serialize)]
struct Synced {
    /// `gwa/1`, or `sync` with a mailserver of status-go.
    how: &'static str,
    fetched: u64,
    stored: u64,
    duplicate: u64,
    /// Sent ahead of time, or too large for a block.
    refused: u64,
    bytes: u64,
}

/// Fetches and stores.
pub fn run(args: &SyncArgs, context: &mut Context) -> Result<(), CliError> {
    let range = range(args.from, args.to)?;
    let archive = context
        .sources
        .archive(&context.data)
        .map_err(|error| archive_failed("cannot open the archive", &error))?;
    let shelf = Arc::new(Shelf::new(Arc::new(archive)));
    let local = Arc::new(local_node(NodeKey::generate()));
    let mut synced = Synced::default();
    let progress = context.progress();
    progress.phase(&format!("syncing with {}", short(&args.server)), None, None);
    let outcome = runtime()?.block_on(async {
        let mut job = Job {
            range,
            shelf: &shelf,
            synced: &mut synced,
            progress: &*progress,
        };
        job.sync(&args.server, &local).await
    });
    drop(progress);
    if outcome.is_ok() || synced.fetched > 0 {
        let Synced {
            how,
            fetched,
            stored,
            duplicate,
            refused,
            bytes,
        } = synced;
        context.output.result(
            &synced,
            format_args!(
                "by {how}: fetched {fetched} stored {stored} duplicate {duplicate} \
                 refused {refused}, {bytes} bytes"
            ),
        )?;
    }
    let partial = synced.fetched > 0;
    outcome.map_err(|failed| {
        let kind = if partial { Kind::Partial } else { Kind::Error };
        CliError::new(kind, format!("cannot sync with {}", short(&args.server)))
            .because(&*failed)
            .hint("what was fetched before is stored; run it again for the rest")
    })
}

type Failed = Box<dyn std::error::Error>;

/// What is under way.
struct Job<'a> {
    range: TimeRange,
    shelf: &'a Arc<Shelf>,
    synced: &'a mut Synced,
    progress: &'a dyn Progress,
}

impl Job<'_> {
    async fn sync(&mut self, server: &Enode, local: &Arc<LocalNode>) -> Result<(), Failed> {
        let own = Some(self.shelf.status());
        match ArchiveClient::connect(server, local, own).await {
            Ok(client) => self.reconcile(client).await,
            Err(ArchiveClientError::NoArchiver) => self.pages(server, local).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Between two gwa.
    async fn reconcile(&mut self, mut client: ArchiveClient) -> Result<(), Failed> {
        self.synced.how = "gwa/1";
        loop {
            let pulled = client
                .pull(self.range, self.shelf, TRUSTED, SystemClock.now())
                .await?;
            let Pulled {
                report,
                stored,
                unfit,
            } = pulled;
            self.progress.advance(report.envelopes, report.exchanged);
            self.synced.fetched += report.envelopes;
            self.synced.stored += stored;
            self.synced.refused += unfit;
            self.synced.duplicate += report.envelopes - stored - unfit;
            self.synced.bytes += report.exchanged;
            match report.cut_short {
                None => break,
                // There is more than one pull takes.
                Some(_) if stored > 0 => {}
                Some(refusal) => return Err(refusal.into()),
            }
        }
        client.close().await;
        Ok(())
    }

    /// From a mailserver of status-go.
    async fn pages(&mut self, server: &Enode, local: &Arc<LocalNode>) -> Result<(), Failed> {
        self.synced.how = "sync";
        let mut client = SyncClient::connect(server, local).await?;
        let mut request = SyncRequest {
            range: self.range,
            topics: Bloom::FULL,
            limit: MAX_SYNC_LIMIT,
            cursor: None,
        };
        loop {
            let page = client.page(request).await?;
            self.store(page.envelopes).await?;
            match page.next {
                // A cursor that goes back would be followed for ever.
                Some(next) if request.cursor.is_some_and(|last| next <= last) => {
                    return Err(SyncError::Cursor.into());
                }
                Some(next) => request.cursor = Some(next),
                None => break,
            }
        }
        client.close().await;
        Ok(())
    }

    async fn store(&mut self, mut envelopes: Vec<Envelope>) -> Result<(), Failed> {
        let now = SystemClock.now();
        let fetched = envelopes.len() as u64;
        let bytes = envelopes.iter().map(|e| e.rlp().len() as u64).sum::<u64>();
        envelopes.retain(|envelope| TRUSTED.judge(envelope, now).is_ok());
        let fit = envelopes.len() as u64;
        let appended = self.shelf.store(envelopes).await?;
        self.progress.advance(fetched, bytes);
        self.synced.bytes += bytes;
        self.synced.fetched += fetched;
        self.synced.stored += appended.stored;
        self.synced.duplicate += appended.duplicate;
        self.synced.refused += fetched - fit + appended.refused + appended.too_old;
        Ok(())
    }
}

/// The owner has named the mailserver: what it has is taken as it is.
const TRUSTED: Standard = Standard { min_pow: Pow::ZERO };
