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
    /// Folders where anybody on the host may leave something, of which each attempt has its own.
    private: Vec<Private>,
}

/// Such a folder, and what in an attempt's folder takes its place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Private {
    pub(crate) place: PathBuf,
    pub(crate) name: String,
}

/// Where anybody may leave something.
const COMMON: [(&str, &str); 3] =
    [("/tmp", ".tmp"), ("/var/tmp", ".var-tmp"), ("/dev/shm", ".shm")];

impl Layout {
    pub(crate) fn new(home: PathBuf, disks: Vec<PathBuf>) -> Self {
        Self { home, disks, left: Vec::new(), private: Vec::new() }
    }

    /// The same with common folders of each attempt's own, but those in which something lies that tasks `need`; which
    /// those are, and what lies there.
    pub(super) fn with_private(self, need: &[PathBuf]) -> (Self, Vec<(PathBuf, PathBuf)>) {
        self.with_private_of(&COMMON, need)
    }

    fn with_private_of(
        mut self,
        common: &[(&str, &str)],
        need: &[PathBuf],
    ) -> (Self, Vec<(PathBuf, PathBuf)>) {
        let known = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        let need: Vec<PathBuf> =
            self.roots().map(Path::to_owned).chain(need.iter().map(known)).collect();
        let mut shared = Vec::new();
        for (place, name) in common {
            // One may be a link to another, or not be there.
            let Ok(place) = Path::new(place).canonicalize() else { continue };
            if self.private.iter().any(|it| it.place == place) || !place.is_dir() {
                continue;
            }
            match need.iter().find(|path| path.starts_with(&place)) {
                Some(path) => shared.push((place, path.clone())),
                None => self.private.push(Private { place, name: (*name).to_owned() }),
            }
        }
        (self, shared)
    }

    /// The common folders of which each attempt has its own.
    pub(super) fn private(&self) -> &[Private] {
        &self.private
    }

    /// The same with other disks.
    pub(super) fn on(&self, disks: Vec<PathBuf>) -> Self {
        let known = self.disks.iter().chain(&self.left);
        let is_left = |disk: &&PathBuf| **disk != self.home && !disks.contains(disk);
        let left = known.filter(is_left).cloned().collect();
        Self { home: self.home.clone(), disks, left, private: self.private.clone() }
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
    fn common_folders_are_each_attempts_own_but_those_that_it_needs_as_they_are() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap();
        let path = |name: &str| place.join(name).display().to_string();
        for name in ["tmp", "var", "shm", "bin"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        std::os::unix::fs::symlink(path("tmp"), path("link")).unwrap();
        std::fs::write(path("file"), "").unwrap();
        let names = ["tmp", "link", "var", "shm", "file", "none"].map(path);
        let common: Vec<_> = names.iter().map(|name| (name.as_str(), ".own")).collect();
        let layout = || Layout::new(place.join("var/data"), vec![place.join("disk")]);
        let need = [place.join("bin/howdah")];
        let (own, shared) = layout().with_private_of(&common, &need);
        let found: Vec<_> = own.private().iter().map(|it| it.place.clone()).collect();
        assert_eq!(found, [place.join("tmp"), place.join("shm")]);
        assert_eq!(shared, [(place.join("var"), place.join("var/data"))]);
        std::fs::write(path("tmp/howdah"), "").unwrap();
        let (own, shared) = layout().with_private_of(&common, &[place.join("link/howdah")]);
        assert_eq!((own.private().len(), shared.len()), (1, 3), "by whatever name: {shared:?}");
        assert_eq!(own.on(Vec::new()).private().len(), 1, "whatever disks there are");
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
