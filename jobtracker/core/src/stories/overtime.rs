//! Stories of jobs with a time limit.

use super::*;

fn timed(output: &str, timeout: &str) -> JobSpec {
    JobSpec { timeout: Some(timeout.parse().unwrap()), ..wordcount(output, 1) }
}

fn why_killed(status: JobStatus) -> String {
    assert_eq!(status.state, JobState::Killed);
    status.failure.unwrap()
}

#[test]
fn a_job_that_lasts_too_long_is_killed_with_that_cause_whatever_it_does_then() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    // One runs, one waits for a slot, one for its plan.
    let jobs = ["/1", "/2", "/3"].map(|output| story.submit(timed(output, "30s")));
    story.plan(jobs[0], splits(&[&["a"]]));
    story.plan(jobs[1], splits(&[&["a"]]));
    let endless = story.job(0, &[&["a"]]);
    story.pass(Duration::from_secs(29));
    for job in jobs {
        assert!(!story.status(job).state.is_final(), "not before");
    }
    story.pass(Duration::from_secs(1));
    for job in jobs {
        let why = why_killed(story.status(job));
        assert!(why.contains("'timeout' of 30s") && why.contains("job explain"), "{why}");
    }
    story.pass(Duration::from_secs(1));
    assert_eq!(story.running(&a)[0].task.job, endless, "the slot is another's");
}

#[test]
fn restarts_and_pauses_count_and_a_job_that_publishes_is_left_to_it() {
    let mut story = Story::begin();
    story.tracker("a", 4);
    let [paused, over, done] = ["/1", "/2", "/3"].map(|output| {
        let job = story.submit(timed(output, "60s"));
        story.plan(job, splits(&[&["a"]]));
        job
    });
    story.answer(|reply_to| Input::Pause { job: paused, kill: true, reply_to });
    story.beat_all();
    while let Some(attempt) = story.running_everywhere().iter().find(|it| it.task.job == done) {
        story.succeed(*attempt);
    }
    assert!(story.publishes().iter().any(|(job, _)| *job == done), "its output is complete");
    story.pass(Duration::from_secs(50));
    story.restart_with_trackers();
    story.pass(Duration::from_secs(9));
    assert!(!story.status(paused).state.is_final());
    story.pass(Duration::from_secs(2));
    why_killed(story.status(paused));
    why_killed(story.status(over));
    story.published(done);
    assert_eq!(story.status(done).state, JobState::Succeeded);
    // The job's time was over before the restart, while no JobTracker ran.
    let late = story.submit(timed("/4", "5s"));
    story.now.wall.0 += 10_000;
    story.restart();
    story.pass(Duration::from_millis(1));
    why_killed(story.status(late));
}

#[test]
fn a_jobs_own_slowstart_counts() {
    let mut story = Story::begin();
    story.tracker("a", 2);
    let share = |n: f64| n.try_into().ok();
    let spec = JobSpec { reduce_slowstart: share(1.0), ..wordcount("/1", 1) };
    let job = story.submit(spec);
    story.plan(job, splits(&[&["a"], &["a"], &["a"]]));
    for done in 0..3 {
        let running = story.running_everywhere();
        let maps_alone = running.iter().all(|it| it.task.kind == TaskKind::Map);
        assert!(maps_alone, "{done} maps are done: {running:?}");
        story.succeed(running[0]);
    }
    assert_eq!(story.running_everywhere()[0].task.kind, TaskKind::Reduce);
    story.run_all();
    story.published(job);
    // The time limit does not wait for a slot: the reduce runs beside the only map.
    let spec = JobSpec { reduce_slowstart: share(0.0), ..wordcount("/2", 1) };
    let job = story.submit(spec);
    story.plan(job, splits(&[&["a"]]));
    assert_eq!(story.running_everywhere().len(), 2);
}
