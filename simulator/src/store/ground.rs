//! What all processes stand on: time, what happens next, chance, the network, and the trace. Events
//! happen in the order of their times; of those at one time, chance says which is first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use chunkstore_core::log::Batch;
use chunkstore_core::master::{LogRequest, Mutation, Query, Refusal, Reply};
use chunkstore_core::replica::{KeptTerm, ReplicaKey};
use chunkstore_protocol::{FileId, Frozen, RegisterServer, SealedChunk, ServerHeartbeat};
use ids::{ClientId, Monotonic, Now};

use crate::random::Random;
use crate::store::content::{BLOCK_UNITS, Content, Unit};
use crate::store::faults::Fault;
use crate::timeline::Timeline;
use crate::weather::Weather;

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Master,
    Server(usize),
    Client(usize),
}

/// One attempt to ask somebody something; its answer bears the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallId(pub(crate) u64);

/// A stream of bytes to a server, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId(pub(crate) u64);

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Mutate(Mutation),
    Query(Query),
    Log(LogRequest),
    Register(RegisterServer),
    Heartbeat(ServerHeartbeat),
    /// A chunkserver: give me this replica.
    Read(ReplicaKey),
    /// The same: give me the blocks of it that are sound, if it is broken.
    ReadBlocks(ReplicaKey),
    /// The same: how much is there of this one, if nothing is added from now on?
    Freeze(ReplicaKey),
    /// The same: seal it at so many bytes.
    Seal(ReplicaKey, u64),
    /// The first server of a log's chunk: put these records behind the others, here and on these servers.
    AppendRecords {
        replica: ReplicaKey,
        followers: Vec<usize>,
        batch: Batch,
        frames: Content,
    },
    /// Another one: these come next, at so many bytes; if there are none, make the replica.
    Follow {
        replica: ReplicaKey,
        offset: u64,
        frames: Content,
    },
    /// The first one: what is acknowledged from so many bytes on?
    ReadRecords {
        replica: ReplicaKey,
        offset: u64,
    },
    /// The master's edge: the connection is gone on which a client kept the leases of these files.
    Gone(ClientId, Vec<FileId>),
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Master(Box<Result<Reply, Refusal>>),
    Bytes(Result<Content, &'static str>),
    /// Block by block; those that are sound.
    Blocks(Vec<Option<Content>>),
    Frozen(Result<Frozen, &'static str>),
    Appended(Result<(), LogFault>),
    /// So many bytes are synced.
    Followed(Result<u64, LogFault>),
    Sealed(Result<SealedChunk, &'static str>),
}

/// Why a server does not take records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFault {
    /// The chunk is over here, or has never been here.
    Ended,
    /// The writer's numbers go back.
    OutOfOrder,
    /// The disk, or other bytes than those that come before.
    Failed,
}

/// What goes through a stream; the last three in the other direction or to both.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// Write this replica, and on these servers after it.
    Put {
        replica: ReplicaKey,
        downstream: Vec<usize>,
        passed_on: bool,
        is_copy: bool,
    },
    Data(Content),
    /// That was all; with the checksum of it.
    End(u32),
    /// What became of it.
    Sealed(Result<SealedChunk, &'static str>),
    /// The connection is gone.
    Broken,
}

/// What a process wants to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Its core's time-out.
    Core,
    /// The journal is on disk up to here.
    Synced(usize),
    /// A replica is on disk under its name.
    Sealed(StreamId),
    /// The next server of a pipeline is slow.
    Patience(StreamId),
    /// A cut replica is on disk under its name, by the number of its sealing.
    CutSealed(u64),
    /// Something of a log's, by its number.
    Log(u64),
    /// A replica that was put together is on disk under its name, by a number.
    Assembled(u64),
    /// A removal, by its number.
    Removed(u64),
    /// The cluster's id is on disk.
    ClusterKept,
    /// The chunk master's term is on disk.
    TermKept(KeptTerm),
    /// The next replica is read for no reader.
    Scrub,
    /// The next step of a client's task, by its number.
    Step(u64),
    /// A lease is to be renewed.
    Renew,
}

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Asked {
        to: Who,
        from: Who,
        call: CallId,
        ask: Box<Ask>,
    },
    Answered {
        to: Who,
        call: CallId,
        answer: Box<Answer>,
    },
    /// Nobody answers.
    CallFailed {
        to: Who,
        call: CallId,
    },
    Streamed {
        to: Who,
        stream: StreamId,
        item: Item,
    },
    Woken {
        who: Who,
        life: u32,
        timer: Timer,
    },
    Begun(Fault),
    /// A process runs again.
    Started(Who),
}

