//! `gwa site`: a folder that a web server may show to everybody.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::archive::disk::publish_folder;
use crate::cli::context::{Context, archive_failed, no_head, own_archive};
use crate::cli::error::CliError;

/// Arguments of `gwa site`.
#[derive(Debug, Args)]
pub struct SiteArgs {
    /// The folder to make, or to bring up to date.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// What became of it, as it is printed.
#[derive(Serialize)]
struct Row {
    dir: String,
    head: String,
    files: u64,
    bytes: u64,
    added: u64,
    removed: u64,
}

/// Links what is public into the folder; prints what that came to.
pub fn run(args: &SiteArgs, context: &mut Context) -> Result<(), CliError> {
    // Says so where there is no archive at all.
    own_archive(&context.data)?.ok_or_else(|| no_archive(context))?;
    let progress = context.progress();
    progress.phase("bringing the folder up to date", None, None);
    let published = publish_folder(&context.data, &args.dir);
    drop(progress);
    let published = published
        .map_err(|error| archive_failed("cannot make the folder", &error))?
        .ok_or_else(|| no_head("the archive has no head yet"))?;
    let row = Row {
        dir: args.dir.display().to_string(),
        head: published.head.cid().to_string(),
        files: published.files,
        bytes: published.bytes,
        added: published.added,
        removed: published.removed,
    };
    let line = format!(
        "{}: head {} files {} bytes {} added {} removed {}",
        row.dir, row.head, row.files, row.bytes, row.added, row.removed
    );
    context.output.result(&row, line)
}

fn no_archive(context: &Context) -> CliError {
    archive_failed(
        "cannot make the folder",
        &crate::archive::disk::DiskError::NoArchive {
            dir: context.data.clone(),
        },
    )
}
