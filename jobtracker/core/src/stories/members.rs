//! Stories of trackers that register: which of them a restarted JobTracker waits for, registrations
//! that are late or come twice, and trackers that all fall silent at once.

use mapreduce_protocol::Strike;

use super::*;

fn map(job: JobId, index: u32, number: u32) -> AttemptId {
    job.task(TaskKind::Map, index).attempt(number)
}

impl Story {
    /// A known tracker comes back and reports everything.
    fn comes_again(&mut self, host: &HostName) {
        self.parked.retain(|_, parked| parked != host);
        self.register(host);
        self.beat(host);
    }

    /// A message that was in flight for long; its sender waits for no reply.
    fn arrives(&mut self, request: Box<RegisterTracker>) {
        let reply_to = self.ask();
        self.give(Input::RegisterTracker { request, reply_to });
    }

    fn strikes(&mut self, host: &HostName) -> Vec<Strike> {
        self.host_status(host).strikes
    }

    /// All that trackers send gets lost for this long.
    fn cut_off(&mut self, hosts: &[HostName], time: Duration) {
        hosts.iter().for_each(|host| self.toy(host).dead = true);
        self.pass(time);
        hosts.iter().for_each(|host| self.toy(host).dead = false);
    }
}

/// A JobTracker that restarts while `a` and `b`, one slot each, run two of three maps.
fn restarted() -> (Story, HostName, HostName, JobId) {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
    let job = story.job(0, &[&["a"], &["b"], &["a"]]);
    assert_eq!(story.running_everywhere(), [map(job, 0, 0), map(job, 1, 0)]);
    story.restart();
    (story, a, b, job)
}

#[test]
fn a_restarted_jobtracker_launches_as_soon_as_the_last_tracker_has_told_what_runs() {
    let (mut story, a, b, job) = restarted();
    story.comes_again(&a);
    story.succeed(map(job, 0, 0));
    story.pass(Duration::from_secs(9));
    assert_eq!(story.running(&a), [], "b may run any of them");
    story.register(&b);
    assert_eq!(story.running(&a), [], "it has not heard that it is registered");
    story.beat(&b);
    assert_eq!(story.running(&a), [map(job, 2, 1000)], "at once");
    assert_eq!(story.running(&b), [map(job, 1, 0)], "it goes on");
    let maps = story.status(job).maps;
    assert_eq!((maps.killed_attempts, maps.attempts), (0, 3), "none was run twice");
}

#[test]
fn what_it_waits_for_is_told() {
    let (mut story, a, b, job) = restarted();
    for host in ["c", "d"] {
        story.tracker(host, 1);
    }
    let why = story.status(job).waiting.unwrap();
    assert!(why.contains("those on a and 1 other hosts"), "{why}");
    story.comes_again(&a);
    story.comes_again(&b);
    assert_eq!(story.status(job).waiting, None);
}

#[test]
fn a_tracker_that_does_not_come_back_is_waited_for_as_long_as_makes_it_dead_and_never_again() {
    let (mut story, a, b, job) = restarted();
    story.kill_tracker(&b);
    story.comes_again(&a);
    story.succeed(map(job, 0, 0));
    story.pass(Duration::from_millis(9_900));
    assert_eq!(story.running(&a), []);
    story.pass(Duration::from_millis(100));
    assert_eq!(story.running(&a).len(), 1, "it had its time");
    story.restart();
    story.comes_again(&a);
    let before = story.running(&a);
    story.succeed(before[0]);
    assert_eq!(story.running(&a).len(), 1, "b is known to be gone");
}

#[test]
fn a_tracker_that_was_lost_before_is_not_waited_for_until_it_joins_again() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
    story.kill_tracker(&b);
    story.pass(Duration::from_secs(11));
    let job = story.job(0, &[&["a"], &["a"], &["a"], &["a"]]);
    story.restart();
    story.comes_again(&a);
    story.succeed(map(job, 0, 0));
    assert_eq!(story.running(&a), [map(job, 1, 1000)]);
    story.toy(&b).dead = false;
    story.comes_again(&b);
    story.restart();
    story.comes_again(&a);
    story.succeed(map(job, 1, 1000));
    assert_eq!(story.running(&a), [], "it is there again");
}

