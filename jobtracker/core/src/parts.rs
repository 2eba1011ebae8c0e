//! The files of a job's output that the edge is to publish.

use mapreduce_protocol::{AttemptId, StagedOutput};

/// One file of a job's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Name in the staging folder.
    pub staged: String,
    /// Name in the output.
    pub published: String,
}

/// One file of a job's output in another store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartElsewhere {
    /// The winner.
    pub attempt: AttemptId,
    /// The name of a named output; `None` for the task's part.
    pub named: Option<String>,
    /// What the winner staged of it.
    pub staged: Option<StagedOutput>,
    /// Its name in the output.
    pub published: String,
}
