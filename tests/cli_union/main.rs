//! The commands that compare and unite archives, and bring envelopes in and out, as
//! scripts see them.

#[path = "../cli_client/house.rs"]
#[allow(dead_code)]
mod house;

mod diff;
mod import;
mod merge;
mod mirror;
#[path = "../common/started.rs"]
mod started;
mod store;
