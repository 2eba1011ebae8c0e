//! What tasks say, and how much of what one says of its own end is believed: it is the author's program that speaks. Its
//! word must not spare its job a failure that counts, nor speak against a host of which its TaskTracker knows no ill.

use ids::Monotonic;
use mapreduce_protocol::{AttemptId, Failure, FailureKind, FromTask, TaskKind};

use crate::attempts::Phase;
use crate::{Core, limits};

impl Core {
    pub(crate) fn handle_said(&mut self, now: Monotonic, id: AttemptId, message: FromTask) {
        let known = self.known_of(id);
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        if !attempt.hears(now) {
            return;
        }
        match limits::bounded(message) {
            FromTask::Progress { progress } => attempt.advance(progress),
            FromTask::Status { status } => attempt.status = Some(status),
            FromTask::FetchFailed { map, message } => {
                if attempt.fetches(map) {
                    self.session.report_unfetched(id, map, message);
                }
            }
            FromTask::Succeeded { result } => {
                attempt.phase = Phase::Reported { since: now };
                self.report_succeeded(id, result);
            }
            FromTask::Failed { failure } => {
                let is_doubted = why_not(id, &failure.kind, known).is_some();
                attempt.phase = Phase::Leaving { failure, is_doubted, since: now };
            }
        }
    }

    /// The tracker's own finding, whatever the task has said.
    pub(crate) fn handle_not_taken(&mut self, now: Monotonic, id: AttemptId, failure: Failure) {
        if let Some(attempt) = self.attempts.get_mut(&id).filter(|it| it.may_be_ended()) {
            attempt.phase = Phase::Leaving { failure, is_doubted: false, since: now };
        }
    }

    pub(crate) fn known_of(&self, id: AttemptId) -> Known {
        let disk = self.attempts.get(&id).and_then(|attempt| attempt.disk);
        let disk_is_ill = disk.is_some_and(|disk| self.disks.is_ill(disk));
        Known { disk_is_ill, host_is_ill: !self.ailments().is_empty() }
    }
}

/// What the TaskTracker knows itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// Whether the disk that the attempt works on is full or fails.
    disk_is_ill: bool,
    /// Whether anything is wrong with the host.
    host_is_ill: bool,
}

/// What is to be reported of a failure that `attempt` has told.
pub(crate) fn believed(attempt: AttemptId, told: Failure, known: Known) -> Failure {
    let Some(why_not) = why_not(attempt, &told.kind, known) else { return told };
    let message =
        format!("{} (the task calls this {}, {why_not})", told.message, told.kind.as_str());
    Failure { kind: FailureKind::UserCode, message }
}

/// Why a task is not believed, if it is not.
fn why_not(attempt: AttemptId, told: &FailureKind, known: Known) -> Option<&'static str> {
    Some(match told {
        FailureKind::Killed
        | FailureKind::TrackerLost
        | FailureKind::TimedOut
        | FailureKind::FailedOnRequest => "which is not for a task to say",
        FailureKind::OutOfSpace if !known.disk_is_ill => {
            "and the disk that it worked on has room and answers"
        }
        FailureKind::HostUnfit if !known.disk_is_ill && !known.host_is_ill => {
            "and nothing is known to be wrong with its host"
        }
        FailureKind::MapOutputChanged { map_attempt } if !reads(attempt, *map_attempt) => {
            "and it reads no such map"
        }
        FailureKind::UserCode
        | FailureKind::Crashed { .. }
        | FailureKind::MapOutputChanged { .. }
        | FailureKind::InputUnavailable
        | FailureKind::OutputUnavailable
        | FailureKind::OutOfSpace
        | FailureKind::HostUnfit
        | FailureKind::OutOfMemory { .. }
        | FailureKind::TooManyProcesses { .. }
        | FailureKind::OverDiskQuota { .. }
        | FailureKind::ProgramUnavailable
        | FailureKind::BadJob => return None,
    })
}

/// Whether `attempt` may have to do with the output of `map`.
pub(crate) fn reads(attempt: AttemptId, map: AttemptId) -> bool {
    attempt.task.kind == TaskKind::Reduce
        && map.task.kind == TaskKind::Map
        && attempt.task.job == map.task.job
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::{Blame, JobId};

    use super::*;

    const JOB: JobId = JobId { date: 20_261_122, ordinal: 1 };

    fn kind_of(attempt: AttemptId, kind: FailureKind, ill: (bool, bool)) -> FailureKind {
        let told = Failure { kind, message: "why".to_owned() };
        let known = Known { disk_is_ill: ill.0, host_is_ill: ill.1 };
        let failure = believed(attempt, told, known);
        assert!(failure.message.starts_with("why"), "{}", failure.message);
        failure.kind
    }

    #[test]
    fn no_task_spares_its_job_a_failure_or_speaks_against_a_host_that_is_well() {
        let (map, reduce) = (JOB.task(TaskKind::Map, 0), JOB.task(TaskKind::Reduce, 0));
        let other = JobId { ordinal: 2, ..JOB }.task(TaskKind::Map, 0).attempt(0);
        let changed = |map_attempt| FailureKind::MapOutputChanged { map_attempt };
        for (kind, attempt, ill, is_believed) in [
            (FailureKind::Killed, map, (true, true), false),
            (FailureKind::TrackerLost, map, (true, true), false),
            (FailureKind::TimedOut, map, (true, true), false),
            (FailureKind::FailedOnRequest, reduce, (true, true), false),
            (FailureKind::OutOfSpace, map, (false, true), false),
            (FailureKind::OutOfSpace, map, (true, false), true),
            (FailureKind::HostUnfit, map, (false, false), false),
            (FailureKind::HostUnfit, map, (false, true), true),
            (FailureKind::HostUnfit, map, (true, false), true),
            (changed(map.attempt(1)), reduce, (false, false), true),
            (changed(map.attempt(1)), map, (false, false), false),
            (changed(other), reduce, (false, false), false),
            (changed(reduce.attempt(1)), reduce, (false, false), false),
            (FailureKind::BadJob, map, (false, false), true),
            (FailureKind::InputUnavailable, map, (false, false), true),
        ] {
            let found = kind_of(attempt.attempt(0), kind.clone(), ill);
            let expected = if is_believed { kind.clone() } else { FailureKind::UserCode };
            assert_eq!(found, expected, "{kind:?} of {attempt}, {ill:?}");
            assert!(is_believed || found.blame() == Blame::Task);
        }
    }
}
