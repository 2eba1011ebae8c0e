//! Stories of reduces that run where most of their input is, or wait for that, or do not.

use mapreduce_protocol::{InputPlace, Obstacle, Place, ReduceInput, WhyNotThere};

use super::*;

const GIB: u64 = 1 << 30;

fn map(job: JobId, index: u32) -> AttemptId {
    job.task(TaskKind::Map, index).attempt(0)
}

fn reduce(job: JobId, index: u32) -> AttemptId {
    job.task(TaskKind::Reduce, index).attempt(0)
}

/// A story in which reduces start when all maps are done.
fn late_reduces() -> Story {
    Story::with(Settings { reduce_slowstart: 1.0, ..settings() })
}

/// A job of one map, on the only slot of host `a`, which another job takes once the map has made
/// these bytes for each reduce; `near` in the same rack and `far` in another one are idle.
fn one_map_on_a_busy_host(partitions: &[u64]) -> (Story, JobId, [HostName; 3]) {
    let mut story = late_reduces();
    let hosts = ["a/r1", "near/r1", "far/r2"].map(|name| story.tracker(name, 1));
    let job = story.job(u32::try_from(partitions.len()).unwrap(), &[&["a/r1"]]);
    story.job(0, &[&["a/r1"]]);
    story.succeed_with_sizes(map(job, 0), partitions);
    assert_ne!(story.running(&hosts[0])[0].task.job, job);
    (story, job, hosts)
}

#[test]
fn reduces_of_sorted_input_run_where_their_part_was_made() {
    let mut story = late_reduces();
    let hosts = ["a/r1", "b/r2", "c/r3"].map(|name| story.tracker(name, 1));
    let job = story.job(3, &[&["a/r1"], &["b/r2"], &["c/r3"]]);
    story.succeed_with_sizes(map(job, 0), &[0, 0, GIB]);
    story.succeed_with_sizes(map(job, 1), &[GIB, 0, 0]);
    story.succeed_with_sizes(map(job, 2), &[0, GIB, 0]);
    for (host, index) in hosts.iter().zip([2, 0, 1]) {
        assert_eq!(story.running(host), [reduce(job, index)], "{host}");
    }
    story.run_all();
    let reduces = story.status(job).reduces;
    assert_eq!((reduces.node_local, reduces.rack_local, reduces.off_rack), (3, 0, 0));
}

#[test]
fn a_reduce_waits_for_its_host_then_for_its_rack_then_goes_anywhere() {
    let (mut story, job, [_, near, far]) = one_map_on_a_busy_host(&[GIB, GIB]);
    story.pass(Duration::from_millis(499));
    assert!(story.running(&near).is_empty(), "it waits for the slot on the host of the map");
    story.pass(Duration::from_millis(1));
    assert_eq!(story.running(&near), [reduce(job, 0)]);
    story.pass(Duration::from_millis(499));
    assert!(story.running(&far).is_empty(), "it waits for a slot on its rack");
    story.pass(Duration::from_millis(1));
    assert_eq!(story.running(&far), [reduce(job, 1)]);
    let reduces = story.status(job).reduces;
    assert_eq!((reduces.node_local, reduces.rack_local, reduces.off_rack), (0, 1, 1));
}

#[test]
fn a_launch_near_the_input_leaves_no_other_reduce_waiting_for_ever() {
    let mut story = late_reduces();
    let [a, near, _] = ["a/r1", "near/r1", "far/r2"].map(|name| story.tracker(name, 1));
    let job = story.job(2, &[&["a/r1"]]);
    story.succeed_with_sizes(map(job, 0), &[GIB, GIB]);
    assert_eq!(story.running(&a), [reduce(job, 0)]);
    story.pass(Duration::from_millis(1000));
    assert_eq!(story.running(&near), [reduce(job, 1)]);
}

