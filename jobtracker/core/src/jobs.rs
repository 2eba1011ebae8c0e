//! The unfinished jobs, and whose turn it is. Every mutable access to a job marks it as touched;
//! before slots are filled, `order` is updated for the touched jobs alone, so that filling a slot
//! needs no scan of all jobs.

use std::collections::{BTreeMap, BTreeSet};

use mapreduce_protocol::{JobId, TaskKind};

use crate::job::LiveJob;
use crate::machine::Fifo;
use crate::order::{Demand, Maps, Order, Standpoint};
use crate::pools::PoolRule;

/// The soft state of all unfinished jobs, oldest first: ordinals grow in order of acceptance.
#[derive(Debug)]
pub(crate) struct Jobs {
    by_age: BTreeMap<Fifo, LiveJob>,
    /// Jobs that may have changed since `order` was last updated.
    touched: BTreeSet<Fifo>,
    order: Order,
    /// Attempts, of all jobs, that run beside another attempt of their task.
    n_backups: u64,
}

impl Jobs {
    pub(crate) fn new(pools: Vec<PoolRule>) -> Self {
        let (by_age, touched) = Default::default();
        Self { by_age, touched, order: Order::new(pools), n_backups: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_age.len()
    }

    pub(crate) fn get(&self, fifo: &Fifo) -> Option<&LiveJob> {
        self.by_age.get(fifo)
    }

    pub(crate) fn get_mut(&mut self, fifo: &Fifo) -> Option<&mut LiveJob> {
        let live = self.by_age.get_mut(fifo)?;
        self.touched.insert(*fifo);
        live.only_within = None;
        Some(live)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &LiveJob> {
        self.by_age.values()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut LiveJob> {
        self.touched.extend(self.by_age.keys());
        self.by_age.values_mut().for_each(|live| live.only_within = None);
        self.by_age.values_mut()
    }

    pub(crate) fn insert(&mut self, live: LiveJob) {
        let fifo = Fifo::of(live.id);
        self.by_age.insert(fifo, live);
        self.touched.insert(fifo);
    }

    pub(crate) fn remove(&mut self, job: JobId) {
        let fifo = Fifo::of(job);
        self.by_age.remove(&fifo);
        self.touched.insert(fifo);
    }

    /// Updates the order for the touched jobs.
    pub(crate) fn bring_up_to_date(&mut self) {
        while let Some(fifo) = self.touched.pop_first() {
            let standpoint = self.by_age.get(&fifo).map(standpoint);
            self.n_backups -= self.order.n_backups(fifo);
            self.n_backups += standpoint.as_ref().map_or(0, |it| it.n_backups);
            self.order.put(fifo, standpoint);
        }
    }

    /// The order as of the last [`Self::bring_up_to_date`], and the jobs. The caller must not
    /// change anything in a job that the order depends on.
    pub(crate) fn turns(&mut self) -> (&Order, &mut BTreeMap<Fifo, LiveJob>) {
        (&self.order, &mut self.by_age)
    }

    pub(crate) fn order_mut(&mut self) -> &mut Order {
        &mut self.order
    }

    pub(crate) fn order(&self) -> &Order {
        &self.order
    }

    /// Attempts, of all jobs, that run beside another attempt of their task, as of the last
    /// [`Self::bring_up_to_date`].
    pub(crate) fn n_backups(&self) -> u64 {
        self.n_backups
    }
}

/// The properties of a job that the order depends on.
fn standpoint(live: &LiveJob) -> Standpoint {
    let tasks = [TaskKind::Map, TaskKind::Reduce].map(|kind| live.tasks(kind));
    let is_late = !live.late.is_empty();
    let is_paused = live.paused.at_all();
    let maps = match (live.waiting_maps().is_empty(), live.tasks(TaskKind::Map).running) {
        (true, _) => Maps::None,
        (false, 0) => Maps::Starve,
        (false, _) => Maps::Wait,
    };
    let reduces_run = live.tasks(TaskKind::Reduce).running > 0;
    Standpoint {
        demand: Demand {
            pool: live.pool,
            wants: !is_paused && (live.has_waiting() || is_late),
            maps,
            is_pressed: live.is_pressed(),
            demands: live.demands,
        },
        served: live.served,
        has_begun: live.has_begun,
        takes_place: !is_paused && live.has_splits(),
        priority: live.priority,
        n_slots: tasks.iter().map(|tasks| tasks.n_live()).sum(),
        n_reduces: live.tasks(TaskKind::Reduce).n_live(),
        n_waiting: live.n_waiting(),
        n_backups: tasks.iter().map(|tasks| u64::from(tasks.backed_up)).sum(),
        is_stuck: live.is_stuck(),
        is_late,
        holds_while_paused: is_paused && maps != Maps::None && reduces_run,
    }
}
