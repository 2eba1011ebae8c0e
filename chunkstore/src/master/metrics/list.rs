//! The chunk master's metrics by name.

use daemon::{MetricFamily, MetricLabel, REQUEST_LABELS, counter_of, gauge_of, histogram_of};

const RECORDS: &[&str] = &[
    "cluster_initialised",
    "started",
    "old_journal_accepted",
    "server_joined",
    "server_forgotten",
    "server_draining",
    "file_created",
    "file_reopened",
    "chunk_allocated",
    "file_closed",
    "file_abandoned",
    "append_abandoned",
    "append_lapsed",
    "lease_expired",
    "writer_died",
    "log_created",
    "log_chunk_allotted",
    "log_chunk_begun",
    "log_chunk_ended",
    "folders_made",
    "renamed",
    "deleted",
    "winners_gathered",
    "published",
    "reclaimed",
    "trashed",
    "trash_emptied",
    "copied",
    "concatenated",
    "replication_set",
    "replication_spread",
    "owner_set",
];

/// The chunk master's metrics besides `daemon::COMMON_METRICS`.
pub const METRICS: &[MetricFamily] = &[
    gauge_of("howdah_chunkmaster_files", "Files, open ones included"),
    gauge_of("howdah_chunkmaster_open_files", "Files with a writer"),
    gauge_of("howdah_chunkmaster_folders", "Folders"),
    gauge_of("howdah_chunkmaster_chunks", "Sealed chunks"),
    gauge_of(
        "howdah_chunkmaster_chunks_missing",
        "Chunks without a live replica, as the last whole look at all found",
    ),
    gauge_of(
        "howdah_chunkmaster_chunks_under_replicated",
        "Chunks with fewer live replicas than asked for, but one; also where no server is left that could hold \
         another. At most 20,000 are counted",
    ),
    counter_of("howdah_chunkmaster_records_total", "Operations that were journaled, by kind")
        .by(&[MetricLabel::of("record", RECORDS)]),
    gauge_of("howdah_chunkmaster_servers_live", "Chunkservers that send heartbeats"),
    gauge_of(
        "howdah_chunkmaster_servers_dead",
        "Chunkservers of the cluster that do not, and are not awaited",
    ),
    gauge_of(
        "howdah_chunkmaster_servers_unreached",
        "Those that send heartbeats, and that the chunk master does not reach at their addresses",
    ),
    gauge_of("howdah_chunkmaster_capacity_bytes", "Size of the live chunkservers' disks"),
    gauge_of("howdah_chunkmaster_free_bytes", "Free on them for chunks"),
    gauge_of(
        "howdah_chunkmaster_commands_pending",
        "Commands that chunkservers have not carried out yet",
    ),
    gauge_of(
        "howdah_chunkmaster_repairs_waiting",
        "The repair backlog: chunks that wait to be copied",
    ),
    gauge_of("howdah_chunkmaster_repairs_running", "Chunks that are being copied for repair"),
    gauge_of(
        "howdah_chunkmaster_repair_oldest_seconds",
        "The age of the repair backlog: how long the chunk that has been short of replicas longest has been so",
    ),
    gauge_of(
        "howdah_chunkmaster_moves_running",
        "Chunks that are being copied to even out how full servers are",
    ),
    gauge_of("howdah_chunkmaster_moves_left_bytes", "What must yet move for that"),
    gauge_of(
        "howdah_chunkmaster_orphans_held",
        "Replicas that no file refers to, too many on their server to be deleted without being asked",
    ),
    gauge_of(
        "howdah_chunkmaster_sweeping",
        "1 while all chunks are being compared with what is asked for",
    ),
    gauge_of(
        "howdah_chunkmaster_safe_mode",
        "1 while the chunk master waits for servers to tell what they hold",
    ),
    gauge_of(
        "howdah_chunkmaster_journal_outdated",
        "1 while servers know of more than the journal does, so that nothing is changed",
    ),
    gauge_of(
        "howdah_chunkmaster_topology_file_wrong",
        "1 while the file that cluster.topology_file names is wrong, so that racks stay as they were",
    ),
    gauge_of("howdah_chunkmaster_epoch", "The chunk master's term: one more at each start"),
    histogram_of(
        "howdah_chunkmaster_turn_seconds",
        "How long the event loop was held by inputs while others waited",
    ),
    histogram_of(
        "howdah_chunkmaster_journal_sync_seconds",
        "How long the first record of a sync waited to be on disk",
    ),
    gauge_of("howdah_chunkmaster_journal_mirrors_live", "Folders that the journal is written to"),
    gauge_of(
        "howdah_chunkmaster_journal_hangs",
        "1 while no disk of the journal does what it is told, so that nobody is answered",
    ),
    histogram_of(super::REQUESTS, "HTTP requests").by(REQUEST_LABELS),
];
