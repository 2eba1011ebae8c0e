//! Where things are in a namespace. Paths only.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The own folders of a TaskTracker, as tasks see them: an attempt's folder and the programs are where they are
/// outside, and all else is not there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// The data folder, with the programs; without links, as all here.
    home: PathBuf,
    /// The folders on the disks, each with attempts; the data folder may be one.
    disks: Vec<PathBuf>,
    /// The folders on disks that are worked on no more, which show nothing.
    left: Vec<PathBuf>,
}

impl Layout {
    pub(crate) fn new(home: PathBuf, disks: Vec<PathBuf>) -> Self {
        Self { home, disks, left: Vec::new() }
    }

    /// The same with other disks.
    pub(super) fn on(&self, disks: Vec<PathBuf>) -> Self {
        let known = self.disks.iter().chain(&self.left);
        let is_left = |disk: &&PathBuf| **disk != self.home && !disks.contains(disk);
        let left = known.filter(is_left).cloned().collect();
        Self { home: self.home.clone(), disks, left }
    }

    /// The folders of which a task sees nothing.
    pub(super) fn left(&self) -> &[PathBuf] {
        &self.left
    }

    /// The folders that show nothing else.
    pub(super) fn roots(&self) -> impl Iterator<Item = &Path> {
        let others = self.disks.iter().filter(|disk| **disk != self.home);
        std::iter::once(&self.home).chain(others).map(PathBuf::as_path)
    }

    pub(super) fn programs(&self) -> PathBuf {
        self.home.join("programs")
    }

    /// The folder of attempts on each disk.
    pub(super) fn attempts(&self) -> impl Iterator<Item = PathBuf> {
        self.disks.iter().map(|disk| disk.join("attempts"))
    }

    /// Where the attempts of all disks are, until a child has taken its own.
    pub(super) fn disks(&self) -> PathBuf {
        self.home.join("disks")
    }

    /// Those of one.
    pub(super) fn disk(&self, nth: usize) -> PathBuf {
        self.disks().join(nth.to_string())
    }

    /// An attempt's folder in [`Self::disks`].
    ///
    /// # Errors
    /// When it is on none of the disks.
    pub(super) fn among_all(&self, folder: &Path) -> io::Result<PathBuf> {
        let nth = self.attempts().position(|attempts| folder.parent() == Some(&attempts));
        match nth.zip(folder.file_name()) {
            Some((nth, name)) => Ok(self.disk(nth).join(name)),
            None => Err(io::Error::other(format!("{} is on none of the disks", folder.display()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_found_on_its_disk_and_nowhere_else() {
        let layout = Layout::new("/data".into(), vec!["/data".into(), "/mnt/2".into()]);
        let of = |folder| layout.among_all(Path::new(folder));
        assert_eq!(of("/mnt/2/attempts/a").unwrap(), Path::new("/data/disks/1/a"));
        assert_eq!(of("/data/attempts/a").unwrap(), Path::new("/data/disks/0/a"));
        assert!(of("/data/outputs/a").is_err());
        assert_eq!(layout.roots().collect::<Vec<_>>(), [Path::new("/data"), Path::new("/mnt/2")]);
    }

    #[test]
    fn disks_that_are_left_stay_covered() {
        let disks = |numbers: &[u8]| -> Vec<PathBuf> {
            numbers.iter().map(|number| format!("/mnt/{number}").into()).collect()
        };
        let layout = Layout::new("/mnt/1".into(), disks(&[1, 2, 3, 4]));
        let layout = layout.on(disks(&[1, 3, 4])).on(disks(&[3]));
        assert_eq!(layout.left(), disks(&[4, 2]), "the data folder shows programs still");
        assert_eq!(layout.roots().collect::<Vec<_>>(), [Path::new("/mnt/1"), Path::new("/mnt/3")]);
        assert!(layout.among_all(Path::new("/mnt/2/attempts/a")).is_err());
    }
}
