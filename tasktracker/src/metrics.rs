//! The names of this daemon's metrics, and the only place that names them. Counters and gauges of
//! attempts are the core's own numbers; spawns and shuffle bytes are observed where they happen.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tasktracker_core::Summary;

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

/// A task process was started, in this time.
pub(crate) fn observe_spawn(took: Duration) {
    histogram!("howdah_tasktracker_spawn_seconds").record(took);
}

/// Bytes of map outputs were sent to a reduce.
pub(crate) fn observe_shuffle_bytes(bytes: u64) {
    counter!("howdah_tasktracker_shuffle_bytes_total").increment(bytes);
}

/// A reduce asked for a map output that is not here or not whole.
pub(crate) fn observe_shuffle_miss() {
    counter!("howdah_tasktracker_shuffle_misses_total").increment(1);
}
