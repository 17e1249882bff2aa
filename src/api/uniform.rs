//! Failures of the layers around the answers, in the same words and form as those of
//! the answers themselves.
//!
//! Always true: whatever fails below a path that speaks JSON says why as JSON
//! ([`Failure`](crate::api::failure::Failure)): bounds of the server, methods that are
//! not there and paths that lead nowhere included. Blocks and names speak as the
//! specification of gateways has it, `/rpc` as JSON-RPC does.

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use serde::Serialize;

/// Bytes of a text that says why: one line.
const MAX_TEXT: usize = 4 << 10;

/// What speaks JSON beside all of `/api/`.
const SPEAKS_JSON: [&str; 3] = ["/health", "/head", "/.well-known/gwa.json"];

#[derive(Serialize)]
struct Told<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

/// Tells every failure as JSON, where JSON is spoken.
pub(super) async fn tell(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let speaks_json = path.starts_with("/api/") || SPEAKS_JSON.contains(&path);
    let response = next.run(request).await;
    let status = response.status();
    let failed = status.is_client_error() || status.is_server_error();
    if !speaks_json || !failed || is_json(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = text(body).await;
    let told = Json(Told {
        error: match text.trim() {
            "" => plain(status),
            text => text,
        },
        hint: hint(status),
    });
    let (json, body) = told.into_response().into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(json.headers);
    let no_store = HeaderValue::from_static("no-store");
    parts.headers.insert(header::CACHE_CONTROL, no_store);
    Response::from_parts(parts, body)
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

/// What the failure says itself, if it is text and short.
async fn text(body: Body) -> String {
    let body = Limited::new(body, MAX_TEXT).collect().await;
    let bytes = body.map(|body| body.to_bytes()).unwrap_or_default();
    String::from_utf8(bytes.into()).unwrap_or_default()
}

/// A status in words.
fn plain(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "there is nothing of that name",
        StatusCode::METHOD_NOT_ALLOWED => "there is no such method here",
        StatusCode::REQUEST_TIMEOUT => "the request took too long",
        other => other.canonical_reason().unwrap_or("it failed"),
    }
}

fn hint(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::NOT_FOUND => Some("GET /api/v1/openapi.json says what there is"),
        StatusCode::METHOD_NOT_ALLOWED => Some("`Allow` says which there are"),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Some("`Retry-After` says when to come back")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    async fn answer(path: &str, method: &str) -> (StatusCode, String, Vec<u8>) {
        let failing = || async {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                [("retry-after", "7")],
                "busy\n",
            )
        };
        let long = || async { (StatusCode::BAD_GATEWAY, "x".repeat(2 * MAX_TEXT)) };
        let told = || async { (StatusCode::CONFLICT, Json("as it is")) };
        let router = Router::new()
            .route("/api/v1/busy", get(failing))
            .route("/api/v1/long", get(long))
            .route("/api/v1/told", get(told))
            .route("/ipfs/busy", get(failing))
            .layer(axum::middleware::from_fn(tell));
        let request = Request::builder().method(method).uri(path);
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await;
        let answer = answer.unwrap();
        let kind = answer.headers()[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        if path.ends_with("busy") && method == "GET" {
            assert_eq!(answer.headers()["retry-after"], "7");
        }
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, kind, body.to_vec())
    }

    #[tokio::test]
    async fn what_fails_around_an_answer_says_why_as_json() {
        for (path, method, status, error) in [
            ("/api/v1/busy", "GET", 503, "busy"),
            ("/api/v1/busy", "POST", 405, "there is no such method here"),
            (
                "/api/v1/nothing",
                "GET",
                404,
                "there is nothing of that name",
            ),
            ("/api/v1/long", "GET", 502, "Bad Gateway"),
        ] {
            let (told, kind, body) = answer(path, method).await;
            assert_eq!(
                (told.as_u16(), &*kind),
                (status, "application/json"),
                "{path}"
            );
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["error"], error, "{path}");
        }
    }

    #[tokio::test]
    async fn what_is_json_already_or_is_no_part_of_it_stays_as_it_is() {
        let (_, _, body) = answer("/api/v1/told", "GET").await;
        assert_eq!(body, b"\"as it is\"");
        let (_, kind, body) = answer("/ipfs/busy", "GET").await;
        assert!(kind.starts_with("text/plain"));
        assert_eq!(body, b"busy\n");
    }
}
