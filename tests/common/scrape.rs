//! What a monitor is told.

use std::collections::{BTreeMap, BTreeSet};

/// The older text of Prometheus, read.
pub struct Scrape {
    /// The value of each series.
    pub samples: BTreeMap<String, f64>,
    /// Every name that may stand in an expression.
    pub names: BTreeSet<String>,
}

impl Scrape {
    /// Reads what `/metrics` answered.
    pub fn read(text: &str) -> Self {
        let mut samples = BTreeMap::new();
        let mut names = BTreeSet::new();
        for line in text.lines() {
            if let Some(typed) = line.strip_prefix("# TYPE ") {
                let (name, kind) = typed.split_once(' ').expect("a name and a kind");
                assert!(names.insert(name.to_owned()), "{name} is told twice");
                if kind == "histogram" {
                    let parts = ["bucket", "sum", "count"];
                    names.extend(parts.map(|part| format!("{name}_{part}")));
                }
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').expect("a series and a value");
                let value = value.parse().expect("a number");
                let twice = samples.insert(series.to_owned(), value);
                assert_eq!(twice, None, "{series} is told twice");
                let name = series.split('{').next().expect("a name");
                assert!(names.contains(name), "{name} has no type");
            }
        }
        Self { samples, names }
    }

    /// The value of a series, with its labels as they are written.
    pub fn value(&self, series: &str) -> f64 {
        let value = self.samples.get(series);
        *value.unwrap_or_else(|| panic!("{series} is not told"))
    }
}
