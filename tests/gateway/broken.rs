//! Archives that lack blocks, or have damaged ones.

use std::fs;
use std::path::{Path, PathBuf};

use gwa::blocks::car::CarReader;

use crate::house::{House, send};

/// The file of the first closed day.
fn first_day(folder: &Path) -> PathBuf {
    let year = folder.join("blocks/days/2019");
    let mut files: Vec<_> = fs::read_dir(year)
        .expect("days of 2019")
        .map(|file| file.expect("a file").path())
        .collect();
    files.sort();
    files.swap_remove(0)
}

#[tokio::test]
async fn a_car_that_lacks_a_block_breaks_the_connection() {
    let house = House::damaged(|folder| fs::remove_file(first_day(folder)).expect("a day")).await;
    let cid = house.cid();
    let mut answer = send(house.get(&format!("/ipfs/{cid}?format=car"))).await;
    assert_eq!(answer.status(), 200);
    let mut bytes = Vec::new();
    let error = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => panic!("a cut CAR passed for a whole one"),
            Err(error) => break error,
        }
    };
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    // What came before is as it should be.
    let found: Vec<_> = CarReader::new(&bytes[..]).expect("a CAR").collect();
    assert_eq!(found[0].as_ref().expect("a block").cid(), &cid);
    // What does not need the block is served.
    for path in [
        "state/2019/07?format=car&dag-scope=block",
        "state/2019/07/16?format=car",
    ] {
        let answer = send(house.get(&format!("/ipfs/{cid}/{path}"))).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.bytes().await.expect("a whole CAR");
    }
    for format in ["raw", "car"] {
        let path = format!("/ipfs/{cid}/state/2019/07/15?format={format}");
        assert_eq!(send(house.get(&path)).await.status(), 404);
    }
    house.end().await;
}

#[tokio::test]
async fn a_damaged_block_is_served_in_no_form_and_no_file_is_named() {
    let house = House::damaged(|folder| {
        let path = first_day(folder);
        let mut bytes = fs::read(&path).expect("a day");
        // The last block's last byte; the sections can still be told apart.
        *bytes.last_mut().expect("bytes") ^= 1;
        fs::write(&path, bytes).expect("a day");
    })
    .await;
    let cid = house.cid();
    let day = format!("/ipfs/{cid}/state/2019/07/15?format=car");
    let cut = send(house.get(&day)).await;
    assert!(cut.status() != 200 || cut.bytes().await.is_err());
    let bytes = fs::read(first_day(house.folder.path())).expect("a day");
    let reader = CarReader::new(&bytes[..]).expect("a CAR");
    let damaged: Vec<_> = reader.filter_map(|block| block.err()?.cid()).collect();
    assert_eq!(damaged.len(), 1);
    let answer = send(house.get(&format!("/ipfs/{}?format=raw", damaged[0]))).await;
    assert_eq!(answer.status(), 500);
    let told = answer.text().await.expect("a reason");
    assert!(!told.contains(".car") && !told.contains('/'), "{told}");
    house.end().await;
}

#[tokio::test]
async fn a_file_that_is_gone_is_not_told_as_the_history_of_others() {
    let house = House::damaged(|folder| fs::remove_file(first_day(folder)).expect("a day")).await;
    let answer = send(house.get("/api/v1/query?order=oldest")).await;
    assert_eq!(answer.status(), 500);
    let told = answer.text().await.expect("a reason");
    assert!(told.contains("`gwa repair`"), "{told}");
    house.end().await;
}
