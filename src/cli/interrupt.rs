//! What Ctrl-C does to commands that end by themselves.

use std::process;

use crate::cli::error::Kind;
use crate::durable;

/// From now on an interrupt ends the process at once with its exit code. What
/// was acknowledged is durable at any moment, so there is nothing to wind up but
/// files of results that are not whole.
///
/// Where the system lets no handler be set, its own reaction stays.
pub fn exit_on_interrupt() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    if let Ok(runtime) = runtime {
        std::thread::spawn(move || {
            if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                durable::remove_unfinished();
                process::exit(Kind::Interrupted.code().into());
            }
        });
    }
}
