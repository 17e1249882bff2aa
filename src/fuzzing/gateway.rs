//! What strangers send to the gateway, and what operators are sent as denylists.

use crate::api::gateway::fuzz;

/// A path, a query and an `Accept` header, each on a line of its own: what reads
/// asks for the same again by its own URL.
pub fn gateway_request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    fuzz::request(next(), next(), next());
}

/// A denylist: rules bounded by its lines, and no answer that depends on anything
/// but them.
pub fn gateway_denylist(data: &[u8]) {
    fuzz::denylist(data);
}