#[test]
fn nobody_waits_where_no_wait_is_configured() {
    let mut story = Story::with(Settings { locality_wait: Duration::ZERO, ..settings() });
    let [_, near, far] = ["a/r1", "near/r1", "far/r2"].map(|name| story.tracker(name, 1));
    let job = story.job(3, &[&["a/r1"]]);
    story.succeed_with_sizes(map(job, 0), &[GIB, GIB, GIB]);
    assert_eq!((story.running(&near).len(), story.running(&far).len()), (1, 1));
}

#[test]
fn what_is_fetched_sooner_than_a_slot_comes_free_is_not_waited_for() {
    let (story, job, [_, near, _]) = one_map_on_a_busy_host(&[10 << 20]);
    assert_eq!(story.running(&near), [reduce(job, 0)]);
}

#[test]
fn input_that_is_spread_evenly_is_not_waited_for() {
    let mut story = late_reduces();
    let hosts = ["a/r1", "b/r2", "c/r3"].map(|name| story.tracker(name, 1));
    let job = story.job(1, &[&["a/r1"], &["b/r2"], &["c/r3"]]);
    (0..2).for_each(|index| story.succeed_with_sizes(map(job, index), &[GIB]));
    let other = story.job(0, &[&["a/r1"], &["b/r2"]]);
    assert_eq!(story.running(&hosts[0])[0].task.job, other);
    story.succeed_with_sizes(map(job, 2), &[GIB]);
    assert_eq!(story.running(&hosts[2]), [reduce(job, 0)]);
    assert_eq!(story.status(job).reduces.node_local, 0, "it is at home nowhere");
}

#[test]
fn a_host_that_takes_no_attempts_is_not_waited_for() {
    let mut story = late_reduces();
    let a = story.tracker("a/r1", 1);
    let job = story.job(1, &[&["a/r1"]]);
    let far = story.tracker("far/r2", 1);
    story.answer(|reply_to| Input::Drain { host: a.clone(), kill: false, reply_to });
    story.succeed_with_sizes(map(job, 0), &[GIB]);
    assert_eq!(story.running(&far), [reduce(job, 0)]);
}

#[test]
fn a_host_that_is_drained_is_waited_for_no_longer_and_again_when_it_is_not() {
    let (mut story, job, [a, near, _]) = one_map_on_a_busy_host(&[GIB, GIB]);
    story.answer(|reply_to| Input::Drain { host: a.clone(), kill: false, reply_to });
    assert_eq!(story.running(&near), [reduce(job, 0)], "as soon as it is");
    story.answer(|reply_to| Input::Undrain { host: a.clone(), reply_to });
    let far_again = story.tracker("far-again/r2", 1);
    assert!(story.running(&far_again).is_empty());
}

#[test]
fn a_job_says_where_the_input_of_its_reduces_is_and_how_long_they_wait_for_it() {
    let (mut story, job, _) = one_map_on_a_busy_host(&[GIB]);
    let explain = |story: &mut Story| match story.query(Query::Explain { job, task: None }) {
        Reply::Explanation(mut explanation) => explanation.tasks.remove(0),
        other => panic!("not explained: {other:?}"),
    };
    let told = explain(&mut story);
    let place = InputPlace::Host(host("a"));
    let input = ReduceInput { place, share: 1.0, bytes: GIB, is_home: true };
    assert_eq!(told.input, Some(input));
    assert_eq!((told.limit, told.farther_in_ms), (Some(Place::NodeLocal), Some(500)));
    let why: Vec<_> = told.hosts.iter().map(|it| (it.why, it.n_hosts)).collect();
    assert_eq!(why, [(WhyNotThere::NoFreeSlot, 1), (WhyNotThere::TooFar, 2)]);
    assert!(!told.obstacles.contains(&Obstacle::MapsGoFirst));
    story.pass(Duration::from_millis(500));
    let task = reduce(job, 0).task;
    match story.query(Query::Explain { job, task: Some(task) }) {
        Reply::Explanation(explanation) => {
            assert!(explanation.tasks[0].input.as_ref().is_some_and(|input| input.is_home));
        }
        other => panic!("not explained: {other:?}"),
    }
}
