//! How lists of servers, and why they are needed, read in the middle of a refusal's sentence. Used
//! by `error` alone.

use std::fmt;

use chunkstore_protocol::{Remedy, StorePath};
use ids::HostName;

use super::error::{Unfit, UnfitReason};

/// Names in a message at most; the rest are only counted.
const SHOWN_MAX: usize = 20;

pub(super) struct Hosts<'a>(pub(super) &'a [HostName]);

impl fmt::Display for Hosts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, self.0, "no server")
    }
}

pub(super) struct Unfits<'a>(pub(super) &'a [Unfit]);

impl fmt::Display for Unfits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        f.write_str(": ")?;
        join(f, self.0, "")
    }
}

pub(super) struct Live<'a>(pub(super) &'a [HostName]);

impl fmt::Display for Live<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("is none"),
            live => write!(f, "is {}", Hosts(live)),
        }
    }
}

/// Why a chunk needs more than one server.
pub(super) struct WhyNeeded(pub(super) u8);

impl fmt::Display for WhyNeeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 | 1 => Ok(()),
            n => write!(f, " (what is to have {n} replicas or more must be on {n} from the start)"),
        }
    }
}

/// What to do where the folder of `path` is missing.
pub(super) fn for_parent(path: &StorePath) -> Vec<Remedy> {
    let folder = path.parent().unwrap_or_else(StorePath::root);
    vec![Remedy::MakeFolder { folder }]
}

/// What to do where too few servers live.
pub(super) fn for_servers(needed: u8, starting: bool) -> Vec<Remedy> {
    let wait = starting.then_some(Remedy::Wait);
    [Remedy::StartServers].into_iter().chain(one_replica(needed)).chain(wait).collect()
}

/// What to do where too few have room.
pub(super) fn for_room(needed: u8) -> Vec<Remedy> {
    let any = [Remedy::FreeSpace, Remedy::SmallerChunks];
    any.into_iter().chain(one_replica(needed)).collect()
}

fn one_replica(needed: u8) -> Option<Remedy> {
    (needed > 1).then_some(Remedy::OneReplica)
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            UnfitReason::Dead { seconds } => write!(f, "{} is dead for {seconds} s", self.host),
            UnfitReason::Draining => write!(f, "{} is being drained", self.host),
            UnfitReason::NoRoom { free_bytes } => {
                write!(f, "{} has {free_bytes} bytes free beyond chunkserver.reserve", self.host)
            }
        }
    }
}

fn join<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T], none: &str) -> fmt::Result {
    if items.is_empty() {
        return f.write_str(none);
    }
    for (n, item) in items.iter().take(SHOWN_MAX).enumerate() {
        write!(f, "{}{item}", if n == 0 { "" } else { ", " })?;
    }
    match items.len().checked_sub(SHOWN_MAX) {
        Some(more) if more > 0 => write!(f, " and {more} more"),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use chunkstore_protocol::{FileId, Remedies};

    use super::super::error::FsError;

    #[test]
    fn a_refusal_ends_with_its_remedies() {
        let path: chunkstore_protocol::StorePath = "/a/b".parse().unwrap();
        let (p, live, unfit) = (|| path.clone(), Vec::new, Vec::new);
        for refusal in [
            FsError::ParentMissing { path: p(), folder: p() },
            FsError::FolderNotEmpty { path: p() },
            FsError::TooLongForTrash { path: p() },
            FsError::NotALog { path: p() },
            FsError::LeaseLost { file: FileId(7) },
            FsError::NoLiveServers {
                path: p(),
                needed: 2,
                live: live(),
                unfit: unfit(),
                starting: true,
            },
            FsError::NoLiveServers {
                path: p(),
                needed: 1,
                live: live(),
                unfit: unfit(),
                starting: false,
            },
            FsError::NoRoom { path: p(), needed: 2, chunk_bytes: 9, unfit: unfit() },
            FsError::BadChunkBytes { given: 7 },
        ] {
            let remedies = refusal.remedies();
            assert!(!remedies.is_empty(), "{refusal}");
            let words = format!("; {}", Remedies(&remedies));
            assert!(refusal.to_string().ends_with(&words), "{refusal}");
        }
    }
}
