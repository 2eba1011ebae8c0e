//! What of a workflow may run next: a function of what has been done. Nothing here runs anything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::text;

/// One run of one job: in a loop, of one of its rounds, from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Execution {
    pub(crate) job: String,
    /// 0 outside of loops.
    pub(crate) round: u32,
}

impl std::fmt::Display for Execution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.round {
            0 => f.write_str(&self.job),
            round => write!(f, "{}, round {round}", self.job),
        }
    }
}

/// What an execution that succeeded has left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) output: String,
    pub(crate) counters: BTreeMap<String, u64>,
}

/// All that has succeeded.
pub(crate) type Done = BTreeMap<Execution, Entry>;

/// A job as it is written, its names still in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedJob {
    pub(crate) name: String,
    /// Where it begins in the file, from 1, if that could be found.
    pub(crate) line: Option<usize>,
    pub(crate) template: Value,
    /// The loop that it is in, by its place.
    pub(crate) in_loop: Option<usize>,
    /// Jobs that it waits for, by their names.
    pub(crate) waits_for: BTreeSet<String>,
}

/// Jobs that run again and again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedLoop {
    pub(crate) name: String,
    pub(crate) line: Option<usize>,
    pub(crate) rounds: u32,
    pub(crate) until: Option<Until>,
}

/// When a loop ends before its last round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Until {
    pub(crate) job: String,
    /// `GROUP.NAME`; 0 in a round that has not counted it, if one has.
    pub(crate) counter: String,
    pub(crate) bound: Bound,
}

/// What a counter must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    AtMost(u64),
    AtLeast(u64),
}

impl Until {
    pub(crate) fn value(&self, entry: &Entry) -> u64 {
        entry.counters.get(&self.counter).copied().unwrap_or(0)
    }

    fn holds(&self, entry: &Entry) -> bool {
        match self.bound {
            Bound::AtMost(most) => self.value(entry) <= most,
            Bound::AtLeast(least) => self.value(entry) >= least,
        }
    }
}

impl std::fmt::Display for Until {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { job, counter, bound } = self;
        match bound {
            Bound::AtMost(most) => write!(f, "{counter} of {job} is at most {most}"),
            Bound::AtLeast(least) => write!(f, "{counter} of {job} is at least {least}"),
        }
    }
}

/// A workflow that makes sense.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) variables: BTreeMap<String, Value>,
    /// In an order in which each comes after those that it waits for.
    pub(crate) jobs: Vec<PlannedJob>,
    pub(crate) loops: Vec<PlannedLoop>,
}

/// What may be done now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// These; nothing, if all wait for others that run.
    Run(Vec<Execution>),
    /// Nothing is left.
    Finished,
    /// A loop has had all its rounds, and its end was not reached.
    NotReached { name: String },
    /// A loop would be over, but only because no round of it has counted what its end names.
    NeverCounted { name: String },
}

/// Where a loop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// This round is under way, or next.
    Round(u32),
    /// This one was the last.
    Over(u32),
    NotReached,
    /// This one would be the last, but the counter of the end was counted in no round: its name may be a misspelt one.
    NeverCounted(u32),
}

/// Names that a run gives.
#[derive(Clone, Debug)]
pub(crate) struct RunNames {
    /// `${run}`
    pub(crate) run: String,
    /// `${work}`: the folder for what is removed at the end.
    pub(crate) work: String,
    /// `${store}`: what a path of that folder has in front where a program brings a file of it along.
    pub(crate) store: &'static str,
}

impl Plan {
    pub(crate) fn job(&self, name: &str) -> Option<&PlannedJob> {
        self.jobs.iter().find(|job| job.name == name)
    }

