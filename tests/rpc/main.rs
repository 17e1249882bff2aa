//! The HTTP interface of a daemon, as its clients see it.

mod house;
mod http;
