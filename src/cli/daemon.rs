//! Asking the daemon that runs over the data folder.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::node::run_file::{self, RunInfo};

/// How long the daemon may take: it answers from memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of an answer: some hundred peers and drops are a tenth of it.
const MAX_ANSWER: usize = 4 << 20;

/// What the daemon says at a path of its HTTP interface.
pub fn ask<T: DeserializeOwned>(context: &Context, path: &str) -> Result<T, CliError> {
    let file = context.data.join(run_file::NAME);
    let no_daemon = || {
        let dir = context.data.display();
        CliError::new(Kind::Error, format!("no daemon runs over {dir}"))
    };
    let text = std::fs::read(&file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => no_daemon().hint("`gwa serve` starts one"),
        _ => no_daemon().because(&error),
    })?;
    let run: RunInfo = serde_json::from_slice(&text)
        .map_err(|error| no_daemon().because(&error).hint("`gwa serve` starts one"))?;
    let http = run.http.ok_or_else(|| {
        CliError::new(Kind::Error, "the daemon has no HTTP interface to ask")
            .hint("start it without `--http off`")
    })?;
    let failed = |error: &dyn std::error::Error| {
        CliError::new(Kind::Error, format!("the daemon at {http} does not answer"))
            .because(error)
            .hint(format!("does process {} still run?", run.pid))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    let body = runtime
        .block_on(fetch(&format!("{http}{path}")))
        .map_err(|error| failed(&error))?;
    serde_json::from_slice(&body).map_err(|error| failed(&FetchError::Json(error)))
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("more than {MAX_ANSWER} bytes")]
    TooLong,
    #[error("not the answer of this program: {0}")]
    Json(#[from] serde_json::Error),
}

async fn fetch(url: &str) -> Result<Vec<u8>, FetchError> {
    // The daemon is on this machine or was named by its owner: no proxy knows it.
    let client = crate::tls::http_client()
        .no_proxy()
        .timeout(PATIENCE)
        .build()?;
    let mut response = client.get(url).send().await?.error_for_status()?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(FetchError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
