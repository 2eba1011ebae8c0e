//! When and where a job's attempts ran, and what its reduces read, in few words: what a time line of ten thousand tasks is
//! drawn from. `GET /v1/jobs/{id}/timeline` and `/partitions`.

use ids::{HostName, UnixMillis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AttemptId, AttemptState, Place};

/// `GET /v1/jobs/{id}/timeline?first=&limit=&since=`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timeline {
    /// The JobTracker's clock: `since` of who asks again for what has changed from here on.
    pub now: UnixMillis,
    /// Attempts of the tasks from `first` on, maps before reduces.
    pub attempts: Vec<TimelineAttempt>,
    /// `first` of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<usize>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineAttempt {
    /// Its id.
    pub attempt: AttemptId,
    /// Where it ran or runs.
    pub host: HostName,
    /// What became of it.
    pub state: AttemptState,
    /// How near to its bytes a map ran; absent of reduces, and where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// When it was launched; absent of attempts that went on while the JobTracker restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<UnixMillis>,
    /// When the JobTracker heard of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<UnixMillis>,
    /// How far one is that runs: 0 to 1, by bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f32>,
    /// What it read: bytes of a map's split, or that a reduce which won has fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether it was begun because another one of its task was late; not known of one that has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backup: bool,
    /// The kind of its failure, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// `GET /v1/jobs/{id}/partitions?first=`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionList {
    /// Reduces from `first` on.
    pub partitions: Vec<Partition>,
    /// `first` of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u32>,
}

/// What one reduce reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Partition {
    /// Which reduce.
    pub partition: u32,
    /// Bytes of it in the map outputs: what the reduce has fetched, or what the maps so far have told of the heaviest
    /// partitions, the others taken to be alike.
    pub bytes: u64,
    /// Whether the bytes are an estimate: the reduce has not won yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimate: bool,
    /// Records that the reduce has read, once it has won.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// How long it worked, without its wait for maps, milliseconds; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worked_ms: Option<u64>,
    /// Where; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_of_an_attempt_takes_no_room() {
        let attempt = TimelineAttempt {
            attempt: "attempt_20261122_0001_m_000003_0".parse().unwrap(),
            host: "host-1".parse().unwrap(),
            state: AttemptState::Running,
            place: Some(Place::NodeLocal),
            began_at: Some(UnixMillis(7)),
            ended_at: None,
            progress: Some(0.5),
            bytes: None,
            backup: false,
            failure: None,
        };
        let text = serde_json::to_string(&attempt).unwrap();
        let expected = r#"{"attempt":"attempt_20261122_0001_m_000003_0","host":"host-1","state":"RUNNING","place":"node_local","began_at":7,"progress":0.5}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<TimelineAttempt>(&text).unwrap(), attempt);
    }
}
