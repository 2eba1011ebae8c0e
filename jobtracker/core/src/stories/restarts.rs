//! Stories of a JobTracker that dies and comes back, or is suspended for a while: nothing accepted
//! is lost, and nothing runs twice.

use super::*;

#[test]
fn what_trackers_hold_of_a_lost_journals_jobs_passes_for_nothing_of_the_next() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let old = story.job(1, &[&["a"], &["a"]]);
    story.succeed(old.task(TaskKind::Map, 0).attempt(0));
    let heartbeat = story.heartbeat(&a);
    story.lose_the_journal();
    let job = story.job(1, &[&["a"], &["a"]]);
    assert_ne!(job, old);
    assert_eq!(job.to_string(), "job_20261122_1000001");
    let answer =
        story.answer(|reply_to| Input::Heartbeat { heartbeat: Box::new(heartbeat), reply_to });
    assert_eq!(answer, Reply::Refused(Refusal::NotRegistered { host: a.clone() }));
    story.register(&a);
    story.beat_all();
    assert!(story.running(&a).iter().all(|attempt| attempt.task.job == job));
    assert!(story.toys[&a].outputs.is_empty(), "purged");
    story.run_all();
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

fn map(job: JobId, index: u32, number: u32) -> AttemptId {
    job.task(TaskKind::Map, index).attempt(number)
}

#[test]
fn running_attempts_are_taken_over_and_finished_ones_not_run_again() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(1, &[&["a"], &["a"], &["a"]]);
    story.succeed(map(job, 0, 0));
    assert_eq!(story.running(&a), [map(job, 1, 0)]);
    story.restart();
    assert_eq!(story.status(job).maps.succeeded, 1);
    story.register(&a);
    story.beat(&a);
    assert_eq!(story.running(&a), [map(job, 1, 0)], "it goes on");
    assert_eq!(story.status(job).maps.running, 1);
    story.pass(Duration::from_secs(3));
    story.succeed(map(job, 1, 0));
    assert_eq!(story.running(&a), [map(job, 2, 1000)], "numbers of a new term are new");
    story.run_all();
    let told = &story.toys[&a].news[&job];
    assert!(matches!(&told[0], MapEvent::Available { attempt, .. } if *attempt == map(job, 0, 0)));
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
    assert_eq!(
        story.records.iter().filter(|it| matches!(it, Record::TaskSucceeded { .. })).count(),
        4
    );
}

#[test]
fn nothing_of_an_earlier_term_is_launched_before_trackers_had_time_to_register() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let b = story.tracker("b", 2);
    let job = story.job(0, &[&["a", "b"], &["a", "b"]]);
    story.restart();
    story.register(&a);
    story.beat(&a);
    assert_eq!(story.status(job).maps.running, 1);
    story.pass(Duration::from_secs(2));
    assert_eq!(story.running_everywhere().len(), 2, "b's attempt may still run");
    story.register(&b);
    story.beat(&b);
    story.pass(Duration::from_secs(5));
    let status = story.status(job);
    assert_eq!((status.maps.running, status.maps.attempts), (2, 2), "none was run twice");
    let fresh = story.job(0, &[&["a"]]);
    assert_eq!(story.status(fresh).maps.running, 1, "a new job need not wait");
}

#[test]
fn failures_still_count_after_a_restart() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(0, &[&["a"]]);
    for number in 0..3 {
        story.fail(map(job, 0, number), FailureKind::UserCode);
    }
    story.restart();
    story.register(&a);
    story.beat(&a);
    assert_eq!(story.status(job).maps.failed_attempts, 3);
    story.fail(map(job, 0, 3), FailureKind::UserCode);
    assert_eq!(story.status(job).state, JobState::Failed);
}

