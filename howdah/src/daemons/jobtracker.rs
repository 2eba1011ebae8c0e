//! `howdah jobtracker`.

use std::path::Path;

use chunkstore_client::ReadSettings;
use jobtracker::{DEFAULT_POOL, JobtrackerSettings, PoolRule, Sharing};
use net::Keyring;

use super::{Boot, DaemonName};

/// Runs the JobTracker; with `init` its empty data folder joins the chunk master's cluster first.
pub(crate) fn run(file: &Path, init: bool) -> anyhow::Result<()> {
    let boot = Boot::new(file)?;
    let settings = settings(&boot)?;
    let address = &boot.config.jobtracker.address;
    boot.run(&DaemonName::Jobtracker, address, |listener, shutdown| async move {
        if init {
            let cluster = jobtracker::init(&settings, &shutdown).await?;
            tracing::info!(%cluster, "joined the cluster");
        }
        Ok(jobtracker::run(settings, listener, shutdown).await?)
    })
}

fn settings(boot: &Boot) -> anyhow::Result<JobtrackerSettings> {
    let config = &boot.config.jobtracker;
    Ok(JobtrackerSettings {
        data_dir: config.data_dir.clone(),
        journal_mirror: config.journal_mirror.clone(),
        chunkmaster: boot.config.chunkmaster.address.clone(),
        heartbeat_interval: config.heartbeat_interval.0,
        heartbeats_per_second: config.heartbeats_per_second,
        dead_after: config.dead_after.0,
        max_attempts: config.max_attempts,
        locality_wait: config.locality_wait.0,
        split_bytes: config.split_bytes.0,
        reduce_slowstart: config.reduce_slowstart,
        pools: pools(&boot.config),
        preempt_after: Some(config.preempt_after.0).filter(|time| !time.is_zero()),
        speculative: config.speculative,
        speculative_share: config.speculative_share,
        fetch_failures_max: config.fetch_failures_max,
        host_failures_max: config.host_failures_max,
        host_strikes_max: config.host_strikes_max,
        host_forgiven_after: config.host_forgiven_after.0,
        set_aside_share: config.set_aside_share,
        finished_jobs_max: config.finished_jobs_max,
        history_keep: config.history_keep.0,
        journal_segment_bytes: config.journal_segment.0,
        snapshot_after_segments: config.snapshot_after_segments,
        client: boot.client(),
        retry_for: boot.config.client.retry_for.0,
        reads: ReadSettings::hedged_after(boot.config.client.hedge_after.0),
        stores: crate::stores::for_jobs(&boot.config)?,
        keyring: Keyring::new(&boot.secret),
        anonymous: boot.anonymous(&config.address),
    })
}

/// Those of the configuration, and the default one where it has no entry.
pub(crate) fn pools(config: &config::Config) -> Vec<PoolRule> {
    let sharing = |sharing| match sharing {
        config::JobSharing::Fair => Sharing::Fair,
        config::JobSharing::Fifo => Sharing::Fifo,
    };
    let rule = |pool: &config::Pool| PoolRule {
        name: pool.name.clone(),
        weight: pool.weight.unwrap_or(1),
        min_slots: pool.min_slots.unwrap_or(0),
        slots_max: pool.slots_max,
        running_jobs_max: pool.running_jobs_max,
        jobs_max: pool.jobs_max,
        sharing: sharing(pool.sharing.unwrap_or(config.jobtracker.sharing)),
    };
    let mut pools: Vec<_> = config.pools.iter().map(rule).collect();
    if pools.iter().all(|pool| pool.name != DEFAULT_POOL) {
        pools.push(rule(&config::Pool::named(DEFAULT_POOL)));
    }
    pools
}
