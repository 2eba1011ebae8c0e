//! Stories of several jobs at once: who gets the slots.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn fifo() -> Settings {
    let rule = PoolRule { sharing: Sharing::Fifo, ..PoolRule::named(DEFAULT_POOL) };
    Settings { pools: vec![rule], ..settings() }
}

/// A map-only job with all its bytes on `a`.
fn job(story: &mut Story, n_maps: usize, priority: Option<Priority>) -> JobId {
    let output = format!("/out-{}", story.requests);
    let job = story.submit(JobSpec { priority, ..identity(&output) });
    story.plan(job, splits(&vec![&["a"][..]; n_maps]));
    job
}

/// Number of running attempts of each job.
fn held(story: &Story, jobs: &[JobId]) -> Vec<usize> {
    let running = story.running_everywhere();
    jobs.iter().map(|job| running.iter().filter(|it| it.task.job == *job).count()).collect()
}

/// Ends the running attempts of a job, one after the other.
fn end_running(story: &mut Story, job: JobId) {
    for attempt in story.running_everywhere() {
        if attempt.task.job == job {
            story.succeed(attempt);
        }
    }
}

/// Restarts the JobTracker, registers `a` again, and lets the hold on launches pass.
fn restart(story: &mut Story) {
    story.restart();
    let a = host("a");
    story.register(&a);
    story.beat(&a);
    story.pass(3 * SECOND);
}

#[test]
fn a_small_job_beside_a_large_one_gets_the_next_slots_that_become_free() {
    let mut story = Story::begin();
    story.tracker("a", 4);
    let large = job(&mut story, 1000, None);
    assert_eq!(held(&story, &[large]), [4]);
    let small = job(&mut story, 2, None);
    assert_eq!(held(&story, &[large, small]), [4, 0], "nothing is killed for it");
    end_running(&mut story, large);
    assert_eq!(held(&story, &[large, small]), [2, 2]);
    end_running(&mut story, small);
    assert_eq!(held(&story, &[large, small]), [4, 0]);
    assert_eq!(story.publishes().len(), 1);
}

#[test]
fn jobs_share_the_slots_by_the_weights_of_their_priorities_and_what_one_leaves_others_take() {
    let mut story = Story::begin();
    story.tracker("a", 14);
    let levels = [Priority::Low, Priority::Normal, Priority::High];
    let jobs = levels.map(|priority| job(&mut story, 100, Some(priority)));
    for _ in 0..3 {
        for job in jobs {
            end_running(&mut story, job);
        }
    }
    assert_eq!(held(&story, &jobs), [2, 4, 8]);
    restart(&mut story);
    for job in jobs {
        end_running(&mut story, job);
    }
    assert_eq!(held(&story, &jobs), [2, 4, 8], "the same after a restart");
    let _killed = story.answer(|reply_to| Input::Kill { job: jobs[2], reply_to });
    story.beat_all();
    let [low, normal, high] = held(&story, &jobs)[..] else { panic!("three jobs") };
    assert_eq!((low + normal, high), (14, 0), "nothing stays idle");
}

#[test]
fn jobs_that_queue_up_go_by_priority_and_then_by_age() {
    let mut story = Story::with(fifo());
    story.tracker("a", 4);
    let first = job(&mut story, 6, None);
    let [second, high] = [None, Some(Priority::High)].map(|it| job(&mut story, 4, it));
    end_running(&mut story, first);
    assert_eq!(held(&story, &[first, second, high]), [0, 0, 4]);
    end_running(&mut story, high);
    assert_eq!(held(&story, &[first, second, high]), [2, 2, 0]);
}

#[test]
fn a_priority_that_is_changed_counts_from_the_next_slot_on_and_through_a_restart() {
    let mut story = Story::begin();
    story.tracker("a", 6);
    let jobs = [None; 2].map(|priority| job(&mut story, 100, priority));
    let set = |story: &mut Story, job, priority| {
        story.answer(|reply_to| Input::SetPriority { job, priority, reply_to })
    };
    for job in jobs {
        end_running(&mut story, job);
    }
    assert_eq!(held(&story, &jobs), [3, 3]);
    let Reply::Status(status) = set(&mut story, jobs[1], Priority::High) else { panic!() };
    assert_eq!(status.priority, Priority::High);
    let n_records = story.records.len();
    set(&mut story, jobs[1], Priority::High);
    assert_eq!(story.records.len(), n_records, "nothing has changed");
    for job in jobs {
        end_running(&mut story, job);
    }
    assert_eq!(held(&story, &jobs), [2, 4]);
    restart(&mut story);
    assert_eq!(story.status(jobs[1]).priority, Priority::High);
    for job in jobs {
        end_running(&mut story, job);
    }
    assert_eq!(held(&story, &jobs), [2, 4]);
    let _killed = story.answer(|reply_to| Input::Kill { job: jobs[1], reply_to });
    let refused = set(&mut story, jobs[1], Priority::Low);
    assert!(matches!(refused, Reply::Refused(Refusal::JobEnded { .. })), "{refused:?}");
    let nobody = JobId { date: 20_261_122, ordinal: 99 };
    let refused = set(&mut story, nobody, Priority::Low);
    assert!(matches!(refused, Reply::Refused(Refusal::NoSuchJob { .. })), "{refused:?}");
}

#[test]
fn a_single_slot_goes_to_and_fro_between_jobs() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let large = job(&mut story, 20, None);
    story.beat_all();
    let small = job(&mut story, 2, None);
    for _ in 0..4 {
        let attempt = story.running_everywhere()[0];
        story.succeed(attempt);
    }
    assert_eq!(story.status(small).maps.succeeded, 2);
    assert_eq!(story.status(large).maps.succeeded, 2);
}
