//! Stories of what goes wrong: failed attempts, lost trackers, lost outputs.

use super::*;

fn map(job: JobId, index: u32, number: u32) -> AttemptId {
    job.task(TaskKind::Map, index).attempt(number)
}

fn reduce(job: JobId, index: u32, number: u32) -> AttemptId {
    job.task(TaskKind::Reduce, index).attempt(number)
}

#[test]
fn four_failures_of_one_task_end_the_job_and_say_where_and_why() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    story.tracker("b", 1);
    let job = story.job(0, &[&["a", "b"]]);
    for number in 0..4 {
        assert_eq!(story.status(job).state, JobState::Running);
        story.fail(map(job, 0, number), FailureKind::UserCode);
    }
    let status = story.status(job);
    assert_eq!(status.state, JobState::Failed);
    let text = status.failure.unwrap();
    let task = job.task(TaskKind::Map, 0).to_string();
    assert!(text.contains(&task) && text.contains("4 times (on a, b, a, b)"), "{text}");
    let last = format!("last {} on b, /in bytes 0–1: boom", map(job, 0, 3));
    assert!(text.contains(&last), "{text}");
}

#[test]
fn a_task_that_waits_for_another_host_than_where_it_failed_says_so() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    story.tracker("b", 1);
    let other = story.job(0, &[&["b"]]);
    let job = story.job(0, &[&["a"]]);
    story.fail(map(job, 0, 0), FailureKind::UserCode);
    assert_eq!(story.status(job).maps.running, 0);
    let why = story.status(job).waiting.expect("a reason");
    let task = job.task(TaskKind::Map, 0).to_string();
    assert!(why.contains(&format!("{task} has failed on a,")), "{why}");
    story.fail(map(other, 0, 0), FailureKind::UserCode);
    assert_eq!(story.status(job).waiting, None, "each has the other one's host now");
}

#[test]
fn killed_and_lost_attempts_do_not_count_as_failures() {
    for kind in [FailureKind::Killed, FailureKind::TrackerLost] {
        let mut story = Story::begin();
        story.tracker("a", 1);
        let job = story.job(0, &[&["a"]]);
        for number in 0..10 {
            story.fail(map(job, 0, number), kind.clone());
        }
        let status = story.status(job);
        assert_eq!((status.state, status.maps.killed_attempts), (JobState::Running, 10));
    }
}

#[test]
fn whatever_a_task_or_the_chunk_store_says_no_record_is_long() {
    let mut story = Story::begin();
    let a = story.tracker("a", 3);
    let job = story.job(1, &[&["a"], &["a"]]);
    let long = || "x".repeat(2 << 20);
    let toy = story.toy(&a);
    for attempt in [map(job, 0, 0), map(job, 1, 0)] {
        toy.running.remove(&attempt).unwrap();
    }
    let many = (0..5000).map(|n| (format!("{n:0>256}"), 1));
    let counters = many.chain([(long(), 1)]).collect();
    let result = AttemptResult { digest: long(), counters, ..AttemptResult::default() };
    story.event(&a, TrackerEvent::Succeeded { attempt: map(job, 0, 0), result });
    let failure = failure(FailureKind::UserCode, &long());
    story.event(
        &a,
        TrackerEvent::Failed { attempt: map(job, 1, 0), failure, status: None, record: None },
    );
    story.answer(|reply_to| Input::Kill { job, reply_to });
    let other = story.submit(identity("/out"));
    let outcome = StoreOutcome::Refused { reason: long() };
    story.give(Input::SplitsPlanned { job: other, outcome });
    for record in &story.records {
        let length = format!("{record:?}").len();
        assert!(length < 512 << 10, "{length} bytes");
    }
}

fn no_room(story: &mut Story, attempt: AttemptId) {
    story.fail(attempt, FailureKind::OutOfSpace);
}

