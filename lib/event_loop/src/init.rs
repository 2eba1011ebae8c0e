//! A new journal with its first record, which is what a master's `--init` writes. Nothing else ever
//! creates a journal, so that a lost disk is never taken for an empty one.

use std::sync::mpsc;

use journal::{
    AppendError, Durability, Fold, FoldError, Folders, Journal, JournalError, OpenError, Options,
};
use serde::Serialize;

use crate::encode_record;

/// Why no new journal was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The journal can't be created or opened, usually because one exists.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is in the folder can't be read.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The first record was not accepted.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The first record could not be synced.
    #[error(transparent)]
    Sync(#[from] JournalError),
    /// The journal's thread ended without a result.
    #[error("the journal ended before its first record was synced; see the log")]
    Ended,
}

/// Creates a journal with `record` as its first record, which is on disk, in both folders if there
/// are two, when this returns. Blocks.
///
/// If an earlier call was interrupted before it wrote its record, this completes it.
///
/// # Errors
/// When a folder holds a journal already, or can't be written to.
pub fn init<D: Fold + Default + PartialEq>(
    folders: impl Into<Folders>,
    options: Options,
    record: &impl Serialize,
) -> Result<(), InitError> {
    let folders = folders.into();
    let exists = match Journal::create(&folders, options) {
        Ok(()) => None,
        Err(error @ OpenError::Exists { .. }) => Some(error),
        Err(error) => return Err(error.into()),
    };
    let (sender, durability) = mpsc::channel();
    let tell = move |word| {
        // Nothing after the first record is of interest.
        let _done = sender.send(word);
    };
    let (fold, mut journal) = Journal::open(folders, options, Box::new(tell))?.fold::<D>()?;
    if let Some(error) = exists.filter(|_| fold != D::default()) {
        return Err(error.into());
    }
    journal.append(&encode_record(record))?;
    journal.flush();
    loop {
        match durability.recv() {
            Ok(Durability::Synced(_)) => return Ok(()),
            Ok(Durability::RoomChanged) => {}
            Ok(Durability::Failed(error)) => return Err(error.into()),
            Err(mpsc::RecvError) => return Err(InitError::Ended),
        }
    }
}
