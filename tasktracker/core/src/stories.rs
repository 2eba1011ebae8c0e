//! What a TaskTracker does, as stories: a tracker, the JobTracker's words, what comes out.

use std::sync::Arc;

use ids::{Epoch, Numbered, RackName, UnixMillis};
use mapreduce_protocol::{
    Builtin, FromTask, JobDescription, MapEvent, MapEvents, Program, RegisterTracker, Split,
    TaskLimits, TrackerHeartbeat, TrackerRegistered, Work,
};

use super::*;
use crate::attempts::EXIT_GRACE;
use crate::session::EVENT_BYTES_PER_HEARTBEAT_MAX;

mod cut_off;
mod hearsay;
mod overuse;

const JOB: JobId = JobId { date: 20_261_122, ordinal: 1 };
const TIMEOUT: Duration = Duration::from_secs(60);
const CUT_OFF: Duration = Duration::from_secs(200);

fn map(index: u32) -> AttemptId {
    JOB.task(TaskKind::Map, index).attempt(0)
}

fn reduce(index: u32) -> AttemptId {
    JOB.task(TaskKind::Reduce, index).attempt(0)
}

pub(crate) fn launch(attempt: AttemptId) -> TrackerCommand {
    let program = Program::Builtin(Builtin { name: "wordcount".to_owned(), args: BTreeMap::new() });
    let job = JobDescription {
        job: attempt.task.job,
        name: "words".to_owned(),
        program,
        n_reduces: 2,
        n_maps: 9,
        staging: "/staging".to_owned(),
        output: None,
        limits: TaskLimits::default(),
        formats: Default::default(),
        output_forms: Default::default(),
    };
    let work = match attempt.task.kind {
        TaskKind::Map => Work::Map { split: Split { pieces: Vec::new() } },
        TaskKind::Reduce => Work::Reduce,
    };
    TrackerCommand::Launch(Launch { attempt, job: Arc::new(job), work, skipping: None })
}

fn available(index: u32, number: u32) -> MapEvent {
    MapEvent::Available {
        attempt: JOB.task(TaskKind::Map, index).attempt(number),
        host: "host-2".parse().unwrap(),
        address: "127.0.0.1:1".to_owned(),
        digest: "d".to_owned(),
    }
}

fn crash() -> Failure {
    let kind = FailureKind::Crashed { exit_code: Some(101), signal: None };
    Failure { kind, message: "gone".to_owned() }
}

pub(crate) fn tracker(slots: u32, held: &[AttemptId]) -> Core {
    Core::new(settings(slots), held.iter().copied())
}

fn settings(slots: u32) -> Settings {
    Settings {
        cluster: None,
        host: "host-1".parse().unwrap(),
        rack: RackName::default(),
        address: "127.0.0.1:7881".to_owned(),
        incarnation: 7,
        slots,
        task_timeout: TIMEOUT,
        cut_off_timeout: CUT_OFF,
        limits: HostLimits {
            default: Limits { memory: 1 << 30, processes: 64, disk: 1 << 30, open_files: 99 },
            memory_max: 4 << 30,
        },
        health: HealthRule { disk_free_min: 100, memory_free_min: 100 },
        disks: vec!["/disk-0".to_owned()],
        jobs: BTreeSet::new(),
        not_isolated: None,
        seed: 1,
    }
}

pub(crate) fn registered(epoch: u64, session: u64) -> Input {
    Input::Registered(TrackerRegistered {
        cluster: "cluster-1".parse().unwrap(),
        epoch: Epoch(epoch),
        session,
        heartbeat_interval_ms: 1000,
    })
}

/// A tracker with the JobTracker's side of the talk, both driven by the story.
struct Story {
    core: Core,
    now: Now,
    commands: u64,
    session: SessionId,
    /// Heartbeats out, oldest first.
    out: Vec<TrackerHeartbeat>,
    registrations: Vec<RegisterTracker>,
}

