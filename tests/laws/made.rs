//! Archives made up for the laws: what they hold, and how they came to it.

use std::collections::BTreeMap;

use gwa::archive::leaf::Record;
use gwa::archive::testing::traffic;
use gwa::archive::watermark::Watermark;
use gwa::time::UnixSeconds;
use gwa::whisper::EnvelopeHash;
use proptest::prelude::*;

use super::common::World;

/// Random runs in the ordinary suite; `GWA_LAW_CASES` asks for more.
const CASES: u32 = 300;

/// As many cases as were asked for.
pub fn cases() -> ProptestConfig {
    let asked = std::env::var("GWA_LAW_CASES").ok();
    let cases = asked.and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    ProptestConfig {
        cases,
        ..ProptestConfig::default()
    }
}

/// 2018-12-30 00:00, two days before a month and a year end.
pub const FROM: u32 = 1_546_128_000;

/// Over which time envelopes are spread, in seconds: part of a day, several, a
/// turn of the year and of a month, several years.
pub fn spans() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(7_000),
        Just(86_400),
        Just(4 * 86_400),
        Just(40 * 86_400),
        Just(800 * 86_400),
    ]
}

/// How many topics: with few, many envelopes share one.
pub fn topics() -> impl Strategy<Value = u32> {
    prop_oneof![Just(1), Just(3), Just(40)]
}

/// How an archive came to what it holds.
#[derive(Clone, Debug)]
pub struct Course {
    /// Up to when it sealed last, as a share of the span.
    pub until: f64,
    /// Shares of the way at which it sealed before.
    pub seals: Vec<f64>,
    /// Share of the envelopes that come after the seal they should have been in.
    pub late: f64,
}

pub fn courses() -> impl Strategy<Value = Course> {
    let until = prop_oneof![3 => Just(1.02), 2 => 0.3..1.0f64, 1 => Just(0.0)];
    let seals = proptest::collection::vec(0.0..1.0f64, 0..6);
    (until, seals, prop_oneof![Just(0.0), 0.0..0.5f64]).prop_map(|(until, mut seals, late)| {
        seals.sort_by(f64::total_cmp);
        Course { until, seals, late }
    })
}

/// Where a share of a span lies, as a watermark.
pub fn at(share: f64, span: u32) -> Watermark {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let seconds = (share * f64::from(span)) as u32;
    Watermark::at_or_before(UnixSeconds(FROM + seconds))
}

/// Envelopes, and which of two archives are given them: 0 the first, 1 the
/// second, above both.
pub fn shared(seed: u64, count: usize, topics: u32, span: u32, differ: u32) -> Vec<(Record, u8)> {
    let records = traffic(seed, count, topics, FROM, FROM + span);
    let of = |record: &Record| {
        let [.., a, b] = record.key.hash.0;
        if u32::from(a) < differ { b % 2 } else { 2 }
    };
    records.into_iter().map(|r| (r.clone(), of(&r))).collect()
}

/// An archive that was given `records`, and sealed on its course.
pub fn archive(records: &[Record], course: &Course, span: u32) -> World {
    let mut world = World::new();
    let until = at(course.until, span);
    let mut coming: Vec<Record> = records.to_vec();
    let is_late = |record: &Record| f64::from(record.key.hash.0[0]) < course.late * 256.0;
    for share in &course.seals {
        let watermark = at(course.until * share, span).min(until);
        if watermark < world.sealed.watermark {
            continue;
        }
        let (now, later) = coming
            .into_iter()
            .partition(|record| watermark.covers(record.key.sent) && !is_late(record));
        coming = later;
        world.waiting.extend::<Vec<_>>(now);
        world.seal(watermark);
    }
    world.waiting.extend(coming);
    world.seal(until);
    world
}

/// What an archive has sealed of `records`.
pub fn sealed_of(records: &[Record], watermark: Watermark) -> BTreeMap<EnvelopeHash, Record> {
    let sealed = records.iter().filter(|r| watermark.covers(r.key.sent));
    sealed.map(|r| (r.key.hash, r.clone())).collect()
}
