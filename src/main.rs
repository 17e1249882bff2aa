//! The `gwa` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    gwa::cli::main()
}
