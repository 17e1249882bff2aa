//! The HTTP interface of a daemon, as its clients see it.

mod calls;
mod errors;
mod house;
mod http;
mod mail;
mod metrics;
#[path = "../common/scrape.rs"]
mod scrape;
mod socket;
