//! Sources that give something else than what was asked for.

use std::ops::ControlFlow;

use gwa::blocks::{Block, BlockError, BlockSource, Cid, Fault};

use super::house::{leaf, node, pool, store};
use super::server::{Reply, Server, car, honest};

/// Who is said to have lied about `cid`.
fn liars(error: &BlockError, cid: &Cid) -> Vec<String> {
    let BlockError::Unavailable { cid: of, by } = error else {
        panic!("{error}");
    };
    assert_eq!(of, cid);
    by.iter()
        .filter(|refusal| matches!(refusal.fault, Fault::Lied(_)))
        .map(|refusal| refusal.source.clone())
        .collect()
}

#[test]
fn wrong_bytes_are_refused_and_their_source_is_named() {
    let server = Server::new(|_| Reply::raw("other bytes"));
    let block = leaf("right");
    let pool = pool(&[&server.url]);
    let error = pool.get(block.cid()).unwrap_err();
    assert_eq!(
        liars(&error, block.cid()),
        std::slice::from_ref(&server.url)
    );
    assert!(error.is_corrupt() && !error.is_missing());
    assert!(error.to_string().contains(&server.url), "{error}");
    assert_eq!(pool.balances()[0].blocks, 0);
}

#[test]
fn bytes_are_judged_by_their_hash_and_by_nothing_else() {
    let node = node(&[]);
    let bytes = node.bytes().clone();
    let server = Server::new(move |_| Reply::raw(bytes.clone()));
    // The bytes of a node are a leaf, too, for whoever asks for that.
    let as_leaf = Block::new(gwa::blocks::Codec::Raw, node.into_bytes());
    assert_eq!(pool(&[&server.url]).get(as_leaf.cid()).unwrap(), as_leaf);
    // A block that is another one by its content.
    let error = pool(&[&server.url]).get(leaf("x").cid()).unwrap_err();
    assert_eq!(
        liars(&error, leaf("x").cid()),
        std::slice::from_ref(&server.url)
    );
}

#[test]
fn the_next_source_is_asked_and_the_liar_never_again() {
    let liar = Server::new(|_| Reply::raw("lies"));
    let blocks: Vec<_> = (0..20).map(|n| leaf(&n.to_string())).collect();
    let fair = Server::gateway(store(&blocks));
    let pool = pool(&[&liar.url, &fair.url]);
    assert_eq!(pool.get(blocks[0].cid()).unwrap(), blocks[0]);
    assert_eq!(liar.requests(), 1);
    for block in &blocks {
        assert_eq!(&pool.get(block.cid()).unwrap(), block);
    }
    assert_eq!(liar.requests(), 1, "a liar was asked again");
    let balances = pool.balances();
    assert_eq!((balances[0].lies, balances[0].blocks), (1, 0));
    assert_eq!((balances[1].lies, balances[1].blocks), (0, 21));
    assert_eq!(balances[0].lied[0].cid, blocks[0].cid().to_string());
}

#[test]
fn a_block_is_missing_only_when_all_say_so() {
    let (one, other) = (
        Server::new(|_| Reply::absent()),
        Server::new(|_| Reply::absent()),
    );
    let block = leaf("nowhere");
    let error = pool(&[&one.url, &other.url]).get(block.cid()).unwrap_err();
    assert!(error.is_missing(), "{error}");
    for server in [&one, &other] {
        assert!(error.to_string().contains(&server.url), "{error}");
    }
    let failing = Server::new(|_| Reply::Whole(500, Vec::new(), Vec::new()));
    let error = pool(&[&one.url, &failing.url])
        .get(block.cid())
        .unwrap_err();
    assert!(!error.is_missing() && !error.is_corrupt(), "{error}");
    assert!(error.to_string().contains("500"), "{error}");
}