#[test]
fn outputs_that_nobody_reports_are_made_again() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(1, &[&["a"], &["a"]]);
    story.succeed(map(job, 0, 0));
    story.kill_tracker(&a);
    story.restart();
    let b = story.tracker("b", 3);
    story.pass(Duration::from_secs(9));
    let again = |story: &Story| story.running(&b).contains(&map(job, 0, 1000));
    assert!(!again(&story), "a may still come back");
    story.pass(Duration::from_secs(1));
    story.beat(&b);
    assert!(again(&story), "{:?}", story.running(&b));
}

#[test]
fn a_job_being_planned_is_planned_again() {
    let mut story = Story::begin();
    let job = story.submit(wordcount("/out", 1));
    story.restart();
    assert!(
        matches!(&story.effects[..], [Effect::Store(StoreEffect::PlanSplits { job: it, .. })] if *it == job)
    );
}

#[test]
fn a_long_split_list_is_read_again_from_the_chunk_store() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.submit(identity("/out"));
    let list = StagedSplits { path: "/staging/splits".into(), digest: "d".into() };
    let planned = splits(&[&["a"], &["a"]]);
    let plan = Plan { splits: planned.clone(), staged: Some(list.clone()) };
    story.give(Input::SplitsPlanned { job, outcome: StoreOutcome::Done(plan) });
    story.restart();
    assert_eq!(story.effects, [Effect::Store(StoreEffect::ReadSplits { job, list })]);
    story.register(&a);
    story.beat(&a);
    story.pass(Duration::from_secs(4));
    story.give(Input::SplitsRead { job, outcome: StoreOutcome::Done(planned) });
    story.run_all();
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

#[test]
fn a_split_list_that_is_not_the_one_written_down_fails_the_job() {
    let mut story = Story::begin();
    let job = story.submit(identity("/out"));
    let list = StagedSplits { path: "/staging/splits".into(), digest: "d".into() };
    let plan = Plan { splits: splits(&[&["a"]]), staged: Some(list) };
    story.give(Input::SplitsPlanned { job, outcome: StoreOutcome::Done(plan) });
    story.restart();
    story.give(Input::SplitsRead { job, outcome: StoreOutcome::Done(vec![]) });
    assert!(story.status(job).failure.unwrap().contains("0 splits instead of 1"));
}

#[test]
fn a_publication_that_was_under_way_is_asked_for_again_and_alike() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = story.job(0, &[&["a"]]);
    story.run_all();
    let before = story.publishes();
    story.restart();
    assert_eq!(story.publishes(), before);
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

#[test]
fn a_staging_folder_that_was_not_removed_is_removed_after_the_restart() {
    let mut story = Story::begin();
    let job = story.submit(wordcount("/out", 1));
    story.answer(|reply_to| Input::Kill { job, reply_to });
    story.restart();
    let remove = Effect::Store(StoreEffect::RemoveStaging {
        job,
        staging: staging_folder(job),
        elsewhere: None,
    });
    assert_eq!(story.effects, [remove]);
    story.give(Input::StagingRemoved { job, outcome: StoreOutcome::Done(()) });
    story.restart();
    assert_eq!(story.effects, []);
}

#[test]
fn a_tracker_that_holds_outputs_of_an_ended_job_is_told_to_purge_them() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(1, &[&["a"], &["a"]]);
    story.succeed(map(job, 0, 0));
    story.kill_tracker(&a);
    story.pass(Duration::from_secs(12));
    story.answer(|reply_to| Input::Kill { job, reply_to });
    story.toy(&a).dead = false;
    story.register(&a);
    story.beat(&a);
    let toy = &story.toys[&a];
    assert!(toy.outputs.is_empty() && toy.running.is_empty());
}

#[test]
fn the_word_of_a_success_may_come_in_the_next_term() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(1, &[&["a"]]);
    let attempt = map(job, 0, 0);
    let toy = story.toy(&a);
    toy.running.remove(&attempt);
    toy.outputs.insert(attempt);
    let result = AttemptResult::default();
    toy.events.push(TrackerEvent::Succeeded { attempt, result });
    story.restart();
    story.register(&a);
    story.beat(&a);
    assert_eq!(story.status(job).maps.succeeded, 1);
    assert!(story.toys[&a].outputs.contains(&attempt));
}

