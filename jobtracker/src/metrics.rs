//! The JobTracker's metrics, and the only place that names them. Counters are a fold over the
//! records, gauges are read from the core's summary at each scrape.

mod list;

use std::collections::BTreeMap;
use std::time::Duration;

use jobtracker_core::{Input, Notice, Record, Span, Summary};
use mapreduce_protocol::{JobState, TaskKind};
use metrics::{Histogram, counter, gauge, histogram};

pub use list::METRICS;

/// Counters of winners, and the metrics that sum them up over all jobs.
const OF_WINNERS: [(&str, &str); 8] = [
    ("task.SPLIT_BYTES", "howdah_jobtracker_map_input_bytes_total"),
    ("task.MAP_INPUT_RECORDS", "howdah_jobtracker_map_input_records_total"),
    ("task.MAP_OUTPUT_RECORDS", "howdah_jobtracker_map_output_records_total"),
    ("task.MAP_OUTPUT_MATERIALIZED_BYTES", "howdah_jobtracker_map_output_bytes_total"),
    ("task.REDUCE_SHUFFLE_BYTES", "howdah_jobtracker_shuffle_bytes_total"),
    ("task.SHUFFLED_MAPS", "howdah_jobtracker_shuffle_segments_total"),
    ("task.SHUFFLE_RETRIES", "howdah_jobtracker_shuffle_retries_total"),
    ("task.OUTPUT_BYTES", "howdah_jobtracker_output_bytes_total"),
];

/// Durations of HTTP requests.
pub(crate) const REQUESTS: &str = "howdah_jobtracker_request_seconds";

/// Counts journaled records.
pub(crate) fn observe_records(records: &[Record]) {
    for record in records {
        match record {
            Record::JobAccepted { .. } => {
                counter!("howdah_jobtracker_jobs_accepted_total").increment(1);
            }
            Record::JobEnded { state, .. } => {
                counter!("howdah_jobtracker_jobs_ended_total", "state" => state_word(*state))
                    .increment(1);
            }
            Record::TaskSucceeded { attempt, counters, span, ran_ms, .. } => {
                let kind = kind(attempt.task.kind);
                counter!("howdah_jobtracker_tasks_succeeded_total", "kind" => kind).increment(1);
                observe_winner(kind, counters);
                observe_times(kind, *span, *ran_ms);
            }
            Record::AttemptFailed { attempt, failure, .. } => {
                let labels = [("kind", kind(attempt.task.kind)), ("cause", failure.kind.as_str())];
                counter!("howdah_jobtracker_attempts_failed_total", &labels).increment(1);
            }
            Record::MapOutputLost { .. } => {
                counter!("howdah_jobtracker_map_outputs_lost_total").increment(1);
            }
            Record::ReducesUndone { .. } => {
                counter!("howdah_jobtracker_reduces_undone_total").increment(1);
            }
            Record::Initialised { .. }
            | Record::Started { .. }
            | Record::SplitsPlanned { .. }
            | Record::AttemptKilled { .. }
            | Record::StagingRemoved { .. }
            | Record::HistoryWritten { .. }
            | Record::PriorityChanged { .. }
            | Record::JobPaused { .. }
            | Record::JobResumed { .. }
            | Record::PoolPaused { .. }
            | Record::PoolResumed { .. }
            | Record::HostDrained { .. }
            | Record::HostUndrained { .. }
            | Record::TrackerJoined { .. }
            | Record::TrackerGone { .. }
            | Record::JobForgotten { .. } => {}
        }
    }
}

/// Sums up a winner's own counters.
fn observe_winner(kind: &'static str, counters: &BTreeMap<String, u64>) {
    for (own, name) in OF_WINNERS {
        if let Some(n) = counters.get(own) {
            counter!(name).increment(*n);
        }
    }
    if let Some(n) = counters.get("task.SPILLED_RECORDS") {
        counter!("howdah_jobtracker_spilled_records_total", "kind" => kind).increment(*n);
    }
    if let Some(millis) = counters.get("task.SHUFFLE_WAIT_MS") {
        histogram!("howdah_jobtracker_shuffle_wait_seconds").record(Duration::from_millis(*millis));
    }
}

