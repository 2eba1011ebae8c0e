//! Stories of whole jobs: submission, reservation, commit, kill, queries.

use super::*;

fn refusal(reply: Reply) -> Refusal {
    match reply {
        Reply::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn submit(story: &mut Story, spec: JobSpec, key: Option<(&str, &str)>) -> Reply {
    let spec = Box::new(spec);
    let key = key.map(|(key, digest)| IdempotencyKey { key: key.into(), digest: digest.into() });
    story.answer(|reply_to| Input::Submit { owner: String::new(), spec, key, reply_to })
}

#[test]
fn named_outputs_of_maps_are_published_once_whatever_became_of_the_map_output() {
    // Whether the map that runs again succeeds before the reduce does.
    for runs_again in [false, true] {
        let mut story = Story::begin();
        let a = story.tracker("a", 3);
        let job = story.job(1, &[&["a"]]);
        let (map, reduce) = (job.task(TaskKind::Map, 0), job.task(TaskKind::Reduce, 0));
        story.succeed_with_named(map.attempt(0), &["errors", "rest"]);
        story.event(&a, TrackerEvent::MapOutputLost { attempt: map.attempt(0) });
        story.restart_with_trackers();
        if runs_again {
            story.succeed_with_named(map.attempt(1), &["errors"]);
        }
        story.succeed(reduce.attempt(0));
        let published: Vec<_> = story.publishes().pop().unwrap().1;
        let published: Vec<_> =
            published.iter().map(|it| (it.published.as_str(), it.staged.as_str())).collect();
        let part = reduce.attempt(0).to_string();
        let of = |number: u32, name: &str| format!("{}-{name}", map.attempt(number));
        let named = match runs_again {
            true => vec![("errors-m-00000", of(1, "errors"))],
            false => vec![("errors-m-00000", of(0, "errors")), ("rest-m-00000", of(0, "rest"))],
        };
        let named = named.iter().map(|(name, staged)| (*name, staged.as_str()));
        let expected: Vec<_> = named.chain([("part-r-00000", part.as_str())]).collect();
        assert_eq!(published, expected, "runs again: {runs_again}");
    }
}

#[test]
fn a_job_runs_from_submission_to_published_output() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.submit(wordcount("/out", 2));
    assert_eq!(job.to_string(), "job_20261122_0001");
    assert_eq!(story.status(job).state, JobState::Prep);
    assert!(matches!(&story.effects[..], [Effect::Store(StoreEffect::PlanSplits { .. })]));
    story.plan(job, splits(&[&["a"], &["a"], &["a"]]));
    assert_eq!(story.status(job).state, JobState::Running);
    assert_eq!(story.running(&a).len(), 2, "both slots in one heartbeat");
    story.run_all();
    let status = story.status(job);
    assert_eq!((status.maps.succeeded, status.reduces.succeeded), (3, 2));
    assert_eq!(status.state, JobState::Running, "nothing is public before it is published");
    let part = |index: u32| Part {
        staged: job.task(TaskKind::Reduce, index).attempt(0).to_string(),
        published: format!("part-r-{index:05}"),
    };
    assert_eq!(story.publishes(), [(job, vec![part(0), part(1)])]);
    story.published(job);
    story.beat_all();
    let status = story.status(job);
    assert_eq!((status.state, status.failure), (JobState::Succeeded, None));
    assert_eq!(status.maps.node_local, 3);
    assert!(story.toys[&a].outputs.is_empty(), "its map outputs are purged");
    match story.query(Query::Counters { job }) {
        Reply::Counters(counters) => assert_eq!(counters.counters["task.records"], 5),
        other => panic!("{other:?}"),
    }
}

/// The state of the last job that ended.
fn times(story: &Story) -> (Duration, Option<Phases>) {
    let ended = story.notices.iter().rev().find_map(|notice| match notice {
        Notice::JobEnded { took, phases, .. } => Some((*took, *phases)),
        _ => None,
    });
    ended.expect("a job ended")
}

#[test]
fn a_jobs_end_tells_how_long_each_phase_took() {
    let mut story = Story::begin();
    let job = story.job(1, &[&["a"]]);
    story.pass(Duration::from_secs(5));
    let a = story.tracker("a", 1);
    story.pass(Duration::from_secs(3));
    story.succeed(job.task(TaskKind::Map, 0).attempt(0));
    story.pass(Duration::from_secs(2));
    story.succeed(job.task(TaskKind::Reduce, 0).attempt(0));
    story.pass(Duration::from_secs(1));
    story.published(job);
    let [queue, map, reduce, commit] = [5, 3, 2, 1].map(Duration::from_secs);
    let phases = Phases { queue, map, reduce, commit };
    assert_eq!(times(&story), (Duration::from_secs(11), Some(phases)));
    assert!(story.running(&a).is_empty());
}

#[test]
fn nobody_knows_the_phases_of_a_job_that_a_restart_cut_in_two() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = story.job(1, &[&["a"]]);
    story.succeed(job.task(TaskKind::Map, 0).attempt(0));
    story.pass(Duration::from_secs(2));
    story.restart_with_trackers();
    story.run_all();
    story.published(job);
    assert_eq!(times(&story), (Duration::from_secs(2), None));
}

