//! The archive over HTTP, as its clients see it: real sockets, the real routes.

mod access;
mod api;
mod broken;
mod car;
mod conformance;
mod denied;
mod head;
mod house;
mod lazy;
mod many;
mod names;
mod raw;
mod shares;
mod stored;
