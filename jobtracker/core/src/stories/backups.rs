//! Stories of stragglers: which late attempt gets a backup, where, and what becomes of both.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn map(job: JobId, index: u32, number: u32) -> AttemptId {
    job.task(TaskKind::Map, index).attempt(number)
}

fn reduce(job: JobId, index: u32, number: u32) -> AttemptId {
    job.task(TaskKind::Reduce, index).attempt(number)
}

/// Numbers of backups launched and won.
fn backups(story: &mut Story) -> (u64, u64) {
    match story.query(Query::Summary) {
        Reply::Summary(summary) => (summary.backups_launched, summary.backups_won),
        other => panic!("no summary: {other:?}"),
    }
}

/// A job of three maps on `a` and `b`, one slot each: `b` has done two of them in 5 s each, while
/// the first one, on `a`, has reported nothing. Its backup takes `b`'s slot, though reduces could
/// start.
fn with_a_straggler(reduces: u32) -> (Story, HostName, HostName, JobId) {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
    let job = story.job(reduces, &[&["a"], &["b"], &["b"]]);
    for index in [1, 2] {
        assert_eq!(story.running(&b), [map(job, index, 0)]);
        story.pass(5 * SECOND);
        story.succeed(map(job, index, 0));
    }
    assert_eq!(story.running(&a), [map(job, 0, 0)]);
    (story, a, b, job)
}

#[test]
fn the_backup_wins_and_the_late_one_is_ended() {
    let (mut story, a, b, job) = with_a_straggler(0);
    assert_eq!(story.running(&b), [map(job, 0, 1)]);
    let maps = story.status(job).maps;
    assert_eq!((maps.running, maps.attempts), (1, 4), "one task, though it runs twice");
    story.succeed(map(job, 0, 1));
    story.beat_all();
    assert!(story.running(&a).is_empty());
    let [(_, parts)] = story.publishes().try_into().unwrap();
    assert_eq!(parts[0].staged, map(job, 0, 1).to_string());
    assert_eq!(backups(&mut story), (1, 1));
    story.published(job);
    let maps = story.status(job).maps;
    assert_eq!((maps.succeeded, maps.attempts, maps.killed_attempts), (3, 4, 1));
}

#[test]
fn the_late_one_wins_after_all_and_its_backup_is_ended() {
    let (mut story, _, b, job) = with_a_straggler(0);
    assert_eq!(story.running(&b), [map(job, 0, 1)]);
    story.succeed(map(job, 0, 0));
    story.beat_all();
    assert!(story.running(&b).is_empty());
    assert_eq!(backups(&mut story), (1, 0));
    let [(_, parts)] = story.publishes().try_into().unwrap();
    assert_eq!(parts[0].staged, map(job, 0, 0).to_string());
}

#[test]
fn both_succeed_before_either_hears_of_the_other_and_reduces_read_one_of_them() {
    let (mut story, a, b, job) = with_a_straggler(1);
    assert_eq!(story.running(&b), [map(job, 0, 1)]);
    let c = story.tracker("c", 1);
    assert_eq!(story.running(&c), [reduce(job, 0, 0)]);
    // Its report of success arrives before it hears that it must end.
    story.kill_tracker(&a);
    story.succeed_with(map(job, 0, 1), "backup's bytes");
    story.toy(&a).dead = false;
    story.succeed_with(map(job, 0, 0), "late one's bytes");
    story.beat_all();
    let available: Vec<_> = story.toys[&c].news[&job]
        .iter()
        .filter_map(|event| match event {
            MapEvent::Available { attempt, digest, .. } if attempt.task.index == 0 => {
                Some((*attempt, digest.as_str()))
            }
            MapEvent::Available { .. } | MapEvent::Withdrawn { .. } => None,
        })
        .collect();
    assert_eq!(available, [(map(job, 0, 1), "backup's bytes")]);
    assert!(!story.toys[&a].outputs.contains(&map(job, 0, 0)), "nobody will ask for it");
    assert_eq!(story.status(job).maps.succeeded, 3);
}