#[test]
fn winners_of_a_map_only_job_are_its_parts() {
    let mut story = Story::begin();
    story.tracker("a", 4);
    let job = story.job(0, &[&["a"], &["a"]]);
    story.run_all();
    let names: Vec<_> =
        story.publishes().remove(0).1.into_iter().map(|part| part.published).collect();
    assert_eq!(names, ["part-m-00000", "part-m-00001"]);
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

#[test]
fn empty_inputs_give_empty_parts_or_none_at_all() {
    let mut story = Story::begin();
    story.tracker("a", 4);
    let with_reduces = story.job(2, &[]);
    assert_eq!(story.running_everywhere().len(), 2, "reduces run without maps");
    story.run_all();
    let map_only = story.job(0, &[]);
    let publishes = story.publishes();
    assert_eq!(publishes[0].1.len(), 2);
    assert_eq!(publishes[1], (map_only, vec![]));
    story.published(with_reduces);
    story.published(map_only);
    assert_eq!(story.status(map_only).state, JobState::Succeeded);
}

#[test]
fn an_output_belongs_to_one_unfinished_job_at_a_time() {
    let mut story = Story::begin();
    let first = story.submit(wordcount("/out/a", 1));
    for taken in ["/out/a", "/out", "/out/a/b"] {
        let refused = refusal(submit(&mut story, wordcount(taken, 1), None));
        assert_eq!(refused, Refusal::OutputReserved { output: taken.to_owned(), by: first });
    }
    story.submit(wordcount("/out/ab", 1));
    story.answer(|reply_to| Input::Kill { job: first, reply_to });
    story.submit(wordcount("/out/a", 1));
}

#[test]
fn the_same_key_gives_the_same_job_across_restarts() {
    let mut story = Story::begin();
    let spec = || wordcount("/out", 1);
    let Reply::Accepted(first) = submit(&mut story, spec(), Some(("key-1", "d1"))) else {
        panic!("not accepted")
    };
    story.restart();
    assert_eq!(submit(&mut story, spec(), Some(("key-1", "d1"))), Reply::Accepted(first.clone()));
    let other = refusal(submit(&mut story, spec(), Some(("key-1", "d2"))));
    assert_eq!(other, Refusal::KeyReused { job: first.id });
    assert_eq!(refusal(submit(&mut story, spec(), Some(("a b", "d")))), Refusal::BadKey);
    let key = IdempotencyKey { key: "key-1".into(), digest: "d1".into() };
    let owner = String::new();
    assert_eq!(story.query(Query::Submitted { owner, key }), Reply::Submitted(Some(first)));
}

#[test]
fn the_key_of_one_user_says_nothing_of_anothers() {
    let mut story = Story::begin();
    let submit = |story: &mut Story, owner: &str, output: &str, digest: &str| {
        let key = Some(IdempotencyKey { key: "key-1".into(), digest: digest.into() });
        let (owner, spec) = (owner.to_owned(), Box::new(wordcount(output, 1)));
        story.answer(|reply_to| Input::Submit { owner, spec, key, reply_to })
    };
    let Reply::Accepted(of_ann) = submit(&mut story, "ann", "/ann", "d1") else {
        panic!("not accepted")
    };
    let Reply::Accepted(of_ben) = submit(&mut story, "ben", "/ben", "d2") else {
        panic!("not accepted")
    };
    assert_ne!(of_ann.id, of_ben.id);
    story.restart();
    assert_eq!(submit(&mut story, "ann", "/ann", "d1"), Reply::Accepted(of_ann.clone()));
    let reused = refusal(submit(&mut story, "ben", "/ann", "d1"));
    assert_eq!(reused, Refusal::KeyReused { job: of_ben.id });
    for (owner, digest, expected) in
        [("ann", "d1", Some(of_ann)), ("ben", "d2", Some(of_ben)), ("eve", "d1", None)]
    {
        let key = IdempotencyKey { key: "key-1".into(), digest: digest.into() };
        let owner = owner.to_owned();
        let submitted = story.query(Query::Submitted { owner, key });
        assert_eq!(submitted, Reply::Submitted(expected));
    }
}

#[test]
fn a_key_in_a_fold_of_a_release_before_is_its_owners() {
    let mut story = Story::begin();
    let key = |digest: &str| IdempotencyKey { key: "key-1".into(), digest: digest.into() };
    let (spec, owner) = (Box::new(wordcount("/ann", 1)), "ann".to_owned());
    let key_1 = Some(key("d1"));
    let _ = story.answer(|reply_to| Input::Submit { owner, spec, key: key_1, reply_to });
    let mut fold = serde_json::to_value(story.core.durable()).unwrap();
    let used = fold["keys"]["ann key-1"].take();
    fold["keys"] = serde_json::json!({"key-1": used});
    let durable: Durable = serde_json::from_value(fold).unwrap();
    assert!(durable.key("ann", "key-1").is_some());
    assert_eq!(durable.key("ben", "key-1"), None);
}

#[test]
fn a_job_that_cannot_be_run_is_refused_before_it_is_journaled() {
    let mut story = Story::begin();
    let n_records = story.records.len();
    let refused = refusal(submit(&mut story, wordcount("/out", 0), None));
    assert!(refused.to_string().contains("at least one reduce"), "{refused}");
    assert_eq!(story.records.len(), n_records);
}

#[test]
fn a_job_whose_input_is_gone_when_it_is_planned_fails_with_the_reason() {
    let mut story = Story::begin();
    let job = story.submit(wordcount("/out", 1));
    let reason = "input /in does not exist".to_owned();
    story.give(Input::SplitsPlanned { job, outcome: StoreOutcome::Refused { reason } });
    let status = story.status(job);
    assert_eq!(status.state, JobState::Failed);
    assert!(status.failure.unwrap().contains("/in does not exist"));
    assert!(matches!(story.effects.last(), Some(Effect::Store(StoreEffect::RemoveStaging { .. }))));
}

#[test]
fn planning_and_publishing_are_tried_again_until_the_chunk_store_answers() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = story.submit(identity("/out"));
    let reason = || "connection refused".to_owned();
    let outcome = StoreOutcome::Unavailable { reason: reason() };
    story.give(Input::SplitsPlanned { job, outcome });
    story.pass(STORE_RETRY);
    let plans = |it: &&Effect| matches!(it, Effect::Store(StoreEffect::PlanSplits { .. }));
    assert_eq!(story.effects.iter().filter(plans).count(), 2);
    story.plan(job, splits(&[&["a"]]));
    story.run_all();
    let outcome = StoreOutcome::Unavailable { reason: reason() };
    story.give(Input::Published { job, outcome });
    assert_eq!(story.status(job).state, JobState::Running);
    story.pass(STORE_RETRY);
    let publishes = story.publishes();
    assert_eq!(publishes.len(), 2);
    assert_eq!(publishes[0], publishes[1]);
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

#[test]
fn an_output_that_appeared_meanwhile_fails_the_job() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = story.job(0, &[&["a"]]);
    story.run_all();
    let reason = "output /out exists: choose another".to_owned();
    story.give(Input::Published { job, outcome: StoreOutcome::Refused { reason } });
    let status = story.status(job);
    assert_eq!(status.state, JobState::Failed);
    assert!(status.failure.unwrap().contains("choose another"));
}

