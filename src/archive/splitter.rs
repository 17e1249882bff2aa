//! Where a sorted run of items is cut into blocks.
//!
//! Always true:
//! - A cut depends only on the items since the cut before it and on the one
//!   item after it. So equal sequences cut alike, and an item added or removed
//!   moves few cuts: the sequences fall back in step at the next common cut.
//! - No floating point is involved: [`SURVIVAL`] is part of the format.
//!
//! The rule. A run has a weight (bytes, or a count of children), measured in
//! units. With `b` the whole units before an item and `a` the whole units after
//! it, both capped at 128, and `h` the item's 32-bit hash, the run is cut after
//! the item iff
//!
//! ```text
//! h * SURVIVAL[b] >= SURVIVAL[a] * 2^32
//! ```
//!
//! which happens with probability `1 - SURVIVAL[a] / SURVIVAL[b]`: the length of
//! a run follows the table whatever the sizes of the items. Before an item that
//! would take a run past its maximum the run is cut first.

/// Units at which a run is always cut, and the last index of [`SURVIVAL`].
pub const MAX_UNITS: u64 = 128;

/// The chance, in units of 2^-32, that a run grows to at least `k` units:
/// 1 up to 4 units, then `exp(-((k - 4) / 30)^2)` rounded down, 0 at 128. The
/// mean is about 31 units. Generated once; the figures, not the formula, are
/// the format.
pub const SURVIVAL: [u32; 129] = [
    0xffff_ffff,
    0xffff_ffff,
    0xffff_ffff,
    0xffff_ffff,
    0xffff_ffff,
    0xffb7_38ff,
    0xfedd_600c,
    0xfd73_e7e8,
    0xfb7d_35f3,
    0xf8fc_9b64,
    0xf5f6_4bf2,
    0xf26f_5218,
    0xee6d_8114,
    0xe9f7_64e6,
    0xe514_307f,
    0xdfcb_aa74,
    0xda26_1868,
    0xd42c_2990,
    0xcde6_e08d,
    0xc75f_7cf4,
    0xc09f_64ce,
    0xb9b0_0e5b,
    0xb29a_ea6a,
    0xab69_4f77,
    0xa424_65de,
    0x9cd5_1557,
    0x9583_f3e3,
    0x8e39_3663,
    0x86fc_a2e4,
    0x7fd5_84d0,
    0x78ca_a306,
    0x71e2_37dd,
    0x6b21_eb25,
    0x648e_ce0b,
    0x5e2d_58d8,
    0x5801_6a7d,
    0x520e_49c8,
    0x4c56_a82a,
    0x46dc_a5e2,
    0x41a1_d772,
    0x3ca7_4c2e,
    0x37ed_95bf,
    0x3374_d066,
    0x2f3c_abe8,
    0x2b44_74e6,
    0x278b_1e80,
    0x240f_4c27,
    0x20cf_5b69,
    0x1dc9_6da8,
    0x1afb_718e,
    0x1863_2c36,
    0x15fe_41e6,
    0x13ca_3e53,
    0x11c4_9c52,
    0x0fea_ccf9,
    0x0e3a_3e1f,
    0x0cb0_603e,
    0x0b4a_aba9,
    0x0a06_a520,
    0x08e1_e1ca,
    0x07da_0a84,
    0x06ec_dead,
    0x0618_3652,
    0x055a_03e3,
    0x04b0_556e,
    0x0419_555d,
    0x0393_4ae6,
    0x031c_9a0d,
    0x02b3_c364,
    0x0257_6387,
    0x0206_325a,
    0x01bf_021e,
    0x0180_be5b,
    0x014a_6ab3,
    0x011b_2197,
    0x00f2_12f6,
    0x00ce_82e1,
    0x00af_c827,
    0x0095_4afe,
    0x007e_83a5,
    0x006a_f91b,
    0x005a_3fd9,
    0x004b_f8a3,
    0x003f_cf5e,
    0x0035_7a01,
    0x002c_b790,
    0x0025_4f31,
    0x001f_0f47,
    0x0019_ccab,
    0x0015_61f1,
    0x0011_aeba,
    0x000e_971b,
    0x000c_0315,
    0x0009_de12,
    0x0008_1679,
    0x0006_9d47,
    0x0005_65b9,
    0x0004_64fe,
    0x0003_91ee,
    0x0002_e4d1,
    0x0002_5729,
    0x0001_e384,
    0x0001_8553,
    0x0001_38ca,
    0x0000_fabd,
    0x0000_c88e,
    0x0000_a00e,
    0x0000_7f74,
    0x0000_6544,
    0x0000_5047,
    0x0000_3f80,
    0x0000_321e,
    0x0000_2778,
    0x0000_1f03,
    0x0000_1850,
    0x0000_1305,
    0x0000_0ed8,
    0x0000_0b8f,
    0x0000_08fc,
    0x0000_06f7,
    0x0000_0563,
    0x0000_0428,
    0x0000_0334,
    0x0000_0276,
    0x0000_01e3,
    0x0000_0171,
    0x0000_011a,
    0x0000_00d7,
    0x0000_0000,
];