#[test]
fn what_a_car_brings_unasked_is_a_lie_and_is_not_given() {
    let (a, b, stranger) = (leaf("a"), leaf("b"), leaf("stranger"));
    let root = node(&[&a, &b]);
    let all = [root.clone(), a.clone(), b.clone()];
    let fair = Server::gateway(store(&all));
    for extra in 0..3 {
        let mut blocks = all.to_vec();
        blocks.insert(extra, stranger.clone());
        let body = car(root.cid(), &blocks);
        let liar = Server::new(move |asked| match asked.wants_car() {
            true => Reply::car(body.clone()),
            false => Reply::absent(),
        });
        let pool = pool(&[&liar.url, &fair.url]);
        let mut given = Vec::new();
        pool.get_dag(root.cid(), &|_| false, &mut |block| {
            given.push(block);
            ControlFlow::Continue(())
        })
        .unwrap();
        given.sort_by_key(|block| *block.cid());
        let mut expected = all.to_vec();
        expected.sort_by_key(|block| *block.cid());
        assert_eq!(given, expected);
        let balance = &pool.balances()[0];
        assert_eq!(balance.lies, 1, "{balance:?}");
        assert!(balance.lied[0].what.contains(&stranger.cid().to_string()));
    }
}

#[test]
fn what_a_car_cut_short_did_not_bring_is_fetched_block_by_block() {
    let leaves: Vec<_> = (0..9).map(|n| leaf(&"x".repeat(1_000 + n))).collect();
    let root = node(&leaves.iter().collect::<Vec<_>>());
    let mut all = vec![root.clone()];
    all.extend(leaves);
    let body = car(root.cid(), &all);
    for cut in [0, 20, 59, 80, 200, 1_700, 3_000, body.len() - 1] {
        let blocks = store(&all);
        let short = body[..cut].to_vec();
        let server = Server::new(move |asked| match asked.wants_car() {
            true => Reply::car(short.clone()),
            false => honest(&blocks, asked),
        });
        let pool = pool(&[&server.url]);
        let mut given = 0;
        pool.get_dag(root.cid(), &|_| false, &mut |_| {
            given += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(given, all.len(), "cut at {cut}");
        assert_eq!(pool.balances()[0].lies, 0, "cut at {cut}");
        let singles = server.asked().iter().filter(|a| !a.wants_car()).count();
        assert!(
            singles < all.len() || cut < 1_000,
            "{singles} blocks again, cut at {cut}"
        );
    }
}

#[test]
fn a_car_that_repeats_itself_without_end_is_a_lie() {
    let a = leaf("a");
    let root = node(&[&a, &leaf("b")]);
    let mut blocks = vec![root.clone()];
    blocks.extend(std::iter::repeat_n(root.clone(), 1_000));
    let body = car(root.cid(), &blocks);
    let server = Server::new(move |asked| match asked.wants_car() {
        true => Reply::car(body.clone()),
        false => Reply::absent(),
    });
    let pool = pool(&[&server.url]);
    let error = pool
        .get_dag(root.cid(), &|_| false, &mut |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert!(error.is_corrupt(), "{error}");
    assert_eq!(pool.balances()[0].lies, 1);
}

#[test]
fn what_is_skipped_is_not_fetched_though_a_car_would_bring_it() {
    let (a, b) = (leaf("a"), leaf("b"));
    let (held, other) = (node(&[&a]), node(&[&b]));
    let root = node(&[&held, &other]);
    let all = [root.clone(), held.clone(), a, other.clone(), b.clone()];
    let server = Server::gateway(store(&all));
    let pool = pool(&[&server.url]);
    let mut given = Vec::new();
    pool.get_dag(root.cid(), &|cid| cid == held.cid(), &mut |block| {
        given.push(*block.cid());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(given, [*root.cid(), *other.cid(), *b.cid()]);
    assert_eq!(pool.balances()[0].lies, 0);
}

#[test]
fn a_web_page_is_no_block_and_no_lie_about_one() {
    let page = ("content-type", "text/html".to_owned());
    let server = Server::new(move |_| Reply::Whole(200, vec![page.clone()], b"<html>".to_vec()));
    let block = leaf("x");
    let error = pool(&[&server.url]).get(block.cid()).unwrap_err();
    assert!(!error.is_corrupt() && !error.is_missing(), "{error}");
    assert!(
        error.to_string().contains("no trustless gateway"),
        "{error}"
    );
}

#[test]
fn compressed_answers_are_not_taken() {
    let coded = ("content-encoding", "gzip".to_owned());
    let server = Server::new(move |_| Reply::Whole(200, vec![coded.clone()], vec![31, 139]));
    let error = pool(&[&server.url]).get(leaf("x").cid()).unwrap_err();
    assert!(error.to_string().contains("compressed"), "{error}");
}
