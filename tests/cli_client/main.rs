//! The commands that talk to other nodes, typed as a newcomer types them,
//! against real daemons.

mod canary;
mod forgetful;
mod gaps;
mod house;
mod post;
mod proxy;
mod request;
