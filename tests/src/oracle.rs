//! What results are compared with: a count by other means, and the sequential oracle of the binary.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Counts the words of `text` the plain way: runs of bytes other than 9–13 and 32.
pub fn count_words(text: &[u8], counts: &mut BTreeMap<Vec<u8>, u64>) {
    let is_space = |byte: &u8| matches!(byte, 9..=13 | 32);
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_vec()).or_default() += 1;
    }
}

/// Counts the words of a file, or of all files of a folder.
///
/// # Panics
/// When they can't be read.
#[must_use]
pub fn count_words_of(path: &Path) -> BTreeMap<Vec<u8>, u64> {
    let mut counts = BTreeMap::new();
    for file in files_of(path) {
        count_words(&fs::read(file).expect("an input file can be read"), &mut counts);
    }
    counts
}

/// The counts as lines `word<TAB>count`, sorted by bytes.
#[must_use]
pub fn lines_of_counts(counts: &BTreeMap<Vec<u8>, u64>) -> Vec<Vec<u8>> {
    let line = |(word, count): (&Vec<u8>, &u64)| [word, format!("\t{count}").as_bytes()].concat();
    let mut lines: Vec<Vec<u8>> = counts.iter().map(line).collect();
    lines.sort_unstable();
    lines
}

/// The lines of all parts of an output folder, sorted by bytes: outputs are compared as multisets.
///
/// # Panics
/// When it can't be read.
#[must_use]
pub fn lines_of_parts(folder: &Path) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    for part in files_of(folder) {
        if part.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-")) {
            lines.extend(lines_of(&fs::read(part).expect("a part can be read")));
        }
    }
    lines.sort_unstable();
    lines
}

/// The lines of `bytes`, without their newlines.
#[must_use]
pub fn lines_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes
        .split_inclusive(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\n").unwrap_or(line).to_vec())
        .collect()
}

fn files_of(path: &Path) -> Vec<std::path::PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).expect("the folder can be read");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}
