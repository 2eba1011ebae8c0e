//! What each key accepts, as one table: the sentence that errors print and the check that goes with
//! it. The rules between keys are in `conflicts`. Types have been parsed before; this is what types can't say.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde_yaml::Value;

use crate::conflicts;
use crate::names::{is_address, is_listen_address};
use crate::pools::POOL_RULES;
use crate::stores::STORE_RULES;
use crate::{Bytes, Config, Time, host_rules, pools, stores, users};

/// What breaks a rule.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The key's value does not pass its row of the table.
    Refused { key: String },
    /// Two keys hold what must differ.
    Twice { key: String, other: String, value: String, remedy: &'static str },
    /// A listener beyond loopback, and no secret.
    SecretNeeded { key: String, address: String },
}

struct Rule {
    key: &'static str,
    accepted: &'static str,
    holds: fn(&Config) -> bool,
}

const fn rule(key: &'static str, accepted: &'static str, holds: fn(&Config) -> bool) -> Rule {
    Rule { key, accepted, holds }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const HOUR_MS: u64 = 3_600_000;

pub(crate) const ADDRESS: &str =
    "host:port that others can connect to, like host-1:7870 (a name, an IPv4 address or [IPv6])";
pub(crate) const LISTEN: &str = "null for its address, or host:port of this host to listen on, like 0.0.0.0:7870 or [::]:7870 for all its addresses";
pub(crate) const FOLDER: &str = "an absolute folder, like /var/lib/howdah/…";
pub(crate) const FOLDERS: &str = "a list of 1 to 64 absolute folders, none in another, one on each disk, like [/mnt/disk-1/howdah]";
pub(crate) const LOCAL_FOLDERS: &str = "[] for data_dir, or a list of up to 64 absolute folders, one on each disk, like [/mnt/disk-1/tasks]";
const FOLDERS_MAX: usize = 64;
const MIRROR: &str =
    "null, or an absolute folder on another disk that is neither in data_dir nor above it";
const ANONYMOUS: &str = "true or false; false where 'users' names some, who are told apart by their tokens (with `howdah dev`: \
     --set cluster.anonymous_loopback=false)";
const TLS_CA: &str =
    "null (no TLS), or an absolute path of a PEM file, like /etc/howdah/tls/ca.pem";
const TLS_CERT: &str =
    "null, or beside tls.ca an absolute path of a PEM file, like /etc/howdah/tls/cert.pem";
const TLS_KEY: &str = "an absolute path of a PEM file where tls.cert names one, like /etc/howdah/tls/key.pem; else null";
const REPAIR_RATE: &str =
    "a size with a unit, at least 1MiB, and 128KiB for each of chunkmaster.repair_streams";
const TO_1H: &str = "a time from 1s to 1h";
const SEGMENT: &str = "a size from 2MiB to 1GiB";
const MEMORY: &str = "a size from 1MiB to 3GiB";

const RULES: &[Rule] = &[
    rule("cluster.secret_file", "null, or an absolute path of a file of 32 bytes or more", |c| {
        c.cluster.secret_file.as_ref().is_none_or(|path| path.is_absolute())
    }),
    rule("cluster.topology_file", "null, or an absolute path of a file", |c| {
        c.cluster.topology_file.as_ref().is_none_or(|path| path.is_absolute())
    }),
    rule("cluster.anonymous_loopback", ANONYMOUS, |c| {
        !c.cluster.anonymous_loopback || c.users.is_empty()
    }),
    rule("cluster.pid_dir", "null, or an absolute folder, like /run/howdah", |c| {
        c.cluster.pid_dir.as_ref().is_none_or(|path| path.is_absolute())
    }),
    rule("tls.ca", TLS_CA, |c| is_file(c.tls.ca.as_deref())),
    rule("tls.cert", TLS_CERT, |c| {
        is_file(c.tls.cert.as_deref()) && (c.tls.cert.is_none() || c.tls.ca.is_some())
    }),
    rule("tls.key", TLS_KEY, |c| {
        is_file(c.tls.key.as_deref()) && c.tls.key.is_some() == c.tls.cert.is_some()
    }),
    rule("chunkmaster.address", ADDRESS, |c| is_address(&c.chunkmaster.address)),
    rule("chunkmaster.listen", LISTEN, |c| is_listener(c.chunkmaster.listen.as_deref())),
    rule("chunkmaster.data_dir", FOLDER, |c| c.chunkmaster.data_dir.is_absolute()),
    rule("chunkmaster.journal_mirror", MIRROR, |c| {
        is_apart(c.chunkmaster.journal_mirror.as_deref(), &c.chunkmaster.data_dir)
    }),
    rule("chunkmaster.replication", "a whole number from 1 to 10", |c| {
        (1..=10).contains(&c.chunkmaster.replication)
    }),
    rule("chunkmaster.chunk_bytes", "a size from 64KiB to 64MiB, a multiple of 64KiB", |c| {
        let Bytes(bytes) = c.chunkmaster.chunk_bytes;
        (64 * KIB..=64 * MIB).contains(&bytes) && bytes.is_multiple_of(64 * KIB)
    }),
    rule("chunkmaster.heartbeat_interval", "a time from 10ms to 1min", |c| {
        lasts(c.chunkmaster.heartbeat_interval, 10, 60_000)
    }),
    rule(
        "chunkmaster.dead_after",
        "a time longer than chunkmaster.heartbeat_interval, up to 1h",
        |c| {
            let dead_after = c.chunkmaster.dead_after;
            dead_after > c.chunkmaster.heartbeat_interval && lasts(dead_after, 0, HOUR_MS)
        },
    ),
    rule("chunkmaster.lease", TO_1H, |c| lasts(c.chunkmaster.lease, 1000, HOUR_MS)),
    rule("chunkmaster.lease_grace", "a time from 100ms to 1h", |c| {
        lasts(c.chunkmaster.lease_grace, 100, HOUR_MS)
    }),
    rule("chunkmaster.repair_streams", "a whole number from 1 to 64", |c| {
        (1..=64).contains(&c.chunkmaster.repair_streams)
    }),
    rule("chunkmaster.balance_threshold", "a share from 1% to 100%, like 10%", |c| {
        c.chunkmaster.balance_threshold.0 > 0
    }),
    rule("chunkmaster.trash_interval", "a time up to 365days; 0s for no trash", |c| {
        lasts(c.chunkmaster.trash_interval, 0, 365 * 24 * HOUR_MS)
    }),
    rule("chunkmaster.trash_free_min", "a share from 0% to 100%, like 10%", |_| true),
    rule("chunkmaster.journal_segment", SEGMENT, |c| {
        within(c.chunkmaster.journal_segment, 2 * MIB, GIB)
    }),
    rule("chunkmaster.journal_timeout", "a time from 100ms to 10min", |c| {
        lasts(c.chunkmaster.journal_timeout, 100, 600_000)
    }),
    rule("chunkmaster.snapshot_after_segments", "a whole number from 1 to 1000", |c| {
        (1..=1000).contains(&c.chunkmaster.snapshot_after_segments)
    }),
    rule("chunkserver.address", ADDRESS, |c| is_address(&c.chunkserver.address)),
    rule("chunkserver.listen", LISTEN, |c| is_listener(c.chunkserver.listen.as_deref())),
    rule("chunkserver.data_dirs", FOLDERS, |c| are_disks(&c.chunkserver.data_dirs)),
    rule("chunkserver.reserve", "a size with a unit, like 256MiB or 0B", |_| true),
    rule("chunkserver.disk_timeout", "a time from 1s to 10min", |c| {
        lasts(c.chunkserver.disk_timeout, 1000, 600_000)
    }),
    rule("chunkserver.idle_timeout", TO_1H, |c| lasts(c.chunkserver.idle_timeout, 1000, HOUR_MS)),
    rule("chunkserver.keep_unfinished", TO_1H, |c| {
        lasts(c.chunkserver.keep_unfinished, 1000, HOUR_MS)
    }),
    rule("chunkserver.follow_timeout", "a time from 100ms to 5s", |c| {
        lasts(c.chunkserver.follow_timeout, 100, 5000)
    }),
    rule("chunkserver.idle_log_timeout", "a time from 1s to 1day", |c| {
        lasts(c.chunkserver.idle_log_timeout, 1000, 24 * HOUR_MS)
    }),
    rule("chunkserver.repair_rate", REPAIR_RATE, |c| {
        // So that a chunk of 64 MiB is there in ten minutes though all streams share the rate.
        let streams = u64::from(c.chunkmaster.repair_streams);
        c.chunkserver.repair_rate.0 >= MIB.max(streams * 128 * KIB)
    }),
    rule("chunkserver.balance_rate", "a size with a unit, at least 1MiB", |c| {
        c.chunkserver.balance_rate.0 >= MIB
    }),
    rule("chunkserver.scrub_rate", "0B (off), or a size from 64KiB up", |c| {
        c.chunkserver.scrub_rate.0 == 0 || c.chunkserver.scrub_rate.0 >= 64 * KIB
    }),
    rule("chunkserver.trash_interval", "a time from 0s to 365days", |c| {
        lasts(c.chunkserver.trash_interval, 0, 365 * 24 * HOUR_MS)
    }),
    rule("jobtracker.address", ADDRESS, |c| is_address(&c.jobtracker.address)),
    rule("jobtracker.listen", LISTEN, |c| is_listener(c.jobtracker.listen.as_deref())),
    rule("jobtracker.data_dir", FOLDER, |c| c.jobtracker.data_dir.is_absolute()),
    rule("jobtracker.journal_mirror", MIRROR, |c| {
        is_apart(c.jobtracker.journal_mirror.as_deref(), &c.jobtracker.data_dir)
    }),
    rule("jobtracker.heartbeat_interval", "a time from 10ms to 1min", |c| {
        lasts(c.jobtracker.heartbeat_interval, 10, 60_000)
    }),
    rule("jobtracker.heartbeats_per_second", "a whole number from 1 to 100000", |c| {
        (1..=100_000).contains(&c.jobtracker.heartbeats_per_second)
    }),
    rule(
        "jobtracker.dead_after",
        "a time longer than jobtracker.heartbeat_interval, up to 1h",
        |c| {
            let dead_after = c.jobtracker.dead_after;
            dead_after > c.jobtracker.heartbeat_interval && lasts(dead_after, 0, HOUR_MS)
        },
    ),
    rule("jobtracker.max_attempts", "a whole number from 1 to 100", |c| {
        (1..=100).contains(&c.jobtracker.max_attempts)
    }),
    rule("jobtracker.locality_wait", "a time from 0s to 1h", |c| {
        lasts(c.jobtracker.locality_wait, 0, HOUR_MS)
    }),
    rule("jobtracker.split_bytes", "a size from 1KiB up", |c| {
        within(c.jobtracker.split_bytes, KIB, u64::MAX)
    }),
    rule("jobtracker.reduce_slowstart", "a number from 0 to 1", |c| {
        (0.0..=1.0).contains(&c.jobtracker.reduce_slowstart)
    }),
    rule("jobtracker.sharing", "fair or fifo", |_| true),
    rule("jobtracker.preempt_after", "0s (never), or a time from 1s to 1day", |c| {
        let time = c.jobtracker.preempt_after;
        time.0.is_zero() || lasts(time, 1000, 24 * HOUR_MS)
    }),
    rule("jobtracker.speculative", "true or false", |_| true),
    rule("jobtracker.speculative_share", "a number from 0 to 1", |c| {
        (0.0..=1.0).contains(&c.jobtracker.speculative_share)
    }),
    rule("jobtracker.fetch_failures_max", "a whole number from 1 to 1000", |c| {
        (1..=1000).contains(&c.jobtracker.fetch_failures_max)
    }),
    rule("jobtracker.host_failures_max", "a whole number from 0 (never) to 64", |c| {
        // As many tasks of a host as a job remembers.
        c.jobtracker.host_failures_max <= 64
    }),
    rule("jobtracker.host_strikes_max", "a whole number from 0 (never) to 32", |c| {
        c.jobtracker.host_strikes_max <= 32
    }),
    rule("jobtracker.host_forgiven_after", "a time from 1s to 7days", |c| {
        lasts(c.jobtracker.host_forgiven_after, 1000, 7 * 24 * HOUR_MS)
    }),
    rule("jobtracker.set_aside_share", "a number from 0 to 1", |c| {
        (0.0..=1.0).contains(&c.jobtracker.set_aside_share)
    }),
    rule("jobtracker.finished_jobs_max", "a whole number from 1 to 100000", |c| {
        (1..=100_000).contains(&c.jobtracker.finished_jobs_max)
    }),
    rule("jobtracker.history_keep", "0s (not at all) or a time from 1day to 3650days", |c| {
        c.jobtracker.history_keep.0.is_zero()
            || lasts(c.jobtracker.history_keep, 24 * HOUR_MS, 3650 * 24 * HOUR_MS)
    }),
    rule("jobtracker.journal_segment", SEGMENT, |c| {
        within(c.jobtracker.journal_segment, 2 * MIB, GIB)
    }),
    rule("jobtracker.journal_timeout", "a time from 100ms to 10min", |c| {
        lasts(c.jobtracker.journal_timeout, 100, 600_000)
    }),
    rule("jobtracker.snapshot_after_segments", "a whole number from 1 to 1000", |c| {
        (1..=1000).contains(&c.jobtracker.snapshot_after_segments)
    }),
    rule("tasktracker.address", ADDRESS, |c| is_address(&c.tasktracker.address)),
    rule("tasktracker.listen", LISTEN, |c| is_listener(c.tasktracker.listen.as_deref())),
    rule("tasktracker.data_dir", FOLDER, |c| c.tasktracker.data_dir.is_absolute()),
    rule("tasktracker.local_dirs", LOCAL_FOLDERS, |c| are_local(&c.tasktracker.local_dirs)),
    rule("tasktracker.slots", "a whole number from 0 (one per processor) to 1024", |c| {
        c.tasktracker.slots <= 1024
    }),
    rule("tasktracker.task_timeout", "a time from 1s to 7days", |c| {
        lasts(c.tasktracker.task_timeout, 1000, 7 * 24 * HOUR_MS)
    }),
    rule("tasktracker.cut_off_timeout", "a time from 1s to 7days", |c| {
        lasts(c.tasktracker.cut_off_timeout, 1000, 7 * 24 * HOUR_MS)
    }),
    rule("tasktracker.log_bytes_max", "a size from 4KiB to 1GiB", |c| {
        within(c.tasktracker.log_bytes_max, 4 * KIB, GIB)
    }),
    rule("tasktracker.task_memory", "null or a size from 64MiB", |c| {
        c.tasktracker.task_memory.is_none_or(|size| size.0 >= 64 * MIB)
    }),
    rule("tasktracker.task_processes", "a whole number from 16 to 1000000", |c| {
        (16..=1_000_000).contains(&c.tasktracker.task_processes)
    }),
    rule("tasktracker.task_disk", "null or a size from 16MiB", |c| {
        c.tasktracker.task_disk.is_none_or(|size| size.0 >= 16 * MIB)
    }),
    rule("tasktracker.task_open_files", "a whole number from 256 to 1048576", |c| {
        (256..=1 << 20).contains(&c.tasktracker.task_open_files)
    }),
    rule("tasktracker.task_uids", "null, or a range of user ids, like 200000-200063", |_| true),
    rule("tasktracker.require_isolation", "true or false", |_| true),
    rule("tasktracker.disk_free_min", "a size from 0B up", |_| true),
    rule("tasktracker.memory_free_min", "a size from 0B up", |_| true),
    rule("tasktracker.health_interval", "a time from 100ms to 1h", |c| {
        lasts(c.tasktracker.health_interval, 100, HOUR_MS)
    }),
    rule("tasktracker.health_command", "null, or a command for /bin/sh -c", |c| {
        c.tasktracker.health_command.as_ref().is_none_or(|command| !command.trim().is_empty())
    }),
    rule("tasktracker.health_command_interval", "a time from 100ms to 24h", |c| {
        lasts(c.tasktracker.health_command_interval, 100, 24 * HOUR_MS)
    }),
    rule("tasktracker.health_timeout", TO_1H, |c| {
        lasts(c.tasktracker.health_timeout, 1000, HOUR_MS)
    }),
    rule("tasktracker.shuffle_requests_max", "a whole number from 1 to 4096", |c| {
        (1..=4096).contains(&c.tasktracker.shuffle_requests_max)
    }),
    rule("task.sort_buffer", "a size from 1MiB to 2GiB", |c| {
        within(c.task.sort_buffer, MIB, 2 * GIB)
    }),
    rule("task.fetch_buffer", MEMORY, |c| within(c.task.fetch_buffer, MIB, 3 * GIB)),
    rule("task.parallel_fetches", "a whole number from 1 to 256", |c| {
        (1..=256).contains(&c.task.parallel_fetches)
    }),
    rule("task.merge_factor", "a whole number from 2 to 1024", |c| {
        (2..=1024).contains(&c.task.merge_factor)
    }),
    rule("task.fetch_retry", "a time from 1ms to 10s", |c| lasts(c.task.fetch_retry, 1, 10_000)),
    rule("task.fetch_stall", TO_1H, |c| lasts(c.task.fetch_stall, 1000, HOUR_MS)),
    rule("task.output_replication", "null, or a whole number from 1 to 10", |c| {
        c.task.output_replication.is_none_or(|replicas| (1..=10).contains(&replicas))
    }),
    rule("client.connect_timeout", "a time from 10ms to 1h", |c| {
        lasts(c.client.connect_timeout, 10, HOUR_MS)
    }),
    rule("client.request_timeout", "a time from 100ms to 1h", |c| {
        lasts(c.client.request_timeout, 100, HOUR_MS)
    }),
    rule("client.silence_timeout", TO_1H, |c| lasts(c.client.silence_timeout, 1000, HOUR_MS)),
    rule("client.retry_for", "a time from 0s to 1day", |c| {
        lasts(c.client.retry_for, 0, 24 * HOUR_MS)
    }),
    rule("client.wait_for_masters", "a time from 0s to 1h", |c| {
        lasts(c.client.wait_for_masters, 0, HOUR_MS)
    }),
    rule("client.hedge_after", "0s, or a time from 10ms to 1h", |c| {
        c.client.hedge_after.0.is_zero() || lasts(c.client.hedge_after, 10, HOUR_MS)
    }),
    rule(
        "client.token_file",
        "null, or an absolute path of a file that only its owner can read",
        |c| c.client.token_file.as_ref().is_none_or(|path| path.is_absolute()),
    ),
    rule("log.format", "text or json", |_| true),
    rule("log.filter", "a filter like info or info,jobtracker=debug", |c| is_filter(&c.log.filter)),
    rule("log.audit_dir", "null, or an absolute folder, like /var/log/howdah", |c| {
        c.log.audit_dir.as_ref().is_none_or(|path| path.is_absolute())
    }),
    rule("log.audit_bytes_max", "a size from 64KiB", |c| {
        within(c.log.audit_bytes_max, 64 * KIB, u64::MAX)
    }),
    rule("users", "a list of users, each with at least a name: [{name: ann}]", |_| true),
    rule("pools", "a list of pools, each with at least a name: [{name: etl}]", |_| true),
    rule("stores", "a list of stores, each with at least a URL: [{url: 's3://bucket'}]", |_| true),
    rule("hosts", "a list of hosts, each with at least a name: [{name: host-1}]", |_| true),
];

fn is_file(path: Option<&Path>) -> bool {
    path.is_none_or(Path::is_absolute)
}

pub(crate) fn is_listener(listen: Option<&str>) -> bool {
    listen.is_none_or(is_listen_address)
}

fn are_folders(folders: &[PathBuf]) -> bool {
    (1..=FOLDERS_MAX).contains(&folders.len()) && folders.iter().all(|dir| dir.is_absolute())
}

/// A folder that stands twice is told with its place in the list.
pub(crate) fn are_disks(folders: &[PathBuf]) -> bool {
    let real: Vec<_> = folders.iter().map(|folder| without_dots(folder)).collect();
    let is_in =
        |inner: &PathBuf| real.iter().any(|outer| inner != outer && inner.starts_with(outer));
    are_folders(folders) && !real.iter().any(is_in)
}

/// The path without `.` and `..`, as far as that can be told without looking at the disk.
pub(crate) fn without_dots(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut real, part| {
        match part {
            Component::CurDir => {}
            // Above the root is the root.
            Component::ParentDir => drop(real.pop()),
            part => real.push(part),
        }
        real
    })
}

