//! The JobTracker's metrics by name.

use daemon::{MetricFamily, MetricLabel, REQUEST_LABELS, counter_of, gauge_of, histogram_of};
use mapreduce_protocol::FailureKind;

const KIND: &[MetricLabel] = &[MetricLabel::of("kind", &["map", "reduce"])];
const POOL: &[MetricLabel] = &[MetricLabel::open("pool")];
const ENDED: &[MetricLabel] = &[MetricLabel::of("state", &["succeeded", "failed", "killed"])];
/// The JobTracker's metrics besides `daemon::COMMON_METRICS`. Counters start at 0 with the process.
pub const METRICS: &[MetricFamily] = &[
    gauge_of("howdah_jobtracker_jobs", "Jobs that are remembered, by state").by(&[
        MetricLabel::of("state", &["prep", "running", "succeeded", "failed", "killed"]),
    ]),
    gauge_of("howdah_jobtracker_jobs_paused", "Unfinished jobs that are paused"),
    counter_of("howdah_jobtracker_jobs_accepted_total", "Jobs accepted"),
    counter_of("howdah_jobtracker_jobs_ended_total", "Jobs that ended, by state").by(ENDED),
    histogram_of("howdah_jobtracker_job_seconds", "From a job's submission to its end").by(ENDED),
    histogram_of(
        "howdah_jobtracker_job_phase_seconds",
        "How long jobs that succeeded were in each phase: queue (until the first launch), map (until all maps were \
         done), reduce (until the last task was done), commit (until the output was published)",
    )
    .by(&[MetricLabel::of("phase", &["queue", "map", "reduce", "commit"])]),
    gauge_of("howdah_jobtracker_histories_unwritten", "Ended jobs whose histories are still to be written"),
    gauge_of("howdah_jobtracker_tasks", "Tasks of unfinished jobs that wait for a slot or run").by(&[
        MetricLabel::of("kind", &["map", "reduce"]),
        MetricLabel::of("state", &["waiting", "running"]),
    ]),
    counter_of("howdah_jobtracker_tasks_succeeded_total", "Tasks that succeeded; one whose output got lost may again")
        .by(KIND),
    histogram_of("howdah_jobtracker_task_seconds", "From the launch of a task's winner to its end").by(KIND),
    histogram_of(
        "howdah_jobtracker_task_work_seconds",
        "How long a task's winner worked; of a reduce from the last map on, so without its wait for maps",
    )
    .by(KIND),
    counter_of("howdah_jobtracker_attempts_failed_total", "Attempts that failed, by cause").by(&[
        MetricLabel::of("kind", &["map", "reduce"]),
        MetricLabel::of("cause", FailureKind::NAMES),
    ]),
    counter_of("howdah_jobtracker_attempts_killed_total", "Attempts killed, or lost with their TaskTracker"),
    counter_of(
        "howdah_jobtracker_attempts_preempted_total",
        "Attempts killed because another pool had waited for its share",
    ),
    counter_of("howdah_jobtracker_map_launches_total", "Maps launched, by how near to their bytes").by(&[
        MetricLabel::of("locality", &["node_local", "rack_local", "off_rack"]),
    ]),
    counter_of("howdah_jobtracker_reduce_launches_total", "Reduces launched"),
    counter_of("howdah_jobtracker_backups_launched_total", "Backups launched of attempts that were late"),
    counter_of("howdah_jobtracker_backups_won_total", "Backups that succeeded before the attempt that was late"),
    counter_of("howdah_jobtracker_map_outputs_lost_total", "Map outputs that got lost, so that the map ran again"),
    counter_of(
        "howdah_jobtracker_reduces_undone_total",
        "Times that reduces ran again since a map's second run made other bytes",
    ),
    counter_of("howdah_jobtracker_map_input_bytes_total", "Bytes of the splits of maps that succeeded"),
    counter_of("howdah_jobtracker_map_input_records_total", "Records that they read"),
    counter_of("howdah_jobtracker_map_output_records_total", "Records that they emitted, before a combiner"),
    counter_of("howdah_jobtracker_map_output_bytes_total", "Bytes of their outputs on local disks"),
    counter_of("howdah_jobtracker_shuffle_bytes_total", "Bytes of map outputs that reduces fetched which succeeded"),
    counter_of("howdah_jobtracker_shuffle_segments_total", "Segments of map outputs that they fetched"),
    counter_of("howdah_jobtracker_shuffle_retries_total", "Fetches that they tried again"),
    histogram_of(
        "howdah_jobtracker_shuffle_wait_seconds",
        "How long a reduce that succeeded had nothing to do but wait for map outputs",
    ),
    counter_of("howdah_jobtracker_spilled_records_total", "Records that tasks wrote to local disk, merges included")
        .by(KIND),
    counter_of("howdah_jobtracker_output_bytes_total", "Bytes of output that winners wrote"),
    gauge_of("howdah_jobtracker_trackers_live", "TaskTrackers that send heartbeats"),
    gauge_of("howdah_jobtracker_trackers_ill", "Those of them that say that their host is not well"),
    gauge_of("howdah_jobtracker_trackers_set_aside", "Those of them that get no tasks since much speaks against them"),
    gauge_of("howdah_jobtracker_trackers_drained", "Those of them that are drained"),
    gauge_of("howdah_jobtracker_trackers_unreached", "Those of them that the JobTracker does not reach at their addresses"),
    counter_of("howdah_jobtracker_trackers_lost_total", "Times that a TaskTracker was silent for too long"),
    gauge_of("howdah_jobtracker_slots", "Slots of live TaskTrackers"),
    gauge_of("howdah_jobtracker_slots_occupied", "Slots that are not free"),
    gauge_of(
        "howdah_jobtracker_topology_file_wrong",
        "1 while the file that cluster.topology_file names is wrong, so that racks stay as they were",
    ),
    counter_of("howdah_jobtracker_heartbeats_total", "Heartbeats of TaskTrackers"),
    gauge_of("howdah_jobtracker_heartbeats_parked", "Heartbeats whose reply waits for news"),
    histogram_of(
        "howdah_jobtracker_heartbeat_seconds",
        "How long the scheduler took for one heartbeat: to take in its news and to give free slots to tasks",
    ),
    histogram_of(
        "howdah_jobtracker_turn_seconds",
        "How long the event loop was held by inputs while others waited",
    ),
    gauge_of("howdah_jobtracker_pool_slots", "Slots that a pool holds").by(POOL),
    gauge_of("howdah_jobtracker_pool_tasks_waiting", "Tasks of a pool that wait for a slot").by(POOL),
    gauge_of("howdah_jobtracker_pool_jobs", "Unfinished jobs of a pool").by(POOL),
    gauge_of("howdah_jobtracker_waiting_clients", "Requests that wait for a job's end"),
    gauge_of("howdah_jobtracker_event_listeners", "Who listens to server-sent events"),
    counter_of(
        "howdah_jobtracker_event_listeners_dropped_total",
        "Listeners that were cut off because they did not read their events in time",
    ),
    counter_of("howdah_jobtracker_store_unavailable_total", "Times that a job had to wait since the chunk store did not answer"),
    histogram_of(
        "howdah_jobtracker_journal_sync_seconds",
        "How long the first record of a sync waited to be on disk",
    ),
    gauge_of("howdah_jobtracker_journal_mirrors_live", "Folders that the journal is written to"),
    gauge_of(
        "howdah_jobtracker_journal_hangs",
        "1 while no disk of the journal does what it is told, so that nobody is answered",
    ),
    histogram_of(super::REQUESTS, "HTTP requests, parked heartbeats and waits for a job's end included")
        .by(REQUEST_LABELS),
];
