//! Reports of where and when attempts ran, of partitions, and of parts of the list of jobs.

use mapreduce_protocol::{Partition, TimelineAttempt};

use super::*;
use crate::{PARTITIONS_PER_PAGE, TimelinePage};

impl Story {
    fn page(&mut self, job: JobId, first: usize, since: UnixMillis) -> Option<TimelinePage> {
        match self.query(Query::Timeline { job, first, since }) {
            Reply::Timeline(page) => page,
            other => panic!("{other:?}"),
        }
    }

    fn timeline(&mut self, job: JobId) -> Vec<TimelineAttempt> {
        self.page(job, 0, UnixMillis(0)).expect("its tasks are known").attempts
    }

    fn partitions(&mut self, job: JobId, first: u32) -> Option<Vec<Partition>> {
        match self.query(Query::Partitions { job, first }) {
            Reply::Partitions(partitions) => partitions,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_timeline_tells_every_attempt_once_with_how_far_it_is() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 2), story.tracker("b", 2));
    let job = story.job(1, &[&["a"], &["b"], &["b"]]);
    let map = |index| job.task(TaskKind::Map, index);
    story.fail(map(0).attempt(0), FailureKind::UserCode);
    story.succeed(map(1).attempt(0));
    story.toy(&b).progress.insert(map(2).attempt(0), 0.25);
    story.beat(&b);
    story.beat(&a);
    let shown = story.timeline(job);
    let states: Vec<_> = shown.iter().map(|it| (it.attempt, it.state)).collect();
    let running = AttemptState::Running;
    let reduce = job.task(TaskKind::Reduce, 0).attempt(0);
    assert_eq!(
        states[..4],
        [
            (map(0).attempt(0), AttemptState::Failed),
            (map(0).attempt(1), running),
            (map(1).attempt(0), AttemptState::Succeeded),
            (map(2).attempt(0), running),
        ]
    );
    assert!(states[4..].iter().all(|it| *it == (reduce, running)));
    assert_eq!(shown[0].failure.as_deref(), Some(FailureKind::UserCode.as_str()));
    assert_eq!(shown[3].progress, Some(0.25));
    assert!(shown[2].ended_at.is_some() && shown[2].progress.is_none());
    assert!(shown.iter().filter(|it| it.state == running).all(|it| it.ended_at.is_none()));
}

#[test]
fn who_asks_for_what_is_new_gets_what_runs_and_what_ended_since() {
    let mut story = Story::begin();
    story.tracker("a", 2);
    let job = story.job(0, &[&["a"], &["a"], &["a"]]);
    let map = |index: u32| job.task(TaskKind::Map, index).attempt(0);
    story.succeed(map(0));
    story.pass(Duration::from_millis(500));
    let since = story.now.wall;
    story.pass(Duration::from_millis(500));
    story.succeed(map(1));
    let page = story.page(job, 0, since).expect("its tasks are known");
    let told: Vec<_> = page.attempts.iter().map(|it| it.attempt).collect();
    assert_eq!(told, [map(1), map(2)]);
}

#[test]
fn a_large_jobs_timeline_comes_in_pages() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let homes: Vec<&[&str]> = vec![&["a"]; 700];
    let job = story.job(600, &homes);
    let mut firsts = Vec::new();
    let mut next = Some(0);
    while let Some(first) = next {
        firsts.push(first);
        next = story.page(job, first, UnixMillis(0)).expect("its tasks are known").next;
    }
    assert_eq!(firsts, [0, 500, 1000]);
    assert_eq!(story.page(job, 5000, UnixMillis(0)), Some(TimelinePage::default()));
    let partitions = story.partitions(job, 0).expect("its tasks are known");
    assert_eq!(partitions.len(), 600.min(PARTITIONS_PER_PAGE as usize));
    assert_eq!(story.partitions(job, 599).map(|it| it[0].partition), Some(599));
}

#[test]
fn partitions_are_estimated_by_what_maps_told_until_their_reduces_have_read_them() {
    let mut story = Story::begin();
    story.tracker("a", 2);
    let job = story.job(2, &[&["a"], &["a"]]);
    let map = |index: u32| job.task(TaskKind::Map, index).attempt(0);
    story.succeed_with_sizes(map(0), &[100, 900]);
    let told = story.partitions(job, 0).expect("its tasks are known");
    let bytes: Vec<_> = told.iter().map(|it| (it.partition, it.bytes, it.estimate)).collect();
    assert_eq!(bytes, [(0, 100, true), (1, 900, true)]);
    story.succeed(map(1));
    story.run_all();
    let told = story.partitions(job, 0).expect("its tasks are known");
    assert!(told.iter().all(|it| it.host.as_ref().is_some_and(|host| host.as_str() == "a")));
}

#[test]
fn of_a_job_whose_tasks_are_forgotten_nothing_is_made_up() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = story.submit(wordcount("/planned", 1));
    assert_eq!(story.page(job, 0, UnixMillis(0)), Some(TimelinePage::default()));
    let job = story.job(0, &[&["a"]]);
    story.run_all();
    story.published(job);
    assert_eq!(story.page(job, 0, UnixMillis(0)), None);
    assert_eq!(story.partitions(job, 0), None);
    let attempt = job.task(TaskKind::Map, 0).attempt(0);
    let Reply::Attempt(found) = story.query(Query::Attempt { attempt }) else {
        panic!("it is among those that are remembered")
    };
    assert_eq!((found.attempt, found.state), (attempt, AttemptState::Succeeded));
    let unknown = Query::Attempt { attempt: job.task(TaskKind::Map, 7).attempt(0) };
    assert!(matches!(story.query(unknown), Reply::Refused(Refusal::NoSuchAttempt { .. })));
}

#[test]
fn jobs_are_listed_by_state_and_pool_and_page_by_page() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let jobs = [0, 1, 2].map(|_| story.job(0, &[&["a"]]));
    story.answer(|reply_to| Input::Kill { job: jobs[1], reply_to });
    let mut listed = |limit, only| match story.query(Query::List { limit, only }) {
        Reply::List(list) => list.jobs.iter().map(|job| job.id).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let state = |state| JobFilter { state: Some(state), ..JobFilter::default() };
    assert_eq!(listed(9, state(JobState::Killed)), [jobs[1]]);
    assert_eq!(listed(9, state(JobState::Running)), [jobs[2], jobs[0]]);
    let pool = |name: &str| JobFilter { pool: Some(name.to_owned()), ..JobFilter::default() };
    assert_eq!(listed(9, pool(DEFAULT_POOL)).len(), 3);
    assert_eq!(listed(9, pool("other")), []);
    assert_eq!(listed(2, JobFilter::default()), [jobs[2], jobs[1]]);
    let before = JobFilter { before: Some(jobs[1]), ..JobFilter::default() };
    assert_eq!(listed(2, before), [jobs[0]]);
}
