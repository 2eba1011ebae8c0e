//! What tasks say that is too much, not theirs to say, or not so.

use mapreduce_protocol::{NamedOutput, StagedOutput};

use super::*;
use crate::session::UNFETCHED_MAX;

fn fails(story: &mut Story, attempt: AttemptId, kind: FailureKind) {
    let failure = Failure { kind, message: "no luck".to_owned() };
    story.give(Input::Said { attempt, message: FromTask::Failed { failure } });
    story.give(Input::Ended { attempt, otherwise: crash() });
}

fn cannot_fetch(story: &mut Story, attempt: AttemptId, map: AttemptId) {
    let message = FromTask::FetchFailed { map, message: "refused".to_owned() };
    story.give(Input::Said { attempt, message });
}

#[test]
fn a_task_that_calls_its_failure_a_kill_or_its_hosts_fault_has_failed() {
    let mut story = Story::begin(1, &[]);
    let find = |story: &mut Story, free| {
        let finding = Finding::LocalDisk { disk: DiskNumber(0), free: Ok(free) };
        story.give(Input::Examined(finding));
        while story.out.len() > 1 {
            story.answer(Vec::new(), Vec::new());
        }
    };
    find(&mut story, 1000);
    for (index, kind, free, told) in [
        (0, FailureKind::Killed, 1000, FailureKind::UserCode),
        (1, FailureKind::OutOfSpace, 1000, FailureKind::UserCode),
        (2, FailureKind::OutOfSpace, 99, FailureKind::OutOfSpace),
        (3, FailureKind::HostUnfit, 1000, FailureKind::UserCode),
        (4, FailureKind::InputUnavailable, 1000, FailureKind::InputUnavailable),
    ] {
        story.start(map(index));
        find(&mut story, free);
        fails(&mut story, map(index), kind.clone());
        assert_eq!(story.told_failures(), [(map(index), told)], "{kind:?}");
        story.answer(Vec::new(), Vec::new());
        find(&mut story, 1000);
    }
}

#[test]
fn a_task_that_blames_its_disk_is_believed_if_that_is_found_before_or_after_its_last_word() {
    let mut story = Story::begin(1, &[]);
    let disk = DiskNumber(0);
    story.give(Input::Examined(Finding::LocalDisk { disk, free: Ok(1000) }));
    let fails = Finding::LocalDisk { disk, free: Err("I/O error".to_owned()) };
    for (index, finding, is_before) in [
        (0, Finding::Room { disk, free: 99 }, true),
        (1, Finding::Room { disk, free: 1000 }, true),
        (2, fails, false),
    ] {
        story.start(map(index));
        let failure = Failure { kind: FailureKind::OutOfSpace, message: "full".to_owned() };
        let said = Input::Said { attempt: map(index), message: FromTask::Failed { failure } };
        let inputs = match is_before {
            true => [Input::Examined(finding), said],
            false => [said, Input::Examined(finding)],
        };
        for input in inputs {
            story.give(input);
        }
        story.give(Input::Ended { attempt: map(index), otherwise: crash() });
        let told: Vec<_> = story.core.session.unacknowledged().cloned().collect();
        let kind = if index == 1 { FailureKind::UserCode } else { FailureKind::OutOfSpace };
        assert!(
            matches!(&told[..], [TrackerEvent::Failed { failure, .. }] if failure.kind == kind),
            "{index}: {told:?}"
        );
        while story.core.summary().unacknowledged > 0 {
            story.answer(Vec::new(), Vec::new());
            story.pass(Duration::from_millis(20));
        }
    }
}

#[test]
fn an_output_that_cannot_be_taken_over_is_the_trackers_own_word() {
    let mut story = Story::begin(1, &[]);
    story.start(map(0));
    let failure = Failure { kind: FailureKind::HostUnfit, message: "can't be moved".to_owned() };
    story.give(Input::NotTaken { attempt: map(0), failure });
    let message = FromTask::Succeeded { result: AttemptResult::default() };
    story.give(Input::Said { attempt: map(0), message });
    let effects = story.give(Input::Ended { attempt: map(0), otherwise: crash() });
    assert_eq!(effects, [Effect::RemoveMapOutput { attempt: map(0) }]);
    assert_eq!(story.told_failures(), [(map(0), FailureKind::HostUnfit)]);
}

