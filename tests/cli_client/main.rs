//! The commands that talk to other nodes, typed as a newcomer types them,
//! against real daemons.

mod bad;
mod canary;
mod follow;
mod gaps;
mod heads;
mod house;
mod names;
mod post;
mod proxy;
mod read;
mod request;
#[path = "../common/started.rs"]
mod started;
mod support;
mod sync;
