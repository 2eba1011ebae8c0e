//! Reads a whole file: locates its chunks, then asks one replica after another until one of each
//! chunk has answered; after a round without any answer, locates them again.

use std::collections::VecDeque;
use std::time::Duration;

use chunkstore_core::master::Reply;
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::{ChunkLocation, StorePath};

use super::ops::locate;
use super::{Client, Outcome, Task};
use crate::store::content::{Content, length};
use crate::store::ground::{Ask, Ground};
use crate::store::invariants::Watch;
use crate::store::server::number;

/// The number of rounds without a good replica after which a reader gives up.
const ROUNDS_MAX: u32 = 4;
const ROUND_PAUSE: Duration = Duration::from_millis(300);

/// A read under way.
pub(crate) struct Reading {
    path: StorePath,
    /// The chunks that are not read yet; `None` until they are located.
    chunks: Option<VecDeque<ChunkLocation>>,
    n_rounds: u32,
    /// Servers of the first of these chunks that have not been asked in this round.
    untried: Vec<usize>,
    n_read: usize,
}

impl Reading {
    pub(super) fn path(&self) -> &StorePath {
        &self.path
    }
}

impl Client {
    pub(super) fn read(&mut self, ground: &mut Ground, path: StorePath) {
        let ask = Ask::Query(locate(&path));
        let (chunks, untried) = (None, Vec::new());
        self.task = Task::Reading(Reading { path, chunks, n_rounds: 0, untried, n_read: 0 });
        self.ask(ground, ask);
    }

    /// The master has said where the chunks are.
    pub(super) fn located(&mut self, ground: &mut Ground, watch: &mut Watch, outcome: Outcome) {
        let Task::Reading(reading) = &mut self.task else { return };
        let Outcome::Done(Reply::Located(located)) = outcome else { return self.rest(ground) };
        let now: VecDeque<ChunkLocation> =
            located.chunks.into_iter().skip(reading.n_read).collect();
        let first =
            |chunks: &VecDeque<ChunkLocation>| chunks.front().map(|it| (it.chunk, it.offset));
        if reading.chunks.as_ref().is_some_and(|before| first(before) != first(&now)) {
            ground.say(format_args!("{} was replaced while it was read", reading.path));
            return self.rest(ground);
        }
        reading.untried = servers(ground, now.front());
        reading.chunks = Some(now);
        self.read_step(ground, watch);
    }

    /// Asks the next replica.
    pub(super) fn read_step(&mut self, ground: &mut Ground, _watch: &mut Watch) {
        let Task::Reading(reading) = &mut self.task else { return };
        let Some(location) = reading.chunks.as_ref().and_then(VecDeque::front) else {
            return self.rest(ground);
        };
        let replica = ReplicaKey { chunk: location.chunk, version: location.version };
        if let Some(server) = reading.untried.pop() {
            return self.ask_server(ground, server, Ask::Read(replica));
        }
        reading.n_rounds += 1;
        if reading.n_rounds > ROUNDS_MAX {
            ground.say(format_args!("{} can't be read", reading.path));
            return self.rest(ground);
        }
        let ask = Ask::Query(locate(&reading.path));
        self.ask_later(ground, ask, ROUND_PAUSE);
    }

    /// A server has answered with a chunk's bytes, or it has not.
    pub(super) fn read_on(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        bytes: Result<Content, &'static str>,
    ) {
        let Task::Reading(reading) = &mut self.task else { return };
        let Some(chunks) = &mut reading.chunks else { return };
        if let (Some(location), Ok(bytes)) = (chunks.front(), bytes)
            && length(&bytes) == location.length
        {
            watch.see_read(location.chunk, &bytes);
            chunks.pop_front();
            reading.n_read += 1;
            reading.n_rounds = 0;
            reading.untried = servers(ground, chunks.front());
        }
        self.read_step(ground, watch);
    }
}

/// The servers to ask, starting with a random one.
pub(super) fn servers(ground: &mut Ground, location: Option<&ChunkLocation>) -> Vec<usize> {
    let all = location.map_or(&[][..], |location| location.servers.as_slice());
    let mut servers: Vec<usize> = all.iter().map(|server| number(&server.host)).collect();
    if !servers.is_empty() {
        let first = ground.random.below(servers.len());
        servers.rotate_left(first);
    }
    servers
}
