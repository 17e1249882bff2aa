//! Figures as text: OpenMetrics, or the older text of Prometheus.
//!
//! The crate writes OpenMetrics. What asks for the older text (a browser, curl,
//! promtool) is given the same lines, but for three things that it writes otherwise:
//! the names of counters in `# TYPE` and `# HELP`, and the end.
//!
//! Always true: a name is told once; those of counters end in `_total`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::{Counts, Distribution, Word};

/// What counters' names end in.
const TOTAL: &str = "_total";

/// The labels of one sample.
pub type Labels = Vec<(&'static str, &'static str)>;

/// What is told at one moment.
#[derive(Debug, Default)]
pub struct Exposition(Vec<Family>);

#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    samples: Samples,
}

#[derive(Debug)]
enum Samples {
    Counters(Vec<(Labels, Value)>),
    Gauges(Vec<(Labels, Value)>),
    Histograms(Vec<(Labels, Distribution)>),
}

/// A number, written as it is known.
#[derive(Clone, Copy, Debug)]
enum Value {
    Whole(u64),
    Real(f64),
}

/// Samples of whole numbers.
fn whole(values: impl IntoIterator<Item = (Labels, u64)>) -> Vec<(Labels, Value)> {
    let values = values.into_iter();
    values
        .map(|(labels, value)| (labels, Value::Whole(value)))
        .collect()
}

/// One sample without labels.
fn one(value: Value) -> Vec<(Labels, Value)> {
    vec![(Labels::new(), value)]
}

impl Exposition {
    /// A number that only rises.
    pub fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.counters(name, help, [(Labels::new(), value)]);
    }

    /// Numbers that only rise, each with labels of its own.
    pub fn counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        self.add(name, help, Samples::Counters(whole(values)));
    }

    /// An amount that only rises and need not be whole, as of seconds.
    pub fn amount(&mut self, name: &'static str, help: &'static str, amount: f64) {
        self.add(name, help, Samples::Counters(one(Value::Real(amount))));
    }

    /// One number for each of a few words.
    pub fn counts<W: Word>(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        counts: &Counts<W>,
    ) {
        let each = counts.each();
        self.counters(
            name,
            help,
            each.map(|(word, count)| (vec![(label, word.word())], count)),
        );
    }

    /// A number as it is now.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.gauge_if(name, help, Some(value));
    }

    /// A number as it is now, where it is known; its name is told anyway.
    pub fn gauge_if(&mut self, name: &'static str, help: &'static str, value: Option<u64>) {
        let value = value.map(|value| (Labels::new(), value));
        self.gauges(name, help, value);
    }

    /// Any number as it is now.
    pub fn measure(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.add(name, help, Samples::Gauges(one(Value::Real(value))));
    }

    /// Numbers as they are now, each with labels of its own.
    pub fn gauges(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        self.add(name, help, Samples::Gauges(whole(values)));
    }

    /// How often something was how large.
    pub fn histogram(&mut self, name: &'static str, help: &'static str, told: Distribution) {
        self.histograms(name, help, [(Labels::new(), told)]);
    }

    /// The same, each with labels of its own.
    pub fn histograms(
        &mut self,
        name: &'static str,
        help: &'static str,
        told: impl IntoIterator<Item = (Labels, Distribution)>,
    ) {
        let told = told.into_iter().collect();
        self.add(name, help, Samples::Histograms(told));
    }

    fn add(&mut self, name: &'static str, help: &'static str, samples: Samples) {
        self.0.push(Family {
            name,
            help,
            samples,
        });
    }

    /// The names that are told, without those that histograms derive from theirs.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|family| family.name)
    }

    /// As OpenMetrics 1.0 has it.
    pub fn open_metrics(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut told = String::new();
        text::encode(&mut told, &registry).expect("a text takes what is written");
        told
    }

    /// As Prometheus' text format 0.0.4 has it.
    pub fn plain_text(self) -> String {
        older(&self.open_metrics())
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|family| family.encode(&mut encoder))
    }
}

