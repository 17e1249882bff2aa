//! `gwa fsck`: checks the files of the archive.

use serde::Serialize;

use crate::archive::disk::Reader;
use crate::cli::context::{Context, archive_failed};
use crate::cli::error::{CliError, Kind};

/// One thing that is wrong.
#[derive(Serialize)]
struct FindingRow {
    file: String,
    offset: u64,
    cid: Option<String>,
    what: String,
}

#[derive(Serialize)]
struct Summary {
    files: u64,
    blocks: u64,
    bytes: u64,
    findings: u64,
    /// Files of days that are at the store alone, and were not looked at.
    evicted: u64,
    evicted_bytes: u64,
}

/// Hashes every block of every file; prints what is wrong, then the totals.
pub fn run(context: &mut Context) -> Result<(), CliError> {
    let failed = |error| archive_failed("cannot check the archive", &error);
    let reader = Reader::open(&context.data).map_err(failed)?;
    let progress = context.progress();
    let mut findings = Vec::new();
    let checked = reader
        .folder()
        .check(&*progress, |finding| findings.push(finding))
        .map_err(|error| failed(error.into()))?;
    drop(progress);

    for finding in &findings {
        let row = FindingRow {
            file: finding.file.clone(),
            offset: finding.offset,
            cid: finding.cid.map(|cid| cid.to_string()),
            what: finding.what.to_string(),
        };
        let line = format!("{}: {}", row.file, row.what);
        context.output.result(&row, line)?;
    }
    let evicted = reader.blocks().evicted();
    let summary = Summary {
        files: checked.files,
        blocks: checked.blocks,
        bytes: checked.bytes,
        findings: checked.findings,
        evicted: evicted.len() as u64,
        evicted_bytes: evicted.iter().map(|file| file.bytes).sum(),
    };
    let mut line = format!(
        "files {} blocks {} bytes {} findings {}",
        summary.files, summary.blocks, summary.bytes, summary.findings
    );
    if let Some(store) = reader.blocks().evicted_to() {
        let (files, bytes) = (summary.evicted, summary.evicted_bytes);
        line = format!(
            "{line}\n{files} files of days, {bytes} bytes, are at {store} and were not looked at"
        );
    }
    context.output.result(&summary, line)?;
    if summary.findings == 0 {
        return Ok(());
    }
    Err(CliError::new(
        Kind::Verification,
        format!("{} blocks are not what they should be", summary.findings),
    ))
}
