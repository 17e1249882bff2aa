//! `/ipfs/`: an IPFS trustless gateway over the blocks of this archive.
//!
//! After <https://specs.ipfs.tech/http-gateways/trustless-gateway/> and
//! path-gateway; what of them is here and what is not stands in `docs/gateway.md`.
//!
//! Always true:
//! - Only what the archive holds is served; nothing is ever fetched for a client.
//! - Every block is hashed on the way out, and a CAR that cannot be completed
//!   breaks the connection.
//! - Nothing here looks at a token, and nothing changes anything: every page may
//!   read it.

mod accept;
mod answer;
mod ask;
pub(crate) mod denylist;
pub(crate) mod fuzz;
mod links;
mod places;
mod range;
mod refusal;
mod resolve;
mod stream;
mod telling;
mod walk;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;

use crate::api::Api;
use crate::api::client::Client;
use crate::blocks::{BlockSource, Cid, Codec};
use crate::limits::{Address, Limits};

pub(super) use places::MAX_CARS;
pub(super) use telling::Told;

pub(super) use accept::choices;
pub(super) use answer::is_known;

use ask::{Ask, CarForm, Form, Scope};
use denylist::Denylist;
use places::Places;
use range::Wanted;
use refusal::Refusal;
use resolve::{End, Resolved, resolve};
use walk::{IDENTITY, Memory, Walk};

/// A gateway over one source of blocks.
pub(super) struct Gateway {
    source: Arc<dyn BlockSource>,
    denylist: Arc<Denylist>,
    places: Arc<Places>,
    memory: Memory,
}

/// What of a request is looked at.
struct Asked {
    ask: Ask,
    /// The path as it was asked for.
    target: String,
    headers: HeaderMap,
    is_head: bool,
    version: Version,
    address: Option<Address>,
}