/// Cuts one level of a tree.
#[derive(Clone, Copy, Debug)]
pub struct Splitter {
    /// Weight of one unit.
    unit: u64,
    /// Weight no run may pass, unless it is a single item.
    max: u64,
    /// Weight of the run so far.
    weight: u64,
}

impl Splitter {
    /// A splitter whose runs aim at 31 times `unit` and stay below `max`.
    pub const fn new(unit: u64, max: u64) -> Self {
        Self {
            unit,
            max,
            weight: 0,
        }
    }

    /// Whether no item has come since the last cut.
    pub fn at_cut(&self) -> bool {
        self.weight == 0
    }

    /// Whether the run must be cut before an item of this weight; the caller
    /// then closes the run and calls [`Self::cut`].
    pub fn must_cut_before(&self, weight: u64) -> bool {
        self.weight > 0 && self.weight.saturating_add(weight) > self.max
    }

    /// Takes an item in; true where the run ends after it, and the splitter is
    /// then ready for the next run.
    pub fn cuts_after(&mut self, weight: u64, hash: u32) -> bool {
        let before = self.survival();
        self.weight = self.weight.saturating_add(weight);
        let cut = u64::from(hash) * before >= self.survival() << 32;
        if cut {
            self.cut();
        }
        cut
    }

    /// Starts the next run.
    pub fn cut(&mut self) {
        self.weight = 0;
    }

    fn survival(&self) -> u64 {
        let units = usize::try_from((self.weight / self.unit).min(MAX_UNITS))
            .expect("at most 128 fits a usize");
        u64::from(SURVIVAL[units])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cuts(items: &[(u64, u32)]) -> Vec<usize> {
        let mut splitter = Splitter::new(1024, 128 * 1024);
        let mut cuts = Vec::new();
        for (at, (weight, hash)) in items.iter().enumerate() {
            if splitter.must_cut_before(*weight) {
                splitter.cut();
                cuts.push(at);
            }
            if splitter.cuts_after(*weight, *hash) {
                cuts.push(at + 1);
            }
        }
        cuts
    }

    #[test]
    fn the_table_falls_from_certainty_to_nothing() {
        assert!(SURVIVAL.windows(2).all(|pair| pair[0] >= pair[1]));
        assert_eq!(SURVIVAL[..5], [u32::MAX; 5]);
        assert_eq!(SURVIVAL[128], 0);
    }

    #[test]
    fn no_run_is_cut_below_four_units_or_grows_past_its_maximum() {
        assert_eq!(cuts(&[(1024, u32::MAX); 4]), Vec::<usize>::new());
        let never = [(1024, 0); 300];
        assert_eq!(cuts(&never), [128, 256]);
        assert_eq!(cuts(&[(100_000, 0), (100_000, 0)]), [1]);
    }

    #[test]
    fn an_item_above_the_maximum_stands_alone() {
        assert_eq!(cuts(&[(10, 0), (1 << 20, 0), (10, 0)]), [1, 2]);
    }

    proptest! {
        #[test]
        fn an_inserted_item_moves_cuts_only_nearby(
            items in proptest::collection::vec((100u64..3000, any::<u32>()), 1500),
            at in 0usize..200,
            item in (100u64..3000, any::<u32>()),
        ) {
            let before = cuts(&items);
            let mut longer = items.clone();
            longer.insert(at, item);
            let after: Vec<usize> = cuts(&longer).into_iter().filter(|c| *c > at).map(|c| c - 1).collect();
            // Ten mean runs further on the two are in step again, and stay so.
            let settled = after.iter().find(|c| before.contains(c)).copied();
            let settled = settled.expect("the sequences meet again");
            prop_assert!(settled < at + 1000);
            let tail = |cuts: &[usize]| cuts.iter().copied().filter(|c| *c > settled).collect::<Vec<_>>();
            prop_assert_eq!(tail(&before), tail(&after));
        }
    }
}
