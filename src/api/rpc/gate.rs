//! What every call passes before its method: is there such a method, may this
//! client call it, and can this connection carry the answer.
//!
//! Always true: answers have geth's codes and texts where the JSON-RPC library
//! has its own, and a batch is no way around any of it.

use std::future::Future;
use std::sync::Arc;

use jsonrpsee::core::middleware::{Batch, BatchEntry, Notification, RpcServiceT};
use jsonrpsee::server::middleware::rpc::RpcService;
use jsonrpsee::server::{BatchResponseBuilder, MethodResponse};
use jsonrpsee::types::{ErrorObjectOwned, Id, Request};
use serde_json::Value;

use crate::api::access::Grant;
use crate::api::rpc::fault::{HANDLER, NO_METHOD, NO_TOKEN, PARSE};
use crate::api::rpc::methods::Needs;
use crate::api::rpc::{MAX_RESPONSE, SUBSCRIBE, UNSUBSCRIBE};

/// How a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// One request, one answer.
    Http,
    /// A connection that can be told more.
    WebSocket,
}

/// The gate in front of `inner`.
#[derive(Clone, Debug)]
pub(super) struct Gate<S> {
    inner: S,
    needs: Arc<Needs>,
}

impl<S> Gate<S> {
    pub(super) fn new(inner: S, needs: Arc<Needs>) -> Self {
        Self { inner, needs }
    }

    /// Why a call goes no further, if it does not.
    fn refusal(&self, request: &Request<'_>) -> Option<ErrorObjectOwned> {
        let name = request.method_name();
        let error = |code, text| Some(ErrorObjectOwned::owned(code, text, None::<()>));
        let Some(needed) = self.needs.get(name) else {
            let text = format!("the method {name} does not exist/is not available");
            return error(NO_METHOD, text);
        };
        let granted = request.extensions().get::<Grant>();
        if granted.is_none_or(|granted| granted < needed) {
            let text = format!("the method {name} needs the token in rpc.token");
            return error(NO_TOKEN, text);
        }
        let is_subscription = name == SUBSCRIBE || name == UNSUBSCRIBE;
        let over = request.extensions().get::<Transport>();
        if is_subscription && over != Some(&Transport::WebSocket) {
            return error(HANDLER, "notifications not supported".to_owned());
        }
        None
    }
}

impl<S> RpcServiceT for Gate<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type BatchResponse = MethodResponse;
    type NotificationResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let refused = self.refusal(&request);
        let inner = self.inner.clone();
        async move {
            if let Some(error) = refused {
                return MethodResponse::error(request.id, error);
            }
            if request.method_name() == UNSUBSCRIBE {
                let id = request.id.clone().into_owned();
                return unsubscribed(id, inner.call(request).await);
            }
            inner.call(request).await
        }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let gate = self.clone();
        async move {
            let mut answers = BatchResponseBuilder::new_with_limit(MAX_RESPONSE);
            for entry in batch {
                let answer = match entry {
                    Ok(BatchEntry::Call(call)) => gate.call(call).await,
                    Ok(BatchEntry::Notification(notification)) => {
                        gate.notification(notification).await
                    }
                    Err(malformed) => {
                        let (error, id) = malformed.into_parts();
                        MethodResponse::error(id, error)
                    }
                };
                if let Err(too_large) = answers.append(answer) {
                    return too_large;
                }
            }
            MethodResponse::from_batch(answers.finish())
        }
    }

    fn notification<'a>(
        &self,
        _: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        // geth answers every call, and has no use for one without an id.
        let error = ErrorObjectOwned::owned(PARSE, "missing request id", None::<()>);
        async move { MethodResponse::error(Id::Null, error) }
    }
}

/// The library says `false` to an id that it does not know; geth fails.
fn unsubscribed(id: Id<'static>, answer: MethodResponse) -> MethodResponse {
    let json: Option<Value> = serde_json::from_str(answer.as_json().get()).ok();
    let found = json.and_then(|json| json.get("result")?.as_bool());
    if found == Some(true) {
        return answer;
    }
    let error = ErrorObjectOwned::owned(HANDLER, "subscription not found", None::<()>);
    MethodResponse::error(id, error)
}

/// Puts a gate in front of the library's own service.
#[derive(Clone, Debug)]
pub(super) struct GateLayer(pub(super) Arc<Needs>);

impl tower::Layer<RpcService> for GateLayer {
    type Service = Gate<RpcService>;

    fn layer(&self, inner: RpcService) -> Self::Service {
        Gate::new(inner, Arc::clone(&self.0))
    }
}
