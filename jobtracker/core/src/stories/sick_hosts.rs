//! Hosts that get no new attempts: their ailments and strikes, and when these are over.

use mapreduce_protocol::Strike;

use super::*;

/// Four hosts with two slots each.
fn four_hosts() -> (Story, [HostName; 4]) {
    let mut story = Story::begin();
    let hosts = ["h1", "h2", "h3", "h4"].map(|name| story.tracker(name, 2));
    (story, hosts)
}

fn full() -> Ailment {
    Ailment::DiskFull { path: "/data".to_owned(), free: 1, needed: 2 }
}

impl Story {
    fn falls_ill(&mut self, host: &HostName, ailments: Vec<Ailment>) {
        self.toy(host).ailments = ailments;
        self.beat(host);
    }

    /// Makes attempts on `bad` fail and all others succeed until the job has ended.
    fn run_all_but(&mut self, job: JobId, bad: &HostName) {
        for _ in 0..1000 {
            match self.running_everywhere().first().copied() {
                Some(attempt) if self.host_of(attempt) == *bad => {
                    self.fail(attempt, FailureKind::UserCode);
                }
                Some(attempt) => self.succeed(attempt),
                None if !self.publishes().iter().any(|(published, _)| *published == job) => {
                    self.pass(Duration::from_secs(1));
                }
                None => break,
            }
        }
        self.published(job);
        self.beat_all();
        assert_eq!(self.status(job).state, JobState::Succeeded);
    }

    fn attempts_on(&self, host: &HostName) -> usize {
        self.running(host).len()
    }
}

#[test]
fn an_ill_host_is_given_nothing_until_it_is_well_and_what_runs_there_goes_on() {
    let (mut story, [h1, h2, _, _]) = four_hosts();
    let job = story.job(0, &[&["h1"][..]; 12]);
    assert_eq!((story.attempts_on(&h1), story.attempts_on(&h2)), (2, 0), "near their bytes");
    story.falls_ill(&h1, vec![full()]);
    // The other maps need not wait for a host that takes no attempts.
    assert_eq!(story.running_everywhere().len(), 8);
    let first = story.running(&h1)[0];
    story.succeed(first);
    assert_eq!(story.attempts_on(&h1), 1, "it ended well, and nothing new came");
    story.falls_ill(&h1, vec![]);
    assert_eq!(story.attempts_on(&h1), 2);
    story.run_all();
    story.published(job);
    assert_eq!(story.status(job).maps.failed_attempts, 0);
}

#[test]
fn a_full_disk_on_the_only_host_fails_no_job_before_its_tries_are_used_up() {
    let mut story = Story::begin();
    let h1 = story.tracker("h1", 1);
    let job = story.job(0, &[&["h1"]]);
    let attempt = story.running(&h1)[0];
    story.fail(attempt, FailureKind::OutOfSpace);
    story.falls_ill(&h1, vec![full()]);
    story.pass(Duration::from_mins(30));
    assert_eq!((story.status(job).state, story.attempts_on(&h1)), (JobState::Running, 0));
    story.falls_ill(&h1, vec![]);
    story.run_all();
    story.published(job);
    assert_eq!(story.status(job).state, JobState::Succeeded);
}

/// Two hosts, of which h2 is ill, and a job of one map.
fn one_of_two_is_ill() -> (Story, HostName, JobId) {
    let mut story = Story::begin();
    let [h1, h2] = ["h1", "h2"].map(|name| story.tracker(name, 1));
    story.falls_ill(&h2, vec![full()]);
    let job = story.job(0, &[&["h1"]]);
    (story, h1, job)
}

#[test]
fn a_task_goes_back_to_where_it_failed_if_all_other_hosts_are_ill() {
    let (mut story, h1, _) = one_of_two_is_ill();
    let attempt = story.running(&h1)[0];
    story.fail(attempt, FailureKind::UserCode);
    assert_eq!(story.attempts_on(&h1), 1);
}