    /// Where a loop is. Its last whole round decides, and none before: of those the data may be gone, and a mended
    /// 'until' may hold for them, too.
    pub(crate) fn progress(&self, at: usize, done: &Done) -> Progress {
        let it = &self.loops[at];
        let entry = |job: &str, round| done.get(&Execution { job: job.to_owned(), round });
        let is_whole = |round: u32| {
            let mut inner = self.jobs.iter().filter(|job| job.in_loop == Some(at));
            inner.all(|job| entry(&job.name, round).is_some())
        };
        let furthest = self.furthest(at, done);
        let last = (1..=furthest).take_while(|round| is_whole(*round)).last().unwrap_or(0);
        let until = it.until.as_ref();
        match until.and_then(|until| Some(until.holds(entry(&until.job, last)?))) {
            Some(true) if !self.is_counted(at, done) => Progress::NeverCounted(last),
            Some(true) => Progress::Over(last),
            _ if last < it.rounds => Progress::Round(last + 1),
            _ if until.is_some() => Progress::NotReached,
            _ => Progress::Over(last),
        }
    }

    /// Whether some round of a loop has counted what its end names, be it 0.
    fn is_counted(&self, at: usize, done: &Done) -> bool {
        self.loops[at].until.as_ref().is_none_or(|until| {
            let mut rounds = done.iter().filter(|(it, _)| it.job == until.job);
            rounds.any(|(_, entry)| entry.counters.contains_key(&until.counter))
        })
    }

    /// Of a loop whose end names what no round has counted: what was, by the jobs of its latest round.
    pub(crate) fn counters_there_are(&self, at: usize, done: &Done) -> Option<String> {
        let until = self.loops[at].until.as_ref().filter(|_| !self.is_counted(at, done))?;
        let round = self.furthest(at, done);
        let inner = self.jobs.iter().filter(|job| job.in_loop == Some(at));
        let counted = inner.filter_map(|job| {
            let entry = done.get(&Execution { job: job.name.clone(), round })?;
            let names: Vec<_> = entry.counters.keys().map(String::as_str).collect();
            (!names.is_empty()).then(|| format!("{}: {}", job.name, names.join(", ")))
        });
        let counted: Vec<_> = counted.collect();
        let counted = if counted.is_empty() { "none".to_owned() } else { counted.join("; ") };
        let Until { job, counter, .. } = until;
        Some(format!(
            "no round of {job} has counted {counter}; counters of round {round}: {counted}"
        ))
    }

    /// The latest round of a loop in which one of its jobs has succeeded; 0 if none has.
    pub(crate) fn furthest(&self, at: usize, done: &Done) -> u32 {
        let is_inner = |name: &str| self.job(name).is_some_and(|job| job.in_loop == Some(at));
        let rounds = done.keys().filter(|it| is_inner(&it.job)).map(|it| it.round);
        rounds.max().unwrap_or(0)
    }

    /// The execution of `job` that one of `by` in `round` waits for and reads; `None` while its loop goes on.
    fn seen(
        &self,
        job: &PlannedJob,
        by: &PlannedJob,
        round: u32,
        done: &Done,
    ) -> Option<Execution> {
        let round = match job.in_loop {
            None => 0,
            Some(at) if by.in_loop == Some(at) => round,
            Some(at) => match self.progress(at, done) {
                Progress::Over(round) => round,
                Progress::Round(_) | Progress::NotReached | Progress::NeverCounted(_) => {
                    return None;
                }
            },
        };
        Some(Execution { job: job.name.clone(), round })
    }

    /// What may run, whether it runs already or not.
    pub(crate) fn next(&self, done: &Done) -> Next {
        let mut ready = Vec::new();
        let mut is_finished = true;
        for job in &self.jobs {
            let round = match job.in_loop.map(|at| (at, self.progress(at, done))) {
                None => 0,
                Some((_, Progress::Round(round))) => round,
                Some((_, Progress::Over(_))) => continue,
                Some((at, Progress::NotReached)) => {
                    return Next::NotReached { name: self.loops[at].name.clone() };
                }
                Some((at, Progress::NeverCounted(_))) => {
                    return Next::NeverCounted { name: self.loops[at].name.clone() };
                }
            };
            let execution = Execution { job: job.name.clone(), round };
            if done.contains_key(&execution) {
                continue;
            }
            is_finished = false;
            let is_done = |name: &String| {
                let other = self.job(name)?;
                done.get(&self.seen(other, job, round, done)?)
            };
            if job.waits_for.iter().all(|name| is_done(name).is_some()) {
                ready.push(execution);
            }
        }
        if is_finished { Next::Finished } else { Next::Run(ready) }
    }

