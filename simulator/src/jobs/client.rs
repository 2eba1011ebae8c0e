//! A client with one job. It submits it until it is accepted, may kill it or change its priority,
//! asks for its state until it has ended, and then for its counters. Every request without an
//! answer is repeated.

use std::collections::VecDeque;

use ids::Monotonic;
use jobtracker_core::{IdempotencyKey, Query, Refusal, Reply};
use mapreduce_protocol::{JobId, Priority};

use crate::jobs::ground::{Answer, Ask, CallId, Event, Who};
use crate::jobs::scene::Scene;
use crate::jobs::world::REQUEST_LIMIT;

/// Something that a client intends to do with its job.
#[derive(Clone, Copy, Debug)]
enum Errand {
    Kill,
    SetPriority(Priority),
}

/// How far a client has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Submitting,
    Waiting(JobId),
    /// The job has ended.
    Counting(JobId),
    Done,
}

/// A client with one job.
pub(crate) struct Client {
    n: usize,
    stage: Stage,
    /// What it intends to do, and when.
    errands: VecDeque<(Monotonic, Errand)>,
    call: Option<CallId>,
}

impl Client {
    /// The client of job number `n`.
    pub(crate) fn new(scene: &mut Scene, n: usize) -> Self {
        let nature = &scene.natures[n];
        let start = scene.ground.now().monotonic + nature.comes_after;
        let kill = nature.killed_after.map(|after| (start + after, Errand::Kill));
        let changes = nature.changes.iter();
        let changes = changes.map(|(after, to)| (start + *after, Errand::SetPriority(*to)));
        let mut errands: Vec<_> = kill.into_iter().chain(changes).collect();
        errands.sort_by_key(|(at, _)| *at);
        scene.ground.at(start, Event::Errand(n));
        Self { n, stage: Stage::Submitting, errands: errands.into(), call: None }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Takes the next step.
    pub(crate) fn go_on(&mut self, scene: &mut Scene) {
        if self.call.is_some() {
            return;
        }
        let now = scene.ground.now().monotonic;
        let mut limit = REQUEST_LIMIT;
        let ask = match self.stage {
            Stage::Submitting => {
                let key = format!("key-{}", self.n);
                let key = IdempotencyKey { digest: key.clone(), key };
                Ask::Submit { spec: Box::new(scene.natures[self.n].spec.clone()), key }
            }
            Stage::Waiting(job) => match self.errands.front() {
                Some((at, errand)) if *at <= now => match errand {
                    Errand::Kill => Ask::Kill(job),
                    Errand::SetPriority(priority) => Ask::SetPriority(job, *priority),
                },
                Some(_) => Ask::Query(Query::Status { job, wait: None }),
                None => {
                    let wait = scene.ground.random.millis(1..9000);
                    limit += wait;
                    Ask::Query(Query::Status { job, wait: Some(wait) })
                }
            },
            Stage::Counting(job) => Ask::Query(Query::Counters { job }),
            Stage::Done => return,
        };
        self.call = Some(scene.ground.call(Who::Client(self.n), ask, limit));
    }

    /// A call has ended.
    pub(crate) fn answered(&mut self, scene: &mut Scene, call: CallId, answer: Option<Answer>) {
        if self.call != Some(call) {
            return;
        }
        self.call = None;
        match answer {
            Some(answer) => self.hear(scene, answer.reply),
            None => scene.ground.give_up(Who::Client(self.n), call),
        }
        if !self.is_done() {
            let pause = scene.ground.random.millis(50..2000);
            scene.ground.after(pause, Event::Errand(self.n));
        }
    }

    fn hear(&mut self, scene: &mut Scene, reply: Reply) {
        let now = scene.ground.now().monotonic;
        match (self.stage, reply) {
            (Stage::Submitting, Reply::Accepted(accepted)) => {
                scene.ground.say(format_args!("client {} has {}", self.n, accepted.id));
                scene.watch.see_accepted(accepted.id);
                self.stage = Stage::Waiting(accepted.id);
            }
            (Stage::Waiting(job), Reply::Status(status)) => {
                if status.state.is_final() {
                    scene.watch.see_state(job, status.state);
                    self.stage = Stage::Counting(job);
                }
                self.errands.retain(|(at, _)| *at > now);
            }
            (Stage::Counting(job), Reply::Counters(counters)) => {
                scene.watch.check_counters(job, &counters.counters);
                self.stage = Stage::Done;
            }
            // The job was forgotten to make room for others.
            (_, Reply::Refused(Refusal::NoSuchJob { job })) => {
                scene.watch.check_forgotten(job);
                self.stage = Stage::Done;
            }
            (
                Stage::Waiting(_),
                Reply::Refused(Refusal::JobEnded { .. } | Refusal::Committing { .. }),
            ) => self.errands.clear(),
            // The journal is full, or another job has the same output: the client tries again.
            _ => {}
        }
    }
}
