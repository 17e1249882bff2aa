//! One call: `POST api/v0/COMMAND?arg=..`.

use std::time::Duration;

use tokio::time::timeout;

use super::{Answer, Kubo, KuboError, innermost};

/// Longest body of a failure that is read, in bytes: what a proxy shows instead of
/// a text may be a page.
const LONGEST_FAILURE: u64 = 16 << 10;

/// A call that is being put together.
pub(super) struct Call<'k> {
    kubo: &'k Kubo,
    command: &'static str,
    query: Vec<(&'static str, String)>,
    /// How long the answer may take once it began.
    whole: Option<Duration>,
}

impl Kubo {
    pub(super) fn call(&self, command: &'static str) -> Call<'_> {
        Call {
            kubo: self,
            command,
            query: Vec::new(),
            whole: Some(self.limits.whole),
        }
    }
}

impl Call<'_> {
    /// Adds an argument; they stay in order.
    pub(super) fn arg(self, value: impl ToString) -> Self {
        self.option("arg", value)
    }

    /// Adds an option.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers, texts and CIDs alike read best as they are"
    )]
    pub(super) fn option(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Adds an option that is off by itself.
    pub(super) fn when(self, name: &'static str, on: bool) -> Self {
        if on { self.option(name, true) } else { self }
    }

    /// Whoever reads the answer bounds by himself how long it may take.
    pub(super) fn of_any_length(self) -> Self {
        Self {
            whole: None,
            ..self
        }
    }

    /// Sends it without a body; waits until the answer begins.
    pub(super) async fn send(self) -> Result<Answer, KuboError> {
        let patience = self.kubo.limits.answer;
        self.send_within(patience).await
    }

    /// The same, as long as `patience` lasts.
    pub(super) async fn send_within(self, patience: Duration) -> Result<Answer, KuboError> {
        let sent = timeout(patience, self.request()?.send()).await;
        let sent = sent.map_err(|_| {
            KuboError::Away(format!("gave no answer for {} s", patience.as_secs_f64()))
        })?;
        begun(self.kubo, sent, self.whole).await
    }

    /// Sends it with a body, and waits as long as `stalled` does.
    pub(super) async fn send_body(
        self,
        content_type: String,
        body: reqwest::Body,
        stalled: impl Future<Output = KuboError>,
    ) -> Result<Answer, KuboError> {
        let request = self.request()?;
        let request = request
            .header(reqwest::header::CONTENT_TYPE, content_type)
            .body(body)
            .send();
        let sent = tokio::select! {
            sent = request => sent,
            error = stalled => return Err(error),
        };
        begun(self.kubo, sent, self.whole).await
    }

    fn request(&self) -> Result<reqwest::RequestBuilder, KuboError> {
        let path = format!("api/v0/{}", self.command);
        let mut url = self
            .kubo
            .base
            .join(&path)
            .map_err(|error| KuboError::Refused(error.to_string()))?;
        url.query_pairs_mut().extend_pairs(&self.query);
        let request = self.kubo.client.post(url);
        Ok(match &self.kubo.auth {
            Some(auth) => request.header(reqwest::header::AUTHORIZATION, auth.header()),
            None => request,
        })
    }
}

/// The answer, or what its status says.
async fn begun(
    kubo: &Kubo,
    sent: Result<reqwest::Response, reqwest::Error>,
    whole: Option<Duration>,
) -> Result<Answer, KuboError> {
    // The URL in it would repeat what the user wrote.
    let response = sent.map_err(|error| KuboError::Away(innermost(&error.without_url())))?;
    let status = response.status();
    let mut answer = Answer::new(response, kubo.limits.idle, whole);
    if status.is_success() {
        return Ok(answer);
    }
    let text = answer.whole(LONGEST_FAILURE).await.unwrap_or_default();
    let told: Option<Told> = serde_json::from_slice(&text).ok();
    let text = match told {
        Some(told) => told.message,
        None => String::from_utf8_lossy(&text).into_owned(),
    };
    Err(KuboError::of_status(status.as_u16(), &text))
}

/// How Kubo tells of a failure.
#[derive(serde::Deserialize)]
struct Told {
    #[serde(rename = "Message")]
    message: String,
}
