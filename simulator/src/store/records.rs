//! Records of logs as they lie in their chunks here: each record is a run of units of its own. Who
//! wrote a record and how many units it has is noted here, which takes the place of its header.

use chunkstore_core::log::Batch;
use chunkstore_protocol::WriterId;

use crate::store::content::{Content, Unit, fresh, length};

/// Numbers from this one on belong to records: no file has them.
const FIRST: u32 = 1 << 23;

/// A record, identified by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordId(u32);

/// What a record's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) writer: WriterId,
    pub(crate) sequence: u64,
    /// What it contains, by a number that its writer chose: a record with the same number is a
    /// repetition.
    pub(crate) content: u64,
    n_units: usize,
}

/// All records that were ever made.
#[derive(Debug, Default)]
pub(crate) struct Records(Vec<Header>);

impl Records {
    /// Makes a new record.
    pub(crate) fn make(
        &mut self,
        writer: WriterId,
        (sequence, content): (u64, u64),
        n_units: usize,
    ) -> RecordId {
        self.0.push(Header { writer, sequence, content, n_units });
        RecordId(FIRST + self.0.len() as u32 - 1)
    }

    /// A record with the same content, under another sequence number.
    pub(crate) fn renumbered(&mut self, id: RecordId, sequence: u64) -> RecordId {
        let Header { writer, content, n_units, .. } = self.header(id);
        self.make(writer, (sequence, content), n_units)
    }

    pub(crate) fn header(&self, id: RecordId) -> Header {
        self.0[(id.0 - FIRST) as usize]
    }

    /// The bytes of these records, one after another.
    pub(crate) fn frames(&self, ids: &[RecordId]) -> Content {
        ids.iter().flat_map(|id| fresh(id.0, self.header(*id).n_units)).collect()
    }

    /// What a primary learns from these records, at least one, of a single writer.
    pub(crate) fn batch(&self, ids: &[RecordId]) -> Batch {
        let (first, last) = (self.header(ids[0]), self.header(ids[ids.len() - 1]));
        let bytes = length(&self.frames(ids));
        Batch { writer: first.writer, first: first.sequence, last: last.sequence, bytes }
    }

    /// The whole records at the beginning of `units`, and how many units they have.
    pub(crate) fn sound(&self, units: &[Unit]) -> (Vec<RecordId>, usize) {
        let (mut ids, mut n) = (Vec::new(), 0);
        while let Some(id) = self.first(&units[n..]) {
            n += self.header(id).n_units;
            ids.push(id);
        }
        (ids, n)
    }

    fn first(&self, units: &[Unit]) -> Option<RecordId> {
        let number = units.first()?.number();
        let header = self.0.get(usize::try_from(number.checked_sub(FIRST)?).ok()?)?;
        let whole = units.get(..header.n_units)?;
        (whole == fresh(number, header.n_units)).then_some(RecordId(number))
    }
}