#[test]
fn a_success_that_no_heartbeat_could_carry_is_a_failure_that_one_can() {
    let mut story = Story::begin(1, &[]);
    story.start(map(0));
    let parts = vec!["e".repeat(400); 1024];
    let staged = Some(StagedOutput { upload: None, parts, bytes: 1 });
    let output = |n| NamedOutput { name: format!("n{n}"), staged: staged.clone() };
    let result = AttemptResult { named: (0..33).map(output).collect(), ..AttemptResult::default() };
    assert!(serde_json::to_vec(&result).unwrap().len() > 12 << 20);
    story.give(Input::Said { attempt: map(0), message: FromTask::Succeeded { result } });
    let effects = story.give(Input::Ended { attempt: map(0), otherwise: crash() });
    assert_eq!(effects, [Effect::RemoveMapOutput { attempt: map(0) }], "what was taken over");
    assert_eq!(story.told_failures(), [(map(0), FailureKind::BadJob)]);
    assert!(serde_json::to_vec(story.out.last().unwrap()).unwrap().len() < 10_000);
}

#[test]
fn only_a_reduce_complains_of_maps_and_of_those_of_its_job() {
    let mut story = Story::begin(2, &[]);
    story.start(map(0));
    story.start(reduce(0));
    let other = JobId { ordinal: 2, ..JOB };
    for (attempt, map) in [
        (map(0), map(1)),
        (reduce(0), other.task(TaskKind::Map, 0).attempt(0)),
        (reduce(0), reduce(1)),
        (reduce(0), map(9)),
    ] {
        cannot_fetch(&mut story, attempt, map);
        assert_eq!(story.told(), [], "{attempt} complains of {map}");
    }
    cannot_fetch(&mut story, reduce(0), map(8));
    assert_eq!(story.told().len(), 1);
}

#[test]
fn while_the_jobtracker_is_away_complaints_wait_once_each_and_within_a_bound() {
    let mut story = Story::begin(2, &[]);
    for index in 0..2 {
        story.start(reduce(index));
    }
    let n_told = |story: &Story| story.core.summary().unacknowledged;
    for _ in 0..3 {
        for (of, from) in [(0, 1), (0, 2), (1, 1)] {
            cannot_fetch(&mut story, reduce(of), map(from));
        }
    }
    assert_eq!(n_told(&story), 3);
    while n_told(&story) > 0 {
        story.answer(Vec::new(), Vec::new());
        story.pass(Duration::from_millis(20));
    }
    cannot_fetch(&mut story, reduce(0), map(1));
    assert_eq!(n_told(&story), 1, "what is known is said again if it is so still");
    for number in 0..5000 {
        cannot_fetch(&mut story, reduce(0), JOB.task(TaskKind::Map, 1).attempt(number));
    }
    assert_eq!(n_told(&story), UNFETCHED_MAX);
    story.register(2, 1);
    assert_eq!(n_told(&story), UNFETCHED_MAX);
    cannot_fetch(&mut story, reduce(0), map(1));
    assert_eq!(n_told(&story), UNFETCHED_MAX, "a session takes over what the last one had to say");
}

#[test]
fn a_registration_names_all_jobs_of_which_there_is_anything_until_they_are_purged() {
    let job = |ordinal| JobId { ordinal, ..JOB };
    let jobs = BTreeSet::from([job(7), job(8)]);
    let mut story = Story::begin_with(Core::new(Settings { jobs, ..settings(1) }, []));
    assert_eq!(story.registrations[0].jobs, [job(7), job(8)]);
    story.start(map(0));
    story.succeed(map(0));
    let again = |story: &mut Story| {
        story.give(Input::NotRegistered { session: story.session });
        story.registrations.last().unwrap().jobs.clone()
    };
    assert_eq!(again(&mut story), [JOB, job(7), job(8)]);
    story.register(2, 1);
    let effects = story.command(TrackerCommand::Purge { job: job(7) });
    assert_eq!(effects, [Effect::RemoveJob { job: job(7) }]);
    story.command(TrackerCommand::Purge { job: JOB });
    assert_eq!(again(&mut story), [job(8)]);
}
