//! Requests to hosts that are not trusted.
//!
//! Always true:
//! - No address but a public one is connected to, unless the user named that very
//!   host and port; by [`Net::public_only`] none whatever was named.
//! - Every wait is bounded, every body is bounded, and at most
//!   [`MAX_REDIRECTS`] redirects are followed, each of which is checked like a
//!   new request; from TLS none leads to a plain connection.
//! - Nothing is decompressed: what is counted is what came.
//! - Closed, it ends every wait and begins none.

mod body;
mod error;
pub mod guard;
mod limits;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::runtime::{Handle, Runtime};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use self::body::Body;
pub use self::error::NetError;
use self::guard::Resolver;
pub use self::limits::{MAX_REDIRECTS, NetLimits};
use super::Account;

type HttpClient = Client<HttpsConnector<HttpConnector<Resolver>>, Empty<Bytes>>;

/// How long an idle connection is kept for the next request.
const KEEP_IDLE: Duration = Duration::from_secs(30);

/// The way out: connections that requests share, and the threads they live on.
#[derive(Debug)]
pub struct Net {
    threads: Threads,
    limits: NetLimits,
    closed: CancellationToken,
    /// Whether a source that was named may be anywhere.
    goes_anywhere: bool,
    /// Goes wherever the user said.
    open: OnceLock<Result<HttpClient, NetError>>,
    /// Goes to public addresses alone.
    guarded: OnceLock<Result<HttpClient, NetError>>,
}

#[derive(Debug)]
enum Threads {
    Own(OwnThreads),
    Shared(Handle),
    Of(Arc<Net>),
}

/// Threads that end with this, wherever that is: a runtime that is dropped waits
/// for its threads, which asynchronous code must not.
#[derive(Debug)]
struct OwnThreads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Drop for OwnThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Net {
    /// Starts threads of its own.
    pub fn new(limits: NetLimits) -> std::io::Result<Arc<Self>> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("gwa-sources")
            .enable_all()
            .build()?;
        let threads = OwnThreads {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        };
        Ok(Self::on(Threads::Own(threads), limits))
    }

    /// Lives on the threads of a program that has some. Sources on it wait for
    /// answers, so asynchronous code asks them in `spawn_blocking`.
    pub fn shared(handle: Handle, limits: NetLimits) -> Arc<Self> {
        Self::on(Threads::Shared(handle), limits)
    }

    fn on(threads: Threads, limits: NetLimits) -> Arc<Self> {
        Arc::new(Self {
            threads,
            limits,
            closed: CancellationToken::new(),
            goes_anywhere: true,
            open: OnceLock::new(),
            guarded: OnceLock::new(),
        })
    }

    /// The same way for sources that a stranger named: to public addresses alone.
    /// It lives on the same threads, and is closed with this one.
    pub fn public_only(self: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self {
            threads: Threads::Of(Arc::clone(self)),
            limits: self.limits,
            closed: self.closed.clone(),
            goes_anywhere: false,
            open: OnceLock::new(),
            guarded: OnceLock::new(),
        })
    }

    /// Ends every wait for an answer, now and from now on: with
    /// [`NetError::Closed`].
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Ends when this way is closed.
    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// Its limits.
    pub fn limits(&self) -> &NetLimits {
        &self.limits
    }

    /// Where its work runs.
    pub fn handle(&self) -> &Handle {
        match &self.threads {
            Threads::Own(OwnThreads { handle, .. }) | Threads::Shared(handle) => handle,
            Threads::Of(other) => other.handle(),
        }
    }

    /// Asks for `url` on behalf of a source that the user gave as `named`, and
    /// follows redirects. The body is bounded by `most` bytes. Any status but
    /// success is an error. Tried once.
    pub async fn get<'a>(
        &self,
        named: &Url,
        url: &Url,
        headers: &HeaderMap,
        account: &'a Account,
        most: u64,
    ) -> Result<Answer<'a>, NetError> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(named, &url, headers).await?;
            account.request();
            let status = response.status();
            if !is_redirect(status) {
                if !status.is_success() {
                    return Err(NetError::Status {
                        code: status.as_u16(),
                        retry_after: retry_after(response.headers()),
                    });
                }
                return Answer::new(response, self, account, most);
            }
            url = next_hop(&url, response.headers())?;
        }
        Err(NetError::Refused(format!(
            "more than {MAX_REDIRECTS} redirects"
        )))
    }

    /// Whether to try again after `error`; where yes, the pause is over. `tried`
    /// counts the tries so far and is counted up.
    pub async fn again(&self, account: &Account, tried: &mut u32, error: &NetError) -> bool {
        *tried += 1;
        if !error.is_transient() || *tried >= self.limits.attempts {
            return false;
        }
        let chance = rand::random::<f64>();
        let pause = self.limits.pause(*tried, error.retry_after(), chance);
        tracing::debug!(source = account.name(), %error, ?pause, "asked again");
        let pause = tokio::time::sleep(pause);
        self.closed.run_until_cancelled(pause).await.is_some()
    }

    async fn send(
        &self,
        named: &Url,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<Response<hyper::body::Incoming>, NetError> {
        let is_there = url.host() == named.host()
            && url.port_or_known_default() == named.port_or_known_default();
        let by_the_user = is_there && self.goes_anywhere;
        if !by_the_user && !guard::may_be_asked(url) {
            return Err(NetError::Refused(if is_there {
                "is at no public address, and no user named it".to_owned()
            } else {
                format!("was sent on to {url}, which is no public address")
            }));
        }
        let (kept, guarded) = if by_the_user {
            (&self.open, false)
        } else {
            (&self.guarded, true)
        };
        let client = kept.get_or_init(|| client(guarded, &self.limits)).clone()?;
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(url.as_str())
            .body(Empty::new())
            .map_err(|error| NetError::Refused(error.to_string()))?;
        *request.headers_mut() = headers.clone();
        request
            .headers_mut()
            .insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        let answer = timeout(self.limits.idle, client.request(request));
        unless(&self.closed, answer)
            .await?
            .map_err(|_| NetError::Idle(self.limits.idle))?
            .map_err(|error| NetError::broken(&error))
    }
}