#[test]
fn a_killed_job_ends_its_attempts_and_leaves_nothing() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(1, &[&["a"], &["a"]]);
    let wait = Some(Duration::from_secs(30));
    let waiting = story.ask();
    story.give(Input::Query { query: Query::Status { job, wait }, reply_to: waiting });
    assert!(!story.replies.contains_key(&waiting), "it waits");
    match story.answer(|reply_to| Input::Kill { job, reply_to }) {
        Reply::Status(status) => assert_eq!(status.state, JobState::Killed),
        other => panic!("{other:?}"),
    }
    assert!(matches!(&story.replies[&waiting], Reply::Status(s) if s.state == JobState::Killed));
    story.beat_all();
    assert!(story.running(&a).is_empty());
    let removes = Effect::Store(StoreEffect::RemoveStaging {
        job,
        staging: staging_folder(job),
        elsewhere: None,
    });
    assert_eq!(story.effects.last(), Some(&removes));
    let again = refusal(story.answer(|reply_to| Input::Kill { job, reply_to }));
    assert_eq!(again, Refusal::JobEnded { job, state: JobState::Killed });
    story.job(1, &[&["a"], &["a"]]);
    assert_eq!(story.running(&a).len(), 2, "the slots are free again");
}

#[test]
fn a_killed_jobs_attempts_can_still_be_found_after_a_restart_too() {
    let mut story = Story::begin();
    story.tracker("a", 2);
    let job = story.job(1, &[&["a"], &["a"], &["a"]]);
    let map = |index| job.task(TaskKind::Map, index);
    story.fail(map(0).attempt(0), FailureKind::Killed);
    story.fail(map(1).attempt(0), FailureKind::UserCode);
    story.answer(|reply_to| Input::Kill { job, reply_to });
    story.restart();
    let Reply::Attempts(list) = story.query(Query::Attempts { job }) else { panic!("no list") };
    let shown: Vec<_> = list.attempts.iter().map(|it| (it.attempt, it.state)).collect();
    let (failed, killed) = (AttemptState::Failed, AttemptState::Killed);
    let first = [(map(0).attempt(0), killed), (map(0).attempt(1), killed)];
    let second = [(map(1).attempt(0), failed), (map(1).attempt(1), killed)];
    assert_eq!(shown, [first, second].concat());
}

