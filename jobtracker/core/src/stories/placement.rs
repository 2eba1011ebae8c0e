//! Stories of placement: which task gets which slot, and when.

use super::*;

fn map(job: JobId, index: u32) -> AttemptId {
    job.task(TaskKind::Map, index).attempt(0)
}

fn reduce(job: JobId, index: u32) -> AttemptId {
    job.task(TaskKind::Reduce, index).attempt(0)
}

#[test]
fn the_oldest_job_gets_the_slots_first() {
    let mut story = Story::begin();
    let first = story.job(0, &[&["a"], &["a"]]);
    let second = story.job(0, &[&["a"], &["a"]]);
    let a = story.tracker("a", 3);
    assert_eq!(story.running(&a), [map(first, 0), map(first, 1), map(second, 0)]);
}

#[test]
fn a_small_job_spreads_over_the_trackers() {
    let mut story = Story::begin();
    let hosts = ["a", "b", "c"].map(|name| story.tracker(name, 4));
    story.job(0, &[&["a", "b", "c"], &["a", "b", "c"], &["a", "b", "c"]]);
    for host in hosts {
        assert_eq!(story.running(&host).len(), 1, "{host}");
    }
}

#[test]
fn a_map_goes_to_its_bytes_then_to_their_rack_then_anywhere() {
    let mut story = Story::begin();
    let a = story.tracker("a/r1", 1);
    let job = story.job(0, &[&["a/r1"], &["a/r1"], &["a/r1"]]);
    let near = story.tracker("near/r1", 1);
    let far = story.tracker("far/r2", 1);
    assert_eq!(story.running(&a), [map(job, 0)]);
    story.pass(Duration::from_millis(999));
    assert!(story.running(&near).is_empty(), "it waits for a slot with its bytes");
    story.pass(Duration::from_millis(1));
    assert_eq!(story.running(&near), [map(job, 1)]);
    story.pass(Duration::from_millis(999));
    assert!(story.running(&far).is_empty(), "it waits for a slot on its rack");
    story.pass(Duration::from_millis(1));
    assert_eq!(story.running(&far), [map(job, 2)]);
    let maps = story.status(job).maps;
    assert_eq!((maps.node_local, maps.rack_local, maps.off_rack), (1, 1, 1));
}

#[test]
fn a_map_without_a_live_tracker_at_its_bytes_does_not_wait() {
    let mut story = Story::begin();
    let b = story.tracker("b", 1);
    let job = story.job(0, &[&["a"]]);
    assert_eq!(story.running(&b), [map(job, 0)]);
}

#[test]
fn maps_wait_for_their_bytes_as_soon_as_a_tracker_comes_up_there() {
    let mut story = Story::begin();
    let b = story.tracker("b", 1);
    let job = story.job(0, &[&["a"], &["a"], &["a"]]);
    let a = story.tracker("a", 1);
    assert_eq!((story.running(&b), story.running(&a)), (vec![map(job, 0)], vec![map(job, 1)]));
    story.succeed(map(job, 0));
    assert!(story.running(&b).is_empty(), "a will take it");
}

#[test]
fn maps_stop_waiting_for_their_bytes_when_the_tracker_there_dies() {
    let patient = Duration::from_secs(3600);
    let mut story = Story::with(Settings { locality_wait: patient, ..settings() });
    let a = story.tracker("a", 1);
    let job = story.job(0, &[&["a"], &["a"]]);
    let b = story.tracker("b", 2);
    assert!(story.running(&b).is_empty());
    story.kill_tracker(&a);
    story.pass(Duration::from_secs(12));
    assert_eq!(story.running(&b), [job.task(TaskKind::Map, 0).attempt(1), map(job, 1)]);
}

#[test]
fn a_job_waits_again_after_a_launch_at_its_bytes() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let b = story.tracker("b", 1);
    let job = story.job(0, &[&["a"], &["a"], &["a"], &["a"]]);
    story.pass(Duration::from_millis(900));
    story.succeed(map(job, 0));
    assert_eq!(story.running(&a), [map(job, 1)]);
    story.pass(Duration::from_millis(900));
    assert!(story.running(&b).is_empty(), "the launch on a renewed the wait");
    story.pass(Duration::from_millis(200));
    assert_eq!(story.running(&b), [map(job, 2)]);
}

