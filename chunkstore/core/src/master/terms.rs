//! Terms: each start of the master begins one, with an epoch and a random number. The journal has
//! the latest terms, and chunkservers persist the last one in which changes were accepted. A master
//! whose journal is an older copy of the cluster's gives out epochs and chunk ids for a second
//! time; but it does not know the terms and chunks that the servers report. Once it has noticed, it
//! answers reads and changes nothing: no mutation, no command to a server. Servers are told the
//! term only when safe mode is over, so that an outdated master's term never counts against the
//! right one.
//!
//! The terms are journaled, not only held in memory: the second start over an old copy has a higher
//! epoch than the servers know, and is noticed all the same.
//!
//! With the term, servers now and then persist the number of the last record. So a journal is also
//! noticed that knows the term but lacks what came after it, for instance because its newest
//! segment was lost.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use chunkstore_protocol::{ChunkId, Term};
use ids::{Epoch, HostName, Now};
use serde::{Deserialize, Serialize};

use super::durable::Durable;
use super::error::FsError;
use super::record::Record;
use super::safe_mode::SafeMode;
use super::{Effect, Master, Notice, Output};

/// Terms that are kept. Nothing is concluded from a server that was away for longer.
const TERMS_MAX: usize = 1000;
/// How many epochs and ids the acceptance of an old journal skips: more than any lost history used.
const EPOCHS_LEFT_OUT: u64 = 1 << 20;
const IDS_LEFT_OUT: u64 = 1 << 32;

/// The chunk ids of each start begin elsewhere, depending on its epoch and a part of its random
/// number. So a journal that was restored from a copy, even one of the same epoch, gives out no id
/// twice. Otherwise a server that comes back late could hold other bytes under the id of a new
/// chunk.
const START_SHIFT: u32 = 20;
const START_MASK: u64 = 0xfff;

fn ids_of(epoch: Epoch) -> u64 {
    epoch.0.saturating_mul(IDS_LEFT_OUT).min(u64::MAX / 2)
}

/// How a process begins to serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The random number of its term; not 0.
    pub term_id: u64,
    /// Whether the journal is accepted although it may be older than the cluster: then ids and
    /// epochs skip all that may have been given out since, and what servers hold of that time is
    /// orphaned.
    pub accept_old_journal: bool,
    /// The number of the journal's last record.
    pub last_record: u64,
}

/// The latest terms that the journal knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms(BTreeMap<Epoch, u64>);

impl Terms {
    /// A term begins. Records without a random number come from before there was one, and are not
    /// kept.
    pub(crate) fn begin(&mut self, Term { epoch, id }: Term) {
        if id != 0 {
            self.0.insert(epoch, id);
        }
        while self.0.len() > TERMS_MAX {
            self.0.pop_first();
        }
    }

    /// Forgets everything before.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    fn last(&self) -> Option<Term> {
        self.0.last_key_value().map(|(&epoch, &id)| Term { epoch, id })
    }

    fn knows(&self, term: Term) -> bool {
        self.0.get(&term.epoch) == Some(&term.id)
    }

    /// Whether the term belongs to this journal, or is too old to tell.
    fn may_know(&self, term: Term) -> bool {
        let is_older = self.0.first_key_value().is_some_and(|(first, _)| term.epoch < *first);
        is_older || self.knows(term)
    }
}

/// The number of the last record before each of the latest starts, as far as known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Starts(BTreeMap<Epoch, u64>);

impl Starts {
    /// A term begins.
    pub(crate) fn begin(&mut self, epoch: Epoch, after: u64) {
        if after != 0 {
            self.0.insert(epoch, after);
        }
        while self.0.len() > TERMS_MAX {
            self.0.pop_first();
        }
    }

    /// Forgets everything before.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    /// The last record of the term with this epoch, or of a later term; `None` while it goes on.
    fn last_of(&self, epoch: Epoch) -> Option<u64> {
        let after = (Bound::Excluded(epoch), Bound::Unbounded);
        self.0.range(after).next().map(|(_, &last)| last)
    }
}

/// How it was noticed that the journal is older than the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    /// The server that reported it.
    pub host: HostName,
    /// What it reported.
    pub by: OutdatedBy,
}

