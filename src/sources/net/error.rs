//! Why a request brought nothing.

use std::time::Duration;

/// Why a request brought nothing. Texts name no host: whoever reports one says
/// which source it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// The source answered with a status that says no.
    #[error("HTTP status {code}")]
    Status {
        /// The status.
        code: u16,
        /// When the source wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The request was not sent there, by our own rules.
    #[error("{0}")]
    Refused(String),
    /// The way out was closed meanwhile.
    #[error("was not waited for: this program is ending")]
    Closed,
    /// More bytes than there can be.
    #[error("more than {0} bytes")]
    TooLong(u64),
    /// Nothing came for too long.
    #[error("sent nothing for {} s", .0.as_secs_f64())]
    Idle(Duration),
    /// Too little came.
    #[error("too slow: {bytes} bytes in {} s", .elapsed.as_secs())]
    Slow {
        /// What came.
        bytes: u64,
        /// In how long.
        elapsed: Duration,
    },
    /// No connection, or one that broke.
    #[error("{0}")]
    Broken(String),
    /// The answer is not what was asked for.
    #[error("{0}")]
    Unexpected(String),
}

impl NetError {
    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            // Who has not implemented a thing will not have it in a second.
            Self::Status { code, .. } => (*code >= 500 && *code != 501) || *code == 429,
            Self::Broken(_) | Self::Idle(_) => true,
            Self::Refused(_)
            | Self::Closed
            | Self::TooLong(_)
            | Self::Slow { .. }
            | Self::Unexpected(_) => false,
        }
    }

    /// Whether the source says that it does not have it.
    pub fn is_absent(&self) -> bool {
        matches!(
            self,
            Self::Status {
                code: 404 | 410,
                ..
            }
        )
    }

    /// How long the source asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What failed, without the layers that only say that something did.
    pub(super) fn broken(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        if innermost.is::<super::guard::NotPublic>() {
            return Self::Refused(innermost.to_string());
        }
        Self::Broken(innermost.to_string())
    }
}
