//! `howdah tasktracker`.

use std::path::Path;

use anyhow::Context as _;
use ids::{HostName, RackName};
use tasktracker::{HealthSettings, IsolationSettings, TasktrackerSettings};

use super::{Boot, DaemonName};
use crate::exit::OrEarly;
use crate::task_settings::task_settings;

/// Runs the TaskTracker of `host`.
pub(crate) fn run(file: &Path, host: Option<&str>) -> anyhow::Result<()> {
    let boot = Boot::new(file)?;
    let (number, host) = boot.host(host)?;
    let config = &boot.config;
    let (address, listen) = (host.tasktracker_address, host.tasktracker_listen);
    let settings = TasktrackerSettings {
        host: host.name.parse::<HostName>().or_early()?,
        rack: host.rack.parse::<RackName>().or_early()?,
        address: address.clone(),
        jobtracker: config.jobtracker.address.clone(),
        chunkmaster: config.chunkmaster.address.clone(),
        data_dir: host.tasktracker_dir,
        local_dirs: host.tasktracker_local_dirs,
        slots: config.tasktracker.slots,
        task_timeout: config.tasktracker.task_timeout.0,
        cut_off_timeout: config.tasktracker.cut_off_timeout.0,
        log_bytes_max: config.tasktracker.log_bytes_max.0,
        task_memory: config.tasktracker.task_memory.map(|size| size.0),
        task_processes: config.tasktracker.task_processes,
        task_disk: config.tasktracker.task_disk.map(|size| size.0),
        task_open_files: config.tasktracker.task_open_files,
        task_uids: config.tasktracker.task_uids.map(|uids| uids.first..=uids.last),
        isolation: Some(IsolationSettings {
            required: config.tasktracker.require_isolation,
            hidden: config.kept_from_tasks(),
            maker: std::env::current_exe().context("cannot find this binary")?,
        }),
        disk_free_min: config.tasktracker.disk_free_min.0,
        memory_free_min: config.tasktracker.memory_free_min.0,
        health: HealthSettings {
            interval: config.tasktracker.health_interval.0,
            command: config.tasktracker.health_command.clone(),
            command_interval: config.tasktracker.health_command_interval.0,
            timeout: config.tasktracker.health_timeout.0,
        },
        shuffle_requests_max: config.tasktracker.shuffle_requests_max,
        task: task_settings(&config.task, &config.client),
        client: boot.client(),
        stores: crate::stores::for_jobs(config)?,
        retry_for: config.client.retry_for.0,
        keyring: boot.keyring(),
        task_executable: None,
    };
    boot.run(&DaemonName::Tasktracker(number), (&address, &listen), |listener, shutdown| async {
        Ok(tasktracker::run(settings, listener, shutdown).await?)
    })
}
