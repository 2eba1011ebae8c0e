//! Jobs with output in another store: winners are published with what they staged, and leftovers
//! are cleaned up before another job may write there.

use super::*;
use crate::PartElsewhere;

const OUTPUT: &str = "s3://bucket/out";

/// A job of one map and one reduce, both of which have succeeded.
fn done() -> (Story, JobId) {
    let mut story = Story::begin();
    story.tracker("a", 2);
    let job = story.submit(wordcount(OUTPUT, 1));
    story.plan(job, splits(&[&["a"]]));
    story.effects.clear();
    story.run_all();
    (story, job)
}

fn publication(story: &Story) -> Option<&Vec<PartElsewhere>> {
    story.effects.iter().find_map(|effect| match effect {
        Effect::Store(StoreEffect::PublishElsewhere { target, parts, .. }) if target == OUTPUT => {
            Some(parts)
        }
        _ => None,
    })
}

#[test]
fn winners_are_published_with_what_they_staged_also_after_a_restart() {
    let (mut story, job) = done();
    let winner = job.task(TaskKind::Reduce, 0).attempt(0);
    for _ in 0..2 {
        let [part] = publication(&story).expect("it is to be published").as_slice() else {
            panic!("one reduce makes one part")
        };
        assert_eq!(part.attempt, winner);
        let upload = part.staged.as_ref().and_then(|staged| staged.upload.clone());
        assert_eq!(upload, Some(format!("upload of {winner}")));
        assert!(
            !story
                .effects
                .iter()
                .any(|effect| matches!(effect, Effect::Store(StoreEffect::Publish { .. })))
        );
        story.restart();
    }
    story.give(Input::Published { job, outcome: StoreOutcome::Done(()) });
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

#[test]
fn named_outputs_are_published_with_what_was_staged_of_them() {
    let mut story = Story::begin();
    story.tracker("a", 2);
    let job = story.submit(wordcount(OUTPUT, 1));
    story.plan(job, splits(&[&["a"]]));
    let (map, reduce) = (job.task(TaskKind::Map, 0), job.task(TaskKind::Reduce, 0));
    story.succeed_with_named(map.attempt(0), &[]);
    story.succeed_with_named(reduce.attempt(0), &["errors"]);
    story.restart();
    let parts = publication(&story).expect("it is to be published");
    let named = parts.iter().map(|part| (part.named.as_deref(), part.published.as_str()));
    assert_eq!(
        named.collect::<Vec<_>>(),
        [(None, "part-r-00000"), (Some("errors"), "errors-r-00000")]
    );
    assert!(parts.iter().all(|part| part.staged.is_some()));
}

#[test]
fn a_success_that_no_record_has_room_for_fails_the_job_and_says_what_to_do() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.submit(wordcount(OUTPUT, 1));
    story.plan(job, splits(&[&["a"]]));
    story.succeed(job.task(TaskKind::Map, 0).attempt(0));
    let attempt = job.task(TaskKind::Reduce, 0).attempt(0);
    let e_tag = format!("\"{:034x}\"", 7);
    let parts = vec![e_tag; mapreduce_protocol::STAGED_PARTS_MAX];
    let staged = Some(StagedOutput { upload: Some("upload".to_owned()), parts, bytes: 1 });
    let named = |n| NamedOutput { name: format!("n{n}"), staged: staged.clone() };
    let named = (0..32).map(named).collect();
    let result = AttemptResult { staged: staged.clone(), named, ..AttemptResult::default() };
    story.toy(&a).running.remove(&attempt);
    story.event(&a, TrackerEvent::Succeeded { attempt, result });
    let status = story.status(job);
    assert_eq!((status.state, status.reduces.failed_attempts), (JobState::Failed, 1));
    let reason = status.failure.unwrap_or_default();
    assert!(reason.contains("room for 1032192") && reason.contains("named outputs"), "{reason}");
    story.restart_with_trackers();
    assert_eq!(story.status(job).state, JobState::Failed);
}

#[test]
fn the_output_stays_reserved_until_what_was_not_published_is_swept_away() {
    let (mut story, job) = done();
    story.give(Input::Published { job, outcome: StoreOutcome::Done(()) });
    let sweep = Effect::Store(StoreEffect::RemoveStaging {
        job,
        staging: staging_folder(job),
        elsewhere: Some(OUTPUT.to_owned()),
    });
    assert!(story.effects.contains(&sweep), "{:?}", story.effects);
    let refused = |story: &mut Story| {
        let spec = Box::new(wordcount(OUTPUT, 1));
        story.answer(|reply_to| Input::Submit { owner: String::new(), spec, key: None, reply_to })
    };
    assert!(
        matches!(refused(&mut story), Reply::Refused(Refusal::OutputReserved { by, .. }) if by == job)
    );
    story.restart();
    assert!(story.effects.contains(&sweep), "it goes on after a restart: {:?}", story.effects);
    assert!(matches!(refused(&mut story), Reply::Refused(Refusal::OutputReserved { .. })));
    story.give(Input::StagingRemoved { job, outcome: StoreOutcome::Done(()) });
    assert!(matches!(refused(&mut story), Reply::Accepted(_)));
}
