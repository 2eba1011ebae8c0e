//! Stories of attempts that clients end.

use super::*;

impl Story {
    fn end(&mut self, attempt: AttemptId, counts: EndsAs) -> AttemptStatus {
        match self.answer(|reply_to| Input::EndAttempt { attempt, counts, reply_to }) {
            Reply::Attempt(status) => *status,
            other => panic!("not ended: {other:?}"),
        }
    }

    fn end_refused(&mut self, attempt: AttemptId, counts: EndsAs) -> Refusal {
        match self.answer(|reply_to| Input::EndAttempt { attempt, counts, reply_to }) {
            Reply::Refused(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }
}

#[test]
fn a_killed_attempt_runs_again_on_another_host_and_uses_up_no_try() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
    let job = story.submit(JobSpec { max_attempts: Some(1), ..wordcount("/out", 1) });
    story.plan(job, splits(&[&["a"]]));
    let map = job.task(TaskKind::Map, 0);
    assert_eq!(story.running(&a), [map.attempt(0)]);
    let status = story.end(map.attempt(0), EndsAs::Killed);
    let why = status.failure.map(|why| (why.kind, why.message));
    let asked = (FailureKind::Killed, "a client asked for its end".to_owned());
    assert_eq!((status.state, status.host, why), (AttemptState::Killed, a.clone(), Some(asked)));
    assert_eq!(
        (status.began_at, status.ended_at),
        (Some(UnixMillis(MIDNIGHT)), Some(story.now.wall))
    );
    assert_eq!(status.place, Some(mapreduce_protocol::Place::NodeLocal));
    story.pass(Duration::from_secs(3));
    assert_eq!(story.running(&b), [map.attempt(1)], "its bytes are on a, where it was killed");
    let counts = story.status(job).maps;
    assert_eq!((counts.attempts, counts.killed_attempts, counts.failed_attempts), (2, 1, 0));
    story.run_all();
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

#[test]
fn a_killed_attempt_whose_tracker_never_heard_of_it_may_go_on_after_a_restart_and_counts_once() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(1, &[&["a"]]);
    let map = job.task(TaskKind::Map, 0);
    // The command to end it does not arrive before the restart.
    let toy = story.toys[&a].running.clone();
    story.end(map.attempt(0), EndsAs::Killed);
    story.toy(&a).running = toy;
    story.toy(&a).events = Outbox::default();
    story.restart();
    story.register(&a);
    story.beat(&a);
    // Nothing else runs in its place yet, so it may continue.
    assert_eq!(story.running(&a), [map.attempt(0)]);
    story.end(map.attempt(0), EndsAs::Killed);
    story.pass(Duration::from_secs(5));
    assert_eq!(story.running(&a), [map.attempt(1000)], "there is no other host");
    assert_eq!(story.status(job).maps.killed_attempts, 1, "it is one attempt, killed twice");
}

#[test]
fn failed_attempts_use_up_the_tries_of_their_task_over_restarts_too() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = story.submit(JobSpec { max_attempts: Some(3), ..wordcount("/out", 1) });
    story.plan(job, splits(&[&["a"]]));
    let map = job.task(TaskKind::Map, 0);
    let status = story.end(map.attempt(0), EndsAs::Failed);
    assert_eq!(status.state, AttemptState::Failed);
    assert_eq!(status.failure.unwrap().kind, FailureKind::FailedOnRequest);
    assert!(status.split.is_some(), "what it read is known");
    story.pass(Duration::from_secs(3));
    story.restart_with_trackers();
    story.end(map.attempt(1), EndsAs::Failed);
    story.pass(Duration::from_secs(3));
    let last = story.running_everywhere()[0];
    story.end(last, EndsAs::Failed);
    let status = story.status(job);
    assert_eq!(status.state, JobState::Failed);
    let failure = status.failure.unwrap();
    assert!(failure.contains("failed 3 times") && failure.contains("a client"), "{failure}");
    let ended = Refusal::AttemptEnded { attempt: last, state: AttemptState::Failed };
    assert_eq!(story.end_refused(last, EndsAs::Killed), ended);
}

#[test]
fn a_success_that_was_under_way_does_not_count_once_its_attempt_was_failed() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(1, &[&["a"]]);
    let map = job.task(TaskKind::Map, 0);
    let launch = story.toys[&a].running.clone();
    story.end(map.attempt(0), EndsAs::Failed);
    story.toy(&a).running = launch;
    story.toy(&a).events = Outbox::default();
    story.succeed(map.attempt(0));
    let counts = story.status(job).maps;
    assert_eq!((counts.succeeded, counts.failed_attempts, counts.attempts), (0, 1, 2));
    assert!(story.toys[&a].outputs.is_empty(), "what it made goes");
    story.run_all();
    story.published(job);
    let counts = story.status(job).maps;
    assert_eq!((counts.succeeded, counts.failed_attempts, counts.attempts), (1, 1, 2));
}

#[test]
fn what_is_over_unknown_or_not_launched_is_refused_with_its_state() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = story.job(1, &[&["a"], &["a"]]);
    let map = |index| job.task(TaskKind::Map, index);
    let stranger = JobId { ordinal: 99, ..job };
    let attempt = stranger.task(TaskKind::Map, 0).attempt(0);
    assert_eq!(story.end_refused(attempt, EndsAs::Killed), Refusal::NoSuchJob { job: stranger });
    for attempt in [map(0).attempt(1), map(1).attempt(0), map(2).attempt(0)] {
        let unknown = Refusal::NoSuchAttempt { attempt };
        assert_eq!(story.end_refused(attempt, EndsAs::Failed), unknown);
    }
    story.succeed(map(0).attempt(0));
    let over = Refusal::AttemptEnded { attempt: map(0).attempt(0), state: AttemptState::Succeeded };
    assert_eq!(story.end_refused(map(0).attempt(0), EndsAs::Killed), over);
    story.end(map(1).attempt(0), EndsAs::Killed);
    let over = Refusal::AttemptEnded { attempt: map(1).attempt(0), state: AttemptState::Killed };
    assert_eq!(story.end_refused(map(1).attempt(0), EndsAs::Failed), over);
    story.answer(|reply_to| Input::Kill { job, reply_to });
    let attempt = map(1).attempt(7);
    let state = JobState::Killed;
    assert_eq!(story.end_refused(attempt, EndsAs::Killed), Refusal::JobEnded { job, state });
}
