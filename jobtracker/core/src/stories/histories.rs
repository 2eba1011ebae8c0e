//! Stories of the histories of ended jobs.

use mapreduce_protocol::{AttemptHistory, JobHistory};

use super::*;
use crate::{HISTORY_RETRY, HISTORY_RETRY_MAX, UNWRITTEN_MAX};

fn kept() -> Settings {
    Settings { keeps_history: true, ..settings() }
}

impl Story {
    fn history(&mut self, job: JobId) -> JobHistory {
        match self.query(Query::History { job }) {
            Reply::History(history) => *history,
            other => panic!("no history: {other:?}"),
        }
    }

    /// All pages.
    fn history_attempts(&mut self, job: JobId) -> Vec<AttemptHistory> {
        let (mut first, mut attempts) = (0, Vec::new());
        loop {
            let Reply::HistoryPage(page) = self.query(Query::HistoryPage { job, first }) else {
                panic!("no page from {first} on");
            };
            attempts.extend(page.attempts);
            match page.next {
                Some(next) => first = next,
                None => return attempts,
            }
        }
    }

    /// How often the edge was asked to write each job's history.
    fn writes(&self) -> Vec<JobId> {
        let write = |effect: &Effect| match effect {
            Effect::WriteHistory { job } => Some(*job),
            _ => None,
        };
        self.effects.iter().filter_map(write).collect()
    }

    fn written(&mut self, job: JobId) {
        self.give(Input::HistoryWritten { job, outcome: StoreOutcome::Done(()) });
    }
}

#[test]
fn what_is_known_of_a_job_is_there_until_it_is_written_over_restarts_too() {
    let mut story = Story::with(kept());
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
    let job = story.job(1, &[&["a"], &["b"]]);
    let (map, reduce) = (|index| job.task(TaskKind::Map, index), job.task(TaskKind::Reduce, 0));
    story.fail(map(1).attempt(0), FailureKind::UserCode);
    let attempt = map(1).attempt(0);
    let kept = Effect::KeepLog { attempt, address: "b:7881".to_owned() };
    assert_eq!(story.effects.last(), Some(&kept), "its host may be gone in the end");
    story.pass(Duration::from_secs(1));
    story.run_all();
    let Reply::Refused(_) = story.query(Query::History { job }) else { panic!("it has not ended") };
    story.published(job);
    assert_eq!(story.writes(), [job]);
    let history = story.history(job);
    assert_eq!(history.status.state, JobState::Succeeded);
    assert_eq!((history.spec.name.as_str(), history.settings.max_attempts), ("count", 4));
    assert_eq!((history.settings.sharing.as_str(), history.counters["task.records"]), ("fair", 3));
    let attempts = story.history_attempts(job);
    let ids: Vec<_> = attempts.iter().map(|it| it.status.attempt).collect();
    assert_eq!(ids, [map(0).attempt(0), map(1).attempt(0), map(1).attempt(1), reduce.attempt(0)]);
    let failed = &attempts[1].status;
    assert_eq!((failed.state, &failed.host), (AttemptState::Failed, &b));
    assert_eq!(failed.address.as_deref(), Some("b:7881"), "its log is fetched there");
    assert!(attempts.iter().all(|it| it.status.began_at.is_some() && it.status.ended_at.is_some()));
    assert_eq!(attempts[0].counters["task.records"], 1);
    assert!(attempts[2].worked_ms.is_some() && attempts[1].counters.is_empty());

    story.kill_tracker(&a);
    story.restart();
    assert_eq!(story.writes(), [], "nobody knows yet where its trackers are");
    story.register(&b);
    story.beat(&b);
    story.pass(Duration::from_secs(3));
    assert_eq!(story.writes(), [job], "it was not written before");
    let failed = story.history_attempts(job).remove(1);
    assert_eq!(failed.status.address.as_deref(), Some("b:7881"));
    assert_eq!(
        (story.history(job).status.state, story.history_attempts(job).len()),
        (JobState::Succeeded, 4)
    );
    story.written(job);
    let Reply::Refused(_) = story.query(Query::History { job }) else { panic!("it is written") };
    story.written(job);
    story.restart();
    story.pass(Duration::from_secs(60));
    assert_eq!(story.writes(), []);
    assert_eq!(story.status(job).maps.attempts, 3, "what clients ask is as before");
}

