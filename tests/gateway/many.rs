//! Many clients, slow ones, and ones that go away.

use gwa::archive::disk::{Archive, seal_due};
use gwa::archive::testing::envelope;
use gwa::time::UnixSeconds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::house::{DAY, House, blocks, eventually, header, send};

/// CARs that the gateway sends at a time.
const MAX_CARS: usize = 32;

/// A daemon over some 20 MB, more than sockets hold for a client that does not
/// read.
async fn large() -> House {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = Archive::init(folder.path(), "large").expect("an archive");
    let envelopes: Vec<_> = (0..350u32)
        .map(|n| envelope(u8::try_from(n % 250).expect("small"), DAY + n * 200, 60_000))
        .collect();
    archive.append(&envelopes).expect("stored");
    seal_due(&archive, UnixSeconds(DAY + 86_400 + 1_000)).expect("sealed");
    House::over(folder, archive, |_| {}).await
}

#[tokio::test]
async fn who_does_not_read_holds_a_place_and_leaves_it_when_going_away() {
    let house = large().await;
    let cid = house.cid();
    let ask = format!("GET /ipfs/{cid}?format=car HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut idle = Vec::new();
    for _ in 0..MAX_CARS {
        let mut stream = house.connect().await;
        stream.write_all(ask.as_bytes()).await.expect("sent");
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.expect("an answer");
        assert_eq!(&start, b"HTTP/1.1 200");
        idle.push(stream);
    }
    let path = format!("/ipfs/{cid}?format=car");
    let full = send(house.get(&path)).await;
    assert_eq!(full.status(), 503);
    assert!(
        header(&full, "retry-after")
            .parse::<u32>()
            .expect("seconds")
            > 0
    );
    // Single blocks, and all else, go on.
    let raw = send(house.get(&format!("/ipfs/{cid}?format=raw"))).await;
    assert_eq!(raw.status(), 200);
    assert_eq!(send(house.get("/head")).await.status(), 200);
    drop(idle);
    eventually(async || {
        let answer = send(house.get(&path)).await;
        answer.status() == 200 && answer.bytes().await.is_ok()
    })
    .await;
    house.end().await;
}

#[tokio::test]
async fn many_mirrors_at_once_each_get_all_of_it() {
    let house = large().await;
    let url = format!("{}/ipfs/{}?format=car", house.url, house.cid());
    let whole = house.client.get(&url).send().await.expect("an answer");
    let whole = whole.bytes().await.expect("a whole CAR");
    assert!(blocks(&whole).len() > 300);
    let mirrors: Vec<_> = (0..MAX_CARS / 2)
        .map(|_| {
            let request = house.client.get(&url);
            tokio::spawn(async move {
                let answer = request.send().await.expect("an answer");
                answer.bytes().await.expect("a whole CAR")
            })
        })
        .collect();
    for mirror in mirrors {
        assert!(mirror.await.expect("an end") == whole, "another CAR");
    }
    house.end().await;
}

#[tokio::test]
async fn an_old_client_gets_blocks_and_no_car_whose_end_it_could_not_tell() {
    let house = House::new().await;
    let cid = house.cid();
    let ask = |query: &str| format!("GET /ipfs/{cid}?{query} HTTP/1.0\r\nHost: x\r\n\r\n");
    let raw = house.say(&ask("format=raw")).await;
    assert!(raw.contains(" 200 OK"), "{raw}");
    let car = house.say(&ask("format=car")).await;
    assert!(car.contains(" 505 "), "{car}");
    house.end().await;
}

#[tokio::test]
async fn a_path_that_is_no_path_harms_nobody() {
    let house = House::new().await;
    let long = format!("/ipfs/{}/{}", house.cid(), "a".repeat(5_000));
    for (target, status) in [
        ("/ipfs/%", " 400 "),
        ("/ipfs/%2e%2e/%2e%2e/etc/passwd", " 400 "),
        ("/ipfs/../head", " 400 "),
        (&long, " 400 "),
        ("/ipfs/bafkqaaa?format=raw&%ff=%00", " 200 "),
    ] {
        let ask = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = house.say(&ask).await;
        let line = answer.lines().next().unwrap_or_default();
        assert!(line.contains(status), "{target}: {line}");
    }
    house.end().await;
}
