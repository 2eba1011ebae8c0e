//! What an attempt's processes use: asked of their cgroups, and where those limit nothing, of each process;
//! and what its folder holds.
//! Whether it is too much is decided by the core.

use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::Pid;
use tasktracker_core::{Limits, Usage};

use crate::cgroup::{Controller, Group};
use crate::{orphans, tree};

/// Measures one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    pid: Pid,
    folder: PathBuf,
    group: Option<Arc<Group>>,
    limits: Limits,
}

impl Meter {
    /// For the attempt whose first process this is, which works in `folder`, and is held to these limits.
    pub(crate) fn new(
        pid: Pid,
        folder: PathBuf,
        group: Option<Arc<Group>>,
        limits: Limits,
    ) -> Self {
        Self { pid, folder, group, limits }
    }

    /// Reads what it uses now. Blocks for as long as it takes to walk through its processes and files.
    pub(crate) fn measure(&self) -> Usage {
        let mut usage = self.last();
        usage.disk = tree::bytes_of(&self.folder);
        let held = |controller| self.group.as_ref().is_some_and(|it| it.controls(controller));
        let (memory, pids) = (held(Controller::Memory), held(Controller::Pids));
        if memory && pids {
            return usage;
        }
        let members = match &self.group {
            Some(group) => group.members(),
            None => {
                // Those that it has refused to be the parent of, so that they would not be counted.
                orphans::end_all();
                orphans::family(vec![self.pid])
            }
        };
        if !memory {
            usage.memory = memory_of(&members, self.limits.memory);
        }
        if !pids {
            usage.processes = members.iter().map(|pid| threads_of(*pid)).sum();
        }
        usage
    }

    /// What is known of it after its end: what it was denied.
    pub(crate) fn last(&self) -> Usage {
        let denied = self.group.as_ref().map(|group| group.denied()).unwrap_or_default();
        Usage { memory_denied: denied.memory, process_denied: denied.process, ..Usage::default() }
    }
}

/// Resident memory; above the limit each process' share of it, since what a program and its children have
/// in common counts once. That takes a walk over all pages.
fn memory_of(members: &[Pid], limit: u64) -> u64 {
    let total: u64 = members.iter().map(|pid| resident(*pid).unwrap_or(0)).sum();
    if total <= limit {
        return total;
    }
    // Another user's process does not tell its share.
    let of = |pid: &Pid| share(*pid).or_else(|| resident(*pid)).unwrap_or(0);
    members.iter().map(of).sum()
}

fn read(pid: Pid, file: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).ok()
}

fn resident(pid: Pid) -> Option<u64> {
    let pages: u64 = read(pid, "statm")?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn share(pid: Pid) -> Option<u64> {
    kib_after("Pss:", &read(pid, "smaps_rollup")?)
}

fn threads_of(pid: Pid) -> u32 {
    let status = read(pid, "status").unwrap_or_default();
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    threads.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// The bytes in a line `NAME: 123 kB`.
fn kib_after(name: &str, text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The memory of this host.
pub(crate) fn memory_of_host() -> Option<u64> {
    kib_after("MemTotal:", &std::fs::read_to_string("/proc/meminfo").ok()?)
}

/// Bytes that programs on this host could still get; `None` where the system does not tell.
pub(crate) fn available_memory() -> Option<u64> {
    kib_after("MemAvailable:", &std::fs::read_to_string("/proc/meminfo").ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_is_resident_and_above_the_limit_the_own_share_of_it() {
        let me = [rustix::process::getpid()];
        let touched = vec![1_u8; 32 << 20];
        let resident = memory_of(&me, u64::MAX);
        assert!(resident >= touched.len() as u64, "{resident}");
        // Twice the same process: its pages are shared by both.
        let twice = memory_of(&[me, me].concat(), u64::MAX);
        assert!(twice >= 2 * touched.len() as u64);
        let share = memory_of(&me, 1);
        assert!(share >= touched.len() as u64 && share <= resident + (64 << 20), "{share}");
        assert!(threads_of(me[0]) >= 1);
        assert_eq!(memory_of(&[Pid::from_raw(i32::MAX).unwrap()], 0), 0);
    }

    #[test]
    fn sizes_are_found_by_their_names() {
        let text = "Rss:                 8 kB\nPss:              1234 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(kib_after("Pss:", text), Some(1234 << 10));
        assert_eq!(kib_after("Swap:", text), None);
        assert!(memory_of_host().unwrap() > 1 << 26);
    }
}
