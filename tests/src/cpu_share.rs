//! Slow hosts: a process, and what it starts from then on, gets a share of one processor (cgroup v1 or v2).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a share is of, microseconds.
const PERIOD: u32 = 100_000;

/// The share of one process; it is free again when this is dropped.
#[derive(Debug)]
pub struct CpuShare {
    group: PathBuf,
}

impl CpuShare {
    /// Gives a process so much of a processor; `None`, and said, where that is not allowed.
    #[must_use]
    pub fn of(pid: i32, percent: u32) -> Option<Self> {
        match Self::make(pid, percent) {
            Ok(share) => Some(share),
            Err(error) => {
                eprintln!("skipped: this needs cgroups with the cpu controller, and root: {error}");
                None
            }
        }
    }

    fn make(pid: i32, percent: u32) -> io::Result<Self> {
        let quota = PERIOD / 100 * percent;
        let name = format!("howdah-test-{}-{pid}", std::process::id());
        let v1 = Path::new("/sys/fs/cgroup/cpu");
        let share = match v1.join("cpu.cfs_quota_us").exists() {
            true => {
                let group = v1.join(name);
                fs::create_dir(&group)?;
                fs::write(group.join("cpu.cfs_period_us"), PERIOD.to_string())?;
                fs::write(group.join("cpu.cfs_quota_us"), quota.to_string())?;
                Self { group }
            }
            false => {
                let root = Path::new("/sys/fs/cgroup");
                fs::write(root.join("cgroup.subtree_control"), "+cpu")?;
                let group = root.join(name);
                fs::create_dir(&group)?;
                fs::write(group.join("cpu.max"), format!("{quota} {PERIOD}"))?;
                Self { group }
            }
        };
        fs::write(share.group.join("cgroup.procs"), pid.to_string())?;
        Ok(share)
    }
}

impl Drop for CpuShare {
    fn drop(&mut self) {
        let above = self.group.parent().unwrap_or(&self.group).join("cgroup.procs");
        let left = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
        for pid in left.lines() {
            // Who has ended meanwhile is out of it.
            let _ended = fs::write(&above, pid);
        }
        if let Err(error) = fs::remove_dir(&self.group) {
            eprintln!("{} can't be removed: {error}", self.group.display());
        }
    }
}
