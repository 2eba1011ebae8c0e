//! Words about object stores beside the chunk store: how a task reaches one, and what it leaves there for the
//! JobTracker to publish.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AttemptId, OUTPUT_NAME_BYTES_MAX, TaskId, TaskKind};

/// Folder within an output for what is not published yet, where the store has no uploads that can be found again.
pub const SCRATCH_FOLDER: &str = "_temporary";

/// How a task reaches the stores that a URL prefix covers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskStore {
    /// The prefix, like `s3://bucket`.
    pub url: String,
    /// The server.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// The key's id, or the account.
    pub key_id: Option<String>,
    /// The key's secret.
    pub secret: Option<String>,
    /// Whether the server may be spoken to without TLS.
    pub allow_http: bool,
}

/// Without the secret.
impl fmt::Debug for TaskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskStore({})", self.url)
    }
}

/// A part of an output in another store, written and not published yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StagedOutput {
    /// Id of the upload; none where it is an object in the scratch folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// What the store calls the upload's parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// Bytes of all.
    pub bytes: u64,
}

/// One of an attempt's named outputs, written and not published yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamedOutput {
    /// Its name, as [`is_output_name`] has it.
    pub name: String,
    /// What was staged of it, if the job's output is in another store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<StagedOutput>,
}

/// The name of the job's main output.
const PART: &str = "part";

/// Whether an output beside the main one can be called so: 1 to 64 ASCII letters and digits, and not `part` (Hadoop:
/// `MultipleOutputs`).
#[must_use]
pub fn is_output_name(name: &str) -> bool {
    (1..=OUTPUT_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && name != PART
}

/// Whether an input or output of a job is written as a URL: of another store, or the chunk store's own (`howdah:///in`).
#[must_use]
pub fn is_url(path: &str) -> bool {
    path.contains("://") && !path.starts_with('/')
}

/// The name of the file that a task makes in the job's output.
#[must_use]
pub fn part_name(task: TaskId) -> String {
    part_name_of(PART, task)
}

/// The same of a named output.
#[must_use]
pub fn part_name_of(output: &str, task: TaskId) -> String {
    let letter = match task.kind {
        TaskKind::Map => 'm',
        TaskKind::Reduce => 'r',
    };
    format!("{output}-{letter}-{:05}", task.index)
}

/// What an attempt's part is called before it is published, or its named output.
#[must_use]
pub fn staged_name(attempt: AttemptId, named: Option<&str>) -> String {
    match named {
        Some(name) => format!("{attempt}-{name}"),
        None => attempt.to_string(),
    }
}

/// Where below an output an attempt stages its part, or its named output, if that is an object.
#[must_use]
pub fn scratch_name(attempt: AttemptId, named: Option<&str>) -> String {
    format!("{SCRATCH_FOLDER}/{}/{}", attempt.task.job, staged_name(attempt, named))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobId;

    #[test]
    fn names_in_outputs_are_hadoops_and_secrets_are_not_shown() {
        let job = JobId { date: 20_261_122, ordinal: 1 };
        let task = job.task(TaskKind::Reduce, 7);
        assert_eq!(part_name(task), "part-r-00007");
        let scratch = "_temporary/job_20261122_0001/attempt_20261122_0001_r_000007_2";
        assert_eq!(scratch_name(task.attempt(2), None), scratch);
        assert_eq!(scratch_name(task.attempt(2), Some("errors")), format!("{scratch}-errors"));
        assert_eq!(part_name_of("errors", task), "errors-r-00007");
        assert!(is_output_name("errors2") && is_output_name(&"x".repeat(64)));
        let longer = "x".repeat(65);
        for name in ["", "part", "a-b", "a/b", "..", "_x", "ü", &longer] {
            assert!(!is_output_name(name), "{name}");
        }
        let store = TaskStore {
            url: "s3://b".to_owned(),
            endpoint: None,
            region: None,
            key_id: None,
            secret: Some("sesame".to_owned()),
            allow_http: false,
        };
        assert!(!format!("{store:?}").contains("sesame"));
        let is_url_each = ["s3://b/x", "howdah:///in", "/a://b"].map(is_url);
        assert_eq!(is_url_each, [true, true, false]);
    }
}
