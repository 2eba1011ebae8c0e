//! Stories of jobs that clients pause.

use super::*;

impl Story {
    fn pause_job(&mut self, job: JobId, kill: bool) -> JobStatus {
        match self.answer(|reply_to| Input::Pause { job, kill, reply_to }) {
            Reply::Status(status) => *status,
            other => panic!("not paused: {other:?}"),
        }
    }

    fn resume_job(&mut self, job: JobId) -> JobStatus {
        match self.answer(|reply_to| Input::Resume { job, reply_to }) {
            Reply::Status(status) => *status,
            other => panic!("not resumed: {other:?}"),
        }
    }
}

#[test]
fn of_a_paused_job_nothing_new_is_launched_and_what_runs_goes_on() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(0, &[&["a"], &["a"], &["a"]]);
    let status = story.pause_job(job, false);
    assert_eq!((status.state, status.paused, status.maps.running), (JobState::Running, true, 2));
    assert_eq!(story.running(&a).len(), 2);
    for attempt in story.running(&a) {
        story.succeed(attempt);
    }
    story.pass(Duration::from_secs(60));
    let status = story.status(job);
    assert_eq!((status.maps.succeeded, status.maps.running, status.maps.waiting), (2, 0, 1));
    let why = status.waiting.unwrap();
    assert!(why.contains("paused") && why.contains(&format!("howdah job resume {job}")), "{why}");
    let beside = story.job(0, &[&["a"], &["a"]]);
    assert_eq!(story.running(&a).len(), 2, "others get all slots");
    assert!(!story.resume_job(job).paused);
    story.run_all();
    story.published(job);
    story.published(beside);
    let status = story.status(job);
    assert_eq!((status.state, status.maps.killed_attempts), (JobState::Succeeded, 0));
}

#[test]
fn a_pause_outlives_a_restart_and_its_attempts_go_on_through_both() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(0, &[&["a"], &["a"]]);
    let first = story.running(&a)[0];
    story.pause_job(job, false);
    story.restart_with_trackers();
    assert_eq!(story.running(&a), [first]);
    story.succeed(first);
    story.pass(Duration::from_secs(60));
    assert_eq!((story.running(&a), story.status(job).paused), (vec![], true));
    story.resume_job(job);
    story.restart_with_trackers();
    story.run_all();
    story.published(job);
    let status = story.status(job);
    assert_eq!((status.state, status.paused), (JobState::Succeeded, false));
    assert_eq!(status.maps.attempts, 2);
}

#[test]
fn what_runs_of_a_paused_job_can_be_ended_at_once_and_runs_again_after_it() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.submit(JobSpec { max_attempts: Some(1), ..wordcount("/out", 1) });
    story.plan(job, splits(&[&["a"]]));
    story.succeed(job.task(TaskKind::Map, 0).attempt(0));
    let reduce = job.task(TaskKind::Reduce, 0);
    assert_eq!(story.running(&a), [reduce.attempt(0)]);
    story.pause_job(job, false);
    story.beat_all();
    assert_eq!(story.running(&a).len(), 1, "all that it needs is there");
    story.pause_job(job, true);
    story.beat_all();
    assert_eq!(story.running(&a), []);
    story.resume_job(job);
    assert_eq!(story.running(&a), [reduce.attempt(1)]);
    story.run_all();
    story.published(job);
    assert_eq!(story.status(job).reduces.killed_attempts, 1);
}

#[test]
fn reduces_of_a_paused_job_give_their_slots_back_as_soon_as_a_map_that_they_need_is_not_run() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(1, &[&["a"], &["a"]]);
    let (map, reduce) = (|index| job.task(TaskKind::Map, index), job.task(TaskKind::Reduce, 0));
    story.succeed(map(0).attempt(0));
    assert_eq!(story.running(&a), [map(1).attempt(0), reduce.attempt(0)]);
    story.pause_job(job, false);
    story.beat_all();
    assert_eq!(story.running(&a).len(), 2, "its last map runs");
    story.fail(map(1).attempt(0), FailureKind::UserCode);
    story.beat_all();
    assert_eq!(story.running(&a), [], "the map would run again, but not now");
    story.restart_with_trackers();
    assert_eq!(story.running(&a), []);
    story.resume_job(job);
    story.run_all();
    story.published(job);
    let status = story.status(job);
    assert_eq!((status.state, status.reduces.killed_attempts), (JobState::Succeeded, 1));
}

#[test]
fn a_paused_job_is_planned_published_and_killed_like_any_other() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.submit(identity("/out"));
    assert!(story.pause_job(job, false).paused);
    story.plan(job, splits(&[&["a"]]));
    assert_eq!((story.running(&a), story.status(job).state), (vec![], JobState::Running));
    story.resume_job(job);
    story.pause_job(job, false);
    story.run_all();
    assert_eq!(story.publishes().len(), 1, "nothing is left to be launched");
    story.published(job);
    let status = story.status(job);
    assert_eq!((status.state, status.paused), (JobState::Succeeded, false));
    let ended = Reply::Refused(Refusal::JobEnded { job, state: JobState::Succeeded });
    assert_eq!(story.answer(|reply_to| Input::Pause { job, kill: true, reply_to }), ended);
    assert_eq!(story.answer(|reply_to| Input::Resume { job, reply_to }), ended);

    let job = story.job(0, &[&["a"], &["a"]]);
    story.pause_job(job, false);
    story.answer(|reply_to| Input::Kill { job, reply_to });
    story.beat_all();
    assert_eq!((story.running(&a), story.status(job).state), (vec![], JobState::Killed));
    let job = JobId { ordinal: 99, ..job };
    let none = story.answer(|reply_to| Input::Resume { job, reply_to });
    assert_eq!(none, Reply::Refused(Refusal::NoSuchJob { job }));
}