#[test]
fn a_job_fails_when_every_host_that_is_not_ill_has_failed_it_too_often() {
    let (mut story, h1, job) = one_of_two_is_ill();
    for _ in 0..4 {
        story.pass(Duration::from_mins(1));
        let attempt = story.running(&h1)[0];
        story.fail(attempt, FailureKind::OutOfSpace);
    }
    let status = story.status(job);
    let reason = status.failure.unwrap_or_default();
    assert!(status.state == JobState::Failed && reason.contains("room"), "{reason}");
}

#[test]
fn a_job_leaves_a_host_alone_where_several_of_its_tasks_fail_and_other_jobs_do_not() {
    let (mut story, [h1, h2, h3, h4]) = four_hosts();
    let job = story.job(0, &[&["h1"][..]; 40]);
    for _ in 0..3 {
        let attempt = story.running(&h1)[0];
        story.fail(attempt, FailureKind::Crashed { exit_code: Some(1), signal: None });
    }
    for attempt in story.running(&h1) {
        story.succeed(attempt);
    }
    assert_eq!(story.attempts_on(&h1), 0);
    let other = story.job(0, &[&["h1"]]);
    assert_eq!(story.running(&h1)[0].task.job, other);
    story.pass(Duration::from_secs(59));
    for host in [&h2, &h3, &h4] {
        assert_eq!(story.attempts_on(host), 2);
    }
    let of_job = |story: &Story| story.running(&h1).iter().filter(|it| it.task.job == job).count();
    assert_eq!(of_job(&story), 0);
    story.pass(Duration::from_secs(2));
    assert_eq!(of_job(&story), 1, "it gets another chance");
}

#[test]
fn a_program_that_fails_everywhere_sets_no_host_aside() {
    let (mut story, hosts) = four_hosts();
    let spec = JobSpec { max_attempts: Some(100), ..identity("/out") };
    let job = story.submit(spec);
    story.plan(job, splits(&[&["h1"][..]; 40]));
    for _ in 0..20 {
        story.pass(Duration::from_secs(2));
        for attempt in story.running_everywhere() {
            story.fail(attempt, FailureKind::UserCode);
        }
    }
    for host in &hosts {
        assert_eq!(story.attempts_on(host), 2, "{host}");
    }
}

/// Three jobs whose tasks all fail on `bad` and succeed elsewhere.
fn three_jobs_against(bad: &str) -> (Story, HostName) {
    let (mut story, _) = four_hosts();
    let bad = host(bad);
    for _ in 0..3 {
        let job = story.job(0, &[&["h1"], &["h1"], &["h1"], &["h1"], &["h2"], &["h3"], &["h4"]]);
        story.run_all_but(job, &bad);
    }
    (story, bad)
}

#[test]
fn a_host_where_tasks_of_several_jobs_fail_is_set_aside_for_all_until_that_is_long_ago() {
    let (mut story, h1) = three_jobs_against("h1");
    story.job(0, &[&["h1"][..]; 40]);
    assert_eq!((story.attempts_on(&h1), story.running_everywhere().len()), (0, 6));
    story.pass(Duration::from_mins(59));
    assert_eq!(story.attempts_on(&h1), 0);
    story.pass(Duration::from_mins(2));
    assert_eq!(story.attempts_on(&h1), 2);
}

#[test]
fn a_host_that_is_set_aside_gets_another_chance_when_its_tracker_is_started_anew() {
    let (mut story, h1) = three_jobs_against("h1");
    story.job(0, &[&["h1"][..]; 40]);
    story.toy(&h1).incarnation += 1;
    story.register(&h1);
    story.beat(&h1);
    assert_eq!(story.attempts_on(&h1), 2);
}

#[test]
fn a_host_whose_tracker_falls_silent_again_and_again_is_set_aside() {
    let (mut story, [h1, ..]) = four_hosts();
    for _ in 0..3 {
        story.kill_tracker(&h1);
        story.pass(Duration::from_secs(15));
        let toy = story.toy(&h1);
        (toy.dead, toy.incarnation) = (false, toy.incarnation + 1);
        story.parked.retain(|_, parked| *parked != h1);
        story.register(&h1);
        story.beat(&h1);
    }
    story.job(0, &[&["h1"][..]; 40]);
    assert_eq!((story.attempts_on(&h1), story.running_everywhere().len()), (0, 6));
}