/// Times of a task that succeeded: since its launch, and how long it worked.
fn observe_times(kind: &'static str, span: Span, ran_ms: Option<u64>) {
    if span != Span::default() {
        let took = span.ended_at.0.saturating_sub(span.began_at.0);
        histogram!("howdah_jobtracker_task_seconds", "kind" => kind)
            .record(Duration::from_millis(took));
    }
    if let Some(millis) = ran_ms {
        histogram!("howdah_jobtracker_task_work_seconds", "kind" => kind)
            .record(Duration::from_millis(millis));
    }
}

/// Updates metrics from the core's notices.
pub(crate) fn observe_notice(notice: &Notice) {
    match notice {
        Notice::JobEnded { state, took, phases, .. } => {
            histogram!("howdah_jobtracker_job_seconds", "state" => state_word(*state))
                .record(*took);
            if let Some(phases) = phases {
                for (phase, time) in [
                    ("queue", phases.queue),
                    ("map", phases.map),
                    ("reduce", phases.reduce),
                    ("commit", phases.commit),
                ] {
                    histogram!("howdah_jobtracker_job_phase_seconds", "phase" => phase)
                        .record(time);
                }
            }
        }
        Notice::TrackerLost { .. } => {
            counter!("howdah_jobtracker_trackers_lost_total").increment(1);
        }
        Notice::StoreUnavailable { .. } => {
            counter!("howdah_jobtracker_store_unavailable_total").increment(1);
        }
        Notice::TrackerRegistered { .. }
        | Notice::HostSetAside { .. }
        | Notice::HostHealth { .. }
        | Notice::BackupLaunched { .. }
        | Notice::HistoryGivenUp { .. } => {}
    }
}

/// Number of listeners to events.
pub(crate) fn observe_listeners(n: usize) {
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    gauge!("howdah_jobtracker_event_listeners").set(n as f64);
}

/// A listener was cut off because it did not read its events.
pub(crate) fn count_dropped_listener() {
    counter!("howdah_jobtracker_event_listeners_dropped_total").increment(1);
}

/// Number of folders that the journal is written to; less than configured while a disk is lost.
pub(crate) fn observe_folders(live: usize) {
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    gauge!("howdah_jobtracker_journal_mirrors_live").set(live as f64);
}

/// Whether the journal's disk hangs, and with it all requests.
pub(crate) fn observe_hang(hangs: bool) {
    gauge!("howdah_jobtracker_journal_hangs").set(f64::from(u8::from(hangs)));
}

/// Whether the topology file is unusable, so that hosts register by an older version of it.
pub(crate) fn observe_topology(is_wrong: bool) {
    gauge!("howdah_jobtracker_topology_file_wrong").set(f64::from(u8::from(is_wrong)));
}

/// Number of TaskTrackers that cannot be reached at their addresses.
pub(crate) fn observe_unreached(trackers: usize) {
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    gauge!("howdah_jobtracker_trackers_unreached").set(trackers as f64);
}

/// A sync of the journal: how long its first record waited for it.
pub(crate) fn observe_sync(waited: Duration) {
    histogram!("howdah_jobtracker_journal_sync_seconds").record(waited);
}

/// Histograms of the core's input handling, looked up once: they are used more often than any other
/// metric.
pub(crate) struct Turns {
    all: Histogram,
    heartbeats: Histogram,
}

impl Turns {
    /// Must be called after the process' recorder is installed.
    pub(crate) fn new() -> Self {
        Self {
            all: histogram!("howdah_jobtracker_turn_seconds"),
            heartbeats: histogram!("howdah_jobtracker_heartbeat_seconds"),
        }
    }

