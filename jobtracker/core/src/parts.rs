//! The files of a job's output, as the edge is asked to publish them.

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
    /// The name of a named output; none of its part.
    pub named: Option<String>,
    /// What it staged.
    pub staged: Option<StagedOutput>,
    /// Its name in the output.
    pub published: String,
}
