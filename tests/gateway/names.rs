//! Records of names, as gateways serve them.

use gwa::publish::Hints;
use gwa::publish::ipns::folder::{NameFolder, Wish};
use gwa::publish::ipns::{IpnsKey, KeyName, Record};
use gwa::time::{Clock, SystemClock, UnixSeconds};
use reqwest::Method;

use crate::house::{House, header, send};

const RECORD: &str = "application/vnd.ipfs.ipns-record";

fn named(house: &House, now: UnixSeconds) -> (IpnsKey, Record) {
    let folder = NameFolder::new(house.folder.path());
    let key = folder.key_or_new(&KeyName::default()).expect("a key");
    let wish = Wish::of_head(&house.head(), &Hints::default());
    let record = folder.say(&key, &wish, None, now).expect("a record");
    (key, record)
}

#[tokio::test]
async fn a_record_is_served_as_it_was_signed() {
    let house = House::new().await;
    let (key, record) = named(&house, SystemClock.now());
    let name = key.name();
    for (path, accept) in [
        (format!("/ipns/{name}?format=ipns-record"), "text/html"),
        (format!("/ipns/{name}"), RECORD),
        (format!("/ipns/{name}/"), "*/*"),
    ] {
        let answer = send(house.get(&path).header("accept", accept)).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(header(&answer, "content-type"), RECORD);
        assert_eq!(header(&answer, "cache-control"), "public, max-age=300");
        assert_eq!(header(&answer, "access-control-allow-origin"), "*");
        assert!(header(&answer, "content-disposition").contains(".ipns-record"));
        let tag = header(&answer, "etag");
        assert_eq!(answer.bytes().await.expect("a body"), record.bytes());
        let again = house.get(&path).header("accept", accept);
        let again = send(again.header("if-none-match", &tag)).await;
        assert_eq!(again.status(), 304);
        assert_eq!(header(&again, "etag"), tag);
    }
    let head = send(house.request(Method::HEAD, &format!("/ipns/{name}"))).await;
    assert_eq!(head.status(), 200);
    assert_eq!(
        header(&head, "content-length"),
        record.bytes().len().to_string()
    );
    house.end().await;
}

#[tokio::test]
async fn what_is_no_record_here_is_not_served() {
    let house = House::new().await;
    let stranger = IpnsKey::generate().name();
    for (path, accept, status) in [
        (format!("/ipns/{stranger}"), RECORD, 404),
        ("/ipns/archive.example".to_owned(), RECORD, 400),
        ("/ipns/../archive.key".to_owned(), RECORD, 404),
        (format!("/ipns/{stranger}/state"), RECORD, 400),
        (format!("/ipns/{stranger}?format=raw"), RECORD, 406),
        (format!("/ipns/{stranger}"), "application/vnd.ipld.car", 406),
    ] {
        let answer = send(house.get(&path).header("accept", accept)).await;
        assert_eq!(answer.status(), status, "{path}");
    }
    house.end().await;
}

#[tokio::test]
async fn an_expired_record_is_none() {
    let house = House::new().await;
    let (key, _) = named(&house, UnixSeconds(1_500_000_000));
    let answer = send(house.get(&format!("/ipns/{}", key.name()))).await;
    assert_eq!(answer.status(), 404);
    house.end().await;
}

#[tokio::test]
async fn a_record_of_what_is_denied_is_not_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("list.deny");
    let (data, archive) = crate::house::filled();
    let head = archive.head().expect("something was sealed");
    let text = format!("version: 1\n---\n/ipfs/{}\n", head.cid());
    std::fs::write(&list, text).expect("a file");
    let house = House::over(data, archive, |http| http.denylists = Some(vec![list])).await;
    let (key, _) = named(&house, SystemClock.now());
    let answer = send(house.get(&format!("/ipns/{}", key.name()))).await;
    assert_eq!(answer.status(), 410);
    house.end().await;
}
