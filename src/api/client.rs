//! Who a request comes from.

use std::net::SocketAddr;

use axum::extract::Request;

use crate::limits::Address;

/// The other end of a connection, among the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client(pub(super) SocketAddr);

impl Client {
    /// What counts as its address.
    pub(super) fn address(&self) -> Address {
        self.0.ip().into()
    }

    /// The address that `request` comes from.
    pub(super) fn address_of(request: &Request) -> Option<Address> {
        request.extensions().get::<Self>().map(Self::address)
    }
}
