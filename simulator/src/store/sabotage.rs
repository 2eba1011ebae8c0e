//! Bugs to plant: each breaks one promise in the shells or on the wire, with the cores as they are. What
//! the invariants are worth is shown by their finding each.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The master's shell lets effects out before the records before them are on disk.
    AcknowledgeBeforeSync,
    /// What reports say of a replica is made to fit what the master wants to hear.
    StaleVersionAccepted,
    /// After a restart the master knows no earlier request.
    ReplyCacheLost,
    /// A publish is carried out again when its target has gone and its staging folder has come again.
    PublishReplayed,
    /// Heartbeats of an earlier term or registration pass for present ones.
    OldEpochAccepted,
    /// A server seals less than it acknowledges.
    SealedShort,
    /// A log's primary answers when it has synced a batch, though the others have not.
    LogAcknowledgedEarly,
    /// The other servers of a log's chunk answer before they have synced.
    FollowedBeforeSync,
    /// A writer that got no answer sends its records again under new numbers.
    RecordsRenumbered,
    /// A server says that its replica is whole and has not read it.
    VerifiedUnread,
}
