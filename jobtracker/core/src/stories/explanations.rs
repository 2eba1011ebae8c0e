//! Stories of waiting jobs, and of how their waiting is explained.

use mapreduce_protocol::{Explanation, Obstacle, Place, TaskExplanation, TaskId, WhyNotThere};

use super::*;

impl Story {
    fn explain(&mut self, job: JobId, task: Option<TaskId>) -> Explanation {
        match self.query(Query::Explain { job, task }) {
            Reply::Explanation(explanation) => *explanation,
            other => panic!("not explained: {other:?}"),
        }
    }

    fn explain_next(&mut self, job: JobId) -> TaskExplanation {
        self.explain(job, None).tasks.remove(0)
    }
}

/// A reason, and the hosts for which it holds.
fn hosts(task: &TaskExplanation) -> Vec<(WhyNotThere, Vec<&str>)> {
    let hosts = task.hosts.iter();
    hosts.map(|it| (it.why, it.hosts.iter().map(HostName::as_str).collect())).collect()
}

#[test]
fn a_map_that_waits_for_its_bytes_says_how_far_it_goes_and_until_when() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    story.tracker("b", 1);
    let job = story.job(0, &[&["a"], &["a"]]);
    story.beat_all();
    let next = story.explain_next(job);
    assert_eq!((next.task.index, next.waits, next.homes.len()), (1, true, 1));
    assert_eq!((next.limit, next.farther_in_ms), (Some(Place::NodeLocal), Some(1000)));
    assert_eq!(
        hosts(&next),
        [(WhyNotThere::NoFreeSlot, vec!["a"]), (WhyNotThere::TooFar, vec!["b"])]
    );
    // The explanation comes true.
    story.pass(Duration::from_millis(2000));
    assert_eq!(story.running(&host("b")).len(), 1);
    let first = story.explain(job, Some(job.task(TaskKind::Map, 0)));
    assert!(!first.tasks[0].waits && first.tasks[0].hosts.is_empty());
}

#[test]
fn hosts_that_will_not_do_are_told_with_the_reason() {
    let mut story = Story::begin();
    let [_, b, c] = ["a", "b", "c"].map(|name| story.tracker(name, 1));
    story.toy(&b).ailments = vec![Ailment::LowMemory { available: 1, needed: 2 }];
    story.beat(&b);
    let filler = story.job(0, &[&["c"]]);
    assert_eq!(story.running(&c)[0].task.job, filler);
    let job = story.job(0, &[&["a"]]);
    let attempt = story.running(&host("a"))[0];
    story.fail(attempt, FailureKind::UserCode);
    story.pass(Duration::from_secs(3));
    let next = story.explain_next(job);
    let told = hosts(&next);
    assert_eq!(
        told,
        [
            (WhyNotThere::NoFreeSlot, vec!["c"]),
            (WhyNotThere::FailedThere, vec!["a"]),
            (WhyNotThere::Closed, vec!["b"])
        ]
    );
}

#[test]
fn reduces_say_how_many_maps_they_wait_for() {
    let mut story = Story::with(Settings { reduce_slowstart: 1.0, ..settings() });
    story.tracker("a", 1);
    let job = story.job(2, &[&["a"], &["a"], &["a"]]);
    let first = story.running_everywhere()[0];
    story.succeed(first);
    let explanation = story.explain(job, None);
    let [map, reduce] = &explanation.tasks[..] else { panic!("{explanation:?}") };
    assert!(map.obstacles.is_empty());
    assert_eq!(reduce.task, job.task(TaskKind::Reduce, 0));
    assert_eq!(reduce.obstacles, [Obstacle::MapsNotDone { done: 1, needed: 3 }]);
}

#[test]
fn what_keeps_slots_from_the_whole_job_is_told_once() {
    let rule = PoolRule { slots_max: Some(1), ..PoolRule::named("one") };
    let pools = vec![PoolRule::named(DEFAULT_POOL), rule];
    let mut story = Story::with(Settings { pools, ..settings() });
    let of = |pool: &str, output: &str| JobSpec { pool: Some(pool.to_owned()), ..identity(output) };
    let empty = story.submit(of(DEFAULT_POOL, "/out/0"));
    assert_eq!(story.explain(empty, None).obstacles, [Obstacle::NotPlanned, Obstacle::NoTrackers]);
    story.tracker("a", 1);
    let limited = story.submit(of("one", "/out/1"));
    story.plan(limited, splits(&[&["a"][..]; 2]));
    story.beat_all();
    let [Obstacle::Pool { why }] = &story.explain(limited, None).obstacles[..] else { panic!() };
    assert!(why.contains("pool one holds 1 slots"), "{why}");
    story.plan(empty, splits(&[&["a"]]));
    assert_eq!(story.explain(empty, None).obstacles, []);
    story.answer(|reply_to| Input::Pause { job: empty, kill: false, reply_to });
    assert_eq!(story.explain(empty, None).obstacles, [Obstacle::Paused]);
}

