//! Stories of very many trackers: heartbeats are less frequent, silence may last longer, map events
//! are batched, and trackers are lost one by one.

use super::*;

/// One heartbeat per second in all: each further tracker makes the interval a second longer.
fn crowded() -> Settings {
    Settings { heartbeats_per_second: 1, dead_after: Duration::from_secs(4), ..settings() }
}

fn interval_told(story: &mut Story, host: &HostName) -> u64 {
    let request = story.registration(host);
    match story.answer(|reply_to| Input::RegisterTracker { request, reply_to }) {
        Reply::Registered(registered) => registered.heartbeat_interval_ms,
        other => panic!("not registered: {other:?}"),
    }
}

#[test]
fn with_more_trackers_heartbeats_wait_longer_and_are_told_so() {
    let mut story = Story::with(crowded());
    let hosts = ["a", "b", "c", "d"].map(|name| story.tracker(name, 1));
    let older = story.heartbeat(&hosts[0]);
    let to = story.send(older);
    story.advance_to(Monotonic(Duration::from_millis(3999)));
    let output = story.core.handle_timeout(story.now);
    story.take(output);
    assert!(story.parked.contains_key(&to), "four trackers, four seconds");
    story.advance_to(Monotonic(Duration::from_secs(4)));
    let output = story.core.handle_timeout(story.now);
    let told = output.effects.iter().filter_map(|effect| match effect {
        Effect::Reply { reply: Reply::Heartbeat(reply), .. } => Some(reply.heartbeat_interval_ms),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [4000; 2], "to the first and to the last one");
    assert_eq!(interval_told(&mut story, &hosts[0]), 4000);
}

#[test]
fn with_more_trackers_a_silent_one_has_more_time_before_it_is_lost() {
    let mut story = Story::with(crowded());
    let hosts = ["a", "b", "c", "d"].map(|name| story.tracker(name, 1));
    let job = story.job(0, &[&["a"], &["b"], &["c"], &["d"]]);
    story.kill_tracker(&hosts[0]);
    story.pass(Duration::from_millis(11_900));
    assert_eq!(story.core.summary().trackers, 4, "three heartbeats would take twelve seconds");
    story.pass(Duration::from_millis(200));
    assert_eq!(story.core.summary().trackers, 3);
    assert_eq!(story.status(job).maps.killed_attempts, 1);
}

#[test]
fn map_events_come_several_at_a_time_and_the_last_one_at_once() {
    // A tracker that runs a reduce is sent map events every second.
    let mut story = Story::with(Settings { heartbeats_per_second: 10, ..settings() });
    let hosts = ["a", "b"].map(|name| story.tracker(name, 4));
    let job = story.job(1, &[&["a"], &["a"], &["a"], &["b"], &["b"], &["b"]]);
    let map = |index| job.task(TaskKind::Map, index).attempt(0);
    story.succeed(map(0));
    let reduce = job.task(TaskKind::Reduce, 0).attempt(0);
    let host = story.host_of(reduce);
    let other = hosts.iter().find(|other| **other != host).unwrap().clone();
    let heard = |story: &Story| story.toys[&host].news.get(&job).map_or(0, Vec::len);
    let of_others: Vec<_> = (1..6).filter(|n| story.running(&other).contains(&map(*n))).collect();
    let own: Vec<_> = (1..6).filter(|n| story.running(&host).contains(&map(*n))).collect();
    story.pass(Duration::from_secs(1));
    let before = heard(&story);
    story.succeed(map(of_others[0]));
    story.succeed(map(of_others[1]));
    assert_eq!(heard(&story), before, "more may come soon");
    story.pass(Duration::from_secs(1));
    assert_eq!(heard(&story), before + 2);
    own.iter().for_each(|n| story.succeed(map(*n)));
    of_others[2..].iter().for_each(|n| story.succeed(map(*n)));
    assert_eq!(heard(&story), 6, "reduces wait for the last map, and for nothing else");
}

#[test]
fn of_many_trackers_that_are_lost_at_once_each_call_sees_to_one() {
    let mut story = Story::begin();
    let hosts = ["a", "b", "c"].map(|name| story.tracker(name, 1));
    let job = story.job(0, &[&["a"], &["b"], &["c"]]);
    hosts.iter().for_each(|host| story.kill_tracker(host));
    story.pass(Duration::from_millis(9_999));
    story.advance_to(Monotonic(Duration::from_secs(10)));
    for left in [2, 1, 0] {
        assert!(story.core.poll_timeout().is_some_and(|at| at <= story.now.monotonic));
        let output = story.core.handle_timeout(story.now);
        story.take(output);
        assert_eq!(story.core.summary().trackers, left);
    }
    assert_eq!(story.status(job).maps.waiting, 3);
}

#[test]
fn losses_one_by_one_hold_up_nothing_else_that_is_due() {
    let mut story = Story::begin();
    let hosts = ["a", "b", "c"].map(|name| story.tracker(name, 1));
    hosts.iter().for_each(|host| story.kill_tracker(host));
    let d = story.tracker("d", 1);
    story.pass(Duration::from_millis(9_500));
    let is_parked = |story: &Story| story.parked.values().any(|host| *host == d);
    assert!(is_parked(&story));
    story.advance_to(Monotonic(Duration::from_millis(9_500) + settings().heartbeat_interval));
    let output = story.core.handle_timeout(story.now);
    story.take(output);
    assert_eq!(story.core.summary().trackers, 3, "one is lost");
    assert!(!is_parked(&story), "and the one that lives has its answer");
}

#[test]
fn when_most_are_lost_the_others_have_the_time_that_they_were_told() {
    for phase in 0..5 {
        let mut story = Story::with(crowded());
        let e = story.tracker("e", 1);
        let hosts = ["a", "b", "c", "d"].map(|name| story.tracker(name, 1));
        story.pass(Duration::from_secs(10 + phase));
        let session = story.toys[&e].registered;
        hosts.iter().for_each(|host| story.kill_tracker(host));
        story.pass(Duration::from_secs(60));
        assert_eq!(story.core.summary().trackers, 1);
        assert_eq!(story.toys[&e].registered, session, "it was never lost (phase {phase})");
    }
}
