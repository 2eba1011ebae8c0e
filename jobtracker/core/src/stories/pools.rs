//! Stories of pools: who gets the slots, who waits, and who gives way.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// One host of so many slots, and these pools beside the default one.
fn with_pools(slots: u32, pools: &[PoolRule]) -> Story {
    let all = [PoolRule::named(DEFAULT_POOL)].into_iter().chain(pools.iter().cloned());
    let mut story = Story::with(Settings { pools: all.collect(), ..settings() });
    story.tracker("a", slots);
    story
}

fn spec(story: &Story, pool: &str) -> JobSpec {
    JobSpec { pool: Some(pool.to_owned()), ..identity(&format!("/out-{}", story.requests)) }
}

/// A map-only job of so many maps in a pool.
fn job(story: &mut Story, pool: &str, n_maps: usize) -> JobId {
    let job = story.submit(spec(story, pool));
    story.plan(job, splits(&vec![&["a"][..]; n_maps]));
    job
}

fn refused(story: &mut Story, spec: JobSpec) -> Refusal {
    let spec = Box::new(spec);
    match story.answer(|reply_to| Input::Submit { spec, key: None, reply_to }) {
        Reply::Refused(refusal) => refusal,
        other => panic!("accepted: {other:?}"),
    }
}

/// How many attempts of each job run.
fn held(story: &Story, jobs: &[JobId]) -> Vec<usize> {
    let running = story.running_everywhere();
    jobs.iter().map(|job| running.iter().filter(|it| it.task.job == *job).count()).collect()
}

/// Ends all that runs, one after the other, oldest tasks first.
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