    /// Inputs kept the loop busy for this long while others waited.
    pub(crate) fn observe(&self, took: Duration) {
        self.all.record(took);
    }

    /// Measures a heartbeat: its report is processed and free slots are given to tasks.
    pub(crate) fn measured<T>(&self, input: Input, handle: impl FnOnce(Input) -> T) -> T {
        if !matches!(input, Input::Heartbeat { .. }) {
            return handle(input);
        }
        let watch = clock::Stopwatch::start();
        let done = handle(input);
        self.heartbeats.record(watch.elapsed());
        done
    }
}

/// Sets the gauges, and the counters that the core keeps itself.
pub(crate) fn observe_summary(summary: &Summary) {
    for state in
        [JobState::Prep, JobState::Running, JobState::Succeeded, JobState::Failed, JobState::Killed]
    {
        let jobs = summary.jobs.get(&state).copied().unwrap_or_default();
        gauge!("howdah_jobtracker_jobs", "state" => state_word(state)).set(number(jobs));
    }
    for (kind, tasks) in [("map", summary.maps), ("reduce", summary.reduces)] {
        for (state, n_tasks) in [("waiting", tasks.waiting), ("running", tasks.running)] {
            let labels = [("kind", kind), ("state", state)];
            gauge!("howdah_jobtracker_tasks", &labels).set(number(n_tasks));
        }
    }
    let gauges = [
        ("howdah_jobtracker_jobs_paused", summary.jobs_paused),
        ("howdah_jobtracker_histories_unwritten", summary.histories_unwritten),
        ("howdah_jobtracker_trackers_live", summary.trackers),
        ("howdah_jobtracker_trackers_ill", summary.trackers_ill),
        ("howdah_jobtracker_trackers_set_aside", summary.trackers_set_aside),
        ("howdah_jobtracker_trackers_drained", summary.trackers_drained),
        ("howdah_jobtracker_slots", summary.slots),
        ("howdah_jobtracker_slots_occupied", summary.slots_occupied),
        ("howdah_jobtracker_heartbeats_parked", summary.heartbeats_parked),
        ("howdah_jobtracker_waiting_clients", summary.waiting_clients),
    ];
    for (name, value) in gauges {
        gauge!(name).set(number(value));
    }
    for (pool, gauges) in &summary.pools {
        let named =
            |name: &'static str, n: u64| gauge!(name, "pool" => pool.clone()).set(number(n));
        named("howdah_jobtracker_pool_slots", gauges.slots);
        named("howdah_jobtracker_pool_tasks_waiting", gauges.waiting);
        named("howdah_jobtracker_pool_jobs", gauges.jobs);
    }
    let launches = &summary.launches;
    for (locality, n_launches) in [
        ("node_local", launches.node_local),
        ("rack_local", launches.rack_local),
        ("off_rack", launches.off_rack),
    ] {
        counter!("howdah_jobtracker_map_launches_total", "locality" => locality)
            .absolute(n_launches);
    }
    counter!("howdah_jobtracker_reduce_launches_total").absolute(launches.reduce);
    counter!("howdah_jobtracker_heartbeats_total").absolute(summary.heartbeats);
    counter!("howdah_jobtracker_attempts_killed_total").absolute(summary.attempts_killed);
    counter!("howdah_jobtracker_attempts_preempted_total").absolute(summary.preempted);
    counter!("howdah_jobtracker_backups_launched_total").absolute(summary.backups_launched);
    counter!("howdah_jobtracker_backups_won_total").absolute(summary.backups_won);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
fn number(value: u64) -> f64 {
    value as f64
}

fn state_word(state: JobState) -> &'static str {
    match state {
        JobState::Prep => "prep",
        JobState::Running => "running",
        JobState::Succeeded => "succeeded",
        JobState::Failed => "failed",
        JobState::Killed => "killed",
    }
}

fn kind(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Map => "map",
        TaskKind::Reduce => "reduce",
    }
}
