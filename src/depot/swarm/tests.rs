//! A depot before a node that is no Bee: it keeps all in memory, and finds as little
//! of it as a test says.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use tokio::runtime::Runtime;

use super::{Ended, SwarmDepot, take_each};
use crate::archive::disk::Archive;
use crate::archive::head::Head;
use crate::blocks::{Block, Codec, Fault};
use crate::depot::{Depot, DepotError, DepotSettings, testing};
use crate::rlpx::NodeKey;
use crate::sources::HttpSource;
use crate::sources::net::{Net, NetLimits};
use crate::swarm::{
    Folder, Folders, Index, Owner, SwarmAddress, SwarmPlace, identifier, reference_of,
    single_owner_address,
};

/// What a node has, and what it does not say of it.
#[derive(Default)]
struct Node {
    bytes: HashMap<String, Bytes>,
    pinned: HashSet<String>,
    /// Signature and payload of each update, by its number.
    updates: BTreeMap<u64, (Vec<u8>, Vec<u8>)>,
    /// Whether a number came a second time with other bytes.
    signed_twice: bool,
    /// Whose feed it has.
    owner: Option<Owner>,
    feed: Feed,
    hides_documents: bool,
    hides_pins: bool,
    refuses_updates: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Feed {
    #[default]
    Found,
    NotFound,
    /// The first update is found, and none after it.
    Old,
}

type Shared = Arc<Mutex<Node>>;

struct Scene {
    _dir: tempfile::TempDir,
    archive: Archive,
    node: Shared,
    url: String,
    _runtime: Runtime,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::init(&dir.path().join("archive"), "").unwrap();
        let (node, url, runtime) = serve();
        Self {
            _dir: dir,
            archive,
            node,
            url,
            _runtime: runtime,
        }
    }

    fn depot(&self) -> SwarmDepot {
        open(&self.url, &self.node, &self.archive)
    }

    fn node(&self, change: impl FnOnce(&mut Node)) {
        change(&mut self.node.lock().unwrap());
    }

    /// An archive of some days that is kept whole.
    fn carried() -> (Self, Head, Vec<String>) {
        let scene = Self::new();
        testing::live_through(&scene.archive, 2);
        let depot = scene.depot();
        testing::carry(&depot, &scene.archive);
        let head = scene.archive.head().unwrap();
        (scene, head, sorted(depot.kept().unwrap()))
    }

    /// Lives on for a day and keeps the files that are new, as whoever has let the
    /// others go; gives the head, not shown yet.
    fn live_on(&self, depot: &SwarmDepot) -> Head {
        testing::live_through(&self.archive, 1);
        let kept = depot.kept().unwrap();
        testing::each_parcel(&self.archive, |parcel| {
            if !kept.contains(&parcel.file.name) {
                depot.keep(parcel).unwrap();
            }
        });
        self.archive.head().unwrap()
    }

    /// What another disk finds by the feed alone: the files that readers are led to.
    fn readers_files(&self) -> Vec<String> {
        let node = self.node.lock().unwrap();
        let (_, (_, payload)) = node.updates.last_key_value().unwrap();
        let index = Index::decode(payload).unwrap();
        let Folders::Here(folders) = index.folders else {
            panic!("a few folders fit into an index");
        };
        let mut names = Vec::new();
        for at in folders {
            let document = &node.bytes[&at.reference.to_string()];
            let folder = Folder::decode(document).unwrap();
            let files = folder.files.into_keys();
            names.extend(files.map(|last| format!("{}/{last}", folder.path)));
        }
        sorted(names)
    }

    /// Every number was used, and each for one update.
    fn assert_no_gap(&self, updates: u64) {
        let node = self.node.lock().unwrap();
        assert!(!node.signed_twice);
        assert!(node.updates.keys().copied().eq(0..updates));
    }
}

