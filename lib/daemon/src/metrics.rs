//! The process's Prometheus recorder. Each daemon's `metrics.rs` lists its metrics; here are the
//! buckets, the upkeep, and what every daemon has: the process's own numbers.

use std::sync::OnceLock;
use std::time::Duration;

use ::metrics::gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use crate::VERSION;
use crate::families::{MetricFamily, MetricLabel, counter_of, gauge_of};

/// How often histograms are drained, as otherwise they would grow.
const UPKEEP: Duration = Duration::from_secs(5);

/// Buckets from a sync of a fast disk to a long task.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 300.0, 1800.0, 7200.0,
];

/// Buckets from a small record to a large shuffle: powers of 8 from 64 B to 64 GiB.
const BYTES: &[f64] = &[
    64.0,
    512.0,
    4096.0,
    32_768.0,
    262_144.0,
    2_097_152.0,
    16_777_216.0,
    134_217_728.0,
    1_073_741_824.0,
    8_589_934_592.0,
    68_719_476_736.0,
];

/// Buckets for numbers of things that come together.
const NUMBERS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// The metrics of every daemon.
pub const COMMON_METRICS: &[MetricFamily] = &[
    gauge_of("howdah_build_info", "1, with the release as a label")
        .by(&[MetricLabel::open("version")]),
    gauge_of("howdah_ready", "1 while the daemon can do its work, 0 while /readyz says why not"),
    gauge_of(
        "howdah_tls_certificate_remaining_seconds",
        "Time until a certificate's end, less than 0 after it; only with TLS",
    )
    .by(&[MetricLabel::of("file", &["ca", "cert"])]),
    gauge_of(
        "howdah_tls_files_wrong",
        "1 while the changed files of TLS can't be used, so that older ones go on; only with TLS",
    ),
    counter_of("howdah_tls_reloads_total", "Changes of the files of TLS that were noticed")
        .by(&[MetricLabel::of("outcome", &["taken", "refused"])]),
    counter_of("process_cpu_seconds_total", "Processor time of the process, user and system"),
    gauge_of("process_max_fds", "File descriptors that the process may have open"),
    gauge_of("process_open_fds", "File descriptors that it has open"),
    gauge_of("process_resident_memory_bytes", "Memory of the process that is in RAM"),
    gauge_of("process_start_time_seconds", "When the process started, in seconds since 1970"),
    gauge_of("process_threads", "Threads of the process"),
    gauge_of("process_virtual_memory_bytes", "Address space of the process"),
    gauge_of("process_virtual_memory_max_bytes", "Address space that the process may have"),
];

/// Renders what the `metrics` macros of this process have recorded. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    recorder: PrometheusHandle,
    process: Collector,
}

impl Metrics {
    /// The process's recorder, installed at the first call, with the common metrics and with
    /// `families`. Histograms get buckets by their suffix, `_seconds`, `_bytes` or `_batches`;
    /// counters get `_total` where it is missing.
    pub fn install(families: &[MetricFamily]) -> Self {
        static INSTALLED: OnceLock<Metrics> = OnceLock::new();
        let metrics = INSTALLED.get_or_init(Self::install_once).clone();
        COMMON_METRICS.iter().chain(families).for_each(MetricFamily::describe);
        gauge!("howdah_build_info", "version" => VERSION).set(1);
        metrics
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the upkeep has a rhythm, and ends with the process"
    )]
    fn install_once() -> Self {
        let recorder = builder().build_recorder();
        let metrics = Self { recorder: recorder.handle(), process: Collector::default() };
        if let Err(error) = ::metrics::set_global_recorder(recorder) {
            tracing::warn!(%error, "this process records its metrics elsewhere: /metrics stays empty");
        }
        metrics.process.describe();
        let upkeep = metrics.recorder.clone();
        // A thread, not a task, as the recorder outlives any runtime.
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            loop {
                std::thread::park_timeout(UPKEEP);
                upkeep.run_upkeep();
            }
        });
        if let Err(error) = thread {
            tracing::warn!(%error, "no thread for the upkeep of metrics: histograms grow until read");
        }
        metrics
    }

    /// Everything recorded, in Prometheus' text format, with the process's own current numbers.
    #[must_use]
    pub fn render(&self, is_ready: bool) -> String {
        gauge!("howdah_ready").set(f64::from(u8::from(is_ready)));
        self.process.collect();
        self.recorder.render()
    }
}

fn builder() -> PrometheusBuilder {
    PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), BYTES)
        })
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_batches".to_owned()), NUMBERS)
        })
        .expect("all lists of buckets have entries")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_histograms_and_names_follow_the_rules() {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            ::metrics::counter!("howdah_test_files").increment(2);
            ::metrics::counter!("howdah_test_jobs_total").increment(3);
            ::metrics::histogram!("howdah_test_sync_seconds").record(0.002);
            ::metrics::histogram!("howdah_test_record_bytes").record(100.0);
            ::metrics::histogram!("howdah_test_group_batches").record(3.0);
        });
        let text = handle.render();
        for line in [
            "howdah_test_files_total 2",
            "howdah_test_jobs_total 3",
            "howdah_test_sync_seconds_bucket{le=\"0.0025\"} 1",
            "howdah_test_sync_seconds_bucket{le=\"0.001\"} 0",
            "howdah_test_record_bytes_bucket{le=\"512\"} 1",
            "howdah_test_group_batches_bucket{le=\"4\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn a_second_install_is_the_first_and_knows_the_process() {
        let first = Metrics::install(&[]);
        ::metrics::counter!("howdah_test_installs_total").increment(1);
        let text = Metrics::install(&[]).render(true);
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
        assert!(text.contains("howdah_ready 1"), "{text}");
        assert!(first.render(false).contains("howdah_test_installs_total 1"));
    }

    #[test]
    fn what_was_never_counted_is_0_and_explained() {
        const OUTCOME: &[MetricLabel] = &[MetricLabel::of("outcome", &["sealed", "failed"])];
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            counter_of("howdah_test_uploads_total", "Uploads").by(OUTCOME).describe();
            crate::families::histogram_of("howdah_test_wait_seconds", "Waits").describe();
        });
        let text = handle.render();
        for line in [
            "# HELP howdah_test_uploads_total Uploads",
            "howdah_test_uploads_total{outcome=\"failed\"} 0",
            "howdah_test_uploads_total{outcome=\"sealed\"} 0",
            "howdah_test_wait_seconds_count 0",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }
}
