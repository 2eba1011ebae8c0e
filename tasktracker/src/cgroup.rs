//! Cgroups of attempts: each attempt's processes are in groups of their own, which they can't leave, and
//! which limit them and end with them. Both versions of cgroups are used, whatever this process' own
//! groups let it make; where they let it make none, `orphans` alone knows who belongs to an attempt.
//!
//! A group is a folder `howdah-<tracker>-<attempt>` in this process' own group, so that the limits on the
//! daemon as a whole hold for its tasks too, and a later process finds what a killed one has left.

mod mounts;

use std::fs::{DirEntry, File};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::Access;
use rustix::process::{Pid, Signal};
use tasktracker_core::Limits;
use xxhash_rust::xxh3::xxh3_64;

use crate::orphans;
use crate::vfork::Entrance;
use mounts::locate;

/// What groups are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Controller {
    /// The number of processes.
    Pids,
    /// Their memory.
    Memory,
    /// Their share of the processors: as large as another attempt's, however many they are.
    Cpu,
}

impl Controller {
    pub(crate) const ALL: [Self; 3] = [Self::Pids, Self::Memory, Self::Cpu];

    fn name(self) -> &'static str {
        match self {
            Self::Pids => "pids",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
        }
    }

    /// A file that groups have where it is at work.
    fn sign(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Pids, _) => "pids.max",
            (Self::Memory, Version::V1) => "memory.limit_in_bytes",
            (Self::Memory, Version::V2) => "memory.max",
            (Self::Cpu, Version::V1) => "cpu.shares",
            (Self::Cpu, Version::V2) => "cpu.weight",
        }
    }

    /// A file that tells what its groups were denied.
    fn denials(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Pids, _) => "pids.events",
            (Self::Memory, Version::V1) => "memory.oom_control",
            (Self::Memory, Version::V2) => "memory.events",
            // Whoever waits gets its turn.
            (Self::Cpu, _) => "cpu.stat",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Version {
    /// The file through which a process with one thread joins a group. Version 1 lets a thread move itself alone, which needs
    /// no lock; `cgroup.procs` locks out forks and exits of all processes, for which the kernel waits 10 ms and more.
    fn entrance(self) -> &'static str {
        match self {
            Self::V1 => "tasks",
            Self::V2 => "cgroup.procs",
        }
    }
}

/// A group of this process, in which those of attempts are made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Home {
    folder: PathBuf,
    version: Version,
    controllers: Vec<Controller>,
}

/// Where groups are made.
#[derive(Debug)]
pub(crate) struct Cgroups {
    homes: Vec<Home>,
    /// Of the names of this tracker's groups.
    prefix: String,
}

/// The groups of one attempt; they and all their processes end with this.
#[derive(Debug)]
pub(crate) struct Group {
    folders: Vec<Folder>,
    /// Once it is gone: what it was denied.
    ended: OnceLock<Denied>,
}

/// What the limits of a group have refused to its processes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Denied {
    /// Memory: one of them was killed for want of it.
    pub(crate) memory: bool,
    /// Another process or thread.
    pub(crate) process: bool,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    version: Version,
    controllers: Vec<Controller>,
    /// Whoever has one thread and writes `0` into it belongs to the group.
    join: File,
    /// The folder itself, where processes can be born in the group.
    birthplace: Option<File>,
}

/// How long the end of a killed group is waited for.
const ROUNDS_MAX: u32 = 2000;

/// No group can be limited to more processes (the kernel's `PID_MAX_LIMIT`): to say so is no limit.
const PIDS_MAX: u32 = 4 << 20;

/// Of all groups' names.
const PREFIX: &str = "howdah-";

/// Age above which an empty group is nobody's any more: they are joined as soon as they are made.
const ABANDONED_AFTER: Duration = Duration::from_mins(10);

/// Written by a process into a group's entrance to join.
pub(crate) const MYSELF: &[u8] = b"0";

impl Cgroups {
    /// Finds out where the tracker with this data folder can make groups, and ends those that a former
    /// process of it has left.
    pub(crate) fn open(data: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let homes = locate(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
        let prefix = format!("{PREFIX}{:016x}-", xxh3_64(data.as_os_str().as_encoded_bytes()));
        let mut homes: Vec<_> = homes.into_iter().filter_map(|home| home.usable(&prefix)).collect();
        // One that limits nothing still knows who belongs to an attempt; a second one would only cost.
        homes.sort_by_key(|home| home.controllers.is_empty());
        let n_useful = homes.iter().filter(|home| !home.controllers.is_empty()).count();
        homes.truncate(n_useful.max(1));
        let cgroups = Self { homes, prefix };
        cgroups.end_strays();
        cgroups
    }

    /// No groups at all.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { homes: Vec::new(), prefix: String::new() }
    }