    /// Rounds that no job reads any more: all but the last two that have been run.
    pub(crate) fn outdated<'d>(&self, done: &'d Done) -> Vec<(&'d Execution, &'d Entry)> {
        let mut found = Vec::new();
        for (at, _) in self.loops.iter().enumerate() {
            let Progress::Round(current) = self.progress(at, done) else { continue };
            found.extend(done.iter().filter(|(execution, _)| {
                let is_inner = self.job(&execution.job).is_some_and(|job| job.in_loop == Some(at));
                is_inner && execution.round + 1 < current
            }));
        }
        found
    }

    /// The job of an execution with all names replaced, as its author could have written it.
    pub(crate) fn resolved(
        &self,
        execution: &Execution,
        names: &RunNames,
        done: &Done,
    ) -> Result<Value, String> {
        let job = self.job(&execution.job).ok_or("there is no such job any more")?;
        let look_up = |name: &str| self.look_up(name, job, execution.round, names, done);
        let mut value = text::filled(&job.template, &look_up)?;
        let called = format!("{}: {execution}", self.name);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("name".to_owned(), called.into());
        }
        Ok(value)
    }

    /// What a name stands for in the first round, before anything has run.
    pub(super) fn resolved_name(
        &self,
        name: &str,
        by: &PlannedJob,
        names: &RunNames,
    ) -> Result<Value, String> {
        self.look_up(name, by, u32::from(by.in_loop.is_some()), names, &Done::new())
    }

    fn look_up(
        &self,
        name: &str,
        by: &PlannedJob,
        round: u32,
        names: &RunNames,
        done: &Done,
    ) -> Result<Value, String> {
        match name {
            "run" => return Ok(names.run.as_str().into()),
            "work" => return Ok(names.work.as_str().into()),
            "store" => return Ok(names.store.into()),
            "round" | "previous" if by.in_loop.is_some() => {
                return Ok(if name == "round" { round } else { round.saturating_sub(1) }.into());
            }
            "round" | "previous" => return Err(format!("${{{name}}} is for jobs in loops alone")),
            _ => {}
        }
        if let Some(value) = self.variables.get(name) {
            return Ok(value.clone());
        }
        let known = || self.variables.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let unknown = || {
            format!(
                "there is no variable '{name}': there are run, work, store, those under 'variables' ({}), JOB.output and \
                 JOB.counter.GROUP.NAME; for ${{ itself write $${{",
                known()
            )
        };
        let (job, what) = name.split_once('.').ok_or_else(unknown)?;
        let other = self.job(job).ok_or_else(unknown)?;
        let seen = self.seen(other, by, round, done).and_then(|seen| done.get(&seen));
        let entry = seen.ok_or_else(|| format!("'{name}' is not known before {job} has ended"))?;
        match what.strip_prefix("counter.") {
            None if what == "output" => Ok(entry.output.as_str().into()),
            Some(counter) => Ok(entry.counters.get(counter).copied().unwrap_or(0).into()),
            None => Err(unknown()),
        }
    }

    /// All jobs once, in their order, as a first round would have them, if each counter that they name were `counted`.
    pub(crate) fn rehearsed(
        &self,
        names: &RunNames,
        counted: u64,
    ) -> Result<Vec<(Execution, Value)>, (String, String)> {
        let mut done = Done::new();
        let mut all = Vec::new();
        // Loops end after one round: what comes behind them is to be seen, too.
        let mut short = self.clone();
        for it in &mut short.loops {
            (it.rounds, it.until) = (1, None);
        }
        let mut named = Vec::new();
        for job in &short.jobs {
            text::names(&job.template, &mut named).map_err(|why| (job.name.clone(), why))?;
        }
        let counters_of = |job: &str| -> BTreeMap<String, u64> {
            let counter = |name: &String| {
                let (of, what) = name.split_once('.')?;
                let counter = what.strip_prefix("counter.").filter(|_| of == job)?;
                Some((counter.to_owned(), counted))
            };
            named.iter().filter_map(counter).collect()
        };
        for job in &short.jobs {
            let execution =
                Execution { job: job.name.clone(), round: u32::from(job.in_loop.is_some()) };
            let value = short.resolved(&execution, names, &done);
            let value = value.map_err(|why| (job.name.clone(), why))?;
            let output = value["output"].as_str().unwrap_or_default().to_owned();
            done.insert(execution.clone(), Entry { output, counters: counters_of(&job.name) });
            all.push((execution, value));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::file::WorkflowFile;
    use super::*;

    const RANKS: &str = "\
name: ranks
variables: {pages: /pages, rounds: 3}
jobs:
  links: {input: ['${pages}'], output: '${work}/r-0', program: {builtin: {name: wordcount}}}
  other: {input: [/x], output: /y, program: {builtin: {name: wordcount}}}
  walk:
    rounds: 3
    until: {job: add, counter: g.MOVED, at_most: 0}
    jobs:
      spread: {input: ['${work}/r-${previous}'], output: '${work}/s-${round}', program: {builtin: {name: wordcount}}}
      add:
        input: ['${spread.output}']
        output: '${work}/r-${round}'
        program: {builtin: {name: grep, args: {pattern: '${spread.counter.g.LOST}'}}}
  top: {input: ['${add.output}'], output: /top, program: {builtin: {name: topn, args: {n: 3}}}}
";

    fn plan() -> Plan {
        WorkflowFile::parse("w.yaml".as_ref(), RANKS, &[]).unwrap().plan
    }

    fn names() -> RunNames {
        RunNames { run: "r".into(), work: "/w".into(), store: "howdah://" }
    }

    fn run(done: &mut Done, job: &str, round: u32, counters: &[(&str, u64)]) {
        let counters = counters.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let output = format!("/out/{job}-{round}");
        done.insert(Execution { job: job.into(), round }, Entry { output, counters });
    }

    fn next(done: &Done) -> Vec<String> {
        match plan().next(done) {
            Next::Run(ready) => ready.iter().map(ToString::to_string).collect(),
            other => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn jobs_wait_for_what_they_read_and_loops_for_their_counter() {
        let mut done = Done::new();
        assert_eq!(next(&done), ["links", "other"], "independent jobs run at the same time");
        run(&mut done, "links", 0, &[]);
        assert_eq!(next(&done), ["other", "spread, round 1"]);
        run(&mut done, "other", 0, &[]);
        run(&mut done, "spread", 1, &[("g.LOST", 7)]);
        assert_eq!(next(&done), ["add, round 1"]);
        run(&mut done, "add", 1, &[("g.MOVED", 5)]);
        assert_eq!(next(&done), ["spread, round 2"]);
        run(&mut done, "spread", 2, &[]);
        let add = Execution { job: "add".into(), round: 2 };
        let value = plan().resolved(&add, &names(), &done).unwrap();
        assert_eq!(value["input"], json!(["/out/spread-2"]));
        assert_eq!(value["output"], "/w/r-2");
        assert_eq!(value["program"]["builtin"]["args"]["pattern"], 0, "never counted");
        assert_eq!(value["name"], "ranks: add, round 2");
        let add = Execution { job: "add".into(), round: 1 };
        let value = plan().resolved(&add, &names(), &done).unwrap();
        assert_eq!(value["program"]["builtin"]["args"]["pattern"], 7);
        run(&mut done, "add", 2, &[("g.MOVED", 0)]);
        assert_eq!(next(&done), ["top"]);
        let top = Execution { job: "top".into(), round: 0 };
        assert_eq!(plan().resolved(&top, &names(), &done).unwrap()["input"], json!(["/out/add-2"]));
        run(&mut done, "top", 0, &[]);
        assert_eq!(plan().next(&done), Next::Finished);
    }

    #[test]
    fn a_loop_that_does_not_get_where_it_should_says_so_and_one_without_an_end_has_all_its_rounds()
    {
        let mut done = Done::new();
        run(&mut done, "links", 0, &[]);
        run(&mut done, "other", 0, &[]);
        for round in 1..=3 {
            assert_eq!(next(&done), [format!("spread, round {round}")]);
            run(&mut done, "spread", round, &[]);
            run(&mut done, "add", round, &[("g.MOVED", 1)]);
        }
        assert_eq!(plan().next(&done), Next::NotReached { name: "walk".into() });
        let mut all = plan();
        all.loops[0].until = None;
        assert_eq!(all.progress(0, &done), Progress::Over(3));
        all.loops[0].rounds = 5;
        let outdated: Vec<_> = all.outdated(&done).iter().map(|(it, _)| it.to_string()).collect();
        assert_eq!(
            outdated,
            ["add, round 1", "add, round 2", "spread, round 1", "spread, round 2"]
        );
    }

    #[test]
    fn a_loop_is_not_over_by_a_counter_that_no_round_has_counted() {
        let mut done = Done::new();
        for name in ["links", "other"] {
            run(&mut done, name, 0, &[]);
        }
        run(&mut done, "spread", 1, &[("g.LOST", 0)]);
        run(&mut done, "add", 1, &[("g.MOVDE", 5), ("task.MAP_INPUT_RECORDS", 9)]);
        assert_eq!(plan().next(&done), Next::NeverCounted { name: "walk".into() });
        assert_eq!(
            plan().counters_there_are(0, &done).unwrap(),
            "no round of add has counted g.MOVED; counters of round 1: spread: g.LOST; add: g.MOVDE, task.MAP_INPUT_RECORDS"
        );
        // Who has counted it once need not do so when there is nothing to count.
        run(&mut done, "add", 1, &[("g.MOVED", 5)]);
        run(&mut done, "spread", 2, &[]);
        run(&mut done, "add", 2, &[]);
        assert_eq!((next(&done), plan().counters_there_are(0, &done)), (vec!["top".into()], None));
        // What is to become large is not there before it is counted.
        let mut growing = plan();
        let until = growing.loops[0].until.as_mut().unwrap();
        (until.counter, until.bound) = ("g.FOUND".into(), Bound::AtLeast(1));
        assert_eq!(growing.progress(0, &done), Progress::Round(3));
        run(&mut done, "spread", 3, &[]);
        run(&mut done, "add", 3, &[]);
        assert_eq!(growing.progress(0, &done), Progress::NotReached);
        let none = growing.counters_there_are(0, &done).unwrap();
        assert_eq!(none, "no round of add has counted g.FOUND; counters of round 3: none");
    }

    #[test]
    fn a_rehearsal_has_each_job_once_behind_those_it_waits_for() {
        let all = plan().rehearsed(&names(), 0).unwrap();
        let order: Vec<_> = all.iter().map(|(it, _)| it.to_string()).collect();
        assert_eq!(order, ["links", "other", "spread, round 1", "add, round 1", "top"]);
        assert_eq!(all[2].1["input"], json!(["/w/r-0"]));
        assert_eq!(all[4].1["input"], json!(["/w/r-1"]));
        for counted in [0, 1] {
            let all = plan().rehearsed(&names(), counted).unwrap();
            assert_eq!(all[3].1["program"]["builtin"]["args"]["pattern"], counted);
        }
    }

    #[test]
    fn a_loosened_end_takes_the_last_round_and_none_whose_data_is_gone() {
        let mut done = Done::new();
        for name in ["links", "other"] {
            run(&mut done, name, 0, &[]);
        }
        for (round, moved) in [(1, 9), (2, 7), (3, 5)] {
            run(&mut done, "spread", round, &[]);
            run(&mut done, "add", round, &[("g.MOVED", moved)]);
        }
        let mut looser = plan();
        looser.loops[0].rounds = 5;
        assert_eq!(looser.progress(0, &done), Progress::Round(4));
        run(&mut done, "spread", 4, &[]);
        let until = looser.loops[0].until.as_mut().unwrap();
        until.bound = Bound::AtMost(8);
        assert_eq!(looser.progress(0, &done), Progress::Over(3), "it held in round 2 already");
        assert_eq!(looser.furthest(0, &done), 4);
    }
}
