//! `/api/v1/diagnostics`: what an operator is asked for first: settings, limits, disk,
//! memory, and what the log warned of.
//!
//! Always true: of the settings nothing secret is in it (`config::told`). Folders and
//! lines of the log are: it is for this machine and for who has the token
//! (`api::guard`).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::Api;
use crate::api::failure::Failure;
use crate::api::gateway::MAX_CARS;
use crate::api::head::ask_again;
use crate::api::{events, messages, query, server, stream, workshop};
use crate::archive::disk::Archive;
use crate::blocks::BlockStore;
use crate::config::{Setting, Settings};
use crate::limits::{Address, Limits};
use crate::rlpx::Enode;
use crate::warnings::{self, Warning};

/// What stays the same while the daemon runs.
#[derive(Debug)]
pub(super) struct About {
    /// Where the HTTP interface is.
    pub(super) address: SocketAddr,
    pub(super) settings: Settings,
}

#[derive(Debug, Serialize)]
struct Diagnostics {
    version: &'static str,
    settings: Vec<Setting>,
    limits: Vec<Limit>,
    disk: Disk,
    /// Bytes of memory that the process has; null where the system does not tell.
    memory: Option<u64>,
    /// The last warnings and errors of the log, newest first.
    warnings: Vec<Warning>,
    listen: Listen,
    /// True where somebody from beyond this machine and its private networks is
    /// connected who dialled; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    reachable: Option<bool>,
}

/// A bound, and why it is what it is.
#[derive(Debug, Serialize)]
struct Limit {
    name: &'static str,
    value: u64,
    reason: &'static str,
}

#[derive(Debug, Serialize)]
struct Disk {
    /// Bytes that may still be written; null where the system does not tell.
    free: Option<u64>,
    /// Bytes of the files of blocks.
    archive: u64,
}

/// Where it is to be reached.
#[derive(Debug, Serialize)]
struct Listen {
    /// Where it accepts peers of Whisper.
    whisper: Option<SocketAddr>,
    /// By what these reach it.
    enode: Option<Enode>,
    http: SocketAddr,
    /// By what IPFS nodes reach it; empty where there is no libp2p peer.
    p2p: Vec<String>,
    /// Nodes that discovery knows; null where it is off.
    discovered: Option<usize>,
}

/// Answers `/api/v1/diagnostics`.
pub(super) async fn get(State(api): State<Arc<Api>>) -> Response {
    let archive = Arc::clone(&api.archive);
    // The files are counted where waiting for the disk is harmless.
    let disk = match tokio::task::spawn_blocking(move || disk(&archive)).await {
        Ok(Ok(disk)) => disk,
        Ok(Err(failure)) => return failure.into_response(),
        Err(error) => return Failure::internal(&error).into_response(),
    };
    let About { address, settings } = &api.about;
    let p2p = api.p2p.as_ref();
    let told = Diagnostics {
        version: env!("CARGO_PKG_VERSION"),
        settings: settings.told(),
        limits: limits(&settings.limits),
        disk,
        memory: memory(),
        warnings: warnings::recent(),
        listen: Listen {
            whisper: api.node.local_addr(),
            enode: api.node.enode(),
            http: *address,
            p2p: p2p.map(crate::p2p::Node::addresses).unwrap_or_default(),
            discovered: api.node.discovered(),
        },
        reachable: is_reached(&api).then_some(true),
    };
    (ask_again(), Json(told)).into_response()
}

fn disk(archive: &Archive) -> Result<Disk, Failure> {
    let files = archive.blocks().folder().files();
    let files = files.map_err(|error| Failure::internal(&error))?;
    let free = rustix::fs::statvfs(archive.dir());
    Ok(Disk {
        // Blocks are counted in fragments.
        free: free
            .ok()
            .map(|told| told.f_bavail.saturating_mul(told.f_frsize)),
        archive: files.iter().map(|file| file.bytes).sum(),
    })
}

/// What the system says of this process, in pages of memory that it holds.
pub(super) fn memory() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

fn is_reached(api: &Api) -> bool {
    let peers = api.node.activity();
    let mut far = peers.iter().filter(|peer| peer.inbound);
    far.any(|peer| !Address::from(peer.address.ip()).is_local())
}

fn limits(limits: &Limits) -> Vec<Limit> {
    let limit = |name, value: u64, reason| Limit {
        name,
        value,
        reason,
    };
    let count = |name, value: usize, reason| limit(name, value as u64, reason);
    let set = limits.told();
    let set = set
        .iter()
        .map(|told| limit(told.name, told.value, told.reason));
    let fixed = [
        count(
            "http-connections",
            server::MAX_CONNECTIONS,
            "programs of one machine and a reverse proxy need few",
        ),
        count(
            "http-requests",
            server::MAX_REQUESTS,
            "requests answered at a time; more are told to come back",
        ),
        count(
            "http-body-bytes",
            server::MAX_BODY,
            "room for an envelope of 1 MiB in hex with its padding",
        ),
        count(
            "http-cars",
            MAX_CARS,
            "each holds memory, and a thread while it reads",
        ),
        count(
            "http-queries",
            query::MAX_QUERIES,
            "each holds up to 64 MiB of leaves",
        ),
        count(
            "http-event-streams",
            events::MAX_STREAMS,
            "pages that watch; each holds a connection",
        ),
        count(
            "http-envelope-streams",
            stream::MAX_STREAMS,
            "programs that follow what arrives; each holds a connection",
        ),
        count(
            "http-messages-waiting",
            workshop::MAX_WAITING,
            "messages that wait to be mined; more are told to come back",
        ),
        limit(
            "http-messages-per-second",
            messages::OF_TOKEN,
            "each is a write that is made durable",
        ),
    ];
    set.chain(fixed).collect()
}
