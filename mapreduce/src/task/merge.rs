//! The k-way merge: a loser tree over cursors. Equal keys come in the order of the runs, so whoever
//! gives the runs in the order of map ordinals gets values in that order.

use mapreduce_protocol::Failure;

use super::cursor::Cursor;
use super::fold::Fold;
use super::progress::Progress;
use super::run_writer::RunWriter;
use super::source::Source;

/// All records of several runs in order.
pub(crate) struct Merge {
    cursors: Vec<Cursor>,
    /// At each inner place of the tournament, who lost there; place 0 is not used.
    losers: Vec<usize>,
    winner: usize,
    progress: Progress,
    /// What it began with, where it may be begun again.
    runs: Option<Vec<Source>>,
}

impl Merge {
    /// Stands on the first record; `runs` in the order in which equal keys shall come. Each step is a sign
    /// of life to `progress`.
    pub(crate) fn new(
        runs: impl IntoIterator<Item = Source>,
        progress: Progress,
    ) -> Result<Self, Failure> {
        let mut cursors = runs.into_iter().map(Cursor::new).collect::<Result<Vec<_>, _>>()?;
        cursors.retain(|cursor| !cursor.is_done());
        let n = cursors.len();
        let mut merge = Self { cursors, losers: vec![0; n], winner: 0, progress, runs: None };
        // Place p is decided between places 2p and 2p + 1; run r stands at place n + r.
        let mut winners: Vec<usize> = (0..2 * n).map(|place| place.saturating_sub(n)).collect();
        for place in (1..n).rev() {
            let (a, b) = (winners[2 * place], winners[2 * place + 1]);
            let a_wins = merge.beats(a, b);
            winners[place] = if a_wins { a } else { b };
            merge.losers[place] = if a_wins { b } else { a };
        }
        merge.winner = winners.get(1).copied().unwrap_or(0);
        Ok(merge)
    }

    /// The same, that can be begun again: what its runs lie in stays until it is gone.
    pub(crate) fn rewindable(runs: Vec<Source>, progress: Progress) -> Result<Self, Failure> {
        let merge = Self::new(runs.iter().cloned(), progress)?;
        Ok(Self { runs: Some(runs), ..merge })
    }

    /// What it needs to be begun again, if it can be.
    pub(crate) fn runs(&self) -> Option<Vec<Source>> {
        self.runs.clone()
    }

    #[inline]
    fn beats(&self, a: usize, b: usize) -> bool {
        self.cursors[a].precedes(&self.cursors[b]).unwrap_or(a < b)
    }

    /// The record it stands on; `None` at the end.
    #[inline]
    pub(crate) fn head(&self) -> Option<&Cursor> {
        self.cursors.get(self.winner).filter(|cursor| !cursor.is_done())
    }

    /// Steps to the next record; not to be called at the end.
    pub(crate) fn advance(&mut self) -> Result<(), Failure> {
        self.progress.alive();
        self.cursors[self.winner].advance()?;
        let mut place = (self.cursors.len() + self.winner) / 2;
        while place > 0 {
            if self.beats(self.losers[place], self.winner) {
                std::mem::swap(&mut self.losers[place], &mut self.winner);
            }
            place /= 2;
        }
        Ok(())
    }

    /// Bytes not yet read from the runs.
    pub(crate) fn remaining(&self) -> u64 {
        self.cursors.iter().map(Cursor::remaining).sum()
    }

    /// Writes all records to `partition`, equal keys folded where there is a combiner.
    pub(crate) fn write_to(
        mut self,
        writer: &mut RunWriter,
        partition: u32,
        fold: Option<&mut (dyn Fold + 'static)>,
    ) -> Result<(), Failure> {
        match fold {
            Some(fold) => self.write_folded(writer, partition, fold),
            None => {
                while let Some(head) = self.head() {
                    writer.record(partition, head.key(), head.value())?;
                    self.advance()?;
                }
                Ok(())
            }
        }
    }

    fn write_folded(
        &mut self,
        writer: &mut RunWriter,
        partition: u32,
        fold: &mut dyn Fold,
    ) -> Result<(), Failure> {
        let (mut key, mut value, mut folded) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(head) = self.head() {
            key.clear();
            key.extend_from_slice(head.key());
            value.clear();
            value.extend_from_slice(head.value());
            self.advance()?;
            while let Some(head) = self.head().filter(|head| head.key() == key) {
                fold.fold(&key, &value, head.value(), &mut folded)?;
                std::mem::swap(&mut value, &mut folded);
                self.advance()?;
            }
            writer.record(partition, &key, &value)?;
        }
        Ok(())
    }
}