pub(crate) fn are_local(folders: &[PathBuf]) -> bool {
    folders.is_empty() || are_folders(folders)
}

/// Roughly: what may stand in brackets the daemon's log knows. A word alone must be a level: taken for a module, as the log
/// would, it would silence all others.
fn is_filter(filter: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.contains(&&*word.trim().to_ascii_lowercase());
    let is_directive = |part: &str| match part.split_once('=') {
        _ if part.contains('[') => true,
        Some((_module, level)) => is_level(level),
        None => is_level(part),
    };
    !filter.trim().is_empty() && filter.split(',').all(is_directive)
}

fn lasts(time: Time, from_ms: u64, to_ms: u64) -> bool {
    (Duration::from_millis(from_ms)..=Duration::from_millis(to_ms)).contains(&time.0)
}

fn is_apart(mirror: Option<&Path>, data_dir: &Path) -> bool {
    let data_dir = without_dots(data_dir);
    mirror.is_none_or(|mirror| {
        let real = without_dots(mirror);
        mirror.is_absolute() && !real.starts_with(&data_dir) && !data_dir.starts_with(&real)
    })
}

fn within(size: Bytes, from: u64, to: u64) -> bool {
    (from..=to).contains(&size.0)
}

/// What `key` accepts, as a sentence; of a list's entries, any index will do.
#[must_use]
pub fn accepted_form(key: &str) -> &'static str {
    // A folder is told with its list.
    let key = key.find("data_dirs[").map_or(key, |at| &key[..at + "data_dirs".len()]);
    if key.starts_with("hosts[") {
        return host_rules::accepted_form(key);
    }
    if key.starts_with("users[") {
        return users::accepted_form(key);
    }
    if key.starts_with("pools[") {
        return pools::accepted_form(key);
    }
    if key.starts_with("stores[") {
        return stores::accepted_form(key);
    }
    let rule = RULES.iter().find(|rule| rule.key == key);
    rule.map_or("keys and values, as in the sample config/howdah.yaml", |rule| rule.accepted)
}

