//! An archive whose closed days are at its store alone.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gwa::archive::disk::Stop;
use gwa::blocks::car::CarReader;
use gwa::blocks::{Block, BlockError, BlockSource, Cid, Codec};
use gwa::depot::{Carrier, FolderDepot, Keep};
use gwa::progress::Quiet;
use gwa::time::UnixSeconds;

use crate::house::{House, SEALED, filled, send};

/// A store, and how often it was asked.
struct Counted {
    depot: FolderDepot,
    asked: AtomicUsize,
}

impl BlockSource for Counted {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.depot.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.depot.has(cid)
    }
}

#[tokio::test]
async fn days_at_the_store_are_given_to_everybody_and_nothing_else_is_asked_of_it() {
    let (folder, archive) = filled();
    let store = tempfile::tempdir().expect("a folder");
    let place = store.path().join("store");
    std::fs::create_dir(&place).expect("a folder");
    let archive = Arc::new(archive);
    {
        let depot = Arc::new(FolderDepot::new(&place));
        let carrier = Carrier::new(Arc::clone(&archive), depot, "the store", Keep::Bytes(0));
        let carried = carrier.round(&Stop::default(), UnixSeconds(SEALED), &Quiet);
        assert!(carried.expect("it is carried").evicted > 0);
    }
    let counted = Arc::new(Counted {
        depot: FolderDepot::new(&place),
        asked: AtomicUsize::new(0),
    });
    let source: Arc<dyn BlockSource> = Arc::clone(&counted) as _;
    archive.blocks().set_depot("the store", source);
    let archive = Arc::into_inner(archive).expect("nobody else holds it");
    let house = House::over(folder, archive, |_| {}).await;
    let head = house.cid();

    let mut all = BTreeSet::new();
    let blocks = FolderDepot::new(&place);
    let walked = blocks.get_dag(&head, &|_| false, &mut |block| {
        all.insert(*block.cid());
        ControlFlow::Continue(())
    });
    walked.expect("the store has it all");
    let car = send(house.get(&format!("/ipfs/{head}?format=car"))).await;
    let car = car.bytes().await.expect("it is whole");
    let blocks = CarReader::new(&car[..]).expect("a CAR");
    let given: BTreeSet<Cid> = blocks.map(|block| *block.expect("right").cid()).collect();
    assert_eq!(given, all);
    assert!(counted.asked.swap(0, Ordering::SeqCst) > 0);

    let nobodys = *Block::new(Codec::Raw, &b"nobody's"[..]).cid();
    let unknown = send(house.get(&format!("/ipfs/{nobodys}?format=raw"))).await;
    assert_eq!(unknown.status(), 404);
    assert_eq!(counted.asked.load(Ordering::SeqCst), 0);
}
