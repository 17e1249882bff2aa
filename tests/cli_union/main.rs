//! The commands that compare and unite archives, as scripts see them.

#[path = "../cli_client/house.rs"]
#[allow(dead_code)]
mod house;

mod diff;
mod merge;
mod mirror;
