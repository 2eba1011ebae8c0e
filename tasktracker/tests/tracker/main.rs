//! A whole TaskTracker with real processes: shell scripts that speak the channel stand for tasks, and a
//! JobTracker that does as the test says.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod jobtracker;
mod tracker;

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use mapreduce_protocol::{
    AttemptId, AttemptResult, Failure, FailureKind, FromTask, JobId, MapEvent, ProblemKind,
    TaskKind, TrackerCommand, TrackerEvent, shuffle,
};
use net::{Capability, Grant, Role};
use tasktracker::{RefusedError, RunError};

use jobtracker::FakeJobTracker;
use tracker::{JOB, Place, say};

fn map(index: u32) -> AttemptId {
    JOB.task(TaskKind::Map, index).attempt(0)
}

fn reduce(index: u32) -> AttemptId {
    JOB.task(TaskKind::Reduce, index).attempt(0)
}

fn success() -> FromTask {
    let counters = BTreeMap::from([("TASK.RECORDS".to_owned(), 3)]);
    FromTask::Succeeded {
        result: AttemptResult { digest: "d".to_owned(), counters, ..AttemptResult::default() },
    }
}

async fn failure_of(jobtracker: &mut FakeJobTracker, expected: AttemptId) -> Failure {
    match jobtracker.event().await {
        TrackerEvent::Failed { attempt, failure, .. } if attempt == expected => failure,
        other => panic!("expected the failure of {expected}, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_succeeds_its_output_is_served_and_a_purge_leaves_nothing_but_the_log() {
    let mut jobtracker = FakeJobTracker::start().await;
    let place = Place::new();
    place.map_output(&[b"first", b"second"]);
    place.task(&format!(
        "echo working; cp {}/prepared.map output.map; {}",
        place.path().display(),
        say(&success())
    ));
    let tracker = place.start(&jobtracker.address, 2);
    let registration = jobtracker.registration().await;
    assert_eq!((registration.slots, registration.cluster), (2, None));
    jobtracker.command(place.launch(map(0)));
    let FromTask::Succeeded { result } = success() else { unreachable!() };
    assert_eq!(jobtracker.event().await, TrackerEvent::Succeeded { attempt: map(0), result });
    let token = place.token(Role::Task, &shuffle::resource(JOB));
    let body = tracker.get(&shuffle::path_and_query(JOB, 1, &[map(0), map(1)]), &token).await;
    let header = |map, found, length| shuffle::SegmentHeader { map, attempt: 0, found, length };
    let expected = [&header(0, true, 6).encode()[..], b"second", &header(1, false, 0).encode()[..]];
    assert_eq!(body, expected.concat());
    let user = place.unlimited(Role::User);
    let log = tracker.get(&format!("/v1/attempts/{}/log", map(0)), &user).await;
    assert_eq!(log, b"working\n");
    let metrics = String::from_utf8(tracker.get("/metrics", &user).await).unwrap();
    assert!(metrics.contains("howdah_tasktracker_shuffle_bytes_total"), "{metrics}");
    jobtracker.command(TrackerCommand::Purge { job: JOB });
    place
        .until("everything is gone", || {
            !place.data().join("outputs").join(JOB.to_string()).exists()
        })
        .await;
    place.until("no folder", || place.attempt_folders() == 0).await;
    let log = tracker.get(&format!("/v1/attempts/{}/log?tail=4", map(0)), &user).await;
    assert_eq!(log, b"ing\n");
    tracker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_keeps_its_attempts_waiting_and_nobody_else() {
    let mut jobtracker = FakeJobTracker::start().await;
    let place = Place::new();
    let tracker = place.start(&jobtracker.address, 4);
    let logs = place.data().join("logs");
    place.until("it has started", || logs.exists()).await;
    // To open a pipe that nobody reads takes as long as a file on such a disk.
    std::fs::create_dir(logs.join(JOB.to_string())).unwrap();
    let pipes =
        [0, 1, 2].map(|index| logs.join(JOB.to_string()).join(format!("{}.log", map(index))));
    for pipe in &pipes {
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, pipe, kind, mode, 0).unwrap();
    }
    for index in 0..3 {
        jobtracker.command(place.launch(map(index)));
    }
    for index in 0..3 {
        let reason = "it takes too long".to_owned();
        jobtracker.command(TrackerCommand::Kill { attempt: map(index), reason });
        assert_eq!(failure_of(&mut jobtracker, map(index)).await.kind, FailureKind::Killed);
    }
    // It answers at last.
    let mut readable = std::fs::OpenOptions::new();
    readable.read(true).custom_flags(libc::O_NONBLOCK);
    let _readers = pipes.map(|pipe| readable.open(pipe).unwrap());
    tracker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_map_output_is_not_served_and_reported_once() {
    let mut jobtracker = FakeJobTracker::start().await;
    let place = Place::new();
    place.map_output(&[b"first"]);
    place.task(&format!(
        "cp {}/prepared.map output.map; {}",
        place.path().display(),
        say(&success())
    ));
    let tracker = place.start(&jobtracker.address, 2);
    jobtracker.command(place.launch(map(0)));
    assert!(matches!(jobtracker.event().await, TrackerEvent::Succeeded { .. }));
    let file = place.data().join("outputs").join(JOB.to_string()).join(format!("{}.map", map(0)));
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(30).unwrap();
    let token = place.token(Role::Task, &shuffle::resource(JOB));
    for _ in 0..2 {
        let body = tracker.get(&shuffle::path_and_query(JOB, 0, &[map(0)]), &token).await;
        let lost = shuffle::SegmentHeader { map: 0, attempt: 0, found: false, length: 0 };
        assert_eq!(body, lost.encode());
    }
    assert_eq!(jobtracker.event().await, TrackerEvent::MapOutputLost { attempt: map(0) });
    // The next event is another attempt's: the loss was told once.
    jobtracker.command(TrackerCommand::Kill { attempt: map(9), reason: "r".to_owned() });
    failure_of(&mut jobtracker, map(9)).await;
    place.until("the file is gone", || !file.exists()).await;
    tracker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fills_the_disk_ends_with_that_cause_and_leaves_nothing() {
    let mut jobtracker = FakeJobTracker::start().await;
    let place = Place::new();
    place.task("head -c 48M /dev/zero >fill; exec sleep 1000");
    let tracker = place.start(&jobtracker.address, 1);
    jobtracker.command(place.launch(map(0)));
    let failure = failure_of(&mut jobtracker, map(0)).await;
    let FailureKind::OverDiskQuota { limit, used } = failure.kind else { panic!("{failure:?}") };
    assert!(limit == 32 << 20 && used > limit, "{failure:?}");
    assert!(failure.message.contains("the limit is 32 MiB"), "{failure:?}");
    assert_eq!(place.attempt_folders(), 0);
    tracker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_without_an_output_of_its_own_has_not_succeeded() {
    let mut jobtracker = FakeJobTracker::start().await;
    let place = Place::new();
    place.task(&format!("ln -s /etc/passwd output.map; {}", say(&success())));
    let tracker = place.start(&jobtracker.address, 1);
    jobtracker.command(place.launch(map(0)));
    let failure = failure_of(&mut jobtracker, map(0)).await;
    assert_eq!(failure.kind, FailureKind::UserCode);
    assert!(failure.message.contains("it is a link"), "{failure:?}");
    assert!(std::path::Path::new("/etc/passwd").exists());
    tracker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_is_reported_with_status_and_the_end_of_the_log() {
    let mut jobtracker = FakeJobTracker::start().await;
    let place = Place::new();
    place.task("echo out; echo thread panicked at the disco >&2; exit 101");
    let tracker = place.start(&jobtracker.address, 1);
    jobtracker.command(place.launch(map(0)));
    let failure = failure_of(&mut jobtracker, map(0)).await;
    assert_eq!(failure.kind, FailureKind::Crashed { exit_code: Some(101), signal: None });
    assert!(failure.message.contains("out\nthread panicked at the disco"), "{failure:?}");
    assert_eq!(place.attempt_folders(), 0);
    tracker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_talks_nonsense_is_ended() {
    let mut jobtracker = FakeJobTracker::start().await;
    let place = Place::new();
    place.task("printf '\\002\\000\\000\\000{}' >&3; exec sleep 1000");
    let tracker = place.start(&jobtracker.address, 1);
    jobtracker.command(place.launch(map(0)));
    let failure = failure_of(&mut jobtracker, map(0)).await;
    assert_eq!(failure.kind, FailureKind::Crashed { exit_code: None, signal: Some(9) });
    assert!(failure.message.contains("does not understand"), "{failure:?}");
    tracker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_there_is_unavailable() {
    let mut jobtracker = FakeJobTracker::start().await;
    let place = Place::new();
    let tracker = place.start(&jobtracker.address, 1);
    jobtracker.command(place.launch(map(0)));
    let failure = failure_of(&mut jobtracker, map(0)).await;
    assert_eq!(failure.kind, FailureKind::ProgramUnavailable);
    assert!(failure.message.contains("task.sh"), "{failure:?}");
    tracker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_ends_grandchildren_and_silence_is_a_timeout() {
    let mut jobtracker = FakeJobTracker::start().await;
    let mut place = Place::new();
    place.task_timeout = Duration::from_millis(700);
    place.task(&format!("{}; sleep 1000 & wait", say(&FromTask::Progress { progress: 0.5 })));
    let tracker = place.start(&jobtracker.address, 2);
    jobtracker.command(place.launch(map(0)));
    place.until("two processes", || place.processes().len() == 2).await;
    let kill = TrackerCommand::Kill { attempt: map(0), reason: "another won".to_owned() };
    jobtracker.command(kill);
    let failure = failure_of(&mut jobtracker, map(0)).await;
    assert_eq!(failure, Failure { kind: FailureKind::Killed, message: "another won".to_owned() });
    assert_eq!(place.processes(), Vec::<u32>::new());
    jobtracker.command(place.launch(map(1)));
    assert_eq!(failure_of(&mut jobtracker, map(1)).await.kind, FailureKind::TimedOut);
    tracker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reduce_is_described_and_fed_with_map_events_and_goes_on_without_a_jobtracker() {
    let mut jobtracker = FakeJobTracker::start().await;
    let place = Place::new();
    let heard = place.path().join("heard");
    place.task(&format!("exec cat <&3 >{}", heard.display()));
    let tracker = place.start(&jobtracker.address, 1);
    jobtracker.registration().await;
    jobtracker.command(place.launch(reduce(1)));
    let event = MapEvent::Available {
        attempt: map(0),
        host: "host-2".parse().unwrap(),
        address: "127.0.0.1:9".to_owned(),
        digest: "d".to_owned(),
    };
    jobtracker.map_event(JOB, event);
    let text = || String::from_utf8_lossy(&std::fs::read(&heard).unwrap_or_default()).into_owned();
    place.until("the reduce hears of the map", || text().contains("map_events")).await;
    let described = text();
    for part in [
        r#""say":"describe""#,
        &reduce(1).to_string(),
        r#""address":"127.0.0.1:9""#,
        r#""chunkmaster":"127.0.0.1:1""#,
    ] {
        assert!(described.contains(part), "no {part} in {described}");
    }
    jobtracker.restart();
    let again = jobtracker.registration().await;
    assert_eq!((again.running, again.map_outputs), (vec![reduce(1)], vec![]));
    assert_eq!(again.cluster, Some("cluster-1".parse().unwrap()));
    jobtracker.command(TrackerCommand::Purge { job: JOB });
    assert_eq!(failure_of(&mut jobtracker, reduce(1)).await.kind, FailureKind::Killed);
    tracker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_whole_map_outputs_and_the_end_of_the_tracker_is_the_end_of_its_tasks() {
    let mut jobtracker = FakeJobTracker::start().await;
    let place = Place::new();
    place.map_output(&[b"x"]);
    place.task(&format!(
        "case $HOWDAH_ATTEMPT_ID in *_r_*) exec sleep 1000;; esac; \
         cp {}/prepared.map output.map; {}",
        place.path().display(),
        say(&success())
    ));
    let tracker = place.start(&jobtracker.address, 3);
    jobtracker.command(place.launch(map(0)));
    jobtracker.command(place.launch(map(1)));
    jobtracker.command(place.launch(reduce(0)));
    for _ in 0..2 {
        assert!(matches!(jobtracker.event().await, TrackerEvent::Succeeded { .. }));
    }
    place.until("the reduce runs", || place.processes().len() == 1).await;
    tracker.stop().await.unwrap();
    place.until("no process is left", || place.processes().is_empty()).await;
    let outputs = place.data().join("outputs").join(JOB.to_string());
    std::fs::write(outputs.join(format!("{}.map", map(1))), b"torn").unwrap();
    jobtracker.registration().await;
    let tracker = place.start(&jobtracker.address, 3);
    let again = jobtracker.registration().await;
    assert_eq!(again.map_outputs, [map(0)]);
    assert_eq!(again.running, []);
    assert_eq!(again.cluster, Some("cluster-1".parse().unwrap()));
    tracker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tracker_of_another_cluster_or_on_a_folder_in_use_does_not_start() {
    let jobtracker = FakeJobTracker::start().await;
    jobtracker.refuse(ProblemKind::WrongCluster);
    let place = Place::new();
    let tracker = place.start(&jobtracker.address, 1);
    let ended = tracker.ended().await;
    assert!(matches!(ended, Err(RunError::Refused(RefusedError::Problem { .. }))), "{ended:?}");
    let jobtracker = FakeJobTracker::start().await;
    let first = place.start(&jobtracker.address, 1);
    first.serves().await;
    let second = place.start(&jobtracker.address, 1).ended().await;
    assert!(matches!(second, Err(RunError::Folder(_))), "{second:?}");
    first.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_are_only_for_those_who_may_have_them() {
    let jobtracker = FakeJobTracker::start().await;
    let place = Place::new();
    let tracker = place.start(&jobtracker.address, 1);
    let path = shuffle::path_and_query(JOB, 0, &[map(0)]);
    let log = format!("/v1/attempts/{}/log", map(7));
    let other = JobId { ordinal: 99, ..JOB };
    let good = place.token(Role::Task, &shuffle::resource(JOB));
    for (token, path, status) in [
        (place.token(Role::Task, &shuffle::resource(other)), path.clone(), 403),
        (place.token(Role::User, "/"), path.clone(), 403),
        ("nonsense".to_owned(), path.clone(), 401),
        (good.clone(), path.replace("/0?", "/x?"), 400),
        (good.clone(), path.replace(&map(0).to_string(), "x"), 400),
        (good, path.replace("maps=", "map="), 400),
        (place.unlimited(Role::User), log.clone(), 404),
        (place.unlimited(Role::Master), log.clone(), 404),
        (place.token(Role::User, "/out"), log.clone(), 403),
        (place.token(Role::User, "/"), log, 403),
        (place.unlimited(Role::User), "/v1/attempts/..%2f..%2fidentity/log".to_owned(), 400),
    ] {
        assert_eq!(tracker.status(&path, &token).await, status, "{path}");
    }
    let expired = Capability {
        subject: "s".to_owned(),
        role: Role::Task,
        grants: vec![Grant::read("/")],
        expires: ids::UnixMillis(1),
    };
    assert_eq!(tracker.status(&path, &place.mint(&expired)).await, 401);
    tracker.stop().await.unwrap();
}
