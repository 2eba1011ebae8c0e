//! What a job waits for while none of its tasks runs, as a sentence for people: that it stands
//! still does not distinguish a busy cluster from one without hosts. Part of a job's status;
//! nothing acts on it.

use ids::{HostName, Monotonic};
use mapreduce_protocol::{TaskId, TaskKind};

use crate::explain::next_tasks;
use crate::job::{LiveJob, StoreCall};
use crate::machine::{Core, Fifo};
use crate::schedule::Hosts;

/// Limit on the hosts that a sentence names.
const HOSTS_NAMED_MAX: usize = 3;

/// Why a job waits if the chunk store did not answer its last call.
pub(crate) fn why_asked_again(live: &LiveJob) -> Option<String> {
    let what = match live.to_retry.first()? {
        StoreCall::Plan => "where its input is",
        StoreCall::MakeStaging => "for its staging folder",
        StoreCall::ReadSplits => "for its list of splits",
        StoreCall::Publish => "to publish its output",
    };
    Some(format!("the chunk store, asked {what}, does not answer or has no room"))
}

impl Core {
    /// Why no task of an unfinished job runs; `None` if one does or will in a moment.
    pub(crate) fn why_waiting(&self, live: &LiveJob) -> Option<String> {
        if let Some(why) = why_asked_again(live) {
            return Some(why);
        }
        let runs = |kind| live.tasks(kind).running > 0;
        if !live.has_waiting() || runs(TaskKind::Map) || runs(TaskKind::Reduce) {
            return None;
        }
        let now = self.last_input.unwrap_or_default();
        self.why_no_slot(live, now)
    }

    fn why_no_slot(&self, live: &LiveJob, now: Monotonic) -> Option<String> {
        if live.paused.itself {
            return Some(format!("it is paused: `howdah job resume {}` lets it go on", live.id));
        }
        if live.paused.pool {
            return Some(self.pool_is_paused(live));
        }
        if self.trackers.len() == 0 {
            return Some("no TaskTracker is registered: start one".to_owned());
        }
        if live.hold_until.is_some_and(|until| until > now) {
            return Some(self.who_is_awaited());
        }
        if self.trackers.open().next().is_none() {
            let why = "every TaskTracker is set aside: `howdah host list` says why";
            return Some(why.to_owned());
        }
        let excluded = |host| live.exclusions.until(now, host).is_some();
        if self.trackers.open().all(|(host, _)| excluded(host)) {
            let why = "every host has failed its tasks, for want of room or again and again, and is tried again \
                       after a while: see its failed attempts";
            return Some(why.to_owned());
        }
        if let Some(why) = self.jobs.order().why_not(Fifo::of(live.id)) {
            return Some(why);
        }
        let open = self.trackers.open().filter(|(host, _)| !excluded(host));
        let free = open.filter(|(_, tracker)| tracker.free_slots() > 0).map(|(host, _)| host);
        let free: Vec<&HostName> = free.collect();
        if free.is_empty() {
            let (slots, trackers) = (self.trackers.open_slots(), self.trackers.open().count());
            return Some(format!(
                "all slots are taken: there are {slots} on {trackers} TaskTrackers"
            ));
        }
        self.why_none_of(&free, &Hosts { now, trackers: &self.trackers, live })
    }

    /// Why no slot is used if all hosts with free slots are ones where the next tasks have failed.
    fn why_none_of(&self, free: &[&HostName], hosts: &Hosts<'_>) -> Option<String> {
        let tasks = next_tasks(hosts.live);
        let will_do = |task: &TaskId| free.iter().any(|host| hosts.suits(*task, host));
        let task = tasks.first().filter(|_| !tasks.iter().any(will_do))?;
        let named: Vec<&str> =
            free.iter().take(HOSTS_NAMED_MAX).map(|host| host.as_str()).collect();
        let more = if named.len() < free.len() { ", …" } else { "" };
        Some(format!(
            "{task} has failed on {}{more}, and the slots of all other hosts are taken: `howdah attempt list {}` says why it \
             failed",
            named.join(", "),
            hosts.live.id
        ))
    }

    fn who_is_awaited(&self) -> String {
        let why = "the JobTracker has just started, and TaskTrackers may still report what runs";
        let Some(first) = self.awaited.first() else { return why.to_owned() };
        match self.awaited.len() - 1 {
            0 => format!("{why}: the one on {first} has not yet"),
            n => format!("{why}: those on {first} and {n} other hosts have not yet"),
        }
    }
}
