//! The machine where its loop and those who only look at it find it. The loop alone changes it, one input after the
//! other; between two of them others may look, as long as all that it shows is on disk. The loop calls this, and the
//! masters' HTTP.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{Machine, Step};

/// Looks at a machine that a loop drives. Cheap to clone; all clones are one.
pub struct View<M> {
    shown: Arc<RwLock<Shown<M>>>,
}

struct Shown<M> {
    machine: M,
    /// Whether all that the machine shows is on disk.
    is_durable: bool,
}

impl<M> Clone for View<M> {
    fn clone(&self) -> Self {
        Self { shown: Arc::clone(&self.shown) }
    }
}

impl<M> View<M> {
    /// What `look` finds, without a turn of the loop. `None` if somebody could be told what a crash takes back, because
    /// a record waits for its sync; if an input is being handled; or if the loop ends: then only an input gets the answer.
    ///
    /// Never waits. `look` holds up the loop: as a machine's own methods, it takes at most 5 ms.
    pub fn look<T>(&self, look: impl FnOnce(&M) -> T) -> Option<T> {
        // A loop that waits for its turn keeps further ones from looking.
        let shown = self.shown.try_read().ok()?;
        shown.is_durable.then(|| look(&shown.machine))
    }
}

/// What the loop does with it.
impl<M: Machine> View<M> {
    /// Of a state that was recovered: all of it is on disk.
    pub(crate) fn new(machine: M) -> Self {
        Self { shown: Arc::new(RwLock::new(Shown { machine, is_durable: true })) }
    }

    /// Asks the machine.
    pub(crate) fn ask<T>(&self, ask: impl FnOnce(&M) -> T) -> T {
        ask(&self.read().machine)
    }

    /// Tells the machine of something that is in no journal.
    pub(crate) fn tell(&self, tell: impl FnOnce(&mut M)) {
        tell(&mut self.write().machine);
    }

    /// Takes a step. If there are records in it, nobody may look before [`Self::all_is_durable`].
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

    /// From now on nobody may look.
    pub(crate) fn close(&self) {
        self.write().is_durable = false;
    }

    /// Never held across an await, as all of these.
    fn read(&self) -> RwLockReadGuard<'_, Shown<M>> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shown<M>> {
        self.shown.write().unwrap_or_else(PoisonError::into_inner)
    }
}
