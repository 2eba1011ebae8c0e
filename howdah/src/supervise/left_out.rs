//! Hosts that a supervised cluster is to go on without: none whose chunkserver holds chunks, which might
//! be the only replicas of what is in them.

use std::fs;
use std::path::{Path, PathBuf};

use config::Config;

/// Fewer hosts than hold chunks.
#[derive(Debug, thiserror::Error)]
#[error(
    "{file} has {present} hosts, and with {wanted} the chunks in {holder} could not be read any more: give \
     --trackers {present} or more, or start a new cluster in another --dir"
)]
pub(crate) struct LeftOut {
    file: PathBuf,
    present: usize,
    wanted: usize,
    holder: PathBuf,
}

/// Refuses to go on with the first `wanted` hosts of `config`, which stands in `file`, where another one
/// holds chunks.
pub(super) fn check(config: &Config, wanted: usize, file: &Path) -> Result<(), LeftOut> {
    let folders = config.all_hosts().skip(wanted).flat_map(|host| host.chunkserver_dirs);
    match folders.map(|folder| folder.join("chunks")).find(|folder| holds_chunks(folder)) {
        None => Ok(()),
        Some(holder) => {
            Err(LeftOut { file: file.to_owned(), present: config.hosts.len(), wanted, holder })
        }
    }
}

/// Whether a sealed chunk lies in one of the folders in `folder`.
fn holds_chunks(folder: &Path) -> bool {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let is_chunk = |path: &Path| path.extension().is_some_and(|extension| extension == "chunk");
    entries(folder).any(|inner| entries(&inner.path()).any(|entry| is_chunk(&entry.path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_without_chunks_can_be_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        for number in 1..=3 {
            let mut host = config::Host::named(format!("host-{number}"));
            host.chunkserver.data_dirs = Some(vec![folder.path().join(&host.name)]);
            config.hosts.push(host);
        }
        let chunks = folder.path().join("host-2/chunks/0a");
        fs::create_dir_all(&chunks).unwrap();
        let file = Path::new("cluster.yaml");
        check(&config, 1, file).unwrap();
        fs::write(chunks.join("0a17_1.open"), "half").unwrap();
        check(&config, 1, file).unwrap();
        fs::write(chunks.join("0a17_1.chunk"), "whole").unwrap();
        check(&config, 2, file).unwrap();
        check(&config, 3, file).unwrap();
        let refused = check(&config, 1, file).unwrap_err().to_string();
        for part in ["host-2/chunks", "--trackers 3", "--dir", "cluster.yaml"] {
            assert!(refused.contains(part), "{refused}");
        }
    }
}
