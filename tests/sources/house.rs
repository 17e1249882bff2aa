//! An archive in a folder, and pools of sources to ask for it.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use gwa::archive::disk::{Archive, Reader};
use gwa::archive::head::Head;
use gwa::archive::leaf::Record;
use gwa::archive::testing::traffic;
use gwa::archive::watermark::Watermark;
use gwa::blocks::{Block, BlockSource, BlockStore, Codec, Group, MemoryStore, Reuse};
use gwa::progress::Quiet;
use gwa::sources::net::{Net, NetLimits};
use gwa::sources::{HttpSource, Pool, base_url};
use gwa::time::UnixSeconds;
use gwa::whisper::Envelope;
use ipld_core::ipld::Ipld;
use tempfile::TempDir;

/// Two days and some hours of a month, from 2018-09-28 00:00.
pub const FROM: u32 = 1_538_092_800;
pub const SPAN: u32 = 5 * 86_400;

/// An archive of made-up traffic.
pub struct House {
    pub folder: TempDir,
    pub records: Vec<Record>,
    pub head: Head,
}

impl House {
    /// One of `count` envelopes over 30 topics, sealed three times.
    pub fn new(seed: u64, count: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = Archive::init(folder.path(), "").expect("an archive");
        let all = traffic(seed, count, 30, FROM, FROM + SPAN);
        let mut head = None;
        let seals = [SPAN / 3, SPAN / 2, SPAN - 90_000];
        for (at, seal) in seals.into_iter().enumerate() {
            let share = all.iter().skip(at).step_by(seals.len());
            let share: Vec<_> = share
                .map(|record| Envelope::decode(&record.bytes).expect("an envelope"))
                .collect();
            archive.append(&share).expect("a disk");
            let until = Watermark::at_or_before(UnixSeconds(FROM + seal));
            let sealed = archive.seal(until, until.at(), &Quiet).expect("a disk");
            head = sealed.head;
        }
        let head = head.expect("something was sealed");
        let sealed = |record: &Record| head.body().watermark.covers(record.key.sent);
        let records = all.into_iter().filter(sealed).collect();
        Self {
            folder,
            records,
            head,
        }
    }

    /// Its data folder.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Its blocks.
    pub fn blocks(&self) -> Box<dyn BlockSource> {
        Reader::open(self.dir()).expect("an archive").into_source()
    }
}

/// Limits for tests: nobody waits long.
pub fn quick() -> NetLimits {
    NetLimits {
        connect: Duration::from_secs(5),
        idle: Duration::from_millis(300),
        rate_after: Duration::from_millis(300),
        min_rate: 10_000,
        attempts: 2,
        backoff: Duration::from_millis(1),
        max_pause: Duration::from_millis(5),
        hedge_after: Duration::from_secs(60),
        rest: Duration::from_secs(3_600),
        ..NetLimits::default()
    }
}

/// The way to servers for all tests that look at no limit: patient.
pub static NET: LazyLock<Arc<Net>> = LazyLock::new(|| {
    let limits = NetLimits {
        backoff: Duration::from_millis(1),
        max_pause: Duration::from_millis(5),
        ..NetLimits::default()
    };
    Net::new(limits).expect("threads")
});

/// The source at `url`.
pub fn source(net: &Arc<Net>, url: &str) -> Arc<HttpSource> {
    let base = base_url(url).expect("a URL");
    Arc::new(HttpSource::new(Arc::clone(net), base))
}

/// The sources at `urls`, in this order.
pub fn pool_on(net: &Arc<Net>, urls: &[&str]) -> Pool {
    let mut pool = Pool::default();
    for url in urls {
        pool.add_remote(source(net, url));
    }
    pool
}

/// The same, with patience.
pub fn pool(urls: &[&str]) -> Pool {
    pool_on(&NET, urls)
}

pub fn leaf(text: &str) -> Block {
    Block::new(Codec::Raw, text.as_bytes().to_vec())
}

pub fn node(children: &[&Block]) -> Block {
    let links = children.iter().map(|block| Ipld::Link(*block.cid()));
    let bytes = serde_ipld_dagcbor::to_vec(&Ipld::List(links.collect())).expect("links");
    Block::new(Codec::DagCbor, bytes)
}

pub fn store(blocks: &[Block]) -> MemoryStore {
    let store = MemoryStore::default();
    let mut writer = store
        .begin(Group::Calendar, Reuse::Nothing)
        .expect("memory");
    for block in blocks {
        writer.put(block).expect("memory");
    }
    writer.commit(blocks[0].cid()).expect("memory");
    store
}