/// Of four hosts, h1 has the output of one map of each of three jobs, which is lost, and runs
/// another map of each, which fails. Its tracker reports that it does without a disk first, or
/// last, or never. Returns whether h1 is set aside, and its strikes.
fn a_disk_fails(told: Option<bool>) -> (bool, Vec<Strike>) {
    let (mut story, [h1, ..]) = four_hosts();
    story.toy(&h1).slots = 8;
    story.register(&h1);
    story.beat(&h1);
    let jobs = [(); 3].map(|()| story.job(1, &[&["h1"], &["h1"]]));
    for job in jobs {
        story.succeed(job.task(TaskKind::Map, 0).attempt(0));
    }
    let disks = vec![Ailment::DiskFails { path: "/d2".to_owned(), message: "EIO".to_owned() }];
    if told == Some(true) {
        story.toy(&h1).disks_without.clone_from(&disks);
    }
    for job in jobs {
        let [lost, failed] = [0, 1].map(|map| job.task(TaskKind::Map, map).attempt(0));
        story.event(&h1, TrackerEvent::MapOutputLost { attempt: lost });
        story.fail(failed, FailureKind::OutOfSpace);
    }
    if told == Some(false) {
        story.pass(Duration::from_secs(10));
        story.toy(&h1).disks_without = disks;
        story.beat(&h1);
    }
    let status = story.host_status(&h1);
    (status.state == HostState::SetAside, status.strikes)
}

#[test]
fn what_is_lost_with_one_disk_of_several_is_one_strike_however_many_jobs_lose_it() {
    let (is_aside, strikes) = a_disk_fails(None);
    assert!(is_aside && strikes.len() == 6, "{strikes:?}");
    for told_at_first in [true, false] {
        let one = (false, vec![Strike::DiskFailed]);
        assert_eq!(a_disk_fails(Some(told_at_first)), one, "told at first: {told_at_first}");
    }
}

#[test]
fn never_more_than_a_quarter_of_the_hosts_is_set_aside() {
    let (mut story, h1) = three_jobs_against("h1");
    for _ in 0..6 {
        let job = story.job(0, &[&["h2"], &["h2"], &["h2"], &["h3"], &["h3"]]);
        story.run_all_but(job, &host("h2"));
    }
    story.job(0, &[&["h1"][..]; 40]);
    story.pass(Duration::from_secs(3));
    let n_idle = ["h1", "h2", "h3", "h4"].iter().filter(|it| story.attempts_on(&host(it)) == 0);
    assert_eq!(n_idle.count(), 1, "{:?}", story.running_everywhere());
    assert_eq!(story.attempts_on(&h1), 2, "more speaks against h2");
}

#[test]
fn a_list_of_hosts_says_what_is_wrong_with_them_and_what_speaks_against_them() {
    let (mut story, h1) = three_jobs_against("h1");
    story.falls_ill(&host("h2"), vec![full()]);
    let (one, two, three) = (
        story.host_status(&host("h1")),
        story.host_status(&host("h2")),
        story.host_status(&host("h3")),
    );
    assert_eq!((one.state, one.strikes.len()), (HostState::SetAside, 3));
    assert!(one.strikes.iter().all(|strike| matches!(strike, Strike::Failures { .. })));
    assert!(one.set_aside_ms.is_some_and(|left| left > 3_000_000 && left <= 3_600_000));
    assert_eq!((two.state, two.ailments), (HostState::Ill, vec![full()]));
    assert_eq!((three.state, three.strikes.len()), (HostState::Live, 0));

    story.job(0, &[&["h1"][..]; 40]);
    assert_eq!(story.attempts_on(&h1), 0);
    story.answer(|reply_to| Input::Forgive { host: h1.clone(), reply_to });
    let forgiven = story.host_status(&host("h1"));
    assert_eq!((forgiven.state, forgiven.strikes.len()), (HostState::Live, 0));
    assert_eq!(story.attempts_on(&h1), 2);
}
