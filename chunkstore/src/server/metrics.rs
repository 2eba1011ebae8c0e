//! The chunkserver's metrics; the only place that names them. Called by the shell where something
//! happens, and by the event loop with the core's summary.

use std::time::Duration;

use chunkstore_core::replica::{Space, Summary};
use chunkstore_protocol::{CopyPurpose, DiskState};
use daemon::{MetricFamily, MetricLabel, REQUEST_LABELS, counter_of, gauge_of, histogram_of};
use ids::UnixMillis;
use metrics::{counter, gauge, histogram};

/// The times of HTTP requests.
pub(super) const REQUESTS: &str = "howdah_chunkserver_request_seconds";

const PURPOSES: &[&str] = &["repair", "balance"];

/// What a chunkserver serves beside `daemon::COMMON_METRICS`.
pub const METRICS: &[MetricFamily] = &[
    counter_of("howdah_chunkserver_received_bytes_total", "Bytes of chunks sealed here"),
    counter_of("howdah_chunkserver_sent_bytes_total", "Bytes of chunks sent to readers"),
    counter_of("howdah_chunkserver_descriptors_total", "Open files handed to readers on this host, who read them themselves"),
    counter_of("howdah_chunkserver_uploads_total", "Uploads by outcome: sealed or failed (what had come may be sealed yet)").by(&[MetricLabel::of("outcome", &["sealed", "failed"])]),
    histogram_of("howdah_chunkserver_upload_seconds", "From an upload's first byte to its durable end"),
    histogram_of("howdah_chunkserver_seal_seconds", "How long it took to sync a replica and give it its final name"),
    counter_of("howdah_chunkserver_broken_replicas_total", "Replicas found corrupt or unreadable and set aside"),
    counter_of("howdah_chunkserver_copies_total", "Replicas sent to other servers, as the chunk master asks, by purpose (repair or balance) and outcome: \
         done or failed").by(&[MetricLabel::of("purpose", PURPOSES), MetricLabel::of("outcome", &["done", "failed"])]),
    counter_of("howdah_chunkserver_copied_bytes_total", "Bytes of those that were done, by purpose").by(&[MetricLabel::of("purpose", PURPOSES)]),
    counter_of("howdah_chunkserver_assemblies_total", "Replicas put together from the sound blocks of broken ones, as the chunk master asks where no \
         good one is left, by outcome: done or failed").by(&[MetricLabel::of("outcome", &["done", "failed"])]),
    gauge_of("howdah_chunkserver_trash_files", "Files in the trash of all disks"),
    gauge_of("howdah_chunkserver_trash_bytes", "Bytes of these"),
    gauge_of("howdah_chunkserver_trash_broken", "Broken replicas among these"),
    counter_of("howdah_chunkserver_purged_total", "Files removed from the trash by cause: expired, or room for chunks").by(&[MetricLabel::of("cause", &["expired", "room"])]),
    counter_of("howdah_chunkserver_scrubbed_bytes_total", "Bytes of replicas that the scrubber found sound"),
    counter_of("howdah_chunkserver_scrub_bad_replicas_total", "Replicas that the scrubber found corrupt, unreadable or missing"),
    gauge_of("howdah_chunkserver_scrub_round_seconds", "How long the scrubber's last whole round over a disk took, restarts included").by(&[MetricLabel::open("disk")]),
    counter_of("howdah_chunkserver_registrations_total", "Registrations with the chunk master"),
    gauge_of("howdah_chunkserver_replicas", "Sealed replicas held"),
    gauge_of("howdah_chunkserver_replicas_bytes", "Bytes of the sealed replicas"),
    gauge_of("howdah_chunkserver_open_uploads", "Uploads under way"),
    gauge_of("howdah_chunkserver_cut_uploads", "Uploads that broke off, kept for their writers to go on with"),
    gauge_of("howdah_chunkserver_pending_events", "Replica events that the chunk master has not acknowledged"),
    gauge_of("howdah_chunkserver_registered", "1 while the chunk master knows this server"),
    gauge_of("howdah_chunkserver_capacity_bytes", "Size of the disks that work"),
    gauge_of("howdah_chunkserver_disks", "Data folders by state: working or failed").by(&[MetricLabel::of("state", &["working", "failed"])]),
    gauge_of("howdah_chunkserver_free_bytes", "Free for chunks: less the reserve"),
    counter_of("howdah_chunkserver_log_batches_total", "Batches of records appended here as primary"),
    counter_of("howdah_chunkserver_log_bytes_total", "Bytes of these batches"),
    histogram_of("howdah_chunkserver_log_group_batches", "Batches of several clients that were written and synced as one"),
    histogram_of("howdah_chunkserver_log_sync_seconds", "How long it took to write and sync such a group here, as primary or after one"),
    counter_of("howdah_chunkserver_log_chunks_total", "Chunks of logs by what this server did: begun as primary, or ended").by(&[MetricLabel::of("what", &["begun", "ended"])]),
    gauge_of("howdah_chunkserver_logs", "Replicas of logs' open chunks held"),
    gauge_of(
        "howdah_chunkserver_scrub_round_started_timestamp_seconds",
        "When the scrubber's round over a disk began, in seconds since 1970: every older replica there was read in the \
         round before",
    )
    .by(&[MetricLabel::open("disk")]),
    histogram_of(REQUESTS, "HTTP requests, until the reply begins").by(REQUEST_LABELS),
];

/// An upload ended; `sealed_bytes` if it was sealed.
pub(super) fn observe_upload(sealed_bytes: Option<u64>, duration: Duration) {
    let outcome = if sealed_bytes.is_some() { "sealed" } else { "failed" };
    counter!("howdah_chunkserver_uploads_total", "outcome" => outcome).increment(1);
    if let Some(bytes) = sealed_bytes {
        counter!("howdah_chunkserver_received_bytes_total").increment(bytes);
        histogram!("howdah_chunkserver_upload_seconds").record(duration);
    }
}

