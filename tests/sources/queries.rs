//! A query gives the same from every kind of source.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use gwa::archive::disk::{Archive, publish_folder, sealed_by};
use gwa::archive::filter::{Filter, TopicFilter};
use gwa::archive::leaf::Record;
use gwa::archive::query::Query;
use gwa::blocks::{BlockSource, Cid};
use gwa::config::{HttpAddress, HttpPartial, Partial, Settings};
use gwa::node::Daemon;
use gwa::rlpx::NodeKey;
use gwa::sources::{Pool, open_folder};
use gwa::time::{SystemClock, TimeRange, UnixSeconds};
use gwa::whisper::Topic;
use proptest::prelude::*;

use super::house::{FROM, House, NET, SPAN, pool, source};
use super::server::{Server, car};

fn brute_force(house: &House, filter: &Filter) -> Vec<Record> {
    let wanted = |r: &&Record| filter.matches(r.key.topic, r.key.sent);
    let mut found: Vec<_> = house.records.iter().filter(wanted).cloned().collect();
    found.sort_by_key(|r| (r.key.sent, r.key.hash));
    found.dedup_by_key(|r| r.key.hash);
    found
}

fn answer(source: &dyn BlockSource, house: &House, filter: &Filter) -> Vec<Record> {
    let sealed = sealed_by(&house.head);
    Query::new(source, &sealed, filter.clone())
        .expect("all blocks are there")
        .collect::<Result<_, _>>()
        .expect("all blocks are there")
}

/// A CAR file of all that a head leads to, in `dir`.
fn car_file(house: &House, dir: &std::path::Path) -> std::path::PathBuf {
    let mut blocks = Vec::new();
    let root: Cid = *house.head.cid();
    house
        .blocks()
        .get_dag(&root, &|_| false, &mut |block| {
            blocks.push(block);
            ControlFlow::Continue(())
        })
        .expect("all blocks are there");
    let path = dir.join("archive.car");
    std::fs::write(&path, car(&root, &blocks)).expect("a disk");
    path
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_query_from_any_source_equals_brute_force(
        seed: u64,
        count in 1usize..700,
        asked in proptest::collection::vec((0..SPAN, 0..SPAN, any::<prop::sample::Index>(), 0..3), 4),
    ) {
        let house = House::new(seed, count);
        let scratch = tempfile::tempdir().expect("a folder");
        let public = scratch.path().join("public");
        publish_folder(house.dir(), &public).expect("a disk");
        let cars = scratch.path().join("cars");
        std::fs::create_dir(&cars).expect("a disk");
        car_file(&house, &cars);
        let gateway = Server::gateway(house.blocks());
        let files = Server::files(&public, false);
        let parts = Server::files(&public, true);

        let local = |dir| {
            let mut pool = Pool::default();
            pool.add_local("a folder", open_folder(dir).expect("a folder of blocks"));
            pool
        };
        let sources = [
            ("data folder", local(house.dir())),
            ("public folder", local(&public)),
            ("folder of CARs", local(&cars)),
            ("gateway", pool(&[&gateway.url])),
            ("web server", pool(&[&files.url])),
            ("web server with parts", pool(&[&parts.url])),
            ("all of them", pool(&[&files.url, &gateway.url, &parts.url])),
        ];
        for (from, len, pick, kind) in asked {
            let range = TimeRange::new(UnixSeconds(FROM + from), UnixSeconds(FROM + from + len));
            let mut topics = BTreeSet::from([Topic([0xab; 4])]);
            if !house.records.is_empty() {
                topics.insert(pick.get(&house.records).key.topic);
            }
            let filter = Filter {
                topics: if kind == 0 { TopicFilter::All } else { TopicFilter::Any(topics) },
                range: range.expect("a span has its end after its start"),
            };
            let expected = brute_force(&house, &filter);
            for (name, source) in &sources {
                prop_assert_eq!(&answer(source, &house, &filter), &expected, "{}", name);
            }
        }
        for (name, source) in &sources {
            for balance in source.balances() {
                prop_assert_eq!((balance.lies, balance.failed), (0, 0), "{}: {:?}", name, balance);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_gwa_gives_its_head_blocks_and_dags() {
    let house = House::new(7, 600);
    let flags = Partial {
        listen: Some(([127, 0, 0, 1], 0).into()),
        http: HttpPartial {
            address: Some(HttpAddress::At(([127, 0, 0, 1], 0).into())),
            ..HttpPartial::default()
        },
        ..Partial::default()
    };
    let settings = Settings::resolve(house.dir(), flags, Partial::default());
    let archive = Arc::new(Archive::open(house.dir()).expect("an archive"));
    let daemon = Daemon::start(
        archive,
        NodeKey::generate(),
        &settings,
        Arc::new(SystemClock),
    )
    .await
    .expect("a daemon");
    let url = daemon.http_url().expect("HTTP is on");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(daemon.run_until(async {
        let _ = stopped.await;
    }));
    let asked = tokio::task::spawn_blocking(move || {
        let head = source(&NET, &url).current_head().expect("a head");
        // The daemon seals as it starts: what was sealed before is in it still.
        let pool = pool(&[&url]);
        let filter = Filter {
            topics: TopicFilter::All,
            range: TimeRange::ALL,
        };
        let found: Vec<_> = Query::new(&pool, &sealed_by(&head), filter.clone())
            .expect("all blocks are there")
            .collect::<Result<_, _>>()
            .expect("all blocks are there");
        let hashes = |records: &[Record]| -> BTreeSet<_> {
            records.iter().map(|record| record.key.hash).collect()
        };
        let (found, sealed) = (hashes(&found), hashes(&brute_force(&house, &filter)));
        assert!(found.is_superset(&sealed));
        let before = pool.balances()[0].requests;
        let mut blocks = 0;
        pool.get_dag(head.cid(), &|_| false, &mut |_| {
            blocks += 1;
            ControlFlow::Continue(())
        })
        .expect("a whole DAG");
        assert!(blocks > 10, "{blocks}");
        let balance = &pool.balances()[0];
        assert_eq!(balance.requests - before, 1, "{balance:?}");
        assert_eq!((balance.lies, balance.failed), (0, 0), "{balance:?}");
    });
    asked.await.expect("it holds");
    let _ = stop.send(());
    running.await.expect("a clean end");
}
