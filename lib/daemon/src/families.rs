//! The lists of metrics. Each daemon's `metrics.rs` has its own list; the lists yield the help
//! texts of `/metrics`, the counters that exist before anything was counted, and the page of all
//! metrics.

use metrics::{Label, counter, describe_counter, describe_gauge, describe_histogram, histogram};

/// A metric family in Prometheus' sense: all series of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricFamily {
    /// Its name as served; its ending tells the unit.
    pub name: &'static str,
    /// Its type.
    pub kind: MetricKind,
    /// The labels of its series; each has a bounded number of values.
    pub labels: &'static [MetricLabel],
    /// What it counts or measures; a text for people.
    pub help: &'static str,
}

/// A metric's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only goes up, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

/// A label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricLabel {
    /// Its name.
    pub name: &'static str,
    /// Its possible values; empty if the configuration, the routes or the host's disks determine
    /// them.
    pub values: &'static [&'static str],
}

impl MetricLabel {
    /// A label with these values.
    #[must_use]
    pub const fn of(name: &'static str, values: &'static [&'static str]) -> Self {
        Self { name, values }
    }

    /// A label whose values are not known before they occur.
    #[must_use]
    pub const fn open(name: &'static str) -> Self {
        Self { name, values: &[] }
    }
}

/// A counter without labels.
#[must_use]
pub const fn counter_of(name: &'static str, help: &'static str) -> MetricFamily {
    MetricFamily { name, kind: MetricKind::Counter, labels: &[], help }
}

/// A gauge without labels.
#[must_use]
pub const fn gauge_of(name: &'static str, help: &'static str) -> MetricFamily {
    MetricFamily { name, kind: MetricKind::Gauge, labels: &[], help }
}

/// A histogram without labels.
#[must_use]
pub const fn histogram_of(name: &'static str, help: &'static str) -> MetricFamily {
    MetricFamily { name, kind: MetricKind::Histogram, labels: &[], help }
}

impl MetricFamily {
    /// The same family, with these labels.
    #[must_use]
    pub const fn by(mut self, labels: &'static [MetricLabel]) -> Self {
        self.labels = labels;
        self
    }

    /// The unit of its values, according to its name's ending; `None` for plain numbers.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        let noun = self.name.strip_suffix("_total").unwrap_or(self.name);
        ["seconds", "bytes"].into_iter().find(|unit| noun.ends_with(unit))
    }

    /// Describes it to the process's recorder. Counters and histograms whose series are all known
    /// begin at 0: otherwise the first failure would not be a rise from 0 to 1.
    pub(crate) fn describe(&self) {
        let Self { name, help, .. } = *self;
        match self.kind {
            MetricKind::Counter => {
                describe_counter!(name, help);
                self.series().into_iter().for_each(|labels| counter!(name, labels).increment(0));
            }
            MetricKind::Gauge => describe_gauge!(name, help),
            MetricKind::Histogram => {
                describe_histogram!(name, help);
                self.series().into_iter().for_each(|labels| drop(histogram!(name, labels)));
            }
        }
    }

    /// Every combination of its labels' values; none if a label is open.
    fn series(&self) -> Vec<Vec<Label>> {
        let mut series = vec![Vec::new()];
        for label in self.labels {
            let longer = series.iter().flat_map(|labels: &Vec<Label>| {
                label.values.iter().map(|value| {
                    let mut labels = labels.clone();
                    labels.push(Label::from_static_parts(label.name, value));
                    labels
                })
            });
            series = longer.collect();
        }
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: MetricLabel = MetricLabel::of("kind", &["map", "reduce"]);
    const CAUSE: MetricLabel = MetricLabel::of("cause", &["crashed", "killed", "bad_job"]);

    #[test]
    fn each_combination_of_values_is_a_series_and_an_open_label_has_none_yet() {
        let family = counter_of("howdah_test_failed_total", "");
        assert_eq!(family.series(), [vec![]], "the one without labels");
        let family = family.by(&[KIND, CAUSE]);
        assert_eq!(family.series().len(), 6);
        const OPEN: &[MetricLabel] = &[KIND, MetricLabel::open("route")];
        assert!(family.by(OPEN).series().is_empty());
    }

    #[test]
    fn the_unit_is_told_by_the_name() {
        for (name, unit) in [
            ("howdah_test_sync_seconds", Some("seconds")),
            ("howdah_test_sent_bytes_total", Some("bytes")),
            ("howdah_test_jobs", None),
            ("howdah_test_jobs_total", None),
        ] {
            assert_eq!(gauge_of(name, "").unit(), unit, "{name}");
        }
    }
}