impl Story {
    fn begin(slots: u32, held: &[AttemptId]) -> Self {
        Self::begin_with(tracker(slots, held))
    }

    fn begin_with(core: Core) -> Self {
        let session = SessionId { epoch: Epoch(1), session: 1 };
        let (out, registrations) = (Vec::new(), Vec::new());
        let mut story =
            Self { core, now: Now::default(), commands: 0, session, out, registrations };
        assert_eq!(story.pass(Duration::ZERO), []);
        assert_eq!(story.registrations.len(), 1);
        assert_eq!(story.register(1, 1), []);
        story
    }

    fn sort_out(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let mut rest = Vec::new();
        for effect in effects {
            match effect {
                Effect::SendHeartbeat(heartbeat) => self.out.push(*heartbeat),
                Effect::Register(registration) => self.registrations.push(*registration),
                other => rest.push(other),
            }
        }
        rest
    }

    fn give(&mut self, input: Input) -> Vec<Effect> {
        let effects = self.core.handle(self.now, input);
        self.sort_out(effects)
    }

    fn register(&mut self, epoch: u64, session: u64) -> Vec<Effect> {
        self.session = SessionId { epoch: Epoch(epoch), session };
        self.commands = 0;
        self.out.clear();
        self.give(registered(epoch, session))
    }

    fn pass(&mut self, time: Duration) -> Vec<Effect> {
        self.now.monotonic = self.now.monotonic + time;
        self.now.wall = UnixMillis(self.now.wall.0 + 1);
        let effects = self.core.handle_timeout(self.now);
        self.sort_out(effects)
    }

    /// Answers the oldest heartbeat, acknowledging what it carries.
    fn answer(&mut self, commands: Vec<TrackerCommand>, news: Vec<MapEvents>) -> Vec<Effect> {
        let heartbeat = self.out.remove(0);
        let received = heartbeat.events.last().map_or(0, |last| last.number);
        let mut numbered = Vec::new();
        for item in commands {
            self.commands += 1;
            numbered.push(Numbered { number: self.commands, item });
        }
        let reply = TrackerHeartbeatReply {
            heartbeat_interval_ms: 0,
            epoch: self.session.epoch,
            events_received: received,
            commands: numbered,
            map_events: news,
        };
        let number = heartbeat.number.0;
        self.give(Input::HeartbeatReply { session: self.session, number, reply })
    }

    fn command(&mut self, command: TrackerCommand) -> Vec<Effect> {
        self.answer(vec![command], Vec::new())
    }

    fn start(&mut self, attempt: AttemptId) {
        let spawned = self.command(launch(attempt));
        assert!(matches!(&spawned[..], [Effect::Spawn(launch, _)] if launch.attempt == attempt));
        self.give(Input::Started { attempt });
    }

    fn succeed(&mut self, attempt: AttemptId) -> Vec<Effect> {
        let message = FromTask::Succeeded { result: AttemptResult::default() };
        let mut effects = self.give(Input::Said { attempt, message });
        effects.extend(self.give(Input::Ended { attempt, otherwise: crash() }));
        effects
    }

    /// The events of the newest heartbeat.
    fn told(&self) -> Vec<TrackerEvent> {
        let newest = self.out.last().expect("a heartbeat is always out");
        newest.events.iter().map(|numbered| numbered.item.clone()).collect()
    }

    fn told_failures(&self) -> Vec<(AttemptId, FailureKind)> {
        let failures = self.told().into_iter().filter_map(|event| match event {
            TrackerEvent::Failed { attempt, failure, .. } => Some((attempt, failure.kind)),
            _ => None,
        });
        failures.collect()
    }
}

fn succeeded(attempt: AttemptId) -> TrackerEvent {
    TrackerEvent::Succeeded { attempt, result: AttemptResult::default() }
}