/// The first rule that `config` breaks, in the order of the sections.
pub(crate) fn first_fault(config: &Config) -> Option<Fault> {
    first_refused(config)
        .or_else(|| conflicts::anything_twice(config))
        .or_else(|| conflicts::secret_needed(config))
}

/// The first key that does not pass its row of the table.
pub(crate) fn first_refused(config: &Config) -> Option<Fault> {
    single_keys(config)
        .or_else(|| users::first_refused(config))
        .or_else(|| each_pool(config))
        .or_else(|| each_store(config))
        .or_else(|| host_rules::first_refused(config))
}

fn single_keys(config: &Config) -> Option<Fault> {
    let broken = RULES.iter().find(|rule| !(rule.holds)(config))?;
    Some(Fault::Refused { key: broken.key.to_owned() })
}

fn each_pool(config: &Config) -> Option<Fault> {
    config.pools.iter().enumerate().find_map(|(index, pool)| {
        let broken = POOL_RULES.iter().find(|rule| !(rule.holds)(pool))?;
        Some(Fault::Refused { key: format!("pools[{index}].{}", broken.key) })
    })
}

fn each_store(config: &Config) -> Option<Fault> {
    config.stores.iter().enumerate().find_map(|(index, store)| {
        let broken = STORE_RULES.iter().find(|rule| !(rule.holds)(store))?;
        Some(Fault::Refused { key: format!("stores[{index}].{}", broken.key) })
    })
}

