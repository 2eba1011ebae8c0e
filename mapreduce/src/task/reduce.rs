//! The reduce task's last part: the merge of all maps' segments → groups of equal keys → the author's
//! reducer → the job's output.

use std::cell::Cell;
use std::path::Path;

use mapreduce_protocol::Failure;

use super::failure;
use super::merge::Merge;
use super::named::Named;
use super::part_output::PartOutput;
use super::progress::Progress;
use super::skips::{Skips, count_group, keep_line_aside};
use crate::api::TaskContext;
use crate::api::{
    Counters, Datum, DecodeError, GroupFields, Output, Reducer, UserError, ValueSource, Values,
};

/// Keys between two reckonings of how far the reduce is; each record is a sign of life by itself.
const KEYS_PER_RECKONING: u64 = 64;

/// What the last part of a reduce is given.
pub(crate) struct ReduceTask<'a> {
    /// The attempt's folder.
    pub(crate) folder: &'a Path,
    /// Who it is.
    pub(crate) identity: &'a TaskContext,
    /// How far it is: the merge is the second half of its way.
    pub(crate) progress: Progress,
    /// Sums.
    pub(crate) counters: Counters,
    /// What it writes beside its output.
    pub(crate) named: Named<'a>,
    /// What it leaves out, where its job may leave keys out.
    pub(crate) skips: Option<Skips>,
}

impl ReduceTask<'_> {
    /// `remaining` of `total` bytes are still to merge.
    pub(crate) fn merging(&self, remaining: u64, total: u64) {
        let total = total.max(1);
        self.progress.at(total + total.saturating_sub(remaining), 2 * total);
    }
}

/// Reduces all groups of `merge`; returns the digest of the output.
pub(crate) fn groups<R: Reducer>(
    mut reducer: R,
    mut merge: Merge,
    fields: Option<GroupFields>,
    mut output: PartOutput,
    task: &mut ReduceTask<'_>,
) -> Result<String, Failure> {
    let check =
        |called: Result<(), UserError>, output: &mut PartOutput, named: &mut Named<'_>, during| {
            called.map_err(|error| failure::user_code(&error, during))?;
            output.take_failure().or_else(|| named.take_failure()).map_or(Ok(()), Err)
        };
    let set_up = reducer.setup(&mut Output::new(
        &mut output.sink(),
        &mut task.counters,
        &mut task.named,
        task.identity,
    ));
    check(set_up, &mut output, &mut task.named, "reducer (setup)")?;
    let total = merge.remaining();
    let (mut keys, mut records) = (0_u64, 0);
    let mut key = Vec::new();
    while let Some(head) = merge.head() {
        key.clear();
        key.extend_from_slice(head.key());
        let mut group = Group::new(&mut merge, Same::key(&key, fields)?);
        if let Some(skips) = &mut task.skips
            && skips.at_next(0, 0, &shown::<R>(&key))
        {
            count_group(&mut task.counters);
            group.keep_aside::<R>(&mut task.named)?;
            continue;
        }
        let decoded = R::InKey::decode(&key).map_err(|e| failure::undecodable(e, "key"))?;
        let mut values = Values::new(&mut group);
        let mut sink = output.sink();
        let (counters, named) = (&mut task.counters, &mut task.named);
        let mut out = Output::new(&mut sink, counters, named, task.identity);
        let reduced = reducer.reduce(decoded, &mut values, &mut out);
        records += group.finish()?;
        check(reduced, &mut output, &mut task.named, "reducer")?;
        keys += 1;
        if keys.is_multiple_of(KEYS_PER_RECKONING) {
            task.merging(merge.remaining(), total);
        }
    }
    task.skips.iter_mut().for_each(Skips::at_none);
    let finished = reducer.finish(&mut Output::new(
        &mut output.sink(),
        &mut task.counters,
        &mut task.named,
        task.identity,
    ));
    check(finished, &mut output, &mut task.named, "reducer (finish)")?;
    task.counters.add_own("REDUCE_INPUT_GROUPS", keys);
    task.counters.add_own("REDUCE_INPUT_RECORDS", records);
    output.finish("REDUCE_OUTPUT_RECORDS", &mut task.counters)
}