#[test]
fn a_new_ailment_is_told_at_once_beside_the_parked_heartbeat_and_with_each_one_from_then_on() {
    let mut story = Story::begin(1, &[]);
    assert_eq!((story.out.len(), story.out[0].ailments.len()), (1, 0));
    let memory = |available| Input::Examined(Finding::Memory { available });
    story.give(memory(99));
    assert_eq!((story.out.len(), story.out[1].ailments.len()), (2, 1));
    story.give(memory(98));
    assert_eq!(story.out.len(), 2, "more of the same can wait");
    story.answer(Vec::new(), Vec::new());
    story.answer(Vec::new(), Vec::new());
    story.pass(Duration::from_secs(1));
    assert_eq!(story.out.last().map(|it| it.ailments.len()), Some(1));
    story.give(memory(500));
    assert_eq!(story.out.last().map(|it| it.ailments.len()), Some(0));
}

#[test]
fn a_finished_map_is_told_at_once_beside_the_parked_heartbeat_and_frees_its_slot() {
    let mut story = Story::begin(1, &[]);
    story.start(map(0));
    assert_eq!(story.out.len(), 1, "one heartbeat is parked");
    let message = FromTask::Succeeded { result: AttemptResult::default() };
    assert_eq!(story.give(Input::Said { attempt: map(0), message }), []);
    assert_eq!(story.out.len(), 2, "the news does not wait for the parked one, nor for the exit");
    assert_eq!(story.told(), [succeeded(map(0))]);
    assert_eq!(story.out[1].running, []);
    assert_eq!(story.out[1].commands_done, 1);
    // The JobTracker answers the parked one first, then the new one with the next launch.
    assert_eq!(story.answer(Vec::new(), Vec::new()), []);
    assert_eq!(story.out.len(), 1);
    let spawned = story.command(launch(map(1)));
    assert!(matches!(&spawned[..], [Effect::Spawn(..)]), "the exiting process takes no slot");
    assert_eq!(story.give(Input::Ended { attempt: map(0), otherwise: crash() }), []);
    assert_eq!(story.told(), [], "a success is told once");
    assert_eq!(story.core.summary().map_outputs, 1);
}

#[test]
fn a_process_that_ends_without_a_word_is_reported_as_crashed_and_its_output_removed() {
    let mut story = Story::begin(1, &[]);
    story.start(map(0));
    let effects = story.give(Input::Ended { attempt: map(0), otherwise: crash() });
    assert_eq!(effects, [Effect::RemoveMapOutput { attempt: map(0) }]);
    assert_eq!(story.told_failures(), [(map(0), crash().kind)]);
}

#[test]
fn a_failure_is_told_when_the_process_is_gone() {
    let mut story = Story::begin(1, &[]);
    story.start(reduce(0));
    let failure = Failure { kind: FailureKind::UserCode, message: "no".to_owned() };
    story.give(Input::Said { attempt: reduce(0), message: FromTask::Failed { failure } });
    assert_eq!(story.told_failures(), []);
    assert_eq!(story.give(Input::Ended { attempt: reduce(0), otherwise: crash() }), []);
    assert_eq!(story.told_failures(), [(reduce(0), FailureKind::UserCode)]);
}

#[test]
fn what_tasks_say_at_length_comes_cut_and_in_heartbeats_that_a_request_can_hold() {
    let n = 400;
    let mut story = Story::begin(n, &[]);
    let all: Vec<_> = (0..n).map(map).collect();
    story.answer(all.iter().map(|attempt| launch(*attempt)).collect(), Vec::new());
    // While the JobTracker is away, nothing is sent.
    let number = story.out.remove(0).number.0;
    story.give(Input::HeartbeatFailed { session: story.session, number });
    for attempt in &all {
        story.give(Input::Started { attempt: *attempt });
        let message = "\0".repeat(1 << 16);
        let failure = Failure { kind: FailureKind::UserCode, message };
        story.give(Input::Said { attempt: *attempt, message: FromTask::Failed { failure } });
        story.give(Input::Ended { attempt: *attempt, otherwise: crash() });
    }
    story.pass(Duration::from_secs(1));
    let mut told = BTreeSet::new();
    let mut heartbeats = 0;
    while story.core.summary().unacknowledged > 0 {
        assert!(!story.told().is_empty());
        let json = serde_json::to_vec(&story.out[0].events).unwrap();
        assert!(json.len() <= EVENT_BYTES_PER_HEARTBEAT_MAX, "{} bytes", json.len());
        told.extend(story.told_failures().into_iter().map(|(attempt, _)| attempt));
        heartbeats += 1;
        story.answer(Vec::new(), Vec::new());
    }
    assert!(all.iter().eq(&told), "{} of {n} were told", told.len());
    assert!((3..10).contains(&heartbeats), "{heartbeats}");
}

