//! `howdah chunkmaster`.

use std::path::Path;

use chunkstore::master::{self, MasterSettings, Settings};

use super::{Beginning, Boot, DaemonName};

/// Runs the chunk master; a first start makes a new cluster before. With `accepts_one_folder` one of two folders of its
/// journal counts without the other one.
pub(crate) fn run(
    file: &Path,
    beginning: Beginning,
    accepts_one_folder: bool,
) -> anyhow::Result<()> {
    let boot = Boot::new(file)?;
    let config = &boot.config.chunkmaster;
    let settings = MasterSettings {
        address: config.address.clone(),
        data_dir: config.data_dir.clone(),
        journal_mirror: config.journal_mirror.clone(),
        accepts_one_folder,
        accept_old_journal: beginning == Beginning::OverOldJournal,
        core: Settings {
            replication: config.replication,
            chunk_bytes: config.chunk_bytes.0,
            heartbeat_interval: config.heartbeat_interval.0,
            dead_after: config.dead_after.0,
            lease: config.lease.0,
            lease_grace: config.lease_grace.0,
            repair_streams: config.repair_streams,
            balance_threshold_percent: config.balance_threshold.0,
            trash_interval: config.trash_interval.0,
            trash_free_min_percent: config.trash_free_min.0,
        },
        journal_segment_bytes: config.journal_segment.0,
        journal_timeout: config.journal_timeout.0,
        snapshot_after_segments: config.snapshot_after_segments,
        topology: boot.topology()?,
        client: boot.client(),
        keyring: boot.keyring(),
    };
    let place = (config.address.as_str(), boot.config.chunkmaster_listen());
    boot.run(&DaemonName::Chunkmaster, place, |listener, shutdown| async move {
        if beginning.is_first() {
            let cluster = master::init(settings.folders(), settings.journal_segment_bytes)?;
            tracing::info!(%cluster, "made a new cluster");
        }
        if beginning == Beginning::FirstOnly {
            return Ok(());
        }
        Ok(master::run(settings, listener, shutdown).await?)
    })
}
