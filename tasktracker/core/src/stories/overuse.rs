//! Attempts that use more of the host than they may.

use super::*;

fn limited(attempt: AttemptId, limits: TaskLimits) -> TrackerCommand {
    let TrackerCommand::Launch(Launch { attempt, job, work, skipping }) = launch(attempt) else {
        panic!("a launch")
    };
    let job = Arc::new(JobDescription { limits, ..(*job).clone() });
    TrackerCommand::Launch(Launch { attempt, job, work, skipping })
}

fn measured(attempt: AttemptId, memory: u64) -> Input {
    Input::Measured { attempt, usage: Usage { memory, ..Usage::default() } }
}

fn denied(attempt: AttemptId) -> Input {
    Input::Measured { attempt, usage: Usage { memory_denied: true, ..Usage::default() } }
}

const OUT_OF_MEMORY: FailureKind = FailureKind::OutOfMemory { limit: 1 << 30, used: 1 << 30 };

#[test]
fn who_has_more_memory_than_the_host_gives_is_killed_once_with_that_cause() {
    let mut story = Story::begin(1, &[]);
    story.start(map(0));
    assert_eq!(story.give(measured(map(0), 1 << 30)), []);
    let effects = story.give(measured(map(0), 3 << 29));
    assert!(matches!(&effects[..], [Effect::KillProcess { attempt, .. }] if *attempt == map(0)));
    assert_eq!(story.give(measured(map(0), 7 << 30)), []);
    assert_eq!(story.told_failures(), [], "not before it is gone");
    story.give(Input::Ended { attempt: map(0), otherwise: crash() });
    let kind = FailureKind::OutOfMemory { limit: 1 << 30, used: 3 << 29 };
    assert_eq!(story.told_failures(), [(map(0), kind)]);
    assert_eq!(story.give(measured(map(0), 7 << 30)), [], "too late");
}

#[test]
fn a_job_that_asks_for_more_has_more() {
    let mut story = Story::begin(1, &[]);
    let limits = TaskLimits { memory: Some("2GiB".parse().unwrap()), ..TaskLimits::default() };
    story.command(limited(map(0), limits));
    story.give(Input::Started { attempt: map(0) });
    assert_eq!(story.give(measured(map(0), 3 << 29)), []);
    assert_eq!(story.give(measured(map(0), 5 << 29)).len(), 1);
}

#[test]
fn a_job_may_say_how_long_its_attempts_may_be_silent() {
    for (silence, ends_after) in [("5s", 5), ("61s", 61)] {
        let mut story = Story::begin(1, &[]);
        let limits = TaskLimits { silence: silence.parse().ok(), ..TaskLimits::default() };
        story.command(limited(map(0), limits));
        story.give(Input::Started { attempt: map(0) });
        assert_eq!(story.pass(Duration::from_millis(ends_after * 1000 - 1)), [], "{silence}");
        let effects = story.pass(Duration::from_millis(1));
        let [Effect::KillProcess { reason, .. }] = &effects[..] else { panic!("{effects:?}") };
        assert!(reason.contains(&format!("{ends_after} s (limits.silence")), "{reason}");
    }
}

#[test]
fn what_the_system_has_ended_for_want_of_memory_is_no_crash() {
    let mut story = Story::begin(2, &[]);
    story.start(map(0));
    // The last measure comes when the process is gone already.
    story.give(denied(map(0)));
    story.give(Input::Ended { attempt: map(0), otherwise: crash() });
    assert_eq!(story.told_failures(), [(map(0), OUT_OF_MEMORY)]);
    // Its helper was ended, and it complains of that in its own words.
    story.start(map(1));
    let failure = Failure { kind: FailureKind::UserCode, message: "helper gone".to_owned() };
    story.give(Input::Said { attempt: map(1), message: FromTask::Failed { failure } });
    assert_eq!(story.give(denied(map(1))), []);
    story.give(Input::Ended { attempt: map(1), otherwise: crash() });
    let told = story.told();
    let [.., TrackerEvent::Failed { failure, .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(failure.kind, OUT_OF_MEMORY);
    assert!(failure.message.ends_with("its last word: helper gone"), "{}", failure.message);
}

#[test]
fn a_success_stays_one_and_a_kill_stays_a_kill() {
    let mut story = Story::begin(2, &[]);
    story.start(map(0));
    let message = FromTask::Succeeded { result: AttemptResult::default() };
    story.give(Input::Said { attempt: map(0), message });
    assert_eq!(story.told(), [succeeded(map(0))]);
    story.answer(Vec::new(), Vec::new());
    assert_eq!(story.give(denied(map(0))), []);
    story.start(map(1));
    let kill = TrackerCommand::Kill { attempt: map(1), reason: "another won".to_owned() };
    assert_eq!(story.command(kill).len(), 1);
    assert_eq!(story.give(denied(map(1))), []);
    story.give(Input::Ended { attempt: map(1), otherwise: crash() });
    assert_eq!(story.told_failures(), [(map(1), FailureKind::Killed)]);
}
