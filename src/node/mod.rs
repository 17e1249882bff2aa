//! The daemon: a Whisper node, a mailserver and an archive, run together.
//!
//! Always true:
//! - The node accepts nobody before the archive is open, and the archive closes
//!   after the node has ended: what was acknowledged was stored.
//! - `run.json` is there from the first accepted peer until it begins to end.
//! - Ending seals nothing: what waits is durable in the journal.

mod announce;
pub mod carrier;
pub mod follow;
pub mod key_file;
pub mod name_trouble;
pub mod p2p;
pub mod publish;
pub mod reach;
pub mod rounds;
pub mod run_file;
mod times;
pub mod vault;
pub mod vitals;
pub mod writer;

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use self::announce::Announcer;
use self::carrier::CarrierTask;
use self::follow::{Follower, Following};
use self::name_trouble::NameTrouble;
use self::p2p::P2pError;
use self::publish::{Publisher, Publishing};
use self::reach::Reach;
use self::rounds::Rounds;
use self::run_file::{RunFile, RunInfo};
use self::times::TimesMaker;
use self::vault::ArchiveVault;
use self::vitals::Observer;
use self::writer::{Turn, WriterTask};
use crate::api::{ApiError, ApiServer, Beside};
use crate::archive::disk::{Archive, DiskError, Dropped, SealReport, seal_due};
use crate::archive::leaf::MAX_ENVELOPE_RLP;
use crate::config::Settings;
use crate::depot::Carrier;
use crate::discovery::DiscoveryConfig;
use crate::mailserver::{Mailserver, MailserverConfig};
use crate::metrics::FollowMeters;
use crate::publish::Hints;
use crate::reconcile::{Exchange, ExchangeConfig, Shelf};
use crate::rlpx::{Enode, NodeKey};
use crate::time::Clock;
use crate::whisper::Bloom;
use crate::whisper::admission::AdmissionPolicy;
use crate::whisper::envelope::ENVELOPE_HEADER_SIZE;
use crate::whisper::keys::SymKey;
use crate::whisper::node::{Node, NodeConfig, NodeHandle, StartError};

/// Largest envelope that is admitted, counted as Whisper does: 20 + data. RLP
/// frames data with 32 bytes at most, and what is admitted must fit a block:
/// to acknowledge an envelope that cannot be kept would be to lose it.
const MAX_MESSAGE_SIZE: usize = MAX_ENVELOPE_RLP - (32 - ENVELOPE_HEADER_SIZE);

/// How often the daemon looks whether so much waits that a seal is due early.
const WATCH: Duration = Duration::from_secs(5);

