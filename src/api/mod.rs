//! The HTTP interface: one port for programs and people.
//!
//! A thin shell: each noun answers for itself, what it says comes from the node
//! and the archive.
//!
//! | path | answer |
//! |---|---|
//! | `/health` | whether the daemon does its work; 503 if not |
//! | `/api/v1/status` | what it is and what it did so far |
//! | `/api/v1/peers` | who is connected, who was dropped and why |
//! | `/rpc` | JSON-RPC over HTTP and WebSocket (`api::rpc`) |
//! | `/ipfs/..` | blocks and CARs (`api::gateway`) |
//! | `/ipns/..` | signed records of names (`api::names`) |
//! | `/head`, `/.well-known/gwa.json` | the current head (`api::head`) |
//! | `/api/v1/heads` | its lineage |
//! | `/api/v1/stats`, `/api/v1/segments` | what the archive holds, and where |
//!
//! Always true:
//! - What is about the node passes [`access`] before anything else looks at it;
//!   what is public for every page (`api::public`) reads the archive alone.
//! - Connections, requests at a time, bytes of a body, and the time of a request
//!   and of a connection are bounded.
//! - Reading needs no token; changing anything, or touching keys, does.

pub mod access;
mod client;
pub mod error;
mod failure;
pub mod gateway;
mod guard;
mod head;
mod heads;
mod health;
mod names;
mod patience;
pub mod peers;
mod public;
mod pulse;
mod rpc;
mod segments;
mod server;
mod shares;
mod stats;
mod status;
pub mod token_file;

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{any, get};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::archive::disk::Archive;
use crate::blocks::{Block, BlockError, BlockSource, Cid};
use crate::config::HttpSettings;
use crate::depot::Carrier;
use crate::limits::Limits;
use crate::node::name_trouble::NameTrouble;
use crate::time::UnixSeconds;
use crate::whisper::node::NodeControl;

use access::Access;
use gateway::Gateway;
use gateway::denylist::Denylist;
use pulse::Pulse;
use rpc::Rpc;

pub use error::ApiError;
pub(crate) use rpc::read_arguments;

/// What all answers are made of.
struct Api {
    node: NodeControl,
    archive: Arc<Archive>,
    carrier: Option<Arc<Carrier>>,
    name_trouble: NameTrouble,
    pulse: Pulse,
    rpc: Rpc,
    gateway: Gateway,
    access: Access,
    p2p: Option<crate::p2p::Node>,
    since: UnixSeconds,
}

/// What a daemon does beside archiving, as far as it is told of.
pub struct Beside {
    /// Its libp2p peer.
    pub p2p: Option<crate::p2p::Node>,
    /// What carries to its store.
    pub carrier: Option<Arc<Carrier>>,
    /// Why its names lead to no newer head.
    pub name_trouble: NameTrouble,
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
        settings: &HttpSettings,
        limits: &Limits,
        node: NodeControl,
        archive: Arc<Archive>,
        Beside {
            p2p,
            carrier,
            name_trouble,
        }: Beside,
    ) -> Result<Self, ApiError> {
        if settings.open && !listen.ip().is_loopback() {
            return Err(ApiError::OpenToOthers { address: listen });
        }
        let token = token_file::load_or_create(archive.dir())?;
        let denylist = Arc::new(Denylist::open(&settings.denylists)?);
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
        let api = Arc::new(Api {
            pulse: Pulse::start(node.clone(), stopping.clone()),
            rpc: Rpc::start(node.clone(), Arc::clone(&archive), stopping.clone()),
            gateway: Gateway::new(own, denylist, limits),
            node,
            archive,
            p2p,
            carrier,
            name_trouble,
            access: Access::new(
                token,
                settings.open,
                settings.hosts.clone(),
                settings.origins.clone(),
            ),
            since,
        });
        let router = router(api, settings.public, limits);
        let task = tokio::spawn(server::run(
            listener,
            router,
            limits.clone(),
            stopping.clone(),
        ));
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

/// The routes; if `is_public`, every name and page may use those of the archive.
fn router(api: Arc<Api>, is_public: bool, limits: &Limits) -> Router {
    let of_node = Router::new()
        .route("/health", get(health::get))
        .route("/api/v1/status", get(status::get))
        .route("/api/v1/peers", get(peers::get))
        .route("/rpc", any(rpc::serve));
    let of_archive = Router::new()
        .route("/ipfs/{*path}", any(gateway::serve))
        .route("/ipfs/", any(gateway::serve))
        .route("/ipns/{*path}", get(names::get))
        .route("/head", get(head::get))
        .route("/.well-known/gwa.json", get(head::well_known))
        .route("/api/v1/heads", get(heads::get))
        .route("/api/v1/stats", get(stats::get))
        .route("/api/v1/segments", get(segments::get));
    let door = middleware::from_fn_with_state(Arc::clone(&api), guard::check);
    let of_archive = if is_public {
        of_archive.layer(middleware::from_fn(public::open))
    } else {
        of_archive.layer(door.clone())
    };
    let routes = of_node.layer(door).merge(of_archive).with_state(api);
    server::bounded(routes, limits)
}