/// A small linear congruential generator (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// The number of node-local maps (of 100) if each tracker's slots take maps as they become free.
fn node_local(n_trackers: usize, replicas: usize, seed: u64) -> u32 {
    let mut story = Story::begin();
    let mut random = Random::new(seed);
    let names: Vec<_> = (0..n_trackers).map(|n| format!("host-{n}")).collect();
    let hosts: Vec<_> = names.iter().map(|name| story.tracker(name, 2)).collect();
    let job = story.submit(wordcount("/out", 2));
    let homes = |index: usize, random: &mut Random| {
        let first = random.below(n_trackers as u64) as usize;
        let homes: Vec<_> =
            (0..replicas).map(|n| names[(first + n) % n_trackers].as_str()).collect();
        split(index, &homes)
    };
    let planned = (0..100).map(|index| homes(index, &mut random)).collect();
    story.plan(job, planned);
    let mut done = 0;
    while done < 100 {
        story.pass(Duration::from_millis(20 + random.below(200)));
        let host = &hosts[random.below(n_trackers as u64) as usize];
        let mut running = story.running(host);
        running.retain(|it| it.task.kind == TaskKind::Map);
        for attempt in running {
            story.succeed(attempt);
            done += 1;
        }
    }
    story.status(job).maps.node_local
}

#[test]
fn nine_of_ten_maps_run_at_their_bytes_with_two_replicas_on_three_trackers() {
    for seed in 0..10 {
        let local = node_local(3, 2, seed);
        assert!(local >= 90, "seed {seed}: {local} of 100");
    }
}

#[test]
fn nine_of_ten_maps_run_at_their_bytes_with_one_replica_on_four_trackers() {
    for seed in 0..10 {
        let local = node_local(4, 1, seed);
        assert!(local >= 90, "seed {seed}: {local} of 100");
    }
}

#[test]
fn reduces_start_after_their_share_of_maps() {
    let mut story = Story::with(Settings { reduce_slowstart: 0.5, ..settings() });
    story.tracker("a", 8);
    let job = story.job(1, &[&["a"], &["a"], &["a"]]);
    story.succeed(map(job, 0));
    assert!(!story.running_everywhere().contains(&reduce(job, 0)), "1 of 3 is less than half");
    story.succeed(map(job, 1));
    assert!(story.running_everywhere().contains(&reduce(job, 0)));
}

#[test]
fn maps_come_before_reduces_of_their_job() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(1, &[&["a"], &["a"]]);
    story.succeed(map(job, 0));
    assert_eq!(story.running(&a), [map(job, 1)]);
    story.succeed(map(job, 1));
    assert_eq!(story.running(&a), [reduce(job, 0)]);
}

#[test]
fn reduces_leave_a_slot_while_maps_wait() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let b = story.tracker("b", 2);
    let job = story.job(3, &[&["a"], &["a"], &["a"]]);
    story.succeed(map(job, 0));
    assert_eq!(story.running(&a), [map(job, 1)]);
    assert_eq!(story.running(&b).len(), 2, "maps wait for their bytes, reduces take b");
    story.tracker("c", 0x10);
    let reduces = || job.task(TaskKind::Reduce, 2);
    assert!(story.running_everywhere().iter().any(|it| it.task == reduces()));
    let mut crowded = Story::begin();
    let b = crowded.tracker("b", 2);
    let job = crowded.job(3, &[&["b"], &["b"]]);
    crowded.succeed(map(job, 0));
    assert_eq!(crowded.running(&b), [map(job, 1), reduce(job, 0)]);
}

#[test]
fn the_youngest_reduce_gives_way_to_a_map_that_must_run_again() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(2, &[&["a"]]);
    story.succeed(map(job, 0));
    assert_eq!(story.running(&a), [reduce(job, 0), reduce(job, 1)]);
    story.event(&a, TrackerEvent::MapOutputLost { attempt: map(job, 0) });
    let again = job.task(TaskKind::Map, 0).attempt(1);
    assert_eq!(story.running(&a), [again, reduce(job, 0)]);
    let status = story.status(job);
    assert_eq!((status.reduces.killed_attempts, status.reduces.failed_attempts), (1, 0));
    story.run_all();
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

#[test]
fn another_reduce_gives_way_when_the_first_one_hangs_instead_of_ending() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(2, &[&["a"]]);
    story.succeed(map(job, 0));
    story.toy(&a).hung.insert(reduce(job, 1));
    story.event(&a, TrackerEvent::MapOutputLost { attempt: map(job, 0) });
    story.pass(Duration::from_secs(9));
    assert_eq!(story.running(&a), [reduce(job, 0), reduce(job, 1)], "it may still end");
    story.pass(Duration::from_secs(3));
    let again = job.task(TaskKind::Map, 0).attempt(1);
    assert_eq!(story.running(&a), [again, reduce(job, 1)]);
}

