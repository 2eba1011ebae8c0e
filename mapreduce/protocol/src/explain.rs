//! Why a job is where it is: `GET /v1/jobs/{id}/explain`. What its next tasks wait for, by the same rules that place them, and
//! which attempts, one after the other, made it as long as it was.

use std::fmt;

use ids::{HostName, RackName, UnixMillis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AttemptId, AttemptState, AttemptStatus, JobId, JobState, Place, TaskId};

/// `GET /v1/jobs/{id}/explain`, or of one task with `?task=ID`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The job.
    pub job: JobId,
    /// Its state.
    pub state: JobState,
    /// What keeps slots from all of its tasks.
    pub obstacles: Vec<Obstacle>,
    /// Input files that can't be split, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsplit: Option<Unsplit>,
    /// The map and the reduce that are next for a slot, or the task that was asked for.
    pub tasks: Vec<TaskExplanation>,
    /// The attempts that made it as long as it was, or is so far, the first one first: had one of them been quicker, so had
    /// the job.
    pub path: Vec<PathLink>,
}

/// Files that one map each reads from the first byte to the last, however long they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unsplit {
    /// How many.
    pub files: u64,
    /// The longest one.
    pub longest: String,
    /// Its length.
    pub bytes: u64,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskExplanation {
    /// The task.
    pub task: TaskId,
    /// Whether it waits for a slot.
    pub waits: bool,
    /// What keeps slots from it, beside what keeps them from all tasks of its job.
    pub obstacles: Vec<Obstacle>,
    /// Hosts that its bytes are on.
    pub homes: Vec<HostName>,
    /// Of a reduce: where most of its input is, as far as maps have told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<ReduceInput>,
    /// How far from its bytes it may run now; absent of a reduce that goes anywhere.
    pub limit: Option<Place>,
    /// After how long it may run farther, milliseconds, if no nearer slot comes.
    pub farther_in_ms: Option<u64>,
    /// Why it does not run on the hosts that there are, those alike together.
    pub hosts: Vec<HostObstacle>,
    /// Its attempts so far, where a task was asked for.
    pub attempts: Vec<AttemptStatus>,
}

impl TaskExplanation {
    /// A task that waits for nothing any more.
    #[must_use]
    pub fn over(task: TaskId) -> Self {
        Self {
            task,
            waits: false,
            obstacles: Vec::new(),
            homes: Vec::new(),
            input: None,
            limit: None,
            farther_in_ms: None,
            hosts: Vec::new(),
            attempts: Vec::new(),
        }
    }
}

/// What the heaviest place holds of a reduce's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReduceInput {
    /// The place.
    #[serde(flatten)]
    pub place: InputPlace,
    /// What it holds of what the reduce is expected to read, 0 to 1.
    pub share: f64,
    /// The same in bytes.
    pub bytes: u64,
    /// Whether that is so much that the reduce should run there.
    pub is_home: bool,
}

/// A place that holds map outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputPlace {
    /// One host.
    Host(HostName),
    /// All hosts of a rack.
    Rack(RackName),
}

/// What keeps slots from a job or a task, whatever the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "obstacle", rename_all = "snake_case")]
pub enum Obstacle {
    /// Its splits are not known yet.
    NotPlanned,
    /// Its staging folder is being made.
    NoStaging,
    /// After a restart of the JobTracker its list of splits is read again.
    SplitsNotRead,
    /// The chunk store, or another one, is asked again and again.
    Store {
        /// For what, for people.
        why: String,
    },
    /// All its tasks are done, and its output is being published.
    Publishing,
    /// Somebody has paused it.
    Paused,
    /// The JobTracker has just started: TaskTrackers may still tell what runs.
    JobtrackerStarts {
        /// For how long yet, milliseconds.
        for_ms: u64,
    },
    /// No TaskTracker is registered.
    NoTrackers,
    /// Its pool holds all slots that it may, or runs as many jobs.
    Pool {
        /// Why, for people.
        why: String,
    },
    /// Other jobs that want slots come first.
    OthersFirst {
        /// How many.
        jobs: u32,
    },
    /// Reduces begin when enough maps are done.
    MapsNotDone {
        /// Maps that are done.
        done: u32,
        /// Maps that must be.
        needed: u32,
    },
    /// The last slot that reduces do not hold is left to maps, which wait.
    MapsGoFirst,
}

