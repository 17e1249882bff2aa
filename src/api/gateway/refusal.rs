//! Why something is not served, and how a client is told.
//!
//! Always true: what a client reads names no file of this machine.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::ask::AskError;
use crate::blocks::{BlockError, Cid};

/// When to come back to a server that is full.
const SOON: Duration = Duration::from_secs(5);

/// Why a request is not served, or an answer ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It could not be read.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A block is not in this archive, which fetches none.
    #[error("block {cid} is not held here")]
    NotHeld {
        /// The block.
        cid: Cid,
    },
    /// A block is not here, and the client wants nothing that is not.
    #[error("block {cid} is not held here")]
    NotCached {
        /// The block.
        cid: Cid,
    },
    /// A name of the path leads nowhere.
    #[error("there is no such name in block {cid}")]
    NoSuchName {
        /// Where it was looked for.
        cid: Cid,
    },
    /// One block is asked for, and the path ends within one.
    #[error("the path ends within block {cid}: ask for `format=car`, or for the block itself")]
    EndsWithin {
        /// The block.
        cid: Cid,
    },
    /// None of the bytes asked for are there.
    #[error("`entity-bytes` lies outside block {cid}")]
    NoSuchBytes {
        /// The block.
        cid: Cid,
    },
    /// A service worker would be in control of more than one path.
    #[error("no service worker is served here")]
    ServiceWorker,
    /// Only reading is.
    #[error("only GET, HEAD and OPTIONS are served here")]
    Method,
    /// A denylist names it.
    #[error("blocked by a denylist of this gateway")]
    Denied,
    /// A stream whose early end this client could not tell from its end.
    #[error("a CAR needs HTTP/1.1, where an answer that is cut off can be told from a whole one")]
    OldHttp,
    /// The client's address took too much.
    #[error("too much at once from your address")]
    TooMuch {
        /// When to come back.
        after: Duration,
    },
    /// All took too much together.
    #[error("too many requests at once")]
    Busy,
    /// A block is held whose bytes are not of its codec.
    #[error("block {cid} cannot be read here")]
    Broken {
        /// The block.
        cid: Cid,
    },
    /// The tree goes beyond what is walked.
    #[error("the tree is too large for one answer: ask for parts of it, or with `car-dups=y`")]
    TooLarge,
    /// The store failed.
    #[error("the store of blocks fails")]
    Store(#[source] BlockError),
}

impl From<BlockError> for Refusal {
    fn from(error: BlockError) -> Self {
        match error {
            BlockError::Missing { cid } | BlockError::ForeignCid { cid } => Self::NotHeld { cid },
            BlockError::NotADag { cid, .. } => Self::Broken { cid },
            other => Self::Store(other),
        }
    }
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Ask(AskError::OtherForm { .. }) => StatusCode::NOT_ACCEPTABLE,
            Self::Ask(_) | Self::NoSuchBytes { .. } | Self::ServiceWorker => {
                StatusCode::BAD_REQUEST
            }
            Self::NotHeld { .. } | Self::NoSuchName { .. } | Self::EndsWithin { .. } => {
                StatusCode::NOT_FOUND
            }
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Denied => StatusCode::GONE,
            Self::NotCached { .. } => StatusCode::PRECONDITION_FAILED,
            Self::TooMuch { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::OldHttp => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Broken { .. } | Self::TooLarge | Self::Store(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// When to come back, where that may help.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMuch { after } => Some(*after),
            Self::Busy => Some(SOON),
            _ => None,
        }
    }

    /// Tells the operator of what is theirs to mend.
    pub(super) fn report(&self) {
        match self {
            Self::Store(error) => tracing::error!(%error, "a block could not be served"),
            Self::Broken { cid } => tracing::error!(%cid, "a block is held that is no DAG-CBOR"),
            _ => {}
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.report();
        let mut response = (self.status(), format!("{self}\n")).into_response();
        let headers = response.headers_mut();
        // What is not here now may be here after the next seal.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if matches!(self, Self::Method) {
            let allowed = HeaderValue::from_static("GET, HEAD, OPTIONS");
            headers.insert(header::ALLOW, allowed);
        }
        if let Some(after) = self.retry_after() {
            // Rounded up: who comes back on time is served.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}
