//! A node that is no Bee: it keeps all in memory, and finds as little of it as a test
//! says.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use tokio::runtime::Runtime;

use crate::swarm::{Owner, identifier, reference_of, single_owner_address};

/// What a node has, and what it does not say of it.
#[derive(Default)]
pub(super) struct Node {
    pub(super) bytes: HashMap<String, Bytes>,
    pub(super) pinned: HashSet<String>,
    /// Signature and payload of each update, by its number.
    pub(super) updates: BTreeMap<u64, (Vec<u8>, Vec<u8>)>,
    /// Whether a number came a second time with other bytes.
    pub(super) signed_twice: bool,
    /// Whose feed it has.
    pub(super) owner: Option<Owner>,
    pub(super) feed: Feed,
    pub(super) hides_documents: bool,
    pub(super) hides_pins: bool,
    pub(super) refuses_updates: bool,
    pub(super) refuses_to_unpin: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Feed {
    #[default]
    Found,
    NotFound,
    /// The first update is found, and none after it.
    Old,
}

pub(super) type Shared = Arc<Mutex<Node>>;

pub(super) fn serve() -> (Shared, String, Runtime) {
    let runtime = Runtime::new().unwrap();
    let node = Shared::default();
    let router = Router::new().fallback(answer).with_state(Arc::clone(&node));
    let router = router.layer(axum::extract::DefaultBodyLimit::disable());
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    runtime.spawn(async { axum::serve(listener, router).await });
    (node, url, runtime)
}

async fn answer(
    State(node): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut node = node.lock().unwrap();
    let path = uri.path().trim_start_matches('/').to_owned();
    let (what, of) = path.split_once('/').unwrap_or((&path, ""));
    match (method, what) {
        (Method::GET, "stamps") => {
            let id = "ab".repeat(32);
            json(&format!(
                r#"{{"stamps":[{{"batchID":"{id}","usable":true}}]}}"#
            ))
        }
        (Method::POST, "tags") => json(r#"{"uid":1}"#),
        (Method::POST, "bytes") => {
            let reference = reference_of(&body).to_string();
            node.bytes.insert(reference.clone(), body);
            node.pinned.insert(reference.clone());
            json(&format!(r#"{{"reference":"{reference}"}}"#))
        }
        (Method::POST, "chunks") if node.refuses_updates => status(StatusCode::BAD_GATEWAY),
        (Method::POST, "chunks") => json(&take_update(&mut node, &body)),
        (Method::GET, "feeds") => show(&node),
        (Method::GET, "bytes") => match node.bytes.get(of) {
            Some(bytes) => give(&node, bytes, &headers),
            None => status(StatusCode::NOT_FOUND),
        },
        (Method::GET, "pins") if of.is_empty() => {
            let all: Vec<_> = node.pinned.iter().filter(|_| !node.hides_pins).collect();
            json(&serde_json::json!({ "references": all }).to_string())
        }
        (Method::GET, "pins") if node.pinned.contains(of) && !node.hides_pins => json("{}"),
        (Method::POST, "pins") if node.bytes.contains_key(of) && !node.hides_pins => {
            node.pinned.insert(of.to_owned());
            json("{}")
        }
        (Method::DELETE, "pins") if node.refuses_to_unpin => status(StatusCode::BAD_GATEWAY),
        (Method::DELETE, "pins") if node.pinned.remove(of) => json("{}"),
        _ => status(StatusCode::NOT_FOUND),
    }
}

fn take_update(node: &mut Node, chunk: &[u8]) -> String {
    let (id, rest) = chunk.split_at(32);
    let number = (0..1_000).find(|number| identifier(*number)[..] == *id);
    let update = (rest[..65].to_vec(), rest[73..].to_vec());
    let before = node.updates.insert(number.unwrap(), update.clone());
    node.signed_twice |= before.is_some_and(|before| before != update);
    let owner = node.owner.unwrap();
    let address = single_owner_address(id.try_into().unwrap(), &owner);
    format!(r#"{{"reference":"{address}"}}"#)
}

/// The newest update, as a node finds it: none behind the first gap.
fn show(node: &Node) -> Response<Body> {
    let whole = (0..).take_while(|number| node.updates.contains_key(number));
    let newest = match node.feed {
        Feed::Found => whole.last(),
        Feed::Old => whole.take(1).last(),
        Feed::NotFound => None,
    };
    let Some(number) = newest else {
        return status(StatusCode::NOT_FOUND);
    };
    let (signature, payload) = &node.updates[&number];
    Response::builder()
        .header("swarm-feed-index", hex::encode(number.to_be_bytes()))
        .header("swarm-soc-signature", hex::encode(signature))
        .body(Body::from(payload.clone()))
        .unwrap()
}

fn give(node: &Node, bytes: &Bytes, headers: &HeaderMap) -> Response<Body> {
    let Some(range) = headers.get("range") else {
        return match node.hides_documents {
            true => status(StatusCode::NOT_FOUND),
            false => Response::new(Body::from(bytes.clone())),
        };
    };
    let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
    let (from, to) = range.split_once('-').unwrap();
    let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
    let mut part = Response::new(Body::from(bytes.slice(from..=to)));
    *part.status_mut() = StatusCode::PARTIAL_CONTENT;
    let told = format!("bytes {from}-{to}/{}", bytes.len());
    part.headers_mut()
        .insert("content-range", told.parse().unwrap());
    part
}

fn json(text: &str) -> Response<Body> {
    Response::new(Body::from(text.to_owned()))
}

fn status(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}