#[test]
fn reduces_give_way_to_many_lost_maps_until_those_hold_half_as_many_slots() {
    let mut story = Story::begin();
    let dead = story.tracker("dead", 12);
    let job = story.job(12, &[["dead"].as_slice(); 12]);
    let a = story.tracker("a", 12);
    (0..12).for_each(|index| story.succeed(map(job, index)));
    story.kill_tracker(&dead);
    story.pass(Duration::from_secs(12));
    let running = |story: &Story| {
        let running = story.running(&a);
        let maps = running.iter().filter(|it| it.task.kind == TaskKind::Map).count();
        (maps, running.len() - maps)
    };
    assert_eq!(running(&story), (4, 8), "one alone would go round twelve times");
    let again = |index| job.task(TaskKind::Map, index).attempt(1);
    story.succeed(again(0));
    assert_eq!(running(&story), (4, 8), "the next one takes its slot");
    let killed = story.status(job).reduces.killed_attempts;
    (1..12).for_each(|index| story.succeed(again(index)));
    assert_eq!(running(&story), (0, 12), "and the reduces take them back");
    assert_eq!(story.status(job).reduces.killed_attempts, killed, "no other had to go");
    story.run_all();
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

#[test]
fn a_reduce_gives_way_when_the_only_other_tracker_dies_with_maps_left() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let b = story.tracker("b", 1);
    let job = story.job(1, &[&["a"], &["a"], &["a"]]);
    story.succeed(map(job, 0));
    assert_eq!(story.running(&b), [reduce(job, 0)]);
    story.kill_tracker(&a);
    story.pass(Duration::from_secs(12));
    let again = job.task(TaskKind::Map, 0).attempt(1);
    assert_eq!(story.running(&b), [again], "the reduce could never have ended");
    story.toys.remove(&a);
    story.run_all();
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

#[test]
fn a_failed_task_is_tried_on_another_host_if_there_is_one() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(0, &[&["a"]]);
    story.fail(map(job, 0), FailureKind::UserCode);
    assert_eq!(story.running(&a).len(), 1, "there is no other");
    let b = story.tracker("b", 1);
    story.fail(job.task(TaskKind::Map, 0).attempt(1), FailureKind::TimedOut);
    assert!(story.running(&a).is_empty());
    assert_eq!(story.running(&b).len(), 1);
}

#[test]
fn a_task_is_tried_on_every_host_before_it_comes_back_to_one() {
    let mut story = Story::begin();
    for name in ["a", "b", "c", "d"] {
        story.tracker(name, 1);
    }
    let job = story.job(0, &[&["a", "b"]]);
    let mut tried = Vec::new();
    for number in 0..3 {
        let attempt = job.task(TaskKind::Map, 0).attempt(number);
        story.pass(Duration::from_secs(3));
        tried.push(story.host_of(attempt));
        story.fail(attempt, FailureKind::UserCode);
    }
    story.pass(Duration::from_secs(3));
    tried.push(story.host_of(job.task(TaskKind::Map, 0).attempt(3)));
    tried.sort();
    assert_eq!(tried, ["a", "b", "c", "d"].map(host));
}

#[test]
fn a_tracker_whose_connection_broke_gets_nothing_until_it_comes_again() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let parked = *story.parked.keys().next().unwrap();
    story.give(Input::Gone { reply_to: parked });
    let job = story.job(0, &[&["a"]]);
    assert_eq!(story.status(job).maps.attempts, 0);
    story.beat(&a);
    assert_eq!(story.running(&a), [map(job, 0)]);
}

/// The timer set for the earlier heartbeat goes off for nothing: it neither answers the newer one
/// too soon nor leaves it for ever.
#[test]
fn a_heartbeat_that_took_the_place_of_another_one_waits_for_an_interval_of_its_own() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    story.advance_to(Monotonic(Duration::from_millis(600)));
    let heartbeat = story.heartbeat(&a);
    let newer = story.send(heartbeat);
    for (millis, waits) in [(1000, true), (1599, true), (1600, false)] {
        let its_time = Monotonic(Duration::from_millis(1600));
        assert!(story.core.poll_timeout().is_some_and(|due| due <= its_time), "{millis} ms");
        story.advance_to(Monotonic(Duration::from_millis(millis)));
        let output = story.core.handle_timeout(story.now);
        story.take(output);
        assert_eq!(story.parked.contains_key(&newer), waits, "after {millis} ms");
    }
}

