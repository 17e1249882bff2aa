//! The HTTP interface: one port for programs and people.
//!
//! A thin shell: each noun answers for itself, what it says comes from the node
//! and the archive.
//!
//! | path | answer |
//! |---|---|
//! | `/` | the explorer, a page for people (`api::explorer`) |
//! | `/health` | whether the daemon does its work; 503 if not |
//! | `/metrics` | figures for a monitor (`api::metrics`) |
//! | `/api/v1/status` | what it is and what it did so far |
//! | `/api/v1/peers` | who is connected, who was dropped and why |
//! | `/rpc` | JSON-RPC over HTTP and WebSocket (`api::rpc`) |
//! | `/ipfs/..` | blocks and CARs (`api::gateway`) |
//! | `/ipns/..` | signed records of names (`api::names`) |
//! | `/head`, `/.well-known/gwa.json` | the current head (`api::head`) |
//! | `/api/v1/heads` | its lineage |
//! | `/api/v1/stats`, `/api/v1/segments` | what the archive holds, and where |
//! | `/api/v1/calendar`, `/api/v1/days/{day}` | the same, from years down to buckets |
//! | `/api/v1/query` | envelopes by topic and time |
//! | `/api/v1/gaps` | hours in which it was silent against its habit |
//! | `/api/v1/traffic` | what was sent in each of the last hours |
//! | `/api/v1/share` | one line to carry the history on with |
//! | `/api/v1/mirrors` | who follows, and which archives were heard of |
//! | `/api/v1/verify` | the archive recomputed: how far, what was found; `POST` begins |
//! | `/api/v1/diagnostics` | settings, limits, disk, memory, warnings |
//! | `/api/v1/events` | what changes, as server-sent events |
//! | `/api/v1/messages` | `POST`: a message onto the network |
//! | `/api/v1/stream` | envelopes as they are archived, as server-sent events |
//! | `/api/v1/openapi.json` | all of this, for programs (`api::openapi`) |
//!
//! Always true:
//! - What is about the node passes [`access`] before anything else looks at it;
//!   what is public for every page (`api::public`) reads the archive alone.
//! - Connections, requests at a time, bytes of a body, and the time of a request
//!   and of a connection are bounded.
//! - Reading needs no token; changing anything, or touching keys, does.

