//! `gwa init`: creates an archive in the data folder.

use clap::Args;
use serde::Serialize;

use crate::archive::disk::Archive;
use crate::archive::head::MAX_NAME_LEN;
use crate::cli::context::{Context, archive_failed};
use crate::cli::error::CliError;

/// Arguments of `gwa init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// A name for the archive, told in its heads.
    #[arg(long, default_value = "", hide_default_value = true, value_parser = short_name)]
    name: String,
}

/// A name that fits into a head.
pub fn short_name(text: &str) -> Result<String, String> {
    if text.len() <= MAX_NAME_LEN {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} bytes, above the limit of {MAX_NAME_LEN}",
        text.len()
    ))
}

#[derive(Serialize)]
struct Made {
    archive: std::path::PathBuf,
    name: String,
}

/// Creates the archive; prints where it is.
pub fn run(args: &InitArgs, context: &mut Context) -> Result<(), CliError> {
    let archive = Archive::init(&context.data, &args.name)
        .map_err(|error| archive_failed("cannot create an archive", &error))?;
    let made = Made {
        archive: archive.dir().to_owned(),
        name: args.name.clone(),
    };
    let line = archive.dir().display().to_string();
    context.output.result(&made, line)
}