#[test]
fn a_late_map_gets_no_backup_before_it_is_known_again_what_it_reads() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
    let job = story.submit(identity("/out"));
    let list = StagedSplits { path: "/staging/splits".into(), digest: "d".into() };
    let planned = splits(&[&["a"], &["b"]]);
    let plan = Plan { splits: planned.clone(), staged: Some(list) };
    story.give(Input::SplitsPlanned { job, outcome: StoreOutcome::Done(plan) });
    story.pass(SECOND);
    story.succeed(map(job, 1, 0));
    story.restart();
    for host in [&a, &b] {
        story.register(host);
        story.beat(host);
    }
    story.pass(60 * SECOND);
    assert_eq!(backups(&mut story), (0, 0));
    assert_eq!(story.status(job).state, JobState::Running, "its attempts' numbers are not used up");
    story.give(Input::SplitsRead { job, outcome: StoreOutcome::Done(planned) });
    story.pass(2 * SECOND);
    assert_eq!(story.running(&b), [map(job, 0, 1000)]);
    assert_eq!(backups(&mut story), (1, 0));
}

#[test]
fn a_backup_goes_on_when_the_late_one_fails_or_its_host_is_lost() {
    for lost in [false, true] {
        let (mut story, a, b, job) = with_a_straggler(0);
        match lost {
            false => story.fail(map(job, 0, 0), FailureKind::UserCode),
            true => {
                story.kill_tracker(&a);
                story.pass(11 * SECOND);
            }
        }
        assert_eq!(story.running(&b), [map(job, 0, 1)], "lost: {lost}");
        let maps = story.status(job).maps;
        assert_eq!((maps.running, maps.waiting), (1, 0), "it does not wait beside: {maps:?}");
        story.succeed(map(job, 0, 1));
        assert_eq!(story.publishes().len(), 1);
    }
}

#[test]
fn a_late_one_goes_on_when_its_backup_fails_and_may_get_another_one() {
    let (mut story, a, b, job) = with_a_straggler(0);
    story.fail(map(job, 0, 1), FailureKind::UserCode);
    assert_eq!(story.running(&a), [map(job, 0, 0)]);
    assert_eq!(story.status(job).maps.waiting, 0);
    let c = story.tracker("c", 1);
    story.pass(SECOND);
    assert_eq!(story.running(&c), [map(job, 0, 2)], "where it has not failed");
    assert!(story.running(&b).is_empty());
}

#[test]
fn both_go_on_through_a_restart_and_one_wins() {
    let (mut story, a, b, job) = with_a_straggler(0);
    story.restart();
    for host in [&a, &b] {
        story.register(host);
        story.beat(host);
    }
    assert_eq!(story.running_everywhere(), [map(job, 0, 0), map(job, 0, 1)]);
    story.succeed(map(job, 0, 1));
    story.beat_all();
    assert!(story.running_everywhere().is_empty());
    assert_eq!(story.publishes().len(), 1);
}

#[test]
fn what_was_given_up_is_not_taken_up_beside_the_one_that_runs_in_its_place() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
    let job = story.job(0, &[&["a"]]);
    story.kill_tracker(&a);
    story.pass(11 * SECOND);
    assert_eq!(story.running(&b), [map(job, 0, 1)]);
    story.toy(&a).dead = false;
    story.register(&a);
    story.beat(&a);
    assert!(story.running(&a).is_empty());
}

