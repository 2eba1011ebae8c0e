//! Whether the folders of this host's daemons take files, how long a sync takes, and what is free.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clock::Stopwatch;
use config::Config;
use rustix::fs::{Access, access, statfs, statvfs};

use super::Finding;
use super::daemons::Daemon;

const DISK: &str = "disk";
/// Written and synced.
const PROBE_BYTES: usize = 64 << 10;
/// A journal's disk answers sooner: each change waits for a sync.
const SYNC_USUAL: Duration = Duration::from_millis(200);
/// What a master's journal should find free.
const JOURNAL_FREE: u64 = 1 << 30;
/// What `statfs` calls a file system in memory.
const IN_MEMORY: i64 = 0x0102_1994;

/// A folder that a daemon of this host keeps its data in.
#[derive(Clone, Debug)]
struct Folder {
    daemon: Daemon,
    path: PathBuf,
    /// Bytes that must be free, or the daemon takes nothing more.
    needed: u64,
    /// Which key says how much.
    needed_key: &'static str,
}

/// What was seen of one.
#[derive(Debug)]
struct Seen {
    /// It stands already.
    exists: bool,
    /// How long a sync took, or why nothing can be written.
    synced: io::Result<Duration>,
    free: u64,
    in_memory: bool,
    /// The file system's number.
    device: u64,
}

/// Of all folders of these daemons.
pub(super) fn all(config: &Config, ours: &[Daemon]) -> Vec<Finding> {
    let folders: Vec<Folder> = ours.iter().flat_map(|daemon| folders_of(config, daemon)).collect();
    let mut findings = vec![];
    let mut chunk_disks: BTreeMap<(String, u64), PathBuf> = BTreeMap::new();
    for folder in &folders {
        let seen = look(&folder.path);
        if let (Ok(seen), "chunkserver") = (&seen, folder.daemon.kind) {
            let key = (folder.daemon.to_string(), seen.device);
            if let Some(other) = chunk_disks.insert(key, folder.path.clone()) {
                findings.push(one_disk_twice(folder, &other));
            }
        }
        findings.push(judge(folder, seen));
    }
    findings
}

fn folders_of(config: &Config, daemon: &Daemon) -> Vec<Folder> {
    let folder = |path: &PathBuf, needed, needed_key| Folder {
        daemon: daemon.clone(),
        path: path.clone(),
        needed,
        needed_key,
    };
    let journal = |path| folder(path, JOURNAL_FREE, "a journal");
    let host = daemon.host.as_deref().and_then(|host| config.host(host).ok());
    match (daemon.kind, host) {
        ("chunkmaster", _) => {
            let master = &config.chunkmaster;
            [&master.data_dir].into_iter().chain(&master.journal_mirror).map(journal).collect()
        }
        ("jobtracker", _) => {
            let master = &config.jobtracker;
            [&master.data_dir].into_iter().chain(&master.journal_mirror).map(journal).collect()
        }
        ("chunkserver", Some(host)) => {
            let reserve = config.chunkserver.reserve.0;
            let chunks = |path| folder(path, reserve, "chunkserver.reserve");
            host.chunkserver_dirs.iter().map(chunks).collect()
        }
        (_, Some(host)) => {
            let needed = config.tasktracker.disk_free_min.0;
            let tasks = |path| folder(path, needed, "tasktracker.disk_free_min");
            let mut paths = host.tasktracker_local_dirs;
            if !paths.contains(&host.tasktracker_dir) {
                paths.push(host.tasktracker_dir);
            }
            paths.iter().map(tasks).collect()
        }
        (_, None) => vec![],
    }
}

/// Looks at a folder, or at the nearest one above it that stands.
fn look(path: &Path) -> io::Result<Seen> {
    let mut standing = path;
    let metadata = loop {
        match fs::metadata(standing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match standing.parent() {
                Some(above) => standing = above,
                None => return Err(error),
            },
            found => break found?,
        }
    };
    if !metadata.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let exists = standing == path;
    let synced = match exists {
        true => sync_in(standing),
        false => access(standing, Access::WRITE_OK | Access::EXEC_OK)
            .map(|()| Duration::ZERO)
            .map_err(io::Error::from),
    };
    let space = statvfs(standing)?;
    let in_memory = statfs(standing)?.f_type == IN_MEMORY;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    Ok(Seen { exists, synced, free, in_memory, device: metadata.dev() })
}

/// Writes and syncs a file that has no name.
fn sync_in(folder: &Path) -> io::Result<Duration> {
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&[0x5a; PROBE_BYTES])?;
    let stopwatch = Stopwatch::start();
    file.sync_all()?;
    Ok(stopwatch.elapsed())
}