#[test]
fn a_host_without_room_is_left_alone_and_costs_the_task_no_try() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(0, &[&["a"], &["a"], &["a"], &["a"]]);
    let b = story.tracker("b", 1);
    no_room(&mut story, map(job, 0, 0));
    no_room(&mut story, map(job, 1, 0));
    assert!(story.running(&a).is_empty(), "it has free slots, but no room");
    story.pass(Duration::from_secs(3));
    assert_eq!(story.running(&b).len(), 1, "elsewhere the job goes on");
    story.pass(Duration::from_millis(2500));
    let again = story.running(&a);
    assert_eq!(again.len(), 2, "it may have room now");
    no_room(&mut story, again[0]);
    story.pass(Duration::from_secs(9));
    assert_eq!(story.running(&a), again[1..], "the second time for longer");
    story.run_all();
    story.pass(Duration::from_secs(20));
    story.run_all();
    story.published(job);
    let status = story.status(job);
    assert_eq!((status.state, status.maps.failed_attempts), (JobState::Succeeded, 3));
}

#[test]
fn a_task_outlives_more_full_hosts_than_it_has_tries() {
    let mut story = Story::begin();
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        story.tracker(name, 1);
    }
    let job = story.job(0, &[&["a"]]);
    for number in 0..4 {
        story.pass(Duration::from_secs(1));
        no_room(&mut story, map(job, 0, number));
    }
    story.pass(Duration::from_secs(1));
    story.succeed(map(job, 0, 4));
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

#[test]
fn a_job_for_which_no_host_has_room_fails_and_says_what_to_do() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    story.tracker("b", 1);
    let job = story.job(0, &[&["a"]]);
    let began = story.now.monotonic;
    let mut tries = 0;
    while story.status(job).state == JobState::Running {
        match story.running_everywhere().first() {
            Some(attempt) => no_room(&mut story, *attempt),
            None => story.pass(Duration::from_secs(1)),
        }
        tries = story.status(job).maps.failed_attempts;
        assert!(tries < 20);
    }
    assert_eq!(tries, 8, "four on each host");
    assert!(story.now.monotonic.since(began) >= Duration::from_secs(35), "with pauses");
    let status = story.status(job);
    assert_eq!(status.state, JobState::Failed);
    let text = status.failure.unwrap();
    assert!(text.contains("each of 2 failed 4 times in a row") && text.contains("boom"), "{text}");
    assert!(text.contains("make space"), "{text}");
}

#[test]
fn a_tracker_that_was_started_anew_gets_work_at_once() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(0, &[&["a"]]);
    no_room(&mut story, map(job, 0, 0));
    assert!(story.running(&a).is_empty());
    story.toy(&a).incarnation = 2;
    story.register(&a);
    story.beat(&a);
    assert_eq!(story.running(&a), [map(job, 0, 1)]);
}

#[test]
fn no_reduce_gives_way_on_a_host_that_has_no_room_for_the_map() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(2, &[&["a"]]);
    story.succeed(map(job, 0, 0));
    assert_eq!(story.running(&a), [reduce(job, 0, 0), reduce(job, 1, 0)]);
    story.event(&a, TrackerEvent::MapOutputLost { attempt: map(job, 0, 0) });
    assert_eq!(story.running(&a), [map(job, 0, 1), reduce(job, 0, 0)], "one gave way");
    no_room(&mut story, map(job, 0, 1));
    assert_eq!(story.running(&a), [reduce(job, 0, 0)], "the other need not");
    story.pass(Duration::from_secs(6));
    assert_eq!(story.running(&a), [map(job, 0, 2), reduce(job, 0, 0)]);
}

#[test]
fn what_would_fail_on_every_host_fails_the_job_at_once() {
    let mut story = Story::begin();
    story.tracker("a", 2);
    let job = story.job(0, &[&["a"], &["a"]]);
    story.fail(map(job, 1, 0), FailureKind::BadJob);
    let status = story.status(job);
    assert_eq!((status.state, status.maps.failed_attempts), (JobState::Failed, 1));
    let text = status.failure.unwrap();
    assert!(text.contains("/in bytes 1–2, can't run on any host: boom"), "{text}");
}

