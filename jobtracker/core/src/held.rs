//! Index of the finished map outputs that reduces may still need, by host. It follows the records
//! about winners, so that finding what a host holds, or what was lost with it, needs no scan of all
//! tasks.

use std::collections::{BTreeMap, BTreeSet};

use ids::HostName;
use mapreduce_protocol::JobId;

/// Map outputs of unfinished jobs: the maps' ordinals by job and host.
#[derive(Debug, Default)]
pub(crate) struct HeldOutputs {
    by_job: BTreeMap<JobId, BTreeMap<HostName, BTreeSet<u32>>>,
}

impl HeldOutputs {
    /// A map of `job` won on `host`.
    pub(crate) fn add(&mut self, job: JobId, map: u32, host: &HostName) {
        let hosts = self.by_job.entry(job).or_default();
        match hosts.get_mut(host) {
            Some(maps) => drop(maps.insert(map)),
            None => drop(hosts.insert(host.clone(), BTreeSet::from([map]))),
        }
    }

    /// A winner's output is lost.
    pub(crate) fn remove(&mut self, job: JobId, map: u32, host: &HostName) {
        let Some(hosts) = self.by_job.get_mut(&job) else { return };
        let Some(maps) = hosts.get_mut(host) else { return };
        maps.remove(&map);
        if maps.is_empty() {
            hosts.remove(host);
        }
    }

    /// The reduces of `job` need no outputs any more.
    pub(crate) fn forget(&mut self, job: JobId) {
        self.by_job.remove(&job);
    }

    /// The outputs on `host`.
    pub(crate) fn on(&self, host: &HostName) -> impl Iterator<Item = (JobId, u32)> {
        let hosts = self.by_job.iter().filter_map(|(job, hosts)| Some((*job, hosts.get(host)?)));
        hosts.flat_map(|(job, maps)| maps.iter().map(move |map| (job, *map)))
    }

    /// Number of outputs on `host`.
    pub(crate) fn n_on(&self, host: &HostName) -> usize {
        self.by_job.values().filter_map(|hosts| hosts.get(host)).map(BTreeSet::len).sum()
    }

    /// The outputs of `job`, by host.
    pub(crate) fn of(&self, job: JobId) -> BTreeMap<HostName, BTreeSet<u32>> {
        self.by_job.get(&job).cloned().unwrap_or_default()
    }
}
