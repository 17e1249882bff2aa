//! The `gwa` command: what it accepts, and which file does it.
//!
//! One file for a command; here only the parser and the dispatch.

pub mod error;
pub mod output;
pub mod progress;
pub mod reference;
