//! Any source, trusted by nobody: what comes out is right, whoever lied.

mod dags;
mod dht;
mod folders;
mod house;
mod lies;
mod pace;
mod partial;
mod peers;
mod pools;
mod queries;
mod redirects;
mod rewrites;
mod server;
mod shared;
mod strangers;