#[test]
fn a_job_of_which_nothing_runs_says_what_it_waits_for() {
    let mut story = Story::begin();
    let says = |story: &mut Story, job| story.status(job).waiting.unwrap_or_default();
    let job = story.submit(wordcount("/out", 1));
    assert_eq!(says(&mut story, job), "");
    let reason = "no connection".to_owned();
    story.give(Input::SplitsPlanned { job, outcome: StoreOutcome::Unavailable { reason } });
    assert!(says(&mut story, job).contains("chunk store"));
    story.pass(STORE_RETRY);
    story.plan(job, splits(&[&["a"], &["a"]]));
    assert!(says(&mut story, job).contains("no TaskTracker is registered"));
    story.tracker("a", 1);
    assert_eq!(says(&mut story, job), "", "it runs");
    let other = story.job(0, &[&["a"]]);
    assert!(says(&mut story, other).contains("there are 1 on 1 TaskTrackers"));
    story.answer(|reply_to| Input::Kill { job: other, reply_to });
    assert_eq!(says(&mut story, other), "");
    story.fail(job.task(TaskKind::Map, 0).attempt(0), FailureKind::OutOfSpace);
    assert!(says(&mut story, job).contains("want of room"));
    story.restart();
    story.register(&host("a"));
    assert!(says(&mut story, job).contains("has just started"));
}