#[test]
fn nothing_is_backed_up_where_that_is_not_wanted_or_a_first_attempt_wants_the_slot() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
    let job = story.job(0, &[&["a"], &["b"], &["b"]]);
    let other = story.job(0, &[&["b"]]);
    for next in [map(other, 0, 0), map(job, 2, 0), map(job, 0, 1)] {
        story.pass(5 * SECOND);
        let done = story.running(&b)[0];
        story.succeed(done);
        assert_eq!((story.running(&a), story.running(&b)), (vec![map(job, 0, 0)], vec![next]));
    }

    let settings = Settings { speculative: false, ..settings() };
    for (settings, own) in [(settings, None), (self::settings(), Some(false))] {
        let mut story = Story::with(settings);
        let hosts = [story.tracker("a", 1), story.tracker("b", 1)];
        let job = story.submit(JobSpec { speculative: own, ..identity("/out") });
        story.plan(job, splits(&[&["a"], &["b"]]));
        story.pass(5 * SECOND);
        story.succeed(map(job, 1, 0));
        story.pass(60 * SECOND);
        assert_eq!(story.running(&hosts[0]), [map(job, 0, 0)]);
        assert!(story.running(&hosts[1]).is_empty());
        assert_eq!(backups(&mut story), (0, 0));
    }
}

#[test]
fn one_that_makes_progress_in_time_gets_no_backup() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
    let job = story.job(0, &[&["a"], &["b"]]);
    for second in 1..=11_u8 {
        story.toy(&a).progress.insert(map(job, 0, 0), f32::from(second) / 12.0);
        story.beat(&a);
        story.pass(SECOND);
        match second {
            5 => story.succeed(map(job, 1, 0)),
            _ => assert!(second < 5 || story.running(&b).is_empty(), "{second}"),
        }
    }
    // There it makes no more progress.
    story.pass(5 * SECOND);
    assert_eq!(story.running(&b), [map(job, 0, 1)]);
}

#[test]
fn a_host_on_which_something_stands_still_gets_backups_if_more_has_won_there() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 2));
    let job = story.job(0, &[&["a"], &["b"], &["b"], &["b"]]);
    for index in [2, 3] {
        story.pass(5 * SECOND);
        story.succeed(map(job, index, 0));
    }
    assert_eq!(story.running(&a), [map(job, 0, 0)]);
    assert_eq!(story.running(&b), [map(job, 0, 1), map(job, 1, 0)]);
}

#[test]
fn backups_hold_a_share_of_the_slots_at_most() {
    let mut story = Story::begin();
    let slow = story.tracker("slow", 6);
    let quick = story.tracker("quick", 10);
    let homes: Vec<&[&str]> =
        (0..7).map(|n| if n < 6 { &["slow"][..] } else { &["quick"] }).collect();
    let job = story.job(0, &homes);
    assert_eq!((story.running(&slow).len(), story.running(&quick).len()), (6, 1));
    story.pass(5 * SECOND);
    story.succeed(map(job, 6, 0));
    story.pass(10 * SECOND);
    assert_eq!(story.running(&quick).len(), 4, "a quarter of 16");
    story.succeed(map(job, 0, 1));
    assert_eq!(story.running(&quick).len(), 4, "the next one");
}

#[test]
fn reduces_are_judged_from_the_last_map_on() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 2), story.tracker("b", 2));
    let c = story.tracker("c", 1);
    let job = story.job(3, &[&["a"], &["b"], &["c"]]);
    story.succeed(map(job, 0, 0));
    story.succeed(map(job, 2, 0));
    let reduces = story.running_everywhere();
    assert_eq!(reduces.iter().filter(|it| it.task.kind == TaskKind::Reduce).count(), 3);
    let slow_map = map(job, 1, 0);
    for second in 1..=20_u8 {
        story.toy(&b).progress.insert(slow_map, f32::from(second) / 21.0);
        story.beat(&b);
        story.pass(SECOND);
    }
    story.succeed(slow_map);
    story.pass(2 * SECOND);
    let first = reduces.iter().find(|it| it.task.kind == TaskKind::Reduce).copied().unwrap();
    story.succeed(first);
    story.pass(SECOND / 4);
    assert_eq!(story.running_everywhere().len(), 2, "the others took as long");
    story.pass(2 * SECOND);
    let running = story.running_everywhere();
    assert!(running.len() > 2, "{running:?} on {a}, {b} and {c}");
}

