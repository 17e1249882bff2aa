//! Asking the daemon that runs over the data folder.

use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use serde::de::DeserializeOwned;

use crate::api::token_file;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::node::run_file::{self, RunInfo};

/// How long the daemon may take: it answers from memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of an answer: some hundred peers and drops are a tenth of it.
const MAX_ANSWER: usize = 4 << 20;

/// What the daemon says at a path of its HTTP interface.
pub fn ask<T: DeserializeOwned>(context: &Context, path: &str) -> Result<T, CliError> {
    DaemonAt::of_folder(context)?.ask(path, &[])
}

/// Where a daemon is to be asked.
pub struct DaemonAt {
    /// Its HTTP interface, without a slash at the end.
    http: String,
    /// Its process, where that is known.
    pid: Option<u32>,
    /// What opens everything, where this user may read it: a daemon that is not on
    /// loopback cannot tell its own user from strangers.
    token: Option<String>,
}

impl DaemonAt {
    /// The one that its `run.json` says runs over the data folder.
    pub fn of_folder(context: &Context) -> Result<Self, CliError> {
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
        Ok(Self {
            http,
            pid: Some(run.pid),
            token: read_token(&context.data),
        })
    }

    /// The one at a URL, be it on another machine.
    pub fn at(url: &str) -> Self {
        Self {
            http: url.trim_end_matches('/').to_owned(),
            pid: None,
            token: None,
        }
    }

    /// What it says at `path`, where it answers with success or with a status among
    /// `taken`.
    pub fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        taken: &[StatusCode],
    ) -> Result<T, CliError> {
        let body = self.body(path, taken)?;
        serde_json::from_slice(&body).map_err(|error| self.failed(&FetchError::Json(error)))
    }

    /// The text it answers with at `path`.
    pub fn text(&self, path: &str) -> Result<String, CliError> {
        let body = self.body(path, &[])?;
        String::from_utf8(body).map_err(|error| self.failed(&error))
    }

    fn body(&self, path: &str, taken: &[StatusCode]) -> Result<Vec<u8>, CliError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| self.failed(&error))?;
        runtime
            .block_on(fetch(
                &format!("{}{path}", self.http),
                self.token.as_deref(),
                taken,
            ))
            .map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &dyn std::error::Error) -> CliError {
        let http = &self.http;
        let told = CliError::new(Kind::Error, format!("the daemon at {http} does not answer"))
            .because(error);
        match self.pid {
            Some(pid) => told.hint(format!("does process {pid} still run?")),
            None => told.hint("is the URL that of `gwa serve`'s `--http`?"),
        }
    }
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

fn read_token(data: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data.join(token_file::NAME)).ok()?;
    Some(text.trim().to_owned())
}

async fn fetch(
    url: &str,
    token: Option<&str>,
    taken: &[StatusCode],
) -> Result<Vec<u8>, FetchError> {
    // The daemon is on this machine or was named by its owner: no proxy knows it.
    let client = crate::tls::http_client()
        .no_proxy()
        .timeout(PATIENCE)
        .build()?;
    let mut request = client.get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let mut response = request.send().await?;
    if !taken.contains(&response.status()) {
        response = response.error_for_status()?;
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(FetchError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
