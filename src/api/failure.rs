//! What is answered where there is no answer: JSON that says why.

use std::fmt::Display;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    status: StatusCode,
    told: &'static str,
}

impl Failure {
    /// A failure that the client can do something about.
    pub(super) fn new(status: StatusCode, told: &'static str) -> Self {
        Self { status, told }
    }

    /// A failure of this side. The operator reads why; the client does not, for it
    /// may name files.
    pub(super) fn internal(error: &dyn Display) -> Self {
        tracing::error!(%error, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the archive cannot be read",
        )
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        let body = Json(json!({ "error": self.told }));
        (self.status, no_store, body).into_response()
    }
}
