//! What is answered where there is no answer: JSON that says why.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::archive::ArchiveError;
use crate::archive::disk::{Archive, DiskError};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    status: StatusCode,
    /// When to come back, where that may help.
    after: Option<Duration>,
    told: Told,
}

/// What is said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Told {
    error: Cow<'static, str>,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

impl Failure {
    /// A failure that the client can do something about.
    pub(super) fn new(status: StatusCode, error: impl Into<Cow<'static, str>>) -> Self {
        let told = Told {
            error: error.into(),
            hint: None,
        };
        Self {
            status,
            after: None,
            told,
        }
    }

    /// A request that cannot be understood.
    pub(super) fn bad_request(error: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// The same, and what can be done about it.
    #[must_use]
    pub(super) fn hint(mut self, hint: &'static str) -> Self {
        self.told.hint = Some(hint);
        self
    }

    /// What only those may do who have the token.
    pub(super) fn needs_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "this needs the token")
            .hint("send `Authorization: Bearer TOKEN` with what stands in DIR/rpc.token")
    }

    /// The same, and when to come back.
    #[must_use]
    pub(super) fn after(mut self, after: Duration) -> Self {
        self.after = Some(after);
        self
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

    /// What could not be read of `archive`. A block that rests elsewhere is no failure of
    /// this side; one that is gone is.
    pub(super) fn unread(archive: &Archive, error: &ArchiveError) -> Self {
        match error.is_missing() {
            true => Self::missing(archive, error),
            false => Self::internal(error),
        }
    }

    /// The same, of an archive on its disk.
    pub(super) fn unread_disk(archive: &Archive, error: &DiskError) -> Self {
        match error.is_missing() {
            true => Self::missing(archive, error),
            false => Self::internal(error),
        }
    }

    fn missing(archive: &Archive, error: &dyn Display) -> Self {
        if !archive.is_complete() || archive.is_replica() {
            return Self::not_held();
        }
        Self::internal(error).hint(
            "a file of the archive is gone: `gwa verify` says what is missing, `gwa repair` \
             fetches it, once the daemon is stopped",
        )
    }

    fn not_held() -> Self {
        Self::new(StatusCode::NOT_FOUND, "a block of the answer is not held here")
            .hint("it rests with the archive that this one was forked from: ask for a later time, or run `gwa serve` without `--lazy`, which copies it")
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        let mut response = (self.status, no_store, Json(self.told)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(after) = self.after {
            // Rounded up: who comes back on time is served.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}