/// See [`Outdated`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutdatedBy {
    /// It was in a term that the journal does not know.
    Term(Term),
    /// It was told of a record of the same journal that the journal lacks.
    Record {
        /// The record's number.
        told: u64,
        /// The last record that the journal has of that term.
        last: u64,
    },
    /// It holds a chunk that the journal never gave out.
    Chunk {
        /// The chunk.
        chunk: ChunkId,
        /// The first id that the journal has not given out.
        next: ChunkId,
    },
}

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, by } = self;
        write!(f, "the chunk master's journal is older than the cluster: chunkserver {host} ")?;
        match by {
            OutdatedBy::Term(Term { epoch, .. }) => {
                write!(f, "has served under a start of epoch {epoch} that is not in it")?;
            }
            OutdatedBy::Record { told, last } => {
                write!(
                    f,
                    "was told of its record {told}, and it went on after record {last}: its newest segment was lost"
                )?;
            }
            OutdatedBy::Chunk { chunk, next } => {
                write!(f, "holds chunk {chunk}, and it gave out none from {next} on")?;
            }
        }
        write!(
            f,
            ". Files can be read, and nothing changes. Stop the chunk master, bring the newer journal back \
             (chunkmaster.data_dir, journal_mirror), and start it again; if that is lost for good, start the chunk \
             master once with --accept-old-journal, which gives up what only the newer one knew"
        )
    }
}

impl Master {
    pub(super) fn start(&mut self, now: Now, start: Start, out: &mut Output) {
        self.last_record = start.last_record;
        if start.accept_old_journal {
            let accepted = self.durable.accepted_as_it_is();
            self.commit(now, accepted, out);
        }
        let (epoch, id) = (self.durable.epoch().next(), start.term_id);
        let first_chunk = self.durable.first_chunk(Term { epoch, id });
        let after = self.last_record;
        self.commit(now, Record::Started { epoch, id, first_chunk, after }, out);
        self.started = now.monotonic;
        let known = self.durable.known().hosts();
        self.safe_mode = SafeMode::begin(known, now.monotonic + self.settings.dead_after);
        let until = now.monotonic + self.settings.lease;
        for file in self.durable.open_files() {
            self.leases.set(file, until);
        }
        out.effects.push(Effect::Tell(Notice::Started { cluster: self.cluster.clone(), epoch }));
    }

    /// The term's random number, for servers to persist; `None` while the journal may not be the
    /// newest.
    pub(super) fn term_to_keep(&self) -> Option<u64> {
        let term = self.durable.terms().last().filter(|term| term.epoch == self.durable.epoch());
        term.filter(|_| !self.in_safe_mode()).map(|term| term.id)
    }

    /// Compares the term that a server has persisted, and the record that it was told of then, with
    /// the journal. After the journal was accepted as it is, it knows neither of them any more.
    pub(super) fn compare_term(
        &mut self,
        host: &HostName,
        (term, told): (Option<Term>, u64),
        out: &mut Output,
    ) {
        let Some(term) = term else { return };
        let terms = self.durable.terms();
        let last = self.durable.starts().last_of(term.epoch).unwrap_or(self.last_record);
        if !terms.may_know(term) {
            self.is_outdated(host, OutdatedBy::Term(term), out);
        } else if terms.knows(term) && told > last {
            self.is_outdated(host, OutdatedBy::Record { told, last }, out);
        }
    }

    /// A server holds a chunk that was never given out.
    pub(super) fn found_foreign(&mut self, host: &HostName, chunk: ChunkId, out: &mut Output) {
        let gap = self.durable.gap_of(chunk);
        let next = gap.map_or(self.durable.next_chunk(), |gap| ChunkId(gap.start));
        self.is_outdated(host, OutdatedBy::Chunk { chunk, next }, out);
    }

    fn is_outdated(&mut self, host: &HostName, by: OutdatedBy, out: &mut Output) {
        if self.outdated.is_none() {
            let outdated = Outdated { host: host.clone(), by };
            out.effects.push(Effect::Tell(Notice::JournalOutdated(outdated.clone())));
            self.outdated = Some(outdated);
        }
    }

    pub(super) fn refuse_if_outdated(&self) -> Result<(), FsError> {
        self.outdated.clone().map_or(Ok(()), |outdated| Err(FsError::JournalOutdated(outdated)))
    }
}

impl Durable {
    /// The record that accepts this state, whatever was given out since.
    fn accepted_as_it_is(&self) -> Record {
        let beyond = |used: u64, left_out: u64| used.saturating_add(left_out);
        Record::OldJournalAccepted {
            epoch: Epoch(beyond(self.epoch().0, EPOCHS_LEFT_OUT)),
            next_file: beyond(self.next_file(0).0, IDS_LEFT_OUT),
            next_chunk: beyond(self.next_chunk().0, IDS_LEFT_OUT)
                .max(ids_of(Epoch(beyond(self.epoch().0, EPOCHS_LEFT_OUT)))),
        }
    }

    /// The first chunk id of a start; 0 at the very first, when the journal can have no other
    /// history.
    fn first_chunk(&self, Term { epoch, id }: Term) -> u64 {
        if epoch <= Epoch(1) {
            return 0;
        }
        let first = ids_of(epoch) + ((id & START_MASK) << START_SHIFT);
        if first > self.next_chunk().0 { first } else { self.next_chunk().0 + IDS_LEFT_OUT }
    }
}
