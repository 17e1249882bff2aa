//! Twenty thousand real envelopes, archived, sealed and asked for, against the
//! index that came with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::OnceLock;

use gwa::archive::disk::{Appended, Archive, sealed_by};
use gwa::archive::filter::{Filter, TopicFilter};
use gwa::archive::verify::{Sample, verify};
use gwa::archive::watermark::Watermark;
use gwa::progress::Quiet;
use gwa::time::{TimeRange, UnixSeconds};
use gwa::whisper::{Envelope, EnvelopeHash, Topic};
use serde::Deserialize;

/// The index ends 2018-10-01 12:00; this is the end of that day.
const END: UnixSeconds = UnixSeconds(1_538_438_400);

#[derive(Clone, Debug, Deserialize)]
struct Line {
    hash: String,
    sent: u32,
    topic: String,
    offset: u64,
    length: u64,
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/corpus")
        .join(name)
}

/// The index, one entry for each line.
fn index() -> &'static [Line] {
    static INDEX: OnceLock<Vec<Line>> = OnceLock::new();
    INDEX.get_or_init(|| {
        let file = File::open(fixture("corpus.jsonl")).expect("the index is there");
        BufReader::new(file)
            .lines()
            .map(|line| serde_json::from_str(&line.expect("the index is text")).expect("a line"))
            .collect()
    })
}

fn envelopes() -> Vec<Envelope> {
    let bytes = std::fs::read(fixture("envelopes.rlps")).expect("the envelopes are there");
    let mut bytes = bytes::Bytes::from(bytes);
    let mut envelopes = Vec::new();
    while !bytes.is_empty() {
        envelopes.push(Envelope::decode_first(&mut bytes).expect("every envelope is canonical"));
    }
    envelopes
}

struct Corpus {
    archive: Archive,
    appended: Appended,
    _dir: tempfile::TempDir,
}

/// The corpus, archived in order of arrival and sealed.
fn corpus() -> &'static Corpus {
    static CORPUS: OnceLock<Corpus> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a folder is made");
        let archive = Archive::init(dir.path(), "corpus").expect("an archive is made");
        let mut appended = Appended::default();
        for batch in envelopes().chunks(777) {
            let some = archive.append(batch).expect("the disk takes it");
            appended.stored += some.stored;
            appended.duplicate += some.duplicate;
            appended.refused += some.refused;
        }
        archive
            .seal(Watermark::at_or_before(END), END, &Quiet)
            .expect("it seals");
        Corpus {
            archive,
            appended,
            _dir: dir,
        }
    })
}

fn ask(topics: TopicFilter, range: TimeRange) -> Vec<EnvelopeHash> {
    let corpus = corpus();
    let head = corpus.archive.head().expect("there is a head");
    let query = corpus.archive.query(&head, Filter { topics, range });
    let records = query.expect("all blocks are there");
    records
        .map(|record| record.expect("all blocks are there").key.hash)
        .collect()
}

/// What the index says, by (sent, hash).
fn expected(wanted: impl Fn(&Line) -> bool) -> Vec<EnvelopeHash> {
    let hash = |line: &Line| line.hash.parse::<EnvelopeHash>().expect("a hash");
    let found: BTreeSet<_> = index()
        .iter()
        .filter(|l| wanted(l))
        .map(|l| (l.sent, hash(l)))
        .collect();
    found.into_iter().map(|(_, hash)| hash).collect()
}

fn topic(line: &Line) -> Topic {
    line.topic.parse().expect("a topic")
}

#[test]
fn the_stream_is_what_its_index_says() {
    let envelopes = envelopes();
    assert_eq!(envelopes.len(), index().len());
    let mut offset = 0;
    for (envelope, line) in envelopes.iter().zip(index()) {
        assert_eq!(envelope.hash().to_string(), line.hash);
        assert_eq!(envelope.sent().0, line.sent);
        assert_eq!(envelope.topic(), topic(line));
        assert_eq!(
            (offset, envelope.rlp().len() as u64),
            (line.offset, line.length)
        );
        offset += line.length;
    }
}

#[test]
fn duplicates_are_stored_once() {
    let appended = corpus().appended;
    assert_eq!(
        appended,
        Appended {
            stored: 19_800,
            duplicate: 200,
            refused: 0,
            too_old: 0,
        }
    );
    let totals = corpus()
        .archive
        .head()
        .expect("there is a head")
        .body()
        .totals;
    assert_eq!(totals.count, 19_800);
}

#[test]
fn all_of_it_is_found_in_order() {
    assert_eq!(ask(TopicFilter::All, TimeRange::ALL), expected(|_| true));
}

#[test]
fn fifty_topics_and_ranges_give_exactly_what_the_index_says() {
    let mut counts: BTreeMap<Topic, u32> = BTreeMap::new();
    for line in index() {
        *counts.entry(topic(line)).or_default() += 1;
    }
    let mut by_count: Vec<_> = counts
        .into_iter()
        .map(|(topic, count)| (count, topic))
        .collect();
    by_count.sort_unstable();
    // From the rarest to the most popular, evenly.
    let step = by_count.len() / 49;
    let picked: Vec<_> = by_count
        .iter()
        .rev()
        .step_by(step)
        .map(|(_, topic)| *topic)
        .collect();
    assert!(picked.len() >= 50);

    let (first, last) = (1_535_809_212u32, 1_538_395_121u32);
    for (at, topic) in (0u32..).zip(picked) {
        let whole = TimeRange::ALL;
        let days = at % 9 + 1;
        let start = first + (last - first) / 50 * at;
        let some = TimeRange::new(UnixSeconds(start), UnixSeconds(start + days * 86_400));
        let hour = TimeRange::new(UnixSeconds(start), UnixSeconds(start + 3_599));
        for range in [
            whole,
            some.expect("an end after its start"),
            hour.expect("an end after its start"),
        ] {
            let found = ask(TopicFilter::Any([topic].into()), range);
            let wanted =
                expected(|l| self::topic(l) == topic && range.contains(UnixSeconds(l.sent)));
            assert_eq!(found, wanted, "topic {topic} in {range:?}");
            let all = expected(|l| range.contains(UnixSeconds(l.sent)));
            if at.is_multiple_of(10) {
                assert_eq!(ask(TopicFilter::All, range), all, "all topics in {range:?}");
            }
        }
    }
}

#[test]
fn what_was_sealed_verifies() {
    let archive = &corpus().archive;
    let head = archive.head().expect("there is a head");
    let verified = verify(
        archive.blocks(),
        &sealed_by(&head),
        *head.cid(),
        Sample::EVERYTHING,
        &Quiet,
    );
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    assert_eq!(verified.envelopes, 19_800);
}
