//! Envelopes by topic and time, page by page.

use std::fs;

use gwa::archive::disk::{Archive, seal_due};
use gwa::archive::testing::envelope;
use gwa::time::UnixSeconds;
use gwa::whisper::{Envelope, Topic};
use serde_json::Value;

use crate::house::{DAY, House, SEALED, eventually, filled, made, send};

/// Five envelopes in each of eighty seconds, over two days and some hours.
fn crowded() -> Vec<Envelope> {
    (0..400u32)
        .map(|n| {
            let topic = u8::try_from(n % 3).expect("small");
            envelope(topic, DAY + n / 5 * 2_200, 100 + n as usize)
        })
        .collect()
}

async fn house_of(envelopes: &[Envelope]) -> House {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = Archive::init(folder.path(), "query").expect("an archive");
    archive.append(envelopes).expect("stored");
    seal_due(&archive, UnixSeconds(SEALED)).expect("sealed");
    House::over(folder, archive, |_| {}).await
}

fn hashes(page: &Value) -> Vec<String> {
    let envelopes = page["envelopes"].as_array().expect("a list").iter();
    envelopes
        .map(|one| one["hash"].as_str().expect("a hash").to_owned())
        .collect()
}

/// All that pages of `limit` lead to.
async fn walk(house: &House, query: &str, limit: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = house
            .told(&format!("/api/v1/query?{query}&limit={limit}{cursor}"))
            .await;
        assert_eq!(page["head"], house.cid().to_string());
        let found = hashes(&page);
        assert!(found.len() <= limit);
        all.extend(found);
        match page["next"].as_str() {
            None => return all,
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
}

#[tokio::test]
async fn pages_of_any_length_in_either_order_lead_through_exactly_what_is_wanted() {
    let envelopes = crowded();
    let house = house_of(&envelopes).await;
    let watermark = house.head().body().watermark;
    let topic = |n: u8| Topic([n; 4]);
    let day = DAY + 86_400;
    for (topics, query) in [
        (vec![0, 1, 2], String::new()),
        (vec![1], format!("topic={}", topic(1))),
        (vec![0, 2], format!("topic={}&topic={}", topic(0), topic(2))),
        (vec![2], format!("chat=nobody&topic={}", topic(2))),
        (vec![], "chat=nobody&chat=else".to_owned()),
    ] {
        for (from, to) in [(0, u32::MAX), (day, u32::MAX), (DAY + 2_200, day + 4_399)] {
            let mut expected: Vec<_> = envelopes
                .iter()
                .filter(|one| watermark.covers(one.sent()))
                .filter(|one| (from..=to).contains(&one.sent().0))
                .filter(|one| topics.iter().any(|n| one.topic() == topic(*n)))
                .map(|one| (one.sent(), one.hash()))
                .collect();
            expected.sort_unstable();
            for order in ["oldest", "newest"] {
                let texts: Vec<_> = expected.iter().map(|(_, hash)| hash.to_string()).collect();
                for limit in [7, 1_000] {
                    let query = format!("{query}&from={from}&to={to}&order={order}");
                    assert_eq!(walk(&house, &query, limit).await, texts, "{query} {limit}");
                }
                expected.reverse();
            }
        }
    }
    house.end().await;
}

#[tokio::test]
async fn an_envelope_is_told_as_it_is_and_as_the_command_line_tells_it() {
    let house = House::new().await;
    let page = house.told("/api/v1/query?limit=5&data=1").await;
    let printed = house.cli(&["query", "--limit", "5"]).await;
    assert_eq!(printed.len(), 5);
    let told = page["envelopes"].as_array().expect("a list");
    for (told, printed) in told.iter().zip(printed.iter().rev()) {
        for field in ["hash", "topic", "sent", "ttl", "expiry", "size"] {
            assert_eq!(told[field], printed[field], "{field}");
        }
        let made = made();
        let one = made
            .iter()
            .find(|one| told["hash"] == one.hash().to_string());
        let one = one.expect("it was archived");
        assert_eq!(told["data"], format!("0x{}", hex::encode(one.data())));
        assert_eq!(told["nonce"], format!("{:#018x}", one.nonce()));
        assert!(told["pow"].as_f64().expect("a number") > 0.0);
    }
    let bare = house.told("/api/v1/query?limit=5").await;
    assert_eq!(bare["envelopes"][0].get("data"), None);
    house.end().await;
}

#[tokio::test]
async fn an_answer_is_bounded_in_bytes_and_leads_on() {
    let large: Vec<_> = (0..5)
        .map(|n| envelope(1, DAY + n * 60, 700_000 + n as usize))
        .collect();
    let house = house_of(&large).await;
    let mut found = 0;
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/query?data=1&order=oldest{cursor}");
        let body = send(house.get(&path)).await.bytes().await.expect("a body");
        assert!(body.len() <= (2 << 20) + 4_096, "{}", body.len());
        let page: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(hashes(&page)[0], large[found].hash().to_string());
        found += hashes(&page).len();
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, large.len());
    // Without their ciphertext they fit.
    assert_eq!(
        hashes(&house.told("/api/v1/query").await).len(),
        large.len()
    );
    house.end().await;
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_in_json() {
    let house = House::new().await;
    let topics = "topic=0x01020304&".repeat(120);
    let zeros = format!("cursor={}", "0".repeat(72));
    let ones = format!("cursor={}&order=oldest", "f".repeat(72));
    let distinct: String = (0..120).map(|n| format!("chat=c{n}&")).collect();
    for (query, status) in [
        ("limit=0", 400),
        ("limit=1001", 400),
        ("limit=-1", 400),
        ("limit=99999999999999999999", 400),
        ("limit=5&limit=6", 400),
        ("order=sideways", 400),
        ("topic=0x12", 400),
        ("topic=", 400),
        ("topic=%F0%9F%92%A3", 400),
        ("from=9&to=8", 400),
        ("from=yesterday", 400),
        ("cursor=xyz", 400),
        ("cursor=%00", 400),
        ("data=maybe", 400),
        (distinct.as_str(), 400),
        ("chat=%FF%FE%00&limit=1", 200),
        ("chat=&limit=1", 200),
        ("%5B%5D=1&&&=&%", 200),
        ("from=2019-07-15&to=2019-07-16T00:00:00Z&limit=1", 200),
        (topics.as_str(), 200),
        // Before all and after all.
        (zeros.as_str(), 200),
        (ones.as_str(), 200),
    ] {
        let answer = send(house.get(&format!("/api/v1/query?{query}"))).await;
        assert_eq!(answer.status(), status, "{query}");
        let told: Value = answer.json().await.expect("JSON");
        assert_eq!(told["error"].is_string(), status != 200, "{query}");
    }
    house.end().await;
}

#[tokio::test]
async fn what_needs_a_block_that_is_denied_or_gone_is_no_answer() {
    let (folder, archive) = filled();
    let list = folder.path().join("list.deny");
    fs::write(&list, "version: 1\nname: test\n---\n").expect("written");
    let house = House::over(folder, archive, |http| {
        http.denylists = Some(vec![list.clone()]);
    })
    .await;
    let (first, second) = (
        format!("/api/v1/query?from={DAY}&to={}", DAY + 86_399),
        format!(
            "/api/v1/query?from={}&to={}",
            DAY + 86_400,
            DAY + 2 * 86_400 - 1
        ),
    );
    let status = async |path: &str| send(house.get(path)).await.status().as_u16();
    assert_eq!(status(&first).await, 200);
    let day = house
        .resolve(&format!("/ipfs/{}/state/2019/07/15", house.cid()))
        .await;
    fs::write(&list, format!("/ipfs/{day}\n")).expect("written");
    eventually(async || status(&first).await == 410).await;
    assert_eq!(status(&second).await, 200);
    house.end().await;

    let house = House::damaged(|folder| {
        let year = folder.join("blocks/days/2019");
        let mut files: Vec<_> = fs::read_dir(year)
            .expect("days")
            .map(|file| file.expect("a file").path())
            .collect();
        files.sort();
        fs::remove_file(&files[0]).expect("a day");
    })
    .await;
    // It rests with nobody else: this archive lost it.
    assert_eq!(send(house.get(&first)).await.status(), 500);
    assert_eq!(send(house.get(&second)).await.status(), 200);
    house.end().await;
}
