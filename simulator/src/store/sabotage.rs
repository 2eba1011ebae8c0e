//! Bugs to plant: each breaks one promise in the shells or on the wire; the cores stay as they are.
//! The invariants prove their worth by finding each.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The master's shell releases effects before the records before them are on disk.
    AcknowledgeBeforeSync,
    /// What servers report of a replica is changed into what the master expects.
    StaleVersionAccepted,
    /// After a restart the master does not recognise earlier requests.
    ReplyCacheLost,
    /// A publish is carried out again once its target is gone and its staging folder is there
    /// again.
    PublishReplayed,
    /// Heartbeats of an earlier term or registration are taken for current ones.
    OldEpochAccepted,
    /// A server seals less than it acknowledges.
    SealedShort,
    /// A log's primary answers once it has synced a batch, although the others have not.
    LogAcknowledgedEarly,
    /// The other servers of a log's chunk answer before they have synced.
    FollowedBeforeSync,
    /// A writer that got no answer sends its records again under new numbers.
    RecordsRenumbered,
    /// A server reports its replica as whole without having read it.
    VerifiedUnread,
}
