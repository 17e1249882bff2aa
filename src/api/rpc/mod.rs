//! `/rpc`: JSON-RPC 2.0 over HTTP and WebSocket, as geth and status-go speak it.
//!
//! One room for each namespace: [`shh`], [`shhext`], [`admin`], [`net`], [`web3`].
//! The transport is the `jsonrpsee` crate's; [`gate`] and [`args`] give its
//! answers the codes and texts of geth.
//!
//! Always true:
//! - What touches keys, or changes anything, needs the token; see
//!   [`access`](crate::api::access).
//! - A WebSocket is opened only to those who may do everything: what it can make
//!   the daemon hold is theirs to answer for.

mod admin;
mod args;
mod context;
mod fault;
mod gate;
mod hex_data;
mod methods;
mod net;
mod shh;
mod shhext;
mod waiting;
mod web3;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jsonrpsee::core::middleware::RpcServiceBuilder;
use jsonrpsee::core::traits::IdProvider;
use jsonrpsee::server::{
    BatchRequestConfig, Methods as Registered, PingConfig, Server, ServerConfig, ServerHandle,
    StopHandle, TowerServiceBuilder, stop_channel,
};
use jsonrpsee::types::{Params, SubscriptionId};
use tokio_util::sync::CancellationToken;
use tower::Service;
use tower::layer::util::Identity;

use crate::api::Api;
use crate::api::access::Grant;
use crate::api::body::{self, Unarrived};
use crate::api::server::MAX_BODY;
use crate::api::workshop::Workshop;
use crate::archive::disk::Archive;
use crate::rlpx::random::random_bytes;
use crate::time::UnixSeconds;
use crate::whisper::node::NodeControl;

use args::Args;
use context::Context;
use gate::{GateLayer, Transport};
use methods::Methods;

/// What starts notifications.
const SUBSCRIBE: &str = "shh_subscribe";
/// What notifications are called.
const NOTIFICATION: &str = "shh_subscription";
/// What ends them.
const UNSUBSCRIBE: &str = "shh_unsubscribe";

/// Bytes of an answer: all that one filter may hold, in hex.
const MAX_RESPONSE: usize = 64 << 20;

/// Bytes of a call that brings no token: what is open to all has short arguments.
const MAX_OPEN_BODY: usize = 128 << 10;

/// Calls in a batch.
const MAX_BATCH: u32 = 100;

/// WebSockets and HTTP calls at a time.
const MAX_CONNECTIONS: u32 = 64;

/// Subscriptions of one WebSocket.
const MAX_SUBSCRIPTIONS: u32 = 256;

/// Answers and notifications that wait for a client to read; then whoever makes
/// more of them waits.
const MAX_UNREAD: u32 = 256;

/// The JSON-RPC server behind `/rpc`.
pub(super) struct Rpc {
    methods: Registered,
    builder: TowerServiceBuilder<Identity, Identity>,
    gate: GateLayer,
    stop: StopHandle,
    connections: AtomicU32,
}

impl Rpc {
    /// Methods over `node` and `archive`, until `stopping`.
    pub(super) fn start(
        node: NodeControl,
        archive: Arc<Archive>,
        workshop: Arc<Workshop>,
        stopping: CancellationToken,
    ) -> Self {
        let context = Context::new(node, archive, workshop, stopping.clone());
        let mut methods = Methods::new(context);
        shh::register(&mut methods);
        shhext::register(&mut methods);
        admin::register(&mut methods);
        net::register(&mut methods);
        web3::register(&mut methods);
        let config = ServerConfig::builder()
            .max_request_body_size(u32::try_from(MAX_BODY).unwrap_or(u32::MAX))
            .max_response_body_size(u32::try_from(MAX_RESPONSE).unwrap_or(u32::MAX))
            .max_connections(MAX_CONNECTIONS)
            .max_subscriptions_per_connection(MAX_SUBSCRIPTIONS)
            .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
            .set_message_buffer_capacity(MAX_UNREAD)
            .enable_ws_ping(PingConfig::default())
            .set_id_provider(SubscriptionIds)
            .build();
        let (stop, handle) = stop_channel();
        tokio::spawn(stop_with(handle, stopping));
        Self {
            methods: methods.module.into(),
            builder: Server::builder().set_config(config).to_service_builder(),
            gate: GateLayer(Arc::new(methods.needs)),
            stop,
            connections: AtomicU32::new(0),
        }
    }

