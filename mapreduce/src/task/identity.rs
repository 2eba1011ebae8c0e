//! Who a task is, for whoever tells the author's program: streaming's commands find it in their environment.

use mapreduce_protocol::AttemptId;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The attempt, with its task and job.
    pub(crate) attempt: AttemptId,
    /// What people call the job.
    pub(crate) job_name: String,
    /// Maps of the job.
    pub(crate) n_maps: u32,
    /// Its reduces.
    pub(crate) n_reduces: u32,
}
