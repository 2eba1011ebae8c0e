//! The chunk master's term as a data folder keeps it: by it a master with an older copy of its journal is told from the
//! right one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::PoisonError;

use chunkstore_core::replica::KeptTerm;
use chunkstore_protocol::Term;
use ids::Epoch;
use serde::{Deserialize, Serialize};

use super::data_dir::{DataDir, DataDirError, io_error};
use super::disk_health::is_full;

/// Version of the file.
const FORMAT_VERSION: u32 = 1;
const TERM: &str = "term.json";
const TERM_PARTIAL: &str = "term.json.new";

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    format: u32,
    #[serde(flatten)]
    term: Term,
    #[serde(default)]
    last_record: u64,
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

impl DataDir {
    /// Keeps the chunk master's term, durably, unless a newer one is here. A full disk is no bad one: where there is no space
    /// for a new file, the old one is written over, and where there is none, this folder does without. Blocks.
    pub(super) fn keep_term(&self, term: KeptTerm) -> Result<(), DataDirError> {
        let _one_at_a_time = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        if self.term().is_some_and(|kept| kept == term || age(&kept) > age(&term)) {
            return Ok(());
        }
        let root = self.root();
        let kept = match write(root, term) {
            Err(error) if is_full(&error) => write_over(root, term),
            written => written,
        };
        match kept {
            Ok(()) => {
                self.has_kept(term);
                Ok(())
            }
            Err(error) if is_full(&error) || error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(folder = %root.display(),
                    "no space for the chunk master's term: it is not kept here until its next one, or the next start");
                Ok(())
            }
            Err(error) => Err(io_error(root)(error)),
        }
    }
}

/// By which of two terms is newer.
pub(super) fn age(kept: &KeptTerm) -> (Epoch, u64) {
    (kept.term.epoch, kept.last_record)
}

/// The term that the folder has; `None` if it has none, or none that can be understood: then the other folders of
/// this server may have it, and other servers. Blocks.
pub(super) fn read(root: &Path) -> Option<KeptTerm> {
    let path = root.join(TERM);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        text => text,
    };
    let understood = text.and_then(|text| {
        let Head { format } = serde_json::from_slice(&text)?;
        if format != FORMAT_VERSION {
            return Err(io::Error::other(format!(
                "format version {format} is not of this release"
            )));
        }
        let Kept { term, last_record, .. } = serde_json::from_slice(&text)?;
        Ok(KeptTerm { term, last_record })
    });
    understood
        .inspect_err(|error| {
            tracing::warn!(path = %path.display(), %error,
                "the chunk master's last term can't be read here: it is written anew");
        })
        .ok()
}

fn encode(KeptTerm { term, last_record }: KeptTerm) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&Kept { format: FORMAT_VERSION, term, last_record })?)
}

/// Keeps the term, durably: in a new file that takes the place of the old one. Blocks.
fn write(root: &Path, term: KeptTerm) -> io::Result<()> {
    let partial = root.join(TERM_PARTIAL);
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(&encode(term)?)?;
        file.sync_all()
    });
    if written.is_err() {
        let _none_is_left = fs::remove_file(&partial);
    }
    written?;
    fs::rename(&partial, root.join(TERM))?;
    File::open(root)?.sync_all()
}

/// Keeps the term, durably, in the old file, which takes no space. What a crash makes of it may not be understood. Blocks.
fn write_over(root: &Path, term: KeptTerm) -> io::Result<()> {
    let file = File::options().write(true).open(root.join(TERM))?;
    let text = encode(term)?;
    file.write_all_at(&text, 0)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_read_as_it_was_kept_and_what_can_t_be_understood_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert_eq!(read(root), None);
        for (id, last_record, over) in [(1, u64::MAX, false), (u64::MAX, 9, false), (7, 1, true)] {
            let term = KeptTerm { term: Term { epoch: Epoch(7), id }, last_record };
            if over { write_over(root, term) } else { write(root, term) }.unwrap();
            assert_eq!(read(root), Some(term));
        }
        // As a release wrote it that kept no record.
        let text = r#"{"format":1,"epoch":7,"id":1}"#;
        fs::write(root.join(TERM), text).unwrap();
        let term = Term { epoch: Epoch(7), id: 1 };
        assert_eq!(read(root), Some(KeptTerm { term, last_record: 0 }));
        for text in [r#"{"format":1,"epoch":7}"#, r#"{"format":2,"epoch":7,"id":1}"#, ""] {
            fs::write(root.join(TERM), text).unwrap();
            assert_eq!(read(root), None, "{text}");
        }
    }
}
