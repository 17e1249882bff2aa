//! Sources that are slow, silent, or endless.

use std::io::Write;
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gwa::blocks::{BlockSource, MAX_BLOCK_READ};
use gwa::sources::net::{Net, NetLimits};

use super::house::{leaf, node, pool, pool_on, quick, source, store};
use super::server::{Reply, Server, honest};

const CAR: &str = "application/vnd.ipld.car; version=1; order=dfs; dups=n";
const HEAD: &str = "HTTP/1.1 200 x\r\ncontent-type: application/vnd.ipld.raw\r\n";

/// Writes until the other end has enough; how much it took.
fn endless(stream: &mut TcpStream, piece: &[u8], pause: Duration) -> u64 {
    let mut written = 0;
    while stream.write_all(piece).is_ok() {
        written += piece.len() as u64;
        std::thread::sleep(pause);
    }
    written
}

#[test]
fn a_byte_now_and_then_is_too_slow_and_the_next_source_is_asked() {
    let slow = Server::new(|_| {
        Reply::Raw(Box::new(|stream| {
            let _ = write!(stream, "{HEAD}content-length: 100000\r\n\r\n");
            endless(stream, b"x", Duration::from_millis(20));
        }))
    });
    let block = leaf("x");
    let fair = Server::gateway(store(std::slice::from_ref(&block)));
    let net = Net::new(quick()).unwrap();
    let pool = pool_on(&net, &[&slow.url, &fair.url]);
    assert_eq!(pool.get(block.cid()).unwrap(), block);
    let failure = pool.balances()[0].last_failure.clone().unwrap();
    assert!(failure.contains("too slow"), "{failure}");
}

#[test]
fn silence_is_not_waited_for() {
    let silent = Server::new(|_| {
        Reply::Raw(Box::new(|stream| {
            let _ = write!(stream, "{HEAD}content-length: 100\r\n\r\nx");
            // Until the other end hangs up.
            let _ = std::io::Read::read(stream, &mut [0; 1]);
        }))
    });
    let net = Net::new(quick()).unwrap();
    let pool = pool_on(&net, &[&silent.url]);
    let error = pool.get(leaf("x").cid()).unwrap_err();
    assert!(error.to_string().contains("sent nothing"), "{error}");
    // It was tried again, as often as it is said.
    assert_eq!(silent.requests(), 2);
}

#[test]
fn the_next_source_is_asked_too_where_one_keeps_silent() {
    let silent = silent();
    let block = leaf("x");
    let fair = Server::gateway(store(std::slice::from_ref(&block)));
    let limits = NetLimits {
        hedge_after: Duration::from_millis(20),
        rest: Duration::from_secs(3_600),
        ..NetLimits::default()
    };
    let net = Net::new(limits).unwrap();
    let pool = pool_on(&net, &[&silent.url, &fair.url]);
    assert_eq!(pool.get(block.cid()).unwrap(), block);
    let balance = &pool.balances()[0];
    assert_eq!(balance.failed, 1);
    let failure = balance.last_failure.as_deref().unwrap();
    assert!(failure.contains("another source gave it"), "{failure}");
    // Nobody waits for it again and again.
    for _ in 0..20 {
        assert_eq!(pool.get(block.cid()).unwrap(), block);
    }
    assert_eq!(pool.balances()[0].failed, 3);
}

/// A server that takes every request and says nothing.
fn silent() -> Server {
    Server::new(|_| {
        Reply::Raw(Box::new(|stream| {
            // Until the other end hangs up.
            let _ = std::io::Read::read(stream, &mut [0; 1]);
        }))
    })
}

/// Walks the DAGs under `roots`, one after another.
fn walk_each(pool: &gwa::sources::Pool, roots: &[gwa::blocks::Block]) {
    for root in roots {
        let mut given = 0;
        pool.get_dag(root.cid(), &|_| false, &mut |_| {
            given += 1;
            ControlFlow::Continue(())
        })
        .expect("a source has them");
        assert_eq!(given, 2);
    }
}

