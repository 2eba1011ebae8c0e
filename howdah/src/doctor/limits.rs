//! What this host lets its daemons have: open files, processes, memory, cgroups, users for tasks. Of the process that asks:
//! under systemd the units say what the daemons may have.

use std::path::Path;

use config::Config;
use rustix::process::{Resource, geteuid, getrlimit};

use super::Finding;
use super::daemons::Daemon;

const LIMIT: &str = "limit";
/// A daemon with many clients has as many connections.
const OPEN_FILES: u64 = 16_384;
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// Of this host's daemons; nothing where it has none.
pub(super) fn all(config: &Config, ours: &[Daemon]) -> Vec<Finding> {
    if ours.is_empty() {
        return vec![];
    }
    let mut findings = vec![judge_open_files(getrlimit(Resource::Nofile).maximum)];
    if !ours.iter().any(|daemon| daemon.kind == "tasktracker") {
        return findings;
    }
    let tracker = &config.tasktracker;
    let slots = match tracker.slots {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
        slots => u64::from(slots),
    };
    let processes = slots * u64::from(tracker.task_processes);
    findings.push(judge_processes(getrlimit(Resource::Nproc).maximum, processes));
    if let Some(memory) = memory_of_host() {
        findings.push(judge_memory(memory, slots, tracker.task_memory.map(|size| size.0)));
    }
    findings.push(judge_cgroups(&controllers()));
    let uids = tracker.task_uids.as_ref().map(ToString::to_string);
    findings.extend(uids.and_then(|uids| judge_uids(&uids, geteuid().is_root())));
    findings
}

fn judge_open_files(hard: Option<u64>) -> Finding {
    match hard {
        Some(files) if files < OPEN_FILES => Finding::warning(
            LIMIT,
            "open files",
            format!("{files} at most: each connection is one"),
            "raise it: LimitNOFILE=1048576 in a unit (the shipped ones have it), else `ulimit -n` before the start",
        ),
        Some(files) => Finding::ok(LIMIT, "open files", format!("{files}")),
        None => Finding::ok(LIMIT, "open files", "as many as there may be"),
    }
}

fn judge_processes(hard: Option<u64>, wanted: u64) -> Finding {
    match hard {
        Some(processes) if processes < wanted => Finding::warning(
            LIMIT,
            "processes",
            format!("{processes} at most, and tasks may have {wanted} together"),
            "raise it: LimitNPROC=infinity and TasksMax=infinity in the TaskTracker's unit (the shipped one has them), or \
             lower tasktracker.task_processes",
        ),
        _ => Finding::ok(LIMIT, "processes", format!("enough for the {wanted} of all tasks")),
    }
}

fn judge_memory(host: u64, slots: u64, of_a_task: Option<u64>) -> Finding {
    let shown = |bytes| indicatif::BinaryBytes(bytes).to_string();
    let (host_shown, about) = (shown(host), "memory");
    match of_a_task {
        Some(task) if task.saturating_mul(slots) > host => Finding::warning(
            LIMIT,
            about,
            format!("{host_shown}, and {slots} tasks may have {} each", shown(task)),
            "lower tasktracker.task_memory or tasktracker.slots, or the host may run out of memory",
        ),
        Some(task) => {
            Finding::ok(LIMIT, about, format!("{host_shown}; {slots} tasks of {}", shown(task)))
        }
        None => Finding::ok(
            LIMIT,
            about,
            format!(
                "{host_shown}; a task may have half of it, unless tasktracker.task_memory says less"
            ),
        ),
    }
}

fn judge_cgroups(there: &[&str]) -> Finding {
    let missing: Vec<_> = CONTROLLERS.into_iter().filter(|it| !there.contains(it)).collect();
    if missing.is_empty() {
        return Finding::ok(
            LIMIT,
            "cgroups",
            "memory, processes and processors of tasks can be held",
        );
    }
    let said =
        format!("no controller {}: tasks are measured every 250 ms instead", missing.join(", "));
    let remedy = "let the kernel have them (cgroup_enable=memory at its start), and start the TaskTracker as root or by \
                  systemd (Delegate=yes)";
    Finding::warning(LIMIT, "cgroups", said, remedy)
}

/// The shipped unit starts it as the user `howdah`.
fn judge_uids(uids: &str, is_root: bool) -> Option<Finding> {
    let about = "users of tasks";
    Some(match is_root {
        true => Finding::ok(LIMIT, about, format!("{uids}, which root can give to tasks")),
        false => Finding::warning(
            LIMIT,
            about,
            format!("tasktracker.task_uids is {uids}, which takes a TaskTracker that is root"),
            "start it as root (User=root in a drop-in of its unit), or leave task_uids out",
        ),
    })
}

/// Of either version.
fn controllers() -> Vec<&'static str> {
    let second = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let is_there = |name: &&str| {
        second.split_whitespace().any(|it| it == *name)
            || Path::new("/sys/fs/cgroup").join(name).is_dir()
    };
    CONTROLLERS.into_iter().filter(is_there).collect()
}

fn memory_of_host() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn each_limit_that_is_too_low_has_its_remedy() {
        let table = [
            (judge_open_files(Some(1024)), Verdict::Warning, "LimitNOFILE"),
            (judge_open_files(Some(1 << 20)), Verdict::Ok, ""),
            (judge_open_files(None), Verdict::Ok, ""),
            (judge_processes(Some(100), 2048), Verdict::Warning, "task_processes"),
            (judge_processes(None, 2048), Verdict::Ok, ""),
            (judge_memory(1 << 30, 8, Some(1 << 29)), Verdict::Warning, "task_memory"),
            (judge_memory(8 << 30, 8, Some(1 << 29)), Verdict::Ok, ""),
            (judge_memory(1 << 30, 8, None), Verdict::Ok, ""),
            (judge_cgroups(&["cpu"]), Verdict::Warning, "Delegate=yes"),
            (judge_cgroups(&CONTROLLERS), Verdict::Ok, ""),
            (judge_uids("1-2", false).unwrap(), Verdict::Warning, "User=root"),
            (judge_uids("1-2", true).unwrap(), Verdict::Ok, ""),
        ];
        for (finding, verdict, remedy) in table {
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.remedy.clone().unwrap_or_default().contains(remedy), "{finding:?}");
        }
    }

    #[test]
    fn the_hosts_memory_is_read() {
        assert!(memory_of_host().unwrap() > 64 << 20);
    }
}
