//! Stories of hosts: what is reported of them, and how one is drained.

use super::*;

impl Story {
    fn hosts(&mut self) -> Vec<HostStatus> {
        match self.query(Query::Hosts { only: None }) {
            Reply::Hosts(list) => list.hosts,
            other => panic!("no list: {other:?}"),
        }
    }

    pub(super) fn host_status(&mut self, host: &HostName) -> HostStatus {
        let found = self.hosts().into_iter().find(|it| it.host == *host);
        found.unwrap_or_else(|| panic!("{host} is not known"))
    }
}

impl Story {
    fn drain(&mut self, host: &HostName, kill: bool) -> HostState {
        let host = host.clone();
        match self.answer(|reply_to| Input::Drain { host, kill, reply_to }) {
            Reply::Hosts(list) => list.hosts[0].state,
            other => panic!("not drained: {other:?}"),
        }
    }

    fn undrain(&mut self, host: &HostName) -> Reply {
        let host = host.clone();
        self.answer(|reply_to| Input::Undrain { host, reply_to })
    }

    fn state_of(&mut self, host: &HostName) -> HostState {
        self.host_status(host).state
    }
}

#[test]
fn hosts_are_told_with_what_runs_and_lies_there_and_for_a_day_after_their_loss() {
    let mut story = Story::begin();
    let (b, a) = (story.tracker("b/r1", 3), story.tracker("a/r2", 1));
    let job = story.job(1, &[&["a"], &["a"]]);
    story.succeed(job.task(TaskKind::Map, 0).attempt(0));
    let names: Vec<_> = story.hosts().into_iter().map(|it| it.host).collect();
    assert_eq!(names, [a.clone(), b.clone()]);
    let status = story.host_status(&a);
    let (rack, address) = (status.rack.unwrap().to_string(), status.address.unwrap());
    assert_eq!((rack.as_str(), address.as_str()), ("/r2", "a:7881"));
    assert_eq!((status.state, status.slots, status.running), (HostState::Live, 1, 1));
    assert_eq!((status.map_outputs, status.last_heartbeat_ms), (1, Some(0)));
    story.kill_tracker(&a);
    story.pass(Duration::from_secs(11));
    let status = story.host_status(&a);
    assert_eq!((status.state, status.running, status.map_outputs), (HostState::Lost, 0, 0));
    assert!((10_000..20_000).contains(&status.last_heartbeat_ms.unwrap()), "{status:?}");
    story.run_all();
    assert_eq!(story.host_status(&b).map_outputs, 0, "when its reduces are done, none is wanted");
    story.kill_tracker(&b);
    story.pass(Duration::from_hours(23));
    assert_eq!(story.host_status(&b).state, HostState::Lost);
    story.pass(Duration::from_hours(2));
    assert_eq!(story.hosts(), [], "whoever was lost the day before is not told of");
    let only = Some(host("c"));
    let none = story.query(Query::Hosts { only });
    assert_eq!(none, Reply::Refused(Refusal::NoSuchHost { host: host("c") }));
}

#[test]
fn a_restarted_jobtracker_knows_what_lies_where() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let job = story.job(1, &[&["a"], &["a"]]);
    story.succeed(job.task(TaskKind::Map, 0).attempt(0));
    story.restart_with_trackers();
    assert_eq!(story.host_status(&a).map_outputs, 1);
    let attempt = job.task(TaskKind::Map, 0).attempt(0);
    story.toy(&a).outputs.remove(&attempt);
    story.event(&a, TrackerEvent::MapOutputLost { attempt });
    assert_eq!(story.host_status(&a).map_outputs, 0);
}

#[test]
fn a_drained_host_gets_no_attempts_and_is_done_when_nothing_there_is_wanted() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 2), story.tracker("b", 1));
    let job = story.job(1, &[&["a"], &["a"], &["a"], &["a"]]);
    assert_eq!(story.running(&a).len(), 2);
    assert_eq!(story.drain(&a, false), HostState::Draining);
    story.beat_all();
    assert_eq!(story.running(&a).len(), 2, "what runs goes on");
    for attempt in story.running(&a) {
        story.succeed(attempt);
    }
    story.beat_all();
    assert_eq!(story.running(&a), []);
    let on_b = story.running(&b);
    assert_eq!(on_b.len(), 1, "the bytes are on a alone, but nobody waits for a slot there");
    assert_eq!(story.state_of(&a), HostState::Draining, "its outputs are wanted");
    story.run_all();
    assert_eq!(story.state_of(&a), HostState::Drained, "all reduces are done");
    story.kill_tracker(&a);
    story.pass(Duration::from_secs(11));
    assert_eq!(story.state_of(&a), HostState::Drained);
    story.published(job);
    let status = story.status(job);
    assert_eq!(status.state, JobState::Succeeded);
    assert_eq!((status.maps.killed_attempts, status.maps.attempts), (0, 4), "no work was lost");
}

