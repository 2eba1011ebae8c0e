//! What to do about a refusal, as something that programs can act on: the chunk master says it in words of REST, and the command
//! line in its own. The `remedies` of a problem document.

use std::fmt;

use crate::block::BLOCK_BYTES;
use crate::{CHUNK_BYTES_MAX, StorePath};

/// One thing to do. The names never change their meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A folder is missing: make it, or have it made.
    MakeFolder {
        /// The folder that is to hold the entry; those above it may be missing too.
        folder: StorePath,
    },
    /// A folder has entries: empty it, or say that they go with it.
    Recursive,
    /// The trash can't hold it: remove it for good, or move it to a shorter path.
    SkipTrash,
    /// Too few chunkservers live.
    StartServers,
    /// Too few chunkservers have room.
    FreeSpace,
    /// Fewer bytes in a row are needed if chunks are smaller.
    SmallerChunks,
    /// One server is enough for one replica.
    OneReplica,
    /// Servers may register yet.
    Wait,
    /// A chunk length that is allowed.
    ChunkBytes,
    /// A file is no log: append bytes, or name a log.
    AppendBytes,
    /// The lease is gone: the file is to be written again.
    WriteAgain,
}

impl Remedy {
    /// The name in a problem document.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::MakeFolder { .. } => "make-folder",
            Self::Recursive => "recursive",
            Self::SkipTrash => "skip-trash",
            Self::StartServers => "start-servers",
            Self::FreeSpace => "free-space",
            Self::SmallerChunks => "smaller-chunks",
            Self::OneReplica => "one-replica",
            Self::Wait => "wait",
            Self::ChunkBytes => "chunk-bytes",
            Self::AppendBytes => "append-bytes",
            Self::WriteAgain => "write-again",
        }
    }

    /// The path that it is about.
    #[must_use]
    pub fn path(&self) -> Option<&StorePath> {
        match self {
            Self::MakeFolder { folder } => Some(folder),
            _ => None,
        }
    }

    /// What a problem document names; `None` of a later release, or without the path that belongs to it.
    #[must_use]
    pub fn of(name: &str, path: Option<&str>) -> Option<Self> {
        let all = [
            Self::Recursive,
            Self::SkipTrash,
            Self::StartServers,
            Self::FreeSpace,
            Self::SmallerChunks,
            Self::OneReplica,
            Self::Wait,
            Self::ChunkBytes,
            Self::AppendBytes,
            Self::WriteAgain,
        ];
        if name == "make-folder" {
            return Some(Self::MakeFolder { folder: path?.parse().ok()? });
        }
        all.into_iter().find(|remedy| remedy.as_str() == name)
    }
}

/// In words of REST.
impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MakeFolder { .. } => "make it first, or ask for `parents`",
            Self::Recursive => "empty it first, or ask for `recursive`",
            Self::SkipTrash => "move it to a shorter path, or remove it for good with `skip_trash`",
            Self::StartServers => "start chunkservers",
            Self::FreeSpace => {
                "free space there, lower chunkserver.reserve where it is what lacks, or add servers"
            }
            Self::SmallerChunks => "let the file have smaller chunks (`chunk_bytes`)",
            Self::OneReplica => "ask for 1 replica",
            Self::Wait => "wait: none has ever registered, and they may yet",
            Self::ChunkBytes => {
                return write!(
                    f,
                    "give as `chunk_bytes` a multiple of {BLOCK_BYTES} up to {CHUNK_BYTES_MAX}"
                );
            }
            Self::AppendBytes => "append bytes to it, or create a log under another name",
            Self::WriteAgain => "create it again",
        })
    }
}

/// Several, of which one is enough, as they stand at the end of a sentence.
#[derive(Clone, Copy, Debug)]
pub struct Remedies<'a>(pub &'a [Remedy]);

impl fmt::Display for Remedies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, remedy) in self.0.iter().enumerate() {
            write!(f, "{}{remedy}", if at == 0 { "" } else { ", or " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_read_as_it_was_named() {
        let folder: StorePath = "/a".parse().unwrap();
        for remedy in [
            Remedy::MakeFolder { folder },
            Remedy::Recursive,
            Remedy::SkipTrash,
            Remedy::StartServers,
            Remedy::FreeSpace,
            Remedy::SmallerChunks,
            Remedy::OneReplica,
            Remedy::Wait,
            Remedy::ChunkBytes,
            Remedy::AppendBytes,
            Remedy::WriteAgain,
        ] {
            let path = remedy.path().map(StorePath::as_str);
            assert_eq!(Remedy::of(remedy.as_str(), path), Some(remedy.clone()));
        }
        assert_eq!(Remedy::of("of-a-newer-release", None), None);
        assert_eq!(Remedy::of("make-folder", Some("relative")), None);
        let both = Remedies(&[Remedy::StartServers, Remedy::OneReplica]).to_string();
        assert_eq!(both, "start chunkservers, or ask for 1 replica");
    }
}
