//! Backups of stragglers: a second attempt, on another host, of a task whose first one is late,
//! when it is the job's turn and none of its maps waits. Reduces that wait for a late map let its
//! backup go first. The first of the two to succeed wins; the other is killed. `pace` decides what
//! is late; `schedule` asks here.

use std::time::Duration;

use ids::{HostName, Monotonic, Now};
use mapreduce_protocol::{AttemptId, JobId, TaskId, TaskKind};

use crate::job::LiveJob;
use crate::machine::{Core, Fifo};
use crate::messages::{Effect, Notice};
use crate::numbers::HostNumber;
use crate::pace::{is_late, is_worth, time_left};
use crate::schedule::Hosts;
use crate::task::LiveAttempt;
use crate::timers::Timer;

/// How often a job's running attempts are checked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A running attempt that is late.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Late {
    pub(crate) attempt: AttemptId,
    pub(crate) host: HostName,
    /// Its estimated remaining time.
    pub(crate) left: Duration,
    /// Whether it was late at the previous check too: only then may a reduce lose its work for it.
    pub(crate) again: bool,
}

/// A backup that is worth its slot.
pub(crate) struct Backup {
    pub(crate) task: TaskId,
    notice: Notice,
}

impl Core {
    /// An attempt of `job` runs: check its attempts regularly from now on, until none does.
    pub(crate) fn watch(&mut self, now: Now, job: JobId) {
        let Some(live) = self.live_mut(job).filter(|live| live.speculative && !live.watched) else {
            return;
        };
        live.watched = true;
        self.timers.set(now.monotonic + LOOK_EVERY, Timer::Late(job));
    }

    /// Finds the job's late attempts.
    pub(crate) fn handle_late(&mut self, now: Now, job: JobId) {
        let entry = self.durable.running(job);
        let maps_are_done = entry.is_some_and(|e| e.maps_done as usize == e.maps.len());
        let Some(live) = self.jobs.get_mut(&Fifo::of(job)) else { return };
        live.watched = false;
        let mut late = live.late_attempts(TaskKind::Map, now.monotonic);
        if maps_are_done {
            // Before that, they wait for maps for an unknown time.
            late.extend(live.late_attempts(TaskKind::Reduce, now.monotonic));
        }
        for late in &mut late {
            late.again = live.late.iter().any(|before| before.attempt == late.attempt);
        }
        late.sort_by_key(|late| (std::cmp::Reverse(late.left), late.attempt));
        live.late = late;
        if !live.late.is_empty() {
            live.demands_more();
        }
        self.unsettled |= !live.late.is_empty();
        let runs = |kind| live.tasks(kind).running > 0;
        if runs(TaskKind::Map) || runs(TaskKind::Reduce) {
            self.watch(now, job);
        }
    }

    /// Whether an attempt is late and backups hold less than their limit.
    pub(crate) fn may_back_up(&self) -> bool {
        self.jobs.order().flagged().late > 0 && self.jobs.n_backups() < self.backups_max()
    }

    /// The youngest reduce whose slot the backup of a late map of its job needs; none while another
    /// slot will do.
    pub(crate) fn in_the_way_of_a_backup(&self, now: Now, live: &LiveJob) -> Option<AttemptId> {
        let is_sure = |late: &Late| late.again && late.attempt.task.kind == TaskKind::Map;
        let surely = live.late.iter().any(is_sure);
        if !surely || !live.waiting_maps().is_empty() || !self.may_back_up() {
            return None;
        }
        let hosts = Hosts { now: now.monotonic, trackers: &self.trackers, live };
        let will_do = |host: &HostName| hosts.choose_backup(host, TaskKind::Map).is_some();
        hosts.gives_way(&[], self.dead_after(), will_do)
    }

    /// A backup was launched.
    pub(crate) fn on_backup(&mut self, backup: Backup) {
        self.counted.backups_launched += 1;
        self.effect(Effect::Tell(backup.notice));
    }

