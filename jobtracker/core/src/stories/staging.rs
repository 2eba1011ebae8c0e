//! Stories of splits that are recorded while the staging folder is being made.

use super::*;

impl Story {
    fn find(&mut self, job: JobId, homes: &[&[&str]]) {
        self.give(Input::SplitsFound { job, splits: splits(homes) });
    }

    fn staging_made(&mut self, job: JobId, outcome: StoreOutcome<()>) {
        self.give(Input::StagingMade { job, outcome });
    }

    fn calls(&mut self) -> Vec<StoreEffect> {
        let effects = std::mem::take(&mut self.effects);
        let call = |effect| match effect {
            Effect::Store(call) => Some(call),
            _ => None,
        };
        effects.into_iter().filter_map(call).collect()
    }
}

fn unavailable() -> StoreOutcome<()> {
    StoreOutcome::Unavailable { reason: "no answer".to_owned() }
}

#[test]
fn nothing_is_launched_before_the_staging_folder_is_there() {
    let mut story = Story::begin();
    let a = story.tracker("a", 2);
    let job = story.submit(wordcount("/out", 1));
    story.find(job, &[&["a"]]);
    assert_eq!(story.status(job).state, JobState::Running, "it is planned");
    story.pass(Duration::from_secs(5));
    assert_eq!(story.running(&a), []);
    story.staging_made(job, StoreOutcome::Done(()));
    assert_eq!(story.running(&a).len(), 1);
    story.run_all();
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
    // A job without tasks has only its output, and its staging folder is published as that.
    let job = story.submit(identity("/none"));
    story.find(job, &[]);
    assert!(!story.publishes().iter().any(|(published, _)| *published == job));
    story.staging_made(job, StoreOutcome::Done(()));
    assert!(story.publishes().iter().any(|(published, _)| *published == job));
}

#[test]
fn a_folder_that_is_not_made_is_asked_for_again_and_one_that_can_not_be_fails_the_job() {
    let mut story = Story::begin();
    story.makes_staging = false;
    let a = story.tracker("a", 1);
    let job = story.submit(wordcount("/out", 1));
    story.find(job, &[&["a"]]);
    story.calls();
    story.staging_made(job, unavailable());
    let why = story.status(job).waiting.unwrap();
    assert!(why.contains("its staging folder"), "{why}");
    story.pass(STORE_RETRY);
    let staging = staging_folder(job);
    assert_eq!(story.calls(), [StoreEffect::MakeStaging { job, staging: staging.clone() }]);
    story.staging_made(job, StoreOutcome::Done(()));
    assert_eq!(story.running(&a).len(), 1);
    let refused = story.submit(wordcount("/other", 1));
    story.find(refused, &[&["a"]]);
    let reason = "it is a file".to_owned();
    story.staging_made(refused, StoreOutcome::Refused { reason });
    let failure = story.status(refused).failure.unwrap();
    assert!(failure.contains("staging folder could not be made: it is a file"), "{failure}");
}

#[test]
fn a_restart_makes_the_folder_of_a_job_that_has_not_begun_and_of_no_other() {
    let mut story = Story::begin();
    story.makes_staging = false;
    let a = story.tracker("a", 2);
    let [begun, new] = ["/1", "/2"].map(|output| {
        let job = story.submit(wordcount(output, 1));
        story.find(job, &[&["a"], &["a"]]);
        job
    });
    story.staging_made(begun, StoreOutcome::Done(()));
    let first = story.running(&a)[0];
    story.succeed(first);
    story.restart_with_trackers();
    let staging = staging_folder(new);
    assert_eq!(story.calls(), [StoreEffect::MakeStaging { job: new, staging }]);
    story.pass(Duration::from_secs(20));
    assert!(story.running(&a).iter().all(|attempt| attempt.task.job == begun));
    story.staging_made(new, StoreOutcome::Done(()));
    story.run_all();
    let published: Vec<_> = story.publishes().into_iter().map(|(job, _)| job).collect();
    assert!(published.contains(&begun) && published.contains(&new), "{published:?}");
}

#[test]
fn what_is_made_for_a_job_that_was_killed_meanwhile_is_removed_once_it_is_there() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = story.submit(wordcount("/out", 1));
    story.find(job, &[&["a"]]);
    story.calls();
    story.answer(|reply_to| Input::Kill { job, reply_to });
    assert!(story.calls().is_empty(), "it may still come");
    story.staging_made(job, StoreOutcome::Done(()));
    assert!(
        matches!(&story.calls()[..], [StoreEffect::RemoveStaging { job: of, .. }] if *of == job)
    );
}

#[test]
fn splits_that_the_journal_has_no_room_for_are_planned_again() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.submit(wordcount("/out", 1));
    story.calls();
    story.core.set_room(Room::Reserve);
    let found = Input::SplitsFound { job, splits: splits(&[&["a"]]) };
    assert!(matches!(story.core.refuse(found), Err(told) if told.is_empty()));
    story.staging_made(job, StoreOutcome::Done(()));
    story.core.set_room(Room::Ample);
    story.pass(STORE_RETRY);
    assert!(matches!(&story.calls()[..], [StoreEffect::PlanSplits { .. }]));
    story.find(job, &[&["a"]]);
    story.staging_made(job, StoreOutcome::Done(()));
    assert_eq!(story.running(&a).len(), 1);
}