    async fn call(&self, request: Request) -> Response {
        let connection = self.connections.fetch_add(1, Ordering::Relaxed);
        let mut service = self
            .builder
            .clone()
            .connection_id(connection)
            .set_rpc_middleware(RpcServiceBuilder::new().layer(self.gate.clone()))
            .build(self.methods.clone(), self.stop.clone());
        match service.call(request).await {
            Ok(response) => response.into_response(),
            Err(error) => {
                tracing::warn!(%error, "JSON-RPC call failed");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

/// Reads arguments as every method does: for fuzzing.
pub(crate) fn read_arguments(json: &str, now: UnixSeconds) {
    let Ok(args) = Args::read(&Params::new(Some(json)), MAX_FUZZED) else {
        return;
    };
    for at in 0..MAX_FUZZED {
        let Ok(argument) = args.required(at) else {
            return;
        };
        let _ = argument.read(|value| {
            shh::read_any(value);
            shhext::read_any(value, now);
            Ok(())
        });
        let _ = (args.float(at), args.u32(at), args.enode(at));
        if let (Ok(text), Ok(bytes)) = (args.text(at), args.data(at))
            && !bytes.is_empty()
        {
            assert_eq!(hex_data::write(&bytes), text.to_ascii_lowercase());
        }
        if let Ok(text) = args.text(at)
            && let Ok(Some(cursor)) = shhext::cursor(&text)
        {
            assert_eq!(cursor.to_string(), text.to_ascii_lowercase());
        }
    }
}

/// Arguments that are looked at by fuzzing.
const MAX_FUZZED: usize = 4;

/// Ends all WebSockets when `stopping`.
async fn stop_with(handle: ServerHandle, stopping: CancellationToken) {
    stopping.cancelled().await;
    // It fails where nothing is left to be stopped.
    let _ = handle.stop();
}

/// Answers calls, and opens WebSockets.
pub(super) async fn serve(State(api): State<Arc<Api>>, mut request: Request) -> Response {
    let granted = request.extensions().get::<Grant>().copied();
    let wants_socket = request
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let transport = if wants_socket {
        Transport::WebSocket
    } else {
        Transport::Http
    };
    request.extensions_mut().insert(transport);
    if wants_socket {
        if granted == Some(Grant::All) {
            return api.rpc.call(request).await;
        }
        let told = "a WebSocket needs the token in rpc.token, as a bearer or as ?token=\n";
        return (StatusCode::UNAUTHORIZED, told).into_response();
    }
    match *request.method() {
        // Health checks of load balancers, as geth answers them.
        Method::GET | Method::HEAD => StatusCode::OK.into_response(),
        Method::POST if is_json(request.headers().get(header::CONTENT_TYPE)) => {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
            let most = match granted {
                Some(Grant::All) => MAX_BODY,
                _ => MAX_OPEN_BODY,
            };
            match arrived(request, most).await {
                Ok(request) => api.rpc.call(request).await,
                Err(refused) => refused.into_response(),
            }
        }
        Method::POST => {
            let told = "invalid content type, only application/json is supported\n";
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, told).into_response()
        }
        _ => {
            let allowed = [(header::ALLOW, "GET, HEAD, POST")];
            let told = "method not allowed\n";
            (StatusCode::METHOD_NOT_ALLOWED, allowed, told).into_response()
        }
    }
}

/// The request with its body here as a whole, which takes `most` bytes at most.
async fn arrived(request: Request, most: usize) -> Result<Request, (StatusCode, String)> {
    let (head, body) = request.into_parts();
    match body::whole(body, most).await {
        Ok(body) => Ok(Request::from_parts(head, body.into())),
        Err(unarrived) => {
            let told = match unarrived {
                Unarrived::TooLong { .. } if most < MAX_BODY => {
                    format!("a call has {most} bytes at most without the token in rpc.token\n")
                }
                Unarrived::TooLong { .. } => format!("a call has {most} bytes at most\n"),
                Unarrived::CutOff => "the call did not arrive\n".to_owned(),
                Unarrived::TooSlow => "the call came too slowly\n".to_owned(),
            };
            Err((unarrived.status(), told))
        }
    }
}

/// Whether a content type is one of those geth takes, whatever its parameters.
fn is_json(value: Option<&HeaderValue>) -> bool {
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = text.split(';').next().unwrap_or("").trim();
    [
        "application/json",
        "application/json-rpc",
        "application/jsonrequest",
    ]
    .iter()
    .any(|known| kind.eq_ignore_ascii_case(known))
}

/// Names of subscriptions: `0x` and 16 random bytes in hex, without leading
/// zeros, as geth makes them.
#[derive(Clone, Copy, Debug)]
struct SubscriptionIds;

impl IdProvider for SubscriptionIds {
    fn next_id(&self) -> SubscriptionId<'static> {
        let digits = hex::encode(random_bytes::<16>());
        let trimmed = digits.trim_start_matches('0');
        let digits = if trimmed.is_empty() { "0" } else { trimmed };
        SubscriptionId::Str(format!("0x{digits}").into())
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[tokio::test]
    async fn a_call_without_token_is_short() {
        let of = |len: usize| Request::new(Body::from(vec![b' '; len]));
        assert!(arrived(of(MAX_OPEN_BODY), MAX_OPEN_BODY).await.is_ok());
        let (status, told) = arrived(of(MAX_OPEN_BODY + 1), MAX_OPEN_BODY)
            .await
            .unwrap_err();
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(told.contains("rpc.token"), "{told}");
    }
}
