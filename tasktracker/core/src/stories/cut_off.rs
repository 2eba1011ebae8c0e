//! A TaskTracker that hears nothing of its JobTracker: it goes on, but not for ever.

use super::*;

/// All but the last millisecond of the time: attempts give signs of life, no heartbeat is answered.
fn hear_nothing(story: &mut Story, running: &[AttemptId]) {
    let (steps, last) = (4, Duration::from_millis(1));
    for step in 1..=steps {
        let time = CUT_OFF / steps - if step == steps { last } else { Duration::ZERO };
        assert_eq!(story.pass(time), []);
        for attempt in running {
            let message = FromTask::Progress { progress: 0.5 };
            story.give(Input::Said { attempt: *attempt, message });
        }
        no_answer(story);
    }
}

/// All heartbeats that are out fail.
fn no_answer(story: &mut Story) {
    for heartbeat in std::mem::take(&mut story.out) {
        let number = heartbeat.number.0;
        story.give(Input::HeartbeatFailed { session: story.session, number });
    }
}

/// Attempts whose processes are to be killed.
fn killed(effects: &[Effect]) -> Vec<AttemptId> {
    let killed = effects.iter().filter_map(|effect| match effect {
        Effect::KillProcess { attempt, reason } if reason.contains("JobTracker") => Some(*attempt),
        _ => None,
    });
    killed.collect()
}

#[test]
fn a_tracker_that_is_cut_off_for_very_long_ends_what_runs_and_keeps_what_is_done() {
    let mut story = Story::begin(2, &[]);
    story.start(map(0));
    story.succeed(map(0));
    story.start(map(1));
    story.start(reduce(0));
    story.command(launch(map(2)));
    hear_nothing(&mut story, &[map(1), reduce(0)]);
    let last = story.pass(Duration::from_millis(1));
    assert_eq!(killed(&last), [map(1), reduce(0)]);
    assert_eq!(story.pass(Duration::from_millis(1)), [], "once");
    assert!(story.core.poll_timeout().is_none_or(|at| at > story.now.monotonic), "and no spin");
    for attempt in [map(1), reduce(0)] {
        story.give(Input::Ended { attempt, otherwise: crash() });
    }
    let Summary { waiting, running, map_outputs, .. } = story.core.summary();
    assert_eq!((waiting, running, map_outputs), (0, 0, 1), "reduces may still want the output");
    story.give(Input::NotRegistered { session: story.session });
    story.pass(Duration::from_secs(1));
    story.register(1, 2);
    let ends = [map(2), map(1), reduce(0)].map(|attempt| (attempt, FailureKind::Killed));
    assert_eq!(story.told_failures(), ends, "it says so when it is heard again");
}

#[test]
fn any_word_of_the_jobtracker_puts_that_off() {
    let mut story = Story::begin(1, &[]);
    story.start(map(0));
    let due = |story: &Story| {
        let at = story.core.poll_timeout().expect("an attempt runs");
        at.since(story.now.monotonic)
    };
    hear_nothing(&mut story, &[map(0)]);
    story.give(Input::NotRegistered { session: story.session });
    hear_nothing(&mut story, &[map(0)]);
    assert_eq!(due(&story), Duration::from_millis(1));
    story.register(1, 2);
    assert_eq!(story.pass(Duration::from_secs(5)), []);
    story.answer(Vec::new(), Vec::new());
    hear_nothing(&mut story, &[map(0)]);
    assert_eq!(due(&story), Duration::from_millis(1));
}