#[test]
fn launches_beyond_the_slots_wait_in_order() {
    let mut story = Story::begin(2, &[]);
    let spawned = story.answer((0..4).map(|i| launch(map(i))).collect(), Vec::new());
    assert_eq!(spawned.len(), 2);
    assert_eq!(story.core.summary().waiting, 2);
    let effects = story.give(Input::Ended { attempt: map(1), otherwise: crash() });
    assert!(matches!(&effects[1], Effect::Spawn(launch, _) if launch.attempt == map(2)));
    // A waiting one is killed without a process.
    let effects = story.command(TrackerCommand::Kill { attempt: map(3), reason: "r".to_owned() });
    assert_eq!(effects, []);
    assert!(story.told_failures().contains(&(map(3), FailureKind::Killed)));
}

#[test]
fn a_kill_is_reported_when_nothing_is_left_and_what_the_process_says_meanwhile_does_not_count() {
    let mut story = Story::begin(1, &[]);
    story.start(map(0));
    let kill = TrackerCommand::Kill { attempt: map(0), reason: "another won".to_owned() };
    let effects = story.command(kill.clone());
    let reason = "another won".to_owned();
    assert_eq!(effects, [Effect::KillProcess { attempt: map(0), reason }]);
    assert_eq!(story.command(kill.clone()), [], "once");
    story.succeed(map(0));
    assert_eq!(story.told_failures(), [(map(0), FailureKind::Killed)]);
    assert_eq!(story.core.summary().map_outputs, 0);
    story.answer(Vec::new(), Vec::new());
    assert_eq!(story.command(kill), []);
    assert_eq!(story.told(), [], "its end is told once");
}

#[test]
fn a_kill_of_an_attempt_never_seen_is_answered() {
    let mut story = Story::begin(1, &[]);
    story.command(TrackerCommand::Kill { attempt: map(5), reason: "r".to_owned() });
    assert_eq!(story.told_failures(), [(map(5), FailureKind::Killed)]);
}

#[test]
fn silence_beyond_the_timeout_ends_an_attempt_and_a_sign_of_life_puts_it_off() {
    let mut story = Story::begin(1, &[]);
    story.start(map(0));
    assert_eq!(story.pass(TIMEOUT - Duration::from_millis(1)), []);
    let message = FromTask::Progress { progress: 0.5 };
    story.give(Input::Said { attempt: map(0), message });
    assert_eq!(story.pass(TIMEOUT - Duration::from_millis(1)), []);
    assert_eq!(story.core.poll_timeout().unwrap().since(story.now.monotonic).as_millis(), 1);
    let effects = story.pass(Duration::from_millis(1));
    assert!(matches!(&effects[..], [Effect::KillProcess { .. }]));
    story.give(Input::Ended { attempt: map(0), otherwise: crash() });
    assert_eq!(story.told_failures(), [(map(0), FailureKind::TimedOut)]);
}

