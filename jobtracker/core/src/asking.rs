//! What one job wants of a free slot when `schedule` asks it: a map, the backup of a late attempt,
//! a reduce, or nothing. Of hundreds of jobs nearly all want only slots near their maps' input:
//! those are not asked again for each slot.

use ids::Monotonic;
use mapreduce_protocol::{JobId, TaskKind};

use crate::durable::Durable;
use crate::job::LiveJob;
use crate::locality::{Locality, PlacementScore};
use crate::schedule::{Hosts, starts_reduces};
use crate::settings::Settings;
use crate::speculate::Backup;
use crate::timers::{Timer, Timers};
use crate::trackers::{Tracker, Trackers};
use crate::waiting_reduces::{ReduceChoice, reduce_wait};

/// A task for a slot.
pub(crate) enum Choice {
    Map(JobId, PlacementScore),
    Reduce(JobId, ReduceChoice),
    Backup(Backup),
}

/// A free slot on offer.
pub(crate) struct Asking<'a> {
    pub(crate) now: Monotonic,
    pub(crate) tracker: &'a Tracker,
    pub(crate) trackers: &'a Trackers,
    pub(crate) durable: &'a Durable,
    pub(crate) settings: &'a Settings,
    /// Whether backups hold less than their limit.
    pub(crate) may_back_up: bool,
    /// Whether reduces may take one more slot.
    pub(crate) reduces_may_go: bool,
}

/// The job was found to want only slots within `limit` of the input of a waiting map. This holds
/// until the job changes (`jobs` sees to that) or its patience ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OnlyWithin {
    limit: Locality,
    until: Option<Monotonic>,
}

impl Asking<'_> {
    /// What the job would run there. `has_room` tells whether its pool has room for one more of its
    /// reduces.
    pub(crate) fn ask(
        &self,
        live: &mut LiveJob,
        has_room: impl FnOnce() -> bool,
        timers: &mut Timers,
    ) -> Option<Choice> {
        let (now, tracker, wait) = (self.now, self.tracker, self.settings.locality_wait);
        let hold = live.hold_until.filter(|until| *until > now);
        if let Some(until) = hold.or_else(|| live.exclusions.until(now, &tracker.host)) {
            timers.set(until, Timer::Placement(live.id));
            return None;
        }
        let is_pressed = live.is_pressed();
        let limit = match is_pressed {
            true => Locality::OffRack,
            false => live.patience.limit(now, wait),
        };
        let reduce_limit = live.reduce_patience.limit(now, reduce_wait(wait));
        if let Some(score) = self.hosts(live).choose_map(tracker, limit) {
            return Some(Choice::Map(live.id, score));
        }
        if !live.waiting_maps().is_empty()
            && let Some(at) = live.patience.decline(now, wait)
        {
            timers.set(at, Timer::Patience(live.id, TaskKind::Map));
        }
        let hosts = self.hosts(live);
        let may_back_up = self.may_back_up && live.waiting_maps().is_empty();
        let backup = |kind| may_back_up.then(|| hosts.choose_backup(&tracker.host, kind)).flatten();
        if let Some(backup) = backup(TaskKind::Map) {
            return Some(Choice::Backup(backup));
        }
        let entry = self.durable.running(live.id);
        let may_start = entry.is_some_and(|e| starts_reduces(e, live.slowstart));
        if may_start && self.reduces_may_go && has_room() {
            if let Some(chosen) = hosts.choose_reduce(tracker, reduce_limit) {
                return Some(Choice::Reduce(live.id, chosen));
            }
            if reduce_limit < Locality::OffRack && live.waiting_reduces().any_declines() {
                let declined = live.reduce_patience.decline(now, reduce_wait(wait));
                let timer = Timer::Patience(live.id, TaskKind::Reduce);
                declined.into_iter().for_each(|at| timers.set(at, timer));
            } else if let Some(backup) = backup(TaskKind::Reduce) {
                return Some(Choice::Backup(backup));
            }
        }
        let wants_reduces = may_start && !live.waiting_reduces().is_empty();
        if !is_pressed && !wants_reduces {
            live.note_declined(now, self.settings);
        }
        None
    }

    fn hosts<'a>(&'a self, live: &'a LiveJob) -> Hosts<'a> {
        Hosts { now: self.now, trackers: self.trackers, live }
    }
}

impl LiveJob {
    /// The job has just declined a slot. Notes if nothing but a slot near its maps' input can
    /// change that.
    fn note_declined(&mut self, now: Monotonic, settings: &Settings) {
        let is_plain = self.exclusions.is_empty()
            && self.late.is_empty()
            && !self.waiting_maps().any_homeless();
        let (limit, until) = self.patience.now(now, settings.locality_wait);
        self.only_within = is_plain.then_some(OnlyWithin { limit, until });
    }

    /// Whether it is known to decline a slot of this tracker.
    pub(crate) fn declines_unasked(&self, now: Monotonic, tracker: &Tracker) -> bool {
        let Some(OnlyWithin { limit, until }) = self.only_within else { return false };
        until.is_none_or(|until| now < until)
            && !self.waiting_maps().any_within(limit, tracker.number, tracker.rack_number)
    }
}
