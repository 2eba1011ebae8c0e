//! How many finished map outputs that reduces may still want lie on each host. It follows what the records say of winners,
//! so that nobody has to look at every task to know what a host holds.

use std::collections::BTreeMap;

use ids::HostName;
use mapreduce_protocol::JobId;

/// Map outputs of unfinished jobs by host.
#[derive(Debug, Default)]
pub(crate) struct HeldOutputs {
    by_job: BTreeMap<JobId, BTreeMap<HostName, u32>>,
    by_host: BTreeMap<HostName, u32>,
}

impl HeldOutputs {
    /// A map of `job` has won on `host`.
    pub(crate) fn add(&mut self, job: JobId, host: &HostName) {
        for hosts in [self.by_job.entry(job).or_default(), &mut self.by_host] {
            match hosts.get_mut(host) {
                Some(n) => *n += 1,
                None => drop(hosts.insert(host.clone(), 1)),
            }
        }
    }

    /// A winner's output is gone.
    pub(crate) fn remove(&mut self, job: JobId, host: &HostName) {
        if let Some(hosts) = self.by_job.get_mut(&job) {
            subtract(hosts, host, 1);
            subtract(&mut self.by_host, host, 1);
        }
    }

    /// The reduces of `job` want nothing any more.
    pub(crate) fn forget(&mut self, job: JobId) {
        for (host, n) in self.by_job.remove(&job).unwrap_or_default() {
            subtract(&mut self.by_host, &host, n);
        }
    }

    /// Those on `host`.
    pub(crate) fn on(&self, host: &HostName) -> u32 {
        self.by_host.get(host).copied().unwrap_or_default()
    }

    /// Those of `job`, by host.
    pub(crate) fn of(&self, job: JobId) -> BTreeMap<HostName, u32> {
        self.by_job.get(&job).cloned().unwrap_or_default()
    }
}

fn subtract(hosts: &mut BTreeMap<HostName, u32>, host: &HostName, n: u32) {
    let Some(held) = hosts.get_mut(host) else { return };
    *held = held.saturating_sub(n);
    if *held == 0 {
        hosts.remove(host);
    }
}
