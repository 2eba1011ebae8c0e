//! What must hold whatever happens, each invariant in its own file. The world tells [`Watch`]
//! everything that can be seen from outside, and what the disks really hold; it keeps the first
//! violation.

mod acknowledged;
mod bounds;
mod content;
mod fencing;
mod fold;
mod last_copy;
mod liveness;
mod logs;
mod publish;
mod same_answer;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use chunkstore_core::master::{Durable, Record, Reply};
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::{ChunkId, FileId};
use ids::{ClientId, Epoch};

use crate::Violation;
use crate::store::content::Content;
use crate::store::model::{Model, Requests, StampKey};

pub(crate) use fencing::Sent;
pub(crate) use logs::LogBook;

/// The omniscient observer.
#[derive(Default)]
pub(crate) struct Watch {
    violation: Option<Violation>,
    pub(crate) requests: Requests,
    /// The state after all records; `on_disk` is the state after those that are on disk.
    pub(crate) model: Model,
    on_disk: Model,
    n_on_disk: usize,
    /// The fold of all records.
    fold: Durable,
    journaled: BTreeSet<StampKey>,
    /// Requests that were acknowledged, and have a record.
    acknowledged: BTreeSet<StampKey>,
    answers: BTreeMap<StampKey, Reply>,
    /// The whole content that each writer intends its file to have.
    pub(crate) intents: BTreeMap<(FileId, ClientId), Content>,
    /// The bytes of every chunk that was ever part of a file.
    pub(crate) truth: BTreeMap<ChunkId, Content>,
    /// Which servers have ever said, truthfully, that they have a chunk sealed at a length.
    sealed_on: BTreeMap<(ChunkId, u64), BTreeSet<usize>>,
    /// The last registration of each server in this term.
    present: BTreeMap<usize, (Epoch, u64)>,
    /// Replicas with the right bytes that servers have just removed on command.
    pub(crate) removed: Vec<(usize, ReplicaKey)>,
    pub(crate) logs: LogBook,
    /// The number of chunks that readers got.
    pub(crate) n_reads: u64,
}

impl Watch {
    pub(crate) fn broken(&mut self, invariant: &'static str, what: String) {
        self.violation.get_or_insert(Violation { invariant, what });
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// The master's core has made a record.
    pub(crate) fn see_record(&mut self, record: &Record) {
        self.check_publish(record);
        self.check_once(record);
        self.learn_content(record);
        self.learn_log_chunk(record);
        if let Err(odd) = self.model.apply(record, &self.requests) {
            self.broken("tree", odd.0);
        }
        self.fold.apply(record);
        self.journaled.extend(record.stamp().map(crate::store::model::key));
    }

    /// The journal is on disk up to the record `upto`.
    pub(crate) fn see_sync(&mut self, journal: &[Record], upto: usize) {
        for record in &journal[self.n_on_disk.min(upto)..upto] {
            // Anything odd was reported when the record was made.
            let _ = self.on_disk.apply(record, &self.requests);
        }
        self.n_on_disk = self.n_on_disk.max(upto);
    }

    /// The master's process is gone; the next one will find this journal.
    pub(crate) fn see_master_crash(&mut self, journal: &[Record]) {
        self.check_acknowledged(journal);
        self.see_sync(journal, journal.len());
        self.n_on_disk = journal.len();
        self.model = self.on_disk.clone();
        self.fold = Durable::default();
        for record in journal {
            self.fold.apply(record);
        }
        self.journaled =
            journal.iter().filter_map(Record::stamp).map(crate::store::model::key).collect();
        // Decisions that are lost had been told to nobody; otherwise `acknowledged` reports it.
        self.answers.retain(|stamp, _| self.journaled.contains(stamp));
        self.present.clear();
    }
}