#[test]
fn of_failures_that_cost_no_try_the_last_are_remembered() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let spec = JobSpec { max_attempts: Some(100), ..identity("/out") };
    let job = story.submit(spec);
    story.plan(job, splits(&[&["a"]]));
    story.fail(map(job, 0, 0), FailureKind::UserCode);
    for number in 1..=30 {
        no_room(&mut story, map(job, 0, number));
        story.pass(Duration::from_mins(5));
    }
    let Reply::Attempts(list) = story.query(Query::Attempts { job }) else { panic!("no list") };
    let failed = list.attempts.iter().filter(|it| it.state == AttemptState::Failed);
    let numbers: Vec<_> = failed.map(|it| it.attempt.number).collect();
    assert_eq!(numbers, [0].into_iter().chain(11..=30).collect::<Vec<_>>());
    story.restart();
}

#[test]
fn a_success_told_again_after_its_output_was_lost_wins_nothing() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(1, &[&["a"]]);
    let lost = map(job, 0, 0);
    story.succeed(lost);
    story.event(&a, TrackerEvent::MapOutputLost { attempt: lost });
    let toy = story.toy(&a);
    toy.running.clear();
    let result = AttemptResult::default();
    toy.events = Outbox::default();
    toy.events.push(TrackerEvent::Succeeded { attempt: lost, result });
    // It has had no reply, so for all it knows the attempt must still be reported.
    toy.outputs.insert(lost);
    story.register(&a);
    story.beat(&a);
    assert_eq!(story.running(&a), [map(job, 0, 2)], "the one between went with the session");
    assert!(story.toys[&a].outputs.is_empty());
}

#[test]
fn a_job_may_ask_for_fewer_tries() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = story.submit(JobSpec { max_attempts: Some(1), ..identity("/out") });
    story.plan(job, splits(&[&["a"]]));
    story.fail(map(job, 0, 0), FailureKind::TimedOut);
    assert_eq!(story.status(job).state, JobState::Failed);
}

#[test]
fn a_task_that_never_ends_is_given_up_before_its_numbers_run_out() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = story.job(0, &[&["a"]]);
    for number in 0..ATTEMPTS_PER_TERM {
        story.fail(map(job, 0, number), FailureKind::Killed);
    }
    let status = story.status(job);
    assert_eq!(status.state, JobState::Failed);
    assert!(status.failure.unwrap().contains("1000 times"));
}

#[test]
fn a_lost_trackers_running_attempts_run_elsewhere() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(0, &[&["a"], &["a"]]);
    let b = story.tracker("b", 2);
    story.kill_tracker(&a);
    story.pass(Duration::from_secs(9));
    assert!(story.running(&b).is_empty(), "silence is not death yet");
    story.pass(Duration::from_secs(2));
    assert_eq!(story.running(&b), [map(job, 0, 1), map(job, 1, 1)]);
    let maps = story.status(job).maps;
    assert_eq!((maps.failed_attempts, maps.killed_attempts), (0, 2));
}

#[test]
fn map_output_lost_after_success_is_rerun() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(1, &[&["a"], &["b"]]);
    let b = story.tracker("b", 3);
    story.succeed(map(job, 0, 0));
    assert!(story.running(&b).contains(&map(job, 1, 0)));
    assert!(story.running(&b).contains(&reduce(job, 0, 0)));
    story.kill_tracker(&a);
    story.succeed(map(job, 1, 0));
    story.pass(Duration::from_secs(12));
    assert!(story.running(&b).contains(&map(job, 0, 1)), "its output went with a");
    assert!(!story.running(&b).contains(&map(job, 1, 1)), "this one lies on b");
    story.succeed(map(job, 0, 1));
    let told = story.toys[&b].news[&job].clone();
    let available = |attempt| move |event: &&MapEvent| matches!(event, MapEvent::Available { attempt: it, .. } if *it == attempt);
    assert_eq!(told.iter().filter(available(map(job, 0, 0))).count(), 1);
    assert_eq!(told.iter().filter(available(map(job, 0, 1))).count(), 1);
    assert!(told.contains(&MapEvent::Withdrawn { attempt: map(job, 0, 0) }));
}

