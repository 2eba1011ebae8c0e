//! Writers that are being watched: each keeps a renewal waiting for its answer, and if its connection ends
//! meanwhile (its process is gone), the core is told. What that means for its files is the core's to say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chunkstore_core::master::Input;
use chunkstore_protocol::{FileId, Renew};
use ids::ClientId;

use super::super::event_loop::Core;

/// The last renewal of each file that waits for its answer. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Leases(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    last: u64,
    waiting: BTreeMap<FileId, u64>,
}

/// One renewal. Dropped before [`Watch::answered`], its connection has ended.
pub(super) struct Watch {
    leases: Leases,
    core: Core,
    client: ClientId,
    files: Vec<FileId>,
    number: u64,
}

impl Leases {
    /// From here on until it is answered, `request`'s connection is its writer's life.
    pub(super) fn watch(&self, core: &Core, request: &Renew) -> Watch {
        let Renew { client, files, wait_ms: _ } = request.clone();
        let mut book = self.book();
        book.last += 1;
        let number = book.last;
        book.waiting.extend(files.iter().map(|file| (*file, number)));
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

    /// The files of which no later renewal waits: a writer that has come back on another connection lives.
    fn take_files(&mut self) -> Vec<FileId> {
        let mut files = std::mem::take(&mut self.files);
        let mut book = self.leases.book();
        files.retain(|file| book.waiting.get(file) == Some(&self.number));
        for file in &files {
            book.waiting.remove(file);
        }
        files
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
