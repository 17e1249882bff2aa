//! `shh_*`: the methods of geth's Whisper node, all of them.

mod filters;
mod keys;
mod message;
mod node;
mod post;

pub(super) use post::post;

use crate::api::rpc::methods::Methods;

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    node::register(methods);
    keys::register(methods);
    filters::register(methods);
    post::register(methods);
}
