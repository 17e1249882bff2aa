//! Sources that are slow, silent, or endless.

use std::io::Write;
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gwa::blocks::{BlockSource, MAX_BLOCK_READ};
use gwa::sources::net::{Net, NetLimits};

use super::house::{leaf, node, pool, pool_on, quick, store};
use super::server::{Reply, Server, honest};

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
    let silent = Server::new(|_| {
        Reply::Raw(Box::new(|stream| {
            let _ = std::io::Read::read(stream, &mut [0; 1]);
        }))
    });
    let block = leaf("x");
    let fair = Server::gateway(store(std::slice::from_ref(&block)));
    let limits = NetLimits {
        hedge_after: Duration::from_millis(20),
        ..NetLimits::default()
    };
    let net = Net::new(limits).unwrap();
    let pool = pool_on(&net, &[&silent.url, &fair.url]);
    assert_eq!(pool.get(block.cid()).unwrap(), block);
    assert_eq!(pool.balances()[0].failed, 0, "nobody waited for it");
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
            let _ = write!(
                stream,
                "HTTP/1.1 200 x\r\ncontent-type: application/vnd.ipld.car\r\n\r\n"
            );
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
