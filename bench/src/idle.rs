//! What idle daemons cost: processor time and, of the masters, resident memory.

use std::time::Duration;

use anyhow::Context as _;
use tests::cluster::{Dev, DevOptions};

use crate::report::Report;

const SPAN: Duration = Duration::from_secs(20);
const SHARE_MAX: f64 = 0.01;
const MASTER_BYTES_MAX: u64 = 50 << 20;
/// Kernel ticks of `/proc/<pid>/stat` in a second (`USER_HZ`, fixed on Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds a row for processor time and one for the masters' memory.
pub(crate) fn measure(report: &mut Report) -> anyhow::Result<()> {
    let cluster = Dev::start(&DevOptions::trackers(3));
    let daemons: Vec<String> = ["chunkmaster", "jobtracker"]
        .into_iter()
        .map(ToOwned::to_owned)
        .chain((1..=3).flat_map(|n| [format!("chunkserver-{n}"), format!("tasktracker-{n}")]))
        .collect();
    let ticks = || -> anyhow::Result<Vec<u64>> {
        daemons.iter().map(|daemon| processor_ticks(cluster.pid(daemon))).collect()
    };
    let before = ticks()?;
    span();
    let after = ticks()?;
    let busiest = daemons
        .iter()
        .zip(before.iter().zip(&after))
        .map(|(daemon, (before, after))| (after - before, daemon))
        .max()
        .context("no daemons")?;
    #[expect(clippy::cast_precision_loss, reason = "ticks of seconds")]
    let share = busiest.0 as f64 / TICKS_PER_SECOND / SPAN.as_secs_f64();
    report.row(
        "processor time of an idle daemon",
        format!(
            "{:.2} % of a core ({}, the busiest of {})",
            share * 100.0,
            busiest.1,
            daemons.len()
        ),
        "< 1 % of a core",
        share < SHARE_MAX,
    );
    for master in ["chunkmaster", "jobtracker"] {
        let bytes = resident_bytes(cluster.pid(master))?;
        let measured = format!("{} MiB", bytes >> 20);
        report.row(
            format!("memory of an idle {master}"),
            measured,
            "< 50 MiB",
            bytes < MASTER_BYTES_MAX,
        );
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the span itself is what is measured")]
fn span() {
    std::thread::sleep(SPAN);
}

fn processor_ticks(pid: i32) -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("an odd /proc/<pid>/stat")?;
    // proc_pid_stat(5): utime and stime are fields 14 and 15; state, the first here, is field 3.
    let fields: Vec<_> = fields.split(' ').collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}

/// What a process has in memory.
pub(crate) fn resident_bytes(pid: i32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line.context("no VmRSS")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}
