//! The one law: the same set of envelopes and the same watermark give the same
//! state, in whatever order, batches and seals they came.

mod common;

use std::collections::BTreeSet;

use common::World;
use gwa::archive::leaf::Record;
use gwa::archive::testing::traffic;
use gwa::archive::watermark::Watermark;
use gwa::time::UnixSeconds;
use proptest::prelude::*;

/// Random runs in the ordinary suite; `GWA_CONVERGENCE_RUNS` asks for more.
const RUNS: u32 = 200;

fn runs() -> u32 {
    let asked = std::env::var("GWA_CONVERGENCE_RUNS").ok();
    asked.and_then(|runs| runs.parse().ok()).unwrap_or(RUNS)
}

/// Three days that cross a month's end: 2018-09-29 00:00 to 2018-10-02 00:00.
const FROM: u32 = 1_538_179_200;
const TO: u32 = FROM + 3 * 86_400;

#[derive(Clone, Debug)]
struct Step {
    /// Share of the records that arrive before the seal, in 1/256.
    arrive: u8,
    /// Whether an already sealed record comes again.
    repeat: bool,
    /// Seconds the watermark advances.
    advance: u32,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let advance = prop_oneof![Just(300u32), 300..3_600u32, 3_600..50_000u32, Just(0)];
    let step = (any::<u8>(), any::<bool>(), advance);
    let step = step.prop_map(|(arrive, repeat, advance)| Step {
        arrive,
        repeat,
        advance,
    });
    proptest::collection::vec(step, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: runs(), ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_arrival_and_any_seals_give_the_same_state(
        seed: u64,
        count in 1usize..400,
        steps in steps(),
        end in 0u32..=3 * 86_400,
    ) {
        let all = traffic(seed, count, 12, FROM, TO);
        let end = Watermark::at_or_before(UnixSeconds(FROM + end));

        let mut at_once = World::new();
        at_once.waiting = all.iter().rev().cloned().collect();
        at_once.seal(end);

        let mut by_steps = World::new();
        let mut coming = all.iter();
        let mut arrived: Vec<Record> = Vec::new();
        let mut watermark = FROM;
        for step in steps {
            let take = (all.len() * usize::from(step.arrive)).div_ceil(256);
            for record in coming.by_ref().take(take) {
                by_steps.waiting.push(record.clone());
                arrived.push(record.clone());
            }
            if step.repeat {
                by_steps.waiting.extend(arrived.iter().step_by(7).cloned());
            }
            watermark += step.advance;
            let next = Watermark::at_or_before(UnixSeconds(watermark)).min(end);
            if next >= by_steps.sealed.watermark {
                by_steps.seal(next);
            }
        }
        by_steps.waiting.extend(coming.cloned());
        by_steps.seal(end);

        prop_assert_eq!(by_steps.sealed.state, at_once.sealed.state);
        prop_assert_eq!(by_steps.sealed.totals, at_once.sealed.totals);
        let waiting = |world: &World| world.waiting.iter().map(|r| r.key).collect::<BTreeSet<_>>();
        prop_assert_eq!(waiting(&by_steps), waiting(&at_once));
    }
}