/// A job of one map whose split list is in the chunk store.
fn with_staged_list(story: &mut Story) -> JobId {
    let job = story.submit(identity("/out"));
    let list = StagedSplits { path: "/staging/splits".into(), digest: "d".into() };
    let plan = Plan { splits: splits(&[&["a"]]), staged: Some(list) };
    story.give(Input::SplitsPlanned { job, outcome: StoreOutcome::Done(plan) });
    job
}

#[test]
fn a_job_that_is_done_needs_its_split_list_no_more() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = with_staged_list(&mut story);
    story.run_all();
    story.restart();
    assert!(
        matches!(&story.effects[..], [Effect::Store(StoreEffect::Publish { .. })]),
        "{:?}",
        story.effects
    );
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

#[test]
fn a_split_list_that_goes_with_the_publication_is_not_missed() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = with_staged_list(&mut story);
    story.restart();
    story.register(&a);
    story.beat(&a);
    story.succeed(map(job, 0, 0));
    assert_eq!(story.publishes().len(), 1, "the attempt that went on was the last");
    let reason = "no such file".to_owned();
    story.give(Input::SplitsRead { job, outcome: StoreOutcome::Refused { reason } });
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

#[test]
fn a_jobtracker_that_stood_still_blames_no_tracker_for_the_silence() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(1, &[&["a"], &["a"]]);
    story.succeed(map(job, 0, 0));
    for _ in 0..3 {
        story.pause(Duration::from_secs(60));
        story.beat(&a);
        let maps = story.status(job).maps;
        assert_eq!((maps.succeeded, maps.running, maps.killed_attempts), (1, 1, 0));
    }
    story.kill_tracker(&a);
    story.pass(Duration::from_secs(11));
    assert_eq!(story.status(job).maps.running, 0, "silence while it runs is silence");
}

#[test]
fn messages_that_waited_out_a_pause_are_no_sign_that_timers_were_punctual() {
    let mut story = Story::begin();
    let [a, b] = [story.tracker("a", 1), story.tracker("b", 1)];
    let job = story.job(0, &[&["a"], &["b"]]);
    let waiting = story.heartbeat(&a);
    story.advance_to(story.now.monotonic + Duration::from_secs(60));
    story.send(waiting);
    story.pause(Duration::ZERO);
    story.beat(&b);
    assert_eq!(story.status(job).maps.running, 2);
}

#[test]
fn a_pause_after_a_restart_leaves_trackers_their_time_to_register() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(1, &[&["a"], &["a"]]);
    story.succeed(map(job, 0, 0));
    story.restart();
    story.pause(Duration::from_secs(60));
    let b = story.tracker("b", 2);
    assert!(story.running(&b).is_empty(), "a's attempt may still run");
    story.register(&a);
    story.beat(&a);
    let maps = story.status(job).maps;
    assert_eq!((maps.succeeded, maps.running), (1, 1), "its output is not taken for lost");
}

#[test]
fn a_tracker_that_is_refused_for_want_of_room_is_alive() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(0, &[&["a"], &["a"]]);
    let toy = story.toy(&a);
    let failure = failure(FailureKind::UserCode, "boom");
    toy.events.push(TrackerEvent::Failed {
        attempt: map(job, 0, 0),
        failure,
        status: None,
        record: None,
    });
    toy.dead = true;
    let heartbeat = Box::new(story.heartbeat(&a));
    for _ in 0..6 {
        let (heartbeat, reply_to) = (heartbeat.clone(), story.ask());
        assert!(story.core.refuse(Input::Heartbeat { heartbeat, reply_to }).is_err());
        story.pass(Duration::from_secs(5));
        assert_eq!(story.status(job).maps.running, 2);
    }
    story.pass(Duration::from_secs(20));
    assert_eq!(story.status(job).maps.running, 0, "it is refused no more, and silent");
}

