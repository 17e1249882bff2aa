//! Where a bucket is, and what opens it.
//!
//! Always true: credentials come from the environment alone, and nothing shows them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::{Host, Url};

use crate::blocks::catalogue::MAX_CATALOGUE;
use crate::config::Password;
use crate::depot::DepotError;

/// How long a connection may take to come about: as sources are given.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long the server may keep silent, the upload of one part of a file included:
/// 8 MiB take so long at 140 KB a second.
const SILENT_AT_MOST: Duration = Duration::from_secs(60);

/// How long one request may take in all: a large range from a slow server.
const REQUEST_WITHIN: Duration = Duration::from_secs(300);

/// How often a request that failed is made again before the depot counts as away:
/// the carrier tries again later anyway.
const RETRIES: usize = 3;

/// How long a request is made again at most.
const RETRY_WITHIN: Duration = Duration::from_secs(60);

/// The first wait between two tries, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The region that servers of one machine mostly call themselves.
const REGION: &str = "us-east-1";

/// What a program may be told by its environment; `None` for what is not set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A bucket, and the folder in it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `None` for the endpoint of AWS.
    endpoint: Option<String>,
    bucket: String,
    pub(super) folder: Path,
    region: String,
    credentials: Option<Credentials>,
}

#[derive(Clone, PartialEq, Eq)]
struct Credentials {
    id: String,
    secret: Password,
    token: Option<Password>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("endpoint", &self.endpoint)
            .field("bucket", &self.bucket)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Place {
    /// The bucket that `url` names: `s3://BUCKET/FOLDER`, or the endpoint's URL with
    /// bucket and folder behind it.
    pub(super) fn read(url: &Url, environment: Environment<'_>) -> Result<Self, String> {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        let mut parts = url.path_segments().into_iter().flatten();
        let (endpoint, bucket) = if url.scheme() == "s3" {
            let bucket = url.host_str().unwrap_or_default();
            let endpoint = set("AWS_ENDPOINT_URL_S3").or_else(|| set("AWS_ENDPOINT_URL"));
            let endpoint = endpoint
                .map(|text| {
                    text.parse::<Url>()
                        .map_err(|_| "AWS_ENDPOINT_URL is no URL".to_owned())
                })
                .transpose()?;
            (endpoint, bucket)
        } else {
            (Some(url.clone()), parts.next().unwrap_or_default())
        };
        if !is_bucket(bucket) {
            return Err(format!("`{bucket}` cannot be the name of a bucket"));
        }
        let endpoint = endpoint.as_ref().map(endpoint_of).transpose()?;
        let folder: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        if let Some(strange) = folder.iter().find(|part| !is_plain(part)) {
            return Err(format!(
                "`{strange}` cannot be a folder: letters, digits, `.`, `-` and `_` can"
            ));
        }
        let credentials = match (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => Some(Credentials {
                id,
                secret: password(&secret),
                token: set("AWS_SESSION_TOKEN").map(|token| password(&token)),
            }),
            (None, None) => None,
            _ => {
                return Err(
                    "of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY one is set and one is not"
                        .to_owned(),
                );
            }
        };
        Ok(Self {
            endpoint,
            bucket: bucket.to_owned(),
            folder: Path::from_iter(folder),
            region: set("AWS_REGION")
                .or_else(|| set("AWS_DEFAULT_REGION"))
                .unwrap_or_else(|| REGION.to_owned()),
            credentials,
        })
    }

    /// The way there; nothing is asked yet.
    pub(super) fn store(&self) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
        let builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_allow_http(true)
            .with_http_connector(Connector)
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: BACK_OFF.0,
                    max_backoff: BACK_OFF.1,
                    base: 2.0,
                },
                max_retries: RETRIES,
                retry_timeout: RETRY_WITHIN,
            });
        let builder = match &self.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint),
            None => builder.with_virtual_hosted_style_request(true),
        };
        let builder = match &self.credentials {
            None => builder.with_skip_signature(true),
            Some(Credentials { id, secret, token }) => {
                let builder = builder
                    .with_access_key_id(id)
                    .with_secret_access_key(secret.expose());
                match token {
                    Some(token) => builder.with_token(token.expose()),
                    None => builder,
                }
            }
        };
        Ok(Arc::new(builder.build()?))
    }
}

fn password(text: &str) -> Password {
    let Ok(password) = text.parse();
    password
}

/// The endpoint without bucket and folder. Over plain HTTP whoever is on the way
/// reads and changes everything, so it is for this machine alone.
fn endpoint_of(url: &Url) -> Result<String, String> {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err("its endpoint has no host".to_owned()),
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback => {}
        "http" => return Err("http is for this machine alone, others want https".to_owned()),
        other => return Err(format!("its endpoint is reached by https, not by {other}")),
    }
    Ok(url[..url::Position::BeforePath].to_owned())
}

