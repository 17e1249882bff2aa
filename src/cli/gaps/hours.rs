//! Hours in which servers and archive differ.
//!
//! Always true: pure. Ranges come out sorted, and neighbouring hours as one.

use std::collections::BTreeMap;

use crate::archive::habit::Stretch;
use crate::archive::watermark::Hour;

/// What one hour lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lack {
    /// Envelopes that a server has, and the archive has not.
    pub here: u64,
    /// Envelopes that the archive has and each server has not, in their order.
    pub there: Vec<u64>,
}

impl Lack {
    fn is_none(&self) -> bool {
        self.here == 0 && self.there.iter().all(|count| *count == 0)
    }

    fn add(&mut self, other: &Self) {
        self.here += other.here;
        self.there
            .resize(self.there.len().max(other.there.len()), 0);
        for (ours, theirs) in self.there.iter_mut().zip(&other.there) {
            *ours += theirs;
        }
    }
}

/// Unites neighbouring hours that lack something.
pub fn gaps(hours: &BTreeMap<Hour, Lack>) -> Vec<(Stretch, Lack)> {
    let mut gaps: Vec<(Stretch, Lack)> = Vec::new();
    for (hour, lack) in hours.iter().filter(|(_, lack)| !lack.is_none()) {
        match gaps.last_mut() {
            Some((stretch, sum)) if stretch.last.0 + 1 == hour.0 => {
                stretch.last = *hour;
                sum.add(lack);
            }
            _ => gaps.push((
                Stretch {
                    first: *hour,
                    last: *hour,
                },
                lack.clone(),
            )),
        }
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_hours_are_one_gap() {
        let lack = |here, there| Lack {
            here,
            there: vec![there],
        };
        let hours = BTreeMap::from([
            (Hour(5), lack(1, 0)),
            (Hour(6), lack(2, 3)),
            (Hour(7), lack(0, 0)),
            (Hour(8), lack(0, 4)),
        ]);
        let gaps = gaps(&hours);
        let told: Vec<_> = gaps
            .iter()
            .map(|(s, lack)| (s.first.0, s.hours(), lack.here, lack.there[0]))
            .collect();
        assert_eq!(told, [(5, 2, 3, 3), (8, 1, 0, 4)]);
    }
}
