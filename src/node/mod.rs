//! The daemon's shell.

pub mod key_file;
pub mod run_file;