pub mod access;
mod answering;
mod asked;
mod body;
mod calendar;
mod client;
mod days;
mod diagnostics;
pub mod error;
mod events;
mod explorer;
mod failure;
mod gaps;
pub mod gateway;
mod guard;
mod head;
mod heads;
pub mod health;
mod messages;
mod metrics;
mod mirrors;
mod names;
mod openapi;
mod patience;
pub mod peers;
mod public;
mod pulse;
mod query;
mod row;
mod rpc;
mod seats;
mod segments;
mod server;
mod share;
mod shares;
mod stats;
mod status;
mod stream;
pub mod token_file;
mod traffic;
mod uniform;
mod verify;
mod workshop;

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{MethodRouter, any, get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::archive::disk::{Archive, Stop};
use crate::blocks::{Block, BlockError, BlockSource, Cid};
use crate::config::Settings;
use crate::depot::Carrier;
use crate::limits::Limits;
use crate::metrics::{FollowMeters, HttpMeters, MailMeters};
use crate::node::name_trouble::NameTrouble;
use crate::node::rounds::Rounds;
use crate::reconcile::exchange::Totals;
use crate::time::UnixSeconds;
use crate::whisper::node::NodeControl;

use access::Access;
use answering::Answering;
use diagnostics::About;
use events::Events;
use gateway::Gateway;
use gateway::denylist::Denylist;
use messages::Rates;
use metrics::DiskFigures;
use mirrors::Mirrors;
use pulse::Pulse;
use query::Turns;
use rpc::Rpc;
use stream::Streams;
use verify::Verifier;
use workshop::Workshop;

pub use error::ApiError;
pub(crate) use messages::read_any as read_message;
pub(crate) use rpc::read_arguments;

/// What all answers are made of.
struct Api {
    node: NodeControl,
    archive: Arc<Archive>,
    carrier: Option<Arc<Carrier>>,
    name_trouble: NameTrouble,
    rounds: Rounds,
    pulse: Pulse,
    answering: Answering,
    rpc: Rpc,
    gateway: Gateway,
    access: Access,
    p2p: Option<crate::p2p::Node>,
    since: UnixSeconds,
    about: About,
    queries: Turns,
    mirrors: Mirrors,
    verifier: Arc<Verifier>,
    events: Events,
    mail: Arc<MailMeters>,
    exchanged: watch::Receiver<Totals>,
    follow: Arc<FollowMeters>,
    meters: Arc<HttpMeters>,
    disk: DiskFigures,
    streams: Streams,
    posts: Rates,
    workshop: Arc<Workshop>,
    /// The daemon ends.
    stopping: CancellationToken,
    /// Tells work on the disk the same.
    stop: Stop,
}

/// What a daemon does beside archiving, as far as it is told of.
pub struct Beside {
    /// Its libp2p peer.
    pub p2p: Option<crate::p2p::Node>,
    /// What carries to its store.
    pub carrier: Option<Arc<Carrier>>,
    /// Why its names lead to no newer head.
    pub name_trouble: NameTrouble,
    /// What its mailserver counts.
    pub mail: Arc<MailMeters>,
    /// What comparing with other archivers came to.
    pub exchanged: watch::Receiver<Totals>,
    /// What following others counts.
    pub follow: Arc<FollowMeters>,
    /// How following others goes.
    pub rounds: Rounds,
}

/// A running HTTP server. Dropping it ends it without waiting.
#[derive(Debug)]
pub struct ApiServer {
    address: SocketAddr,
    stopping: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl ApiServer {
    /// Listens at `listen` and answers for `node` and `archive`, and for what is done
    /// beside.
    pub async fn start(
        listen: SocketAddr,
        settings: &Settings,
        node: NodeControl,
        archive: Arc<Archive>,
        Beside {
            p2p,
            carrier,
            name_trouble,
            mail,
            exchanged,
            follow,
            rounds,
        }: Beside,
    ) -> Result<Self, ApiError> {
        let (http, limits) = (&settings.http, &settings.limits);
        if http.open && !listen.ip().is_loopback() {
            return Err(ApiError::OpenToOthers { address: listen });
        }
        let token = token_file::load_or_create(archive.dir())?;
        let denylist = Arc::new(Denylist::open(&http.denylists)?);
        let failed = |source| ApiError::Listen {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stopping = CancellationToken::new();
        let since = node.now();
        denylist.follow(stopping.clone());
        let own = Arc::new(OwnBlocks(Arc::clone(&archive)));
        let stop = Stop::default();
        let workshop = Arc::new(Workshop::default());
        let api = Arc::new(Api {
            pulse: Pulse::start(node.clone(), &archive, stopping.clone()),
            answering: Answering::start(Arc::clone(&archive), stopping.clone()),
            rpc: Rpc::start(
                node.clone(),
                Arc::clone(&archive),
                Arc::clone(&workshop),
                stopping.clone(),
            ),
            gateway: Gateway::new(own, denylist, limits),
            node,
            verifier: Verifier::new(Arc::clone(&archive), stop.clone()),
            archive,
            p2p,
            carrier,
            name_trouble,
            rounds,
            access: Access::new(token, http.open, http.hosts.clone(), http.origins.clone()),
            since,
            about: About {
                address,
                settings: settings.clone(),
            },
            queries: Turns::default(),
            mirrors: Mirrors::default(),
            events: Events::new(limits.exempt_local),
            mail,
            exchanged,
            follow,
            meters: Arc::default(),
            disk: DiskFigures::default(),
            streams: Streams::new(limits.exempt_local),
            posts: Rates::new(limits.exempt_local),
            workshop,
            stopping: stopping.clone(),
            stop: stop.clone(),
        });
        let router = router(Arc::clone(&api), http.public, limits);
        tokio::spawn(events::watch(Arc::clone(&api), stopping.clone()));
        let task = tokio::spawn(run(api, listener, router, limits.clone(), stopping.clone()));
        Ok(Self {
            address,
            stopping,
            task: Some(task),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as clients write it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers what was asked, then ends.
    pub async fn shutdown(mut self) {
        self.stopping.cancel();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "BUG: the HTTP server panicked");
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// The blocks that the archive holds itself. What an upstream would have is for the
/// archive's own use: nothing is fetched for whoever asks over HTTP.
struct OwnBlocks(Arc<Archive>);

impl BlockSource for OwnBlocks {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.0.blocks().held().get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.0.blocks().held().has(cid)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        self.0.blocks().held().get_each(cids, take)
    }
}

/// Serves until `stopping`; then ends what works for those who asked.
async fn run(
    api: Arc<Api>,
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stopping: CancellationToken,
) {
    let serving = server::run(listener, router, limits, stopping.clone());
    let ending = async {
        stopping.cancelled().await;
        api.stop.stop();
        api.verifier.end().await;
        api.answering.end().await;
    };
    tokio::join!(serving, ending);
}

/// A path, and what answers there.
type Route = (&'static str, MethodRouter<Arc<Api>>);

/// What is about the node.
fn of_node() -> Vec<Route> {
    vec![
        ("/health", get(health::get)),
        ("/metrics", get(metrics::get)),
        ("/api/v1/status", get(status::get)),
        ("/api/v1/traffic", get(traffic::get)),
        ("/api/v1/share", get(share::get)),
        ("/api/v1/verify", get(verify::get).post(verify::post)),
        ("/api/v1/events", get(events::get)),
        ("/api/v1/messages", post(messages::post)),
        ("/api/v1/stream", get(stream::get)),
        ("/api/v1/openapi.json", get(openapi::get)),
        ("/rpc", any(rpc::serve)),
    ]
}

/// What of it is for this machine and for who has the token.
fn confidential() -> Vec<Route> {
    vec![
        ("/api/v1/peers", get(peers::get)),
        ("/api/v1/mirrors", get(mirrors::get)),
        ("/api/v1/diagnostics", get(diagnostics::get)),
    ]
}

/// What tells of heads.
fn of_heads() -> Vec<Route> {
    vec![
        ("/head", get(head::get)),
        ("/.well-known/gwa.json", get(head::well_known)),
        ("/api/v1/heads", get(heads::get)),
    ]
}

/// What gives blocks.
fn of_blocks() -> Vec<Route> {
    vec![
        ("/ipfs/{*path}", any(gateway::serve)),
        ("/ipfs/", any(gateway::serve)),
    ]
}

/// What else is of the archive.
fn of_archive() -> Vec<Route> {
    vec![
        ("/ipns/{*path}", get(names::get)),
        ("/api/v1/stats", get(stats::get)),
        ("/api/v1/segments", get(segments::get)),
        ("/api/v1/calendar", get(calendar::get)),
        ("/api/v1/days/{day}", get(days::get)),
        ("/api/v1/query", get(query::get)),
        ("/api/v1/gaps", get(gaps::get)),
    ]
}

fn routed(routes: Vec<Route>) -> Router<Arc<Api>> {
    let routes = routes.into_iter();
    routes.fold(Router::new(), |router, (path, methods)| {
        router.route(path, methods)
    })
}

/// The routes; if `is_public`, every name and page may use those of the archive.
fn router(api: Arc<Api>, is_public: bool, limits: &Limits) -> Router {
    let of_heads = routed(of_heads()).layer(middleware::from_fn_with_state(
        Arc::clone(&api),
        mirrors::note_heads,
    ));
    let of_blocks = routed(of_blocks()).layer(middleware::from_fn_with_state(
        Arc::clone(&api),
        mirrors::count_blocks,
    ));
    let of_archive = of_heads.merge(of_blocks).merge(routed(of_archive()));
    let door = middleware::from_fn_with_state(Arc::clone(&api), guard::check);
    let of_archive = if is_public {
        of_archive.layer(middleware::from_fn(public::open))
    } else {
        of_archive.layer(door.clone())
    };
    let confidential = routed(confidential()).layer(middleware::from_fn(guard::confidential));
    let of_node = routed(of_node())
        .merge(confidential)
        .merge(explorer::routes());
    let counted = middleware::from_fn_with_state(Arc::clone(&api.meters), metrics::count);
    let routes = of_node.layer(door).merge(of_archive).with_state(api);
    // Those that are turned away at once are counted too.
    server::bounded(routes, limits).layer(counted)
}
