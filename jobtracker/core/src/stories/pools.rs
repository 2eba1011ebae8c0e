//! Stories of pools: who gets the slots, who waits, and who gives way.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// One host with `slots` slots, and these pools besides the default one.
fn with_pools(slots: u32, pools: &[PoolRule]) -> Story {
    let all = [PoolRule::named(DEFAULT_POOL)].into_iter().chain(pools.iter().cloned());
    let mut story = Story::with(Settings { pools: all.collect(), ..settings() });
    story.tracker("a", slots);
    story
}

fn spec(story: &Story, pool: &str) -> JobSpec {
    JobSpec { pool: Some(pool.to_owned()), ..identity(&format!("/out-{}", story.requests)) }
}

/// A map-only job in a pool.
fn job(story: &mut Story, pool: &str, n_maps: usize) -> JobId {
    let job = story.submit(spec(story, pool));
    story.plan(job, splits(&vec![&["a"][..]; n_maps]));
    job
}

fn refused(story: &mut Story, spec: JobSpec) -> Refusal {
    let spec = Box::new(spec);
    match story.answer(|reply_to| Input::Submit { owner: String::new(), spec, key: None, reply_to })
    {
        Reply::Refused(refusal) => refusal,
        other => panic!("accepted: {other:?}"),
    }
}

/// Number of running attempts of each job.
fn held(story: &Story, jobs: &[JobId]) -> Vec<usize> {
    let running = story.running_everywhere();
    jobs.iter().map(|job| running.iter().filter(|it| it.task.job == *job).count()).collect()
}

/// Ends all running attempts, one after the other, oldest tasks first.
fn end_running(story: &mut Story) {
    for attempt in story.running_everywhere() {
        story.succeed(attempt);
    }
}

#[test]
fn pools_share_by_their_weights_however_many_jobs_they_have() {
    let mut story = with_pools(
        8,
        &[PoolRule { weight: 3, ..PoolRule::named("heavy") }, PoolRule::named("light")],
    );
    let light = [job(&mut story, "light", 99), job(&mut story, "light", 99)];
    let heavy = job(&mut story, "heavy", 99);
    for _ in 0..3 {
        end_running(&mut story);
    }
    assert_eq!(held(&story, &[light[0], light[1], heavy]), [1, 1, 6]);
}

#[test]
fn a_pool_gets_its_minimum_first_and_never_more_than_its_limit() {
    let mut story = with_pools(
        8,
        &[
            PoolRule { min_slots: 5, ..PoolRule::named("promised") },
            PoolRule { slots_max: Some(2), weight: 99, ..PoolRule::named("limited") },
        ],
    );
    let other = job(&mut story, DEFAULT_POOL, 99);
    let limited = job(&mut story, "limited", 99);
    let promised = job(&mut story, "promised", 99);
    for _ in 0..3 {
        end_running(&mut story);
    }
    assert_eq!(held(&story, &[other, limited, promised]), [1, 2, 5]);
}

#[test]
fn a_pool_that_waits_for_its_share_too_long_gets_it_from_the_youngest_attempts_of_others() {
    let mut story = with_pools(8, &[PoolRule { min_slots: 3, ..PoolRule::named("promised") }]);
    let other = job(&mut story, DEFAULT_POOL, 99);
    let oldest = story.running_everywhere()[0];
    story.pass(SECOND);
    for attempt in &story.running_everywhere()[1..] {
        story.succeed(*attempt);
    }
    let promised = job(&mut story, "promised", 99);
    assert_eq!(held(&story, &[other, promised]), [8, 0]);
    story.pass(14 * SECOND);
    assert_eq!(held(&story, &[other, promised]), [8, 0], "not yet");
    story.pass(3 * SECOND);
    assert_eq!(held(&story, &[other, promised]), [5, 3]);
    assert!(story.running_everywhere().contains(&oldest));
    let status = story.status(other);
    assert_eq!((status.maps.killed_attempts, status.maps.failed_attempts), (3, 0));
    story.pass(60 * SECOND);
    assert_eq!(held(&story, &[other, promised]), [5, 3], "more than half of its fair share");
}

