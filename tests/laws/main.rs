//! The laws of comparing and uniting archives, held against sets of envelopes.

#[path = "../common/mod.rs"]
mod common;
mod diff;
mod made;
mod merge;
#[path = "../common/union.rs"]
mod union;
