//! An operator who drains hosts, pauses jobs and a pool, and ends attempts by hand. When the faults
//! are over, drains and pauses are reverted.

use std::collections::BTreeSet;
use std::time::Duration;

use jobtracker_core::{EndsAs, PoolVerb, Refusal, Reply};
use mapreduce_protocol::{AttemptId, JobId};

use crate::jobs::ground::{Answer, Ask, CallId, Event, Who, host};
use crate::jobs::nature::OTHER_POOL;
use crate::jobs::scene::Scene;
use crate::jobs::world::REQUEST_LIMIT;

/// An order to the JobTracker.
#[derive(Clone, Copy, Debug)]
enum Order {
    Drain(usize, bool),
    Undrain(usize),
    Pause(JobId, bool),
    Resume(JobId),
    PausePool(bool),
    ResumePool,
    End(AttemptId, EndsAs),
}

/// The operator.
pub(crate) struct Operator {
    /// Its number among the clients.
    n: usize,
    n_trackers: usize,
    /// Hosts that may be drained, and jobs that may be paused, as far as the operator knows.
    drained: BTreeSet<usize>,
    paused: BTreeSet<JobId>,
    /// Whether the pool besides the default one may be paused.
    pool_paused: bool,
    call: Option<(CallId, Order)>,
}

impl Operator {
    /// An operator with the number of a client, in a world of `n_trackers` trackers; in some worlds
    /// it does nothing.
    pub(crate) fn new(scene: &mut Scene, n: usize, n_trackers: usize) -> Self {
        if scene.ground.random.chance(400) {
            scene.ground.after(Duration::from_secs(2), Event::Errand(n));
        }
        let (drained, paused) = (BTreeSet::new(), BTreeSet::new());
        Self { n, n_trackers, drained, paused, pool_paused: false, call: None }
    }

    /// Whether all drains and pauses are reverted.
    pub(crate) fn is_done(&self) -> bool {
        self.drained.is_empty() && self.paused.is_empty() && !self.pool_paused
    }

    /// Takes the next step.
    pub(crate) fn go_on(&mut self, scene: &mut Scene) {
        if self.call.is_some() {
            return;
        }
        if scene.is_calm && scene.ground.now().monotonic < scene.settled_at {
            return scene.ground.at(scene.settled_at, Event::Errand(self.n));
        }
        let order = match scene.is_calm {
            true => self.taken_back(),
            false => self.draw(scene),
        };
        let Some(order) = order else { return self.rest(scene) };
        scene.ground.say(format_args!("operator: {order:?}"));
        let ask = match order {
            Order::Drain(tracker, kill) => {
                self.drained.insert(tracker);
                Ask::Drain(host(tracker), kill)
            }
            Order::Undrain(tracker) => Ask::Undrain(host(tracker)),
            Order::Pause(job, kill) => {
                self.paused.insert(job);
                Ask::Pause(job, kill)
            }
            Order::Resume(job) => Ask::Resume(job),
            Order::PausePool(kill) => {
                self.pool_paused = true;
                Ask::Pool(OTHER_POOL, PoolVerb::Pause { kill })
            }
            Order::ResumePool => Ask::Pool(OTHER_POOL, PoolVerb::Resume),
            Order::End(attempt, counts) => Ask::EndAttempt(attempt, counts),
        };
        let call = scene.ground.call(Who::Client(self.n), ask, REQUEST_LIMIT);
        self.call = Some((call, order));
    }

    fn rest(&self, scene: &mut Scene) {
        if !(scene.is_calm && self.is_done()) {
            let pause = scene.ground.random.millis(100..3000);
            scene.ground.after(pause, Event::Errand(self.n));
        }
    }

    fn taken_back(&self) -> Option<Order> {
        let drained = self.drained.first().copied().map(Order::Undrain);
        let paused = || self.paused.first().copied().map(Order::Resume);
        drained.or_else(paused).or_else(|| self.pool_paused.then_some(Order::ResumePool))
    }

    fn draw(&self, scene: &mut Scene) -> Option<Order> {
        let random = &mut scene.ground.random;
        let (tracker, kill) = (random.below(self.n_trackers), random.chance(500));
        match random.below(7) {
            0 => Some(Order::Drain(tracker, kill)),
            1 | 2 => self.taken_back(),
            3 => scene.some_job().map(|job| Order::Pause(job, kill)),
            4 => Some(Order::PausePool(kill)),
            _ => {
                let counts = *random.pick(&[EndsAs::Killed, EndsAs::Killed, EndsAs::Failed]);
                scene.some_attempt().map(|attempt| Order::End(attempt, counts))
            }
        }
    }

    /// A call has ended.
    pub(crate) fn answered(&mut self, scene: &mut Scene, call: CallId, answer: Option<Answer>) {
        let Some((_, order)) = self.call.filter(|(asked, _)| *asked == call) else { return };
        self.call = None;
        match answer.map(|answer| answer.reply) {
            None => scene.ground.give_up(Who::Client(self.n), call),
            Some(Reply::Refused(Refusal::JournalFull)) => {}
            // The order to be reverted may still be in flight.
            Some(_) if !scene.is_calm => {}
            Some(_) => match order {
                Order::Undrain(tracker) => drop(self.drained.remove(&tracker)),
                Order::Resume(job) => drop(self.paused.remove(&job)),
                Order::ResumePool => self.pool_paused = false,
                Order::Drain(..) | Order::Pause(..) | Order::PausePool(_) | Order::End(..) => {}
            },
        }
        self.rest(scene);
    }
}