#[test]
fn nobody_gives_way_to_a_pool_that_has_what_it_wants_or_where_that_is_turned_off() {
    let promised = PoolRule { min_slots: 3, ..PoolRule::named("promised") };
    let mut story = with_pools(4, std::slice::from_ref(&promised));
    let small = job(&mut story, "promised", 1);
    let other = job(&mut story, DEFAULT_POOL, 99);
    story.pass(60 * SECOND);
    assert_eq!(held(&story, &[small, other]), [1, 3]);

    let pools = vec![PoolRule::named(DEFAULT_POOL), promised];
    let mut story = Story::with(Settings { pools, preempt_after: None, ..settings() });
    story.tracker("a", 4);
    let other = job(&mut story, DEFAULT_POOL, 99);
    let waits = job(&mut story, "promised", 99);
    story.pass(600 * SECOND);
    assert_eq!(held(&story, &[waits, other]), [0, 4]);
}

#[test]
fn of_a_pool_so_many_jobs_run_and_the_next_begins_when_one_has_ended() {
    let mut story =
        with_pools(8, &[PoolRule { running_jobs_max: Some(1), ..PoolRule::named("one") }]);
    let jobs = [job(&mut story, "one", 2), job(&mut story, "one", 3)];
    assert_eq!(held(&story, &jobs), [2, 0]);
    end_running(&mut story);
    assert_eq!(held(&story, &jobs), [0, 0], "it is still to be published");
    story.published(jobs[0]);
    story.beat_all();
    assert_eq!(held(&story, &jobs), [0, 3]);
}

#[test]
fn a_pool_that_has_as_many_jobs_as_it_may_takes_no_more_until_one_has_ended() {
    let mut story = with_pools(8, &[PoolRule { jobs_max: Some(1), ..PoolRule::named("small") }]);
    let first = job(&mut story, "small", 1);
    let next = spec(&story, "small");
    let refusal = refused(&mut story, next.clone());
    assert_eq!(refusal, Refusal::PoolFull { name: "small".to_owned(), unfinished: 1 });
    let _other = job(&mut story, DEFAULT_POOL, 1);
    story.run_all();
    story.published(first);
    story.submit(next);
}

#[test]
fn a_pool_that_nobody_configured_is_refused_by_name() {
    let mut story = with_pools(1, &[PoolRule::named("etl")]);
    let wrong = spec(&story, "elt");
    let text = refused(&mut story, wrong).to_string();
    assert!(text.contains("\"elt\"") && text.contains("default, etl"), "{text}");
}

