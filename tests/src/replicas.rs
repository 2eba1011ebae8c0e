//! The replicas of a cluster as they lie on its chunkservers' disks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Dev;

/// The files of the sealed chunks in a data folder, in the order of their ids.
#[must_use]
pub fn chunk_files(disk: &Path) -> Vec<PathBuf> {
    files_of(disk, "chunk")
}

/// Those of logs' open chunks.
#[must_use]
pub fn log_files(disk: &Path) -> Vec<PathBuf> {
    files_of(disk, "log")
}

fn files_of(disk: &Path, wanted: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(disk.join("chunks")).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten());
    let mut files: Vec<_> = files.flatten().map(|file| file.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == wanted));
    files.sort_by_key(|file| file.file_name().map(ToOwned::to_owned));
    files
}

/// All replicas, by the name of their files, which tells chunk and version.
#[must_use]
pub fn replicas(dev: &Dev) -> BTreeMap<String, Vec<PathBuf>> {
    let mut replicas = BTreeMap::<_, Vec<_>>::new();
    for disk in dev.config().all_hosts().flat_map(|host| host.chunkserver_dirs) {
        for file in chunk_files(&disk) {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            replicas.entry(name).or_default().push(file);
        }
    }
    replicas
}
