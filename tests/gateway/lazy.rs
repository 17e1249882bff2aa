//! A fork that rests on a history it never copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gwa::archive::calendar::CalendarReader;
use gwa::archive::disk::Archive;
use gwa::archive::watermark::Day;
use gwa::blocks::{Block, BlockError, BlockSource, Cid};
use gwa::node::Daemon;
use gwa::progress::Quiet;
use gwa::rlpx::NodeKey;
use gwa::time::{SystemClock, UnixSeconds};
use serde_json::{Value, json};

use crate::house::{DAY, SEALED, filled, send, settings};

/// Another's archive, and how often it was asked.
struct Upstream {
    archive: Archive,
    asked: AtomicUsize,
}

impl BlockSource for Upstream {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.archive.blocks().get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.archive.blocks().has(cid)
    }
}

#[tokio::test]
async fn nothing_is_fetched_from_upstream_for_those_who_ask() {
    let (_theirs, archive) = filled();
    let origin = archive.head().expect("sealed");
    let upstream = Arc::new(Upstream {
        archive,
        asked: AtomicUsize::new(0),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let now = UnixSeconds(SEALED);
    let blocks = upstream.archive.blocks();
    let sources = Vec::new();
    let forked = Archive::fork(folder.path(), "fork", &origin, blocks, sources, now, &Quiet);
    let (fork, _) = forked.expect("a fork");
    // A day that had closed.
    let day = {
        let state = origin.body().state;
        let calendar = CalendarReader::new(blocks, state.as_ref());
        let bucket = calendar.and_then(|mut calendar| calendar.day(Day::of(UnixSeconds(DAY))));
        let bucket = bucket.expect("it is whole").expect("a day");
        bucket.segments()[0].cid
    };
    fork.blocks().set_upstream(Some(Arc::clone(&upstream) as _));
    let fork = Arc::new(fork);
    // It is started and not run: what a daemon reads for itself is not what is asked
    // about here.
    let settings = settings(folder.path(), |_| {});
    let key = NodeKey::generate();
    let daemon = Daemon::start(Arc::clone(&fork), key, &settings, Arc::new(SystemClock)).await;
    let daemon = daemon.expect("a daemon");
    let url = daemon.http_url().expect("HTTP is on");
    let client = gwa::tls::http_client().build().expect("a client");
    let get = |path: &str| send(client.get(format!("{url}{path}")));
    let head = fork.head_cid().expect("a fork has a head");

    // For itself the fork may ask.
    fork.blocks().get(&day).expect("it is upstream");
    assert!(upstream.asked.swap(0, Ordering::SeqCst) > 0);
    for (path, status) in [
        (format!("/ipfs/{head}?format=raw"), 200),
        (format!("/ipfs/{day}?format=raw"), 404),
        (format!("/ipfs/{day}?format=car"), 404),
        (format!("/ipfs/{head}/state/2019/07/15?format=raw"), 404),
        (format!("/ipfs/{head}/state/2019/07/15?format=car"), 404),
        ("/api/v1/heads?format=car".to_owned(), 200),
        ("/api/v1/calendar?year=2019".to_owned(), 200),
        ("/api/v1/days/2019-07-15".to_owned(), 200),
        (format!("/api/v1/query?from={DAY}&to={}", DAY + 86_399), 404),
    ] {
        assert_eq!(get(&path).await.status(), status, "{path}");
    }
    let cut = get(&format!("/ipfs/{head}?format=car")).await;
    assert!(cut.bytes().await.is_err(), "what is not here ends a CAR");
    // Of what is not here they say so, and tell the rest.
    let told = async |path: String| -> Value { get(&path).await.json().await.expect("JSON") };
    let gaps = told(format!("/api/v1/gaps?to={}", DAY + 86_399)).await;
    assert_eq!(gaps["gaps"], json!([]));
    assert!(
        !gaps["unknown"].as_array().expect("a list").is_empty(),
        "{gaps}"
    );
    let traffic = told(format!("/api/v1/traffic?hours=2&to={}", DAY + 86_399)).await;
    assert_eq!(traffic["hours"][0]["known"], false, "{traffic}");
    let stats = told("/api/v1/stats".to_owned()).await;
    assert_eq!(
        stats["count"],
        fork.head().expect("a head").body().totals.count
    );
    // A stream from a time that is elsewhere says so, before it goes on from now.
    let mut stream = get("/api/v1/stream?from=0").await;
    let first = stream.chunk().await.expect("it goes on").expect("an event");
    let first = String::from_utf8_lossy(&first);
    assert!(first.contains("event: missed"), "{first}");
    assert!(first.contains("not-held"), "{first}");
    drop(stream);
    for path in ["/api/v1/mirrors", "/api/v1/segments"] {
        assert_eq!(get(path).await.status(), 200, "{path}");
    }
    assert_eq!(upstream.asked.load(Ordering::SeqCst), 0);
    daemon.run_until(std::future::ready(())).await;
}
