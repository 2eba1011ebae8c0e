//! The chunk master's term as a data folder keeps it: by it a master with an older copy of its journal is told from the
//! right one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use chunkstore_protocol::Term;
use serde::{Deserialize, Serialize};

use super::data_dir::{DataDir, DataDirError, io_error};

/// Version of the file.
const FORMAT_VERSION: u32 = 1;
const TERM: &str = "term.json";
const TERM_PARTIAL: &str = "term.json.new";

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    format: u32,
    #[serde(flatten)]
    term: Term,
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

impl DataDir {
    /// The chunk master's last term, as this folder has it. Blocks.
    pub(super) fn term(&self) -> Option<Term> {
        read(self.root())
    }

    /// Keeps the chunk master's term, durably. Blocks.
    pub(super) fn keep_term(&self, term: Term) -> Result<(), DataDirError> {
        write(self.root(), term).map_err(io_error(self.root()))
    }
}

/// The term that the folder has; `None` if it has none, or none that can be understood: then the other folders of
/// this server may have it, and other servers. Blocks.
fn read(root: &Path) -> Option<Term> {
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
        Ok(serde_json::from_slice::<Kept>(&text)?.term)
    });
    understood
        .inspect_err(|error| {
            tracing::warn!(path = %path.display(), %error,
                "the chunk master's last term can't be read here: it is written anew");
        })
        .ok()
}

/// Keeps the term, durably. Blocks.
fn write(root: &Path, term: Term) -> io::Result<()> {
    let partial = root.join(TERM_PARTIAL);
    let mut file = File::create(&partial)?;
    file.write_all(&serde_json::to_vec(&Kept { format: FORMAT_VERSION, term })?)?;
    file.sync_all()?;
    fs::rename(&partial, root.join(TERM))?;
    File::open(root)?.sync_all()
}

#[cfg(test)]
mod tests {
    use ids::Epoch;

    use super::*;

    #[test]
    fn a_term_is_read_as_it_was_kept_and_what_can_t_be_understood_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert_eq!(read(root), None);
        for id in [1, u64::MAX] {
            let term = Term { epoch: Epoch(7), id };
            write(root, term).unwrap();
            assert_eq!(read(root), Some(term));
        }
        for text in [r#"{"format":1,"epoch":7}"#, r#"{"format":2,"epoch":7,"id":1}"#, ""] {
            fs::write(root.join(TERM), text).unwrap();
            assert_eq!(read(root), None, "{text}");
        }
    }
}
