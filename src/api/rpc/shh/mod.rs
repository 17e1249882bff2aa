//! `shh_*`: the methods of geth's Whisper node, all of them.

mod filters;
mod keys;
mod message;
mod node;
mod post;

pub(super) use post::post;

use serde_json::Value;

use crate::api::rpc::methods::Methods;

/// Reads whatever object a method here takes out of `value`: for fuzzing.
pub(super) fn read_any(value: &Value) {
    let _ = (post::read(value), filters::Wanted::read(value));
}

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    node::register(methods);
    keys::register(methods);
    filters::register(methods);
    post::register(methods);
}
