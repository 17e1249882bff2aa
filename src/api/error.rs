//! Why there is no HTTP interface.

use std::io;
use std::net::SocketAddr;

use crate::api::gateway::denylist::DenylistError;
use crate::api::token_file::TokenFileError;

/// Why the HTTP interface could not start.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nothing can listen there.
    #[error("cannot listen for HTTP on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It would be open, without a token, to other machines.
    #[error("an interface that needs no token cannot listen on {address}, beyond loopback")]
    OpenToOthers {
        /// Where.
        address: SocketAddr,
    },
    /// There is no usable token.
    #[error(transparent)]
    Token(#[from] TokenFileError),
    /// A denylist cannot be used.
    #[error(transparent)]
    Denylist(#[from] DenylistError),
}
