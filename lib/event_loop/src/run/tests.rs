//! The loop with a toy machine: named totals that inputs add to and read, and that an alarm raises.

mod hang;
mod looks;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ids::{Monotonic, Now};
use journal::{Fold, FoldError, Journal, JournalError, Options, Sequence};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::{TrySendError, decode_record, recover, recover_async};

const SMALL: Options = Options { segment_bytes: 4096, timeout: DEADLINE };
const SETTINGS: Settings =
    Settings { queue: 16, snapshot_after_segments: 1000, stop_patience: DEADLINE };
/// No test waits longer than this for an effect.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Totals(BTreeMap<String, u64>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Added {
    name: String,
    amount: u64,
}

impl Totals {
    fn apply_added(&mut self, record: &Added) {
        *self.0.entry(record.name.clone()).or_default() += record.amount;
    }
}

impl Fold for Totals {
    fn restore(snapshot: Option<&[u8]>) -> Result<Self, FoldError> {
        Ok(snapshot.map(decode_record).transpose()?.unwrap_or_default())
    }

    fn apply(&mut self, record: &[u8]) -> Result<(), FoldError> {
        self.apply_added(&decode_record(record)?);
        Ok(())
    }

    fn snapshot(&self) -> Vec<u8> {
        encode_record(self)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ask {
    Add(u64),
    /// This many records in a single step.
    AddOften(u64),
    /// A further total, with a name of this length.
    AddNamed(usize),
    /// Makes space.
    Clear,
    Read,
    AlarmIn(Duration),
    All,
    Folders,
}

#[derive(Debug, PartialEq, Eq)]
enum Tell {
    Total(u64),
    Refused,
    Alarm,
    All(Totals),
    Folders(usize),
}

struct Toy {
    totals: Totals,
    alarm: Option<Monotonic>,
    room: Room,
    folders: usize,
    hangs: Arc<AtomicBool>,
}

impl Toy {
    fn add(&mut self, amount: u64, effect: fn(u64) -> Tell) -> Step<Added, Tell> {
        let record = Added { name: "total".to_owned(), amount };
        self.totals.apply_added(&record);
        let effects = vec![effect(self.totals.0["total"])];
        Step { records: vec![record], effects }
    }
}

impl Machine for Toy {
    type Input = Ask;
    type Record = Added;
    type Effect = Tell;
    type Durable = Totals;

    fn handle(&mut self, now: Now, input: Ask) -> Step<Added, Tell> {
        match input {
            Ask::Add(amount) => self.add(amount, Tell::Total),
            Ask::AddOften(times) => {
                let mut step = Step::default();
                for _ in 0..times {
                    let Step { records, effects } = self.add(1, Tell::Total);
                    step.records.extend(records);
                    step.effects = effects;
                }
                step
            }
            Ask::AddNamed(bytes) => {
                let name = format!("{:0bytes$}", self.totals.0.len());
                let record = Added { name, amount: 1 };
                self.totals.apply_added(&record);
                Step { records: vec![record], effects: vec![Tell::Total(1)] }
            }
            Ask::Clear => self.add(0, Tell::Total),
            Ask::Read => {
                let total = self.totals.0.get("total").copied().unwrap_or(0);
                Step { records: Vec::new(), effects: vec![Tell::Total(total)] }
            }
            Ask::AlarmIn(delay) => {
                self.alarm = Some(now.monotonic + delay);
                Step::default()
            }
            Ask::Folders => {
                Step { records: Vec::new(), effects: vec![Tell::Folders(self.folders)] }
            }
            Ask::All => Step { records: Vec::new(), effects: vec![Tell::All(self.totals.clone())] },
        }
    }

    fn handle_timeout(&mut self, now: Now) -> Step<Added, Tell> {
        assert!(self.alarm.take().is_some_and(|alarm| alarm <= now.monotonic), "woken too early");
        self.add(1000, |_| Tell::Alarm)
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.alarm
    }

    fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    fn observe_folders(&mut self, live: usize) {
        self.folders = live;
    }

    fn observe_hang(&mut self, hangs: bool) {
        assert_ne!(self.hangs.swap(hangs, Ordering::SeqCst), hangs, "said again");
    }

    fn refuse(&mut self, input: Ask) -> Result<Ask, Vec<Tell>> {
        match (self.room, input) {
            (Room::Ample, _) => panic!("nothing is refused while there is room"),
            (_, Ask::Add(_) | Ask::AddOften(_) | Ask::AddNamed(_)) | (Room::None, Ask::Clear) => {
                Err(vec![Tell::Refused])
            }
            (_, harmless) => Ok(harmless),
        }
    }
}

/// A running toy and the effects that it sends.
struct Toys {
    running: Running<Toy>,
    told: UnboundedReceiver<Tell>,
    /// Whether the machine was told that the disk hangs.
    hangs: Arc<AtomicBool>,
}

impl Toys {
    fn start(totals: Totals, log: Log, settings: Settings) -> Self {
        let (tell, told) = unbounded_channel();
        let effects = move |effect| tell.send(effect).expect("the test listens");
        let hangs = Arc::new(AtomicBool::new(false));
        let toy =
            Toy { totals, alarm: None, room: Room::Ample, folders: 0, hangs: Arc::clone(&hangs) };
        Self { running: start(toy, log, effects, settings), told, hangs }
    }

    fn open(dir: &Path, settings: Settings) -> Self {
        let recovered = recover::<Totals>(dir, SMALL).unwrap();
        Self::start(recovered.durable, recovered.log, settings)
    }

    async fn ask(&self, input: Ask) {
        self.running.handle.send(input).await.unwrap();
    }

    async fn next(&mut self) -> Tell {
        let next = tokio::time::timeout(DEADLINE, self.told.recv());
        next.await.expect("an effect in time").expect("the loop runs")
    }
}

/// A toy whose journal works, but whose loop learns of a sync only when the test says so.
struct Withheld {
    toys: Toys,
    said: UnboundedReceiver<Durability>,
    pass_on: UnboundedSender<Durability>,
}

impl Withheld {
    fn open(dir: &Path, settings: Settings) -> Self {
        Journal::create(dir, SMALL).unwrap();
        let (say, said) = unbounded_channel();
        let (pass_on, durability) = unbounded_channel();
        let at_once = pass_on.clone();
        let on_durable = Box::new(move |word| match word {
            Durability::RoomChanged => drop(at_once.send(word)),
            word => drop(say.send(word)),
        });
        let journal = Journal::open(dir, SMALL, on_durable).unwrap().journal;
        let log = Log { journal, durability };
        Self { toys: Toys::start(Totals::default(), log, settings), said, pass_on }
    }

    /// Waits until the journal reports that this record is on disk, without telling the loop.
    async fn await_sync_of(&mut self, record: u64) {
        loop {
            let word = tokio::time::timeout(DEADLINE, self.said.recv());
            let Some(Durability::Synced(last)) = word.await.expect("a sync in time") else {
                panic!("the journal has failed");
            };
            if last >= Sequence(record) {
                return;
            }
        }
    }

    /// Waits until the loop has taken all inputs and had a turn after them.
    async fn await_handled(&self) {
        let handle = &self.toys.running.handle;
        let idle = async {
            while handle.free() < SETTINGS.queue {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, idle).await.expect("the loop takes its inputs in time");
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    fn say_synced(&self, record: u64) {
        self.pass_on.send(Durability::Synced(Sequence(record))).unwrap();
    }
}

#[tokio::test]
async fn nothing_is_told_before_the_record_before_it_is_durable_reads_included() {
    let dir = tempfile::tempdir().unwrap();
    let mut held = Withheld::open(dir.path(), SETTINGS);
    held.toys.ask(Ask::Read).await;
    assert_eq!(held.toys.next().await, Tell::Total(0), "with nothing pending, at once");
    for input in [Ask::Add(1), Ask::Read, Ask::Add(2), Ask::Read] {
        held.toys.ask(input).await;
    }
    held.await_sync_of(2).await;
    held.await_handled().await;
    assert!(held.toys.told.try_recv().is_err(), "told before the sync was heard of");
    held.say_synced(1);
    assert_eq!(held.toys.next().await, Tell::Total(1));
    assert_eq!(held.toys.next().await, Tell::Total(1), "the read after the first record");
    held.await_handled().await;
    assert!(held.toys.told.try_recv().is_err(), "told before the second sync was heard of");
    held.say_synced(2);
    assert_eq!(held.toys.next().await, Tell::Total(3));
    assert_eq!(held.toys.next().await, Tell::Total(3));
}

#[tokio::test]
async fn inputs_wait_in_the_queue_when_too_much_is_untold() {
    let dir = tempfile::tempdir().unwrap();
    let mut held = Withheld::open(dir.path(), SETTINGS);
    let handle = held.toys.running.handle.clone();
    let fill = async {
        for _ in 0..UNTOLD_STEPS_MAX + SETTINGS.queue {
            handle.send(Ask::Add(1)).await.unwrap();
        }
    };
    tokio::time::timeout(DEADLINE, fill).await.expect("that many are taken or queued");
    for _ in 0..1000 {
        tokio::task::yield_now().await;
        assert!(matches!(handle.try_send(Ask::Read), Err(TrySendError::Full(Ask::Read))));
    }
    held.await_sync_of(UNTOLD_STEPS_MAX as u64).await;
    held.say_synced(UNTOLD_STEPS_MAX as u64);
    for total in 1..=UNTOLD_STEPS_MAX as u64 {
        assert_eq!(held.toys.next().await, Tell::Total(total));
    }
    handle.send(Ask::Read).await.unwrap();
}

/// A toy on a disk that has no room for the next segment until the obstacle is removed.
fn on_a_full_disk(dir: &Path) -> (Toys, std::path::PathBuf) {
    Journal::create(dir, SMALL).unwrap();
    let obstacle = dir.join("prepared.tmp");
    std::fs::create_dir(&obstacle).unwrap();
    (Toys::open(dir, SETTINGS), obstacle)
}

async fn await_room(toys: &mut Toys) {
    let accepted = async {
        loop {
            toys.ask(Ask::Add(5)).await;
            if toys.next().await != Tell::Refused {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, accepted).await.expect("room is found again");
}

#[tokio::test]
async fn a_full_disk_takes_what_makes_space_and_answers_reads_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (mut toys, obstacle) = on_a_full_disk(dir.path());
    for _ in 0..3 {
        toys.ask(Ask::Add(5)).await;
        assert_eq!(toys.next().await, Tell::Refused);
        for admitted in [Ask::Read, Ask::Clear] {
            toys.ask(admitted).await;
            assert_eq!(toys.next().await, Tell::Total(0));
        }
    }
    std::fs::remove_dir(&obstacle).unwrap();
    await_room(&mut toys).await;
}

/// The removals are in the open segment, and no other can be prepared before their space is given
/// back.
#[tokio::test]
async fn a_full_disk_gets_a_snapshot_of_all_that_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (mut toys, obstacle) = on_a_full_disk(dir.path());
    for cleared in 1..=3 {
        toys.ask(Ask::Clear).await;
        assert_eq!(toys.next().await, Tell::Total(0));
        let covered = || journal::verify(dir.path()).unwrap().snapshot;
        let made = async {
            while covered() != Some(Sequence(cleared)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, made).await.expect("a snapshot is made");
    }
    std::fs::remove_dir(&obstacle).unwrap();
    await_room(&mut toys).await;
    toys.running.stop().await.unwrap();
    assert_eq!(recover::<Totals>(dir.path(), SMALL).unwrap().durable.0["total"], 5);
}

#[tokio::test]
async fn a_burst_on_a_disk_that_fills_up_ends_in_refusals_and_what_makes_space_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    Journal::create(dir.path(), SMALL).unwrap();
    let mut toys = Toys::open(dir.path(), Settings { queue: 2000, ..SETTINGS });
    let prepared = async {
        while !dir.path().join("prepared.log").exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, prepared).await.expect("the next segment is prepared");
    let obstacle = dir.path().join("prepared.tmp");
    std::fs::create_dir(&obstacle).unwrap();
    // All at once: the loop handles many of them before the disk sees the first one.
    for _ in 0..2000 {
        toys.running.handle.try_send(Ask::Add(1)).unwrap();
    }
    let (mut total, mut refused) = (0, 0);
    while total + refused < 2000 {
        match toys.next().await {
            Tell::Total(new) => total = new,
            Tell::Refused => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(total > 50 && refused > 1000, "{total} taken, {refused} refused");
    toys.ask(Ask::Clear).await;
    assert_eq!(toys.next().await, Tell::Total(total), "there is a reserve");
    std::fs::remove_dir(&obstacle).unwrap();
    await_room(&mut toys).await;
    toys.running.stop().await.unwrap();
    assert_eq!(recover::<Totals>(dir.path(), SMALL).unwrap().durable.0["total"], total + 5);
}

/// A step with more records than a segment holds; no real machine should make one.
#[tokio::test]
async fn a_step_that_is_longer_than_the_journal_has_space_for_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    Journal::create(dir.path(), SMALL).unwrap();
    let mut toys = Toys::open(dir.path(), SETTINGS);
    toys.ask(Ask::AddOften(1000)).await;
    assert_eq!(toys.next().await, Tell::Total(1000));
    toys.running.stop().await.unwrap();
    let (mut toys, obstacle) = {
        let obstacle = dir.path().join("prepared.tmp");
        let _partial = std::fs::remove_file(dir.path().join("prepared.log"));
        std::fs::create_dir(&obstacle).unwrap();
        (Toys::open(dir.path(), SETTINGS), obstacle)
    };
    toys.ask(Ask::AddOften(1000)).await;
    toys.ask(Ask::Read).await;
    std::fs::remove_dir(&obstacle).unwrap();
    loop {
        match toys.next().await {
            Tell::Refused => toys.ask(Ask::AddOften(1000)).await,
            Tell::Total(2000) => break,
            Tell::Total(1000) => {}
            other => panic!("{other:?}"),
        }
    }
    toys.running.stop().await.unwrap();
    assert_eq!(recover::<Totals>(dir.path(), SMALL).unwrap().durable.0["total"], 2000);
}

#[tokio::test]
async fn with_its_reserve_used_up_a_loop_lives_on_and_makes_up_for_its_time_outs_later() {
    let dir = tempfile::tempdir().unwrap();
    let (mut toys, obstacle) = on_a_full_disk(dir.path());
    let mut cleared = 0;
    loop {
        toys.ask(Ask::Clear).await;
        match toys.next().await {
            Tell::Total(0) => cleared += 1,
            Tell::Refused => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(cleared > 20, "{cleared}");
    toys.ask(Ask::AlarmIn(Duration::ZERO)).await;
    for _ in 0..1000 {
        toys.ask(Ask::Read).await;
        assert_eq!(toys.next().await, Tell::Total(0), "no alarm, and no abort");
    }
    std::fs::remove_dir(&obstacle).unwrap();
    assert_eq!(toys.next().await, Tell::Alarm, "the loop looks for room by itself");
    await_room(&mut toys).await;
    toys.running.stop().await.unwrap();
    let recovered = recover::<Totals>(dir.path(), SMALL).unwrap();
    assert_eq!(recovered.durable.0["total"], 1005);
}

#[tokio::test]
async fn a_timeout_fires_without_inputs_and_its_records_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    Journal::create(dir.path(), SMALL).unwrap();
    let mut toys = Toys::open(dir.path(), SETTINGS);
    for delay in [Duration::ZERO, Duration::from_millis(20)] {
        toys.ask(Ask::AlarmIn(delay)).await;
        assert_eq!(toys.next().await, Tell::Alarm);
    }
    toys.running.stop().await.unwrap();
    let recovered = recover::<Totals>(dir.path(), SMALL).unwrap();
    assert_eq!(recovered.durable.0["total"], 2000);
}

#[tokio::test]
async fn snapshots_are_made_and_recovery_gives_the_live_state() {
    let dir = tempfile::tempdir().unwrap();
    Journal::create(dir.path(), SMALL).unwrap();
    let settings = Settings { snapshot_after_segments: 2, ..SETTINGS };
    let mut live = Totals::default();
    for _ in 0..3 {
        let mut toys = Toys::open(dir.path(), settings);
        toys.ask(Ask::All).await;
        assert_eq!(toys.next().await, Tell::All(live), "the state of the run before");
        for amount in 0..600 {
            toys.ask(Ask::Add(amount)).await;
            toys.next().await;
        }
        toys.ask(Ask::All).await;
        let Tell::All(totals) = toys.next().await else { panic!("all were asked for") };
        live = totals;
        toys.running.stop().await.unwrap();
    }
    let report = journal::verify(dir.path()).unwrap();
    assert_eq!(report.last, Sequence(1800));
    assert!(report.snapshot > Some(Sequence(1000)) && report.records < 800, "{report}");
}

#[tokio::test]
async fn a_long_snapshot_is_made_again_after_segments_as_long() {
    const NAMES: u64 = 16;
    let dir = tempfile::tempdir().unwrap();
    Journal::create(dir.path(), SMALL).unwrap();
    let settings = Settings { snapshot_after_segments: 1, ..SETTINGS };
    let mut toys = Toys::open(dir.path(), settings);
    for _ in 0..NAMES {
        toys.ask(Ask::AddNamed(SMALL.segment_bytes as usize / 2)).await;
        toys.next().await;
    }
    let covered = || journal::verify(dir.path()).unwrap().snapshot;
    let mut snapshots = Vec::new();
    // About 240 segments; a snapshot is as long as eight.
    for _ in 0..200 {
        toys.ask(Ask::AddOften(100)).await;
        toys.next().await;
        snapshots.extend(covered().filter(|at| at.0 >= NAMES));
        snapshots.dedup();
    }
    toys.running.stop().await.unwrap();
    assert!((2..=40).contains(&snapshots.len()), "{snapshots:?}");
    let recovered = recover::<Totals>(dir.path(), SMALL).unwrap().durable.0;
    assert_eq!((recovered["total"], recovered.len() as u64), (20_000, NAMES + 1));
}

#[tokio::test]
async fn a_snapshot_that_fails_is_made_when_more_segments_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    Journal::create(dir.path(), SMALL).unwrap();
    let settings = Settings { snapshot_after_segments: 2, ..SETTINGS };
    let mut toys = Toys::open(dir.path(), settings);
    // The snapshot lacks a segment that it is made from.
    let (first, aside) =
        (dir.path().join("journal-0000000000000001.log"), dir.path().join("aside"));
    std::fs::rename(&first, &aside).unwrap();
    let mut added = 0;
    for snapshots in [false, true] {
        while added < 1000 || snapshots != (!first.exists() && !aside.exists()) {
            assert!(added < 100_000, "no snapshot after {added} records");
            toys.ask(Ask::Add(1)).await;
            added += 1;
            assert_eq!(toys.next().await, Tell::Total(added));
        }
        let _there_once = std::fs::rename(&aside, &first);
    }
    assert!(has_snapshot(dir.path()));
    toys.running.stop().await.unwrap();
    assert_eq!(recover::<Totals>(dir.path(), SMALL).unwrap().durable.0["total"], added);
}

#[tokio::test]
async fn a_lost_folder_is_told_and_the_other_one_takes_all() {
    let dir = tempfile::tempdir().unwrap();
    let (main, mirror) = (dir.path().join("main"), dir.path().join("mirror"));
    let both = Some(mirror.clone());
    let mut folders = crate::Folders { main: main.clone(), mirror: both, accepts_one: false };
    Journal::create(&folders, SMALL).unwrap();
    for live in [2, 1] {
        let recovered = recover::<Totals>(&folders, SMALL).unwrap();
        let mut toys = Toys::start(recovered.durable, recovered.log, SETTINGS);
        toys.ask(Ask::Add(7)).await;
        toys.next().await;
        toys.ask(Ask::Folders).await;
        assert_eq!(toys.next().await, Tell::Folders(live));
        toys.running.stop().await.unwrap();
        // Unreadable, as on a bad disk.
        let segment = mirror.join("journal-0000000000000001.log");
        let _again = std::fs::remove_file(&segment).and_then(|()| std::fs::create_dir(&segment));
        folders.accepts_one = true;
    }
    assert_eq!(recover::<Totals>(&main, SMALL).unwrap().durable.0["total"], 14);
}

fn has_snapshot(dir: &Path) -> bool {
    journal::verify(dir).unwrap().snapshot.is_some()
}

#[tokio::test]
async fn a_stopped_loop_has_told_everything_and_takes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    Journal::create(dir.path(), SMALL).unwrap();
    let mut toys = Toys::open(dir.path(), SETTINGS);
    for amount in 1..=10 {
        toys.ask(Ask::Add(amount)).await;
    }
    let handle = toys.running.handle.clone();
    toys.running.stop().await.unwrap();
    for amount in 1..=10 {
        assert_eq!(toys.told.recv().await, Some(Tell::Total(amount * (amount + 1) / 2)));
    }
    assert_eq!(toys.told.recv().await, None);
    assert_eq!(handle.send(Ask::Read).await, Err(crate::Stopped));
    assert!(matches!(handle.try_send(Ask::Read), Err(TrySendError::Stopped(Ask::Read))));
    assert_eq!(recover::<Totals>(dir.path(), SMALL).unwrap().durable.0["total"], 55);
}

#[tokio::test]
async fn what_was_sent_before_the_stop_is_handled_though_the_next_segment_is_waited_for() {
    const SENT: u64 = 2000;
    let dir = tempfile::tempdir().unwrap();
    Journal::create(dir.path(), SMALL).unwrap();
    let mut toys = Toys::open(dir.path(), Settings { queue: 2 * SENT as usize, ..SETTINGS });
    for _ in 0..SENT {
        toys.running.handle.try_send(Ask::Add(1)).unwrap();
    }
    toys.running.stop().await.unwrap();
    let mut last = Tell::Total(0);
    while let Some(tell) = toys.told.recv().await {
        last = tell;
    }
    assert_eq!(last, Tell::Total(SENT));
    assert_eq!(recover::<Totals>(dir.path(), SMALL).unwrap().durable.0["total"], SENT);
}

#[tokio::test]
async fn the_journal_of_a_process_that_is_about_to_end_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    Journal::create(dir.path(), SMALL).unwrap();
    let former = Toys::open(dir.path(), SETTINGS);
    former.ask(Ask::Add(7)).await;
    let ending = async {
        tokio::task::yield_now().await;
        former.running.stop().await.unwrap();
    };
    let next = recover_async::<Totals>(dir.path(), SMALL);
    let (recovered, ()) = tokio::join!(biased; next, ending);
    assert_eq!(recovered.unwrap().durable.0["total"], 7);
}

#[tokio::test]
async fn a_loop_whose_handles_are_gone_ends() {
    let dir = tempfile::tempdir().unwrap();
    Journal::create(dir.path(), SMALL).unwrap();
    let mut toys = Toys::open(dir.path(), SETTINGS);
    toys.ask(Ask::Add(1)).await;
    drop(toys.running.handle);
    let ended = tokio::time::timeout(DEADLINE, toys.running.join).await.expect("it ends in time");
    ended.unwrap().unwrap();
    assert_eq!(toys.told.recv().await, Some(Tell::Total(1)));
}

/// Runs in a process of its own since it aborts: this test binary again, with a filter that matches
/// no test and tells the process that it is the child.
#[tokio::test]
async fn a_failed_sync_aborts_the_process_and_tells_nothing() {
    const CHILD: &str = "child-whose-sync-fails-in=";
    if let Some(dir) = std::env::args().find_map(|arg| arg.strip_prefix(CHILD).map(str::to_owned)) {
        return fail_a_sync(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let name = "run::tests::a_failed_sync_aborts_the_process_and_tells_nothing";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", name])
        .arg(format!("{CHILD}{}", dir.path().display()))
        .output()
        .unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&child.status);
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(output.contains("appended"), "{output}");
    assert!(!output.contains("told"), "{output}");
    assert_eq!(signal, Some(6), "SIGABRT, not {}: {output}", child.status);
}

async fn fail_a_sync(dir: &Path) {
    let mut held = Withheld::open(dir, SETTINGS);
    held.toys.ask(Ask::Add(1)).await;
    held.await_sync_of(1).await;
    println!("appended");
    let source = std::io::ErrorKind::Other.into();
    let cause = journal::FileError { action: "sync", file: dir.join("x"), source };
    held.pass_on.send(Durability::Failed(JournalError(cause))).unwrap();
    println!("told {:?}", held.toys.next().await);
}
