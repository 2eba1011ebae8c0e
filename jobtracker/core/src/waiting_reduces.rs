//! A job's waiting reduces, indexed by the places that hold most of their input (for maps see
//! `waiting_maps`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mapreduce_protocol::{OutputSizes, TaskKind};

use crate::job::LiveJob;
use crate::locality::Locality;
use crate::numbers::{HostNumber, Place, RackNumber};
use crate::reduce_inputs::{HomePlace, ReduceHome};
use crate::trackers::Trackers;

/// Divisor of `locality_wait` for reduces, which wait at two levels: until they read, map outputs
/// sit idle.
const WAIT_DIVISOR: u32 = 2;
/// Bytes per second that a reduce fetches from another host: a 1 Gb/s network.
const FETCH_RATE: f64 = 100e6;

/// How long reduces wait for a better place, at each level of locality.
pub(crate) fn reduce_wait(locality_wait: Duration) -> Duration {
    locality_wait / WAIT_DIVISOR
}

/// Whether fetching the bytes at `home` from elsewhere takes longer than waiting for a slot there.
fn is_worth(home: &ReduceHome, wait: Duration) -> bool {
    !wait.is_zero() && home.bytes > wait.as_secs_f64() * FETCH_RATE
}

/// A reduce for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReduceChoice {
    pub(crate) reduce: u32,
    /// How far from most of its input it runs; `None` if it does not wait for a better place.
    pub(crate) locality: Option<Locality>,
}

/// Where a reduce would prefer to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    at: HomePlace,
    /// Whether it waits for a slot there.
    waits: bool,
}

/// The waiting reduces of one job.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct WaitingReduces {
    all: BTreeMap<u32, Option<Wish>>,
    /// Reduces that take any slot: no place has most of their input, a wait is not worth it, or
    /// that host takes no attempts.
    anywhere: BTreeSet<u32>,
    by_host: BTreeSet<(HostNumber, u32)>,
    /// Reduces whose home is a rack rather than one host.
    by_rack: BTreeSet<(RackNumber, u32)>,
    /// Reduces whose home is a host, by the rack of that host.
    by_hosts_rack: BTreeSet<(RackNumber, u32)>,
}

impl WaitingReduces {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn first(&self) -> Option<u32> {
        self.all.first_key_value().map(|(reduce, _)| *reduce)
    }

    pub(crate) fn contains(&self, reduce: u32) -> bool {
        self.all.contains_key(&reduce)
    }

    /// Whether some reduces decline slots far from their input.
    pub(crate) fn any_declines(&self) -> bool {
        self.anywhere.len() < self.all.len()
    }

    /// How far a host is from most of a reduce's input; `None` if the reduce takes any slot.
    pub(crate) fn distance(
        &self,
        reduce: u32,
        host: HostNumber,
        rack: RackNumber,
    ) -> Option<Locality> {
        let wish = self.all.get(&reduce).copied().flatten();
        let at = wish.filter(|_| !self.anywhere.contains(&reduce))?.at;
        Some(match at {
            HomePlace::Host(place) if place.host == host => Locality::NodeLocal,
            HomePlace::Host(place) if place.rack == rack => Locality::RackLocal,
            HomePlace::Rack(home) if home == rack => Locality::NodeLocal,
            HomePlace::Host(_) | HomePlace::Rack(_) => Locality::OffRack,
        })
    }

    /// Whether the reduce would rather wait than run far from its input.
    pub(crate) fn declines(&self, reduce: u32) -> bool {
        self.contains(reduce) && !self.anywhere.contains(&reduce)
    }

    /// Adds a reduce with most of its input at `home`; it waits up to `wait` per level for a slot
    /// there, if that is worth it.
    pub(crate) fn insert(
        &mut self,
        reduce: u32,
        home: Option<ReduceHome>,
        wait: Duration,
        is_open: impl Fn(HostNumber) -> bool,
    ) {
        self.remove(reduce);
        let wish = home.map(|home| Wish { at: home.at, waits: is_worth(&home, wait) });
        self.all.insert(reduce, wish);
        let may_wait = |wish: &Wish| match wish.at {
            HomePlace::Host(place) => wish.waits && is_open(place.host),
            HomePlace::Rack(_) => wish.waits,
        };
        if !wish.as_ref().is_some_and(may_wait) {
            self.anywhere.insert(reduce);
        }
        match wish.map(|wish| wish.at) {
            Some(HomePlace::Host(place)) => {
                self.by_host.insert((place.host, reduce));
                self.by_hosts_rack.insert((place.rack, reduce));
            }
            Some(HomePlace::Rack(rack)) => drop(self.by_rack.insert((rack, reduce))),
            None => {}
        }
    }