/// The value at `key` (`a.b`, `hosts[1].name`) of a tree.
pub(crate) fn at<'t>(tree: &'t Value, key: &str) -> Option<&'t Value> {
    if key.is_empty() {
        return Some(tree);
    }
    key.split('.').try_fold(tree, |value, part| match part.split_once('[') {
        None => value.get(part),
        Some((name, rest)) => value.get(name)?.get(rest.strip_suffix(']')?.parse::<usize>().ok()?),
    })
}

/// `key` with each index made 0: what the schema, which has one entry of each list, knows it by.
pub(crate) fn first_of_list(key: &str) -> String {
    let mut inside = false;
    let mut first = String::new();
    for c in key.chars() {
        if c == ']' {
            first.push('0');
        }
        inside = (inside || c == '[') && c != ']';
        if !inside || c == '[' {
            first.push(c);
        }
    }
    first
}

/// The key that was probably meant by `name` in `section`: one of `known` that few changes of letters
/// make of it, else the only other key of that very name.
pub(crate) fn nearest(section: &str, name: &str, known: &[String]) -> Option<String> {
    let distance = |other: &str| strsim::osa_distance(name, other);
    let close = known.iter().min_by_key(|other| distance(other));
    let close = close.filter(|other| distance(other) <= (name.chars().count() / 3).max(1));
    match close {
        Some(close) => Some(crate::locate::join(section, close)),
        None => {
            let mut elsewhere = RULES
                .iter()
                .map(|rule| rule.key)
                .filter(|key| key.rsplit_once('.').is_some_and(|(_, last)| last == name));
            let only = elsewhere.next().filter(|_| elsewhere.next().is_none());
            only.map(str::to_owned)
        }
    }
}
