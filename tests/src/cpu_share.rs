//! Slow hosts: what is started by a test, with all that it starts itself, gets a share of one processor (cgroup v1 or v2).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a share is of, microseconds.
const PERIOD: u32 = 100_000;
/// Written by whoever joins a group.
const MYSELF: &str = "0";

/// A share of a processor, free again when this is dropped: whoever has it must have ended by then.
#[derive(Debug)]
pub struct CpuShare {
    group: PathBuf,
    /// The file by which a thread (v1) or a process (v2) joins.
    entrance: &'static str,
}

impl CpuShare {
    /// So much of a processor; `None`, and said, where that is not allowed.
    #[must_use]
    pub fn new(name: &str, percent: u32) -> Option<Self> {
        match Self::make(name, percent) {
            Ok(share) => Some(share),
            Err(error) => {
                crate::skipped(&format!(
                    "this needs cgroups with the cpu controller, and root: {error}"
                ));
                None
            }
        }
    }

    fn make(name: &str, percent: u32) -> io::Result<Self> {
        let quota = PERIOD / 100 * percent;
        let name = format!("test-{}-{name}", std::process::id());
        let v1 = Path::new("/sys/fs/cgroup/cpu");
        if v1.join("cpu.cfs_quota_us").exists() {
            let share = Self { group: v1.join(name), entrance: "tasks" };
            fs::create_dir(&share.group)?;
            fs::write(share.group.join("cpu.cfs_period_us"), PERIOD.to_string())?;
            fs::write(share.group.join("cpu.cfs_quota_us"), quota.to_string())?;
            return Ok(share);
        }
        let root = Path::new("/sys/fs/cgroup");
        fs::write(root.join("cgroup.subtree_control"), "+cpu")?;
        let share = Self { group: root.join(name), entrance: "cgroup.procs" };
        fs::create_dir(&share.group)?;
        fs::write(share.group.join("cpu.max"), format!("{quota} {PERIOD}"))?;
        Ok(share)
    }

    /// Whatever `start` starts has this share.
    ///
    /// # Panics
    /// When the group can't be joined or left.
    pub fn within(&self, start: impl FnOnce()) {
        let above = self.group.parent().unwrap_or(&self.group);
        let join = |group: &Path| fs::write(group.join(self.entrance), MYSELF);
        join(&self.group).expect("the group is ours");
        start();
        join(above).expect("this process was there before");
    }
}

impl Drop for CpuShare {
    fn drop(&mut self) {
        // What trackers have made in it is empty by now.
        for below in fs::read_dir(&self.group).into_iter().flatten().flatten() {
            if below.path().is_dir() {
                let _not_empty = fs::remove_dir(below.path());
            }
        }
        if let Err(error) = fs::remove_dir(&self.group) {
            eprintln!("{} can't be removed: {error}", self.group.display());
        }
    }
}
