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

    /// Whether it is a program of this machine, as far as its address says: a reverse
    /// proxy is one too.
    pub(super) fn is_this_machine(&self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }

    /// The address that `request` comes from.
    pub(super) fn address_of(request: &Request) -> Option<Address> {
        request.extensions().get::<Self>().map(Self::address)
    }
}
