//! Where the binary is that all tests drive.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The project's root.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies below the root")
}

/// The folder that cargo builds into: the one this test was built in.
#[must_use]
pub fn target() -> PathBuf {
    let own = std::env::current_exe().expect("a test has a path");
    let is_target = |folder: &&Path| folder.join("CACHEDIR.TAG").exists();
    own.ancestors().find(is_target).map_or_else(|| root().join("target"), Path::to_owned)
}

/// The binary: `HOWDAH_BIN`, else the newest of cargo's.
///
/// # Panics
/// When there is none, with the command that builds it.
#[must_use]
pub fn howdah_binary() -> PathBuf {
    if let Some(named) = config::env::process().howdah_bin() {
        return named;
    }
    let built = ["release", "debug"].map(|profile| target().join(profile).join("howdah"));
    let newest = built.into_iter().max_by_key(|path| modified(path)).filter(|path| path.exists());
    newest.expect(
        "no howdah binary: run `cargo build --release -p howdah`, or name one by HOWDAH_BIN",
    )
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
