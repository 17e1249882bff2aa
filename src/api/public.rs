//! What every page and every name may read: the archive itself.
//!
//! Always true:
//! - What passes here is public already, and the same for everybody: no answer
//!   depends on a token, a cookie or where the page came from, and none changes
//!   anything.
//! - It tells pages so, as the gateway specification asks (CORS), and does not
//!   allow what browsers ask before a page of the Internet may reach a machine
//!   beside it (`Access-Control-Allow-Private-Network`).

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// What pages may read of an answer, beside what they always may. The two of
/// streams are never sent; clients of gateways ask for them.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Content-Length, Content-Location, Content-Range, ETag, Retry-After, X-Chunked-Output, \
     X-Ipfs-Path, X-Ipfs-Roots, X-Stream-Output",
);

const CORS: [(HeaderName, HeaderValue); 5] = [
    (
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    ),
    (
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, OPTIONS"),
    ),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "Accept, Cache-Control, Content-Type, If-None-Match, Range, User-Agent, \
             X-Requested-With",
        ),
    ),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED),
    // A day, the longest that a browser remembers.
    (
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("86400"),
    ),
];

/// Lets every page read the answer.
pub(super) async fn open(request: Request, next: Next) -> Response {
    let mut response = match *request.method() {
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    for (name, value) in CORS {
        response.headers_mut().insert(name, value);
    }
    response
}
