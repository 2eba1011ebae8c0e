//! The states of one server's replicas and the transitions between them. Reporting them to the
//! master is `link`'s business; only `replica::Replicas` calls this.

use std::collections::BTreeMap;

use chunkstore_protocol::block::BLOCK_BYTES;
use chunkstore_protocol::{Frozen, ReplicaEvent, Version};

use super::{FreezeAnswer, OpenAnswer, ReplicaKey, SealAnswer, Sealed};

/// Replicas of open log chunks that one server may have at once.
pub(super) const LOGS_MAX: usize = 4096;

/// State of one replica; one that is not in the map is not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Being uploaded; or its upload broke off, and it is being sealed.
    Open,
    /// Its upload broke off: this many verified bytes are there, and no more are taken.
    Cut { length: u64 },
    /// A log's: it takes records.
    Log,
    /// A log's: it takes no more records.
    EndedLog(Ended),
    /// A log's: it takes no more records, and is being sealed.
    SealingLog(Ended),
    /// Being uploaded although the master has given it up: removed as soon as the upload ends.
    Doomed,
    /// Complete, synced and under its final name; it never changes again.
    Sealed(Sealed),
    /// Its file is being removed.
    Deleting,
}

/// What is left of a log's replica that takes no more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Bytes up to the end of the last sound record.
    pub length: u64,
    /// Whether bytes follow that are no record: acknowledged records may be among them.
    pub damaged: bool,
    /// Whether an earlier process left it, so that this one does not know how much there was.
    pub found: bool,
}

/// What became of a sealed upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    /// It is held; this event goes to the master.
    Kept(ReplicaEvent),
    /// The master gave it up meanwhile: its file must be removed.
    Doomed,
    /// No such upload was under way.
    Unknown,
}

/// What became of an upload that broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CutOff {
    /// It is kept so that it can be sealed.
    Kept,
    /// The master gave it up meanwhile, or too many are kept: its file must be removed.
    Dropped,
    /// No such upload was under way.
    Unknown,
}

/// The answer to a freeze request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freeze {
    /// The answer is known.
    Now(FreezeAnswer),
    /// It will be known when the upload has ended.
    WhenEnded,
}

/// What is to be done with the file of a replica that must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doom {
    /// There is a file to remove.
    Remove,
    /// Nothing to do now: it is not held, or is removed when its upload ends.
    Nothing,
}

/// All replicas of one server.
#[derive(Debug)]
pub(super) struct Held {
    states: BTreeMap<ReplicaKey, State>,
    count: Count,
    uploads_max: usize,
}

/// How many replicas there are in each state, and how large.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub(super) n_open: usize,
    pub(super) n_cut: usize,
    pub(super) n_logs: usize,
    pub(super) n_sealed: u64,
    pub(super) sealed_bytes: u64,
}

impl Held {
    pub(super) fn new(
        uploads_max: usize,
        sealed: impl IntoIterator<Item = (ReplicaKey, Sealed)>,
    ) -> Self {
        let mut held = Self { states: BTreeMap::new(), count: Count::default(), uploads_max };
        for (replica, sealed) in sealed {
            held.set(replica, Some(State::Sealed(sealed)));
        }
        held
    }

    /// Adds a log's replica that an earlier process left.
    pub(super) fn find_log(&mut self, replica: ReplicaKey, ended: Ended) {
        if !self.states.contains_key(&replica) {
            self.set(replica, Some(State::EndedLog(ended)));
        }
    }

    /// A log's replica is to take records.
    pub(super) fn open_log(&mut self, replica: ReplicaKey) -> OpenAnswer {
        match self.states.get(&replica) {
            Some(State::Sealed(sealed)) => OpenAnswer::AlreadySealed(*sealed),
            Some(_) => OpenAnswer::Busy,
            None if self.count.n_logs >= LOGS_MAX => OpenAnswer::TooMany { uploads_max: LOGS_MAX },
            None => {
                self.set(replica, Some(State::Log));
                OpenAnswer::Write
            }
        }
    }

    /// A log's replica takes no more records, or sealing it failed.
    pub(super) fn end_log(&mut self, replica: ReplicaKey, ended: Ended) -> CutOff {
        match self.states.get(&replica) {
            Some(State::Log | State::SealingLog(_)) => {
                self.set(replica, Some(State::EndedLog(ended)));
                CutOff::Kept
            }
            Some(State::Doomed) => {
                self.set(replica, Some(State::Deleting));
                CutOff::Dropped
            }
            Some(
                State::Open
                | State::EndedLog(_)
                | State::Cut { .. }
                | State::Sealed(_)
                | State::Deleting,
            )
            | None => CutOff::Unknown,
        }
    }

