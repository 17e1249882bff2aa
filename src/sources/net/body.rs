//! The body of an answer, piece by piece and within limits.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{Net, NetError, NetLimits, unless};
use crate::sources::Account;

/// A body under way. It fails where nothing comes for too long, where too little
/// comes, and where more comes than there can be.
#[derive(Debug)]
pub struct Body<'a> {
    incoming: Incoming,
    limits: NetLimits,
    closed: CancellationToken,
    account: &'a Account,
    most: u64,
    came: u64,
    /// Time spent waiting for the source; what we do meanwhile is not its fault.
    waited: Duration,
}

impl<'a> Body<'a> {
    pub(super) fn new(
        incoming: Incoming,
        net: &Net,
        account: &'a Account,
        most: u64,
    ) -> Result<Self, NetError> {
        let body = Self {
            incoming,
            limits: net.limits,
            closed: net.closed.clone(),
            account,
            most,
            came: 0,
            waited: Duration::ZERO,
        };
        body.at_most(most)
    }

    /// The same with a bound of `most` bytes, which its headers gave or its user
    /// knows. A length that is too great is refused before a byte is read.
    pub fn at_most(mut self, most: u64) -> Result<Self, NetError> {
        self.most = self.most.min(most);
        if self.came.saturating_add(self.incoming.size_hint().lower()) > self.most {
            return Err(NetError::TooLong(self.most));
        }
        Ok(self)
    }

    /// The next piece; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, NetError> {
        loop {
            let asked = Instant::now();
            let frame = timeout(self.limits.idle, self.incoming.frame());
            let frame = unless(&self.closed, frame)
                .await?
                .map_err(|_| NetError::Idle(self.limits.idle))?;
            self.waited += asked.elapsed();
            let frame = match frame {
                None => return Ok(None),
                Some(frame) => frame.map_err(|error| NetError::broken(&error))?,
            };
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            self.came += piece.len() as u64;
            self.account.received(piece.len() as u64);
            if self.came > self.most {
                return Err(NetError::TooLong(self.most));
            }
            if self.limits.is_too_slow(self.came, self.waited) {
                return Err(NetError::Slow {
                    bytes: self.came,
                    elapsed: self.waited,
                });
            }
            return Ok(Some(piece));
        }
    }

    /// How many bytes came so far.
    pub fn came(&self) -> u64 {
        self.came
    }

    /// All of it.
    pub async fn whole(mut self) -> Result<Bytes, NetError> {
        self.rest().await
    }

    /// All that is still to come.
    pub async fn rest(&mut self) -> Result<Bytes, NetError> {
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.chunk().await? else {
            return Ok(first);
        };
        let mut all = BytesMut::from(first);
        all.extend_from_slice(&second);
        while let Some(piece) = self.chunk().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }
}