#[test]
fn a_staging_folder_that_a_late_plan_makes_goes_with_its_killed_job() {
    for restarts in [false, true] {
        let mut story = Story::begin();
        let job = story.submit(wordcount("/out", 1));
        story.effects.clear();
        story.answer(|reply_to| Input::Kill { job, reply_to });
        assert_eq!(story.effects, [], "it may be made after it was removed");
        if restarts {
            story.restart();
        } else {
            story.plan(job, splits(&[&["a"]]));
        }
        assert_eq!(
            story.effects,
            [Effect::Store(StoreEffect::RemoveStaging {
                job,
                staging: staging_folder(job),
                elsewhere: None
            })]
        );
        story.give(Input::StagingRemoved { job, outcome: StoreOutcome::Done(()) });
        story.effects.clear();
        story.restart();
        assert_eq!(story.effects, [], "once is enough");
        assert_eq!(story.status(job).state, JobState::Killed);
    }
}

#[test]
fn a_job_killed_while_its_plan_waits_to_be_tried_again_is_removed_at_once() {
    let mut story = Story::begin();
    let job = story.submit(wordcount("/out", 1));
    let reason = "down".to_owned();
    story.give(Input::SplitsPlanned { job, outcome: StoreOutcome::Unavailable { reason } });
    story.effects.clear();
    story.answer(|reply_to| Input::Kill { job, reply_to });
    assert_eq!(
        story.effects,
        [Effect::Store(StoreEffect::RemoveStaging {
            job,
            staging: staging_folder(job),
            elsewhere: None
        })]
    );
}

#[test]
fn no_job_is_forgotten_before_its_staging_folder_is_gone() {
    let mut story = Story::with(Settings { finished_jobs_max: 1, ..settings() });
    let jobs = [0, 1, 2].map(|_| story.job(1, &[&["a"]]));
    for job in jobs {
        story.answer(|reply_to| Input::Kill { job, reply_to });
    }
    let known = |story: &mut Story| match story
        .query(Query::List { limit: 9, only: JobFilter::default() })
    {
        Reply::List(list) => list.jobs.iter().map(|job| job.id).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(known(&mut story), [jobs[2], jobs[1], jobs[0]]);
    let reason = "down".to_owned();
    let outcome = StoreOutcome::Unavailable { reason };
    story.give(Input::StagingRemoved { job: jobs[0], outcome });
    story.effects.clear();
    story.pass(STORE_RETRY);
    let staging = staging_folder(jobs[0]);
    assert_eq!(
        story.effects,
        [Effect::Store(StoreEffect::RemoveStaging { job: jobs[0], staging, elsewhere: None })]
    );
    for job in [jobs[1], jobs[0], jobs[2]] {
        story.give(Input::StagingRemoved { job, outcome: StoreOutcome::Done(()) });
    }
    assert_eq!(known(&mut story), [jobs[2]]);
}

#[test]
fn a_job_that_could_not_be_published_is_refused_before_it_runs() {
    let mut story = Story::begin();
    let many = |n: usize| (0..n).map(|index| split(index, &[])).collect::<Vec<_>>();
    let list = || Some(StagedSplits { path: "/s".into(), digest: "d".into() });
    for (spec, n, expected) in [
        (identity("/out"), 50_000, JobState::Running),
        (identity("/out-1"), 50_001, JobState::Failed),
        (wordcount("/out-2", 1), 50_001, JobState::Running),
    ] {
        let job = story.submit(spec);
        let plan = Plan { splits: many(n), staged: list() };
        story.give(Input::SplitsPlanned { job, outcome: StoreOutcome::Done(plan) });
        let status = story.status(job);
        assert_eq!(status.state, expected, "{n}");
        assert_eq!(
            status.failure.is_some_and(|it| it.contains("split_bytes")),
            n > 50_000 && expected == JobState::Failed
        );
    }
    let refused = refusal(submit(&mut story, wordcount("/out-3", 50_001), None));
    assert!(refused.to_string().contains("at most 50000"), "{refused}");
}

#[test]
fn a_job_that_is_publishing_cannot_be_killed() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = story.job(0, &[&["a"]]);
    story.run_all();
    let refused = refusal(story.answer(|reply_to| Input::Kill { job, reply_to }));
    assert_eq!(refused, Refusal::Committing { job });
}

