//! The commands that talk to other nodes, typed as a newcomer types them,
//! against real daemons.

mod house;
mod proxy;
mod request;
