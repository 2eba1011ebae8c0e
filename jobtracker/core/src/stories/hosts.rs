//! Stories of hosts: what is told of them.

use super::*;

impl Story {
    fn hosts(&mut self) -> Vec<HostStatus> {
        match self.query(Query::Hosts { only: None }) {
            Reply::Hosts(list) => list.hosts,
            other => panic!("no list: {other:?}"),
        }
    }

    fn host_status(&mut self, host: &HostName) -> HostStatus {
        let found = self.hosts().into_iter().find(|it| it.host == *host);
        found.unwrap_or_else(|| panic!("{host} is not known"))
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
    assert_eq!((status.rack.to_string().as_str(), status.address.as_str()), ("/r2", "a:7881"));
    assert_eq!((status.state, status.slots, status.running), (HostState::Live, 1, 1));
    assert_eq!((status.map_outputs, status.last_heartbeat_ms), (1, 0));
    story.kill_tracker(&a);
    story.pass(Duration::from_secs(11));
    let status = story.host_status(&a);
    assert_eq!((status.state, status.running, status.map_outputs), (HostState::Lost, 0, 0));
    assert!((10_000..20_000).contains(&status.last_heartbeat_ms), "{status:?}");
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
