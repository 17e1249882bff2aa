//! `POST /api/v1/messages`: a message onto the network, and into the archive.
//!
//! Always true:
//! - Nobody posts without the token, and nothing of a body is read before that is
//!   known.
//! - A message passes the same judgement as a peer's: what this node would refuse
//!   from others it posts for nobody, and it says so before anything is mined.
//! - Where 201 is answered, the envelope is durable.
//! - Posts, those who wait for work, and the work itself are bounded; who hangs up
//!   is mined for no longer.

mod asked;
mod rates;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secp256k1::{PublicKey, SecretKey};

use crate::api::Api;
use crate::api::access::Grant;
use crate::api::body;
use crate::api::client::Client;
use crate::api::failure::Failure;
use crate::api::row::Row;
use crate::api::server::MAX_BODY;
use crate::api::workshop::MineError;
use crate::mailserver::Archived;
use crate::whisper::admission::{AdmissionPolicy, Verdict};
use crate::whisper::keys::SymKey;
use crate::whisper::message::Reader;
use crate::whisper::node::PostError as NotTaken;
use crate::whisper::service::{Checked, PostError};
use crate::whisper::{Envelope, Pow};

use asked::{Asked, Key, Message, Wrong};

pub(crate) use asked::read_any;
pub(super) use rates::{OF_TOKEN, Rates};

/// When to come back where too many wait to be mined: a few usual messages later.
const SOON: Duration = Duration::from_secs(5);

/// Answers `POST /api/v1/messages`.
pub(super) async fn post(
    State(api): State<Arc<Api>>,
    Extension(grant): Extension<Grant>,
    request: Request,
) -> Response {
    match posted(&api, grant, request).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

async fn posted(api: &Api, grant: Grant, request: Request) -> Result<Response, Failure> {
    if grant != Grant::All {
        return Err(Failure::needs_token());
    }
    api.posts.take(Client::address_of(&request))?;
    if !is_json(request.headers()) {
        let told = "a message is sent as application/json";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, told));
    }
    if api.archive.is_mirror() {
        let told = "this archive follows another, and takes nothing in";
        return Err(
            Failure::new(StatusCode::CONFLICT, told).hint("post to the archive that it follows")
        );
    }
    let body = body::whole(request.into_body(), MAX_BODY).await;
    let body = body.map_err(|error| Failure::new(error.status(), error.to_string()))?;
    let asked = Asked::read(&body).map_err(|wrong| match wrong {
        Wrong::Form(told) => Failure::bad_request(told),
        Wrong::Content(told) => refused(told),
    });
    let envelope = match asked? {
        Asked::Envelope(envelope) => envelope,
        Asked::Message(message) => made(api, *message).await?,
    };
    let row = Row::of(&envelope, false);
    let status = match api.node.post(envelope).await {
        Ok(Archived { stored: 1.., .. }) => StatusCode::CREATED,
        // It was posted before.
        Ok(Archived { duplicate: 1.., .. }) => StatusCode::OK,
        Ok(_) => return Err(refused("the archive keeps no envelopes of that time")),
        Err(error) => return Err(not_taken(&error)),
    };
    Ok((status, Json(row)).into_response())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind: &HeaderValue| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// The envelope of a message, with its work.
async fn made(api: &Api, message: Message) -> Result<Envelope, Failure> {
    let rules = api.node.rules();
    let target = message
        .pow_target
        .unwrap_or_else(|| rules.min_pow().max(Pow::STATUS_DEFAULT));
    if target < rules.min_pow() {
        let told = format!("this node asks for a work of {} at least", rules.min_pow());
        return Err(refused(told));
    }
    let reader = reading_key(api, message.key).await?;
    let signer = message.sign.map(|id| held(api, &id)).transpose()?;
    let checked = Checked {
        reader: match &reader {
            ReadingKey::Holders(key) => Reader::Holders(key),
            ReadingKey::Owner(key) => Reader::Owner(key),
        },
        signer: signer.as_ref(),
        topic: message.topic,
        payload: &message.payload,
        padding: message.padding.as_deref(),
        ttl: message.ttl,
        pow_time: message.pow_time,
        pow_target: target.get(),
    };
    // What would be refused for its size or topic is not mined.
    let now = api.node.now();
    let blank = checked.seal(now).map_err(unmade)?.template.with_nonce(0);
    let policy = AdmissionPolicy {
        min_pow: Pow::ZERO,
        ..rules.policy(now)
    };
    if let Verdict::Refused(refusal) = policy.judge(blank, now) {
        return Err(refused(refusal.to_string()));
    }
    let compose = || checked.seal(api.node.now());
    api.workshop
        .mine(compose)
        .await
        .map_err(|error| match error {
            MineError::Post(error) => unmade(error),
            MineError::Full => {
                Failure::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).after(SOON)
            }
            MineError::TooLong { .. } => Failure::bad_request(error.to_string()),
            MineError::Ended => Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon ends"),
        })
}

/// Who may read a message.
enum ReadingKey {
    Holders(SymKey),
    Owner(PublicKey),
}

async fn reading_key(api: &Api, key: Key) -> Result<ReadingKey, Failure> {
    Ok(match key {
        Key::Owner(key) => ReadingKey::Owner(key),
        Key::Bytes(key) => ReadingKey::Holders(key),
        Key::Password(password) => {
            let key = api.workshop.derive(password).await;
            let ended = || Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon ends");
            ReadingKey::Holders(key.ok_or_else(ended)?)
        }
        Key::Held(id) => {
            let keys = api.workshop.keys();
            let key = keys.sym_key(&id).map_err(|_| no_key("sym_key_id"))?;
            ReadingKey::Holders(key.clone())
        }
    })
}

/// The private key of a pair that the daemon holds.
fn held(api: &Api, id: &str) -> Result<SecretKey, Failure> {
    let key = api.workshop.keys().private_key(id);
    key.map_err(|_| no_key("sign"))
}

fn no_key(field: &str) -> Failure {
    refused(format!("the daemon holds no key of the id in `{field}`"))
        .hint("keys are made or taken in by `/rpc`, and go with the daemon: docs/rpc.md")
}

/// What was understood, and is not taken.
fn refused(told: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    Failure::new(StatusCode::UNPROCESSABLE_ENTITY, told)
}

/// Why a message could not be made.
fn unmade(error: PostError) -> Failure {
    match error {
        PostError::TooLittleTime(seconds) => {
            refused(format!("no nonce shows that work within {seconds} s"))
                .hint("a shorter `ttl` makes mining easier, `pow_time` gives it longer")
        }
        PostError::Cancelled => Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon ends"),
        other => refused(other.to_string()),
    }
}

/// Why an envelope was not posted.
fn not_taken(error: &NotTaken) -> Failure {
    match error {
        NotTaken::Refused(refusal) => refused(refusal.to_string()),
        NotTaken::Expired => {
            refused("the envelope has expired").hint("a longer `ttl` outlives its mining")
        }
        // Why was logged.
        NotTaken::Archive(_) => Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the archive cannot store the envelope",
        ),
    }
}
