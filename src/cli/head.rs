//! `gwa head`: the head CID.

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::heads::Row;
use crate::sources::Reference;

/// Prints the head of the archive in the data folder.
pub fn run(context: &mut Context) -> Result<(), CliError> {
    let opened = context.head(&Reference::OwnHead)?;
    let row = Row::from(&opened.head);
    context.output.result(&row, &row)
}
