//! Where things are in the folder of a `dev` cluster. Paths only; nothing is opened here.

use std::path::{Path, PathBuf};

/// The folder of one supervised cluster, absolute.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The layout of `dir`, which must be absolute: the daemons' paths are made from it.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The folder itself.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The configuration of all its daemons and clients.
    pub(crate) fn cluster_yaml(&self) -> PathBuf {
        self.dir.join("cluster.yaml")
    }

    /// The cluster's secret.
    pub(crate) fn secret(&self) -> PathBuf {
        self.dir.join("secret")
    }

    /// Held locked by the supervisor.
    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// There once all daemons of the cluster have been ready together: its masters have journals.
    pub(crate) fn complete(&self) -> PathBuf {
        self.dir.join("complete")
    }

    /// Where each daemon writes its process id.
    pub(crate) fn pids(&self) -> PathBuf {
        self.dir.join("pids")
    }

    /// Folder of the daemons' logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// What a daemon of this name says.
    pub(crate) fn log_of(&self, daemon: &str) -> PathBuf {
        self.logs().join(format!("{daemon}.log"))
    }

    /// The data folder of a daemon of this name.
    pub(crate) fn data_of(&self, daemon: &str) -> PathBuf {
        self.dir.join("data").join(daemon)
    }
}
