//! Input for end-to-end tests: real books where they lie beside the project, else generated text.

use std::fs;
use std::path::{Path, PathBuf};

use crate::binary::root;
use crate::command::run;

/// The six most frequent words of the books with their counts.
pub const TOP_OF_THE_BOOKS: [(&str, u64); 6] =
    [("the", 29610), ("and", 23052), ("to", 15696), ("of", 13463), ("a", 12997), ("I", 11896)];
/// Different words of the books.
pub const WORDS_OF_THE_BOOKS: usize = 48_587;

/// The folder of the books, where there is one.
#[must_use]
pub fn gutenberg() -> Option<PathBuf> {
    root().join("../shared/data/gutenberg").canonicalize().ok()
}

/// A folder of text files: the books, or as much generated text in `scratch`.
///
/// # Panics
/// When text can't be generated.
#[must_use]
pub fn folder(scratch: &Path) -> PathBuf {
    gutenberg().unwrap_or_else(|| {
        let folder = scratch.join("texts");
        fs::create_dir_all(&folder).expect("a scratch folder can be written");
        for seed in 1..=7 {
            generate(&folder.join(format!("text-{seed}.txt")), "400KiB", seed);
        }
        folder
    })
}

/// Writes `size` of generated text to `path`.
///
/// # Panics
/// When `howdah gen` fails.
pub fn generate(path: &Path, size: &str, seed: u64) {
    let seed = seed.to_string();
    let mut args =
        ["gen", "text", "--size", size, "--seed", &seed].map(std::ffi::OsStr::new).to_vec();
    args.push(path.as_os_str());
    let _ = run(args).success();
}