fn judge(folder: &Folder, seen: io::Result<Seen>) -> Finding {
    let about = format!("{} ({})", folder.path.display(), folder.daemon);
    let path = folder.path.display();
    let unwritable = |error: &io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => format!(
                "give the daemons' user the folder (`chown -R howdah: {path}`), or ask as that user (`runuser -u howdah \
                 -- howdah doctor`)"
            ),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "make room there, or name a folder on another disk".to_owned()
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                "see in the system's log why it is mounted read-only: its disk may be failing"
                    .to_owned()
            }
            io::ErrorKind::NotADirectory => "name a folder: something else stands there".to_owned(),
            _ => "see in the system's log what is wrong with that disk".to_owned(),
        };
        Finding::failed(DISK, &about, format!("can't be written: {error}"), remedy)
    };
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => return unwritable(&error),
    };
    let took = match &seen.synced {
        Ok(took) => *took,
        Err(error) => return unwritable(error),
    };
    let free = indicatif::BinaryBytes(seen.free);
    if seen.free < folder.needed {
        let needed = indicatif::BinaryBytes(folder.needed);
        let said = format!("{free} are free, and {} wants {needed}", folder.needed_key);
        return Finding::failed(
            DISK,
            about,
            said,
            "make room there, or name a folder on another disk",
        );
    }
    if seen.in_memory {
        let said = format!("lies in memory, {free}: it is gone when the host restarts");
        return Finding::warning(DISK, about, said, "name a folder on a disk");
    }
    if took > SYNC_USUAL {
        let said = format!("a sync took {} ms; {free} are free", took.as_millis());
        let remedy =
            "see what else is busy on that disk; journals want a disk of their own, with flash";
        return Finding::warning(DISK, about, said, remedy);
    }
    let said = match seen.exists {
        true => format!("a sync took {} ms; {free} are free", took.as_millis()),
        false => format!("is not there yet, and can be made; {free} are free"),
    };
    Finding::ok(DISK, about, said)
}

fn one_disk_twice(folder: &Folder, other: &Path) -> Finding {
    let said = format!("lies on the same disk as {}", other.display());
    let remedy = "name one folder for each disk: two on one gain nothing, and fail together (or is a disk not mounted?)";
    Finding::warning(DISK, format!("{} ({})", folder.path.display(), folder.daemon), said, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn folder(path: &Path) -> Folder {
        let daemon = Daemon {
            kind: "chunkserver",
            host: Some("host-1".to_owned()),
            address: "h:1".to_owned(),
            listen: "h:1".to_owned(),
        };
        Folder { daemon, path: path.to_owned(), needed: 1000, needed_key: "chunkserver.reserve" }
    }

    fn seen() -> Seen {
        let synced = Ok(Duration::from_millis(3));
        Seen { exists: true, synced, free: 5000, in_memory: false, device: 1 }
    }

    #[test]
    fn each_thing_that_is_wrong_with_a_folder_has_its_remedy() {
        let slow = Ok(Duration::from_secs(1));
        let unwritable = |kind: io::ErrorKind| Ok(Seen { synced: Err(kind.into()), ..seen() });
        let table = [
            (Ok(seen()), Verdict::Ok, ""),
            (Ok(Seen { exists: false, ..seen() }), Verdict::Ok, ""),
            (Ok(Seen { free: 999, ..seen() }), Verdict::Failed, "make room"),
            (Ok(Seen { in_memory: true, ..seen() }), Verdict::Warning, "on a disk"),
            (Ok(Seen { synced: slow, ..seen() }), Verdict::Warning, "busy"),
            (unwritable(io::ErrorKind::PermissionDenied), Verdict::Failed, "chown -R howdah: /d"),
            (unwritable(io::ErrorKind::StorageFull), Verdict::Failed, "make room"),
            (unwritable(io::ErrorKind::ReadOnlyFilesystem), Verdict::Failed, "system's log"),
            (Err(io::ErrorKind::NotADirectory.into()), Verdict::Failed, "name a folder"),
            (Err(io::ErrorKind::Other.into()), Verdict::Failed, "system's log"),
        ];
        for (seen, verdict, remedy) in table {
            let case = format!("{seen:?}");
            let finding = judge(&folder(Path::new("/d")), seen);
            assert_eq!(finding.verdict, verdict, "{case}");
            assert!(finding.remedy.unwrap_or_default().contains(remedy), "{case}");
        }
    }

    #[test]
    fn a_look_leaves_nothing_behind_and_sees_what_is_not_there_yet() {
        let scratch = tempfile::tempdir().unwrap();
        let there = look(scratch.path()).unwrap();
        assert!(there.exists && there.synced.is_ok() && there.free > 0);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        let missing = scratch.path().join("a/b");
        let not_yet = look(&missing).unwrap();
        assert!(!not_yet.exists && not_yet.synced.is_ok() && !missing.exists());
        fs::write(scratch.path().join("file"), "").unwrap();
        let error = look(&scratch.path().join("file")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn two_folders_of_chunks_on_one_disk_are_said() {
        let scratch = tempfile::tempdir().unwrap();
        let dirs = ["a", "b"].map(|name| scratch.path().join(name).display().to_string());
        let text = format!(
            "chunkserver: {{data_dirs: [{}], reserve: 0B}}\nhosts: [{{name: host-1}}]\n",
            dirs.join(", ")
        );
        let config = config::parse(&text, "c.yaml", &[]).unwrap();
        let daemon = folder(scratch.path()).daemon;
        let findings = all(&config, &[daemon]);
        let warned = findings.iter().filter(|it| it.said.contains("same disk"));
        assert_eq!((warned.count(), findings.len()), (1, 3), "{findings:#?}");
    }
}
