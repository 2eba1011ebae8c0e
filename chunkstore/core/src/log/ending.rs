//! How a log's chunk ends: what its servers have in common, from what each of them reports once it
//! takes no more.

use std::time::Duration;

use chunkstore_protocol::{Frozen, SealedChunk};
use ids::HostName;

/// How long the master is asked whether a chunk may begin.
pub const BEGIN_LIMIT: Duration = Duration::from_secs(5);
/// How long the master is told again how a chunk has ended, while it is unreachable.
pub const TELL_LIMIT: Duration = Duration::from_secs(10);
/// Attempts of a primary to settle its own chunk before it leaves that to the master.
pub const SETTLE_TRIES: u32 = 3;

/// Which of a chunk's servers are asked what they have, in the first try (0) and in later ones, and
/// how many are left out: servers that were silent a moment ago are not waited for in the first
/// try, as the others may know enough.
pub fn asked<S>(
    servers: &[S],
    is_silent: impl Fn(&S) -> bool,
    n_try: u32,
) -> (impl Iterator<Item = &S>, usize) {
    let is_asked = move |server: &&S| n_try > 0 || !is_silent(server);
    let n_left_out = servers.iter().filter(|server| !is_asked(server)).count();
    (servers.iter().filter(is_asked), n_left_out)
}

/// What a server has of a chunk that it has stopped writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// This many bytes, and its process has been running since the chunk was opened, so nothing is
    /// lost.
    Sound(u64),
    /// This many bytes, up to the end of a sound record and with nothing behind them, left by an
    /// earlier process. They are complete unless the file was cut exactly there.
    Found(u64),
    /// This many bytes, followed by something that is no record: a write that a crash cut short, or
    /// one that was acknowledged and is damaged. Nobody can tell which.
    Damaged(u64),
    /// This many bytes, sealed: they will not change.
    Sealed(u64),
}

impl From<Frozen> for Remains {
    fn from(Frozen { length, sealed, damaged, found }: Frozen) -> Self {
        match (sealed, damaged, found) {
            (true, ..) => Self::Sealed(length),
            (false, true, _) => Self::Damaged(length),
            (false, false, true) => Self::Found(length),
            (false, false, false) => Self::Sound(length),
        }
    }
}

impl Remains {
    fn length(self) -> u64 {
        match self {
            Self::Sound(length)
            | Self::Found(length)
            | Self::Damaged(length)
            | Self::Sealed(length) => length,
        }
    }
}

/// What becomes of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It is sealed.
    Seal {
        /// At this many bytes.
        length: u64,
        /// On these servers: the others have fewer, or different, bytes.
        on: Vec<HostName>,
    },
    /// It holds nothing that was acknowledged, so it is given up.
    Empty,
}

/// Decides what becomes of a chunk, from what its servers have; `n_silent` of them could not be
/// asked. `None`: undecidable until a silent server answers or is forgotten, or nobody has any of
/// it.
///
/// Everything acknowledged is on every server that has lost nothing ([`Remains::Sound`]), so the
/// shortest of those has it all. If no process remembers how much there was, the longest remainder
/// counts, damaged or not: what others lack of it may have been under way or be lost, and it is
/// sound. While servers are silent, that takes more whole files ([`Remains::Found`]) than silent
/// and damaged ones together, since a whole file may have been cut short unnoticed.
#[must_use]
pub fn agree(remains: &[(HostName, Remains)], n_silent: usize) -> Option<End> {
    let lengths = |which: fn(&Remains) -> bool| {
        remains.iter().filter(move |(_, is)| which(is)).map(|(_, is)| is.length())
    };
    let sealed = lengths(|is| matches!(is, Remains::Sealed(_))).max();
    let sound = || lengths(|is| matches!(is, Remains::Sound(_))).min();
    let n_found = lengths(|is| matches!(is, Remains::Found(_))).count();
    let is_enough = n_silent == 0 || n_found > n_silent + (remains.len() - n_found);
    let longest = || lengths(|_| true).max().filter(|_| is_enough);
    let length = sealed.or_else(sound).or_else(longest)?;
    match length {
        0 => Some(End::Empty),
        _ => Some(End::Seal { length, on: able(remains, length) }),
    }
}

/// Like [`agree`], for servers that missed the seal of their chunk at `length`. `None`: none of
/// them can have those bytes.
#[must_use]
pub fn catch_up(remains: &[(HostName, Remains)], length: u64) -> Option<End> {
    let on = able(remains, length);
    (!on.is_empty()).then_some(End::Seal { length, on })
}

/// Servers that may have the chunk's first `length` bytes.
fn able(remains: &[(HostName, Remains)], length: u64) -> Vec<HostName> {
    let can_have = |is: &Remains| match is {
        Remains::Sealed(held) => *held == length,
        Remains::Sound(held) | Remains::Found(held) | Remains::Damaged(held) => *held >= length,
    };
    remains.iter().filter(|(_, is)| can_have(is)).map(|(host, _)| host.clone()).collect()
}

/// How a chunk was sealed, according to the servers that were asked to seal it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealedAs {
    /// The chunk and the servers that sealed it with these bytes; `None` until the first has.
    pub chunk: Option<SealedChunk>,
    /// Servers that sealed other bytes; their replicas do not count.
    pub differing: Vec<HostName>,
}

impl SealedAs {
    /// A server has sealed it.
    pub fn handle_sealed(&mut self, host: HostName, sealed: &SealedChunk) {
        match &mut self.chunk {
            None => self.chunk = Some(SealedChunk { servers: vec![host], ..sealed.clone() }),
            Some(chunk) if chunk.checksum == sealed.checksum => chunk.servers.push(host),
            Some(_) => self.differing.push(host),
        }
    }
}
