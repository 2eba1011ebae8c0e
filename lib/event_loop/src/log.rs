//! The journal as the loop sees it: opened and folded at boot, with its durability messages turned
//! into a channel.

use std::path::Path;

use journal::{Durability, Fold, FoldError, Folders, Journal, OpenError, Options};
use tokio::sync::mpsc;

use crate::handle::names;

/// The journal can't be turned into a state.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It holds something that this release can't read.
    #[error(transparent)]
    Fold(#[from] FoldError),
}

/// An open journal, for [`crate::start`].
pub struct Log {
    pub(crate) journal: Journal,
    /// Never holds more messages than there are syncs under way, which is one.
    pub(crate) durability: mpsc::UnboundedReceiver<Durability>,
}

impl Log {
    /// The number of the last record.
    #[must_use]
    pub fn last_record(&self) -> u64 {
        self.journal.last().0
    }
}

/// A state as it was when the previous process ended.
pub struct Recovered<D> {
    /// The fold of snapshot and records.
    pub durable: D,
    /// Takes the records that follow.
    pub log: Log,
}

/// Opens the journal in its folders and folds it. Blocks; everything in the fold is on disk.
///
/// # Errors
/// See [`OpenError`]: a folder without a journal is refused; [`Journal::create`] makes one.
pub fn recover<D: Fold>(
    folders: impl Into<Folders>,
    options: Options,
) -> Result<Recovered<D>, RecoverError> {
    let (on_durable, durability) = mpsc::unbounded_channel();
    let tell = move |word| {
        // A loop that has ended needs no message.
        let _ended = on_durable.send(word);
    };
    let (durable, journal) = Journal::open(folders, options, Box::new(tell))?.fold::<D>()?;
    Ok(Recovered { durable, log: Log { journal, durability } })
}

/// Like [`recover`], on a thread that may block. Logs a message now and then if it takes long. May
/// be dropped before its end: then the journal is closed again once it is open.
///
/// # Errors
/// See [`recover`].
///
/// # Panics
/// When the fold does.
pub async fn recover_async<D: Fold + Send + 'static>(
    folders: impl Into<Folders>,
    options: Options,
) -> Result<Recovered<D>, RecoverError> {
    let folders = folders.into();
    let names = names(&folders.iter().map(Path::to_owned).collect::<Vec<_>>());
    let mut recovering = tokio::task::spawn_blocking(move || recover::<D>(folders, options));
    loop {
        match tokio::time::timeout(options.timeout, &mut recovering).await {
            Ok(Ok(recovered)) => return recovered,
            Ok(Err(ended)) => std::panic::resume_unwind(ended.into_panic()),
            Err(_not_yet) => tracing::warn!(
                folders = names,
                "the journal is not open yet: a long one takes its time, and a disk that hangs takes for ever"
            ),
        }
    }
}