#[test]
fn what_an_attempt_says_of_itself_is_told_while_it_runs_and_with_its_failure() {
    let mut story = Story::begin(1, &[]);
    story.start(map(0));
    for status in ["one", "two\u{7}"] {
        let message = FromTask::Status { status: status.to_owned() };
        story.give(Input::Said { attempt: map(0), message });
    }
    story.command(TrackerCommand::DropMapOutput { attempt: map(9) });
    let told = story.out.last().and_then(|it| it.running.first()).map(|it| it.status.clone());
    assert_eq!(told, Some(Some("two".to_owned())));
    story.give(Input::Ended { attempt: map(0), otherwise: crash() });
    let told = story.told();
    let [TrackerEvent::Failed { status, .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(status.as_deref(), Some("two"));
}

#[test]
fn a_process_that_does_not_exit_after_its_last_word_is_killed() {
    let mut story = Story::begin(1, &[]);
    story.start(map(0));
    let message = FromTask::Succeeded { result: AttemptResult::default() };
    story.give(Input::Said { attempt: map(0), message });
    let effects = story.pass(EXIT_GRACE);
    assert!(matches!(&effects[..], [Effect::KillProcess { .. }]));
    assert_eq!(story.pass(Duration::from_millis(1)), []);
    assert_eq!(story.told(), [succeeded(map(0))], "its success stands");
}

#[test]
fn a_lost_jobtracker_is_asked_again_while_attempts_go_on() {
    let mut story = Story::begin(2, &[map(9)]);
    story.start(map(0));
    story.start(reduce(0));
    let number = story.out.remove(0).number.0;
    assert_eq!(story.give(Input::HeartbeatFailed { session: story.session, number }), []);
    assert!(story.out.is_empty(), "not at once");
    story.succeed(map(0));
    assert!(story.out.is_empty());
    let wait = story.core.poll_timeout().unwrap().since(story.now.monotonic);
    assert!(wait > Duration::ZERO && wait <= Duration::from_millis(50), "{wait:?}");
    assert_eq!(story.pass(wait), []);
    assert_eq!(story.told(), [succeeded(map(0))]);
    assert_eq!(story.out.len(), 1);
    // It has been restarted and does not know this tracker.
    assert_eq!(story.give(Input::NotRegistered { session: story.session }), []);
    let again = story.registrations.pop().unwrap();
    assert_eq!(again.running, [map(0), reduce(0)], "a success untold is not yet an end");
    assert_eq!(again.map_outputs, [map(0), map(9)]);
    assert_eq!(again.cluster, Some("cluster-1".parse().unwrap()));
    assert_eq!(story.register(2, 1), []);
    assert_eq!(story.out[0].number, ids::HeartbeatNumber(1));
    assert_eq!(story.out[0].events, [Numbered { number: 1, item: succeeded(map(0)) }]);
    assert_eq!(story.out[0].commands_done, 0);
    // What it repeats of the former session is not run again.
    assert_eq!(story.answer(vec![launch(map(0)), launch(reduce(0))], Vec::new()), []);
}

#[test]
fn answers_of_a_former_session_do_not_count() {
    let mut story = Story::begin(1, &[]);
    let old = story.session;
    let number = story.out[0].number.0;
    story.give(Input::NotRegistered { session: old });
    story.register(2, 1);
    let reply = TrackerHeartbeatReply {
        heartbeat_interval_ms: 0,
        epoch: Epoch(1),
        events_received: 0,
        commands: vec![Numbered { number: 1, item: launch(map(0)) }],
        map_events: Vec::new(),
    };
    assert_eq!(story.give(Input::HeartbeatReply { session: old, number, reply }), []);
    assert_eq!(story.give(Input::HeartbeatFailed { session: old, number }), []);
    assert_eq!(story.give(Input::NotRegistered { session: old }), []);
    assert!(story.core.summary().registered);
    assert_eq!(story.out.len(), 1);
}

#[test]
fn a_failed_registration_is_repeated_after_a_growing_pause() {
    let mut core = tracker(1, &[]);
    let mut now = Now::default();
    assert!(matches!(&core.handle_timeout(now)[..], [Effect::Register(_)]));
    assert_eq!(core.handle_timeout(now), [], "one at a time");
    let mut last = Duration::ZERO;
    for _ in 0..8 {
        assert_eq!(core.handle(now, Input::RegistrationFailed), []);
        let at = core.poll_timeout().unwrap();
        last = at.since(now.monotonic);
        now.monotonic = at;
        assert!(matches!(&core.handle_timeout(now)[..], [Effect::Register(_)]));
        assert_eq!(core.poll_timeout(), None);
    }
    assert!((500..=1000).contains(&last.as_millis()), "{last:?}");
}

#[test]
fn purge_ends_what_runs_then_removes_everything() {
    let mut story = Story::begin(2, &[map(7)]);
    story.start(map(0));
    let other = JobId { ordinal: 2, ..JOB }.task(TaskKind::Map, 0).attempt(0);
    story.start(other);
    let effects = story.command(TrackerCommand::Purge { job: JOB });
    let reason = "its job is over".to_owned();
    assert_eq!(effects, [Effect::KillProcess { attempt: map(0), reason }]);
    let effects = story.give(Input::Ended { attempt: map(0), otherwise: crash() });
    let gone = Effect::RemoveMapOutput { attempt: map(0) };
    assert_eq!(effects, [gone, Effect::RemoveJob { job: JOB }]);
    assert_eq!(story.told_failures(), [(map(0), FailureKind::Killed)]);
    let summary = story.core.summary();
    assert_eq!((summary.running, summary.map_outputs), (1, 0));
    assert!(story.core.ended.is_empty(), "nothing of the job is remembered");
}

#[test]
fn a_dropped_or_broken_map_output_is_removed_and_only_the_broken_one_reported() {
    let mut story = Story::begin(1, &[map(0), map(1)]);
    let drop = TrackerCommand::DropMapOutput { attempt: map(0) };
    assert_eq!(story.command(drop), [Effect::RemoveMapOutput { attempt: map(0) }]);
    assert_eq!(story.told(), []);
    let broken = Input::MapOutputBroken { attempt: map(1) };
    assert_eq!(story.give(broken.clone()), [Effect::RemoveMapOutput { attempt: map(1) }]);
    assert_eq!(story.give(broken), [], "once");
    assert_eq!(story.told(), [TrackerEvent::MapOutputLost { attempt: map(1) }]);
}

#[test]
fn map_events_are_fetched_once_and_fed_to_each_reduce_from_its_own_index() {
    let mut story = Story::begin(3, &[]);
    story.start(reduce(0));
    assert_eq!(story.out[0].map_event_cursors, BTreeMap::from([(JOB, 0)]));
    let news =
        |first, events: &[MapEvent]| vec![MapEvents { job: JOB, first, events: events.to_vec() }];
    let (a, b) = (available(0, 0), available(1, 0));
    let gone = MapEvent::Withdrawn { attempt: map(0) };
    let fed =
        |attempt, events: &[MapEvent]| Effect::SendMapEvents { attempt, events: events.to_vec() };
    let told = [a.clone(), b.clone()];
    assert_eq!(story.answer(Vec::new(), news(0, &told)), [fed(reduce(0), &told)]);
    assert_eq!(story.out[0].map_event_cursors, BTreeMap::from([(JOB, 2)]));
    // Overlapping and gapped runs.
    let run = [b.clone(), gone.clone()];
    assert_eq!(story.answer(Vec::new(), news(1, &run)), [fed(reduce(0), &run[1..])]);
    assert_eq!(story.answer(Vec::new(), news(9, std::slice::from_ref(&a))), []);
    // A second reduce gets the whole list as soon as it runs.
    story.command(launch(reduce(1)));
    let all = [a.clone(), b.clone(), gone.clone()];
    let started = Input::Started { attempt: reduce(1) };
    assert_eq!(story.give(started), [fed(reduce(1), &all)]);
    // Another JobTracker's list is read from its start, and what is known is not told again.
    story.give(Input::NotRegistered { session: story.session });
    story.register(2, 1);
    assert_eq!(story.out[0].map_event_cursors, BTreeMap::from([(JOB, 0)]));
    let renewed = available(0, 1000);
    let effects = story.answer(Vec::new(), news(0, &[b, renewed.clone()]));
    let renewed = [renewed];
    assert_eq!(effects, [fed(reduce(0), &renewed), fed(reduce(1), &renewed)]);
    // With the last reduce the list goes.
    story.succeed(reduce(0));
    story.succeed(reduce(1));
    assert_eq!(story.out.last().unwrap().map_event_cursors.len(), 1, "one still exits");
    story.answer(Vec::new(), Vec::new());
    story.answer(Vec::new(), Vec::new());
    assert_eq!(story.out.last().unwrap().map_event_cursors, BTreeMap::new());
}

#[test]
fn a_fetch_failure_is_passed_on_while_the_reduce_goes_on() {
    let mut story = Story::begin(1, &[]);
    story.start(reduce(0));
    let message = FromTask::FetchFailed { map: map(0), message: "refused".to_owned() };
    story.give(Input::Said { attempt: reduce(0), message });
    let message = "refused".to_owned();
    let event = TrackerEvent::FetchFailed { reduce: reduce(0), map: map(0), message };
    assert_eq!(story.told(), [event]);
    assert_eq!(story.core.summary().running, 1);
}

#[test]
fn an_empty_answer_that_was_not_parked_does_not_make_the_tracker_spin() {
    let mut story = Story::begin(1, &[]);
    assert_eq!(story.answer(Vec::new(), Vec::new()), []);
    assert!(story.out.is_empty());
    assert_eq!(story.pass(Duration::from_millis(20)), []);
    assert_eq!(story.out.len(), 1);
    assert_eq!(story.pass(Duration::from_secs(1)), []);
    assert_eq!(story.answer(Vec::new(), Vec::new()), []);
    assert_eq!(story.out.len(), 1, "a parked answer is followed at once");
}

#[test]
fn attempts_on_a_disk_that_fails_end_for_that_and_the_next_ones_work_elsewhere() {
    let mut settings = settings(3);
    settings.disks = vec!["/one".to_owned(), "/two".to_owned()];
    let mut story = Story::begin_with(Core::new(settings, []));
    let found = |disk, free| Input::Examined(Finding::LocalDisk { disk: DiskNumber(disk), free });
    for disk in [0, 1] {
        assert_eq!(story.give(found(disk, Ok(1000))), []);
    }
    let mut on = Vec::new();
    for index in 0..2 {
        let spawned = story.command(launch(map(index)));
        let [Effect::Spawn(_, disk)] = &spawned[..] else { panic!("{spawned:?}") };
        on.push(disk.0);
        story.give(Input::Started { attempt: map(index) });
    }
    assert_eq!(on, [0, 1]);
    let failure = crash();
    story.give(Input::Said { attempt: map(1), message: FromTask::Failed { failure } });
    let effects = story.give(found(1, Err("I/O error".to_owned())));
    assert_eq!(effects, [Effect::LeaveDisk { disk: DiskNumber(1) }], "it is about to exit");
    assert_eq!(story.out.last().unwrap().disks_without.len(), 1);
    assert!(story.out.last().unwrap().ailments.is_empty());
    story.answer(Vec::new(), Vec::new());
    story.give(Input::Ended { attempt: map(1), otherwise: crash() });
    assert_eq!(story.told_failures(), [(map(1), FailureKind::HostUnfit)], "not what it said");
    story.answer(Vec::new(), Vec::new());
    let effects = story.give(found(0, Err("I/O error".to_owned())));
    assert_eq!(effects, [], "the last one is not left");
    assert_eq!(story.out.last().unwrap().ailments.len(), 1);
    story.give(found(0, Ok(1000)));
    let spawned = story.command(launch(map(2)));
    assert!(matches!(&spawned[..], [Effect::Spawn(_, DiskNumber(0))]), "{spawned:?}");
}
