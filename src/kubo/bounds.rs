//! The client before nodes that keep it waiting: however they do it, a call ends.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::*;
use crate::blocks::{Block, Cid, Codec};

/// Longer than any of these calls may take, also on a machine that is busy.
const TOO_LONG: Duration = Duration::from_secs(60);

fn limits() -> KuboLimits {
    KuboLimits {
        idle: Duration::from_secs(20),
        answer: Duration::from_millis(500),
        whole: Duration::from_millis(500),
        routing: TOO_LONG,
        stall: Duration::from_millis(500),
        // A byte a second: whoever goes by what there is to do waits for days.
        slowest: 1,
        ..KuboLimits::default()
    }
}

fn cid(text: &'static str) -> Cid {
    *Block::new(Codec::Raw, text.as_bytes()).cid()
}

/// A node that does `answer` with each command that it is asked for; gives those, too.
async fn node<F, A>(answer: F) -> (Kubo, Arc<Mutex<Vec<String>>>)
where
    F: Fn(String, TcpStream) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split([' ', '?']).nth(1).unwrap();
            let command = path.trim_start_matches("/api/v0/").to_owned();
            seen.lock().unwrap().push(command.clone());
            tokio::spawn(answer(command, stream));
        }
    });
    let kubo = Kubo::new(url.parse().unwrap(), None, limits()).unwrap();
    (kubo, asked)
}

/// A node that says `line` again and again, and ends no answer.
async fn endless(line: &'static str) -> Kubo {
    let (kubo, _) = node(move |_, mut stream| async move {
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        let mut said = stream.write_all(head.as_bytes()).await;
        while said.is_ok() {
            sleep(Duration::from_millis(20)).await;
            said = stream.write_all(line.as_bytes()).await;
        }
    })
    .await;
    kubo
}

fn assert_away<T: std::fmt::Debug>(ended: Result<Result<T, KuboError>, impl std::fmt::Debug>) {
    let error = ended.expect("it ends").unwrap_err();
    assert!(matches!(error, KuboError::Away(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_goes_on_for_ever_is_not_heard_to_its_end() {
    let listing = endless("{\"Cid\":\"bafy\",\"Name\":\"another\"}\n").await;
    let listed = listing.pin_ls(Depth::Recursive, "gwa/");
    assert_away(timeout(TOO_LONG, listed).await);
    let pin = cid("a");
    assert_away(timeout(TOO_LONG, listing.pin_of(&pin, Depth::Direct)).await);
    let routing = endless("{\"Type\":1}\n").await;
    assert_away(timeout(TOO_LONG, routing.routing_get("/ipns/a")).await);
    assert_away(timeout(TOO_LONG, routing.routing_put("/ipns/a", "b".into())).await);
    let blank = endless("\n").await;
    let import = vec![Part::Bytes("car".into())];
    assert_away(timeout(TOO_LONG, blank.dag_import(import, false)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dag_that_is_gone_through_no_further_is_given_up_whatever_its_size() {
    let (stuck, _) = node(|_, mut stream| async move {
        let begun = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}\n";
        stream.write_all(begun.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let root = cid("a");
    assert_away(timeout(TOO_LONG, stuck.dag_stat(&root, 1 << 40)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_answers_nothing_at_all_is_asked_for_nothing_large() {
    let (silent, asked) = node(|_, stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let (from, to) = (cid("a"), cid("b"));
    assert_away(timeout(TOO_LONG, silent.pin_update(&from, &to)).await);
    assert_eq!(*asked.lock().unwrap(), ["pin/update", "version"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_may_take_longer_into_the_routing_system_than_an_answer() {
    let (slow, _) = node(|_, mut stream| async move {
        sleep(3 * limits().answer).await;
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let begun = Instant::now();
    slow.routing_put("/ipns/a", "b".into()).await.unwrap();
    assert!(begun.elapsed() > limits().answer);
}