#[test]
fn a_history_that_cannot_be_written_now_is_written_later_and_its_job_is_not_forgotten_before() {
    let mut story = Story::with(Settings { finished_jobs_max: 1, ..kept() });
    let first = story.job(0, &[]);
    story.published(first);
    let outcome = StoreOutcome::Unavailable { reason: "down".to_owned() };
    story.give(Input::HistoryWritten { job: first, outcome });
    for _ in 0..2 {
        let job = story.job(0, &[]);
        story.published(job);
        story.written(job);
    }
    let Reply::List(list) = story.query(Query::List { limit: 10, only: JobFilter::default() })
    else {
        panic!("no list")
    };
    assert_eq!(list.jobs.iter().map(|it| it.id).collect::<Vec<_>>(), [first]);
    story.effects.clear();
    story.pass(HISTORY_RETRY);
    assert_eq!(story.writes(), [first]);
    let outcome = StoreOutcome::Refused { reason: "no".to_owned() };
    story.give(Input::HistoryWritten { job: first, outcome });
    let last = story.job(0, &[]);
    story.published(last);
    story.written(last);
    let gone = story.query(Query::Status { job: first, wait: None });
    assert_eq!(gone, Reply::Refused(Refusal::NoSuchJob { job: first }));
}

#[test]
fn a_history_that_cannot_be_written_for_long_is_tried_ever_more_seldom() {
    let mut story = Story::with(kept());
    let job = story.job(0, &[]);
    story.published(job);
    let fail = |story: &mut Story| {
        let outcome = StoreOutcome::Unavailable { reason: "down".to_owned() };
        story.give(Input::HistoryWritten { job, outcome });
        story.effects.clear();
    };
    let pauses = [10, 20, 40, 80, 160, 300, 300].map(Duration::from_secs);
    assert_eq!((pauses[0], pauses[6]), (HISTORY_RETRY, HISTORY_RETRY_MAX));
    for pause in pauses {
        fail(&mut story);
        story.pass(pause - Duration::from_millis(1));
        assert_eq!(story.writes(), [], "before {pause:?}");
        story.pass(Duration::from_millis(1));
        assert_eq!(story.writes(), [job], "after {pause:?}");
    }
}

#[test]
fn of_too_many_histories_that_cannot_be_written_those_of_the_first_jobs_are_given_up() {
    let mut story = Story::with(Settings { finished_jobs_max: 1, ..kept() });
    let jobs: Vec<_> = (0..UNWRITTEN_MAX + 2)
        .map(|_| {
            let job = story.job(0, &[]);
            story.published(job);
            job
        })
        .collect();
    let given_up = |record: &Record| match record {
        Record::HistoryWritten { job } => Some(*job),
        _ => None,
    };
    let given_up: Vec<_> = story.records.iter().filter_map(given_up).collect();
    assert_eq!(given_up, &jobs[..2]);
    assert_eq!(story.core.summary().histories_unwritten, UNWRITTEN_MAX as u64);
    let gone = story.query(Query::Status { job: jobs[1], wait: None });
    assert_eq!(gone, Reply::Refused(Refusal::NoSuchJob { job: jobs[1] }));
    assert_eq!(story.history(jobs[2]).status.state, JobState::Succeeded);
    let outcome = StoreOutcome::Unavailable { reason: "down".to_owned() };
    story.give(Input::HistoryWritten { job: jobs[0], outcome });
    story.restart();
    assert_eq!(story.core.summary().histories_unwritten, UNWRITTEN_MAX as u64);
}

#[test]
fn killed_jobs_and_those_that_never_ran_have_a_history_and_long_ones_have_pages() {
    let mut story = Story::with(kept());
    let planning = story.submit(wordcount("/out", 1));
    story.answer(|reply_to| Input::Kill { job: planning, reply_to });
    assert_eq!(story.history(planning).status.state, JobState::Killed);
    assert_eq!(story.history_attempts(planning), []);
    story.tracker("a", 200);
    let long = story.job(0, &vec![&["a"][..]; 1234]);
    story.run_all();
    story.published(long);
    assert_eq!(story.history_attempts(long).len(), 1234);
    story.beat_all();
    let killed = story.job(0, &[&["a"]]);
    story.answer(|reply_to| Input::Kill { job: killed, reply_to });
    let attempts = story.history_attempts(killed);
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].status.state, AttemptState::Killed);
    assert!(attempts[0].status.began_at.is_some());
}

#[test]
fn where_nobody_wants_histories_nothing_of_ended_jobs_stays_for_them() {
    let mut story = Story::begin();
    let job = story.job(0, &[]);
    story.published(job);
    assert_eq!(story.writes(), []);
    let Reply::Refused(_) = story.query(Query::History { job }) else { panic!("none is kept") };
    assert!(story.records.contains(&Record::HistoryWritten { job }));
}