#[test]
fn a_drained_tracker_is_waited_for_as_long_as_something_runs_there() {
    for is_busy in [true, false] {
        let mut story = Story::begin();
        let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
        let job = story.job(0, &[&["a"], &["b"], &["a"], &["a"]]);
        let (host, kill) = (b.clone(), false);
        story.answer(|reply_to| Input::Drain { host, kill, reply_to });
        if !is_busy {
            story.succeed(map(job, 1, 0));
        }
        story.restart();
        story.comes_again(&a);
        story.succeed(map(job, 0, 0));
        assert_eq!(story.running(&a).is_empty(), is_busy);
        story.comes_again(&b);
        assert_eq!(story.running(&a).len(), 1);
        let host = b.clone();
        story.answer(|reply_to| Input::Undrain { host, reply_to });
        story.beat_all();
        story.restart();
        story.comes_again(&a);
        let goes_on = story.running(&a);
        story.succeed(goes_on[0]);
        assert_eq!(story.running(&a), [], "b is a member as before");
    }
}

#[test]
fn a_new_cluster_starts_at_once_and_so_does_one_without_trackers() {
    let mut story = Story::begin();
    let early = story.job(0, &[&["a"]]);
    let a = story.tracker("a", 1);
    assert_eq!(story.running(&a).len(), 1);
    story.run_all();
    story.published(early);
    story.kill_tracker(&a);
    story.pass(Duration::from_secs(11));
    story.job(0, &[&["a"]]);
    story.restart();
    let b = story.tracker("b", 1);
    assert_eq!(story.running(&b).len(), 1);
}

#[test]
fn where_the_journal_does_not_tell_who_there_was_trackers_have_time_to_register() {
    let mut story = Story::begin();
    let (a, b) = (story.tracker("a", 1), story.tracker("b", 1));
    let job = story.job(0, &[&["a"], &["b"], &["a"]]);
    story.records.retain(|record| !matches!(record, Record::TrackerJoined { .. }));
    story.restart_without(0);
    story.comes_again(&a);
    story.succeed(map(job, 0, 0));
    story.pass(Duration::from_millis(2_900));
    assert_eq!(story.running(&a), [], "somebody may run it");
    story.pass(Duration::from_millis(200));
    assert_eq!(story.running(&a), [map(job, 2, 1000)]);
    story.comes_again(&b);
    assert_eq!(story.running(&b), [map(job, 1, 0)], "nobody has taken its place yet");
}

#[test]
fn a_journal_tells_of_each_tracker_once_however_often_it_registers() {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    for _ in 0..3 {
        story.comes_again(&a);
        story.restart();
        story.comes_again(&a);
    }
    let joined = story.records.iter().filter(|it| matches!(it, Record::TrackerJoined { .. }));
    assert_eq!(joined.count(), 1);
}

/// A finished map and a running one on `a`; and the registration that `a` sent before.
fn with_an_old_registration() -> (Story, HostName, Box<RegisterTracker>, JobId) {
    let mut story = Story::begin();
    let a = story.tracker("a", 1);
    let old = story.registration(&a);
    let job = story.job(1, &[&["a"], &["a"]]);
    story.succeed(map(job, 0, 0));
    assert_eq!(story.running(&a), [map(job, 1, 0)]);
    (story, a, old, job)
}

#[test]
fn a_registration_that_comes_again_later_undoes_nothing() {
    let (mut story, a, old, job) = with_an_old_registration();
    for _ in 0..3 {
        story.arrives(old.clone());
        let maps = story.status(job).maps;
        assert_eq!((maps.succeeded, maps.running, maps.killed_attempts), (1, 1, 0));
    }
    story.comes_again(&a);
    assert_eq!(story.running(&a), [map(job, 1, 0)], "it goes on");
    story.run_all();
    story.published(job);
    let status = story.status(job);
    assert_eq!((status.maps.attempts, status.maps.succeeded), (2, 2), "nothing was done again");
}

