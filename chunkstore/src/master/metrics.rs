//! The chunk master's metrics, and the only place that names them: counters are a fold over the
//! records, gauges are the core's summary at the time of the scrape.

mod list;

use std::time::Duration;

use chunkstore_core::master::{Record, Summary};
use metrics::{Histogram, counter, gauge, histogram};

pub use list::METRICS;

/// Counts journaled records.
pub(super) fn observe_records(records: &[Record]) {
    for record in records {
        counter!("howdah_chunkmaster_records_total", "record" => kind(record)).increment(1);
    }
}

/// The durations of HTTP requests.
pub(super) const REQUESTS: &str = "howdah_chunkmaster_request_seconds";

/// Number of folders that the journal is written to; one less than configured while a disk is lost.
pub(super) fn observe_folders(live: usize) {
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    gauge!("howdah_chunkmaster_journal_mirrors_live").set(live as f64);
}

/// Whether the journal's disk hangs, and so do all requests.
pub(super) fn observe_hang(hangs: bool) {
    gauge!("howdah_chunkmaster_journal_hangs").set(f64::from(u8::from(hangs)));
}

/// How long the core's inputs make others wait. The histogram is looked up once, as it is recorded
/// more often than anything else.
pub(super) struct Turns(Histogram);

impl Turns {
    /// To be called once the process's recorder is installed.
    pub(super) fn new() -> Self {
        Self(histogram!("howdah_chunkmaster_turn_seconds"))
    }

    /// Inputs were handled for this long while others waited.
    pub(super) fn observe(&self, took: Duration) {
        self.0.record(took);
    }
}

/// Whether the topology file can't be used, so that servers register by an older one.
pub(super) fn observe_topology(is_wrong: bool) {
    gauge!("howdah_chunkmaster_topology_file_wrong").set(f64::from(u8::from(is_wrong)));
}

/// Number of chunkservers that can't be reached at their addresses.
pub(super) fn observe_unreached(servers: usize) {
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    gauge!("howdah_chunkmaster_servers_unreached").set(servers as f64);
}

/// Records a sync of the journal, and how long its first record waited for it.
pub(super) fn observe_sync(waited: Duration) {
    histogram!("howdah_chunkmaster_journal_sync_seconds").record(waited);
}

/// Sets the gauges.
pub(super) fn observe_summary(summary: &Summary) {
    let gauges = [
        ("howdah_chunkmaster_files", summary.files),
        ("howdah_chunkmaster_open_files", summary.open_files),
        ("howdah_chunkmaster_folders", summary.folders),
        ("howdah_chunkmaster_chunks", summary.chunks),
        ("howdah_chunkmaster_servers_live", summary.servers_live),
        ("howdah_chunkmaster_servers_dead", summary.servers_dead),
        ("howdah_chunkmaster_capacity_bytes", summary.capacity_bytes),
        ("howdah_chunkmaster_free_bytes", summary.free_bytes),
        ("howdah_chunkmaster_commands_pending", summary.commands_pending),
        ("howdah_chunkmaster_repairs_waiting", summary.repairs_waiting),
        ("howdah_chunkmaster_repairs_running", summary.repairs_running),
        ("howdah_chunkmaster_moves_running", summary.moves_running),
        ("howdah_chunkmaster_moves_left_bytes", summary.moves_left_bytes),
        ("howdah_chunkmaster_chunks_missing", summary.chunks_missing),
        ("howdah_chunkmaster_chunks_under_replicated", summary.chunks_under_replicated),
        ("howdah_chunkmaster_orphans_held", summary.orphans_held),
        ("howdah_chunkmaster_sweeping", summary.sweeping),
        ("howdah_chunkmaster_safe_mode", summary.safe_mode),
        ("howdah_chunkmaster_journal_outdated", summary.journal_outdated),
        ("howdah_chunkmaster_epoch", summary.epoch),
    ];
    for (name, value) in gauges {
        #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
        gauge!(name).set(value as f64);
    }
    gauge!("howdah_chunkmaster_repair_oldest_seconds").set(summary.repair_oldest);
}

fn kind(record: &Record) -> &'static str {
    match record {
        Record::ClusterInitialised { .. } => "cluster_initialised",
        Record::Started { .. } => "started",
        Record::OldJournalAccepted { .. } => "old_journal_accepted",
        Record::ServerJoined { .. } => "server_joined",
        Record::ServerForgotten { .. } => "server_forgotten",
        Record::ServerDraining { .. } => "server_draining",
        Record::FileCreated { .. } => "file_created",
        Record::FileReopened { .. } => "file_reopened",
        Record::ChunkAllocated { .. } => "chunk_allocated",
        Record::FileClosed { .. } => "file_closed",
        Record::FileAbandoned { .. } => "file_abandoned",
        Record::AppendAbandoned { .. } => "append_abandoned",
        Record::AppendLapsed { .. } => "append_lapsed",
        Record::LeaseExpired { .. } => "lease_expired",
        Record::WriterDied { .. } => "writer_died",
        Record::LogCreated { .. } => "log_created",
        Record::LogChunkAllotted { .. } => "log_chunk_allotted",
        Record::LogChunkBegun { .. } => "log_chunk_begun",
        Record::LogChunkEnded { .. } => "log_chunk_ended",
        Record::FoldersMade { .. } => "folders_made",
        Record::Renamed { .. } => "renamed",
        Record::Deleted { .. } => "deleted",
        Record::WinnersGathered { .. } => "winners_gathered",
        Record::Published { .. } => "published",
        Record::Reclaimed { .. } => "reclaimed",
        Record::Trashed { .. } => "trashed",
        Record::TrashEmptied { .. } => "trash_emptied",
        Record::Copied { .. } => "copied",
        Record::Concatenated { .. } => "concatenated",
        Record::ReplicationSet { .. } => "replication_set",
        Record::ReplicationSpread { .. } => "replication_spread",
        Record::OwnerSet { .. } => "owner_set",
    }
}