impl Family {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (name, kind) = match self.samples {
            Samples::Counters(_) => {
                let name = self.name.strip_suffix(TOTAL);
                let name = name.expect("the name of a counter ends in _total");
                (name, MetricType::Counter)
            }
            Samples::Gauges(_) => (self.name, MetricType::Gauge),
            Samples::Histograms(_) => (self.name, MetricType::Histogram),
        };
        let mut metric = encoder.encode_descriptor(name, self.help, None, kind)?;
        match &self.samples {
            Samples::Counters(samples) => samples.iter().try_for_each(|(labels, value)| {
                with(&mut metric, labels, |one| match value {
                    Value::Whole(value) => one.encode_counter::<NoLabelSet, _, f64>(value, None),
                    Value::Real(value) => one.encode_counter::<NoLabelSet, _, f64>(value, None),
                })
            }),
            Samples::Gauges(samples) => samples.iter().try_for_each(|(labels, value)| {
                with(&mut metric, labels, |one| match value {
                    Value::Whole(value) => one.encode_gauge(value),
                    Value::Real(value) => one.encode_gauge(value),
                })
            }),
            Samples::Histograms(samples) => samples.iter().try_for_each(|(labels, told)| {
                with(&mut metric, labels, |one| {
                    one.encode_histogram::<NoLabelSet>(told.sum, told.count, &told.buckets, None)
                })
            }),
        }
    }
}

/// One sample; without braces where it has no labels.
fn with(
    metric: &mut MetricEncoder<'_>,
    labels: &Labels,
    encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    match labels.is_empty() {
        true => encode(metric),
        false => encode(&mut metric.encode_family(labels)?),
    }
}

/// OpenMetrics in the older text: there a counter's `# TYPE` and `# HELP` have its whole
/// name, and nothing marks the end.
fn older(open_metrics: &str) -> String {
    let counters: Vec<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut told = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        let mut parts = line.splitn(4, ' ');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("#"), Some(about), Some(name), Some(rest)) if counters.contains(&name) => {
                for part in ["# ", about, " ", name, TOTAL, " ", rest] {
                    told.push_str(part);
                }
            }
            _ => told.push_str(line),
        }
        told.push('\n');
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Histogram;

    fn some() -> Exposition {
        let mut told = Exposition::default();
        told.counter("gwa_a_total", "As counted.", 3);
        told.counters(
            "gwa_b_total",
            "Bs.",
            [(vec![("why", "x")], 1), (vec![("why", "y")], 0)],
        );
        told.gauge_if("gwa_c", "Not known.", None);
        told.measure("gwa_d_seconds", "Ds.", 1.5);
        let sizes = Histogram::of_bytes(&[10, 20]);
        sizes.observe(7);
        sizes.observe(21);
        told.histogram("gwa_e_bytes", "Es.", sizes.read());
        told
    }

    #[test]
    fn open_metrics_names_counters_without_their_ending_and_marks_its_end() {
        let expected = "\
# HELP gwa_a As counted.
# TYPE gwa_a counter
gwa_a_total 3
# HELP gwa_b Bs.
# TYPE gwa_b counter
gwa_b_total{why=\"x\"} 1
gwa_b_total{why=\"y\"} 0
# HELP gwa_c Not known.
# TYPE gwa_c gauge
# HELP gwa_d_seconds Ds.
# TYPE gwa_d_seconds gauge
gwa_d_seconds 1.5
# HELP gwa_e_bytes Es.
# TYPE gwa_e_bytes histogram
gwa_e_bytes_sum 28.0
gwa_e_bytes_count 2
gwa_e_bytes_bucket{le=\"10.0\"} 1
gwa_e_bytes_bucket{le=\"20.0\"} 1
gwa_e_bytes_bucket{le=\"+Inf\"} 2
# EOF
";
        assert_eq!(some().open_metrics(), expected);
    }

    #[test]
    fn the_older_text_names_counters_whole_and_has_no_end() {
        let told = some().plain_text();
        assert!(told.starts_with("# HELP gwa_a_total As counted.\n# TYPE gwa_a_total counter\n"));
        assert!(told.contains("# TYPE gwa_d_seconds gauge\n"));
        assert!(!told.contains("EOF"));
        assert!(told.ends_with("le=\"+Inf\"} 2\n"));
    }
}