/// Answers `/ipfs/..`.
pub(super) async fn serve(State(api): State<Arc<Api>>, request: Request) -> Response {
    let only_cached = directives(request.headers()).any(|given| given == "only-if-cached");
    let answered = match read(&request) {
        Ok(asked) => api.gateway.answer(asked).await,
        Err(refusal) => Err(refusal),
    };
    match answered {
        Ok(response) => response,
        Err(Refusal::NotHeld { cid }) if only_cached => Refusal::NotCached { cid }.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

impl Gateway {
    /// A gateway over `source`, but for what `denylist` says.
    pub(super) fn new(
        source: Arc<dyn BlockSource>,
        denylist: Arc<Denylist>,
        limits: &Limits,
    ) -> Self {
        Self {
            source,
            denylist,
            places: Arc::new(Places::new(limits)),
            memory: Memory::new(),
        }
    }

    /// Whether a denylist names the block `cid`.
    pub(super) fn denies(&self, cid: &Cid) -> bool {
        self.denylist.denies(cid)
    }

    async fn answer(&self, asked: Asked) -> Result<Response, Refusal> {
        self.places.check(asked.address)?;
        if asked.ask.root.hash().code() == IDENTITY {
            return identity(&asked);
        }
        match asked.ask.form {
            Form::Raw => self.raw(asked).await,
            Form::Car(car) => self.car(asked, car).await,
        }
    }

    /// One block.
    async fn raw(&self, asked: Asked) -> Result<Response, Refusal> {
        let room = self.places.block(asked.address).await?;
        let (source, denylist) = (Arc::clone(&self.source), Arc::clone(&self.denylist));
        let read = self.places.read(move || {
            let resolved = asked.resolve(&*source, &denylist)?;
            let End::Block(cid) = resolved.end else {
                let cid = resolved.last();
                return Err(Refusal::EndsWithin { cid });
            };
            let block = source.get(&cid)?;
            Ok((asked, resolved, block))
        });
        let (asked, resolved, block) = read.await??;
        let tag = answer::tag(&asked.ask, &resolved);
        let mut headers = answer::headers(&asked.ask, &resolved, &asked.target, &tag);
        if answer::is_known(&asked.headers, &tag) {
            return Ok(not_modified(headers));
        }
        let len = block.bytes().len();
        let (status, part) = match range::wanted(&asked.headers, len, &tag) {
            Wanted::All => (StatusCode::OK, 0..len),
            Wanted::Part(part) => {
                let told = format!("bytes {}-{}/{len}", part.start, part.end - 1);
                set(&mut headers, header::CONTENT_RANGE, &told);
                (StatusCode::PARTIAL_CONTENT, part)
            }
            Wanted::Nothing => {
                let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
                let told = format!("bytes */{len}");
                set(response.headers_mut(), header::CONTENT_RANGE, &told);
                return Ok(response);
            }
        };
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(part.len()));
        if asked.is_head {
            return Ok((status, headers).into_response());
        }
        self.places.charge(asked.address, part.len());
        let bytes = room.hold(block.into_bytes()).slice(part);
        Ok((status, headers, Body::from(bytes)).into_response())
    }

    /// A CAR.
    async fn car(&self, asked: Asked, form: CarForm) -> Result<Response, Refusal> {
        let (source, denylist) = (Arc::clone(&self.source), Arc::clone(&self.denylist));
        let read = self.places.read(move || {
            let resolved = asked.resolve(&*source, &denylist)?;
            let cid = resolved.last();
            if !source.has(&cid)? {
                return Err(Refusal::NotHeld { cid });
            }
            if let Some(bytes) = form.bytes
                && Codec::of(&cid) == Some(Codec::Raw)
                && bytes.misses(source.get(&cid)?.bytes().len())
            {
                return Err(Refusal::NoSuchBytes { cid });
            }
            Ok((asked, resolved))
        });
        let (asked, resolved) = read.await??;
        let tag = answer::tag(&asked.ask, &resolved);
        let headers = answer::headers(&asked.ask, &resolved, &asked.target, &tag);
        if answer::is_known(&asked.headers, &tag) {
            return Ok(not_modified(headers));
        }
        if asked.is_head {
            return Ok(headers.into_response());
        }
        if asked.version < Version::HTTP_11 {
            return Err(Refusal::OldHttp);
        }
        let place = self.places.car(asked.address)?;
        let walk = Walk::new(
            Arc::clone(&self.source),
            Arc::clone(&self.denylist),
            &resolved,
            form.scope == Scope::All,
            (!form.duplicates).then_some(&self.memory),
        );
        let start = car_header(resolved.last());
        let body = stream::body(start, walk, place, Arc::clone(&self.places), asked.address);
        Ok((headers, body).into_response())
    }
}

impl Asked {
    fn resolve(&self, source: &dyn BlockSource, denylist: &Denylist) -> Result<Resolved, Refusal> {
        let rules = denylist.rules();
        let resolved = resolve(source, &rules, self.ask.root, &self.ask.names)?;
        rules.check(&resolved.last())?;
        Ok(resolved)
    }
}

fn read(request: &Request) -> Result<Asked, Refusal> {
    let is_head = match *request.method() {
        Method::GET => false,
        Method::HEAD => true,
        _ => return Err(Refusal::Method),
    };
    let headers = request.headers();
    let registers = headers.get("service-worker").is_some();
    if registers {
        return Err(Refusal::ServiceWorker);
    }
    let target = request.uri().path();
    let accept = headers.get_all(header::ACCEPT).iter();
    let ask = Ask::read(
        target.strip_prefix("/ipfs/").unwrap_or_default(),
        request.uri().query().unwrap_or_default(),
        accept.filter_map(|value| value.to_str().ok()),
    )?;
    Ok(Asked {
        ask,
        target: target.to_owned(),
        headers: headers.clone(),
        is_head,
        version: request.version(),
        address: Client::address_of(request),
    })
}

/// Answers for a CID that is its own data, `bafkqaaa` for one: such data needs no
/// archive, and clients probe gateways with it.
fn identity(asked: &Asked) -> Result<Response, Refusal> {
    let cid = asked.ask.root;
    if Codec::of(&cid) != Some(Codec::Raw) {
        return Err(Refusal::NotHeld { cid });
    }
    if !asked.ask.names.is_empty() {
        return Err(Refusal::NoSuchName { cid });
    }
    let resolved = Resolved {
        passed: Vec::new(),
        roots: vec![cid],
        end: End::Block(cid),
    };
    let tag = answer::tag(&asked.ask, &resolved);
    let mut headers = answer::headers(&asked.ask, &resolved, &asked.target, &tag);
    if answer::is_known(&asked.headers, &tag) {
        return Ok(not_modified(headers));
    }
    let body = match asked.ask.form {
        Form::Raw => cid.hash().digest().to_vec(),
        Form::Car(_) => car_header(cid),
    };
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let body = if asked.is_head { Vec::new() } else { body };
    Ok((headers, Bytes::from(body)).into_response())
}

/// What starts a CAR under `root`, which may be no block of ours.
fn car_header(root: Cid) -> Vec<u8> {
    #[derive(Serialize)]
    struct Header {
        // In DAG-CBOR's order of keys.
        roots: [Cid; 1],
        version: u64,
    }
    let header = Header {
        roots: [root],
        version: 1,
    };
    let header = serde_ipld_dagcbor::to_vec(&header).expect("a list of CIDs encodes");
    let mut varint = unsigned_varint::encode::u64_buffer();
    let varint = unsigned_varint::encode::u64(header.len() as u64, &mut varint);
    [varint, &header].concat()
}

/// The value of the parameter `name` of a URL; the first of several.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let found = pairs.find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}

fn not_modified(mut headers: HeaderMap) -> Response {
    headers.remove(header::CONTENT_TYPE);
    headers.remove(header::CONTENT_DISPOSITION);
    (StatusCode::NOT_MODIFIED, headers).into_response()
}

/// Sets a header to a text that is plain ASCII.
fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    let value = HeaderValue::try_from(value).expect("plain ASCII");
    headers.insert(name, value);
}

/// The directives of `Cache-Control`.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase())
}
