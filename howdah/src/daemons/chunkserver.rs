//! `howdah chunkserver`.

use std::path::Path;

use chunkstore::server::{self, ServerSettings};
use ids::{HostName, RackName};

use super::{Boot, DaemonName};
use crate::exit::OrEarly;

/// Runs the chunkserver of `host`.
pub(crate) fn run(file: &Path, host: Option<&str>) -> anyhow::Result<()> {
    let mut boot = Boot::new(file)?;
    let (number, host) = boot.host(host)?;
    let (address, listen) = (host.chunkserver_address, host.chunkserver_listen);
    let settings = ServerSettings {
        host: host.name.parse::<HostName>().or_early()?,
        rack: host.rack.parse::<RackName>().or_early()?,
        address: address.clone(),
        data_dirs: host.chunkserver_dirs,
        reserve_bytes: boot.config.chunkserver.reserve.0,
        disk_timeout: boot.config.chunkserver.disk_timeout.0,
        idle_timeout: boot.config.chunkserver.idle_timeout.0,
        keep_unfinished: boot.config.chunkserver.keep_unfinished.0,
        follow_timeout: boot.config.chunkserver.follow_timeout.0,
        idle_log_timeout: boot.config.chunkserver.idle_log_timeout.0,
        repair_rate: boot.config.chunkserver.repair_rate.0,
        balance_rate: boot.config.chunkserver.balance_rate.0,
        scrub_rate: boot.config.chunkserver.scrub_rate.0,
        trash_interval: boot.config.chunkserver.trash_interval.0,
        master: boot.config.chunkmaster.address.clone(),
        keyring: boot.keyring(),
        client: boot.client(),
    };
    boot.allow_blocking_threads(server::threads_max(settings.data_dirs.len()));
    boot.run(&DaemonName::Chunkserver(number), (&address, &listen), |listener, shutdown| async {
        Ok(server::run(settings, listener, shutdown).await?)
    })
}
