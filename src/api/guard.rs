//! The door: every request passes it first.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::Api;
use crate::api::access::{Credentials, Denial};

/// Turns away what [`Access`](crate::api::access::Access) denies; all others go
/// on with their [`Grant`](crate::api::access::Grant) among the extensions.
pub(super) async fn check(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let uri = request.uri();
    let shown = Credentials {
        // A target may name the host itself; then the header means nothing.
        host: uri
            .authority()
            .map(axum::http::uri::Authority::as_str)
            .or_else(|| text(headers, &header::HOST)),
        origin: text(headers, &header::ORIGIN),
        authorization: text(headers, &header::AUTHORIZATION),
        query: uri.query(),
    };
    match api.access.judge(&shown) {
        Ok(grant) => {
            request.extensions_mut().insert(grant);
            next.run(request).await
        }
        Err(denial) => {
            let status = match denial {
                Denial::Host | Denial::Origin => StatusCode::FORBIDDEN,
                Denial::Token => StatusCode::UNAUTHORIZED,
            };
            // What speaks JSON says it as JSON (`api::uniform`).
            let mut response = (status, format!("{denial}\n")).into_response();
            if denial == Denial::Token {
                let scheme = HeaderValue::from_static("Bearer");
                let headers = response.headers_mut();
                headers.insert(header::WWW_AUTHENTICATE, scheme);
            }
            response
        }
    }
}

/// The value of a header. One that is no text passes for an empty one, which
/// nothing allows.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or(""))
}
