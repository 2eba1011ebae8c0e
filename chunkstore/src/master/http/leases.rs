//! Watches writers: each keeps a renewal waiting for its answer, and if its connection ends
//! meanwhile (because its process is gone), the core is told. What that means for its files, the
//! core decides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chunkstore_core::master::Input;
use chunkstore_protocol::{FileId, RENEW_FILES_MAX, Renew};
use ids::ClientId;
use net::Problem;

use super::super::event_loop::CoreHandle;
use super::error::invalid;

/// The latest renewal that waits for its answer, for each client and file. A client that names
/// another's file changes nothing about that one's renewal. Cheap to clone; all clones share one
/// table.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Leases(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    last: u64,
    waiting: BTreeMap<(ClientId, FileId), u64>,
}

impl Book {
    /// Enters a renewal that begins to wait; returns its number.
    fn enter(&mut self, client: &ClientId, files: &[FileId]) -> u64 {
        self.last += 1;
        let number = self.last;
        self.waiting.extend(files.iter().map(|file| ((client.clone(), *file), number)));
        number
    }

    /// A renewal no longer waits. Returns those of its files for which no later one waits.
    fn leave(&mut self, client: &ClientId, mut files: Vec<FileId>, number: u64) -> Vec<FileId> {
        files.retain(|file| {
            let key = (client.clone(), *file);
            let is_last = self.waiting.get(&key) == Some(&number);
            if is_last {
                self.waiting.remove(&key);
            }
            is_last
        });
        files
    }
}

/// One waiting renewal. If it is dropped before [`Watch::answered`], its connection has ended.
pub(super) struct Watch {
    leases: Leases,
    core: CoreHandle,
    client: ClientId,
    files: Vec<FileId>,
    number: u64,
}

impl Leases {
    /// Checks that a renewal does not name too many files.
    ///
    /// # Errors
    /// A 400 problem with their number.
    pub(super) fn check(request: &Renew) -> Result<(), Problem> {
        let n_files = request.files.len();
        if n_files <= RENEW_FILES_MAX {
            return Ok(());
        }
        let detail = format!(
            "{n_files} files are too many for one renewal: name at most {RENEW_FILES_MAX} in each"
        );
        Err(invalid(detail))
    }

    /// From now until the answer, the end of `request`'s connection means the end of its writer.
    pub(super) fn watch(&self, core: &CoreHandle, request: &Renew) -> Watch {
        let Renew { client, files, wait_ms: _ } = request.clone();
        let number = self.book().enter(&client, &files);
        Watch { leases: self.clone(), core: core.clone(), client, files, number }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// The answer is ready.
    pub(super) fn answered(mut self) {
        self.take_files();
    }

    /// The files for which no later renewal waits: a writer that has come back on another
    /// connection is alive.
    fn take_files(&mut self) -> Vec<FileId> {
        let files = std::mem::take(&mut self.files);
        self.leases.book().leave(&self.client, files, self.number)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let files = self.take_files();
        if !files.is_empty() {
            self.core.tell(Input::WriterGone(self.client.clone(), files));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_has_come_back_lives_and_who_names_anothers_file_changes_nothing() {
        let mut book = Book::default();
        let [ann, eve] = ["ann-12345", "eve-12345"].map(|name| name.parse::<ClientId>().unwrap());
        let files = || vec![FileId(1), FileId(2)];
        let first = book.enter(&ann, &files());
        let second = book.enter(&ann, &[FileId(2)]);
        let forged = book.enter(&eve, &files());
        assert_eq!(
            book.leave(&eve, files(), forged),
            files(),
            "the core knows that eve holds none"
        );
        assert_eq!(book.leave(&ann, files(), first), [FileId(1)]);
        assert_eq!(book.leave(&ann, vec![FileId(2)], second), [FileId(2)]);
        assert!(book.waiting.is_empty());
    }
}