/// How often superseded files and days past their retention are looked for; the
/// former are kept for a day anyway.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The node could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The HTTP interface could not start.
    #[error(transparent)]
    Http(#[from] ApiError),
    /// The libp2p peer could not start.
    #[error(transparent)]
    P2p(#[from] P2pError),
    /// `run.json` could not be written.
    #[error("{path}: {source}")]
    RunFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A running daemon.
pub struct Daemon {
    node: NodeHandle,
    api: Option<ApiServer>,
    p2p: Option<p2p::Peer>,
    archive: Arc<Archive>,
    listen: SocketAddr,
    enode: Enode,
    reach: Reach,
    run_file: RunFile,
    clock: Arc<dyn Clock>,
    seal_every: Duration,
    retention: Option<Duration>,
    following: Following,
    follow: Arc<FollowMeters>,
    announced: Option<Hints>,
    publishing: Option<Publishing>,
    carrier: Option<Arc<Carrier>>,
    turn: Option<Turn>,
    name_trouble: NameTrouble,
    rounds: Rounds,
}

impl Daemon {
    /// Starts a mailserver over `archive` on the current tokio runtime.
    pub async fn start(
        archive: Arc<Archive>,
        key: NodeKey,
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DaemonError> {
        Self::start_with_store(archive, key, settings, clock, None).await
    }

    /// As [`Self::start`]; what is sealed is carried to a store, too.
    pub async fn start_with_store(
        archive: Arc<Archive>,
        key: NodeKey,
        settings: &Settings,
        clock: Arc<dyn Clock>,
        carrier: Option<Arc<Carrier>>,
    ) -> Result<Self, DaemonError> {
        let id = key.id();
        let node_key = Arc::new(NodeKey::from(*key.secret()));
        let mailserver = Mailserver::new(
            Arc::new(ArchiveVault::new(Arc::clone(&archive))),
            MailserverConfig {
                password: Some(SymKey::from_password(settings.password.expose())),
                node_key: Some(node_key),
                min_pow: settings.min_pow,
                answer_open_requests: true,
            },
            Arc::clone(&clock),
        );
        let mail = Arc::clone(mailserver.meters());
        // A mirror takes in nothing but what the heads it follows hold.
        let is_mirror = archive.is_mirror();
        let pulled_from = if is_mirror {
            &[]
        } else {
            &settings.archivers[..]
        };
        let exchange = Exchange::new(
            Arc::new(Shelf::new(Arc::clone(&archive))),
            ExchangeConfig {
                archivers: pulled_from.iter().map(|enode| enode.id).collect(),
                min_pow: settings.min_pow,
                every: settings.reconcile_every,
                limits: settings.limits.clone(),
            },
            Arc::clone(&clock),
        );
        let exchanged = exchange.totals();
        let config = NodeConfig {
            listen: Some(settings.listen),
            policy: AdmissionPolicy {
                min_pow: settings.min_pow,
                max_message_size: MAX_MESSAGE_SIZE,
                bloom: if is_mirror { Bloom::EMPTY } else { Bloom::FULL },
            },
            discovery: settings.discovery.then(|| DiscoveryConfig {
                bootnodes: settings.bootnodes.clone(),
            }),
            static_peers: [&settings.peers[..], &settings.archivers].concat(),
            side: Some(Arc::new(exchange)),
            limits: settings.limits.clone(),
            ..NodeConfig::new(key)
        };
        let node = Node::start(config, Arc::new(mailserver), Arc::clone(&clock)).await?;
        let listen = node.local_addr().unwrap_or(settings.listen);
        let mut enode = Enode::new(id, listen);
        let mut reach = Reach::start(settings.nat, listen, settings.discovery);
        if let Some(ip) = reach.known() {
            enode.ip = ip;
            node.set_external_ip(ip);
        }
        let p2p = p2p::start(&archive, settings).await?;
        let peer = p2p.as_ref().map(|p2p| p2p.node.clone());
        let follow = Arc::<FollowMeters>::default();
        let (name_trouble, rounds) = (NameTrouble::default(), Rounds::default());
        let api = match settings.http.address {
            None => None,
            Some(listen) => Some(
                ApiServer::start(
                    listen,
                    settings,
                    node.control(),
                    Arc::clone(&archive),
                    Beside {
                        p2p: peer.clone(),
                        carrier: carrier.clone(),
                        name_trouble: name_trouble.clone(),
                        mail,
                        exchanged,
                        follow: Arc::clone(&follow),
                        rounds: rounds.clone(),
                    },
                )
                .await?,
            ),
        };
        let info = RunInfo {
            pid: std::process::id(),
            enode,
            http: api.as_ref().map(ApiServer::url),
            p2p: peer.map(|peer| peer.addresses()).unwrap_or_default(),
            public_urls: settings.public_urls.http().to_vec(),
            head: archive.head_cid().map(|cid| cid.to_string()),
        };
        let run_file =
            RunFile::create(archive.dir(), info).map_err(|source| DaemonError::RunFile {
                path: archive.dir().join(run_file::NAME),
                source,
            })?;
        Ok(Self {
            node,
            api,
            p2p,
            archive,
            listen,
            enode,
            reach,
            run_file,
            clock,
            seal_every: settings.seal_every,
            retention: settings.retention,
            following: Following::default(),
            follow,
            announced: settings.announce.then(|| settings.public_urls.clone()),
            publishing: None,
            carrier,
            turn: None,
            name_trouble,
            rounds,
        })
    }

    /// Follows heads of others while it runs.
    pub fn set_following(&mut self, following: Following) {
        self.following = following;
    }

    /// Leads a name to its heads while it runs.
    pub fn set_publishing(&mut self, publishing: Publishing) {
        self.publishing = Some(publishing);
    }

    /// Seals while it is this machine's turn, and waits for it else.
    pub fn set_turn(&mut self, turn: Turn) {
        self.turn = Some(turn);
    }

    /// Where peers reach it.
    pub fn enode(&self) -> Enode {
        self.enode
    }

    /// Where it accepts peers.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where its HTTP interface is, if it is on.
    pub fn http_url(&self) -> Option<String> {
        self.api.as_ref().map(ApiServer::url)
    }

    /// Where IPFS nodes reach its libp2p peer; nowhere where it is off.
    pub fn p2p_addresses(&self) -> Vec<String> {
        let addresses = self.p2p.as_ref().map(|p2p| p2p.node.addresses());
        addresses.unwrap_or_default()
    }

    /// Looks at it while it runs.
    pub fn observer(&self) -> Observer {
        Observer::new(self.node.control(), Arc::clone(&self.archive))
    }

    /// Its node.
    pub fn node(&self) -> &NodeHandle {
        &self.node
    }

    /// Seals on time until `stop` resolves, then ends.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) {
        let mut watch = tokio::time::interval(WATCH.min(self.seal_every));
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sealed = Instant::now();
        self.sweep().await;
        let mut times = TimesMaker::new(Arc::clone(&self.archive));
        let begin_times = |times: &mut TimesMaker, archive: &Archive| {
            // A replica would fetch its whole archive for them: its pages make those
            // that they need.
            if !archive.is_replica() {
                times.start();
            }
        };
        begin_times(&mut times, &self.archive);
        let carrying = CarrierTask::start(self.carrier.clone(), Arc::clone(&self.clock));
        let mut swept = Instant::now();
        self.announce();
        let moved = Arc::new(Notify::new());
        let follower = Follower::start(
            Arc::clone(&self.archive),
            std::mem::take(&mut self.following),
            Arc::clone(&self.clock),
            Arc::clone(&self.follow),
            self.rounds.clone(),
            {
                let moved = Arc::clone(&moved);
                move || moved.notify_one()
            },
        );
        let announcer = Announcer::start(
            Arc::clone(&self.archive),
            self.node.control(),
            self.announced.take(),
        );
        let publisher = Publisher::start(
            Arc::clone(&self.archive),
            self.publishing.take(),
            self.carrier.clone(),
            Arc::clone(&self.clock),
            self.name_trouble.clone(),
        );
        let writing = WriterTask::start(
            self.turn.take(),
            Arc::clone(&self.archive),
            Arc::clone(&self.clock),
            {
                let moved = Arc::clone(&moved);
                move || moved.notify_one()
            },
        );
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                ip = self.reach.changed() => self.is_reached_at(ip),
                () = moved.notified() => {
                    self.tell_head();
                    self.announce();
                    begin_times(&mut times, &self.archive);
                    carrying.is_news();
                }
                _ = watch.tick() => {}
            }
            if self.archive.is_mirror() {
                sealed = Instant::now();
            }
            let is_due =
                sealed.elapsed() >= self.seal_every || self.archive.seal_is_due(self.clock.now());
            if is_due && writing.may_seal() {
                self.seal().await;
                self.announce();
                begin_times(&mut times, &self.archive);
                carrying.is_news();
                sealed = Instant::now();
            }
            if swept.elapsed() >= SWEEP_EVERY {
                // It waits while another machine's heads are copied.
                tokio::select! {
                    () = &mut stop => break,
                    () = self.sweep() => {}
                }
                carrying.is_news();
                swept = Instant::now();
            }
        }
        announcer.end().await;
        publisher.end().await;
        follower.end().await;
        // Nobody is sent to a port that is given up.
        drop(self.run_file);
        if let Some(api) = self.api {
            api.shutdown().await;
        }
        if let Some(p2p) = self.p2p {
            p2p.end().await;
        }
        self.node.shutdown().await;
        self.reach.end().await;
        times.end().await;
        carrying.end().await;
        writing.end().await;
    }

    /// Others reach it by this address from now on.
    fn is_reached_at(&mut self, ip: IpAddr) {
        self.node.set_external_ip(ip);
        self.enode.ip = ip;
        tracing::info!(enode = %self.enode, "others reach this node through the router");
        if let Err(error) = self.run_file.set_enode(self.enode) {
            tracing::warn!(%error, "run.json does not tell of the address outside");
        }
    }

    /// Seals what is due. A failure is told and tried again next time: nothing
    /// is lost by it.
    async fn seal(&mut self) {
        let (archive, now) = (Arc::clone(&self.archive), self.clock.now());
        match wait_for(move || seal_due(&archive, now)).await {
            Ok(report) => self.tell(&report),
            Err(error) => tracing::error!(error, "sealing failed"),
        }
    }

    fn tell(&mut self, report: &SealReport) {
        let Some(head) = report.head.as_ref().filter(|_| report.changed) else {
            return;
        };
        tracing::info!(
            head = %head.cid(),
            seq = head.body().sequence.0,
            added = report.added.count,
            "sealed"
        );
        self.tell_head();
    }

    fn tell_head(&mut self) {
        let Some(head) = self.archive.head_cid() else {
            return;
        };
        if let Err(error) = self.run_file.set_head(head.to_string()) {
            tracing::warn!(%error, "run.json does not tell of the new head");
        }
    }

    /// Tells the DHT of the head, where the peer takes part in one.
    fn announce(&self) {
        if let Some(p2p) = &self.p2p {
            p2p.announce();
        }
    }

    async fn sweep(&self) {
        if self.archive.is_replica() {
            return;
        }
        let (archive, now) = (Arc::clone(&self.archive), self.clock.now());
        match wait_for(move || archive.sweep(now)).await {
            Ok(0) => {}
            Ok(bytes) => tracing::info!(bytes, "superseded files deleted"),
            Err(error) => tracing::error!(error, "deleting superseded files failed"),
        }
        if let Some(retention) = self.retention {
            let kept = u32::try_from(retention.as_secs()).unwrap_or(u32::MAX);
            let archive = Arc::clone(&self.archive);
            match wait_for(move || archive.drop_before(now.saturating_sub(kept))).await {
                Ok(Dropped { days: 0, .. }) => {}
                Ok(Dropped {
                    kept_from,
                    days,
                    bytes,
                }) => {
                    tracing::info!(%kept_from, days, bytes, "days past their retention dropped");
                }
                Err(error) => tracing::error!(error, "dropping days failed"),
            }
        }
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Does `work` where waiting for the disk is harmless; an error comes as text.
async fn wait_for<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DiskError> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(panicked) => Err(panicked.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Expiry, Ttl};
    use crate::whisper::{Envelope, Topic};

    #[test]
    fn the_largest_admitted_envelope_fits_a_block_however_it_is_framed() {
        let data = vec![0xff; MAX_MESSAGE_SIZE - ENVELOPE_HEADER_SIZE];
        let longest = (Expiry(u32::MAX), Ttl(u32::MAX));
        let envelope = Envelope::new(longest.0, longest.1, Topic([0xff; 4]), &data, u64::MAX);
        assert_eq!(envelope.size(), MAX_MESSAGE_SIZE);
        assert_eq!(envelope.rlp().len(), MAX_ENVELOPE_RLP);
    }
}