/// Twenty DAGs of two blocks each: their roots, and all blocks.
fn twenty() -> (Vec<gwa::blocks::Block>, Vec<gwa::blocks::Block>) {
    let leaves: Vec<_> = (0..20).map(|n| leaf(&n.to_string())).collect();
    let roots: Vec<_> = leaves.iter().map(|leaf| node(&[leaf])).collect();
    let all = roots.iter().chain(&leaves).cloned().collect();
    (roots, all)
}

#[test]
fn a_silent_first_source_is_not_waited_for_at_every_dag() {
    let (roots, all) = twenty();
    let (silent, fair) = (silent(), Server::gateway(store(&all)));
    let limits = NetLimits {
        hedge_after: Duration::from_millis(20),
        rest: Duration::from_secs(3_600),
        ..NetLimits::default()
    };
    let net = Net::new(limits).unwrap();
    let pool = pool_on(&net, &[&silent.url, &fair.url]);
    walk_each(&pool, &roots);
    assert_eq!(pool.balances()[0].failed, 3);
    assert!(silent.requests() <= 3, "{}", silent.requests());
    assert_eq!(fair.requests(), roots.len(), "each DAG came in one piece");
}

#[test]
fn a_dead_first_source_is_tried_three_times_and_then_left_alone() {
    let gone = Server::new(|_| Reply::absent()).url.clone();
    let (roots, all) = twenty();
    let fair = Server::gateway(store(&all));
    let pool = pool(&[&gone, &fair.url]);
    walk_each(&pool, &roots);
    assert_eq!(pool.balances()[0].failed, 3);
    assert_eq!(fair.requests(), roots.len());
}

#[test]
fn a_source_that_begins_dags_and_ends_none_is_asked_for_blocks() {
    let (roots, all) = twenty();
    let blocks = store(&all);
    let begins = Server::new(move |asked| match (asked.wants_car(), asked.cid()) {
        (true, Some(root)) => {
            let first = blocks.get(&root).unwrap();
            let begun = super::server::car(&root, &[first]);
            Reply::Raw(Box::new(move |stream| {
                let _ = write!(stream, "HTTP/1.1 200 x\r\ncontent-type: {CAR}\r\n\r\n");
                let _ = stream.write_all(&begun);
                let _ = std::io::Read::read(stream, &mut [0; 1]);
            }))
        }
        _ => honest(&blocks, asked),
    });
    let limits = NetLimits {
        idle: Duration::from_secs(1),
        ..NetLimits::default()
    };
    let net = Net::new(limits).unwrap();
    let pool = pool_on(&net, &[&begins.url]);
    walk_each(&pool, &roots);
    let asked = begins.asked();
    let cars = asked.iter().filter(|asked| asked.wants_car());
    let cars: std::collections::HashSet<_> = cars.map(|asked| &asked.path).collect();
    assert_eq!(cars.len(), 3);
    assert_eq!(pool.balances()[0].blocks, all.len() as u64);
}

#[test]
fn a_gateway_without_cars_is_asked_for_one_and_no_more() {
    let (roots, all) = twenty();
    let in_another_order = "application/vnd.ipld.car; version=1; order=unk; dups=n";
    let kinds = ["application/vnd.ipld.car", in_another_order, "text/html"];
    let answers = kinds.map(|kind| (200, kind)).into_iter();
    for (status, kind) in answers.chain([(501, "text/plain"), (406, "text/plain")]) {
        let blocks = store(&all);
        let server = Server::new(move |asked| {
            let Some(cid) = asked.cid().filter(|_| asked.wants_car()) else {
                return honest(&blocks, asked);
            };
            // Leaves before their root, as a gateway may that says so.
            let root = blocks.get(&cid).unwrap();
            let links = gwa::blocks::links::links(&root).unwrap();
            let body = super::server::car(&cid, &[blocks.get(&links[0]).unwrap(), root]);
            Reply::Whole(status, vec![("content-type", kind.to_owned())], body)
        });
        let pool = pool(&[&server.url]);
        walk_each(&pool, &roots);
        let cars = server
            .asked()
            .iter()
            .filter(|asked| asked.wants_car())
            .count();
        assert_eq!(cars, 1, "{status} {kind}");
        let balance = &pool.balances()[0];
        assert_eq!((balance.lies, balance.failed), (0, 0), "{status} {kind}");
    }
}