#[test]
fn the_youngest_reduce_gives_way_to_the_backup_of_a_map_that_it_waits_for() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 2));
    let job = story.job(2, &[&["a"], &["b"], &["b"]]);
    story.pass(5 * SECOND);
    story.succeed(map(job, 1, 0));
    story.succeed(map(job, 2, 0));
    assert_eq!(story.running(&b), [reduce(job, 0, 0), reduce(job, 1, 0)]);
    story.pass(2 * SECOND);
    assert_eq!(story.status(job).reduces.killed_attempts, 0, "it was late once");
    story.pass(SECOND);
    assert_eq!(story.running(&b), [map(job, 0, 1), reduce(job, 0, 0)]);
    assert_eq!(story.status(job).reduces.killed_attempts, 1);
    story.succeed(map(job, 0, 1));
    story.beat_all();
    assert_eq!(story.running_everywhere(), [reduce(job, 0, 0), reduce(job, 1, 1)]);
    assert!(story.toys[&a].running.len() + story.toys[&b].running.len() == 2);
    story.run_all();
    assert_eq!(story.publishes().len(), 1);
}

#[test]
fn no_reduce_gives_way_while_another_map_will_soon_leave_its_slot() {
    let mut story = Story::begin();
    let (a, b, c) = (story.tracker("a", 1), story.tracker("b", 1), story.tracker("c", 1));
    let job = story.job(1, &[&["a"], &["b"], &["c"]]);
    story.pass(5 * SECOND);
    story.succeed(map(job, 2, 0));
    assert_eq!(story.running(&c), [reduce(job, 0, 0)]);
    for tenth in [6_u8, 7, 8, 9] {
        story.toy(&b).progress.insert(map(job, 1, 0), f32::from(tenth) / 10.0);
        story.beat(&b);
        story.pass(SECOND);
    }
    assert_eq!(story.running(&a), [map(job, 0, 0)]);
    assert_eq!(story.running(&c), [reduce(job, 0, 0)]);
    story.succeed(map(job, 1, 0));
    story.beat_all();
    assert_eq!(story.running(&c), [map(job, 0, 1)], "`c` was quick, and `b` was not");
    assert_eq!(story.running(&b), [reduce(job, 0, 1)]);
}

#[test]
fn a_host_on_which_more_is_late_than_has_won_gets_no_backups() {
    let mut story = Story::begin();
    let (a, b, c) = (story.tracker("a", 1), story.tracker("b", 1), story.tracker("c", 1));
    let job = story.job(0, &[&["a"], &["b"], &["c"], &["c"]]);
    story.pass(5 * SECOND);
    story.succeed(map(job, 2, 0));
    story.kill_tracker(&c);
    // Nothing has won on `b`, which gets one more slot.
    story.toy(&b).slots = 2;
    story.register(&b);
    story.beat(&b);
    story.pass(4 * SECOND);
    assert_eq!(
        (story.running(&a), story.running(&b)),
        (vec![map(job, 0, 0)], vec![map(job, 1, 0)])
    );
    let d = story.tracker("d", 1);
    assert_eq!(story.running(&d), [map(job, 0, 1)]);
}

#[test]
fn a_map_that_waits_for_its_host_keeps_its_jobs_backups_from_the_slot_that_it_may_have_to_take() {
    let mut story = Story::with(Settings { locality_wait: 3 * SECOND, ..settings() });
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
    let job = story.job(0, &[&["a"], &["b"], &["b"], &["a"]]);
    for index in [1, 2] {
        story.pass(5 * SECOND);
        story.succeed(map(job, index, 0));
    }
    assert_eq!((story.running(&a), story.running(&b)), (vec![map(job, 0, 0)], vec![]));
    story.pass(2 * SECOND);
    assert!(story.running(&b).is_empty());
    story.pass(2 * SECOND);
    assert_eq!(story.running(&b), [map(job, 3, 0)]);
}