#[test]
fn a_job_of_a_pool_that_is_configured_no_more_goes_on_in_the_default_one() {
    let mut story = with_pools(2, &[PoolRule::named("gone")]);
    let job = job(&mut story, "gone", 2);
    story.settings.pools = vec![PoolRule::named(DEFAULT_POOL)];
    story.restart();
    let a = host("a");
    story.register(&a);
    story.beat(&a);
    story.pass(3 * SECOND);
    story.run_all();
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

/// A job in a pool with one map, which has its bytes on `home`, and `n_reduces` reduces.
fn with_reduces(story: &mut Story, pool: &str, n_reduces: u32, home: &str) -> JobId {
    let output = format!("/out-{}", story.requests);
    let spec = JobSpec { pool: Some(pool.to_owned()), ..wordcount(&output, n_reduces) };
    let job = story.submit(spec);
    story.plan(job, splits(&[&[home]]));
    job
}

/// The only map of a job succeeds, its reduces start, and the map's host dies.
fn loses_its_map(story: &mut Story, job: JobId, n_reduces: usize) {
    let map = job.task(TaskKind::Map, 0).attempt(0);
    let home = story.host_of(map);
    // So that the reduces run elsewhere.
    story.answer(|reply_to| Input::Drain { host: home.clone(), kill: false, reply_to });
    story.succeed(map);
    story.beat_all();
    let reduces = |story: &Story| held(story, &[job])[0];
    assert_eq!(reduces(story), n_reduces, "{:?}", story.running_everywhere());
    assert!(story.running(&home).is_empty(), "the reduces are elsewhere");
    story.kill_tracker(&home);
    story.pass(30 * SECOND);
}

fn run_to_the_end(story: &mut Story, job: JobId) {
    story.run_all();
    story.pass(10 * SECOND);
    story.run_all();
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

#[test]
fn a_reduce_of_a_full_pool_gives_way_to_a_map_that_is_lost() {
    let mut story = with_pools(1, &[PoolRule { slots_max: Some(2), ..PoolRule::named("two") }]);
    story.tracker("b", 4);
    let job = with_reduces(&mut story, "two", 2, "a");
    loses_its_map(&mut story, job, 2);
    let runs_its_map = story.running_everywhere().iter().any(|it| it.task.kind == TaskKind::Map);
    assert!(runs_its_map, "{:?}", story.running_everywhere());
    run_to_the_end(&mut story, job);
}

#[test]
fn the_last_slot_of_a_pool_is_left_to_its_maps() {
    let mut story = with_pools(1, &[PoolRule { slots_max: Some(2), ..PoolRule::named("two") }]);
    story.tracker("b", 4);
    let spec = JobSpec { pool: Some("two".to_owned()), ..wordcount("/out", 3) };
    let job = story.submit(spec);
    story.plan(job, splits(&[&["a"][..]; 3]));
    for _ in 0..3 {
        let maps =
            story.running_everywhere().into_iter().filter(|it| it.task.kind == TaskKind::Map);
        for map in maps.collect::<Vec<_>>() {
            story.beat_all();
            story.succeed(map);
        }
    }
    run_to_the_end(&mut story, job);
    assert_eq!(story.status(job).reduces.killed_attempts, 0, "none had to give way");
}

#[test]
fn the_slot_that_a_reduce_has_given_way_for_goes_to_the_map_at_once() {
    let mut story = with_pools(1, &[]);
    let [a, b] = [host("a"), story.tracker("b", 2)];
    let job = with_reduces(&mut story, DEFAULT_POOL, 2, "a");
    let map = job.task(TaskKind::Map, 0).attempt(0);
    story.answer(|reply_to| Input::Drain { host: a.clone(), kill: false, reply_to });
    story.succeed(map);
    story.beat_all();
    assert_eq!(story.running(&b).len(), 2, "both reduces");
    story.answer(|reply_to| Input::Undrain { host: a.clone(), reply_to });
    let other = self::job(&mut story, DEFAULT_POOL, 9);
    story.beat_all();
    assert_eq!(held(&story, &[job, other]), [2, 1]);
    story.toy(&a).outputs.remove(&map);
    story.event(&a, TrackerEvent::MapOutputLost { attempt: map });
    story.beat_all();
    assert!(story.running(&b).iter().any(|it| it.task == map.task), "{:?}", story.running(&b));
    assert_eq!(story.status(job).reduces.killed_attempts, 1);
}

#[test]
fn a_job_that_holds_slots_is_not_overtaken_where_only_one_may_run() {
    let mut story =
        with_pools(1, &[PoolRule { running_jobs_max: Some(1), ..PoolRule::named("one") }]);
    story.tracker("b", 2);
    let first = with_reduces(&mut story, "one", 2, "a");
    let urgent = JobSpec { priority: Some(Priority::High), ..spec(&story, "one") };
    let urgent = story.submit(urgent);
    story.plan(urgent, splits(&[&["b"]]));
    loses_its_map(&mut story, first, 2);
    run_to_the_end(&mut story, first);
    story.beat_all();
    story.pass(10 * SECOND);
    assert_eq!(held(&story, &[urgent]), [1]);
}

#[test]
fn a_paused_job_takes_no_place_among_those_that_run() {
    let mut story =
        with_pools(2, &[PoolRule { running_jobs_max: Some(1), ..PoolRule::named("one") }]);
    let paused = job(&mut story, "one", 1);
    story.answer(|reply_to| Input::Pause { job: paused, kill: true, reply_to });
    let next = job(&mut story, "one", 1);
    story.beat_all();
    assert_eq!(held(&story, &[paused, next]), [0, 1]);
}

#[test]
fn nobody_gives_way_for_reduces_that_can_not_begin_yet() {
    let mut story = with_pools(4, &[PoolRule { min_slots: 4, ..PoolRule::named("promised") }]);
    let waits = with_reduces(&mut story, "promised", 20, "a");
    story.beat_all();
    let other = job(&mut story, DEFAULT_POOL, 99);
    assert_eq!(held(&story, &[waits, other]), [1, 3]);
    story.pass(60 * SECOND);
    assert_eq!(held(&story, &[waits, other]), [1, 3]);
    assert_eq!(story.status(other).maps.killed_attempts, 0);
}

#[test]
fn shares_are_of_the_slots_that_may_be_used() {
    let mut story = with_pools(2, &[PoolRule { min_slots: 2, ..PoolRule::named("promised") }]);
    let b = story.tracker("b", 2);
    story.answer(|reply_to| Input::Drain { host: b.clone(), kill: false, reply_to });
    let other = job(&mut story, DEFAULT_POOL, 99);
    let promised = job(&mut story, "promised", 99);
    story.pass(20 * SECOND);
    assert_eq!(held(&story, &[other, promised]), [0, 2]);
}

#[test]
fn a_pool_counts_its_jobs_from_the_moment_that_they_are_accepted() {
    let mut story = with_pools(1, &[PoolRule { jobs_max: Some(1), ..PoolRule::named("small") }]);
    // No query in between: it would update the counts.
    let outputs = [1, 2].map(|n| {
        let spec = Box::new(JobSpec { output: format!("/out/{n}"), ..spec(&story, "small") });
        let submit =
            Input::Submit { owner: String::new(), spec, key: None, reply_to: ReplyTo(1000 + n) };
        story.core.handle(story.now, submit)
    });
    let refusals = outputs.iter().flat_map(|output| &output.effects).filter(|effect| {
        let Effect::Reply { reply: Reply::Refused(refusal), .. } = effect else { return false };
        matches!(refusal, Refusal::PoolFull { unfinished: 1, .. })
    });
    assert_eq!(refusals.count(), 1);
}

#[test]
fn a_stuck_job_does_not_bring_the_others_of_its_pool_before_a_promise() {
    let mut story = with_pools(1, &[PoolRule { min_slots: 2, ..PoolRule::named("promised") }]);
    story.tracker("b", 2);
    let stuck = with_reduces(&mut story, DEFAULT_POOL, 1, "a");
    let map = stuck.task(TaskKind::Map, 0).attempt(0);
    story.succeed(map);
    story.beat_all();
    let mates = job(&mut story, DEFAULT_POOL, 99);
    let promised = job(&mut story, "promised", 99);
    for _ in 0..3 {
        for attempt in story.running_everywhere() {
            if attempt.task.job != stuck {
                story.succeed(attempt);
            }
        }
        story.pass(3 * SECOND);
    }
    assert_eq!(held(&story, &[stuck, mates, promised]), [1, 0, 2]);
}

#[test]
fn reduces_do_not_wait_for_the_maps_of_others_in_a_pool_of_few_slots() {
    for slots_max in [1, 2] {
        let rule = PoolRule { slots_max: Some(slots_max), ..PoolRule::named("few") };
        let mut story = with_pools(4, &[rule]);
        let reduces = with_reduces(&mut story, "few", 1, "a");
        story.beat_all();
        let maps = job(&mut story, "few", 40);
        for _ in 0..6 {
            let attempt = story.running_everywhere()[0];
            story.succeed(attempt);
            story.beat_all();
        }
        let done = story.status(reduces).reduces;
        assert!(done.succeeded + done.running == 1, "{slots_max}: {done:?}");
        assert!(story.status(maps).maps.succeeded < 40);
    }
}

#[test]
fn a_reduce_that_gave_way_is_not_launched_again_while_the_map_waits_for_its_host() {
    let rule = PoolRule { slots_max: Some(3), ..PoolRule::named("three") };
    let pools = vec![PoolRule::named(DEFAULT_POOL), rule];
    let mut story = Story::with(Settings { pools, reduce_slowstart: 0.0, ..settings() });
    for (name, slots) in [("a", 1), ("b", 4), ("c", 4)] {
        story.tracker(name, slots);
    }
    // The host of its map is busy, and so is the third slot of its pool.
    let _filler = story.job(0, &[&["a"]]);
    let spec = JobSpec { pool: Some("three".to_owned()), ..wordcount("/out", 5) };
    let waits = story.submit(spec);
    story.plan(waits, splits(&[&["a"]]));
    let other = JobSpec { pool: Some("three".to_owned()), ..identity("/other") };
    let other = story.submit(other);
    story.plan(other, splits(&[&["b"][..]; 9]));
    for _ in 0..5 {
        story.beat_all();
        story.pass(Duration::from_millis(300));
    }
    let status = story.status(waits);
    assert!(status.reduces.attempts < 20, "{status:?}");
    assert_ne!(status.state, JobState::Failed);
}

#[test]
fn the_slot_of_an_ended_backup_goes_to_others_of_its_full_pool_at_once() {
    let rule = PoolRule { slots_max: Some(2), ..PoolRule::named("two") };
    let mut story = with_pools(1, &[rule]);
    let (b, c) = (story.tracker("b", 1), story.tracker("c", 1));
    let late = story.submit(spec(&story, "two"));
    story.plan(late, splits(&[&["a"], &["b"], &["b"]]));
    for index in [1, 2] {
        story.pass(5 * SECOND);
        story.succeed(late.task(TaskKind::Map, index).attempt(0));
    }
    let backup = late.task(TaskKind::Map, 0).attempt(1);
    assert_eq!(story.running(&b), [backup]);
    let other = story.submit(spec(&story, "two"));
    story.plan(other, splits(&[&["c"]]));
    assert_eq!(held(&story, &[late, other]), [2, 0], "their pool is full");
    let counts = EndsAs::Killed;
    story.answer(|reply_to| Input::EndAttempt { attempt: backup, counts, reply_to });
    assert_eq!(story.running(&c), [other.task(TaskKind::Map, 0).attempt(0)]);
}

impl Story {
    fn tell_pool(&mut self, pool: &str, verb: PoolVerb) -> PoolStatus {
        match self.answer(|reply_to| Input::Pool { pool: pool.to_owned(), verb, reply_to }) {
            Reply::Pools(PoolList { mut pools }) if pools.len() == 1 => pools.remove(0),
            other => panic!("not done: {other:?}"),
        }
    }
}

#[test]
fn a_paused_pool_holds_its_jobs_and_those_that_come_later_over_a_restart_too() {
    let mut story = with_pools(2, &[PoolRule::named("held")]);
    let before = job(&mut story, "held", 2);
    assert_eq!(held(&story, &[before]), [2]);
    let status = story.tell_pool("held", PoolVerb::Pause { kill: false });
    assert_eq!((status.paused, status.slots, status.jobs), (true, 2, 1), "what runs goes on");
    story.tell_pool("held", PoolVerb::Pause { kill: true });
    story.beat_all();
    let later = job(&mut story, "held", 1);
    let other = job(&mut story, DEFAULT_POOL, 1);
    story.restart_with_trackers();
    story.pass(60 * SECOND);
    assert_eq!(held(&story, &[before, later, other]), [0, 0, 1]);
    assert!(story.status(later).paused);
    let why = story.status(later).waiting.expect("a reason");
    assert!(why.contains("howdah pool resume held"), "{why}");
    assert!(!story.tell_pool("held", PoolVerb::Resume).paused);
    story.beat_all();
    assert_eq!(held(&story, &[before, later, other]), [1, 0, 1]);
}

#[test]
fn a_job_that_is_paused_itself_stays_so_when_its_pool_goes_on() {
    let mut story = with_pools(2, &[PoolRule::named("held")]);
    let paused = job(&mut story, "held", 1);
    story.answer(|reply_to| Input::Pause { job: paused, kill: true, reply_to });
    story.tell_pool("held", PoolVerb::Pause { kill: false });
    story.tell_pool("held", PoolVerb::Resume);
    story.pass(10 * SECOND);
    assert_eq!(held(&story, &[paused]), [0]);
    story.answer(|reply_to| Input::Resume { job: paused, reply_to });
    assert_eq!(held(&story, &[paused]), [1]);
}

#[test]
fn all_jobs_of_a_pool_can_be_killed_and_no_others() {
    let mut story = with_pools(3, &[PoolRule::named("doomed")]);
    let doomed = [1, 2].map(|n_maps| job(&mut story, "doomed", n_maps));
    let other = job(&mut story, DEFAULT_POOL, 1);
    let status = story.tell_pool("doomed", PoolVerb::Kill);
    assert_eq!((status.jobs, status.slots, status.waiting), (0, 0, 0));
    assert_eq!(doomed.map(|job| story.status(job).state), [JobState::Killed; 2]);
    story.beat_all();
    assert_eq!(held(&story, &[doomed[0], doomed[1], other]), [0, 0, 1]);
    let pool = "none".to_owned();
    let unknown = |reply_to| Input::Pool { pool, verb: PoolVerb::Kill, reply_to };
    let Reply::Refused(refusal) = story.answer(unknown) else { panic!("there is none") };
    assert!(refusal.to_string().contains("names default, doomed"), "{refusal}");
}

#[test]
fn pools_are_listed_with_what_they_may_and_what_they_have() {
    let promised = PoolRule { min_slots: 1, weight: 3, ..PoolRule::named("promised") };
    let mut story = with_pools(4, &[promised]);
    job(&mut story, "promised", 9);
    job(&mut story, DEFAULT_POOL, 9);
    let Reply::Pools(PoolList { pools }) = story.query(Query::Pools) else { panic!("no list") };
    let shown: Vec<_> = pools
        .iter()
        .map(|it| (&it.pool[..], it.weight, it.slots, it.fair_share, it.waiting, it.jobs))
        .collect();
    assert_eq!(shown, [("default", 1, 0, 1, 9, 1), ("promised", 3, 4, 3, 5, 1)]);
}

#[test]
fn a_paused_pool_that_is_configured_no_more_still_holds_its_jobs_and_can_be_resumed() {
    let mut story = with_pools(1, &[PoolRule::named("held")]);
    let held_job = job(&mut story, "held", 1);
    story.tell_pool("held", PoolVerb::Pause { kill: true });
    story.beat_all();
    story.settings.pools = vec![PoolRule::named(DEFAULT_POOL)];
    story.restart_with_trackers();
    story.pass(60 * SECOND);
    assert_eq!(held(&story, &[held_job]), [0]);
    let why = story.status(held_job).waiting.expect("a reason");
    assert!(why.contains("howdah pool resume held"), "{why}");
    let Reply::Pools(PoolList { pools }) = story.query(Query::Pools) else { panic!("no list") };
    let shown: Vec<_> = pools.iter().map(|it| (&it.pool[..], it.paused, it.jobs)).collect();
    assert_eq!(shown, [("default", false, 1), ("held", true, 1)]);
    assert!(!story.tell_pool("held", PoolVerb::Resume).paused);
    assert_eq!(held(&story, &[held_job]), [1]);
    let Reply::Pools(PoolList { pools }) = story.query(Query::Pools) else { panic!("no list") };
    assert_eq!(pools.len(), 1, "it is forgotten");
}
