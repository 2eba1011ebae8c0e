//! A job without its types: what the task runtime, the local runner and the oracle ask of it. Each call
//! covers a whole task, so that everything below it is compiled for the author's types.

use std::path::Path;

use mapreduce_protocol::{Failure, OutputForms};

use crate::api::{
    Combiner, Counters, Datum as _, Folding, GroupFields, JobOf, Mapper, Partitioner, Reducer,
    TaskContext,
};
use crate::oracle;
use crate::oracle_input::OracleInput;
use crate::oracle_output::OracleOutput;
use crate::task::fold::{CombinerFold, Fold};
use crate::task::map::{self, MapTask};
use crate::task::merge::Merge;
use crate::task::part_output::PartOutput;
use crate::task::partitions::Partitions;
use crate::task::reduce::{self, ReduceTask};

/// See the module.
pub(crate) trait Program: Send + Sync {
    /// Whether the author named a reducer.
    fn has_reducer(&self) -> bool;

    /// Whether the author named a combiner.
    fn has_combiner(&self) -> bool;

    /// Maps a split into a map output file; returns its digest.
    fn map_to_partitions(&self, task: &mut MapTask<'_>) -> Result<String, Failure>;

    /// Maps a split into the job's output; returns its digest.
    fn map_to_output(&self, task: &mut MapTask<'_>, output: PartOutput) -> Result<String, Failure>;

    /// The combiner, for merges of a reduce, of which nobody knows before what they merge.
    fn fold(&self) -> Option<Box<dyn Fold>>;

    /// Reduces a merge into the job's output; returns its digest.
    fn reduce(
        &self,
        merge: Merge,
        output: PartOutput,
        task: &mut ReduceTask<'_>,
    ) -> Result<String, Failure>;

    /// Runs the whole job the plain way, in a folder of its own, all maps as `task`; what it writes.
    fn run_sequentially(
        &self,
        input: &[OracleInput],
        task: &TaskContext,
        forms: &OutputForms,
        folder: &Path,
        counters: &mut Counters,
    ) -> Result<OracleOutput, Failure>;
}

impl<M, C, R, P> Program for JobOf<M, C, R, P>
where
    M: Mapper + 'static,
    C: Combiner<Key = M::Key, Value = M::Value> + 'static,
    R: Reducer<InKey = M::Key, InValue = M::Value> + 'static,
    P: Partitioner<M::Key> + Send + Sync + 'static,
{
    fn has_reducer(&self) -> bool {
        self.reduces
    }

    fn has_combiner(&self) -> bool {
        self.combiner.is_some()
    }

    fn map_to_partitions(&self, task: &mut MapTask<'_>) -> Result<String, Failure> {
        let mapper = (self.mapper)();
        let partitions = Partitions::new(&self.partitioner, task.n_partitions).by(self.fields());
        match &self.combiner {
            Some(combiner) => map::with_combiner(mapper, combiner(), partitions, task),
            None => map::without_combiner(mapper, partitions, task),
        }
    }

    fn map_to_output(&self, task: &mut MapTask<'_>, output: PartOutput) -> Result<String, Failure> {
        map::to_output((self.mapper)(), output, task)
    }

    fn fold(&self) -> Option<Box<dyn Fold>> {
        // What is rounded would depend on which map outputs came first.
        let combiner = self.combiner.as_ref().filter(|_| !M::Value::ROUNDS)?;
        Some(Box::new(CombinerFold::new(combiner())))
    }

    fn reduce(
        &self,
        merge: Merge,
        output: PartOutput,
        task: &mut ReduceTask<'_>,
    ) -> Result<String, Failure> {
        match self.folding() {
            Some(folding) => reduce::groups(folding, merge, self.fields(), output, task),
            None => reduce::groups((self.reducer)(), merge, self.fields(), output, task),
        }
    }

    fn run_sequentially(
        &self,
        input: &[OracleInput],
        task: &TaskContext,
        forms: &OutputForms,
        _: &Path,
        counters: &mut Counters,
    ) -> Result<OracleOutput, Failure> {
        let mapper = (self.mapper)();
        if task.n_reduces == 0 {
            return oracle::map_only(mapper, input, (task, forms), counters);
        }
        let grouping = self.grouping.as_ref();
        let oracle = oracle::Oracle { partitioner: &self.partitioner, grouping, task, forms };
        match self.folding() {
            Some(folding) => oracle.run(mapper, folding, input, counters),
            None => oracle.run(mapper, (self.reducer)(), input, counters),
        }
    }
}

impl<M: Mapper, C, R, P> JobOf<M, C, R, P> {
    /// The reducer of a job that names a combiner alone.
    fn folding(&self) -> Option<Folding<C>> {
        let combiner = self.combiner.as_ref().filter(|_| !self.reduces)?;
        Some(Folding::by(combiner()))
    }

    /// What it groups by, if not by the whole key.
    fn fields(&self) -> Option<GroupFields> {
        self.grouping.as_ref().map(|grouping| grouping.fields)
    }
}
