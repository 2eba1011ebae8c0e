//! The basis of all processes: time, the next events, random choices, the network, and the trace.
//! Events happen in the order of their times; events at the same time happen in random order.

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

/// One attempt of a call; its answer has the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallId(pub(crate) u64);

/// A stream of bytes to a server, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId(pub(crate) u64);

/// A request.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Mutate(Mutation),
    Query(Query),
    Log(LogRequest),
    Register(RegisterServer),
    Heartbeat(ServerHeartbeat),
    /// To a chunkserver: send this replica.
    Read(ReplicaKey),
    /// To a chunkserver: send the sound blocks of this replica, even if it is broken.
    ReadBlocks(ReplicaKey),
    /// To a chunkserver: add nothing more to this replica, and say how long it is.
    Freeze(ReplicaKey),
    /// To a chunkserver: seal the replica at this many bytes.
    Seal(ReplicaKey, u64),
    /// To the first server of a log's chunk: append these records here and on these servers.
    AppendRecords {
        replica: ReplicaKey,
        followers: Vec<usize>,
        batch: Batch,
        frames: Content,
    },
    /// To another server of a log's chunk: these records follow, at this many bytes; without any,
    /// create the replica.
    Follow {
        replica: ReplicaKey,
        offset: u64,
        frames: Content,
    },
    /// To the first server: send what is acknowledged from this many bytes on.
    ReadRecords {
        replica: ReplicaKey,
        offset: u64,
    },
    /// To the master's edge: the connection is gone on which a client kept the leases of these
    /// files.
    Gone(ClientId, Vec<FileId>),
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Master(Box<Result<Reply, Refusal>>),
    Bytes(Result<Content, &'static str>),
    /// Each block, if it is sound.
    Blocks(Vec<Option<Content>>),
    Frozen(Result<Frozen, &'static str>),
    Appended(Result<(), LogFault>),
    /// This many bytes are synced.
    Followed(Result<u64, LogFault>),
    Sealed(Result<SealedChunk, &'static str>),
}

/// Why a server does not take records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFault {
    /// The chunk has ended here, or it has never been here.
    Ended,
    /// The writer's sequence numbers go back.
    OutOfOrder,
    /// The disk failed, or the bytes do not continue what is there.
    Failed,
}

/// What goes through a stream; `Sealed` goes in the other direction, and `Broken` to both ends.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// Write this replica, and have these servers after this one write it too.
    Put {
        replica: ReplicaKey,
        downstream: Vec<usize>,
        passed_on: bool,
        is_copy: bool,
    },
    Data(Content),
    /// That was everything; its checksum.
    End(u32),
    /// The outcome.
    Sealed(Result<SealedChunk, &'static str>),
    /// The connection is gone.
    Broken,
}

/// What a process is woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Its core's time-out.
    Core,
    /// The journal is on disk up to this record.
    Synced(usize),
    /// The replica of an upload is on disk under its name.
    Sealed(StreamId),
    /// A stream has not been answered in time.
    Patience(StreamId),
    /// A cut replica is on disk under its name; by the number of its sealing.
    CutSealed(u64),
    /// Something of a log's, by its number.
    Log(u64),
    /// A replica that was assembled from blocks is on disk under its name; by its number.
    Assembled(u64),
    /// A removal is due, by its number.
    Removed(u64),
    /// The cluster's id is on disk.
    ClusterKept,
    /// The chunk master's term is on disk.
    TermKept(KeptTerm),
    /// The next replica is to be read, though no reader asked for it.
    Scrub,
    /// The next step of a client's task, by its number.
    Step(u64),
    /// A lease is due to be renewed.
    Renew,
}

/// What happens at one time.
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
    /// A call was not answered.
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
    /// The process that the event is for: the event waits while that process is paused.
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
    /// When the last item in each direction arrives: later ones arrive after it.
    up: Monotonic,
    down: Monotonic,
}

/// The basis of all processes in the world.
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

    /// Adds a line to the trace.
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

    /// Takes the next event and advances the clock to it.
    pub(crate) fn next(&mut self) -> Option<Event> {
        self.timeline.next()
    }

    /// Postpones an event; those that are postponed to the same time keep their order.
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

    /// Sends a request to `to`. For the caller only the first [`Event::Answered`] or
    /// [`Event::CallFailed`] counts; it does not say whether the request was carried out.
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

    /// Nobody listens there: the call fails.
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

    /// Sends an item from the opener to the server, after those sent before.
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

    /// Sends the answer from the server to the opener, which ends the stream.
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

    /// Both ends learn that the connection is gone, after what is still on its way.
    pub(crate) fn break_off(&mut self, id: StreamId) {
        let Some(Stream { opener, server, up, down }) = self.streams.remove(&id) else { return };
        for (to, last) in [(Who::Server(server), up), (opener, down)] {
            let delay = self.random.millis(1..1500);
            let at = (last + Duration::from_nanos(1)).max(self.now().monotonic + delay);
            self.at(at, Event::Streamed { to, stream: id, item: Item::Broken });
        }
    }

    /// The process is gone, and all its connections with it.
    pub(crate) fn break_all(&mut self, who: Who) {
        let its = |stream: &Stream| stream.opener == who || Who::Server(stream.server) == who;
        let ids: Vec<StreamId> =
            self.streams.iter().filter(|(_, it)| its(it)).map(|(id, _)| *id).collect();
        for id in ids {
            self.break_off(id);
        }
    }
}

/// Units as they are sent: one block in each item.
pub(crate) fn pieces(content: &[Unit]) -> impl Iterator<Item = Content> {
    content.chunks(BLOCK_UNITS).map(<[Unit]>::to_vec)
}
