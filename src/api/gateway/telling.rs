//! What is told of the archive, beside its blocks.
//!
//! Always true: it is bounded and counted as blocks are. Who asks pays for what is
//! read, whether it is told in the end or not, and whether anybody still waits.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::Gateway;
use super::refusal::Refusal;
use crate::api::failure::Failure;
use crate::blocks::{Block, BlockError, BlockSource, Cid};
use crate::limits::Address;
use crate::limits::traffic::REQUEST_COST;

/// An answer that is whole before the first byte of it is sent.
#[derive(Debug)]
pub(in crate::api) struct Told {
    headers: HeaderMap,
    body: Bytes,
    /// Places that were looked into beside blocks.
    read: u64,
}

impl Told {
    /// These bytes.
    pub(in crate::api) fn bytes(headers: HeaderMap, body: Vec<u8>) -> Self {
        Self {
            headers,
            body: body.into(),
            read: 0,
        }
    }

    /// The same, for which so many places were looked into beside the blocks that were
    /// asked for.
    #[must_use]
    pub(in crate::api) fn having_read(mut self, places: u64) -> Self {
        self.read = places;
        self
    }

    /// This as JSON.
    pub(in crate::api) fn json(
        mut headers: HeaderMap,
        told: &impl Serialize,
    ) -> Result<Self, Failure> {
        let body = serde_json::to_vec(told).map_err(|error| Failure::internal(&error))?;
        let kind = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, kind);
        Ok(Self::bytes(headers, body))
    }
}

impl Gateway {
    /// Answers `address` with what `work` makes of the blocks.
    pub(in crate::api) async fn tell(
        &self,
        address: Option<Address>,
        work: impl FnOnce(&dyn BlockSource) -> Result<Told, Failure> + Send + 'static,
    ) -> Response {
        let told = self.told(address, None, work).await;
        told.unwrap_or_else(IntoResponse::into_response)
    }

    /// As [`Self::tell`], in a turn of `turns`, which lasts as long as the work.
    pub(in crate::api) async fn tell_in_turn(
        &self,
        address: Option<Address>,
        turns: Arc<Semaphore>,
        work: impl FnOnce(&dyn BlockSource) -> Result<Told, Failure> + Send + 'static,
    ) -> Response {
        let told = self.told(address, Some(turns), work).await;
        told.unwrap_or_else(IntoResponse::into_response)
    }

    /// `address` was sent `bytes` beside blocks. Says how long to wait before sending it
    /// more.
    pub(in crate::api) fn charge(&self, address: Option<Address>, bytes: usize) -> Duration {
        self.places.charge(address, bytes)
    }

    /// As [`Self::charge`]; and to find them `looked` places were looked into.
    pub(in crate::api) fn charge_read(
        &self,
        address: Option<Address>,
        bytes: usize,
        looked: u64,
    ) -> Duration {
        self.charge(address, cost_of(looked).saturating_add(bytes))
    }

    async fn told(
        &self,
        address: Option<Address>,
        turns: Option<Arc<Semaphore>>,
        work: impl FnOnce(&dyn BlockSource) -> Result<Told, Failure> + Send + 'static,
    ) -> Result<Response, Refusal> {
        self.places.check(address)?;
        // Room first: who reads slowly waits for room of its own, and in no turn.
        let room = self.places.block(address).await?;
        let turn = match turns {
            Some(turns) => {
                let turn = turns.acquire_owned().await;
                Some(turn.expect("nothing closes the semaphore"))
            }
            None => None,
        };
        let (source, places) = (self.source.clone(), self.places.clone());
        let read = self.places.read(move || {
            // It lasts as long as the work, even if nobody waits for it.
            let _turn = turn;
            let counted = Counted {
                source: &*source,
                blocks: AtomicU64::new(0),
            };
            let told = work(&counted);
            let (len, read) = told
                .as_ref()
                .map_or((0, 0), |told| (told.body.len(), told.read));
            places.charge(address, counted.cost(read).saturating_add(len));
            told
        });
        Ok(match read.await? {
            Ok(Told { headers, body, .. }) => {
                (headers, Body::from(room.hold(body))).into_response()
            }
            Err(failure) => failure.into_response(),
        })
    }
}

/// A source, and how many blocks were asked of it.
struct Counted<'a> {
    source: &'a dyn BlockSource,
    blocks: AtomicU64,
}

impl Counted<'_> {
    /// What the request costs beside the bytes of its answer, in bytes: as for
    /// mail, as much again for each place that is looked into, `beside` blocks too.
    fn cost(&self, beside: u64) -> usize {
        let blocks = self.blocks.load(Ordering::Relaxed);
        cost_of(blocks.saturating_add(beside).saturating_add(1))
    }
}

/// What looking into `places` costs, in bytes.
fn cost_of(places: u64) -> usize {
    usize::try_from(places.saturating_mul(REQUEST_COST)).unwrap_or(usize::MAX)
}

impl BlockSource for Counted<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.source.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.source.has(cid)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        self.source.get_each(cids, &mut |block| {
            self.blocks.fetch_add(1, Ordering::Relaxed);
            take(block)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::num::NonZeroU32;

    use axum::http::StatusCode;

    use super::*;
    use crate::api::gateway::denylist::Denylist;
    use crate::blocks::{Codec, MemoryStore};
    use crate::limits::Limits;

    #[tokio::test]
    async fn who_had_much_read_is_told_to_come_back_later_though_nothing_was_told() {
        let limits = Limits {
            answer_kib_per_second: NonZeroU32::MIN,
            ..Limits::default()
        };
        let denylist = Arc::new(Denylist::open(&[]).unwrap());
        let gateway = Gateway::new(Arc::new(MemoryStore::default()), denylist, &limits);
        let far: IpAddr = "203.0.113.7".parse().unwrap();
        let ask = async |reads: u32| {
            let work = move |source: &dyn BlockSource| {
                let cid = *Block::new(Codec::Raw, vec![1]).cid();
                for _ in 0..reads {
                    assert!(source.get(&cid).is_err());
                }
                Err(Failure::new(StatusCode::NOT_FOUND, "nothing"))
            };
            gateway.tell(Some(far.into()), work).await.status()
        };
        assert_eq!(ask(0).await, StatusCode::NOT_FOUND);
        assert_eq!(ask(1_000).await, StatusCode::NOT_FOUND);
        assert_eq!(ask(0).await, StatusCode::TOO_MANY_REQUESTS);
    }
}
