//! Who listens to a stream.
//!
//! Always true: streams of a kind are bounded in number, and of one address; a seat
//! that is dropped is free.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::failure::Failure;
use crate::api::shares::{Share, Shares};
use crate::limits::Address;

/// When to come back where all seats are taken.
const LATER: Duration = Duration::from_secs(30);

/// The seats of one kind of stream.
#[derive(Debug)]
pub(super) struct Seats {
    places: Arc<Semaphore>,
    shares: Shares,
}

/// A seat; dropped, it is free.
#[derive(Debug)]
pub(super) struct Seat {
    _place: OwnedSemaphorePermit,
    _share: Option<Share>,
}

impl Seats {
    /// `most` seats, `of_address` for one address; any number for those of this machine
    /// and its private networks, if `exempt_local`.
    pub(super) fn new(most: usize, of_address: usize, exempt_local: bool) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            shares: Shares::new(of_address, exempt_local),
        }
    }

    /// A seat for `address`.
    pub(super) fn take(&self, address: Option<Address>) -> Result<Seat, Failure> {
        let share = address.map(|address| self.shares.take(address));
        let place = Arc::clone(&self.places).try_acquire_owned();
        match (place, share) {
            (Ok(place), None) => Ok(Seat {
                _place: place,
                _share: None,
            }),
            (Ok(place), Some(Some(share))) => Ok(Seat {
                _place: place,
                _share: Some(share),
            }),
            _ => {
                let told = "too many listen already";
                Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, told).after(LATER))
            }
        }
    }
}
