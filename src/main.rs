//! The `gwa` command.

fn main() {}