#[test]
fn a_waiting_client_hears_after_its_time_and_is_forgotten_when_it_goes() {
    let mut story = Story::begin();
    let job = story.submit(wordcount("/out", 1));
    let [patient, gone] = [story.ask(), story.ask()];
    for reply_to in [patient, gone] {
        let query = Query::Status { job, wait: Some(Duration::from_secs(5)) };
        story.give(Input::Query { query, reply_to });
    }
    story.give(Input::Gone { reply_to: gone });
    story.pass(Duration::from_secs(4));
    assert!(story.replies.is_empty());
    story.pass(Duration::from_secs(1));
    assert!(matches!(&story.replies[&patient], Reply::Status(s) if s.state == JobState::Prep));
    assert!(!story.replies.contains_key(&gone));
    assert_eq!(story.core.summary().waiting_clients, 0);
}

#[test]
fn ended_jobs_are_forgotten_oldest_first_with_their_keys() {
    let mut story = Story::with(Settings { finished_jobs_max: 1, ..settings() });
    let mut ids = Vec::new();
    for n in 0..2 {
        let key = format!("key-{n}");
        let spec = wordcount(&format!("/out-{n}"), 1);
        let Reply::Accepted(accepted) = submit(&mut story, spec, Some((&key, "d"))) else {
            panic!("not accepted")
        };
        let job = accepted.id;
        story.plan(job, splits(&[&["a"]]));
        story.answer(|reply_to| Input::Kill { job, reply_to });
        story.give(Input::StagingRemoved { job, outcome: StoreOutcome::Done(()) });
        ids.push(job);
    }
    let gone = refusal(story.query(Query::Status { job: ids[0], wait: None }));
    assert_eq!(gone, Refusal::NoSuchJob { job: ids[0] });
    assert_eq!(story.status(ids[1]).state, JobState::Killed);
    let key = IdempotencyKey { key: "key-0".into(), digest: "other".into() };
    let owner = String::new();
    assert_eq!(story.query(Query::Submitted { owner, key }), Reply::Submitted(None));
    match story.query(Query::List { limit: 10, only: JobFilter::default() }) {
        Reply::List(list) => assert_eq!(list.jobs.len(), 1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_journal_refuses_what_would_be_written_and_answers_the_rest() {
    let mut story = Story::begin();
    let to = ReplyTo(7);
    let full = vec![Effect::Reply { to, reply: Reply::Refused(Refusal::JournalFull) }];
    let spec = Box::new(wordcount("/out", 1));
    let submit = Input::Submit { owner: String::new(), spec, key: None, reply_to: to };
    assert_eq!(story.core.refuse(submit).map(|_| ()), Err(full));
    let query = Input::Query { query: Query::Cluster, reply_to: to };
    assert!(story.core.refuse(query).is_ok());
}

#[test]
fn while_the_journal_is_full_jobs_can_be_killed_as_long_as_there_is_a_reserve() {
    let mut story = Story::begin();
    let job = story.submit(wordcount("/out", 1));
    let kill = || Input::Kill { job, reply_to: ReplyTo(7) };
    story.core.set_room(Room::None);
    assert!(story.core.refuse(kill()).is_err());
    story.core.set_room(Room::Reserve);
    let taken = story.core.refuse(kill()).expect("what a job has made goes with it");
    story.give(taken);
    assert_eq!(story.status(job).state, JobState::Killed);
}

#[test]
fn a_plan_that_comes_while_the_journal_is_full_is_made_again_when_there_is_room_and_not_before() {
    let mut story = Story::begin();
    let job = story.submit(wordcount("/out", 1));
    let n_plans = |story: &Story| {
        story
            .effects
            .iter()
            .filter(|it| matches!(it, Effect::Store(StoreEffect::PlanSplits { .. })))
            .count()
    };
    assert_eq!(n_plans(&story), 1);
    story.core.set_room(Room::Reserve);
    let outcome = StoreOutcome::Done(Plan { splits: splits(&[&["a"]]), staged: None });
    let planned = Input::SplitsPlanned { job, outcome };
    let taken = story.core.refuse(planned).expect("it is no request");
    story.give(taken);
    assert!(story.status(job).waiting.unwrap_or_default().contains("chunk store"));
    story.pass(STORE_RETRY * 9);
    assert_eq!(n_plans(&story), 1, "each would leave a list of splits in the chunk store");
    story.core.set_room(Room::Ample);
    story.pass(STORE_RETRY);
    assert_eq!(n_plans(&story), 2);
    story.plan(job, splits(&[&["a"]]));
    story.tracker("a", 1);
    assert_eq!(story.status(job).state, JobState::Running);
}

#[test]
fn more_launches_than_one_reply_carries_all_arrive() {
    let mut story = Story::begin();
    let host = story.tracker("a", 100);
    let homes: [&[&str]; 100] = [&["a"]; 100];
    story.job(0, &homes);
    story.beat(&host);
    assert_eq!(story.toy(&host).running.len(), 100);
}

#[test]
fn what_an_attempt_says_of_itself_is_shown_and_stays_with_one_that_failed() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.job(1, &[&["a"]]);
    let map = job.task(TaskKind::Map, 0);
    let said = |story: &mut Story| {
        let Reply::Attempts(list) = story.query(Query::Attempts { job }) else { panic!("no list") };
        let of_map = list.attempts.into_iter().filter(|it| it.attempt.task == map);
        of_map.map(|it| (it.state, it.status)).collect::<Vec<_>>()
    };
    assert_eq!(said(&mut story), [(AttemptState::Running, None)]);
    for (told, shown) in
        [(Some("half\u{1b}way "), "half way"), (None, "half way"), (Some("on"), "on")]
    {
        let mut heartbeat = story.heartbeat(&a);
        let status = told.map(str::to_owned);
        heartbeat.running =
            vec![AttemptProgress { attempt: map.attempt(0), progress: 0.5, status }];
        story.send(heartbeat);
        assert_eq!(said(&mut story), [(AttemptState::Running, Some(shown.to_owned()))]);
    }
    story.toy(&a).running.remove(&map.attempt(0));
    let failed = TrackerEvent::Failed {
        attempt: map.attempt(0),
        failure: failure(FailureKind::UserCode, "boom"),
        status: Some("at the end".to_owned()),
        record: None,
    };
    story.event(&a, failed);
    story.restart();
    let last = said(&mut story).into_iter().find(|(state, _)| *state == AttemptState::Failed);
    assert_eq!(last, Some((AttemptState::Failed, Some("at the end".to_owned()))));
}

#[test]
fn attempts_are_listed_with_what_became_of_them() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = story.job(0, &[&["a"], &["a"]]);
    let first = job.task(TaskKind::Map, 0);
    story.fail(first.attempt(0), FailureKind::UserCode);
    story.succeed(first.attempt(1));
    let Reply::Attempts(list) = story.query(Query::Attempts { job }) else { panic!("no list") };
    let shown: Vec<_> = list.attempts.iter().map(|it| (it.attempt, it.state)).collect();
    assert_eq!(
        shown,
        [
            (first.attempt(0), AttemptState::Failed),
            (first.attempt(1), AttemptState::Succeeded),
            (job.task(TaskKind::Map, 1).attempt(0), AttemptState::Running),
        ]
    );
    assert_eq!(list.attempts[0].failure.as_ref().unwrap().message, "boom");
    assert_eq!(list.attempts[0].address.as_deref(), Some("a:7881"));
    story.run_all();
    story.published(job);
    let Reply::Attempts(after) = story.query(Query::Attempts { job }) else { panic!("no list") };
    assert_eq!(after.attempts.len(), 3, "an ended job's attempts are still known");
    for attempt in list.attempts.iter().chain(&after.attempts) {
        let split = attempt.split.as_ref().map(ToString::to_string);
        let index = attempt.attempt.task.index;
        assert_eq!(split, Some(format!("/in bytes {index}–{}", index + 1)));
    }
}

#[test]
fn what_was_killed_says_why_and_each_attempt_is_counted_as_what_it_came_to() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 2), story.tracker("b", 2));
    let job = story.job(1, &[&["a"], &["a"], &["b"], &["b"]]);
    let map = |index| job.task(TaskKind::Map, index);
    story.succeed(map(0).attempt(0));
    story.answer(|reply_to| Input::EndAttempt {
        attempt: map(1).attempt(0),
        counts: EndsAs::Killed,
        reply_to,
    });
    story.fail(map(2).attempt(0), FailureKind::UserCode);
    story.event(&a, TrackerEvent::MapOutputLost { attempt: map(0).attempt(0) });
    let on_b = map(3).attempt(0);
    assert!(story.running(&b).contains(&on_b));
    story.kill_tracker(&b);
    story.pass(Duration::from_mins(2));
    let last = story.running(&a)[0];
    story.answer(|reply_to| Input::Kill { job, reply_to });
    let Reply::Attempts(list) = story.query(Query::Attempts { job }) else { panic!("no list") };
    let why = |attempt: AttemptId| {
        let found = list.attempts.iter().find(|it| it.attempt == attempt);
        let why = found.and_then(|it| it.failure.as_ref()).unwrap_or_else(|| panic!("{attempt}"));
        (why.kind.clone(), why.message.clone())
    };
    let asked = "a client asked for its end".to_owned();
    assert_eq!(why(map(1).attempt(0)), (FailureKind::Killed, asked));
    let (kind, message) = why(on_b);
    assert!(kind == FailureKind::TrackerLost && message.contains("silent"), "{message}");
    assert_eq!(why(last), (FailureKind::Killed, "its job is over".to_owned()));
    let maps = story.status(job).maps;
    let sum = maps.succeeded + maps.failed_attempts + maps.killed_attempts + maps.lost_outputs;
    assert_eq!((maps.attempts, maps.lost_outputs, maps.failed_attempts), (sum, 1, 1), "{maps:?}");
    let listed = |state| list.attempts.iter().filter(|it| it.state == state).count();
    let all = [maps, story.status(job).reduces];
    let killed: u32 = all.iter().map(|it| it.killed_attempts).sum();
    assert_eq!((listed(AttemptState::Killed), listed(AttemptState::Failed)), (killed as usize, 1));
}

#[test]
fn failed_and_killed_maps_name_their_split_even_when_a_long_split_list_is_gone() {
    let mut story = Story::begin();
    story.tracker("a", 2);
    let job = story.submit(identity("/out"));
    let list = StagedSplits { path: "/staging/splits".into(), digest: "d".into() };
    let plan = Plan { splits: splits(&[&["a"], &["a"]]), staged: Some(list) };
    story.give(Input::SplitsPlanned { job, outcome: StoreOutcome::Done(plan) });
    story.fail(job.task(TaskKind::Map, 1).attempt(0), FailureKind::UserCode);
    story.answer(|reply_to| Input::Kill { job, reply_to });
    let Reply::Attempts(list) = story.query(Query::Attempts { job }) else { panic!("no list") };
    let shown: Vec<_> =
        list.attempts.iter().map(|it| it.split.clone().unwrap().to_string()).collect();
    assert_eq!(shown, ["/in bytes 0–1", "/in bytes 1–2", "/in bytes 1–2"]);
}
