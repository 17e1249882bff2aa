//! Single blocks.

use crate::house::{House, blocks, header, send};

#[tokio::test]
async fn a_block_comes_with_all_its_headers() {
    let house = House::new().await;
    let head = house.head();
    let cid = head.cid().to_string();
    let answer = send(house.get(&format!("/ipfs/{cid}?format=raw"))).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "content-type"), "application/vnd.ipld.raw");
    assert_eq!(header(&answer, "etag"), format!("\"{cid}.raw\""));
    assert_eq!(answer.bytes().await.expect("a body"), head.block().bytes());

    let answer = send(house.get(&format!("/ipfs/{cid}?format=car"))).await;
    assert_eq!(answer.status(), 200);
    let car = answer.bytes().await.expect("a body");
    let found = blocks(&car);
    assert_eq!(&found[0], head.block());
    assert!(found.len() > 10, "{}", found.len());
    house.end().await;
}

#[tokio::test]
async fn a_path_leads_through_the_calendar() {
    let house = House::new().await;
    let head = house.head();
    let path = format!("/ipfs/{}/state/2019/07/15", head.cid());
    let answer = send(house.get(&format!("{path}?format=raw"))).await;
    assert_eq!(answer.status(), 200);
    let roots = header(&answer, "x-ipfs-roots");
    let day = roots
        .rsplit(',')
        .next()
        .expect("a root")
        .parse()
        .expect("a CID");
    assert_eq!(roots.split(',').count(), 5);
    assert_eq!(
        answer.bytes().await.expect("a body"),
        house.block(&day).bytes()
    );
    house.end().await;
}
