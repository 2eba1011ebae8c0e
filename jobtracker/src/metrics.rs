//! The JobTracker's metrics, and the only place that names them: counters are a fold over the records,
//! gauges the core's summary as it is at the scrape.

use std::time::Duration;

use jobtracker_core::{Record, Summary};
use mapreduce_protocol::{JobState, TaskKind};
use metrics::{counter, gauge, histogram};

/// Counts what is journaled.
pub(crate) fn observe_records(records: &[Record]) {
    for record in records {
        match record {
            Record::JobAccepted { .. } => {
                counter!("howdah_jobtracker_jobs_accepted_total").increment(1);
            }
            Record::JobEnded { state, .. } => {
                let state = state.as_str().to_lowercase();
                counter!("howdah_jobtracker_jobs_ended_total", "state" => state).increment(1);
            }
            Record::TaskSucceeded { attempt, .. } => {
                let kind = kind(attempt.task.kind);
                counter!("howdah_jobtracker_tasks_succeeded_total", "kind" => kind).increment(1);
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

/// Counts a request and its time, by the route's pattern.
pub(crate) fn observe_request(route: &str, status: u16, time: Duration) {
    let labels = [("route", route.to_owned()), ("status", status.to_string())];
    histogram!("howdah_jobtracker_request_seconds", &labels).record(time);
}

/// How many folders the journal is written to; one less than configured while a disk is lost.
pub(crate) fn observe_folders(live: usize) {
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    gauge!("howdah_jobtracker_journal_mirrors_live").set(live as f64);
}

/// Whether the topology file can't be used, and hosts register by an older one.
pub(crate) fn observe_topology(is_wrong: bool) {
    gauge!("howdah_jobtracker_topology_file_wrong").set(f64::from(u8::from(is_wrong)));
}

/// A sync of the journal, and how long its first record waited for it.
pub(crate) fn observe_sync(waited: Duration) {
    histogram!("howdah_jobtracker_journal_sync_seconds").record(waited);
}

/// Inputs were handled for so long while others waited.
pub(crate) fn observe_turn(took: Duration) {
    histogram!("howdah_jobtracker_turn_seconds").record(took);
}

/// Sets the gauges, and the counters that the core keeps itself.
pub(crate) fn observe_summary(summary: &Summary) {
    for state in
        [JobState::Prep, JobState::Running, JobState::Succeeded, JobState::Failed, JobState::Killed]
    {
        let jobs = summary.jobs.get(&state).copied().unwrap_or_default();
        let state = state.as_str().to_lowercase();
        gauge!("howdah_jobtracker_jobs", "state" => state).set(number(jobs));
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

fn kind(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Map => "map",
        TaskKind::Reduce => "reduce",
    }
}