#[test]
fn a_drain_tells_which_jobs_it_waits_for_and_which_never_go_on_by_themselves() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 3), story.tracker("b", 1));
    let job = story.job(1, &[&["a"], &["a"], &["a"]]);
    let first = story.running(&a)[0];
    story.succeed(first);
    let waits = |story: &mut Story| story.host_status(&a).drain_waits;
    assert_eq!(waits(&mut story), [], "nobody drains it");
    story.drain(&a, false);
    let wait = waits(&mut story).remove(0);
    assert_eq!((wait.job, wait.map_outputs, wait.for_ever), (job, 1, false), "{wait}");
    assert!(wait.running > 0 && wait.why.is_none(), "{wait}");
    story.drain(&b, true);
    story.drain(&a, true);
    story.beat_all();
    let wait = waits(&mut story).remove(0);
    assert!(wait.running == 0 && wait.for_ever, "{wait}");
    assert!(wait.to_string().contains("every TaskTracker is drained"), "{wait}");
    // Other jobs that are still making progress come first.
    story.undrain(&b);
    let wait = waits(&mut story).remove(0);
    assert!(!wait.for_ever && wait.why.is_none(), "{wait}");
    story.answer(|reply_to| Input::Pause { job, kill: true, reply_to });
    story.beat_all();
    let wait = waits(&mut story).remove(0);
    assert!(wait.for_ever && wait.to_string().contains("howdah job resume"), "{wait}");
    story.answer(|reply_to| Input::Resume { job, reply_to });
    story.run_all();
    assert_eq!((waits(&mut story), story.state_of(&a)), (vec![], HostState::Drained));
}

#[test]
fn a_drain_outlives_restarts_of_jobtracker_and_host_until_it_is_taken_back() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    assert_eq!(story.drain(&a, false), HostState::Drained);
    let job = story.job(0, &[&["a"]]);
    let why = story.status(job).waiting.unwrap();
    assert!(why.contains("set aside") && why.contains("howdah host list"), "{why}");
    story.restart();
    let status = story.host_status(&a);
    assert_eq!((status.state, status.address), (HostState::Draining, None), "it may run something");
    story.toy(&a).incarnation += 1;
    story.register(&a);
    story.beat(&a);
    story.pass(Duration::from_secs(20));
    assert_eq!((story.running(&a), story.state_of(&a)), (vec![], HostState::Drained));
    assert!(
        matches!(story.undrain(&a), Reply::Hosts(list) if list.hosts[0].state == HostState::Live)
    );
    assert_eq!(story.running(&a).len(), 1, "at once");
    story.restart_with_trackers();
    assert_eq!(story.state_of(&a), HostState::Live);
}

#[test]
fn a_host_that_is_drained_and_never_comes_again_is_forgotten_by_taking_that_back() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    story.drain(&a, false);
    story.kill_tracker(&a);
    story.restart();
    assert_eq!(story.state_of(&a), HostState::Draining);
    story.pass(Duration::from_secs(11));
    assert_eq!(story.state_of(&a), HostState::Drained);
    assert_eq!(story.undrain(&a), Reply::Hosts(mapreduce_protocol::HostList { hosts: vec![] }));
    let unknown = || Reply::Refused(Refusal::NoSuchHost { host: host("a") });
    assert_eq!(story.undrain(&a), unknown());
    let kill = false;
    let again = story.answer(|reply_to| Input::Drain { host: host("a"), kill, reply_to });
    assert_eq!(again, unknown());
}

#[test]
fn what_runs_on_a_drained_host_can_be_ended_at_once_and_runs_elsewhere() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 2), story.tracker("b", 2));
    let job = story.submit(JobSpec { max_attempts: Some(1), ..identity("/out") });
    story.plan(job, splits(&[&["a"], &["a"]]));
    assert_eq!(story.running(&a).len(), 2);
    story.drain(&a, true);
    story.beat_all();
    assert_eq!((story.running(&a).len(), story.running(&b).len()), (0, 2));
    assert_eq!(story.state_of(&a), HostState::Drained);
    story.run_all();
    story.published(job);
    assert_eq!(story.status(job).maps.killed_attempts, 2);
}

#[test]
fn a_job_that_every_host_but_a_drained_one_fails_for_want_of_room_fails() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
    story.drain(&b, false);
    let job = story.submit(JobSpec { max_attempts: Some(1), ..identity("/out") });
    story.plan(job, splits(&[&["b"]]));
    let attempt = story.running(&a)[0];
    story.fail(attempt, FailureKind::OutOfSpace);
    assert_eq!(story.status(job).state, JobState::Failed);
    assert!(story.running(&b).is_empty());
}