#[test]
fn what_maps_counted_counts_once_whether_their_lost_outputs_are_made_again_or_not() {
    for n_rerun in 0..=2 {
        let mut story = Story::begin();
        let a = story.tracker("a", 2);
        let job = story.job(1, &[&["a"], &["a"]]);
        let b = story.tracker("b", 3);
        (0..2).for_each(|index| story.succeed(map(job, index, 0)));
        assert!(story.running(&b).contains(&reduce(job, 0, 0)));
        story.kill_tracker(&a);
        story.pass(Duration::from_secs(12));
        let counted = |story: &mut Story| match story.query(Query::Counters { job }) {
            Reply::Counters(counters) => counters.counters["task.records"],
            other => panic!("{other:?}"),
        };
        assert_eq!(story.status(job).maps.succeeded, 0, "both went with a");
        assert_eq!(counted(&mut story), 2, "and have counted all the same");
        (0..n_rerun).for_each(|index| story.succeed(map(job, index, 1)));
        story.restart_with_trackers();
        story.succeed(reduce(job, 0, 0));
        story.published(job);
        let status = story.status(job);
        assert_eq!((status.state, status.maps.succeeded), (JobState::Succeeded, 2));
        assert_eq!(counted(&mut story), 3, "{n_rerun} of the maps ran again");
    }
}

#[test]
fn outputs_that_no_reduce_needs_any_more_are_not_made_again() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(0, &[&["a"], &["a"]]);
    story.succeed(map(job, 0, 0));
    story.kill_tracker(&a);
    let b = story.tracker("b", 2);
    story.pass(Duration::from_secs(12));
    assert_eq!(story.running(&b), [map(job, 1, 1)], "map 0 wrote to the staging folder");
}

fn cannot_fetch(story: &mut Story, host: &HostName, reduce: AttemptId, map: AttemptId) {
    let message = "connection reset".to_owned();
    story.event(host, TrackerEvent::FetchFailed { reduce, map, message });
}

#[test]
fn an_output_that_several_reduces_cannot_fetch_for_a_while_is_made_again() {
    let mut story = Story::begin();
    let a = story.tracker("a", 5);
    let job = story.job(4, &[&["a"]]);
    let lost = map(job, 0, 0);
    story.succeed(lost);
    let report = |story: &mut Story, index| {
        cannot_fetch(story, &a, reduce(job, index, 0), lost);
        story.running(&a).contains(&map(job, 0, 1))
    };
    for index in [0, 0, 0, 1, 2] {
        assert!(!report(&mut story, index), "its tracker may be starting again");
    }
    story.pass(Duration::from_secs(9));
    assert!(!report(&mut story, 0));
    story.pass(Duration::from_secs(1));
    assert!(report(&mut story, 0));
    assert!(!story.toys[&a].outputs.contains(&lost), "the broken output is dropped");
}

#[test]
fn a_reduce_with_a_bad_network_does_not_make_all_maps_run_again() {
    let mut story = Story::begin();
    let a = story.tracker("a", 4);
    let job = story.job(3, &[&["a"]]);
    story.succeed(map(job, 0, 0));
    for _ in 0..5 {
        cannot_fetch(&mut story, &a, reduce(job, 0, 0), map(job, 0, 0));
        story.pass(Duration::from_secs(5));
    }
    assert!(!story.running(&a).contains(&map(job, 0, 1)), "the others have read it");
    story.pass(Duration::from_secs(5));
    cannot_fetch(&mut story, &a, reduce(job, 0, 0), map(job, 0, 0));
    assert!(story.running(&a).contains(&map(job, 0, 1)), "its part may be broken");
}

