//! `howdah jobtracker`.

use std::path::Path;

use chunkstore_client::ReadSettings;
use jobtracker::JobtrackerSettings;

use super::{Beginning, Boot, DaemonName};

/// Runs the JobTracker; at a first start its empty data folder joins the chunk master's cluster before. With
/// `accepts_one_folder` one of two folders of its journal counts without the other one.
pub(crate) fn run(
    file: &Path,
    beginning: Beginning,
    accepts_one_folder: bool,
) -> anyhow::Result<()> {
    let boot = Boot::new(file)?;
    let settings = settings(&boot, accepts_one_folder)?;
    let place = (boot.config.jobtracker.address.as_str(), boot.config.jobtracker_listen());
    boot.run(&DaemonName::Jobtracker, place, |listener, shutdown| async move {
        if beginning.is_first() {
            let cluster = jobtracker::init(&settings, &shutdown).await?;
            tracing::info!(%cluster, "joined the cluster");
        }
        if beginning == Beginning::FirstOnly {
            return Ok(());
        }
        Ok(jobtracker::run(settings, listener, shutdown).await?)
    })
}

fn settings(boot: &Boot, accepts_one_folder: bool) -> anyhow::Result<JobtrackerSettings> {
    let config = &boot.config;
    Ok(JobtrackerSettings {
        jobtracker: config.jobtracker.clone(),
        pools: config.pools.clone(),
        accepts_one_folder,
        chunkmaster: config.chunkmaster.address.clone(),
        topology: boot.topology()?,
        client: boot.client(),
        retry_for: config.client.retry_for.0,
        reads: ReadSettings::hedged_after(config.client.hedge_after.0),
        stores: crate::stores::for_jobs(config)?,
        keyring: boot.keyring(),
    })
}