#[test]
fn a_parked_heartbeat_is_answered_at_the_interval_or_when_a_newer_comes() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let older = *story.parked.keys().next().unwrap();
    let heartbeat = story.heartbeat(&a);
    let newer = story.send(heartbeat.clone());
    assert!(!story.parked.contains_key(&older), "the older one is answered first");
    assert!(story.parked.contains_key(&newer));
    let output = story.core.handle_timeout(story.now);
    story.take(output);
    assert!(story.parked.contains_key(&newer));
    story.advance_to(Monotonic(Duration::from_secs(1)));
    let output = story.core.handle_timeout(story.now);
    story.take(output);
    assert!(story.parked.is_empty());
    let repeated = story.send(heartbeat);
    assert!(!story.parked.contains_key(&repeated), "a repeated one is answered at once");
}

#[test]
fn jobs_whose_reduces_are_where_the_maps_of_others_must_go_do_not_wait_for_one_another() {
    let mut story = Story::with(Settings {
        reduce_slowstart: 0.0,
        locality_wait: Duration::ZERO,
        speculative: false,
        ..settings()
    });
    let [p, q, s, t] = ["p", "q", "s", "t"].map(|name| story.tracker(name, 1));
    let filler = story.job(0, &[&["q"], &["s"], &["t"]]);
    let low = story.job(1, &[&["p"]]);
    story.fail(map(low, 0), FailureKind::UserCode);
    let runs = |story: &Story, host: &HostName| match story.running(host)[..] {
        [attempt] => attempt,
        ref other => panic!("{host} runs {other:?}"),
    };
    let reduce = |job: JobId, index| job.task(TaskKind::Reduce, index);
    let fails_next = |story: &mut Story, host: &HostName, job: JobId| {
        let attempt = runs(story, host);
        assert_eq!(attempt.task, job.task(TaskKind::Map, 0));
        story.fail(attempt, FailureKind::UserCode);
    };
    assert_eq!(runs(&story, &p).task, reduce(low, 0), "its map goes elsewhere");
    story.succeed(map(filler, 1));
    let high = story.submit(JobSpec { priority: Some(Priority::High), ..wordcount("/high", 2) });
    story.plan(high, splits(&[&["q"]]));
    fails_next(&mut story, &s, low);
    fails_next(&mut story, &s, high);
    assert_eq!(runs(&story, &s).task, reduce(high, 0));
    story.succeed(map(filler, 0));
    fails_next(&mut story, &q, high);
    assert_eq!(runs(&story, &q).task, reduce(high, 1));
    // One map has failed on q and s, where its own job's reduces are; the other one on p and s.
    assert_eq!(runs(&story, &p).task, reduce(low, 0));
    story.kill_tracker(&t);
    story.pass(Duration::from_secs(15));
    assert_eq!(runs(&story, &p).task, high.task(TaskKind::Map, 0), "the reduce gives way");
}

#[test]
fn a_slot_that_was_kept_for_maps_is_offered_to_reduces_as_soon_as_there_is_room() {
    let mut story = Story::with(Settings { reduce_slowstart: 0.0, ..settings() });
    let [a, b, c, e] = ["a", "b", "c", "e"].map(|name| story.tracker(name, 1));
    story.kill_tracker(&e);
    story.job(0, &[&["a"], &["a"], &["a"], &["a"]]);
    for host in [&a, &b, &c, &e] {
        story.toy(host).running.clear();
    }
    // The job's maps wait until e has reported what it runs.
    story.restart();
    for host in [&a, &b, &c] {
        story.register(host);
        story.beat(host);
    }
    let job = story.job(3, &[]);
    assert_eq!(story.running_everywhere().len(), 2, "one slot is kept for the maps");
    let toy = Toy {
        slots: 1,
        rack: "/default-rack".to_owned(),
        address: "d:7881".to_owned(),
        ..Toy::default()
    };
    let d = host("d");
    story.toys.insert(d.clone(), toy);
    story.register(&d);
    let running = story.running_everywhere();
    assert_eq!(running.len(), 3, "the slot of the new host is, now");
    assert!(running.iter().all(|it| it.task.job == job && it.task.kind == TaskKind::Reduce));
}
