//! The door: every request passes it first.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::Api;
use crate::api::access::{Credentials, Denial, Grant, is_loopback};
use crate::api::client::Client;
use crate::api::failure::Failure;

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
        host: host(&request),
        origin: text(headers, &header::ORIGIN),
        authorization: text(headers, &header::AUTHORIZATION),
        query: uri.query(),
    };
    let judged = match is_of_another_site(headers) {
        true => Err(Denial::Origin),
        false => api.access.judge(&shown),
    };
    match judged {
        Ok(grant) => {
            let grant = match is_near(&request) {
                true => grant.max(Grant::Near),
                false => grant,
            };
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

/// Goes on for whoever is of this machine or brings the token. What is told here names
/// others' addresses, folders and lines of the log: nothing for strangers, though they
/// reach the port.
pub(super) async fn confidential(request: Request, next: Next) -> Response {
    let granted = request.extensions().get::<Grant>();
    if granted.is_some_and(|granted| *granted >= Grant::Near) {
        return next.run(request).await;
    }
    Failure::needs_token().into_response()
}

/// Whether a program of this machine asks, and for nobody else.
fn is_near(request: &Request) -> bool {
    let client = request.extensions().get::<Client>();
    client.is_some_and(Client::is_this_machine)
        && names_this_machine(request)
        && !is_handed_on(request.headers())
}

/// Whether a request is for this machine by a name that only it has: under others a
/// reverse proxy stands between.
fn names_this_machine(request: &Request) -> bool {
    host(request).is_some_and(is_loopback)
}

fn host(request: &Request) -> Option<&str> {
    // A target may name the host itself; then the header means nothing.
    let named = request.uri().authority();
    named
        .map(axum::http::uri::Authority::as_str)
        .or_else(|| text(request.headers(), &header::HOST))
}

/// Whether a proxy says that it asks for somebody else.
fn is_handed_on(headers: &HeaderMap) -> bool {
    const SAID: [&str; 8] = [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "x-client-ip",
        "cf-connecting-ip",
        "via",
    ];
    SAID.iter().any(|name| headers.contains_key(*name))
}

/// Whether another site makes the browser ask, where nobody is to look at the answer:
/// of pictures and scripts no `Origin` is sent.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let sent = |name: &'static str| text(headers, &HeaderName::from_static(name));
    !headers.contains_key(header::ORIGIN)
        && sent("sec-fetch-site") == Some("cross-site")
        && sent("sec-fetch-mode") != Some("navigate")
}

/// The value of a header. One that is no text passes for an empty one, which
/// nothing allows.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or(""))
}
