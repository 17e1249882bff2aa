//! A daemon that has just been started.

use std::io::{BufRead, BufReader};
use std::process::Child;

use serde_json::Value;

/// The line that it prints once it serves; its output is a pipe.
pub fn started(daemon: &mut Child) -> Value {
    let mut line = String::new();
    let stdout = daemon.stdout.as_mut().expect("its output is a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    serde_json::from_str(&line).expect("JSON")
}
