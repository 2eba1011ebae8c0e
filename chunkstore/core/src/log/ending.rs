//! How a log's chunk ends: what its servers have in common, by what each of them says once it takes no more.

use ids::HostName;

/// What a server has of a chunk, of which it takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// So many bytes, up to the end of a sound record.
    Sound(u64),
    /// So many bytes, and behind them something that is none, and sound records again: more was here once.
    Damaged(u64),
    /// So many bytes, sealed: they stay as they are.
    Sealed(u64),
}

impl Remains {
    fn length(self) -> u64 {
        match self {
            Self::Sound(length) | Self::Damaged(length) | Self::Sealed(length) => length,
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

/// What becomes of a chunk of which those servers that could be asked have so much; `None` if none of them has
/// anything of it any more, so that nobody knows.
///
/// All that was acknowledged is on every server that has lost nothing, so that the shortest of those has it. One that
/// has lost something says so ([`Remains::Damaged`]), and counts only if there is no other.
#[must_use]
pub fn agree(remains: &[(HostName, Remains)]) -> Option<End> {
    let lengths = |which: fn(&Remains) -> bool| {
        remains.iter().filter(move |(_, is)| which(is)).map(|(_, is)| is.length())
    };
    let sealed = lengths(|is| matches!(is, Remains::Sealed(_))).max();
    let sound = || lengths(|is| matches!(is, Remains::Sound(_))).min();
    let damaged = || lengths(|is| matches!(is, Remains::Damaged(_))).max();
    let length = sealed.or_else(sound).or_else(damaged)?;
    if length == 0 {
        return Some(End::Empty);
    }
    let can_have = |is: &Remains| match is {
        Remains::Sealed(held) => *held == length,
        Remains::Sound(held) | Remains::Damaged(held) => *held >= length,
    };
    let on = remains.iter().filter(|(_, is)| can_have(is)).map(|(host, _)| host.clone()).collect();
    Some(End::Seal { length, on })
}