/// What `work` comes to, unless it is `closed` before.
async fn unless<T>(
    closed: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T, NetError> {
    let done = closed.run_until_cancelled(work).await;
    done.ok_or(NetError::Closed)
}

const AGENT: &str = concat!("gwa/", env!("CARGO_PKG_VERSION"));

/// An answer with a status of success.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Body<'a>,
}

impl<'a> Answer<'a> {
    fn new(
        response: Response<hyper::body::Incoming>,
        net: &Net,
        account: &'a Account,
        most: u64,
    ) -> Result<Self, NetError> {
        let (parts, incoming) = response.into_parts();
        let coded = parts.headers.get(header::CONTENT_ENCODING);
        if coded.is_some_and(|coding| coding != "identity") {
            return Err(NetError::Unexpected(
                "sent it compressed, which nobody asked for".to_owned(),
            ));
        }
        Ok(Self {
            status: parts.status,
            headers: parts.headers,
            body: Body::new(incoming, net, account, most)?,
        })
    }

    /// The media type, without its parameters; empty where none is given.
    pub fn media_type(&self) -> &str {
        let text = self.content_type();
        text.split(';').next().unwrap_or_default().trim()
    }

    /// A parameter of the media type, its quotes left off; `None` where it is not
    /// given.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.content_type().split(';').skip(1);
        parameters.find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            let is_it = key.trim().eq_ignore_ascii_case(name);
            is_it.then(|| value.trim().trim_matches('"'))
        })
    }

    /// The media type with its parameters.
    pub fn content_type(&self) -> &str {
        let value = self.headers.get(header::CONTENT_TYPE);
        value.and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads; only to HTTP, and never down from TLS.
fn next_hop(from: &Url, headers: &HeaderMap) -> Result<Url, NetError> {
    let refused = |what: &str| NetError::Refused(format!("was sent on from {from} {what}"));
    let to = headers
        .get(header::LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| from.join(location).ok())
        .ok_or_else(|| refused("to nowhere"))?;
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => {}
        _ => return Err(refused(&format!("to {to}, without TLS"))),
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err(refused("with a password"));
    }
    Ok(to)
}

/// Seconds of a `Retry-After`; a date is not worth reading for a pause that is
/// bounded anyway.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

fn client(guarded: bool, limits: &NetLimits) -> Result<HttpClient, NetError> {
    let mut connector = HttpConnector::new_with_resolver(Resolver { guarded });
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(limits.connect));
    connector.set_nodelay(true);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| NetError::broken(&error))?;
    // Without certificates on this machine plain HTTP still works, and TLS says
    // that the other end is not known.
    let roots = builder.clone().with_native_roots();
    let config = match roots {
        Ok(config) => config,
        Err(error) => {
            tracing::warn!(%error, "no trusted certificates on this machine");
            builder.with_root_certificates(rustls::RootCertStore::empty())
        }
    }
    .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEEP_IDLE)
        .pool_max_idle_per_host(limits.in_flight)
        .build(connector))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(from: &str, location: &str) -> Result<String, NetError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, location.parse().unwrap());
        next_hop(&Url::parse(from).unwrap(), &headers).map(|url| url.to_string())
    }

    #[test]
    fn redirects_lead_to_http_and_never_down_from_tls() {
        assert_eq!(hop("http://a/x/y", "../z").unwrap(), "http://a/z");
        assert_eq!(hop("http://a/", "https://b/").unwrap(), "https://b/");
        assert_eq!(hop("https://a/", "//b/c").unwrap(), "https://b/c");
        for to in [
            "http://a/",
            "ftp://a/",
            "file:///etc/passwd",
            "https://u:p@a/",
        ] {
            assert!(
                matches!(hop("https://a/", to), Err(NetError::Refused(_))),
                "{to}"
            );
        }
        let nowhere = next_hop(&Url::parse("http://a/").unwrap(), &HeaderMap::new());
        assert!(matches!(nowhere, Err(NetError::Refused(_))));
    }

    #[test]
    fn only_seconds_are_read_of_a_retry_after() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(" 7 "));
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("-1"));
        assert_eq!(retry_after(&headers), None);
    }
}
