//! What the operating system says of a process: its processor time and memory, and which processor it may use; and how many
//! connections this one and its children may have.

use std::ops::Range;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kernel ticks of `/proc/<pid>/stat` in a second (`USER_HZ`, fixed on Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// Lets this process, and those that it starts, have `needed` descriptors: root may raise the hard limit, others have what it
/// allows.
///
/// # Errors
/// When that is less than `needed`.
pub(crate) fn raise_descriptors(needed: u64) -> anyhow::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let enough = maximum.map(|maximum| maximum.max(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: enough, maximum: enough });
    raised.with_context(|| {
        format!(
            "so many trackers need {needed} descriptors, and the hard limit is {maximum:?}: raise it (`ulimit -Hn`), or \
             name fewer with --trackers"
        )
    })
}

/// Processor seconds that a process has used.
pub(crate) fn processor_seconds(pid: i32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("an odd /proc/<pid>/stat")?;
    // proc_pid_stat(5): utime and stime are fields 14 and 15; state, the first here, is field 3.
    let fields: Vec<_> = fields.split(' ').collect();
    let ticks = fields[11].parse::<u32>()? + fields[12].parse::<u32>()?;
    Ok(f64::from(ticks) / TICKS_PER_SECOND)
}

/// Bytes of memory that a process has, and the most that it has had.
pub(crate) fn memory(pid: i32) -> anyhow::Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.context("an odd /proc/<pid>/status")?.trim().trim_end_matches(" kB");
        Ok(kib.parse::<u64>()? << 10)
    };
    Ok((kib("VmRSS:")?, kib("VmHWM:")?))
}

/// Lets all threads of a process run on one processor only.
///
/// # Errors
/// When its threads can't be listed, or the system refuses.
pub(crate) fn pin(pid: i32, processor: usize) -> anyhow::Result<()> {
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread: i32 = thread?.file_name().to_string_lossy().parse()?;
        pin_thread(thread, processor..processor + 1)?;
    }
    Ok(())
}

/// Lets the calling thread run on all processors but the first, if there are others.
///
/// # Errors
/// When the system refuses.
pub(crate) fn leave_first_processor() -> std::io::Result<()> {
    match std::thread::available_parallelism()?.get() {
        1 => Ok(()),
        n_processors => pin_thread(0, 1..n_processors),
    }
}

/// Thread 0 is the calling one.
fn pin_thread(thread: i32, processors: Range<usize>) -> std::io::Result<()> {
    // SAFETY: a set of processors is plain bits, of which none is set by zeros.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: both only look at or change the set that they are given.
    let failed = unsafe {
        processors.for_each(|processor| libc::CPU_SET(processor, &mut set));
        libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if failed == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
