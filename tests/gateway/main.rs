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
mod listener;
mod many;
mod messages;
mod metrics;
mod mirrors;
mod names;
mod node;
mod openapi;
mod query;
mod raw;
#[path = "../common/scrape.rs"]
mod scrape;
mod shares;
mod stored;
mod stream;
mod verify;
