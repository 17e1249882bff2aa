//! Connections: accepted, bounded, ended.
//!
//! Always true: what a connection may take, in number, time and bytes, is
//! bounded before its first byte is read.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::api::client::Client;
use crate::api::patience::Patient;
use crate::api::shares::Shares;
use crate::api::uniform;
use crate::limits::Limits;

/// Connections at a time: programs of one machine and a reverse proxy need few.
pub(super) const MAX_CONNECTIONS: usize = 256;

/// Connections of one address beyond this machine and its private networks: a
/// browser opens six, a gwa that fetches block by block some forty.
const MAX_CONNECTIONS_OF_ADDRESS: usize = 64;

/// Requests being answered at a time; more are told to come back.
pub(super) const MAX_REQUESTS: usize = 128;

/// Requests of one address beyond this machine and its private networks: what a
/// gwa that fetches block by block has under way, and a quarter of all.
const MAX_REQUESTS_OF_ADDRESS: usize = 32;

/// Bytes of a request body: what status-go takes, room for an envelope of 1 MiB
/// in hex with its padding.
pub(super) const MAX_BODY: usize = 5 << 20;

/// How long the headers of a request may take, and an idle connection stay.
const HEADER_TIME: Duration = Duration::from_secs(30);

/// How long a request may take, longest mining and longest wait for a
/// mailserver included.
pub(super) const REQUEST_TIME: Duration = Duration::from_secs(120);

/// How long a client may leave its answer unread. A mirror of a large archive takes
/// hours, so the time of a connection as a whole is not bounded.
const UNREAD_TIME: Duration = Duration::from_secs(30);

/// How long answers may still take when the daemon ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long no connection is accepted after the system gave none, as when it
/// has no file descriptors left.
const RETRY: Duration = Duration::from_millis(100);

/// The routes, with the bounds of each request around them.
pub(super) fn bounded(routes: Router, limits: &Limits) -> Router {
    let shares = Shares::new(MAX_REQUESTS_OF_ADDRESS, limits.exempt_local);
    let share = middleware::from_fn_with_state(shares, share);
    routes.layer(
        ServiceBuilder::new()
            .layer(middleware::from_fn(uniform::tell))
            .layer(share)
            .layer(HandleErrorLayer::new(|_| async {
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    [(header::RETRY_AFTER, "1")],
                    "too many requests at once\n",
                )
            }))
            .layer(LoadShedLayer::new())
            .layer(GlobalConcurrencyLimitLayer::new(MAX_REQUESTS))
            .layer(TimeoutLayer::with_status_code(
                StatusCode::REQUEST_TIMEOUT,
                REQUEST_TIME,
            ))
            .layer(RequestBodyLimitLayer::new(MAX_BODY)),
    )
}

/// Goes on where the client's address has less than its share under way.
async fn share(State(shares): State<Shares>, request: Request, next: Next) -> Response {
    let share = Client::address_of(&request).map(|address| shares.take(address));
    if let Some(None) = share {
        let told = "too many requests at once from your address\n";
        let soon = [(header::RETRY_AFTER, "1")];
        return (StatusCode::TOO_MANY_REQUESTS, soon, told).into_response();
    }
    next.run(request).await
}

/// Accepts connections until `stopping`, then waits for the answers under way.
pub(super) async fn run(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stopping: CancellationToken,
) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let shares = Shares::new(MAX_CONNECTIONS_OF_ADDRESS, limits.exempt_local);
    let connections = TaskTracker::new();
    let hang_up = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = accept(&listener, &seats) => accepted,
        };
        match accepted {
            Ok(accepted) => {
                // Who has its share already is hung up on.
                if let Some(share) = shares.take(accepted.client.address()) {
                    let served = serve(accepted, router.clone(), stopping.clone());
                    let hang_up = hang_up.clone();
                    connections.spawn(async move {
                        tokio::select! {
                            () = served => {}
                            () = hang_up.cancelled() => {}
                        }
                        drop(share);
                    });
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no HTTP connection");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
    connections.close();
    if tokio::time::timeout(FAREWELL, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!("HTTP answers are cut off");
        // What they read belongs to somebody who ends.
        hang_up.cancel();
        connections.wait().await;
    }
}

/// A connection, and its seat.
struct Accepted {
    stream: TcpStream,
    client: Client,
    seat: OwnedSemaphorePermit,
}

/// The next connection, once there is a seat for it.
async fn accept(listener: &TcpListener, seats: &Arc<Semaphore>) -> io::Result<Accepted> {
    let seat = Arc::clone(seats)
        .acquire_owned()
        .await
        .expect("nothing closes the semaphore");
    let (stream, address) = listener.accept().await?;
    Ok(Accepted {
        stream,
        client: Client(address),
        seat,
    })
}

async fn serve(accepted: Accepted, router: Router, stopping: CancellationToken) {
    let Accepted {
        stream,
        client,
        seat: _seat,
    } = accepted;
    // Answers are small and whole: waiting to fill packets only delays them.
    let _ = stream.set_nodelay(true);
    let stream = Patient::new(stream, UNREAD_TIME);
    let router = router.map_request(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(client);
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "HTTP connection failed");
    }
}