fn away<T>(reason: &str) -> StoreOutcome<T> {
    StoreOutcome::Unavailable { reason: reason.to_owned() }
}

#[test]
fn what_a_job_needs_of_the_chunk_store_is_told() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.submit(wordcount("/out", 1));
    story.give(Input::SplitsPlanned { job, outcome: away("no answer") });
    let told = |story: &mut Story| story.explain(job, None).obstacles;
    let of_store = |told: &[Obstacle], asked: &str| {
        told.iter().any(|it| matches!(it, Obstacle::Store { why } if why.contains(asked)))
    };
    let why = told(&mut story);
    assert!(why[0] == Obstacle::NotPlanned && of_store(&why, "where its input is"), "{why:?}");
    let staged = Some(StagedSplits { path: "/s".into(), digest: "d".into() });
    let plan = Plan { splits: splits(&[&["a"]]), staged };
    story.give(Input::SplitsPlanned { job, outcome: StoreOutcome::Done(plan) });
    story.kill_tracker(&a);
    story.restart();
    let why = told(&mut story);
    assert!(why.contains(&Obstacle::SplitsNotRead), "{why:?}");
    story.give(Input::SplitsRead { job, outcome: away("no answer") });
    assert!(of_store(&told(&mut story), "its list of splits"));
    story.give(Input::SplitsRead { job, outcome: StoreOutcome::Done(splits(&[&["a"]])) });
    let b = story.tracker("b", 2);
    story.pass(Duration::from_secs(20));
    assert_eq!(story.running(&b).len(), 1);
    story.run_all();
    assert_eq!(told(&mut story), [Obstacle::Publishing]);
    story.give(Input::Published { job, outcome: away("full") });
    assert!(of_store(&told(&mut story), "to publish its output"));
}

#[test]
fn a_host_that_has_free_slots_and_does_not_ask_is_told_apart() {
    let mut story = Story::begin();
    let [a, b] = ["a", "b"].map(|name| story.tracker(name, 1));
    story.toy(&b).dead = true;
    story.parked.retain(|to, host| {
        *host != b || {
            story.core.handle(story.now, Input::Gone { reply_to: *to });
            false
        }
    });
    let job = story.job(0, &[&["a"], &["b"]]);
    assert_eq!(story.running(&a).len(), 1);
    let next = story.explain_next(job);
    assert_eq!(
        hosts(&next),
        [(WhyNotThere::NotAsking, vec!["b"]), (WhyNotThere::NoFreeSlot, vec!["a"])]
    );
}

#[test]
fn a_job_that_comes_later_says_how_many_are_before_it() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let jobs: Vec<_> = (0..3).map(|_| story.job(0, &[&["a"], &["a"]])).collect();
    // The first job holds the slot: the others come before it.
    let before = jobs.iter().map(|job| story.explain(*job, None).obstacles);
    let others = |jobs| vec![Obstacle::OthersFirst { jobs }];
    assert_eq!(before.collect::<Vec<_>>(), [others(2), vec![], others(1)]);
}

#[test]
fn a_task_that_is_not_there_is_refused_and_a_job_that_is_over_waits_for_nothing() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let job = story.job(0, &[&["a"]]);
    let task = job.task(TaskKind::Map, 9);
    let refused = story.query(Query::Explain { job, task: Some(task) });
    assert!(
        matches!(refused, Reply::Refused(Refusal::NoSuchTask { task: other }) if other == task)
    );
    story.run_all();
    story.published(job);
    let over = story.explain(job, None);
    assert_eq!((over.state, over.tasks.len()), (JobState::Succeeded, 0));
}

#[test]
fn files_that_can_not_be_split_are_told_with_the_longest() {
    let mut story = Story::begin();
    story.tracker("a", 1);
    let told = |story: &mut Story, output: &str, lengths: &[(&str, u64)]| {
        let mut spec = wordcount(output, 1);
        spec.write_compression_down();
        let job = story.submit(spec);
        let whole = |(n, (path, length)): (usize, &(&str, u64))| {
            let mut planned = split(n, &["a"]);
            let piece = &mut planned.split.pieces[0];
            (piece.path, piece.length, piece.file_length) = ((*path).into(), *length, *length);
            planned
        };
        story.plan(job, lengths.iter().enumerate().map(whole).collect());
        story.explain(job, None).unsplit.map(|it| (it.files, it.longest, it.bytes))
    };
    assert_eq!(told(&mut story, "/plain", &[("/in/a", 7), ("/in/b", 7)]), None);
    let files = [("/in/a", 9), ("/in/b.gz", 5), ("/in/c.lz4", 7), ("/in/d.gz", 6)];
    assert_eq!(told(&mut story, "/compressed", &files), Some((3, "/in/c.lz4".to_owned(), 7)));
}