/// The rules of S3 for buckets.
fn is_bucket(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b".-".contains(&c);
    let ends = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().copied().all(plain)
        && ends(bytes.first())
        && ends(bytes.last())
}

fn is_plain(part: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b".-_".contains(&c);
    part.bytes().all(plain) && !part.bytes().all(|c| c == b'.')
}

/// Most bytes of one answer: a catalogue, and what an answer has beside it. Ranges and
/// entries are bounded by what was asked for; pages of a list, and what a server says of
/// an error, by this.
const MAX_ANSWER: usize = MAX_CATALOGUE + (1 << 20);

/// Connections as all clients of the program make them. They go where the address
/// says: redirects are not followed.
#[derive(Debug)]
struct Connector;

/// A client whose answers end.
#[derive(Debug)]
struct Bounded {
    client: reqwest::Client,
    most: usize,
}

impl HttpService for Bounded {
    fn call<'me, 'call>(
        &'me self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'call>>
    where
        'me: 'call,
        Self: 'call,
    {
        Box::pin(async move {
            let answer = HttpService::call(&self.client, request).await?;
            let most = self.most;
            Ok(answer.map(|body| {
                let body = Limited::new(body, most).map_err(|error| {
                    // What the line did, or that it was too much.
                    let error = error.downcast::<HttpError>().map(|error| *error);
                    error.unwrap_or_else(|error| HttpError::new_boxed(HttpErrorKind::Decode, error))
                });
                HttpResponseBody::new(body)
            }))
        })
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = crate::tls::http_client()
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENT_AT_MOST)
            .timeout(REQUEST_WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("gwa/", env!("CARGO_PKG_VERSION")))
            .build();
        let client = client.map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        })?;
        Ok(HttpClient::new(Bounded {
            client,
            most: MAX_ANSWER,
        }))
    }
}

/// That the address leads to no bucket.
pub(super) fn refused(depot: &str, what: String) -> DepotError {
    DepotError::Refused {
        depot: depot.to_owned(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, set: &[(&str, &str)]) -> Result<Place, String> {
        let environment = |name: &str| {
            let mut set = set.iter();
            set.find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Place::read(&url.parse().unwrap(), &environment)
    }

    const KEYS: [(&str, &str); 2] = [
        ("AWS_ACCESS_KEY_ID", "an-id"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret"),
    ];

    #[test]
    fn endpoint_bucket_and_folder_are_taken_apart() {
        let place = read("https://objects.example.org:9000/a-bucket/x/y/", &KEYS).unwrap();
        assert_eq!(
            place.endpoint.as_deref(),
            Some("https://objects.example.org:9000")
        );
        assert_eq!(place.bucket, "a-bucket");
        assert_eq!(place.folder.as_ref(), "x/y");
        assert_eq!(place.region, "us-east-1");
        assert!(place.store().is_ok());

        let aws = read("s3://a-bucket/x", &[("AWS_REGION", "eu-central-1")]).unwrap();
        assert_eq!(
            (aws.endpoint.as_ref(), &*aws.region),
            (None, "eu-central-1")
        );
        assert_eq!((&*aws.bucket, aws.folder.as_ref()), ("a-bucket", "x"));
        assert!(aws.store().is_ok());
        let set = [("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:7070")];
        let local = read("s3://a-bucket", &set).unwrap();
        assert_eq!(local.endpoint.as_deref(), Some("http://127.0.0.1:7070"));
    }

    #[test]
    fn what_leads_to_no_bucket_is_refused() {
        for url in [
            "https://objects.example.org/",
            "https://objects.example.org/UPPER",
            "https://objects.example.org/ab",
            "https://objects.example.org/bucket/%2e%2e%2fx",
            "https://objects.example.org/bucket/a%20b",
            "http://objects.example.org/bucket",
            "http://10.0.0.1/bucket",
        ] {
            assert!(read(url, &KEYS).is_err(), "{url}");
        }
        for url in ["http://localhost:1/bucket", "http://[::1]:1/bucket"] {
            assert!(read(url, &KEYS).is_ok(), "{url}");
        }
        assert!(read("https://example.org/bucket", &KEYS[..1]).is_err());
    }

    #[test]
    fn no_credential_is_shown() {
        let place = read("https://objects.example.org/bucket", &KEYS).unwrap();
        let shown = format!("{place:?}");
        assert!(
            !shown.contains("an-id") && !shown.contains("a-secret"),
            "{shown}"
        );
    }
}
