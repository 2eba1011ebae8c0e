//! Shared access to the machine for its loop and for readers. Only the loop changes it, one input
//! after the other; between two inputs others may read it, provided that everything it shows is on
//! disk. Called by the loop and the masters' HTTP layer.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{Machine, Step};

/// Read access to a machine that a loop drives. Cheap to clone; all clones share one machine.
pub struct View<M> {
    shown: Arc<RwLock<Shown<M>>>,
}

struct Shown<M> {
    machine: M,
    /// Whether everything that the machine shows is on disk.
    is_durable: bool,
}

impl<M> Clone for View<M> {
    fn clone(&self) -> Self {
        Self { shown: Arc::clone(&self.shown) }
    }
}

impl<M> View<M> {
    /// The result of `look`, without a turn of the loop. `None` if a crash could take back what it
    /// shows, because a record waits for its sync; if an input is being handled; or if the loop is
    /// ending: then only an input gets an answer.
    ///
    /// Never waits. `look` blocks the loop: like a machine's own methods, it may take at most 5 ms.
    pub fn look<T>(&self, look: impl FnOnce(&M) -> T) -> Option<T> {
        // While the loop waits for the lock, further readers are kept out.
        let shown = self.shown.try_read().ok()?;
        shown.is_durable.then(|| look(&shown.machine))
    }
}

/// The loop's side.
impl<M: Machine> View<M> {
    /// A view of a recovered state: all of it is on disk.
    pub(crate) fn new(machine: M) -> Self {
        Self { shown: Arc::new(RwLock::new(Shown { machine, is_durable: true })) }
    }

    /// Reads the machine.
    pub(crate) fn ask<T>(&self, ask: impl FnOnce(&M) -> T) -> T {
        ask(&self.read().machine)
    }

    /// Changes something in the machine that is not journaled.
    pub(crate) fn tell(&self, tell: impl FnOnce(&mut M)) {
        tell(&mut self.write().machine);
    }

    /// Takes a step. If it makes records, nobody may read the machine before
    /// [`Self::all_is_durable`].
    pub(crate) fn step(
        &self,
        step: impl FnOnce(&mut M) -> Step<M::Record, M::Effect>,
    ) -> Step<M::Record, M::Effect> {
        let mut shown = self.write();
        let step = step(&mut shown.machine);
        shown.is_durable &= step.records.is_empty();
        step
    }

    /// The last record of the last step is on disk.
    pub(crate) fn all_is_durable(&self) {
        self.write().is_durable = true;
    }

    /// From now on nobody may read the machine.
    pub(crate) fn close(&self) {
        self.write().is_durable = false;
    }

    /// Like all locks here, never held across an await.
    fn read(&self) -> RwLockReadGuard<'_, Shown<M>> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shown<M>> {
        self.shown.write().unwrap_or_else(PoisonError::into_inner)
    }
}
