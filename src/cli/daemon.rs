//! Asking the daemon that runs over the data folder.
//!
//! Always true: the token is sent to the process that holds the archive and nobody else,
//! and not where it is not asked for. The file in which a killed daemon said where it was
//! leads nowhere: its port may be anybody's.

use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use serde::de::DeserializeOwned;

use crate::api::token_file;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::config::without_credentials;
use crate::node::run_file::RunInfo;

/// How long the daemon may take: it answers from memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of an answer: some hundred peers and drops are a tenth of it.
const MAX_ANSWER: usize = 4 << 20;

/// What everybody is told, monitors above all.
const TOLD_TO_ALL: &str = "/health";

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
        let dir = context.data.display();
        let no_daemon = || {
            CliError::new(Kind::Error, format!("no daemon runs over {dir}"))
                .hint("`gwa serve` starts one")
        };
        let run = RunInfo::of_running(&context.data)
            .map_err(|error| no_daemon().because(&error))?
            .ok_or_else(no_daemon)?;
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
        let answer = self.get(path)?;
        if !answer.status.is_success() && !taken.contains(&answer.status) {
            return Err(self.failed(&FetchError::Status(answer.status)));
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            // One that has no time to say how it is has its status to say so.
            self.failed(&match answer.status.is_success() {
                true => FetchError::Json(error),
                false => FetchError::Status(answer.status),
            })
        })
    }

    /// The text it answers with at `path`.
    pub fn text(&self, path: &str) -> Result<String, CliError> {
        let answer = self.get(path)?;
        if !answer.status.is_success() {
            return Err(self.failed(&FetchError::Status(answer.status)));
        }
        String::from_utf8(answer.body).map_err(|error| self.failed(&FetchError::Text(error)))
    }

    fn get(&self, path: &str) -> Result<Answer, CliError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::new(Kind::Error, "cannot ask").because(&error))?;
        let token = self.token.as_deref().filter(|_| path != TOLD_TO_ALL);
        runtime
            .block_on(fetch(&format!("{}{path}", self.http), token))
            .map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &FetchError) -> CliError {
        let http = without_credentials(&self.http);
        let silent = format!("the daemon at {http} does not answer");
        let refuses = format!("the daemon at {http} does not tell what was asked for");
        let (what, hint) = match (error, self.pid) {
            (FetchError::Http(_), Some(pid)) => {
                (silent, format!("process {pid} runs; does it hang?"))
            }
            (FetchError::Http(_), None) => (silent, WRONG_URL.to_owned()),
            (FetchError::Status(StatusCode::FORBIDDEN), _) => (
                refuses,
                "`gwa serve --http-host NAME` answers to a name".to_owned(),
            ),
            (FetchError::Status(StatusCode::UNAUTHORIZED), Some(_)) => {
                let file = token_file::NAME;
                (
                    refuses,
                    format!("it tells who may read `{file}` in its data folder"),
                )
            }
            (FetchError::Status(status), _) if is_of_the_moment(*status) => {
                (refuses, "ask again in a moment".to_owned())
            }
            (_, Some(pid)) => (
                format!("what answers at {http} is not this program"),
                format!("is process {pid} a gwa of another version?"),
            ),
            (_, None) => (
                format!("what answers at {http} is not this program"),
                WRONG_URL.to_owned(),
            ),
        };
        CliError::new(Kind::Error, what).because(error).hint(hint)
    }
}

/// What helps where a URL leads to nobody, or to somebody else.
const WRONG_URL: &str = "is the URL that of `gwa serve`'s `--http`?";

/// Whether a daemon answers so when it has too much to do.
fn is_of_the_moment(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
    )
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("HTTP {0}")]
    Status(StatusCode),
    #[error("more than {MAX_ANSWER} bytes")]
    TooLong,
    #[error("not the answer of this program: {0}")]
    Json(serde_json::Error),
    #[error("not the answer of this program: {0}")]
    Text(std::string::FromUtf8Error),
}

/// What came back.
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

fn read_token(data: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data.join(token_file::NAME)).ok()?;
    Some(text.trim().to_owned())
}

async fn fetch(url: &str, token: Option<&str>) -> Result<Answer, FetchError> {
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
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(FetchError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body })
}