    /// Groups of version 2 without controllers, which know who belongs to an attempt and no more.
    #[cfg(test)]
    pub(crate) fn of_version_2() -> Option<Self> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (mounts, membership) = (read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
        let mount =
            mounts.lines().filter_map(mounts::Mount::parse).find(|it| it.kind == "cgroup2")?;
        let folder = mount.own_folder(&membership, str::is_empty)?;
        let home = Home { folder, version: Version::V2, controllers: Vec::new() };
        let prefix = format!("{PREFIX}v2-{}-", rustix::process::getpid().as_raw_nonzero());
        Some(Self { homes: vec![home.usable(&prefix)?], prefix })
    }

    /// For people: what is limited by which groups.
    pub(crate) fn described(&self) -> String {
        let of_home = |home: &Home| {
            let names: Vec<_> = home.controllers.iter().map(|it| it.name()).collect();
            format!("{} ({})", home.folder.display(), names.join(", "))
        };
        self.homes.iter().map(of_home).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn controls(&self, controller: Controller) -> bool {
        self.homes.iter().any(|home| home.controllers.contains(&controller))
    }

    /// Makes the groups of an attempt with these limits; `None` where there are no cgroups.
    ///
    /// # Errors
    /// When the system says no.
    pub(crate) fn make(&self, name: &str, limits: &Limits) -> io::Result<Option<Group>> {
        let mut group = Group { folders: Vec::new(), ended: OnceLock::new() };
        for home in &self.homes {
            let path = home.folder.join(format!("{}{name}", self.prefix));
            make_folder(&path)?;
            let join = File::options().write(true).open(path.join(home.version.entrance()));
            let (version, controllers) = (home.version, home.controllers.clone());
            let join = join.map_err(at(&path))?;
            let birthplace = match version {
                Version::V1 => None,
                Version::V2 => Some(File::open(&path).map_err(at(&path))?),
            };
            group.folders.push(Folder { path, version, controllers, join, birthplace });
        }
        for folder in &group.folders {
            folder.limit(limits)?;
        }
        Ok(Some(group).filter(|group| !group.folders.is_empty()))
    }

    /// The memory that this process and its tasks together may have: the least limit of its groups and of those above.
    pub(crate) fn memory_max(&self) -> Option<u64> {
        self.homes.iter().filter_map(Home::memory_max).min()
    }

    fn end_strays(&self) {
        for home in &self.homes {
            let Ok(groups) = std::fs::read_dir(&home.folder) else { continue };
            for group in groups.flatten() {
                let name = group.file_name().to_string_lossy().into_owned();
                if name.starts_with(&self.prefix) {
                    if end(&group.path()) > 0 {
                        let path = group.path();
                        let path = path.display();
                        tracing::warn!("ended what a former tasktracker has left in {path}");
                    }
                } else if name.starts_with(PREFIX) && is_old(&group) {
                    // Of a tracker that never started again: gone, if nobody is in it.
                    let _ = std::fs::remove_dir(group.path());
                }
            }
        }
    }
}

impl Group {
    /// The ways into it.
    pub(crate) fn entrances(&self) -> Vec<Entrance<'_>> {
        fn of(folder: &Folder) -> Entrance<'_> {
            Entrance {
                join: folder.join.as_fd(),
                birthplace: folder.birthplace.as_ref().map(AsFd::as_fd),
            }
        }
        self.folders.iter().map(of).collect()
    }

    /// A group that nobody has, which is joined by writing to `join`.
    #[cfg(test)]
    pub(crate) fn joined_by(join: File) -> Self {
        let path = PathBuf::from("/no/such/group");
        let (version, controllers, birthplace) = (Version::V2, Vec::new(), None);
        let folder = Folder { path, version, controllers, join, birthplace };
        Self { folders: vec![folder], ended: OnceLock::new() }
    }

    /// The same group, which nobody can join by writing.
    #[cfg(test)]
    pub(crate) fn without_entrance(mut self) -> Self {
        for folder in &mut self.folders {
            folder.join = File::open("/dev/null").unwrap();
        }
        self
    }

    /// The file of that name, where a controller has one.
    #[cfg(test)]
    pub(crate) fn file(&self, name: &str) -> Option<PathBuf> {
        let paths = self.folders.iter().map(|folder| folder.path.join(name));
        paths.into_iter().find(|path| path.exists())
    }

    /// Whether it holds its processes to this limit.
    pub(crate) fn controls(&self, controller: Controller) -> bool {
        self.folders.iter().any(|folder| folder.controllers.contains(&controller))
    }

    /// Its processes.
    pub(crate) fn members(&self) -> Vec<Pid> {
        self.folders.first().map_or_else(Vec::new, |folder| members(&folder.path))
    }

    /// What it has been denied so far.
    pub(crate) fn denied(&self) -> Denied {
        self.ended.get().copied().unwrap_or_else(|| self.read_denied())
    }

    fn read_denied(&self) -> Denied {
        let count = |of: Controller, name: &str| {
            let mut folders = self.folders.iter().filter(|it| it.controllers.contains(&of));
            folders.any(|it| counter(&it.path.join(of.denials(it.version)), name) > 0)
        };
        Denied {
            memory: count(Controller::Memory, "oom_kill "),
            process: count(Controller::Pids, "max "),
        }
    }

    /// Ends all its processes and removes it.
    pub(crate) fn end(&self) {
        self.ended.get_or_init(|| {
            let denied = self.read_denied();
            for folder in &self.folders {
                end(&folder.path);
            }
            denied
        });
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

impl Folder {
    fn limit(&self, limits: &Limits) -> io::Result<()> {
        let set = |file: &str, value: u64| write(&self.path.join(file), &value.to_string());
        for controller in &self.controllers {
            match (controller, self.version) {
                (Controller::Pids, _) if limits.processes > PIDS_MAX => {
                    write(&self.path.join("pids.max"), "max")?;
                }
                (Controller::Pids, _) => set("pids.max", limits.processes.into())?,
                (Controller::Memory, Version::V1) => {
                    set("memory.limit_in_bytes", limits.memory)?;
                    // No swap beyond it, where swap is counted.
                    let _ = set("memory.memsw.limit_in_bytes", limits.memory);
                }
                (Controller::Memory, Version::V2) => {
                    set("memory.max", limits.memory)?;
                    let _ = set("memory.swap.max", 0);
                }
                // All groups begin with the same share.
                (Controller::Cpu, _) => {}
            }
        }
        Ok(())
    }
}

impl Home {
    fn memory_max(&self) -> Option<u64> {
        let sign = Controller::Memory.sign(self.version);
        let groups = self.folder.ancestors();
        let limits = groups.map_while(|group| std::fs::read_to_string(group.join(sign)).ok());
        // Version 2 says `max` where there is none.
        limits.filter_map(|limit| limit.trim().parse().ok()).min()
    }

    /// With the controllers that work in groups made here, if they can be made.
    fn usable(mut self, prefix: &str) -> Option<Self> {
        if self.version == Version::V2 {
            self.enable_controllers();
        }
        rustix::fs::access(self.folder.join("cgroup.procs"), Access::WRITE_OK).ok()?;
        let probe = self.folder.join(format!("{prefix}probe"));
        make_folder(&probe).ok()?;
        self.controllers.retain(|it| probe.join(it.sign(self.version)).exists());
        let _ = std::fs::remove_dir(&probe);
        Some(self)
    }

    /// Version 2: a group with controllers for its children has no processes of its own. If that is what
    /// is in the way, this process moves into a child.
    fn enable_controllers(&mut self) {
        const OWN: &str = "howdah-daemon";
        if self.folder.file_name().is_some_and(|name| name == OWN) {
            self.folder.pop();
        }
        let missing = |home: &Self| {
            let wanted = home.controllers.iter().filter(|it| !home.enable(**it)).count();
            wanted > 0
        };
        if !missing(self) {
            return;
        }
        let own = self.folder.join(OWN);
        let me = rustix::process::getpid().as_raw_nonzero().to_string();
        let may_move = make_folder(&own).and_then(|()| write(&own.join("cgroup.procs"), &me));
        if may_move.is_ok() && missing(self) {
            // Others are in the way: back to them. Which controllers do work, the probe shows.
            let _ = write(&self.folder.join("cgroup.procs"), &me);
            let _ = std::fs::remove_dir(&own);
        }
    }

    fn enable(&self, controller: Controller) -> bool {
        let line = format!("+{}", controller.name());
        std::fs::write(self.folder.join("cgroup.subtree_control"), line).is_ok()
    }
}

fn is_old(group: &DirEntry) -> bool {
    let made = group.metadata().and_then(|metadata| metadata.modified());
    let age = made
        .ok()
        .and_then(|made| made.duration_since(UNIX_EPOCH).ok())
        .and_then(|made| Duration::from_millis(clock::wall().0).checked_sub(made));
    age.is_some_and(|age| age > ABANDONED_AFTER)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("the cgroup {path}: {error}"))
}

