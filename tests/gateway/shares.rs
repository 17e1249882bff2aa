//! What one address may take.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use gwa::limits::Limits;
use tokio::io::AsyncWriteExt;

use crate::house::{House, eventually, header, send};

/// Requests that one address may have under way.
const REQUESTS: usize = 32;

#[tokio::test]
async fn an_address_whose_calls_trickle_in_leaves_room_for_all_others() {
    let house = House::limited(Limits::default()).await;
    let slow = "POST /rpc HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
                Content-Length: 100000\r\n\r\n[";
    let mut calls = Vec::new();
    for _ in 0..REQUESTS {
        let mut stream = house.connect().await;
        stream.write_all(slow.as_bytes()).await.expect("sent");
        calls.push(stream);
    }
    eventually(async || {
        let refused = send(house.get("/health")).await;
        refused.status() == 429 && header(&refused, "retry-after") == "1"
    })
    .await;
    let other: SocketAddr = ([127, 0, 0, 2], 0).into();
    let other = gwa::tls::http_client().local_address(other.ip()).build();
    let url = format!("{}/health", house.url);
    let answer = send(other.expect("a client").get(url)).await;
    assert_eq!(answer.status(), 200);
    drop(calls);
    eventually(async || send(house.get("/health")).await.status() == 200).await;
    house.end().await;
}

#[tokio::test]
async fn what_is_told_of_the_archive_is_paid_for_as_blocks_are() {
    for path in ["/api/v1/heads", "/api/v1/stats", "/api/v1/segments"] {
        // Ten seconds' worth of four clients, 40 KiB, may come at once.
        let house = House::limited(Limits {
            answer_kib_per_second: NonZeroU32::MIN,
            ..Limits::default()
        })
        .await;
        assert_eq!(send(house.get(path)).await.status(), 200);
        let mut refused = None;
        for _ in 0..100 {
            let answer = send(house.get(path)).await;
            if answer.status() == 429 {
                refused = Some(answer);
                break;
            }
        }
        let refused = refused.expect("it has an end");
        let after: u32 = header(&refused, "retry-after").parse().expect("seconds");
        assert!(after > 0, "{path}");
        // It is one account.
        let raw = format!("/ipfs/{}?format=raw", house.cid());
        assert_eq!(send(house.get(&raw)).await.status(), 429, "{path}");
        house.end().await;
    }
}
