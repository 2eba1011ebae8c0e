//! The names of this daemon's metrics, and the only place that names them. Counters and gauges of
//! attempts are the core's own numbers; the others are observed where they happen.

use std::time::Duration;

use daemon::{MetricFamily, MetricLabel, REQUEST_LABELS, counter_of, gauge_of, histogram_of};
use mapreduce_protocol::{FailureKind, FromTask};
use metrics::{counter, gauge, histogram};
use tasktracker_core::{Finding, Summary};

/// The times of HTTP requests.
pub(crate) const REQUESTS: &str = "howdah_tasktracker_request_seconds";

/// What a TaskTracker serves beside `daemon::COMMON_METRICS`.
pub const METRICS: &[MetricFamily] = &[
    gauge_of("howdah_tasktracker_slots", "Slots that this host offers"),
    gauge_of("howdah_tasktracker_running_attempts", "Attempts that hold a slot"),
    gauge_of(
        "howdah_tasktracker_waiting_attempts",
        "Attempts that were launched and have no slot yet",
    ),
    counter_of("howdah_tasktracker_succeeded_attempts_total", "Attempts that succeeded here"),
    counter_of(
        "howdah_tasktracker_failed_attempts_total",
        "Attempts that failed or were killed here, by kind",
    )
    .by(&[MetricLabel::of("kind", FailureKind::NAMES)]),
    histogram_of("howdah_tasktracker_spawn_seconds", "How long it took to start a task process"),
    gauge_of("howdah_tasktracker_map_outputs", "Map outputs that lie here"),
    counter_of("howdah_tasktracker_shuffle_bytes_total", "Bytes of map outputs sent to reduces"),
    counter_of(
        "howdah_tasktracker_shuffle_misses_total",
        "Map outputs that a reduce asked for and that are not here or not whole",
    ),
    counter_of(
        "howdah_tasktracker_fetch_failures_total",
        "Times that a reduce of this host told that a map output does not come",
    ),
    gauge_of(
        "howdah_tasktracker_unacknowledged_events",
        "Events that the JobTracker has not acknowledged",
    ),
    gauge_of("howdah_tasktracker_registered", "1 while the JobTracker knows this TaskTracker"),
    gauge_of(
        "howdah_tasktracker_ailments",
        "What is wrong with this host: while it is not 0, no tasks come",
    ),
    gauge_of("howdah_tasktracker_disks", "Disks that attempts work on, by state")
        .by(&[MetricLabel::of("state", &["ok", "full", "failed"])]),
    gauge_of(
        "howdah_tasktracker_disk_free_bytes",
        "Free on the disk of the data folder (home), and on those that attempts work on, numbered from 0",
    )
    .by(&[MetricLabel::open("disk")]),
    gauge_of(
        "howdah_tasktracker_memory_available_bytes",
        "Memory of the host that programs could still get",
    ),
    gauge_of("howdah_tasktracker_isolated", "1 while tasks are kept from what is not theirs"),
    histogram_of(REQUESTS, "HTTP requests, until the reply begins").by(REQUEST_LABELS),
];

/// Shows what the core counts.
pub(crate) fn observe_summary(summary: &Summary) {
    gauge!("howdah_tasktracker_slots").set(summary.slots);
    gauge!("howdah_tasktracker_running_attempts").set(float(summary.running));
    gauge!("howdah_tasktracker_waiting_attempts").set(float(summary.waiting));
    gauge!("howdah_tasktracker_map_outputs").set(float(summary.map_outputs));
    gauge!("howdah_tasktracker_unacknowledged_events").set(float(summary.unacknowledged));
    gauge!("howdah_tasktracker_registered").set(f64::from(u8::from(summary.registered)));
    gauge!("howdah_tasktracker_ailments").set(float(summary.ailments.len()));
    for (state, n) in summary.disks {
        gauge!("howdah_tasktracker_disks", "state" => state).set(float(n));
    }
    counter!("howdah_tasktracker_succeeded_attempts_total").absolute(summary.succeeded);
    for (kind, count) in &summary.failed {
        counter!("howdah_tasktracker_failed_attempts_total", "kind" => *kind).absolute(*count);
    }
}

fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// Whether tasks are kept from what is not theirs.
pub(crate) fn observe_isolation(isolated: bool) {
    gauge!("howdah_tasktracker_isolated").set(f64::from(u8::from(isolated)));
}

/// What was found on the host.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
pub(crate) fn observe_finding(finding: &Finding) {
    let disk = |disk: String, free: &Result<u64, String>| {
        // Of a disk that can't be written nothing is free.
        let free = free.as_ref().map_or(0.0, |free| *free as f64);
        gauge!("howdah_tasktracker_disk_free_bytes", "disk" => disk).set(free);
    };
    match finding {
        Finding::Disk { free, .. } => disk("home".to_owned(), free),
        Finding::LocalDisk { disk: number, free } => disk(number.0.to_string(), free),
        Finding::Memory { available } => {
            gauge!("howdah_tasktracker_memory_available_bytes").set(*available as f64);
        }
        Finding::Room { .. } | Finding::Command { .. } => {}
    }
}

/// A task process was started, in this time.
pub(crate) fn observe_spawn(took: Duration) {
    histogram!("howdah_tasktracker_spawn_seconds").record(took);
}

/// A task said something.
pub(crate) fn observe_message(message: &FromTask) {
    if let FromTask::FetchFailed { .. } = message {
        counter!("howdah_tasktracker_fetch_failures_total").increment(1);
    }
}

/// Bytes of map outputs were sent to a reduce.
pub(crate) fn observe_shuffle_bytes(bytes: u64) {
    counter!("howdah_tasktracker_shuffle_bytes_total").increment(bytes);
}

/// A reduce asked for a map output that is not here or not whole.
pub(crate) fn observe_shuffle_miss() {
    counter!("howdah_tasktracker_shuffle_misses_total").increment(1);
}
