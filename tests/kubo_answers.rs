//! The client of Kubo's RPC before servers that are no Kubo, or a Kubo with a bad day.

#![allow(clippy::unwrap_used, reason = "what does not work fails the test")]

use std::time::Duration;

use gwa::blocks::{Block, Cid, Codec};
use gwa::kubo::{Depth, Imported, Kubo, KuboError, KuboLimits, Part};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn limits() -> KuboLimits {
    let short = Duration::from_millis(200);
    KuboLimits {
        connect: short,
        idle: short,
        answer: short,
        stall: short,
        // Nothing that is sent here takes longer.
        slowest: u64::MAX,
        ..KuboLimits::default()
    }
}

fn block() -> Block {
    Block::new(Codec::Raw, &b"a"[..])
}

/// A server that does `answer` with each connection once the head of a request came.
async fn server<F, A>(answer: F) -> Kubo
where
    F: Fn(TcpStream) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            tokio::spawn(answer(stream));
        }
    });
    Kubo::new(url.parse().unwrap(), None, limits()).unwrap()
}

/// A server that answers with these bytes, and closes.
async fn says(text: impl Into<Vec<u8>>) -> Kubo {
    let text = text.into();
    server(move |mut stream| {
        let text = text.clone();
        async move {
            // The client may have had enough before the end. What it still sends is
            // taken, for else its answer would be lost with it.
            let _ = stream.write_all(&text).await;
            let _ = stream.shutdown().await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    })
    .await
}

fn with_status(status: &str, body: &str) -> String {
    let len = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}")
}

async fn get(kubo: &Kubo) -> KuboError {
    let cid: Cid = *block().cid();
    kubo.block_get(&cid, true).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_keeps_silent_is_away_before_long() {
    let silent = server(|stream| async move {
        // Held open, and nothing said, for as long as the test lives.
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    assert!(get(&silent).await.is_transient());
    let error = silent.pin_ls(Depth::Recursive, "gwa/").await.unwrap_err();
    assert!(matches!(error, KuboError::Away(_)), "{error:?}");
    // A body that nobody takes: more than any buffer on the way.
    let bytes = vec![0; 32 << 20];
    let error = silent
        .dag_import(vec![Part::Bytes(bytes.into())], false)
        .await
        .unwrap_err();
    assert!(matches!(error, KuboError::Away(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stops_or_breaks_off_is_no_answer() {
    let stops = server(|mut stream| async move {
        let begun = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
        stream.write_all(begun.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    assert!(matches!(get(&stops).await, KuboError::Away(_)));
    let breaks = says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await;
    assert!(matches!(get(&breaks).await, KuboError::Away(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_longer_than_it_can_be_is_not_read_to_its_end() {
    let endless = server(|mut stream| async move {
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let piece = [b'x'; 64 << 10];
        while stream.write_all(&piece).await.is_ok() {}
    })
    .await;
    assert!(matches!(get(&endless).await, KuboError::NotUnderstood(_)));
    let error = endless.pin_ls(Depth::Recursive, "gwa/").await.unwrap_err();
    assert!(matches!(error, KuboError::NotUnderstood(_)), "{error:?}");
    let error = endless.id().await.unwrap_err();
    assert!(matches!(error, KuboError::NotUnderstood(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_and_texts_are_told_as_what_they_are() {
    let told = |text: &str| format!(r#"{{"Message":"{text}","Code":0,"Type":"error"}}"#);
    let full = told("put: no space left on device");
    let error = get(&says(with_status("500 Internal Server Error", &full)).await).await;
    assert!(matches!(error, KuboError::Full(_)), "{error:?}");
    let missing = told("block was not found locally (offline): ipld: could not find x");
    let error = get(&says(with_status("500 Internal Server Error", &missing)).await).await;
    assert!(error.is_missing(), "{error:?}");
    for (status, is_refused) in [
        ("401 Unauthorized", true),
        ("404 Not Found", true),
        ("503 Service Unavailable", false),
    ] {
        let page = "<html>".repeat(10_000);
        let error = get(&says(with_status(status, &page)).await).await;
        assert_eq!(
            matches!(error, KuboError::Refused(_)),
            is_refused,
            "{error:?}"
        );
        assert!(error.to_string().len() < 200);
    }
    // Nobody is sent on to another place, with a password perhaps.
    let moved = "HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    assert!(matches!(
        get(&says(moved).await).await,
        KuboError::Refused(_)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_counts_only_with_its_sums() {
    let import = async |answer: &str| {
        let kubo = says(with_status("200 OK", answer)).await;
        kubo.dag_import(vec![Part::Bytes("car".into())], true).await
    };
    let stats = r#"{"Stats":{"BlockCount":2,"BlockBytesCount":5}}"#;
    let done = import(stats).await.unwrap();
    assert_eq!(
        done,
        Imported {
            blocks: 2,
            bytes: 5
        }
    );
    for answer in ["", "{}", "[]", "<html>"] {
        let error = import(answer).await.unwrap_err();
        assert!(
            matches!(error, KuboError::NotUnderstood(_)),
            "{answer}: {error:?}"
        );
    }
    let cid = block().cid().to_string();
    let root = format!(
        r#"{{"Root":{{"Cid":{{"/":"{cid}"}},"PinErrorMsg":"ipld: could not find {cid}"}}}}"#
    );
    let error = import(&format!("{root}\n{stats}\n")).await.unwrap_err();
    assert!(error.is_missing(), "{error:?}");
}