#[test]
fn only_a_running_reduce_of_the_same_job_is_believed_that_it_can_not_fetch_an_output() {
    let mut story = Story::begin();
    let [a, b] = ["a", "b"].map(|name| story.tracker(name, 4));
    let job = story.job(2, &[&["a"]]);
    story.succeed(map(job, 0, 0));
    let own = [reduce(job, 0, 0), reduce(job, 1, 0)];
    let [ended, runs] = own;
    story.succeed(ended);
    let other = story.job(1, &[&["b"], &["b"]]);
    story.beat_all();
    story.succeed(map(other, 0, 0));
    story.beat_all();
    let host = story.host_of(runs);
    let elsewhere = if host == a { &b } else { &a };
    let strangers = [reduce(other, 0, 0), map(other, 1, 0)].map(|it| (story.host_of(it), it));
    let others = [(host.clone(), ended), (elsewhere.clone(), runs), (host.clone(), map(job, 0, 0))];
    for _ in 0..6 {
        for (host, liar) in strangers.iter().chain(&others) {
            cannot_fetch(&mut story, host, *liar, map(job, 0, 0));
        }
        story.pass(Duration::from_secs(4));
    }
    let runs_again = |story: &Story| story.running_everywhere().contains(&map(job, 0, 1));
    assert!(!runs_again(&story), "none of them is to read it");
    assert_eq!(story.host_status(&a).strikes, []);
    for _ in 0..4 {
        cannot_fetch(&mut story, &host, runs, map(job, 0, 0));
        story.pass(Duration::from_secs(4));
    }
    assert!(runs_again(&story), "it is");
}

#[test]
fn a_tracker_that_starts_again_with_its_outputs_is_not_blamed_for_the_gap() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(1, &[&["a"]]);
    story.succeed(map(job, 0, 0));
    cannot_fetch(&mut story, &a, reduce(job, 0, 0), map(job, 0, 0));
    story.pass(Duration::from_secs(9));
    story.register(&a);
    story.beat(&a);
    story.pass(Duration::from_secs(2));
    cannot_fetch(&mut story, &a, reduce(job, 0, 0), map(job, 0, 0));
    assert!(!story.running(&a).contains(&map(job, 0, 1)));
}

#[test]
fn an_output_that_its_tracker_looked_for_in_vain_is_made_again_at_once() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(1, &[&["a"]]);
    story.succeed(map(job, 0, 0));
    story.event(&a, TrackerEvent::MapOutputLost { attempt: map(job, 0, 0) });
    assert!(story.running(&a).contains(&map(job, 0, 1)));
}

#[test]
fn a_reduce_that_has_read_what_no_map_stands_for_starts_again_and_blames_nobody() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(1, &[&["a"]]);
    story.succeed_with(map(job, 0, 0), "bytes-1");
    let read = reduce(job, 0, 0);
    story.fail(read, FailureKind::MapOutputChanged { map_attempt: map(job, 0, 0) });
    assert_eq!(story.running(&a), [reduce(job, 0, 1)], "the map's output is as good as before");
    assert_eq!(story.status(job).reduces.failed_attempts, 0);
}

#[test]
fn a_rerun_with_the_same_bytes_leaves_finished_reduces_alone() {
    let finished = |digest: &str| {
        let mut story = Story::begin();
        let a = story.tracker("a", 3);
        let job = story.job(2, &[&["a"]]);
        story.succeed_with(map(job, 0, 0), "bytes-1");
        story.succeed(reduce(job, 0, 0));
        story.event(&a, TrackerEvent::MapOutputLost { attempt: map(job, 0, 0) });
        story.succeed_with(map(job, 0, 1), digest);
        let status = story.status(job);
        (status.reduces.succeeded, story.running(&a))
    };
    let (succeeded, running) = finished("bytes-1");
    assert_eq!((succeeded, running.len()), (1, 1));
    let (succeeded, running) = finished("bytes-2");
    assert_eq!(succeeded, 0, "a reduce of other bytes may not stand");
    assert!(running.iter().all(|it| it.number == 1), "both run again: {running:?}");
    assert_eq!(running.len(), 2);
}