#[test]
fn a_map_of_another_job_that_can_not_use_a_slot_keeps_no_backup_from_it() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
    let job = story.job(0, &[&["a"], &["b"]]);
    let other = story.job(0, &[&["b"]]);
    story.pass(5 * SECOND);
    story.succeed(map(job, 1, 0));
    story.fail(map(other, 0, 0), FailureKind::UserCode);
    assert!(story.running(&b).is_empty(), "it is tried elsewhere next, and `a` is taken");
    story.pass(2 * SECOND);
    assert_eq!(
        (story.running(&a), story.running(&b)),
        (vec![map(job, 0, 0)], vec![map(job, 0, 1)])
    );
}

#[test]
fn a_backup_takes_its_jobs_turn_though_other_jobs_wait() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 4));
    let job = story.job(0, &[&["a"], &["b"]]);
    let other = story.job(0, &[&["b"][..]; 20]);
    story.pass(5 * SECOND);
    story.succeed(map(job, 1, 0));
    story.pass(2 * SECOND);
    assert_eq!(story.running(&b).len(), 4, "all of them the other job's");
    let done = story.running(&b)[0];
    assert_eq!(done.task.job, other);
    story.succeed(done);
    assert!(story.running(&b).contains(&map(job, 0, 1)), "{:?}", story.running(&b));
    assert_eq!(story.running(&a), [map(job, 0, 0)]);
}

#[test]
fn the_slot_of_a_reduce_that_gives_way_goes_to_the_map_that_it_gave_way_to() {
    let mut story = Story::begin();
    let a = story.tracker("a", 4);
    let job = story.job(4, &[&["a"]]);
    story.succeed(map(job, 0, 0));
    let reduces: Vec<_> = (0..4).map(|index| reduce(job, index, 0)).collect();
    assert_eq!(story.running(&a), reduces);
    story.job(0, &[&["a"][..]; 20]);
    story.toy(&a).outputs.clear();
    story.event(&a, TrackerEvent::MapOutputLost { attempt: map(job, 0, 0) });
    story.beat_all();
    let mut expected = vec![map(job, 0, 1)];
    expected.extend(&reduces[..3]);
    assert_eq!(story.running(&a), expected, "one is enough, whatever other jobs want");
}

#[test]
fn a_task_that_tells_next_to_nothing_is_as_good_as_silent() {
    for told in [f32::MIN_POSITIVE, 1e-30, 1e-5, f32::NAN, f32::INFINITY, -1.0] {
        let mut story = Story::begin();
        let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
        let job = story.job(0, &[&["a"], &["b"]]);
        story.toy(&a).progress.insert(map(job, 0, 0), told);
        story.beat(&a);
        story.pass(5 * SECOND);
        story.succeed(map(job, 1, 0));
        story.pass(30 * SECOND);
        assert_eq!(story.running(&b), [map(job, 0, 1)], "{told}");
    }
}

#[test]
fn nothing_is_late_because_the_jobtracker_stood_still() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
    let job = story.job(0, &[&["a"], &["b"]]);
    story.pass(4 * SECOND);
    story.toy(&a).progress.insert(map(job, 0, 0), 0.5);
    story.beat(&a);
    story.pass(SECOND / 2);
    story.succeed(map(job, 1, 0));
    story.pause(30 * SECOND);
    story.beat_all();
    assert!(story.running(&b).is_empty());
    story.pass(3 * SECOND);
    assert!(story.running(&b).is_empty());
    story.pass(10 * SECOND);
    assert_eq!(story.running(&b), [map(job, 0, 1)], "but it does so now");
}

#[test]
fn what_winners_took_is_known_after_a_restart() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
    let job = story.job(0, &[&["a"], &["b"]]);
    story.pass(5 * SECOND);
    story.succeed(map(job, 1, 0));
    story.restart();
    for host in [&a, &b] {
        story.register(host);
        story.beat(host);
    }
    story.pass(6 * SECOND);
    assert!(story.running(&b).is_empty(), "how long it ran before is not known");
    story.pass(2 * SECOND);
    assert_eq!(
        (story.running(&a), story.running(&b)),
        (vec![map(job, 0, 0)], vec![map(job, 0, ATTEMPTS_PER_TERM)])
    );
}
