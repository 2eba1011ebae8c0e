//! A new journal with its first record: what `--init` of a master writes. Nothing else ever makes a
//! journal, so that a lost disk is never taken for an empty one.

use std::sync::mpsc;

use journal::{
    AppendError, Durability, Fold, FoldError, Folders, Journal, JournalError, OpenError, Options,
};
use serde::Serialize;

use crate::encode_record;

/// Why there is no new journal.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The journal can't be made or opened; mostly, because there is one.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is in the folder can't be read.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The first record is not taken.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The first record can't be synced.
    #[error(transparent)]
    Sync(#[from] JournalError),
    /// The journal's thread is gone without a word.
    #[error("the journal ended before its first record was synced; see the log")]
    Ended,
}

/// Makes a journal of which `record` is the first one; it is on disk, in both folders where there are two,
/// when this returns. Blocks.
///
/// An earlier call that was cut off before it had written its record is completed.
///
/// # Errors
/// When a folder holds a journal already, or can't be written.
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
        // Nobody waits for what comes after the first record.
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