#[test]
fn a_tracker_that_starts_again_while_there_is_no_room_is_alive() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(1, &[&["a"], &["a"]]);
    story.succeed(map(job, 0, 0));
    story.kill_tracker(&a);
    story.toy(&a).incarnation += 1;
    story.toy(&a).running.clear();
    let request = story.registration(&a);
    for _ in 0..6 {
        let (request, reply_to) = (request.clone(), story.ask());
        assert!(story.core.refuse(Input::RegisterTracker { request, reply_to }).is_err());
        story.pass(Duration::from_secs(5));
        assert_eq!(story.status(job).maps.succeeded, 1, "its output is where it was");
    }
    story.pass(Duration::from_secs(20));
    assert_eq!(story.status(job).maps.succeeded, 0, "it is refused no more, and silent");
}

#[test]
fn a_purge_that_a_tracker_has_not_heard_of_is_told_again_when_it_names_the_job() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let live = story.job(1, &[&["a"]]);
    story.toy(&a).jobs = [live, JobId { ordinal: 77, ..live }].into();
    story.register(&a);
    story.beat(&a);
    assert_eq!(story.toy(&a).jobs, [live].into());
    assert_eq!(story.status(live).maps.running, 1);
}

#[test]
fn four_failures_are_four_though_the_power_goes_before_the_end_of_the_job_is_on_disk() {
    let mut story = Story::with(Settings { keeps_history: true, ..settings() });
    story.tracker("a", 1);
    let job = story.job(0, &[&["a"]]);
    for number in 0..4 {
        story.fail(map(job, 0, number), FailureKind::UserCode);
    }
    assert!(matches!(story.records.last(), Some(Record::JobEnded { .. })));
    story.restart_without(1);
    let status = story.status(job);
    assert_eq!(status.state, JobState::Failed);
    assert!(status.failure.unwrap().contains("failed 4 times"));
}

#[test]
fn reduces_of_other_bytes_do_not_stand_wherever_between_two_records_the_power_goes() {
    let mut n_records = 0;
    for n_lost in 0.. {
        let mut story = Story::begin();
        let a = story.tracker("a", 4);
        let job = story.job(2, &[&["a"]]);
        story.succeed_with(map(job, 0, 0), "bytes-1");
        story.succeed(job.task(TaskKind::Reduce, 0).attempt(0));
        story.event(&a, TrackerEvent::MapOutputLost { attempt: map(job, 0, 0) });
        n_records = story.records.len().max(n_records);
        story.succeed_with(map(job, 0, 1), "bytes-2");
        if story.records.len() < n_records + n_lost {
            assert!(n_lost > 2, "there are several records");
            return;
        }
        story.restart_without(n_lost);
        story.register(&a);
        story.beat(&a);
        let result = AttemptResult { digest: "bytes-2".to_owned(), ..AttemptResult::default() };
        story.event(&a, TrackerEvent::Succeeded { attempt: map(job, 0, 1), result });
        let status = story.status(job);
        assert_eq!((status.maps.succeeded, status.reduces.succeeded), (1, 0), "{n_lost} lost");
    }
}

/// Restarts the JobTracker, or does not, and lets some time pass.
fn maybe_restart(story: &mut Story, restarts: bool) {
    if restarts {
        story.restart();
        let live: Vec<_> = story.toys.iter().filter(|(_, toy)| !toy.dead).collect();
        let live: Vec<_> = live.into_iter().map(|(host, _)| host.clone()).collect();
        for host in live {
            story.register(&host);
            story.beat(&host);
        }
    }
    story.pass(Duration::from_secs(3));
}

