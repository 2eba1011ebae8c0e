//! The map events of each job of which reduces run here: fetched once per host, then fed to each
//! reduce from its own index.

use std::collections::BTreeMap;

use mapreduce_protocol::{JobId, MapEvent, MapEvents};

/// The lists, by job.
#[derive(Debug, Default)]
pub(crate) struct MapEventLists {
    jobs: BTreeMap<JobId, List>,
}

#[derive(Debug, Default)]
struct List {
    /// Reduces here: the list is kept while there are any.
    reduces: u32,
    /// Index of the next event wanted, in the JobTracker's list.
    cursor: u64,
    events: Vec<MapEvent>,
    /// The last event of each map in `events`.
    latest: BTreeMap<u32, usize>,
}

impl MapEventLists {
    pub(crate) fn reduce_comes(&mut self, job: JobId) {
        self.jobs.entry(job).or_default().reduces += 1;
    }

    pub(crate) fn reduce_goes(&mut self, job: JobId) {
        if let Some(list) = self.jobs.get_mut(&job) {
            list.reduces -= 1;
            if list.reduces == 0 {
                self.jobs.remove(&job);
            }
        }
    }

    /// The next event wanted of each job.
    pub(crate) fn cursors(&self) -> BTreeMap<JobId, u64> {
        self.jobs.iter().map(|(job, list)| (*job, list.cursor)).collect()
    }

    pub(crate) fn of(&self, job: JobId) -> &[MapEvent] {
        self.jobs.get(&job).map_or(&[], |list| &list.events)
    }

    /// Another JobTracker process has another list: it is read from its beginning, and what it repeats
    /// is not told again.
    pub(crate) fn rewind(&mut self) {
        for list in self.jobs.values_mut() {
            list.cursor = 0;
        }
    }

    /// Appends what is new. A run that begins after the cursor is left for the next reply.
    pub(crate) fn extend(&mut self, news: MapEvents) {
        let Some(list) = self.jobs.get_mut(&news.job) else { return };
        let Some(known) = list.cursor.checked_sub(news.first) else { return };
        let fresh = news.events.into_iter().skip(usize::try_from(known).unwrap_or(usize::MAX));
        for event in fresh {
            list.cursor += 1;
            list.push(event);
        }
    }
}

impl List {
    fn push(&mut self, event: MapEvent) {
        let map = match &event {
            MapEvent::Available { attempt, .. } | MapEvent::Withdrawn { attempt } => {
                attempt.task.index
            }
        };
        let repeated = self.latest.get(&map).is_some_and(|last| self.events[*last] == event);
        if !repeated {
            self.latest.insert(map, self.events.len());
            self.events.push(event);
        }
    }
}