#[test]
fn a_reduce_of_old_bytes_that_succeeds_just_then_does_not_win() {
    let mut story = Story::begin();
    let a = story.tracker("a", 3);
    let job = story.job(1, &[&["a"]]);
    story.succeed_with(map(job, 0, 0), "bytes-1");
    story.event(&a, TrackerEvent::MapOutputLost { attempt: map(job, 0, 0) });
    // Both ends are reported in one heartbeat.
    let toy = story.toy(&a);
    for (attempt, digest) in [(map(job, 0, 1), "bytes-2"), (reduce(job, 0, 0), "old")] {
        toy.running.remove(&attempt).unwrap();
        let result = AttemptResult {
            digest: digest.to_owned(),
            counters: BTreeMap::new(),
            ..AttemptResult::default()
        };
        toy.events.push(TrackerEvent::Succeeded { attempt, result });
    }
    toy.outputs.insert(map(job, 0, 1));
    story.beat(&a);
    assert!(story.publishes().is_empty(), "it read what no map stands for");
    assert_eq!(story.running(&a), [reduce(job, 0, 1)]);
    story.run_all();
    assert_eq!(story.publishes()[0].1[0].staged, reduce(job, 0, 1).to_string());
}

#[test]
fn a_reduce_of_old_bytes_is_ended_when_it_comes_back_after_a_restart() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(1, &[&["a"]]);
    story.succeed_with(map(job, 0, 0), "bytes-1");
    assert_eq!(story.running(&a), [reduce(job, 0, 0)]);
    story.event(&a, TrackerEvent::MapOutputLost { attempt: map(job, 0, 0) });
    let old = story.toys[&a].running[&reduce(job, 0, 0)].clone();
    story.succeed_with(map(job, 0, 1), "bytes-2");
    assert_eq!(story.running(&a), [reduce(job, 0, 1)]);
    // The command to end it was lost with the JobTracker.
    let toy = story.toy(&a);
    toy.running = BTreeMap::from([(old.attempt, old)]);
    story.restart();
    story.register(&a);
    story.beat(&a);
    assert_eq!(story.running(&a), [reduce(job, 0, ATTEMPTS_PER_TERM)], "in its place");
}

#[test]
fn the_first_attempt_to_succeed_wins_even_if_it_was_given_up() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(0, &[&["a"]]);
    let b = story.tracker("b", 1);
    story.kill_tracker(&a);
    story.pass(Duration::from_secs(12));
    assert_eq!(story.running(&b), [map(job, 0, 1)]);
    let toy = story.toy(&a);
    toy.dead = false;
    toy.running.clear();
    let result = AttemptResult::default();
    toy.events.push(TrackerEvent::Succeeded { attempt: map(job, 0, 0), result });
    story.register(&a);
    story.beat(&a);
    story.beat_all();
    assert!(story.running_everywhere().is_empty(), "the other is ended");
    assert_eq!(story.publishes()[0].1[0].staged, map(job, 0, 0).to_string());
}

#[test]
fn a_tracker_that_comes_back_goes_on_with_what_is_still_wanted() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(0, &[&["a"], &["a"]]);
    story.kill_tracker(&a);
    story.pass(Duration::from_secs(12));
    let b = story.tracker("b", 1);
    assert_eq!(story.running(&b), [map(job, 0, 1)]);
    story.toy(&a).dead = false;
    story.register(&a);
    story.beat(&a);
    assert_eq!(story.running(&a), [map(job, 1, 0)], "one goes on, the other has been replaced");
    story.run_all();
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

