//! The archive over HTTP, as its clients see it: real sockets, the real routes.

mod house;

mod head;
mod raw;
