//! The writer's requests to the servers of a broken pipeline: it asks all of them at once, and each
//! once. The real writer core decides what follows from the answers.

use std::collections::BTreeMap;

use chunkstore_core::replica::ReplicaKey;
use chunkstore_core::writer::{Next, Sent, Writer};
use chunkstore_protocol::{SealedChunk, ServerAddress};
use ids::HostName;

use super::write::Phase;
use super::{CALL_LIMIT, Client, Task};
use crate::store::content::{BLOCK_UNITS, checksum, units};
use crate::store::ground::{Answer, Ask, CallId, Event, Ground, Who};
use crate::store::invariants::Watch;
use crate::store::server::number;

/// What each server answered.
type Said<T> = Vec<(HostName, Result<T, String>)>;

/// Which servers were asked, and which have answered.
#[derive(Debug)]
pub(super) struct Recovery {
    asked: BTreeMap<CallId, HostName>,
    frozen: Said<u64>,
    sealed: Said<SealedChunk>,
    /// The length at which the chunk is being sealed; `None` while the servers are asked what they
    /// have.
    length: Option<u64>,
}

impl Client {
    /// Asks all servers of the broken pipeline what they have.
    pub(super) fn recover(&mut self, ground: &mut Ground, watch: &mut Watch) {
        let Some(broken) = self.core().and_then(Writer::broken) else { return };
        let replica = ReplicaKey { chunk: broken.chunk, version: broken.version };
        let on = broken.pipeline.clone();
        self.ask_around(ground, watch, &on, (&Ask::Freeze(replica), None));
    }

    /// Asks these servers to seal what they have at this length.
    pub(super) fn seal_at(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        length: u64,
        on: &[ServerAddress],
    ) {
        let Some(broken) = self.core().and_then(Writer::broken) else { return };
        let replica = ReplicaKey { chunk: broken.chunk, version: broken.version };
        self.ask_around(ground, watch, on, (&Ask::Seal(replica, length), Some(length)));
    }

    fn ask_around(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        on: &[ServerAddress],
        (ask, length): (&Ask, Option<u64>),
    ) {
        let who = Who::Client(self.n);
        let call = |server: &ServerAddress| {
            let to = Who::Server(number(&server.host));
            (ground.call(who, to, ask, CALL_LIMIT), server.host.clone())
        };
        let asked = on.iter().map(call).collect();
        let recovery = Recovery { asked, frozen: Vec::new(), sealed: Vec::new(), length };
        if let Task::Writing(writing) = &mut self.task {
            writing.phase = Phase::Recovering(recovery);
        }
        self.recovered(ground, watch);
    }

    pub(super) fn is_recovery(&self, call: CallId) -> bool {
        self.recovery().is_some_and(|recovery| recovery.asked.contains_key(&call))
    }

    fn recovery(&self) -> Option<&Recovery> {
        match &self.task {
            Task::Writing(writing) => match &writing.phase {
                Phase::Recovering(recovery) => Some(recovery),
                _ => None,
            },
            _ => None,
        }
    }

    fn core(&self) -> Option<&Writer> {
        match &self.task {
            Task::Writing(writing) => writing.core.as_ref(),
            _ => None,
        }
    }

    /// One of the servers has answered, or it does not answer.
    pub(super) fn recovery_answered(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        call: CallId,
        answer: Option<Answer>,
    ) {
        let Task::Writing(writing) = &mut self.task else { return };
        let Phase::Recovering(recovery) = &mut writing.phase else { return };
        let Some(host) = recovery.asked.remove(&call) else { return };
        let silent = "no answer".to_owned();
        match (answer, recovery.length) {
            (Some(Answer::Frozen(frozen)), _) => {
                let length = frozen.map(|frozen| frozen.length).map_err(str::to_owned);
                recovery.frozen.push((host, length));
            }
            (Some(Answer::Sealed(sealed)), _) => {
                recovery.sealed.push((host, sealed.map_err(str::to_owned)));
            }
            (_, None) => recovery.frozen.push((host, Err(silent))),
            (_, Some(_)) => recovery.sealed.push((host, Err(silent))),
        }
        self.recovered(ground, watch);
    }

    /// Continues once all have answered.
    fn recovered(&mut self, ground: &mut Ground, watch: &mut Watch) {
        let now = ground.now().monotonic;
        let Task::Writing(writing) = &mut self.task else { return };
        let Phase::Recovering(recovery) = &mut writing.phase else { return };
        if !recovery.asked.is_empty() {
            return;
        }
        let (frozen, sealed) =
            (std::mem::take(&mut recovery.frozen), std::mem::take(&mut recovery.sealed));
        let Some(length) = recovery.length else {
            let next = writing.core.as_mut().map(|core| core.handle_frozen(now, &frozen));
            return next.map_or((), |next| self.follow(ground, watch, next));
        };
        let n = units(length);
        let chunk = writing.chunk();
        let ends_block = n == chunk.len() || n.is_multiple_of(BLOCK_UNITS);
        let prefix = chunk.get(..n).filter(|_| ends_block);
        let prefix = prefix.map(|prefix| Sent { length, checksum: checksum(prefix) });
        let Some(core) = &mut writing.core else { return };
        match core.handle_recovered(now, prefix, sealed) {
            Next::Sealed => {
                writing.n_sealed += n;
                writing.phase = Phase::Between;
                self.write_step(ground, watch);
            }
            next => self.follow(ground, watch, next),
        }
    }

    /// The connection that kept its lease alive has ended; most often the master's edge notices
    /// that.
    pub(super) fn seem_gone(&mut self, ground: &mut Ground) {
        let (from, to) = (Who::Client(self.n), Who::Master);
        let Some(file) = self.open_file().filter(|_| ground.random.chance(800)) else { return };
        let ask = Box::new(Ask::Gone(self.id.clone(), vec![file]));
        let pause = ground.random.millis(1..500);
        ground.after(pause, Event::Asked { to, from, call: CallId(0), ask });
    }
}
