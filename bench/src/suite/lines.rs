//! Outputs are compared without being sorted: how many lines there are, and a sum of what each hashes to.

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Some lines, in whatever order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    /// How many.
    pub(super) n: u64,
    sum: u64,
}

impl Lines {
    /// Adds one, without its newline.
    pub(super) fn add(&mut self, line: &[u8]) {
        // Fixed keys: sums of several folders are compared, in this process alone.
        let mut hasher = ahash::RandomState::with_seeds(1, 2, 3, 4).build_hasher();
        hasher.write(line);
        self.n += 1;
        self.sum = self.sum.wrapping_add(hasher.finish());
    }

    /// All lines of these.
    pub(super) fn of<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut all = Self::default();
        lines.into_iter().for_each(|line| all.add(line));
        all
    }
}

/// Gives each line of a file, or of all parts of an output folder in the order of their names.
///
/// # Errors
/// When one can't be read, or a folder has no part.
pub(super) fn each(path: &Path, mut line: impl FnMut(&[u8])) -> anyhow::Result<()> {
    for file in parts(path)? {
        let named = || file.display().to_string();
        let mut reader = BufReader::with_capacity(1 << 20, File::open(&file).with_context(named)?);
        let mut buffer = Vec::new();
        while reader.read_until(b'\n', &mut buffer).with_context(named)? > 0 {
            line(buffer.strip_suffix(b"\n").unwrap_or(&buffer));
            buffer.clear();
        }
    }
    Ok(())
}

fn parts(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let named = || path.display().to_string();
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(path).with_context(named)? {
        let file = entry?.path();
        if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-")) {
            parts.push(file);
        }
    }
    anyhow::ensure!(!parts.is_empty(), "{} has no part", path.display());
    parts.sort_unstable();
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_lines_does_not_count_and_their_number_does() {
        let of = |text: &'static str| Lines::of(text.split(' ').map(str::as_bytes));
        assert_eq!(of("a b b"), of("b a b"));
        assert_ne!(of("a b b"), of("a a b"));
        assert_ne!(of("a b"), of("a b b"));
    }

    #[test]
    fn parts_are_read_in_the_order_of_their_names_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = [("part-r-00001", "c\nd"), ("part-r-00000", "a\nb\n"), ("_SUCCESS", "x\n")];
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file can be written");
        }
        let mut all = Vec::new();
        each(folder.path(), |line| all.push(line.to_vec())).expect("it can be read");
        assert_eq!(all, ["a", "b", "c", "d"].map(Vec::from));
        assert!(each(&folder.path().join("none"), |_| {}).is_err());
    }
}