    pub(crate) fn remove(&mut self, reduce: u32) {
        let Some(wish) = self.all.remove(&reduce) else { return };
        self.anywhere.remove(&reduce);
        match wish.map(|wish| wish.at) {
            Some(HomePlace::Host(place)) => {
                self.by_host.remove(&(place.host, reduce));
                self.by_hosts_rack.remove(&(place.rack, reduce));
            }
            Some(HomePlace::Rack(rack)) => drop(self.by_rack.remove(&(rack, reduce))),
            None => {}
        }
    }

    /// Updates all homes when more is known about the input.
    pub(crate) fn move_to(
        &mut self,
        home: impl Fn(u32) -> Option<ReduceHome>,
        wait: Duration,
        is_open: impl Fn(HostNumber) -> bool,
    ) {
        for reduce in self.all.keys().copied().collect::<Vec<_>>() {
            let home = home(reduce);
            let had_one = self.all.get(&reduce).is_some_and(Option::is_some);
            if had_one || home.is_some() {
                self.insert(reduce, home, wait, &is_open);
            }
        }
    }

    /// `host` takes new attempts from now on.
    pub(crate) fn on_host_open(&mut self, host: HostNumber) {
        for reduce in at(&self.by_host, host) {
            if self.all.get(&reduce).copied().flatten().is_some_and(|wish| wish.waits) {
                self.anywhere.remove(&reduce);
            }
        }
    }

    /// `host` takes no new attempts from now on: no reduce waits for it.
    pub(crate) fn on_host_closed(&mut self, host: HostNumber) {
        self.anywhere.extend(at(&self.by_host, host));
    }

    /// The best reduce for a slot on `host`, no farther from its input than `limit`, and none that
    /// `avoids` this host. Reduces at home here come first, then those that run anywhere, then
    /// those that would prefer to be elsewhere.
    pub(crate) fn choose(
        &self,
        host: HostNumber,
        rack: RackNumber,
        limit: Locality,
        avoids: impl Fn(u32) -> bool,
    ) -> Option<ReduceChoice> {
        let welcome = |reduce: &u32| !avoids(*reduce);
        let chosen = |locality: Option<Locality>| move |reduce| ReduceChoice { reduce, locality };
        let local = at(&self.by_host, host).chain(at(&self.by_rack, rack)).find(welcome);
        let near = || at(&self.by_hosts_rack, rack).find(welcome);
        let near = || (limit >= Locality::RackLocal).then(near).flatten();
        let any = || self.all.keys().copied().find(welcome);
        let any = || (limit >= Locality::OffRack).then(any).flatten();
        let nowhere = || self.anywhere.iter().copied().find(welcome);
        local
            .map(chosen(Some(Locality::NodeLocal)))
            .or_else(|| nowhere().map(chosen(None)))
            .or_else(|| near().map(chosen(Some(Locality::RackLocal))))
            .or_else(|| any().map(chosen(Some(Locality::OffRack))))
    }
}

impl LiveJob {
    /// A map has left its output at `place`.
    pub(crate) fn learn_sizes(&mut self, place: Place, sizes: &OutputSizes) {
        if !self.tasks(TaskKind::Reduce).states.is_empty() {
            self.reduce_inputs.add(place, sizes);
        }
    }

    /// Recomputes the homes of the waiting reduces, each time that a sixteenth more maps have
    /// reported, and when `all` have: to go over all reduces after each map would take too long.
    pub(crate) fn place_reduces(&mut self, trackers: &Trackers, all: bool) {
        let n_told = self.reduce_inputs.n_told();
        let is_due = n_told > self.placed_by + self.placed_by / 16;
        if self.waiting_reduces.is_empty() || !(is_due || (all && n_told > self.placed_by)) {
            return;
        }
        self.placed_by = n_told;
        let inputs = &self.reduce_inputs;
        let is_open = |host| trackers.is_open_at(host);
        self.waiting_reduces.move_to(|reduce| inputs.home(reduce), self.reduce_wait, is_open);
        self.demands_more();
    }
}

/// The reduces at one place.
fn at<K: Ord + Copy>(index: &BTreeSet<(K, u32)>, place: K) -> impl Iterator<Item = u32> {
    index.range((place, 0)..=(place, u32::MAX)).map(|(_, reduce)| *reduce)
}