/// Why a task does not run on some hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostObstacle {
    /// Why.
    pub why: WhyNotThere,
    /// On how many.
    pub n_hosts: u32,
    /// Some of them.
    pub hosts: Vec<HostName>,
}

/// Why a task does not run on a host.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum WhyNotThere {
    /// Nothing is in the way: it will in a moment.
    NothingInTheWay,
    /// Its TaskTracker has not asked for work since it reported last: it will in a moment, unless it hangs or is cut off.
    NotAsking,
    /// All its slots are taken.
    NoFreeSlot,
    /// It is farther from the task's bytes than the job goes now.
    TooFar,
    /// The task has failed there, and there are others.
    FailedThere,
    /// The job leaves it alone for a while: its tasks failed there.
    LeftAlone,
    /// It gets no new attempts: it is ill, set aside or drained.
    Closed,
}

/// One attempt of the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PathLink {
    /// The attempt.
    pub attempt: AttemptId,
    /// Where it ran.
    pub host: HostName,
    /// What became of it.
    pub state: AttemptState,
    /// When it began.
    pub began_at: UnixMillis,
    /// When it ended; absent while it runs.
    pub ended_at: Option<UnixMillis>,
    /// What it could not go on without before.
    pub after: After,
}

/// What an attempt of the path could not go on without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// The job's submission.
    Submission,
    /// The slot that the attempt before it held.
    Slot,
    /// The end of the attempt before it, the last of the maps.
    Maps,
    /// The end of the attempt before it, another try of its task.
    OtherTry,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPlanned => f.write_str("the job's splits are not known yet: its input is being looked at"),
            Self::NoStaging => f.write_str("the job's staging folder is being made"),
            Self::SplitsNotRead => {
                f.write_str("the job's list of splits is read again, since the JobTracker has restarted")
            }
            Self::Store { why } => f.write_str(why),
            Self::Publishing => f.write_str("all tasks of the job are done, and its output is being published"),
            Self::Paused => f.write_str("the job, or its pool, is paused: `howdah job resume`, or `howdah pool resume`, lets it go on"),
            Self::JobtrackerStarts { for_ms } => write!(
                f,
                "the JobTracker has just started, and waits up to {for_ms} ms for TaskTrackers to tell what they still run"
            ),
            Self::NoTrackers => f.write_str("no TaskTracker is registered: start one (`howdah tasktracker`)"),
            Self::Pool { why } => f.write_str(why),
            Self::OthersFirst { jobs } => write!(f, "{jobs} other job(s) that want slots come first (`howdah pool list` shows the shares)"),
            Self::MapsNotDone { done, needed } => write!(
                f,
                "reduces begin when {needed} maps are done (reduce_slowstart): {done} are so far"
            ),
            Self::MapsGoFirst => {
                f.write_str("reduces hold all slots but one, and that one is left to maps, which wait")
            }
        }
    }
}

impl fmt::Display for Unsplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, longest, bytes } = self;
        write!(
            f,
            "{files} of the job's input files can't be split: one map reads all of each; the longest is {longest} of {bytes} bytes"
        )
    }
}

impl fmt::Display for WhyNotThere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingInTheWay => "nothing is in the way: the task starts in a moment",
            Self::NotAsking => {
                "the TaskTracker asks for no work: it is silent, for a moment at least"
            }
            Self::NoFreeSlot => "all slots are taken",
            Self::TooFar => "too far from the task's input, for now",
            Self::FailedThere => "an attempt of the task failed, or was killed, there",
            Self::LeftAlone => "the job leaves this host alone for a while: its tasks failed there",
            Self::Closed => "gets no new attempts (`howdah host list` says why)",
        })
    }
}

impl After {
    /// The same in words; `before` is the attempt before it on the path.
    #[must_use]
    pub fn words(self, before: Option<AttemptId>) -> String {
        let before = before.map_or_else(|| "the attempt before".to_owned(), |it| it.to_string());
        match self {
            Self::Submission => "from the job's submission on".to_owned(),
            Self::Slot => format!("in the slot that {before} had held"),
            Self::Maps => format!("once {before}, the last of the maps, had ended"),
            Self::OtherTry => format!("once {before}, another try of the task, had ended"),
        }
    }
}
