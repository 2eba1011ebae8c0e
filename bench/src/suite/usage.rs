//! What some work costs: time, processor time and memory of all processes that do it, and what the machine read, wrote and
//! sent meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use clock::Stopwatch;

/// Kernel ticks of `/proc/<pid>/stat` in a second (`USER_HZ`, fixed on Linux).
const TICKS_PER_SECOND: f64 = 100.0;
/// Between two looks at memory.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);
/// Bytes of a page as `/proc/<pid>/statm` counts them.
const PAGE_BYTES: u64 = 4096;

/// What one piece of work took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// From its start to its end.
    pub(crate) wall: Duration,
    /// Processor time, user's and system's, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Largest sum of resident memory of the daemons and all that came from them, bytes; pages that processes share count
    /// once for each.
    pub(crate) peak_bytes: u64,
    /// Bytes that block devices of the whole machine were asked for.
    pub(crate) disk_read: u64,
    /// Bytes that they were given.
    pub(crate) disk_written: u64,
    /// Bytes sent over the loopback device.
    pub(crate) sent: u64,
}

/// Runs `work`, and says what it and the trees of the processes `roots` used.
///
/// # Errors
/// When the work fails, or `/proc` can't be read.
pub(crate) fn of(
    roots: &[i32],
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Usage> {
    let before = Look::take(roots)?;
    let memory = Memory::watch(roots.to_vec());
    let watch = Stopwatch::start();
    let done = work();
    let wall = watch.elapsed();
    let peak_bytes = memory.peak();
    done?;
    let after = Look::take(roots)?;
    Ok(Usage {
        wall,
        cpu_seconds: after.cpu_seconds - before.cpu_seconds,
        peak_bytes,
        disk_read: after.disk_read - before.disk_read,
        disk_written: after.disk_written - before.disk_written,
        sent: after.sent - before.sent,
    })
}

/// Counters at one moment.
struct Look {
    cpu_seconds: f64,
    disk_read: u64,
    disk_written: u64,
    sent: u64,
}

impl Look {
    fn take(roots: &[i32]) -> anyhow::Result<Self> {
        let tree = tree(roots);
        let ticks: u64 = tree.iter().filter_map(|pid| ticks(*pid)).sum();
        #[expect(clippy::cast_precision_loss, reason = "ticks of hours at most")]
        let of_daemons = ticks as f64 / TICKS_PER_SECOND;
        let paged = fs::read_to_string("/proc/vmstat")?;
        Ok(Self {
            cpu_seconds: of_daemons + of_ended_children(),
            disk_read: field(&paged, "pgpgin ")? << 10,
            disk_written: field(&paged, "pgpgout ")? << 10,
            sent: sent()?,
        })
    }
}

/// Seconds of the children of this process that have ended, and of theirs: clients, and peers that are no daemons.
fn of_ended_children() -> f64 {
    // SAFETY: `usage` is a whole `rusage`, which the call fills in; all zeroes is a valid one.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    #[expect(clippy::cast_precision_loss, reason = "seconds and microseconds of a benchmark")]
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// The number behind `key` in a file of such lines.
fn field(text: &str, key: &str) -> anyhow::Result<u64> {
    let found = text.lines().find_map(|line| line.strip_prefix(key));
    Ok(found.with_context(|| format!("no '{key}' in /proc/vmstat"))?.trim().parse()?)
}

/// Bytes sent over `lo` so far.
fn sent() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/net/dev")?;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("lo:"));
    // Eight numbers of what was received come first.
    let bytes = line.and_then(|line| line.split_whitespace().nth(8));
    Ok(bytes.context("no loopback device in /proc/net/dev")?.parse()?)
}

/// The fields of `/proc/<pid>/stat` from the state on, which is proc_pid_stat(5)'s third.
fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(ToOwned::to_owned).collect())
}

/// Processor time of a process and of its children that have ended: fields 14 to 17.
fn ticks(pid: i32) -> Option<u64> {
    stat(pid)?.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum()
}

/// These processes and all that came from them.
fn tree(roots: &[i32]) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids {
        let parent = stat(pid).and_then(|fields| fields.get(1)?.parse().ok());
        children.entry(parent.unwrap_or_default()).or_default().push(pid);
    }
    let mut found = roots.to_vec();
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Looks at the memory of some processes' trees again and again.
struct Memory {
    is_over: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    watcher: JoinHandle<()>,
}

impl Memory {
    #[expect(clippy::disallowed_methods, reason = "whoever ends the watch unparks the thread")]
    fn watch(roots: Vec<i32>) -> Self {
        let (is_over, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (until, found) = (Arc::clone(&is_over), Arc::clone(&peak));
        let watcher = thread::spawn(move || {
            // At least once, however short the work is.
            loop {
                found.fetch_max(tree(&roots).into_iter().map(resident).sum(), Ordering::Relaxed);
                if until.load(Ordering::Relaxed) {
                    break;
                }
                thread::park_timeout(SAMPLE_EVERY);
            }
        });
        Self { is_over, peak, watcher }
    }

    fn peak(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.watcher.thread().unpark();
        // It never panics: what has ended has no memory.
        let _ended = self.watcher.join();
        self.peak.load(Ordering::Relaxed)
    }
}

fn resident(pid: i32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_work_of_a_child_and_of_its_children_is_counted() {
        let burn = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let usage = of(&[], || {
            let status = Command::new("sh").args(["-c", &format!("sh -c '{burn}'; true")]).status();
            anyhow::ensure!(status?.success(), "sh failed");
            Ok(())
        });
        let usage = usage.expect("/proc can be read");
        assert!(usage.cpu_seconds > 0.01, "{usage:?}");
        assert!(usage.wall.as_secs_f64() > 0.01, "{usage:?}");
        assert_eq!(usage.peak_bytes, 0, "nobody was watched");
    }

    #[test]
    fn a_process_is_in_its_own_tree_and_has_memory() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        assert!(tree(&[own]).contains(&own));
        assert!(resident(own) > 1 << 20);
        let usage = of(&[own], || Ok(())).expect("/proc can be read");
        assert!(usage.peak_bytes > 1 << 20, "{usage:?}");
    }
}