#[test]
fn a_restarted_tracker_has_lost_what_it_ran_and_what_it_does_not_report() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(1, &[&["a"], &["a"]]);
    story.succeed(map(job, 0, 0));
    let toy = story.toy(&a);
    *toy = Toy {
        incarnation: 2,
        slots: 3,
        rack: toy.rack.clone(),
        address: toy.address.clone(),
        ..Toy::default()
    };
    story.register(&a);
    story.beat(&a);
    let running = story.running(&a);
    assert!(running.contains(&map(job, 0, 1)) && running.contains(&map(job, 1, 1)), "{running:?}");
}

#[test]
fn a_host_name_belongs_to_its_living_bearer() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let toy = story.toy(&a);
    (toy.incarnation, toy.address) = (2, "elsewhere:7881".to_owned());
    match story.register_reply(&a) {
        Reply::Refused(Refusal::HostNameTaken { address, .. }) => assert_eq!(address, "a:7881"),
        other => panic!("{other:?}"),
    }
    story.kill_tracker(&a);
    story.pass(Duration::from_secs(3));
    assert!(matches!(story.register_reply(&a), Reply::Registered(_)), "the first is silent");
    story.toy(&a).incarnation = 3;
    assert!(matches!(story.register_reply(&a), Reply::Registered(_)), "the address was free");
}

#[test]
fn strangers_are_refused_with_what_to_do() {
    let mut story = Story::begin();
    type Change = fn(&mut RegisterTracker);
    let request = |change: Change| {
        let mut request = RegisterTracker {
            protocol: PROTOCOL_VERSION,
            cluster: None,
            host: host("a"),
            rack: Default::default(),
            address: "a:1".to_owned(),
            incarnation: 1,
            slots: 1,
            running: vec![],
            map_outputs: vec![],
            jobs: Vec::new(),
            not_isolated: None,
        };
        change(&mut request);
        Box::new(request)
    };
    let changes: [(Change, &str); 3] = [
        (|it| it.cluster = Some("another-one".parse().unwrap()), "another-one"),
        (|it| it.protocol = 9, "version 9"),
        (|it| it.slots = 0, "0 slots"),
    ];
    for (change, needle) in changes {
        let request = request(change);
        match story.answer(|reply_to| Input::RegisterTracker { request, reply_to }) {
            Reply::Refused(refusal) => assert!(refusal.to_string().contains(needle), "{refusal}"),
            other => panic!("{other:?}"),
        }
    }
    let a = story.tracker("b", 1);
    let old = story.heartbeat(&a);
    story.register(&a);
    let reply = story.answer(|reply_to| Input::Heartbeat { heartbeat: Box::new(old), reply_to });
    assert_eq!(reply, Reply::Refused(Refusal::NotRegistered { host: a }), "of an old session");
}

#[test]
fn a_repeated_heartbeat_is_a_sign_of_life_though_it_tells_nothing_new() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(0, &[&["a"]]);
    let heartbeat = story.heartbeat(&a);
    story.send(heartbeat.clone());
    // No reply arrives.
    story.kill_tracker(&a);
    for _ in 0..20 {
        story.send(heartbeat.clone());
        story.pass(Duration::from_secs(2));
    }
    assert_eq!(story.core.summary().trackers, 1);
    assert_eq!(story.status(job).maps.killed_attempts, 0);
    story.pass(Duration::from_secs(11));
    assert_eq!(story.core.summary().trackers, 0);
}

#[test]
fn doubled_and_reordered_heartbeats_are_taken_once() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(0, &[&["a"], &["a"], &["a"]]);
    let attempt = map(job, 0, 0);
    let toy = story.toy(&a);
    toy.running.remove(&attempt);
    let result = AttemptResult::default();
    toy.events.push(TrackerEvent::Succeeded { attempt, result });
    let older = story.heartbeat(&a);
    let newer = story.heartbeat(&a);
    story.send(newer.clone());
    story.send(older.clone());
    story.send(newer);
    story.send(older);
    story.beat(&a);
    let status = story.status(job);
    assert_eq!((status.maps.succeeded, status.maps.attempts), (1, 2));
    assert_eq!(story.running(&a), [map(job, 1, 0)]);
}