/// A replica was synced and got its final name.
pub(super) fn observe_seal(took: Duration) {
    histogram!("howdah_chunkserver_seal_seconds").record(took);
}

/// Bytes went to a reader.
pub(super) fn observe_sent(bytes: u64) {
    counter!("howdah_chunkserver_sent_bytes_total").increment(bytes);
}

/// A reader of this host got a replica's file.
pub(super) fn observe_descriptor() {
    counter!("howdah_chunkserver_descriptors_total").increment(1);
}

/// A copy to another server ended; its bytes if it arrived.
pub(super) fn observe_copy(purpose: CopyPurpose, done_bytes: Option<u64>) {
    let outcome = if done_bytes.is_some() { "done" } else { "failed" };
    let purpose = match purpose {
        CopyPurpose::Repair => "repair",
        CopyPurpose::Balance => "balance",
    };
    let labels = [("purpose", purpose), ("outcome", outcome)];
    counter!("howdah_chunkserver_copies_total", &labels).increment(1);
    counter!("howdah_chunkserver_copied_bytes_total", "purpose" => purpose)
        .increment(done_bytes.unwrap_or(0));
}

/// A replica was to be put together from broken ones.
pub(super) fn observe_assembly(is_done: bool) {
    let outcome = if is_done { "done" } else { "failed" };
    counter!("howdah_chunkserver_assemblies_total", "outcome" => outcome).increment(1);
}

/// A replica was set aside.
pub(super) fn observe_broken() {
    counter!("howdah_chunkserver_broken_replicas_total").increment(1);
}

/// Files went from the trash for good.
pub(super) fn observe_purged(cause: &'static str, n: usize) {
    counter!("howdah_chunkserver_purged_total", "cause" => cause).increment(n as u64);
}

/// The scrubber read bytes, and they are sound.
pub(super) fn observe_scrubbed(bytes: u64) {
    counter!("howdah_chunkserver_scrubbed_bytes_total").increment(bytes);
}

/// The scrubber found a bad replica.
pub(super) fn observe_scrub_bad() {
    counter!("howdah_chunkserver_scrub_bad_replicas_total").increment(1);
}

/// The scrubber begins to read all of a disk, or goes on with it after a restart.
pub(super) fn observe_scrub_begin(disk: &str, began: UnixMillis) {
    gauge!("howdah_chunkserver_scrub_round_started_timestamp_seconds", "disk" => disk.to_owned())
        .set(Duration::from_millis(began.0));
}

/// The scrubber has read all of a disk.
pub(super) fn observe_scrub_round(disk: &str, took: Duration) {
    gauge!("howdah_chunkserver_scrub_round_seconds", "disk" => disk.to_owned()).set(took);
}

/// A group of batches is on every server of its chunk.
#[expect(clippy::cast_precision_loss, reason = "histograms are of floating-point numbers")]
pub(super) fn observe_log_group(n_batches: usize, bytes: u64) {
    counter!("howdah_chunkserver_log_batches_total").increment(n_batches as u64);
    counter!("howdah_chunkserver_log_bytes_total").increment(bytes);
    histogram!("howdah_chunkserver_log_group_batches").record(n_batches as f64);
}

/// A group was synced here.
pub(super) fn observe_log_sync(took: Duration) {
    histogram!("howdah_chunkserver_log_sync_seconds").record(took);
}

/// A log's chunk begins here.
pub(super) fn observe_log_begun() {
    counter!("howdah_chunkserver_log_chunks_total", "what" => "begun").increment(1);
}

/// A log's chunk was ended by this server.
pub(super) fn observe_log_ended() {
    counter!("howdah_chunkserver_log_chunks_total", "what" => "ended").increment(1);
}

/// The master took a registration.
pub(super) fn observe_registration() {
    counter!("howdah_chunkserver_registrations_total").increment(1);
}

/// What the core and the disk say now.
#[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
pub(super) fn observe_state(summary: &Summary, space: Space) {
    gauge!("howdah_chunkserver_replicas").set(summary.n_sealed as f64);
    gauge!("howdah_chunkserver_replicas_bytes").set(summary.sealed_bytes as f64);
    gauge!("howdah_chunkserver_open_uploads").set(summary.n_open as f64);
    gauge!("howdah_chunkserver_cut_uploads").set(summary.n_cut as f64);
    gauge!("howdah_chunkserver_logs").set(summary.n_logs as f64);
    gauge!("howdah_chunkserver_pending_events").set(summary.n_events_pending as f64);
    gauge!("howdah_chunkserver_registered").set(f64::from(u8::from(summary.registered)));
    gauge!("howdah_chunkserver_capacity_bytes").set(space.capacity as f64);
    gauge!("howdah_chunkserver_free_bytes").set(space.free as f64);
}

/// How many data folders work, and what is in their trash.
#[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
pub(super) fn observe_disks(disks: &[DiskState]) {
    let n_failed = disks.iter().filter(|disk| disk.failed.is_some()).count();
    gauge!("howdah_chunkserver_disks", "state" => "failed").set(n_failed as f64);
    gauge!("howdah_chunkserver_disks", "state" => "working").set((disks.len() - n_failed) as f64);
    let sum = |of: fn(&DiskState) -> u64| disks.iter().map(of).sum::<u64>() as f64;
    gauge!("howdah_chunkserver_trash_files").set(sum(|disk| disk.trash_files));
    gauge!("howdah_chunkserver_trash_bytes").set(sum(|disk| disk.trash_bytes));
    gauge!("howdah_chunkserver_trash_broken").set(sum(|disk| disk.broken_files));
}
