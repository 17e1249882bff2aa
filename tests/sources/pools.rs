//! Several sources together.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use gwa::blocks::BlockSource;
use gwa::sources::{BlockCache, Pool};

use super::house::{NET, leaf, pool, source, store};
use super::server::{Server, honest};

#[test]
fn many_blocks_are_under_way_at_once_and_each_comes_once() {
    let blocks: Vec<_> = (0..300).map(|n| leaf(&n.to_string())).collect();
    let stored = store(&blocks);
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    // The first eight wait for each other: they have to be under way together.
    let (first, barrier) = (AtomicUsize::new(0), Barrier::new(8));
    let server = Server::new(move |asked| {
        let at = now.fetch_add(1, Ordering::SeqCst) + 1;
        seen.fetch_max(at, Ordering::SeqCst);
        if first.fetch_add(1, Ordering::SeqCst) < 8 {
            barrier.wait();
        }
        let reply = honest(&stored, asked);
        now.fetch_sub(1, Ordering::SeqCst);
        reply
    });
    let pool = pool(&[&server.url]);
    let cids: Vec<_> = blocks.iter().map(|block| *block.cid()).collect();
    let mut given = Vec::new();
    pool.get_each(&cids, &mut |block| {
        given.push(*block.cid());
        ControlFlow::Continue(())
    })
    .unwrap();
    given.sort();
    let mut expected = cids;
    expected.sort();
    assert_eq!(given, expected);
    assert!(most.load(Ordering::SeqCst) <= 32);
    assert_eq!(server.requests(), 300);
}

#[test]
fn whoever_has_enough_stops_the_fetching() {
    let blocks: Vec<_> = (0..2_000).map(|n| leaf(&n.to_string())).collect();
    let server = Server::gateway(store(&blocks));
    let pool = pool(&[&server.url]);
    let cids: Vec<_> = blocks.iter().map(|block| *block.cid()).collect();
    let mut given = 0;
    pool.get_each(&cids, &mut |_| {
        given += 1;
        ControlFlow::Break(())
    })
    .unwrap();
    assert_eq!(given, 1);
    // What was under way or waiting, and no more.
    assert!(server.requests() < 200, "{}", server.requests());
}

#[test]
fn what_is_on_this_machine_is_not_fetched() {
    let (here, there) = (leaf("here"), leaf("there"));
    let server = Server::gateway(store(&[here.clone(), there.clone()]));
    let mut pool = Pool::default();
    pool.add_local("here", Box::new(store(std::slice::from_ref(&here))));
    pool.add_remote(source(&NET, &server.url));
    assert_eq!(pool.get(here.cid()).unwrap(), here);
    assert_eq!(server.requests(), 0);
    assert_eq!(pool.get(there.cid()).unwrap(), there);
    assert_eq!(server.requests(), 1);
    assert!(pool.has(here.cid()).unwrap() && pool.has(there.cid()).unwrap());
    let absent = leaf("absent");
    assert!(!pool.has(absent.cid()).unwrap());
    let error = pool.get(absent.cid()).unwrap_err().to_string();
    assert!(error.contains("here does not have it"), "{error}");
}

#[test]
fn what_was_fetched_once_comes_from_the_cache() {
    let block = leaf("x");
    let server = Server::gateway(store(std::slice::from_ref(&block)));
    let dir = tempfile::tempdir().unwrap();
    let cached = || {
        let mut pool = pool(&[&server.url]);
        pool.set_cache(BlockCache::new(dir.path()));
        pool
    };
    for _ in 0..3 {
        assert_eq!(cached().get(block.cid()).unwrap(), block);
    }
    assert_eq!(server.requests(), 1);
}

#[test]
fn what_is_on_this_machine_is_not_kept_a_second_time() {
    let (here, there) = (leaf("here"), leaf("there"));
    let server = Server::gateway(store(std::slice::from_ref(&there)));
    let dir = tempfile::tempdir().unwrap();
    let mut pool = Pool::default();
    pool.add_local("here", Box::new(store(std::slice::from_ref(&here))));
    pool.add_remote(source(&NET, &server.url));
    pool.set_cache(BlockCache::new(dir.path()));
    for _ in 0..2 {
        for block in [&here, &there] {
            assert_eq!(&pool.get(block.cid()).unwrap(), block);
        }
    }
    let gave: Vec<_> = pool
        .balances()
        .iter()
        .map(|balance| balance.blocks)
        .collect();
    assert_eq!(gave, [2, 1, 1], "this machine, the cache, the network");
    let kept = BlockCache::new(dir.path());
    assert_eq!(kept.get(here.cid()), None);
    assert_eq!(kept.get(there.cid()), Some(there));
}

#[test]
fn a_whole_dag_neither_fills_the_cache_nor_comes_out_of_it() {
    let below = leaf("below");
    let root = super::house::node(&[&below]);
    let blocks = store(&[root.clone(), below.clone()]);
    // One that gives no CARs, so that block by block is asked for.
    let server = Server::new(move |asked| match asked.wants_car() {
        true => super::server::Reply::absent(),
        false => honest(&blocks, asked),
    });
    let dir = tempfile::tempdir().unwrap();
    let mut pool = pool(&[&server.url]);
    pool.set_cache(BlockCache::new(dir.path()));
    let mut given = 0;
    pool.get_dag(root.cid(), &|_| false, &mut |_| {
        given += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(given, 2);
    assert_eq!(BlockCache::new(dir.path()).get(below.cid()), None);
}

#[test]
fn one_source_named_twice_is_asked_once() {
    let server = Server::new(|_| super::server::Reply::absent());
    let slashed = format!("{}/", server.url);
    let pool = pool(&[&server.url, &slashed]);
    assert!(pool.get(leaf("x").cid()).unwrap_err().is_missing());
    assert_eq!(pool.balances().len(), 1);
}