impl Event {
    /// Whose event it is: it waits while that one stands still.
    pub(crate) fn whose(&self) -> Option<Who> {
        match self {
            Self::Asked { to, .. }
            | Self::Answered { to, .. }
            | Self::CallFailed { to, .. }
            | Self::Streamed { to, .. } => Some(*to),
            Self::Woken { who, .. } => Some(*who),
            Self::Begun(_) | Self::Started(_) => None,
        }
    }
}

#[derive(Debug)]
struct Stream {
    opener: Who,
    server: usize,
    /// When the last item arrives, in each direction: the next ones come later.
    up: Monotonic,
    down: Monotonic,
}

/// See the module.
pub(crate) struct Ground {
    timeline: Timeline<Event>,
    pub(crate) random: Random,
    pub(crate) weather: Weather,
    /// Pairs that do not hear each other.
    parted: BTreeSet<(Who, Who)>,
    streams: BTreeMap<StreamId, Stream>,
    next_id: u64,
}

impl Ground {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        Self {
            timeline: Timeline::new(traced),
            random: Random::new(seed),
            weather: Weather::default(),
            parted: BTreeSet::new(),
            streams: BTreeMap::new(),
            next_id: 0,
        }
    }

    pub(crate) fn now(&self) -> Now {
        self.timeline.now()
    }

    /// A line of the trace.
    pub(crate) fn say(&mut self, line: fmt::Arguments<'_>) {
        self.timeline.say(line);
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.timeline.take_trace()
    }

    pub(crate) fn at(&mut self, at: Monotonic, event: Event) {
        self.timeline.at(&mut self.random, at, event);
    }

    pub(crate) fn after(&mut self, pause: Duration, event: Event) {
        self.at(self.now().monotonic + pause, event);
    }

    /// The next event; time has come to it.
    pub(crate) fn next(&mut self) -> Option<Event> {
        self.timeline.next()
    }

    /// Puts an event off; those that are put off to one time keep their order.
    pub(crate) fn put_off(&mut self, until: Monotonic, event: Event) {
        self.timeline.put_off(until, event);
    }

    pub(crate) fn n_waiting(&self) -> usize {
        self.timeline.n_waiting()
    }

    fn number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn delay(&mut self) -> Duration {
        match self.random.chance(self.weather.slow) {
            true => self.random.millis(20..3000),
            false => self.random.millis(0..4),
        }
    }

    pub(crate) fn part(&mut self, a: Who, b: Who) {
        self.parted.extend([(a, b), (b, a)]);
        let between = |stream: &Stream| {
            let ends = (stream.opener, Who::Server(stream.server));
            ends == (a, b) || ends == (b, a)
        };
        let cut: Vec<StreamId> =
            self.streams.iter().filter(|(_, it)| between(it)).map(|(id, _)| *id).collect();
        for stream in cut {
            self.break_off(stream);
        }
    }

    pub(crate) fn join(&mut self, a: Who, b: Who) {
        self.parted.remove(&(a, b));
        self.parted.remove(&(b, a));
    }

    pub(crate) fn join_all(&mut self) {
        self.parted.clear();
    }

    fn arrives(&mut self, from: Who, to: Who) -> bool {
        !self.parted.contains(&(from, to)) && !self.random.chance(self.weather.lost)
    }

    /// Asks `to`. Exactly one [`Event::Answered`] or [`Event::CallFailed`] counts for the caller, the
    /// first; whether what was asked has happened is another question.
    pub(crate) fn call(&mut self, from: Who, to: Who, ask: &Ask, limit: Duration) -> CallId {
        let call = CallId(self.number());
        self.after(limit, Event::CallFailed { to: from, call });
        let copies = 1 + usize::from(self.random.chance(self.weather.doubled));
        for _ in 0..copies {
            if self.arrives(from, to) {
                let delay = self.delay();
                let ask = Box::new(ask.clone());
                self.after(delay, Event::Asked { to, from, call, ask });
            }
        }
        call
    }

    pub(crate) fn answer(&mut self, from: Who, to: Who, call: CallId, answer: Answer) {
        if self.arrives(from, to) {
            let delay = self.delay();
            self.after(delay, Event::Answered { to, call, answer: Box::new(answer) });
        }
    }

    /// Nobody listens there.
    pub(crate) fn refuse(&mut self, to: Who, call: CallId) {
        let delay = self.delay();
        self.after(delay, Event::CallFailed { to, call });
    }

    pub(crate) fn open(&mut self, opener: Who, server: usize, put: Item) -> StreamId {
        let id = StreamId(self.number());
        let (up, down) = (self.now().monotonic, self.now().monotonic);
        self.streams.insert(id, Stream { opener, server, up, down });
        self.send(id, put);
        id
    }

    /// From the opener to the server, after what was sent before.
    pub(crate) fn send(&mut self, id: StreamId, item: Item) {
        let Some(server) = self.streams.get(&id).map(|stream| stream.server) else { return };
        if self.breaks(id) {
            return;
        }
        let arrives = self.now().monotonic + self.delay();
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.up = (stream.up + Duration::from_nanos(1)).max(arrives);
        let at = stream.up;
        self.at(at, Event::Streamed { to: Who::Server(server), stream: id, item });
    }

    /// From the server to the opener; the stream ends with it.
    pub(crate) fn reply(&mut self, id: StreamId, answer: Result<SealedChunk, &'static str>) {
        if self.breaks(id) {
            return;
        }
        let delay = self.delay();
        let Some(stream) = self.streams.remove(&id) else { return };
        let at = stream.down.max(self.now().monotonic + delay);
        let item = Item::Sealed(answer);
        self.at(at, Event::Streamed { to: stream.opener, stream: id, item });
    }

    fn breaks(&mut self, id: StreamId) -> bool {
        let Some(stream) = self.streams.get(&id) else { return true };
        let ends = (stream.opener, Who::Server(stream.server));
        let broken = self.parted.contains(&ends) || self.random.chance(self.weather.broken);
        if broken {
            self.break_off(id);
        }
        broken
    }

    /// Both ends learn that the connection is gone, after what is on its way.
    pub(crate) fn break_off(&mut self, id: StreamId) {
        let Some(Stream { opener, server, up, down }) = self.streams.remove(&id) else { return };
        for (to, last) in [(Who::Server(server), up), (opener, down)] {
            let delay = self.random.millis(1..1500);
            let at = (last + Duration::from_nanos(1)).max(self.now().monotonic + delay);
            self.at(at, Event::Streamed { to, stream: id, item: Item::Broken });
        }
    }

    /// The process is gone, and with it all its connections.
    pub(crate) fn break_all(&mut self, who: Who) {
        let its = |stream: &Stream| stream.opener == who || Who::Server(stream.server) == who;
        let ids: Vec<StreamId> =
            self.streams.iter().filter(|(_, it)| its(it)).map(|(id, _)| *id).collect();
        for id in ids {
            self.break_off(id);
        }
    }
}

/// Units as they go: a block in one item.
pub(crate) fn pieces(content: &[Unit]) -> impl Iterator<Item = Content> {
    content.chunks(BLOCK_UNITS).map(<[Unit]>::to_vec)
}