    /// What the master is told of a log's replica that is held.
    pub(super) fn log_event(&self, replica: ReplicaKey) -> Option<ReplicaEvent> {
        let ReplicaKey { chunk, version } = replica;
        let ended = match self.states.get(&replica)? {
            State::Log => false,
            State::EndedLog(_) | State::SealingLog(_) => true,
            State::Open
            | State::Cut { .. }
            | State::Doomed
            | State::Sealed(_)
            | State::Deleting => {
                return None;
            }
        };
        Some(ReplicaEvent::LogHeld { chunk, version, ended })
    }

    pub(super) fn open(&mut self, replica: ReplicaKey) -> OpenAnswer {
        match self.states.get(&replica) {
            Some(State::Sealed(sealed)) => return OpenAnswer::AlreadySealed(*sealed),
            Some(_) => return OpenAnswer::Busy,
            None => {}
        }
        if let Some(held) = self.newest_sealed(replica).filter(|held| *held > replica.version) {
            return OpenAnswer::Stale { held };
        }
        if self.count.n_open >= self.uploads_max {
            return OpenAnswer::TooMany { uploads_max: self.uploads_max };
        }
        self.set(replica, Some(State::Open));
        OpenAnswer::Write
    }

    pub(super) fn seal(&mut self, replica: ReplicaKey, sealed: Sealed) -> Seal {
        match self.states.get(&replica) {
            Some(State::Open | State::SealingLog(_)) => {
                self.set(replica, Some(State::Sealed(sealed)));
                Seal::Kept(held_event(replica, sealed))
            }
            Some(State::Doomed) => {
                self.set(replica, Some(State::Deleting));
                Seal::Doomed
            }
            Some(
                State::Log
                | State::EndedLog(_)
                | State::Cut { .. }
                | State::Sealed(_)
                | State::Deleting,
            )
            | None => Seal::Unknown,
        }
    }

    /// An upload broke off after `length` verified bytes, at least one.
    pub(super) fn cut(&mut self, replica: ReplicaKey, length: u64) -> CutOff {
        match self.states.get(&replica) {
            Some(State::Open) if self.count.n_cut < self.uploads_max => {
                self.set(replica, Some(State::Cut { length }));
                CutOff::Kept
            }
            Some(State::Open | State::Doomed) => {
                self.set(replica, Some(State::Deleting));
                CutOff::Dropped
            }
            Some(
                State::Log
                | State::EndedLog(_)
                | State::SealingLog(_)
                | State::Cut { .. }
                | State::Sealed(_)
                | State::Deleting,
            )
            | None => CutOff::Unknown,
        }
    }

    /// What there is of the replica, provided that nothing is added to it any more.
    pub(super) fn freeze(&self, replica: ReplicaKey) -> Freeze {
        Freeze::Now(match self.states.get(&replica) {
            Some(State::Open | State::Log | State::SealingLog(_)) => return Freeze::WhenEnded,
            Some(State::Cut { length }) => frozen(*length),
            Some(State::EndedLog(Ended { length, damaged, found })) => {
                let (length, damaged, found) = (*length, *damaged, *found);
                FreezeAnswer::Frozen(Frozen { length, sealed: false, damaged, found })
            }
            Some(State::Sealed(Sealed { length, .. })) => {
                let (length, damaged, found) = (*length, false, false);
                FreezeAnswer::Frozen(Frozen { length, sealed: true, damaged, found })
            }
            Some(State::Doomed | State::Deleting) | None => FreezeAnswer::Unknown,
        })
    }

    /// A replica whose upload broke off is to be sealed at `length`, the end of one of its blocks.
    pub(super) fn seal_cut(&mut self, replica: ReplicaKey, length: u64) -> SealAnswer {
        match self.states.get(&replica).copied() {
            Some(State::Sealed(sealed)) if sealed.length == length => {
                SealAnswer::AlreadySealed(sealed)
            }
            Some(State::Cut { length: held }) if ends_block(length, held) => {
                self.set(replica, Some(State::Open));
                SealAnswer::Seal
            }
            // Whether a record ends there is only known once its bytes are read.
            Some(State::EndedLog(ended)) if (1..=ended.length).contains(&length) => {
                self.set(replica, Some(State::SealingLog(ended)));
                SealAnswer::SealLog
            }
            Some(State::EndedLog(Ended { length: held, .. })) => SealAnswer::Differs { held },
            Some(State::Cut { length: held }) => SealAnswer::Differs { held },
            Some(State::Sealed(sealed)) => SealAnswer::Differs { held: sealed.length },
            Some(State::SealingLog(_)) => SealAnswer::Sealing,
            Some(State::Open | State::Log) => SealAnswer::Open,
            Some(State::Doomed | State::Deleting) | None => SealAnswer::Unknown,
        }
    }

    /// Whether the replica's upload broke off and nobody has sealed it: then its file must be
    /// removed.
    pub(super) fn expire(&mut self, replica: ReplicaKey) -> bool {
        let is_cut = matches!(self.states.get(&replica), Some(State::Cut { .. }));
        if is_cut {
            self.set(replica, Some(State::Deleting));
        }
        is_cut
    }

