//! The archive over HTTP, as its clients see it: real sockets, the real routes.

mod access;
mod api;
mod broken;
mod calendar;
mod car;
mod conformance;
mod denied;
mod events;
mod explorer;
mod head;
mod hours;
mod house;
mod lazy;
mod many;
mod metrics;
mod mirrors;
mod names;
mod node;
mod query;
mod raw;
#[path = "../common/scrape.rs"]
mod scrape;
mod shares;
mod stored;
mod verify;
