//! What durability costs: batches of envelopes through the journal, beside the
//! same bytes appended to a plain file and synced.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use gwa::journal::Journal;

fn main() {
    divan::main();
}

/// Bytes of a record: a usual envelope.
const RECORD: usize = 600;
/// Records in a batch: one alone, a peer's packet, a full mail answer.
const BATCHES: [usize; 3] = [1, 100, 500];
/// Batches under way at once where callers do not wait for each other.
const UNDER_WAY: usize = 16;

/// The baseline: one write and one `fdatasync` for each batch.
#[divan::bench(args = BATCHES)]
fn plain_file(bencher: Bencher<'_, '_>, records: usize) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut file = File::create(dir.path().join("plain")).expect("a file");
    let batch = batch(records).concat();
    bencher
        .counter(ItemsCount::new(records))
        .counter(BytesCount::new(records * RECORD))
        .bench_local(|| {
            file.write_all(&batch).expect("room on the disk");
            file.sync_data().expect("a disk that works");
        });
}

/// One caller, who waits for each batch.
#[divan::bench(args = BATCHES)]
fn journal(bencher: Bencher<'_, '_>, records: usize) {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(dir.path(), |_| ()).expect("a journal");
    let batch = batch(records);
    bencher
        .counter(ItemsCount::new(records))
        .counter(BytesCount::new(records * RECORD))
        .bench_local(|| journal.append(batch.clone()).expect("room"));
}

/// Many batches under way, which share syncs.
#[divan::bench(args = BATCHES)]
fn journal_shared(bencher: Bencher<'_, '_>, records: usize) {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(dir.path(), |_| ()).expect("a journal");
    let batch = batch(records);
    let failed = Arc::new(AtomicUsize::new(0));
    bencher
        .counter(ItemsCount::new(records * UNDER_WAY))
        .counter(BytesCount::new(records * UNDER_WAY * RECORD))
        .bench_local(|| {
            let (done, all) = mpsc::channel::<()>();
            for _ in 0..UNDER_WAY {
                let (done, failed) = (done.clone(), Arc::clone(&failed));
                journal.append_then(batch.clone(), move |result| {
                    failed.fetch_add(usize::from(result.is_err()), Ordering::Relaxed);
                    drop(done);
                });
            }
            drop(done);
            // Ends when the last callback has run.
            all.recv().expect_err("nothing is sent");
        });
    assert_eq!(failed.load(Ordering::Relaxed), 0);
}

fn batch(records: usize) -> Vec<Bytes> {
    (0..records)
        .map(|n| Bytes::from(n.to_be_bytes().repeat(RECORD / 8)))
        .collect()
}