    pub(super) fn abort(&mut self, replica: ReplicaKey) {
        match self.states.get(&replica) {
            Some(State::Open | State::Log | State::Doomed) => {
                self.set(replica, None);
            }
            Some(
                State::EndedLog(_)
                | State::SealingLog(_)
                | State::Cut { .. }
                | State::Sealed(_)
                | State::Deleting,
            )
            | None => {}
        }
    }

    /// The event for the master, if this replica counted as held until now.
    pub(super) fn lose(&mut self, replica: ReplicaKey) -> Option<ReplicaEvent> {
        match self.states.get(&replica) {
            Some(State::Sealed(_) | State::Log | State::EndedLog(_) | State::SealingLog(_)) => {
                self.set(replica, None);
                Some(lost_event(replica))
            }
            Some(State::Open | State::Cut { .. } | State::Doomed | State::Deleting) | None => None,
        }
    }

    /// The master wants this replica removed.
    pub(super) fn doom(&mut self, replica: ReplicaKey) -> Doom {
        match self.states.get(&replica) {
            // `Deleting`: by a command of an earlier registration. Removing it twice does no harm.
            Some(
                State::Log
                | State::EndedLog(_)
                | State::Cut { .. }
                | State::Sealed(_)
                | State::Deleting,
            ) => {
                self.set(replica, Some(State::Deleting));
                Doom::Remove
            }
            Some(State::Open | State::SealingLog(_) | State::Doomed) => {
                self.set(replica, Some(State::Doomed));
                Doom::Nothing
            }
            None => Doom::Nothing,
        }
    }

    pub(super) fn deleted(&mut self, replica: ReplicaKey) -> Option<ReplicaEvent> {
        match self.states.get(&replica) {
            Some(State::Deleting) => {
                self.set(replica, None);
                Some(lost_event(replica))
            }
            // It was removed twice, and uploaded again in between.
            Some(_) | None => None,
        }
    }

    pub(super) fn sealed(&self, replica: ReplicaKey) -> Option<Sealed> {
        match self.states.get(&replica) {
            Some(State::Sealed(sealed)) => Some(*sealed),
            Some(_) | None => None,
        }
    }

    /// Everything held, in the form of the chunk report.
    pub(super) fn report(&self) -> impl Iterator<Item = ReplicaEvent> {
        self.states.iter().filter_map(|(key, state)| match state {
            State::Sealed(sealed) => Some(held_event(*key, *sealed)),
            _ => self.log_event(*key),
        })
    }

    pub(super) fn count(&self) -> Count {
        self.count
    }

    /// The only place that changes a state, so that the counts stay right.
    fn set(&mut self, replica: ReplicaKey, state: Option<State>) {
        let old = match state {
            Some(state) => self.states.insert(replica, state),
            None => self.states.remove(&replica),
        };
        match old {
            Some(State::Open | State::Doomed) => self.count.n_open -= 1,
            Some(State::Cut { .. }) => self.count.n_cut -= 1,
            Some(State::Log | State::EndedLog(_) | State::SealingLog(_)) => self.count.n_logs -= 1,
            Some(State::Sealed(sealed)) => {
                self.count.n_sealed -= 1;
                self.count.sealed_bytes -= sealed.length;
            }
            Some(State::Deleting) | None => {}
        }
        match state {
            Some(State::Open | State::Doomed) => self.count.n_open += 1,
            Some(State::Cut { .. }) => self.count.n_cut += 1,
            Some(State::Log | State::EndedLog(_) | State::SealingLog(_)) => self.count.n_logs += 1,
            Some(State::Sealed(sealed)) => {
                self.count.n_sealed += 1;
                self.count.sealed_bytes += sealed.length;
            }
            Some(State::Deleting) | None => {}
        }
    }

    fn newest_sealed(&self, replica: ReplicaKey) -> Option<Version> {
        let versions = ReplicaKey { version: Version(0), ..replica }..=ReplicaKey {
            version: Version(u32::MAX),
            ..replica
        };
        let sealed =
            self.states.range(versions).filter(|(_, state)| matches!(state, State::Sealed(_)));
        sealed.map(|(key, _)| key.version).next_back()
    }
}

fn frozen(length: u64) -> FreezeAnswer {
    FreezeAnswer::Frozen(Frozen { length, sealed: false, damaged: false, found: false })
}

/// Whether a chunk with `held` bytes can end at `length`: all blocks but the last must be whole.
fn ends_block(length: u64, held: u64) -> bool {
    length > 0 && (length == held || (length < held && length.is_multiple_of(BLOCK_BYTES as u64)))
}

pub(super) fn lost_event(replica: ReplicaKey) -> ReplicaEvent {
    ReplicaEvent::Lost { chunk: replica.chunk, version: replica.version }
}

fn held_event(replica: ReplicaKey, sealed: Sealed) -> ReplicaEvent {
    let ReplicaKey { chunk, version } = replica;
    ReplicaEvent::Held { chunk, version, length: sealed.length, checksum: sealed.checksum }
}
