//! Durable state: the fold of the journal's records. [`Durable::apply`] is the only way to change it,
//! live and in recovery alike. Soft state (who runs what) is in `job` and `trackers`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ids::{ClusterId, Epoch, HostName, UnixMillis};
use mapreduce_protocol::{JobId, JobSpec, JobState, Priority, TaskCounts, TaskId, is_url};
use serde::{Deserialize, Serialize};

use crate::ended::{EndedAttempt, FailedAttempt};
use crate::records::{Record, SplitList};
use crate::running::{RunningEntry, TaskEntry};

/// Job ordinals per journal. TaskTrackers and the chunk store outlive a JobTracker that loses its
/// journal: what they still hold of an old job must not pass for a new job's.
const ORDINALS_PER_JOURNAL: u32 = 1_000_000;
/// Epochs per journal, for the same reason: a message of a lost journal's term must not pass for
/// one of this term.
pub const EPOCHS_PER_JOURNAL: u64 = 1_000_000;

/// Everything that survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Durable {
    cluster: Option<ClusterId>,
    epoch: Epoch,
    last_ordinal: u32,
    jobs: BTreeMap<JobId, JobEntry>,
    /// By [`key_name`]; older folds use the bare key.
    keys: BTreeMap<String, KeyUse>,
    /// Ended jobs, in the order of their ends.
    ended: VecDeque<JobId>,
    /// Hosts that get no new attempts, whether registered or not.
    #[serde(default)]
    drained: BTreeSet<HostName>,
    /// Pools of which nothing is launched, whether configured or not.
    #[serde(default)]
    paused_pools: BTreeSet<String>,
    /// Hosts whose trackers may run something; `None` if the journal has no records of that.
    #[serde(default)]
    members: Option<BTreeSet<HostName>>,
}

/// A job as the journal knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobEntry {
    pub(crate) spec: Arc<JobSpec>,
    pub(crate) n_reduces: u32,
    pub(crate) max_attempts: u32,
    #[serde(default)]
    pub(crate) priority: Priority,
    #[serde(default)]
    pub(crate) paused: bool,
    pub(crate) submitted_at: UnixMillis,
    /// The user who owns it; empty: nobody.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) owner: String,
    /// The term in which it was accepted; its attempt numbers are based on it.
    pub(crate) accepted_in: Epoch,
    key: Option<String>,
    pub(crate) stage: Stage,
}

/// How far a job has got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// Its splits are not known yet.
    Planning,
    /// Its tasks run or wait, or all are done and its output is about to be published.
    Running(RunningEntry),
    /// It is over.
    Ended(EndedEntry),
}

/// What is kept of a job that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EndedEntry {
    pub(crate) state: JobState,
    pub(crate) failure: Option<String>,
    pub(crate) finished_at: UnixMillis,
    pub(crate) input_bytes: u64,
    pub(crate) maps: TaskCounts,
    pub(crate) reduces: TaskCounts,
    pub(crate) counters: BTreeMap<String, u64>,
    pub(crate) attempts: Vec<EndedAttempt>,
    /// Whether its staging folder is known to be gone.
    pub(crate) staging_removed: bool,
    /// What its history is made from, until that is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unwritten: Option<Box<RunningEntry>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct KeyUse {
    job: JobId,
    digest: String,
}

impl Durable {
    /// The cluster named in the first record; `None` in an empty fold.
    #[must_use]
    pub fn cluster(&self) -> Option<&ClusterId> {
        self.cluster.as_ref()
    }