#[test]
fn a_body_of_ten_gibibytes_is_left_after_two_mebibytes() {
    let claimed = Server::new(|_| {
        Reply::Raw(Box::new(|stream| {
            let _ = write!(stream, "{HEAD}content-length: {}\r\n\r\n", 10u64 << 30);
            endless(stream, &[0; 65_536], Duration::ZERO);
        }))
    });
    let unclaimed = Server::new(|_| {
        Reply::Raw(Box::new(|stream| {
            let _ = write!(stream, "{HEAD}connection: close\r\n\r\n");
            endless(stream, &[0; 65_536], Duration::ZERO);
        }))
    });
    for server in [&claimed, &unclaimed] {
        let pool = pool(&[&server.url]);
        let error = pool.get(leaf("x").cid()).unwrap_err();
        assert!(error.is_corrupt(), "{error}");
        assert!(error.to_string().contains("more than"), "{error}");
        let received = pool.balances()[0].received;
        assert!(received <= MAX_BLOCK_READ as u64 + (1 << 20), "{received}");
    }
}

#[test]
fn a_car_without_end_is_left_at_its_first_wrong_block() {
    let root = node(&[&leaf("a")]);
    let begun = super::server::car(root.cid(), std::slice::from_ref(&root));
    let server = Server::new(move |asked| {
        if !asked.wants_car() {
            return Reply::absent();
        }
        let begun = begun.clone();
        Reply::Raw(Box::new(move |stream| {
            let _ = write!(stream, "HTTP/1.1 200 x\r\ncontent-type: {CAR}\r\n\r\n");
            let _ = stream.write_all(&begun);
            endless(stream, &[0x7f; 65_536], Duration::ZERO);
        }))
    });
    let pool = pool(&[&server.url]);
    let error = pool
        .get_dag(root.cid(), &|_| false, &mut |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert!(error.is_corrupt(), "{error}");
    let received = pool.balances()[0].received;
    assert!(received < 4 << 20, "{received}");
}

#[test]
fn a_server_that_asks_for_patience_gets_a_little() {
    let tries = AtomicUsize::new(0);
    let block = leaf("x");
    let blocks = store(std::slice::from_ref(&block));
    let server = Server::new(move |asked| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::Whole(429, vec![("retry-after", "86400".to_owned())], Vec::new()),
        1 => Reply::Whole(503, Vec::new(), Vec::new()),
        2 => Reply::Raw(Box::new(|_| {})),
        _ => honest(&blocks, asked),
    });
    assert_eq!(pool(&[&server.url]).get(block.cid()).unwrap(), block);
    assert_eq!(server.requests(), 4);
}

#[test]
fn a_server_that_is_not_there_is_asked_no_more_after_a_while() {
    let gone = {
        let server = Server::new(|_| Reply::absent());
        server.url.clone()
    };
    let blocks: Vec<_> = (0..30).map(|n| leaf(&n.to_string())).collect();
    let fair = Server::gateway(store(&blocks));
    let net = Net::new(quick()).unwrap();
    let pool = pool_on(&net, &[&gone, &fair.url]);
    for block in &blocks {
        assert_eq!(&pool.get(block.cid()).unwrap(), block);
    }
    assert_eq!(pool.balances()[0].failed, 3);
}

#[test]
fn a_way_that_is_closed_ends_every_wait() {
    let (told, asked) = std::sync::mpsc::channel();
    let silent = Server::new(move |_| {
        let told = told.clone();
        Reply::Raw(Box::new(move |stream| {
            let _ = told.send(());
            // Until the other end hangs up.
            let _ = std::io::Read::read(stream, &mut [0; 1]);
        }))
    });
    let patient = NetLimits {
        idle: Duration::from_secs(86_400),
        ..quick()
    };
    let net = Net::new(patient).unwrap();
    std::thread::scope(|threads| {
        let pool = pool_on(&net, &[&silent.url]);
        let block = threads.spawn(move || pool.get(leaf("x").cid()).unwrap_err().to_string());
        let far = source(&net, &silent.url);
        let head = threads.spawn(move || far.current_head().unwrap_err().to_string());
        for _ in 0..2 {
            asked.recv().unwrap();
        }
        net.close();
        for error in [block.join().unwrap(), head.join().unwrap()] {
            assert!(error.contains("this program is ending"), "{error}");
        }
    });
}