fn make_folder(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(at(path)(error)),
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).open(path).map_err(at(path))?;
    file.write_all(text.as_bytes()).map_err(at(path))
}

/// The number after `name` in a file of counters.
fn counter(path: &Path, name: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

fn members(folder: &Path) -> Vec<Pid> {
    let list = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// Kills every process of a group, and tells which.
fn kill(folder: &Path) -> Vec<Pid> {
    // Version 2 does it in one go; else none is born while those that live are killed.
    for (file, text) in [("cgroup.kill", "1"), ("pids.max", "0")] {
        // Whichever there is.
        let _ = write(&folder.join(file), text);
    }
    let members = members(folder);
    for member in &members {
        // ESRCH: gone already.
        let _ = rustix::process::kill_process(*member, Signal::KILL);
    }
    members
}

/// Kills a group until nothing is left, and removes it. How many processes it had.
fn end(folder: &Path) -> usize {
    // Mostly no process is left, and the folder can be removed at once.
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {}
        _ => return 0,
    }
    let mut killed = 0;
    for _ in 0..ROUNDS_MAX {
        let members = kill(folder);
        killed = killed.max(members.len());
        // Those that were not others' children are ours now, and in the group until they are buried.
        orphans::end_all();
        match std::fs::remove_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => match members.first() {
                Some(pid) => orphans::await_end(*pid),
                None => std::thread::yield_now(),
            },
            _ => return killed,
        }
    }
    tracing::error!("the cgroup {} can't be removed: processes hang in it", folder.display());
    killed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mountinfo: &str, membership: &str) -> Vec<(String, Version)> {
        let homes = locate(mountinfo, membership).into_iter();
        homes.map(|home| (home.folder.display().to_string(), home.version)).collect()
    }

    #[test]
    fn own_groups_are_found_in_what_is_mounted() {
        let v1 = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
            36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices\n";
        let v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let hybrid = format!("{v1}{}", v2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified "));
        let container = "39 31 0:36 /docker/ab /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n";
        let of = |path: &str, version| vec![(path.to_owned(), version)];
        assert_eq!(found(v1, "8:pids:/\n"), of("/sys/fs/cgroup/pids/", Version::V1));
        assert_eq!(
            found(v1, "9:name=systemd:/\n8:cpu,pids:/a.slice\n"),
            of("/sys/fs/cgroup/pids/a.slice", Version::V1)
        );
        assert_eq!(found(v2, "0::/a.slice/b"), of("/sys/fs/cgroup/a.slice/b", Version::V2));
        let both = found(&hybrid, "8:pids:/a\n0::/b");
        let (one, other) = both.split_at(1);
        assert_eq!(one, of("/sys/fs/cgroup/pids/a", Version::V1));
        assert_eq!(other, of("/sys/fs/cgroup/unified/b", Version::V2));
        assert_eq!(
            found(container, "8:pids:/docker/ab/c"),
            of("/sys/fs/cgroup/pids/c", Version::V1)
        );
        assert_eq!(found(container, "8:pids:/elsewhere"), []);
        assert_eq!(found(v1, ""), []);
        assert_eq!(found("", "8:pids:/\n0::/"), []);
    }

    #[test]
    fn the_least_memory_of_a_group_and_those_above_it_counts() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join("slice/pod/own");
        std::fs::create_dir_all(&group).unwrap();
        let home = Home { folder: group, version: Version::V2, controllers: Vec::new() };
        assert_eq!(home.memory_max(), None);
        for (group, limit) in
            [("slice", "4096\n"), ("slice/pod", "8192\n"), ("slice/pod/own", "max\n")]
        {
            std::fs::write(folder.path().join(group).join("memory.max"), limit).unwrap();
        }
        assert_eq!(home.memory_max(), Some(4096));
    }

    #[test]
    fn what_a_killed_tracker_has_left_is_ended_by_the_next_one() {
        let data = tempfile::tempdir().unwrap();
        let cgroups = Cgroups::open(data.path());
        let limits = Limits { memory: 64 << 20, processes: 8, disk: 1 << 20, open_files: 99 };
        let Some(group) = cgroups.make("left", &limits).unwrap() else { return };
        let paths: Vec<_> = group.folders.iter().map(|folder| folder.path.clone()).collect();
        std::mem::forget(group);
        let other = tempfile::tempdir().unwrap();
        drop(Cgroups::open(other.path()));
        assert!(paths.iter().all(|path| path.exists()), "another tracker's");
        drop(Cgroups::open(data.path()));
        assert!(!paths.iter().any(|path| path.exists()));
    }
}