    /// The term of the last process that started.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn jobs(&self) -> &BTreeMap<JobId, JobEntry> {
        &self.jobs
    }

    pub(crate) fn job(&self, job: JobId) -> Option<&JobEntry> {
        self.jobs.get(&job)
    }

    /// A job that is planned and not ended; `None` in any other stage.
    pub(crate) fn running(&self, job: JobId) -> Option<&RunningEntry> {
        match &self.jobs.get(&job)?.stage {
            Stage::Running(running) => Some(running),
            Stage::Planning | Stage::Ended(_) => None,
        }
    }

    pub(crate) fn task(&self, task: TaskId) -> Option<&TaskEntry> {
        self.running(task.job)?.tasks(task.kind).get(task.index as usize)
    }

    /// The job that `owner` submitted with `key`, and that submission's digest.
    pub(crate) fn key(&self, owner: &str, key: &str) -> Option<(JobId, &str)> {
        let is_theirs = |used: &&KeyUse| {
            let theirs = self.jobs.get(&used.job).map(|entry| entry.owner.as_str());
            theirs.is_some_and(|theirs| theirs.is_empty() || theirs == owner)
        };
        let names = [key_name(owner, key), key_name("", key), key.to_owned()];
        let used = names.iter().filter_map(|name| self.keys.get(name)).find(is_theirs)?;
        Some((used.job, used.digest.as_str()))
    }

    /// Ordinal of the next job.
    #[must_use]
    pub fn next_ordinal(&self) -> u32 {
        self.last_ordinal + 1
    }

    /// Jobs that have not ended.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = JobId> {
        let unfinished = |entry: &JobEntry| !matches!(entry.stage, Stage::Ended(_));
        self.jobs.iter().filter(move |(_, entry)| unfinished(entry)).map(|(job, _)| *job)
    }

    /// Ended jobs, oldest end first.
    pub(crate) fn ended(&self) -> &VecDeque<JobId> {
        &self.ended
    }

    /// Hosts that are drained.
    pub(crate) fn drained(&self) -> &BTreeSet<HostName> {
        &self.drained
    }

    /// Whether nothing of a pool is launched.
    pub(crate) fn is_pool_paused(&self, pool: &str) -> bool {
        self.paused_pools.contains(pool)
    }

    /// The pools of which nothing is launched.
    pub(crate) fn paused_pools(&self) -> impl Iterator<Item = &str> {
        self.paused_pools.iter().map(String::as_str)
    }

    pub(crate) fn is_drained(&self, host: &HostName) -> bool {
        self.drained.contains(host)
    }

    /// Hosts whose trackers may run something; `None` if that was never written down.
    pub(crate) fn members(&self) -> Option<&BTreeSet<HostName>> {
        self.members.as_ref()
    }

    pub(crate) fn is_member(&self, host: &HostName) -> bool {
        self.members.as_ref().is_some_and(|members| members.contains(host))
    }

    /// Folds in one record. Records come only from this core, in the order in which it made them.
    ///
    /// # Panics
    /// If the record cannot follow this state: the journal is not ours.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Initialised { cluster, former_journals } => {
                self.cluster = Some(cluster.clone());
                self.last_ordinal = former_journals.saturating_mul(ORDINALS_PER_JOURNAL);
                self.epoch = Epoch(u64::from(*former_journals) * EPOCHS_PER_JOURNAL);
            }
            Record::Started { epoch } => self.epoch = *epoch,
            Record::JobAccepted { .. } => self.apply_accepted(record),
            Record::SplitsPlanned { job, n_maps, input_bytes, list } => {
                let entry = self.known(*job);
                let running = RunningEntry::new(*n_maps, entry.n_reduces, *input_bytes, list);
                entry.stage = Stage::Running(running);
            }
            Record::TaskSucceeded { attempt, .. } => {
                self.known_running(attempt.task.job).succeed(record);
            }
            Record::AttemptFailed { .. } => self.apply_failed(record),
            Record::AttemptKilled { killed, place } => {
                self.known_running(killed.attempt.task.job).kill(killed, *place);
            }
            Record::MapOutputLost { attempt } => {
                self.known_running(attempt.task.job).undo(attempt.task);
            }
            Record::ReducesUndone { map, reduces_from } => {
                let running = self.known_running(map.task.job);
                running.undo_reduces(map.task.job);
                running.reduces_from = running.reduces_from.max(*reduces_from);
            }
            Record::JobEnded { .. } => self.apply_ended(record),
            Record::StagingRemoved { job } => {
                if let Stage::Ended(ended) = &mut self.known(*job).stage {
                    ended.staging_removed = true;
                }
            }
            Record::JobPaused { job } => self.known(*job).paused = true,
            Record::JobResumed { job } => self.known(*job).paused = false,
            Record::HostDrained { host } => drop(self.drained.insert(host.clone())),
            Record::HostUndrained { host } => drop(self.drained.remove(host)),
            Record::PoolPaused { pool } => drop(self.paused_pools.insert(pool.clone())),
            Record::PoolResumed { pool } => drop(self.paused_pools.remove(pool)),
            Record::TrackerJoined { host } => {
                self.members.get_or_insert_default().insert(host.clone());
            }
            Record::TrackerGone { host } => {
                self.members.get_or_insert_default().remove(host);
            }
            Record::HistoryWritten { job } => {
                if let Stage::Ended(ended) = &mut self.known(*job).stage {
                    ended.unwritten = None;
                }
            }
            Record::JobForgotten { job } => self.apply_forgotten(*job),
            Record::PriorityChanged { job, priority } => self.known(*job).priority = *priority,
        }
    }

    fn apply_accepted(&mut self, record: &Record) {
        let Record::JobAccepted { job, spec, n_reduces, max_attempts, key, at, owner } = record
        else {
            return;
        };
        if let Some(key) = key {
            let used = KeyUse { job: *job, digest: key.digest.clone() };
            self.keys.insert(key_name(owner, &key.key), used);
        }
        self.last_ordinal = job.ordinal;
        self.jobs.insert(
            *job,
            JobEntry {
                spec: Arc::clone(spec),
                n_reduces: *n_reduces,
                max_attempts: *max_attempts,
                priority: spec.priority.unwrap_or_default(),
                paused: false,
                submitted_at: *at,
                owner: owner.clone(),
                accepted_in: self.epoch,
                key: key.as_ref().map(|key| key.key.clone()),
                stage: Stage::Planning,
            },
        );
    }

    fn apply_failed(&mut self, record: &Record) {
        let Record::AttemptFailed { attempt, host, failure, place, split, span, status, record } =
            record
        else {
            return;
        };
        let failed = FailedAttempt {
            number: attempt.number,
            host: host.clone(),
            failure: failure.clone(),
            split: split.clone(),
            place: *place,
            span: *span,
            status: status.clone(),
            record: record.clone(),
        };
        self.known_running(attempt.task.job).fail(attempt.task, failed);
    }

    fn apply_ended(&mut self, record: &Record) {
        let Record::JobEnded { job, state, failure, at, maps, reduces } = record else {
            return;
        };
        let entry = self.known(*job);
        // Publication moves the staging folder away; in another store there is more to clean up.
        let tidied = *state == JobState::Succeeded && !is_url(&entry.spec.output);
        let tasks = match std::mem::replace(&mut entry.stage, Stage::Planning) {
            Stage::Running(tasks) => tasks,
            Stage::Planning | Stage::Ended(_) => {
                RunningEntry::new(0, 0, 0, &SplitList::Inline([].into()))
            }
        };
        entry.stage = Stage::Ended(EndedEntry {
            state: *state,
            failure: failure.clone(),
            finished_at: *at,
            input_bytes: tasks.input_bytes,
            maps: *maps,
            reduces: *reduces,
            counters: tasks.counters(),
            attempts: tasks.ended_attempts(*job),
            staging_removed: tidied,
            unwritten: Some(Box::new(tasks)),
        });
        self.ended.push_back(*job);
    }

    fn apply_forgotten(&mut self, job: JobId) {
        let forgotten = self.jobs.remove(&job);
        if let Some((owner, key)) = forgotten.and_then(|entry| Some((entry.owner, entry.key?))) {
            for name in [key_name(&owner, &key), key] {
                if self.keys.get(&name).is_some_and(|used| used.job == job) {
                    self.keys.remove(&name);
                }
            }
        }
        self.ended.retain(|ended| *ended != job);
    }

    fn known(&mut self, job: JobId) -> &mut JobEntry {
        self.jobs.get_mut(&job).expect("records speak of jobs that were accepted before")
    }

    fn known_running(&mut self, job: JobId) -> &mut RunningEntry {
        match &mut self.known(job).stage {
            Stage::Running(running) => running,
            Stage::Planning | Stage::Ended(_) => {
                unreachable!("records of tasks come between a job's planning and its end")
            }
        }
    }
}

/// The name under which a key is kept: users' keys are separate. No key contains a blank.
fn key_name(owner: &str, key: &str) -> String {
    format!("{owner} {key}")
}
