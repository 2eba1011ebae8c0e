//! Stories of records at which a program fails every time.

use mapreduce_protocol::{FailedRecord, RecordPlace, Skipping, TaskId};

use super::*;

/// A job of `n_maps` maps on host `a` and one reduce, which may skip `n` records.
fn skipping_job(story: &mut Story, n: u32, n_maps: usize) -> JobId {
    let spec = JobSpec { skip_records: Some(n), ..wordcount("/out", 1) };
    let job = story.submit(spec);
    story.plan(job, splits(&vec![&["a"][..]; n_maps]));
    job
}

fn record(ordinal: u64) -> FailedRecord {
    let place = Some(RecordPlace { path: "/in".to_owned(), offset: 10 * ordinal });
    FailedRecord { ordinal, place, start: format!("bad {ordinal}") }
}

impl Story {
    /// The only running attempt of `task`.
    fn attempt_of(&self, task: TaskId) -> AttemptId {
        let running = self.running_everywhere();
        let mut of_task = running.into_iter().filter(|attempt| attempt.task == task);
        of_task.next().unwrap_or_else(|| panic!("no attempt of {task} runs"))
    }

    fn fail_at(&mut self, task: TaskId, kind: FailureKind, record: Option<FailedRecord>) {
        let attempt = self.attempt_of(task);
        let host = self.host_of(attempt);
        self.toy(&host).running.remove(&attempt).unwrap();
        let failure = failure(kind, "boom");
        self.event(&host, TrackerEvent::Failed { attempt, failure, status: None, record });
        self.pass(Duration::from_secs(3));
    }

    /// The records that the running attempt of `task` was told to skip.
    fn skipping_of(&self, task: TaskId) -> Option<Vec<u64>> {
        let attempt = self.attempt_of(task);
        let launch = &self.toys[&self.host_of(attempt)].running[&attempt];
        launch.skipping.clone().map(|Skipping { records }| records)
    }
}

/// The effect on one map of failures at these records (`None`: at no record): what its next attempt
/// skips, or why the job fails.
fn after(failures: &[Option<u64>]) -> Result<Vec<u64>, String> {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = skipping_job(&mut story, 2, 1);
    let task = job.task(TaskKind::Map, 0);
    for failed in failures {
        story.fail_at(task, FailureKind::UserCode, failed.map(record));
    }
    match story.status(job).failure {
        Some(reason) => Err(reason),
        None => Ok(story.skipping_of(task).unwrap()),
    }
}

#[test]
fn a_record_is_left_out_once_two_attempts_failed_at_it_and_costs_no_try() {
    let (a, b, c) = (Some(7), Some(3), Some(9));
    for (failures, expected) in [
        (&[][..], &[][..]),
        (&[a], &[]),
        (&[a, a], &[7]),
        (&[a, a, b], &[7]),
        (&[a, b, c], &[]),
        (&[a, a, b, b], &[3, 7]),
        (&[a, b, c, a], &[7]),
        (&[None, a, None, a], &[7]),
        (&[a, a, b, b, None, None, None], &[3, 7]),
    ] {
        assert_eq!(after(failures), Ok(expected.to_vec()), "{failures:?}");
    }
    let four = after(&[a, a, b, None, c, None]).unwrap_err();
    assert!(four.contains("failed 4 times"), "{four}");
    let nowhere = after(&[None; 4]).unwrap_err();
    assert!(nowhere.contains("failed 4 times"), "{nowhere}");
}

#[test]
fn all_tasks_together_leave_out_no_more_than_the_job_allows() {
    let mut story = Story::begin();
    story.tracker("a", 2);
    let job = skipping_job(&mut story, 1, 2);
    let [first, second] = [0, 1].map(|index| job.task(TaskKind::Map, index));
    for _ in 0..2 {
        story.fail_at(first, FailureKind::TimedOut, Some(record(4)));
    }
    assert_eq!(story.skipping_of(first), Some(vec![4]));
    assert_eq!(story.skipping_of(second), Some(vec![]));
    let crash = FailureKind::Crashed { exit_code: Some(101), signal: None };
    story.fail_at(second, crash.clone(), Some(record(0)));
    assert_eq!(story.status(job).state, JobState::Running);
    story.fail_at(second, crash, Some(record(0)));
    let status = story.status(job);
    assert_eq!(status.state, JobState::Failed);
    let reason = status.failure.unwrap();
    for part in [
        "more records than the 1 that 'skip_records'",
        &format!("last {} on a, /in bytes 1–2: at record 0 (offset 0 of /in, ", second.attempt(1)),
        "which begins \"bad 0\"): boom",
    ] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
}

#[test]
fn a_job_that_allows_nothing_of_the_kind_is_told_nothing() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = story.job(1, &[&["a"]]);
    let task = job.task(TaskKind::Map, 0);
    for _ in 0..4 {
        assert_eq!(story.skipping_of(task), None);
        story.fail_at(task, FailureKind::UserCode, Some(record(7)));
    }
    let reason = story.status(job).failure.unwrap();
    assert!(reason.ends_with("bytes 0–1: boom"), "{reason}");
}

#[test]
fn what_is_no_fault_of_the_authors_code_speaks_against_no_record() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = skipping_job(&mut story, 5, 1);
    let task = job.task(TaskKind::Map, 0);
    for kind in [FailureKind::InputUnavailable, FailureKind::Killed, FailureKind::OutputUnavailable]
    {
        story.fail_at(task, kind, Some(record(7)));
    }
    assert_eq!(story.skipping_of(task), Some(vec![]));
}

#[test]
fn a_restart_forgets_no_record() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = skipping_job(&mut story, 1, 1);
    let task = job.task(TaskKind::Map, 0);
    story.fail_at(task, FailureKind::UserCode, Some(record(7)));
    story.restart_with_trackers();
    story.fail_at(task, FailureKind::UserCode, Some(record(7)));
    assert_eq!(story.skipping_of(task), Some(vec![7]));
    // A power failure between the last failure and the job's end.
    story.fail_at(task, FailureKind::UserCode, Some(record(8)));
    story.fail_at(task, FailureKind::UserCode, Some(record(8)));
    let is_end = |record: &Record| matches!(record, Record::JobEnded { .. });
    let end = story.records.iter().position(is_end).unwrap();
    story.restart_without(story.records.len() - end);
    let status = story.status(job);
    assert_eq!(status.state, JobState::Failed);
    assert!(status.failure.unwrap().contains("more records than the 1"));
}

#[test]
fn keys_are_counted_anew_when_a_map_made_other_bytes() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = skipping_job(&mut story, 3, 1);
    let [map, reduce] = [TaskKind::Map, TaskKind::Reduce].map(|kind| job.task(kind, 0));
    story.succeed_with(map.attempt(0), "bytes-1");
    let key = || FailedRecord { place: None, ..record(2) };
    for _ in 0..2 {
        story.fail_at(reduce, FailureKind::UserCode, Some(key()));
    }
    assert_eq!(story.skipping_of(reduce), Some(vec![2]));
    story.event(&a, TrackerEvent::MapOutputLost { attempt: map.attempt(0) });
    story.pass(Duration::from_secs(3));
    let again = story.attempt_of(map);
    story.succeed_with(again, "bytes-2");
    story.pass(Duration::from_secs(3));
    assert_eq!(story.skipping_of(reduce), Some(vec![]));
}
