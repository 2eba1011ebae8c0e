//! How a log's chunk ends: what its servers have in common, by what each of them says once it takes no more.

use std::time::Duration;

use chunkstore_protocol::{Frozen, SealedChunk};
use ids::HostName;

/// How long the master is asked whether a chunk may begin.
pub const BEGIN_LIMIT: Duration = Duration::from_secs(5);
/// How long the master is told again how one has ended, while it is away.
pub const TELL_LIMIT: Duration = Duration::from_secs(10);
/// Tries of a primary to settle its own chunk, before it leaves that to the master.
pub const SETTLE_TRIES: u32 = 3;

/// Which of a chunk's servers are asked what they have, the first time (0) and again, and how many are not: those that were
/// silent just now are not waited for again, if the others know enough.
pub fn asked<S>(
    servers: &[S],
    is_silent: impl Fn(&S) -> bool,
    n_try: u32,
) -> (impl Iterator<Item = &S>, usize) {
    let is_asked = move |server: &&S| n_try > 0 || !is_silent(server);
    let n_left_out = servers.iter().filter(|server| !is_asked(server)).count();
    (servers.iter().filter(is_asked), n_left_out)
}

/// What a server has of a chunk, of which it takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// So many bytes, and its process has seen all that was ever here.
    Sound(u64),
    /// So many bytes, up to the end of a sound record, and nothing behind, as the last process left them: unless the file
    /// was cut there, whatever was here is here.
    Found(u64),
    /// So many bytes, and behind them something that is no record: a write that a crash cut short, or one that was
    /// acknowledged and is damaged. Nobody can tell which.
    Damaged(u64),
    /// So many bytes, sealed: they stay as they are.
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
        /// At so many bytes.
        length: u64,
        /// On these servers: the others have less, or other bytes.
        on: Vec<HostName>,
    },
    /// Somebody has nothing of it, so that nothing was acknowledged: it is given up.
    Empty,
}

/// What becomes of a chunk of which these servers have so much, and of which `n_silent` could not be asked. `None`: that
/// can't be known before one of those answers, or is forgotten; or nobody has anything of it any more.
///
/// All that was acknowledged is on every server that has lost nothing ([`Remains::Sound`]), so that the shortest of those
/// has it. Where no process remembers how much there was, the longest of what is left counts, whole or not: what one lacks that
/// another one has may have been under way, or be lost, and it is sound. While servers are silent that takes more whole files
/// ([`Remains::Found`]) than there are silent and damaged ones: of some it can't be told that they were cut short.
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

/// The same of a chunk that was sealed at `length` without these servers. `None`: none of them can have it.
#[must_use]
pub fn catch_up(remains: &[(HostName, Remains)], length: u64) -> Option<End> {
    let on = able(remains, length);
    (!on.is_empty()).then_some(End::Seal { length, on })
}

/// Who may have the chunk's first `length` bytes.
fn able(remains: &[(HostName, Remains)], length: u64) -> Vec<HostName> {
    let can_have = |is: &Remains| match is {
        Remains::Sealed(held) => *held == length,
        Remains::Sound(held) | Remains::Found(held) | Remains::Damaged(held) => *held >= length,
    };
    remains.iter().filter(|(_, is)| can_have(is)).map(|(host, _)| host.clone()).collect()
}

/// What a chunk was sealed as, by what those servers say that were asked to seal it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealedAs {
    /// The chunk, and who has it so; `None` while nobody has.
    pub chunk: Option<SealedChunk>,
    /// Who has sealed other bytes: they count for nothing.
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
