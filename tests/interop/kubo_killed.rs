//! A continuous archive whose node is killed again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gwa::archive::disk::{Archive, Stop};
use gwa::archive::testing::Synthetic;
use gwa::archive::watermark::Watermark;
use gwa::depot::{Carrier, CarryError, Depot, Keep, testing};
use gwa::progress::Quiet;
use gwa::time::{DAY, HOUR, UnixSeconds};
use gwa::whisper::Envelope;

use crate::kubo::Kubo;
use crate::kubo_depot::depot;

/// Kills of the node.
const KILLS: u32 = 20;

/// 2018-09-29 00:00, so that a month ends on the way.
const FROM: u32 = 1_538_179_200;

/// Seconds of the archive between two seals.
const STEP: u32 = 2 * HOUR;

/// Days of traffic.
const DAYS: u32 = 4;

/// Longest wait before a kill: what some imports take.
const LONGEST: Duration = Duration::from_millis(300);

fn traffic() -> Vec<Envelope> {
    let traffic = Synthetic::new(5, 12_000, 60, UnixSeconds(FROM), DAYS * DAY);
    (0..12_000).map(|n| traffic.envelope(n)).collect()
}

/// Takes in and seals the traffic step by step; `sealed` is told of each head.
fn archived(archive: &Archive, traffic: &[Envelope], mut sealed: impl FnMut()) {
    let mut rest = traffic;
    for until in (FROM..=FROM + DAYS * DAY).step_by(STEP as usize).skip(1) {
        let (now, later) = rest.split_at(rest.partition_point(|e| e.sent().0 < until));
        rest = later;
        let appended = archive.append(now).unwrap();
        assert_eq!(appended.stored, now.len() as u64);
        let until = Watermark::at_or_before(UnixSeconds(until));
        archive.seal(until, until.at(), &Quiet).unwrap();
        sealed();
    }
}

/// Carries what the depot lacks, then the head, as far as it lets it.
fn carry(carrier: &Carrier) -> Result<(), CarryError> {
    let now = UnixSeconds(FROM + DAYS * DAY);
    carrier.round(&Stop::default(), now, &Quiet).map(drop)
}

#[test]
fn a_node_that_is_killed_at_any_moment_has_everything_in_the_end() {
    let mut traffic = traffic();
    traffic.sort_by_key(Envelope::sent);
    let folder = tempfile::tempdir().unwrap();
    // The same input without any node.
    let embedded = Archive::init(&folder.path().join("embedded"), "").unwrap();
    archived(&embedded, &traffic, || {});
    let state = embedded.head().unwrap().body().state;

    let archive = Arc::new(Archive::init(&folder.path().join("archive"), "").unwrap());
    let kubo = Mutex::new(Kubo::start());
    let depot = Arc::new(depot(&kubo.lock().unwrap(), "a"));
    let store: Arc<dyn Depot> = depot.clone();
    let carrier = Carrier::new(Arc::clone(&archive), store, "kubo:a", Keep::Everything);
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let killer = threads.spawn(|| {
            for _ in 0..KILLS {
                // By chance in the middle of whatever is under way.
                std::thread::sleep(LONGEST.mul_f64(rand::random()));
                let mut kubo = kubo.lock().unwrap();
                kubo.kill();
                kubo.restart();
            }
            over.store(true, Ordering::Release);
        });
        let carried = || {
            if let Err(error) = carry(&carrier) {
                assert!(error.is_transient(), "{error}");
            }
        };
        // Sealing never waits for the node.
        archived(&archive, &traffic, carried);
        let mut late = 0;
        while late == 0 || !over.load(Ordering::Acquire) {
            // Late envelopes keep it busy for as long as it is killed.
            late += 1;
            testing::take_in(&archive, late, 20, FROM, FROM + DAY);
            testing::take_in(&embedded, late, 20, FROM, FROM + DAY);
            let until = archive.watermark().at().0 + 300;
            testing::seal(&archive, until);
            testing::seal(&embedded, until);
            carried();
        }
        killer.join().unwrap();
    });
    // By no chance at all: it is away, and then it is not.
    kubo.lock().unwrap().kill();
    let until = archive.watermark().at().0 + 300;
    testing::seal(&archive, until);
    testing::seal(&embedded, until);
    assert!(carry(&carrier).unwrap_err().is_transient());
    kubo.lock().unwrap().restart();
    carry(&carrier).unwrap();
    let head = archive.head().unwrap();
    assert_eq!(depot.newest_head().unwrap(), Some(head.clone()));
    let embedded = embedded.head().unwrap();
    assert_eq!(head.body().state, embedded.body().state);
    assert_ne!(head.body().state, state, "late envelopes came");
    assert_eq!(head.body().totals, embedded.body().totals);
    testing::assert_whole(&*depot, &head);
    let kubo = kubo.into_inner().unwrap();
    kubo.ipfs(&["repo", "gc"]);
    testing::assert_whole(&*depot, &head);
}