/// A key as people are shown it.
fn shown<R: Reducer>(key: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match R::InKey::decode(key) {
        Ok(key) if R::InKey::write_text(key, &mut text) => text,
        _ => key.to_vec(),
    }
}

/// The values of the key at the merge's head, or of the keys that are grouped with it.
struct Group<'a> {
    merge: &'a mut Merge,
    same: Same<'a>,
    place: Place,
    records: u64,
    refused: Cell<Option<(&'static str, DecodeError)>>,
}

/// What tells a group's keys from others.
#[derive(Clone, Copy)]
enum Same<'a> {
    /// They are this.
    Whole(&'a [u8]),
    /// They begin with this.
    Start(&'a [u8]),
}

impl<'a> Same<'a> {
    fn key(key: &'a [u8], fields: Option<GroupFields>) -> Result<Self, Failure> {
        let Some(fields) = fields else {
            return Ok(Self::Whole(key));
        };
        let part = fields.part_of(key).map_err(|error| failure::undecodable(error, "key"))?;
        Ok(Self::Start(part))
    }

    #[inline]
    fn has(self, key: &[u8]) -> bool {
        match self {
            Self::Whole(whole) => key == whole,
            Self::Start(start) => key.starts_with(start),
        }
    }
}

/// Where the merge stands.
enum Place {
    /// On the group's first value, which was not given out.
    Before,
    /// On a value that was given out.
    On,
    /// Behind the group.
    Behind,
    /// It could not step on.
    Failed(Failure),
}

impl<'a> Group<'a> {
    fn new(merge: &'a mut Merge, same: Same<'a>) -> Self {
        Self { merge, same, place: Place::Before, records: 0, refused: Cell::new(None) }
    }

    fn step(&mut self) -> Place {
        if matches!(self.place, Place::On)
            && let Err(failure) = self.merge.advance()
        {
            return Place::Failed(failure);
        }
        match self.merge.head() {
            Some(head) if self.same.has(head.key()) => Place::On,
            _ => Place::Behind,
        }
    }

    /// Writes all its records beside the output, as text; nothing is reduced.
    fn keep_aside<R: Reducer>(mut self, named: &mut Named<'_>) -> Result<(), Failure> {
        let mut line = Vec::new();
        while self.advance() {
            let undecodable = |what| move |error| failure::undecodable(error, what);
            let key = R::InKey::decode(self.current_key()).map_err(undecodable("key"))?;
            let value = R::InValue::decode(self.current()).map_err(undecodable("value"))?;
            line.clear();
            R::InKey::write_text(key, &mut line);
            line.push(b'\t');
            R::InValue::write_text(value, &mut line);
            line.push(b'\n');
            keep_line_aside(named, &line)?;
        }
        self.finish().map(drop)
    }

    /// Skips the values that were not asked for; returns how many there were.
    fn finish(mut self) -> Result<u64, Failure> {
        while self.advance() {}
        match (self.place, self.refused.into_inner()) {
            (Place::Failed(failure), _) => Err(failure),
            (_, Some((what, error))) => Err(failure::undecodable(error, what)),
            (_, None) => Ok(self.records),
        }
    }
}

impl ValueSource for Group<'_> {
    fn advance(&mut self) -> bool {
        if matches!(self.place, Place::Before | Place::On) && self.refused.get().is_none() {
            self.place = self.step();
        }
        let is_on = matches!(self.place, Place::On) && self.refused.get().is_none();
        self.records += u64::from(is_on);
        is_on
    }

    fn current_key(&self) -> &[u8] {
        self.merge.head().map_or(&[], |head| head.key())
    }

    fn current(&self) -> &[u8] {
        self.merge.head().map_or(&[], |head| head.value())
    }

    fn refuse(&self, what: &'static str, error: DecodeError) {
        self.refused.set(Some((what, error)));
    }
}