fn open(url: &str, node: &Shared, archive: &Archive) -> SwarmDepot {
    let key = std::fs::read_to_string(archive.dir().join("archive.key")).unwrap();
    let key: NodeKey = key.parse().unwrap();
    let settings = DepotSettings::new(archive.dir(), *key.public());
    let depot = SwarmDepot::new(&url.parse().unwrap(), &settings).unwrap();
    node.lock().unwrap().owner = Some(depot.owner());
    depot
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn serve() -> (Shared, String, Runtime) {
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

#[test]
fn it_does_what_every_depot_must() {
    let scratch = tempfile::tempdir().unwrap();
    // Each part has a node of its own, as each has a key of its own.
    let nodes = Mutex::new(HashMap::new());
    testing::run(scratch.path(), &|archive, _| {
        let mut nodes = nodes.lock().unwrap();
        let made = nodes.entry(archive.dir().to_owned()).or_insert_with(serve);
        Box::new(open(&made.1, &made.0, archive))
    });
}

/// What a node that does not find its feed, or an old update of it, costs.
fn keeps_all_where_the_feed_is(feed: Feed, hides_documents: bool) {
    let (scene, _, _) = Scene::carried();
    let depot = scene.depot();
    let second = scene.live_on(&depot);
    depot
        .keep_head(&second, depot.newest_head().unwrap().as_ref())
        .unwrap();
    let all = sorted(depot.kept().unwrap());
    drop(depot);

    // Whoever opens it now is told less than was shown.
    scene.node(|node| (node.feed, node.hides_documents) = (feed, hides_documents));
    let depot = scene.depot();
    assert_eq!(sorted(depot.kept().unwrap()), all);
    testing::assert_whole(&depot, &second);
    let third = scene.live_on(&depot);
    let before = depot.newest_head().unwrap();
    depot.keep_head(&third, before.as_ref()).unwrap();
    let with_the_new = sorted(depot.kept().unwrap());
    assert!(all.iter().all(|name| with_the_new.contains(name)));
    assert_eq!(scene.readers_files(), with_the_new);
    scene.assert_no_gap(3);

    scene.node(|node| (node.feed, node.hides_documents) = (Feed::Found, false));
    assert_eq!(scene.depot().newest_head().unwrap(), Some(third.clone()));
    testing::assert_whole(&scene.depot(), &third);
}

#[test]
fn nothing_is_left_out_where_the_feed_is_not_found() {
    keeps_all_where_the_feed_is(Feed::NotFound, false);
    keeps_all_where_the_feed_is(Feed::NotFound, true);
}

#[test]
fn nothing_is_left_out_where_the_feed_shows_an_old_update() {
    keeps_all_where_the_feed_is(Feed::Old, false);
    keeps_all_where_the_feed_is(Feed::Old, true);
}

#[test]
fn a_document_that_no_disk_has_and_the_node_does_not_find_is_away() {
    let (scene, head, all) = Scene::carried();
    std::fs::remove_dir_all(scene.archive.dir().join("swarm")).unwrap();
    scene.node(|node| node.hides_documents = true);
    let depot = scene.depot();
    let error = depot.kept().unwrap_err();
    assert!(error.is_transient(), "{error}");
    let error = depot.keep_head(&head, Some(&head)).unwrap_err();
    assert!(error.is_transient(), "{error}");
    scene.node(|node| node.hides_documents = false);
    assert_eq!(sorted(depot.kept().unwrap()), all);
    scene.assert_no_gap(1);
}

#[test]
fn an_update_that_did_not_arrive_is_sent_again_and_leaves_no_gap() {
    let (scene, first, _) = Scene::carried();
    let depot = scene.depot();
    let second = scene.live_on(&depot);
    scene.node(|node| node.refuses_updates = true);
    let error = depot.keep_head(&second, Some(&first)).unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(depot.newest_head().unwrap(), Some(first.clone()));
    drop(depot);
    // Ended and begun again before the node takes it.
    let depot = scene.depot();
    let third = scene.live_on(&depot);
    scene.node(|node| node.refuses_updates = false);
    depot.keep_head(&third, Some(&first)).unwrap();
    scene.assert_no_gap(3);
    assert_eq!(scene.readers_files(), sorted(depot.kept().unwrap()));
    testing::assert_whole(&scene.depot(), &third);
}

#[test]
fn a_feed_of_another_key_begins_with_all_that_was_kept() {
    let (scene, head, all) = Scene::carried();
    std::fs::remove_file(scene.archive.dir().join("swarm.key")).unwrap();
    scene.node(|node| node.updates.clear());
    let depot = scene.depot();
    assert_eq!(depot.newest_head().unwrap(), None);
    assert_eq!(sorted(depot.kept().unwrap()), all);
    depot.keep_head(&head, None).unwrap();
    assert_eq!(scene.readers_files(), all);
    scene.assert_no_gap(1);
}

#[test]
fn what_is_not_pinned_now_is_not_kept_and_not_forgotten() {
    let (scene, head, all) = Scene::carried();
    let depot = scene.depot();
    scene.node(|node| node.hides_pins = true);
    assert_eq!(depot.kept().unwrap(), Vec::<String>::new());
    // The blocks are read all the same, from wherever the node has them.
    testing::assert_whole(&depot, &head);
    // Readers of the next head are led to all of it too.
    let third = {
        testing::live_through(&scene.archive, 1);
        scene.archive.head().unwrap()
    };
    depot.keep_head(&third, Some(&head)).unwrap();
    assert_eq!(scene.readers_files(), all);
    scene.node(|node| node.hides_pins = false);
    assert_eq!(sorted(depot.kept().unwrap()), all);
}

#[test]
fn what_is_not_pinned_is_pinned_again_where_the_network_has_it() {
    let (scene, _, all) = Scene::carried();
    scene.node(|node| node.pinned.clear());
    let depot = scene.depot();
    // Some at each look.
    let mut kept = Vec::new();
    for _ in 0..all.len() {
        kept = sorted(depot.kept().unwrap());
    }
    assert_eq!(kept, all);
}

#[test]
fn a_head_is_not_shown_before_it_is_known_what_a_node_has_lost() {
    let (scene, head, all) = Scene::carried();
    scene.node(|node| {
        node.pinned.clear();
        node.bytes.clear();
    });
    let depot = scene.depot();
    let error = depot.keep_head(&head, Some(&head)).unwrap_err();
    assert!(matches!(error, DepotError::Lost { .. }), "{error}");
    assert_eq!(depot.kept().unwrap(), Vec::<String>::new());
    testing::carry(&depot, &scene.archive);
    assert_eq!(sorted(depot.kept().unwrap()), all);
    testing::assert_whole(&depot, &head);
}

#[test]
fn a_panic_while_blocks_are_fetched_is_no_end_like_another() {
    let runtime = Runtime::new().unwrap();
    let block = Block::new(Codec::Raw, b"one".as_slice());
    let fetch = |dies: bool| {
        let block = block.clone();
        async move {
            assert!(!dies, "a bug");
            Ok(block)
        }
    };
    let take = |dies: [bool; 2]| {
        let mut taken = 0;
        let futures = dies.map(fetch).into_iter();
        let ended = take_each(runtime.handle(), futures, &mut |_| {
            taken += 1;
            ControlFlow::Continue(())
        });
        (ended.unwrap(), taken)
    };
    assert_eq!(take([false, false]), (Ended::Well, 2));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| take([false, true])));
    assert!(caught.is_err());
}

#[test]
fn a_reader_takes_a_document_that_is_not_found_for_a_failure_and_not_for_an_end() {
    let (scene, head, _) = Scene::carried();
    let limits = NetLimits {
        rest: Duration::ZERO,
        renew_after: Duration::ZERO,
        ..NetLimits::default()
    };
    let net = Net::new(limits).unwrap();
    let address = SwarmAddress {
        base: scene.url.parse().unwrap(),
        place: SwarmPlace::Feed(scene.depot().owner()),
    };
    let reader = HttpSource::on_swarm(Arc::clone(&net), &address);
    let state = head.body().state.unwrap();
    let fetch = || net.handle().block_on(reader.fetch(&state));
    scene.node(|node| node.hides_documents = true);
    // Named by what was signed, it is somewhere.
    assert!(matches!(fetch(), Err(Fault::Failed(_))));
    scene.node(|node| node.hides_documents = false);
    assert_eq!(fetch().unwrap().cid(), &state);
    // What all documents know nothing of is nowhere.
    let absent = Block::new(Codec::Raw, b"never kept".as_slice());
    let asked = net.handle().block_on(reader.fetch(absent.cid()));
    assert_eq!(asked.unwrap_err(), Fault::Absent);
}
