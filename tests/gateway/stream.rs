//! Envelopes told as they are archived.

use std::collections::BTreeSet;

use gwa::archive::disk::seal_due;
use gwa::archive::testing::envelope;
use gwa::limits::Limits;
use gwa::time::UnixSeconds;
use gwa::whisper::Envelope;
use reqwest::header::HeaderName;

use crate::house::{DAY, House, SEALED, eventually, header, made, send};
use crate::listener::Listener;

const PATH: &str = "/api/v1/stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

async fn listen(house: &House, query: &str) -> Listener {
    Listener::of(house.get(&format!("{PATH}?{query}"))).await
}

/// The hashes of the next envelopes, so many, and the last id that was told.
async fn hashes(stream: &mut Listener, count: usize) -> (Vec<String>, Option<String>) {
    let (mut hashes, mut id) = (Vec::new(), None);
    while hashes.len() < count {
        let told = stream.next().await.expect("the stream goes on");
        if told.name == "envelope" {
            let hash = told.data["hash"].as_str().expect("a hash");
            hashes.push(hash.to_owned());
        }
        id = told.id.or(id);
    }
    (hashes, id)
}

fn of(envelopes: &[Envelope]) -> Vec<String> {
    let hashes = envelopes.iter().map(|envelope| envelope.hash().to_string());
    hashes.collect()
}

/// New ones of a topic, sent after all that is sealed.
fn new(topic: u8, from: u32, count: u32) -> Vec<Envelope> {
    (from..from + count)
        .map(|n| envelope(topic, SEALED + n, 100 + n as usize))
        .collect()
}

#[tokio::test]
async fn what_is_archived_is_told_and_what_is_sealed_is_not_told_again() {
    let house = House::new().await;
    let topic = envelope(3, DAY, 10).topic();
    let mut wanted = listen(&house, &format!("topic={topic}")).await;
    let mut all = listen(&house, "data=1").await;
    for stream in [&mut wanted, &mut all] {
        let first = stream.next().await.expect("an event");
        assert_eq!(first.name, "position");
        assert_eq!(first.id.as_deref(), first.data["position"].as_str());
    }
    let (three, five) = (new(3, 0, 2), new(5, 10, 2));
    house.archive.append(&three).expect("stored");
    house.archive.append(&five).expect("stored");
    assert_eq!(hashes(&mut wanted, 2).await.0, of(&three));
    let told = hashes(&mut all, 4).await.0;
    assert_eq!(told, [of(&three), of(&five)].concat());
    seal_due(&house.archive, UnixSeconds(SEALED + 900)).expect("sealed");
    let later = new(3, 20, 1);
    house.archive.append(&later).expect("stored");
    assert_eq!(hashes(&mut wanted, 1).await.0, of(&later));
    let row = all.wait_for("envelope").await;
    assert_eq!(row["hash"], later[0].hash().to_string());
    let data = format!("0x{}", hex::encode(later[0].data()));
    assert_eq!(row["data"], data);
    // It ends with the daemon, which waits for nobody.
    house.end().await;
    while all.next().await.is_some() {}
}

#[tokio::test]
async fn who_comes_back_misses_nothing_whatever_was_sealed_and_however_late_it_came() {
    let house = House::new().await;
    let mut stream = listen(&house, "").await;
    let first = new(1, 0, 3);
    house.archive.append(&first).expect("stored");
    let (told, id) = hashes(&mut stream, 3).await;
    assert_eq!(told, of(&first));
    let id = id.expect("a position");
    drop(stream);

    let mut expected: BTreeSet<String> = BTreeSet::new();
    // Late, in time, sealed, and still waiting.
    for (at, some) in [
        (1_000, vec![envelope(2, DAY + 77, 40)]),
        (1_300, new(1, 10, 150)),
        (1_300, new(4, 400, 5)),
    ] {
        house.archive.append(&some).expect("stored");
        expected.extend(of(&some));
        seal_due(&house.archive, UnixSeconds(SEALED + at)).expect("sealed");
    }
    for request in [
        house.get(PATH).header(LAST_EVENT_ID, &id),
        house.get(&format!("{PATH}?since={id}")),
        // A browser asks with the URL that it was given, and says where it was.
        house
            .get(&format!("{PATH}?from=5"))
            .header(LAST_EVENT_ID, &id),
    ] {
        let mut again = Listener::of(request).await;
        let (told, _) = hashes(&mut again, expected.len()).await;
        assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), expected);
    }
    house.end().await;
}

#[tokio::test]
async fn a_history_is_told_from_a_time_on() {
    let house = House::new().await;
    let from = DAY + 300 * 300;
    let expected: BTreeSet<String> = made()
        .iter()
        .filter(|envelope| envelope.sent().0 >= from)
        .map(|envelope| envelope.hash().to_string())
        .collect();
    let mut stream = listen(&house, &format!("from={from}")).await;
    let (told, _) = hashes(&mut stream, expected.len()).await;
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), expected);
    house.end().await;
}

#[tokio::test]
async fn who_cannot_go_on_is_told_that_something_was_missed_and_then_what_comes() {
    let (house, other) = (House::new().await, House::new().await);
    let foreign = other.archive.here().1.to_string();
    let mut stream = listen(&house, &format!("since={foreign}")).await;
    let missed = stream.next().await.expect("an event");
    assert_eq!((&*missed.name, &missed.id), ("missed", &None));
    assert_eq!(missed.data["reason"], "another-archive");
    assert!(missed.data["hint"].is_string());
    let position = stream.next().await.expect("an event");
    assert_eq!(position.name, "position");
    let later = new(1, 0, 1);
    house.archive.append(&later).expect("stored");
    assert_eq!(hashes(&mut stream, 1).await.0, of(&later));
    other.end().await;
    house.end().await;
}

#[tokio::test]
async fn what_is_no_question_is_refused_before_a_stream_begins() {
    let house = House::new().await;
    let here = house.archive.here().1;
    for query in [
        "topic=0x01".to_owned(),
        "since=01".to_owned(),
        format!("since={here}&from=5"),
        "data=2".to_owned(),
    ] {
        let answer = send(house.get(&format!("{PATH}?{query}"))).await;
        assert_eq!(answer.status(), 400, "{query}");
    }
    let answer = send(house.get(PATH).header(LAST_EVENT_ID, "7")).await;
    assert_eq!(answer.status(), 400);
    house.end().await;
}

#[tokio::test]
async fn streams_are_bounded_and_a_seat_is_free_again_once_one_is_left() {
    let house = House::limited(Limits::default()).await;
    let mut streams = Vec::new();
    for _ in 0..6 {
        streams.push(listen(&house, "").await);
    }
    let refused = send(house.get(PATH)).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(header(&refused, "retry-after"), "30");
    drop(streams);
    eventually(async || send(house.get(PATH)).await.status() == 200).await;
    house.end().await;
}