/// The counts after each step of a job that sees a failure, a lost tracker, a lost output and a
/// kill.
fn numbers(restarts: bool, killed: bool) -> Vec<(TaskCounts, TaskCounts)> {
    // Late attempts are not known after a restart.
    let mut story = Story::with(Settings { speculative: false, ..settings() });
    let a = story.tracker("a/1", 2);
    let job = story.job(1, &[&["a/1"], &["x/1"], &["y/2"], &["a/1"], &["a/1"]]);
    let mut seen = Vec::new();
    let mut see = |story: &mut Story| {
        let before = story.status(job);
        maybe_restart(story, restarts);
        let after = story.status(job);
        assert_eq!((before.maps, before.reduces), (after.maps, after.reduces));
        seen.push((after.maps, after.reduces));
    };
    see(&mut story);
    let first = story.running(&a)[0];
    story.fail(first, FailureKind::UserCode);
    see(&mut story);
    let won = story.running(&a)[0];
    story.succeed(won);
    see(&mut story);
    let b = story.tracker("b/2", 1);
    story.pass(Duration::from_secs(3));
    see(&mut story);
    story.kill_tracker(&b);
    story.pass(Duration::from_secs(11));
    see(&mut story);
    story.toy(&b).dead = false;
    story.register(&b);
    story.beat(&b);
    see(&mut story);
    story.toy(&a).outputs.remove(&won);
    story.event(&a, TrackerEvent::MapOutputLost { attempt: won });
    see(&mut story);
    if killed {
        story.answer(|reply_to| Input::Kill { job, reply_to });
    } else {
        while !story.running_everywhere().is_empty() {
            story.run_all();
            story.pass(Duration::from_secs(3));
        }
        story.published(job);
    }
    see(&mut story);
    let (last, listed) = (story.status(job), attempts(&mut story, job));
    assert_eq!(
        last.maps.attempts + last.reduces.attempts,
        listed.len() as u32 + 1,
        "1 output lost"
    );
    let places = last.maps.node_local + last.maps.rack_local + last.maps.off_rack;
    assert_eq!(places, last.maps.attempts, "each map ran somewhere");
    let told = story.records.iter().filter_map(|record| match record {
        Record::JobEnded { maps, reduces, .. } => Some((*maps, *reduces)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(last.maps, last.reduces)]);
    seen
}

fn attempts(story: &mut Story, job: JobId) -> Vec<AttemptStatus> {
    match story.query(Query::Attempts { job }) {
        Reply::Attempts(list) => list.attempts,
        other => panic!("no attempts: {other:?}"),
    }
}

#[test]
fn numbers_of_attempts_are_the_same_with_and_without_a_restart() {
    for killed in [false, true] {
        let seen = numbers(false, killed);
        let (maps, reduces) = *seen.last().unwrap();
        assert!(seen.iter().any(|(maps, _)| maps.killed_attempts > 0), "{seen:#?}");
        assert_eq!(maps.failed_attempts, 1, "{seen:#?}");
        assert!(killed || maps.attempts > maps.total && reduces.attempts > 0, "{seen:#?}");
        let restarted = numbers(true, killed);
        let last = seen.len() - 1;
        assert_eq!(restarted[..last], seen[..last], "killed: {killed}");
        // Which slots the remaining maps take depends on chance.
        let ends = |counts: TaskCounts| {
            (counts.attempts, counts.succeeded, counts.failed_attempts, counts.killed_attempts)
        };
        assert_eq!(ends(restarted[last].0), ends(maps), "killed: {killed}");
        assert_eq!(ends(restarted[last].1), ends(reduces), "killed: {killed}");
    }
}

#[test]
fn how_near_a_running_map_is_becomes_known_with_a_long_split_list() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = with_staged_list(&mut story);
    story.restart();
    story.register(&a);
    story.beat(&a);
    assert_eq!(story.status(job).maps.node_local, 0, "the list is still to be read");
    story.give(Input::SplitsRead { job, outcome: StoreOutcome::Done(splits(&[&["a"]])) });
    let maps = story.status(job).maps;
    assert_eq!((maps.attempts, maps.node_local), (1, 1));
}