#[test]
fn a_registration_that_a_restarted_jobtracker_gets_first_undoes_nothing_either() {
    let (mut story, a, old, job) = with_an_old_registration();
    story.restart();
    story.arrives(old);
    story.pass(Duration::from_secs(9));
    assert_eq!(story.status(job).maps.succeeded, 1);
    story.comes_again(&a);
    story.run_all();
    story.published(job);
    let maps = story.status(job).maps;
    assert_eq!((maps.attempts, maps.killed_attempts), (2, 0));
}

#[test]
fn the_late_registration_of_a_process_that_is_gone_undoes_nothing() {
    let (mut story, a, old, job) = with_an_old_registration();
    story.toy(&a).incarnation += 1;
    story.toy(&a).running.clear();
    story.comes_again(&a);
    assert_eq!(story.running(&a), [map(job, 1, 1)], "what it ran went with it");
    story.arrives(old);
    let maps = story.status(job).maps;
    assert_eq!((maps.succeeded, maps.running, maps.killed_attempts), (1, 1, 1));
    story.comes_again(&a);
    assert_eq!(story.running(&a), [map(job, 1, 1)]);
}

#[test]
fn who_registers_and_is_never_heard_again_is_lost_with_all_that_was_there() {
    let (mut story, a, old, job) = with_an_old_registration();
    story.kill_tracker(&a);
    story.arrives(old);
    story.pass(Duration::from_secs(10));
    let maps = story.status(job).maps;
    assert_eq!((maps.succeeded, maps.running, maps.killed_attempts), (0, 0, 1));
}

#[test]
fn a_tracker_that_moves_is_announced_once_it_is_heard_there() {
    let (mut story, a, _, job) = with_an_old_registration();
    story.succeed(map(job, 1, 0));
    let reduce = job.task(TaskKind::Reduce, 0).attempt(0);
    assert_eq!(story.running(&a), [reduce]);
    story.toy(&a).address = "a:9999".to_owned();
    story.register(&a);
    story.register(&a);
    story.beat(&a);
    story.beat(&a);
    let last = story.toys[&a].news[&job].last().cloned();
    let Some(MapEvent::Available { address, .. }) = last else { panic!("{last:?}") };
    assert_eq!(address, "a:9999");
    let before = story.toys[&a].news[&job].len();
    story.comes_again(&a);
    assert_eq!(story.toys[&a].news[&job].len(), before, "it is where it was");
}

#[test]
fn trackers_that_all_fall_silent_at_once_are_not_blamed_for_that() {
    let mut story = Story::begin();
    let hosts = ["h1", "h2", "h3", "h4", "h5"].map(|name| story.tracker(name, 1));
    // How many are cut off, and whether they get strikes for it.
    for (n, is_their_fault) in [(5, false), (3, false), (2, true), (1, true)] {
        story.cut_off(&hosts[..n], Duration::from_secs(11));
        for host in &hosts {
            story.comes_again(host);
            let expected: &[Strike] = match is_their_fault && hosts[..n].contains(host) {
                true => &[Strike::Silence],
                false => &[],
            };
            assert_eq!(story.strikes(host), expected, "{host} of {n}");
            let host = host.clone();
            story.answer(|reply_to| Input::Forgive { host, reply_to });
        }
        story.pass(Duration::from_mins(1));
    }
}

#[test]
fn who_is_last_to_be_heard_again_after_all_were_silent_is_not_blamed_either() {
    let mut story = Story::begin();
    let hosts = ["h1", "h2", "h3", "h4"].map(|name| story.tracker(name, 1));
    hosts.iter().for_each(|host| story.toy(host).dead = true);
    story.pass(Duration::from_secs(8));
    for host in &hosts[..3] {
        story.toy(host).dead = false;
        story.parked.retain(|_, parked| parked != host);
        story.beat(host);
    }
    story.pass(Duration::from_secs(3));
    assert_eq!(story.host_status(&hosts[3]).state, HostState::Lost);
    story.toy(&hosts[3]).dead = false;
    story.comes_again(&hosts[3]);
    assert_eq!(story.strikes(&hosts[3]), []);
    story.pass(Duration::from_mins(1));
    story.cut_off(&hosts[3..], Duration::from_secs(11));
    story.comes_again(&hosts[3]);
    assert_eq!(story.strikes(&hosts[3]), [Strike::Silence], "now it is alone");
}