    /// Adds a winner's run time to its job's pace and returns it in milliseconds; `None` if an
    /// earlier process launched the attempt.
    pub(crate) fn learn_pace(
        &mut self,
        now: Now,
        at: HostNumber,
        attempt: AttemptId,
        won: &LiveAttempt,
    ) -> Option<u64> {
        self.counted.backups_won += u64::from(won.backup);
        let live = self.live_mut(attempt.task.job).filter(|_| !won.adopted)?;
        let (began, bytes) = (live.began(attempt.task.kind, won), live.bytes(attempt.task));
        let time = now.monotonic.since(began);
        live.tasks_mut(attempt.task.kind).pace.add(at, time, bytes);
        Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    fn backups_max(&self) -> u64 {
        let share = self.trackers.open_slots() as f64 * self.settings.speculative_share;
        #[expect(clippy::cast_possible_truncation, reason = "at most the number of slots")]
        #[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
        let max = share as u64;
        max.max(1)
    }
}

impl Hosts<'_> {
    /// The task of that kind with most time left that is worth a second attempt on `host`.
    pub(crate) fn choose_backup(&self, host: &HostName, kind: TaskKind) -> Option<Backup> {
        let live = self.live;
        let at = self.trackers.numbers.known(host)?;
        if live.late.is_empty() || live.committing || live.is_slow((at, host), kind) {
            return None;
        }
        // After a restart the splits of maps are not known until the split list has been read
        // again.
        if kind == TaskKind::Map && !live.has_splits() {
            return None;
        }
        let mut late = live.late.iter().filter(|late| late.attempt.task.kind == kind);
        late.find_map(|late| {
            let task = late.attempt.task;
            let expected = live.expected_on(at, task)?;
            let is_alone = live.live(task).len() == 1 && live.is_live(late.attempt);
            let fits = is_alone
                && live.has_number_left(task)
                && late.host != *host
                && self.suits(task, host);
            let notice = Notice::BackupLaunched {
                late: late.attempt,
                on: late.host.clone(),
                left: late.left,
                host: host.clone(),
                expected,
            };
            (fits && is_worth(late.left, expected)).then_some(Backup { task, notice })
        })
    }
}

impl LiveJob {
    fn late_attempts(&self, kind: TaskKind, now: Monotonic) -> Vec<Late> {
        let late = self.live_attempts(kind).filter_map(|(task, attempt)| {
            let expected = self.tasks(kind).pace.expected(self.bytes(task))?;
            let began = self.began(kind, attempt);
            let left = time_left(began, attempt.told, now);
            let is_alone = self.live(task).len() == 1;
            (is_alone && is_late(began, left, expected, now)).then(|| Late {
                attempt: task.attempt(attempt.number),
                host: attempt.host.clone(),
                left,
                again: false,
            })
        });
        late.collect()
    }

    /// Whether more attempts are late on a host than have won there.
    fn is_slow(&self, (at, host): (HostNumber, &HostName), kind: TaskKind) -> bool {
        let late_here = |late: &&Late| late.host == *host && late.attempt.task.kind == kind;
        let n_late = self.late.iter().filter(late_here).count();
        n_late > self.tasks(kind).pace.won_on(at) as usize
    }

    fn expected_on(&self, host: HostNumber, task: TaskId) -> Option<Duration> {
        self.tasks(task.kind).pace.expected_on(host, self.bytes(task))
    }

    /// Since when an attempt could work: for a reduce, not before the last map was done.
    fn began(&self, kind: TaskKind, attempt: &LiveAttempt) -> Monotonic {
        match kind {
            TaskKind::Map => attempt.since,
            TaskKind::Reduce => attempt.since.max(self.maps_done_at.unwrap_or_default()),
        }
    }

    /// Input bytes of a map; 0 for a reduce, where they are not known.
    fn bytes(&self, task: TaskId) -> u64 {
        self.split(task).map_or(0, |planned| planned.split.length())
    }
}
