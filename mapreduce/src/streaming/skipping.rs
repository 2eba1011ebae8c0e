//! Which record a command fails at, for jobs that may leave records out. What a command had read when it failed is known only
//! to some blocks; so the attempt, which has failed, runs it again on fewer records (`find.rs`), and notes what it finds.

use std::ops::Range;

use mapreduce_protocol::streaming::CommandRole;
use mapreduce_protocol::{Failure, FailureKind};

use super::Attempt;
use super::child::Child;
use super::find::first_bad;
use super::input::{Feed, MergeFeed};
use super::output::Drain;
use super::skip_feeds::{RecordFeed, RecordSpot, SplitSource, Wanted};
use crate::api::{Counters, StatusSink};
use crate::task::merge::Merge;
use crate::task::progress::Progress;
use crate::task::skips::Skips;
use crate::task::source::Source;

/// The input of a command that has failed, which can be read again.
pub(super) trait Again {
    /// In how many records, or keys, its first `bytes` bytes lie.
    fn records_in(&self, bytes: u64) -> Result<u64, Failure>;

    /// Some of them alone, by their numbers.
    fn feed(&self, only: Range<u64>) -> Result<Box<dyn Feed + '_>, Failure>;

    /// Where one lies.
    fn spot(&self, ordinal: u64) -> Result<Option<RecordSpot>, Failure>;
}

/// That of a mapper.
pub(super) struct SplitAgain<'a> {
    pub(super) source: SplitSource<'a>,
    pub(super) skipped: &'a [u64],
    pub(super) progress: &'a Progress,
}

impl SplitAgain<'_> {
    fn records(&self, only: Range<u64>) -> RecordFeed<'_, '_> {
        RecordFeed::new(self.source, Wanted { only, skipped: self.skipped }, self.progress)
    }
}

impl Again for SplitAgain<'_> {
    fn records_in(&self, bytes: u64) -> Result<u64, Failure> {
        self.records(0..u64::MAX).records_in(bytes)
    }

    fn feed(&self, only: Range<u64>) -> Result<Box<dyn Feed + '_>, Failure> {
        Ok(Box::new(self.records(only)))
    }

    fn spot(&self, ordinal: u64) -> Result<Option<RecordSpot>, Failure> {
        self.records(0..u64::MAX).spot(ordinal)
    }
}

/// That of a reducer.
pub(super) struct MergeAgain<'a> {
    pub(super) attempt: &'a Attempt<'a>,
    pub(super) runs: Vec<Source>,
    pub(super) skipped: &'a [u64],
    pub(super) progress: &'a Progress,
}

impl MergeAgain<'_> {
    fn lines(&self, only: Range<u64>) -> Result<MergeFeed<'_>, Failure> {
        let merge = Merge::new(self.runs.iter().cloned(), self.progress.clone())?;
        let program = self.attempt.program;
        let feed = MergeFeed::new(merge, &program.about, &program.keys, self.progress);
        Ok(feed.of(Wanted { only, skipped: self.skipped }, None))
    }
}

impl Again for MergeAgain<'_> {
    fn records_in(&self, bytes: u64) -> Result<u64, Failure> {
        self.lines(0..u64::MAX)?.keys_in(bytes)
    }

    fn feed(&self, only: Range<u64>) -> Result<Box<dyn Feed + '_>, Failure> {
        Ok(Box::new(self.lines(only)?))
    }

    fn spot(&self, ordinal: u64) -> Result<Option<RecordSpot>, Failure> {
        let key = self.lines(0..u64::MAX)?.key_at(ordinal)?;
        Ok(key.map(|key| (0, 0, key)))
    }
}

/// Output that nobody wants.
struct Nowhere;

impl Drain for Nowhere {
    fn take(&mut self, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

impl Attempt<'_> {
    /// Notes the record at which the command of `role` has failed, which had read `consumed` bytes by then. If none is found, or
    /// the search fails, there is none to note.
    pub(super) fn look_for_record(
        &self,
        role: CommandRole,
        consumed: u64,
        again: &dyn Again,
        progress: &Progress,
        skips: &mut Skips,
    ) {
        let what = if role == CommandRole::Reducer { "key" } else { "record" };
        match self.found_record(role, consumed, again, progress) {
            Ok(Some((ordinal, (piece, offset, start)))) => {
                skips.note(ordinal, piece, offset, &start);
                if let Some(found) = skips.noted(None) {
                    eprintln!(
                        "the {role} fails at {what} {ordinal}, which begins \"{}\"",
                        found.start
                    );
                }
            }
            Ok(None) => eprintln!("no single {what} was found at which the {role} fails"),
            Err(failure) => {
                eprintln!(
                    "the {what} at which the {role} fails can't be looked for: {}",
                    failure.message
                );
            }
        }
    }

    fn found_record(
        &self,
        role: CommandRole,
        consumed: u64,
        again: &dyn Again,
        progress: &Progress,
    ) -> Result<Option<(u64, RecordSpot)>, Failure> {
        let n = again.records_in(consumed)?;
        eprintln!("the {role} has failed: it is run again on parts of the first {n} it has read");
        let found = first_bad(n, |only| self.fails(role, &mut *again.feed(only)?, progress))?;
        let Some(ordinal) = found else { return Ok(None) };
        Ok(again.spot(ordinal)?.map(|spot| (ordinal, spot)))
    }

    /// Whether the command fails on that input.
    fn fails(
        &self,
        role: CommandRole,
        input: &mut dyn Feed,
        progress: &Progress,
    ) -> Result<bool, Failure> {
        let about = &self.program.about;
        let Some(command) = about.command(role) else { return Ok(false) };
        let place = (&self.workplace, &self.environment);
        let mut child = Child::start(role, command, about, place, StatusSink::default())?;
        match child.run(input, &mut Nowhere, progress, &mut Counters::default()) {
            Ok(()) => Ok(false),
            Err(_) if child.consumed_at_failure().is_some() => Ok(true),
            // It has ended well, and not read all.
            Err(failure) if failure.kind == FailureKind::UserCode => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}
