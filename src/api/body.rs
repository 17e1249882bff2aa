//! Bodies of requests.
//!
//! Always true: a body is here as a whole, within its bytes and its time, before
//! anything is made of it.

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// How long a body may take to arrive: 5 MiB at 2 Mbit/s.
pub(super) const TIME: Duration = Duration::from_secs(20);

/// Why a body is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unarrived {
    /// It is too long.
    #[error("the body has more than {most} bytes")]
    TooLong {
        /// How long it may be.
        most: usize,
    },
    /// It came too slowly.
    #[error("the body came too slowly")]
    TooSlow,
    /// It broke off.
    #[error("the body did not arrive")]
    CutOff,
}

impl Unarrived {
    /// What a client is told.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::CutOff => StatusCode::BAD_REQUEST,
        }
    }
}

/// The whole of `body`, `most` bytes at most: who sends it slowly is not waited for.
pub(super) async fn whole(body: Body, most: usize) -> Result<Bytes, Unarrived> {
    let whole = tokio::time::timeout(TIME, Limited::new(body, most).collect());
    match whole.await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if is_too_long(&*error) => Err(Unarrived::TooLong { most }),
        Ok(Err(_)) => Err(Unarrived::CutOff),
        Err(_) => Err(Unarrived::TooSlow),
    }
}

/// Whether a body ended because it is longer than it may be, by whichever bound.
fn is_too_long(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// A body of some pieces, one a second.
    fn trickling(pieces: usize, piece: &'static [u8]) -> Body {
        let pieces = stream::unfold(pieces, move |left| async move {
            sleep(Duration::from_secs(1)).await;
            let piece = Ok::<_, std::io::Error>(Bytes::from_static(piece));
            (left > 0).then(|| (piece, left - 1))
        });
        Body::from_stream(pieces)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_in_is_not_waited_for() {
        let began = Instant::now();
        let told = whole(trickling(100, b" "), 1_000).await;
        assert_eq!(told, Err(Unarrived::TooSlow));
        assert_eq!(began.elapsed(), TIME);
        let body = whole(trickling(10, b" "), 1_000).await.unwrap();
        assert_eq!(body.len(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_no_longer_than_it_may_be() {
        let piece = b"0123456789";
        assert!(whole(trickling(2, piece), 20).await.is_ok());
        let told = whole(trickling(3, piece), 20).await;
        assert_eq!(told, Err(Unarrived::TooLong { most: 20 }));
    }
}
