//! Runs what may run, until nothing is left: each execution once, whoever dies meanwhile. What is about to be submitted is
//! written down first, and submitted by a key of its own, so that the JobTracker gives the same job to whoever asks again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use config::Config;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use ids::OWN_SCHEME;
use mapreduce_protocol::{JobSpec, JobState};
use serde_json::Value;

use super::calls::{counters_patiently, is_refusal, submit_patiently};
use super::file::WorkflowFile;
use super::folder::{End, RunFolder, Saved};
use super::plan::{Done, Entry, Execution, Next, Plan, RunNames};
use crate::cli::inputs::{self, Recursion};
use crate::cli::run_locally;
use crate::exit::{Interrupted, OrEarly as _, early, say_error, sentence};
use crate::job_file::JobFile;
use crate::progress::JobProgress;
use crate::say::{plain, say};
use crate::session::Session;
use crate::signals::{Termination, termination};
use crate::submit::{self, Shipped};

/// What makes a job of a workflow read subfolders.
const RECURSION: Recursion = Recursion { wanted: false, by: "a pattern like /in/**" };

/// What jobs run on.
pub(crate) enum Engine<'a> {
    /// A cluster.
    Cluster(&'a Session),
    /// This host's files; by the plain loop alone, if that is asked for.
    Local { config: &'a Config, sequential: bool },
}

/// One run of a workflow, under way.
pub(crate) struct Driver<'a> {
    pub(crate) engine: Engine<'a>,
    pub(crate) file: WorkflowFile,
    pub(crate) run: String,
    pub(crate) folder: RunFolder,
    pub(crate) shipped: Shipped,
    /// See [`super::StoredRun::nonce`].
    pub(crate) nonce: String,
    /// Whether intermediate data stays.
    pub(crate) keep: bool,
}

/// What an execution leaves: of one that failed, the message.
type Ran = (Execution, anyhow::Result<Entry>);

impl Engine<'_> {
    /// What stands in front of a path of intermediate data where a program brings the file along.
    fn store(&self) -> &'static str {
        match self {
            Self::Cluster(_) => OWN_SCHEME,
            Self::Local { .. } => "",
        }
    }
}

impl Driver<'_> {
    fn plan(&self) -> &Plan {
        &self.file.plan
    }

    pub(crate) fn names(&self) -> anyhow::Result<RunNames> {
        let (run, work) = (self.run.clone(), self.folder.work()?);
        Ok(RunNames { run, work, store: self.engine.store() })
    }

    /// Checks, before anything runs, that each job is one, and that no result stands there already.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        for job in
            rehearsed(&self.file, &self.names()?, matches!(self.engine, Engine::Local { .. }))?
        {
            let (execution, job) = job;
            if execution.round == 0 && self.folder.stands(&job.spec.output).await? {
                let place = self.file.place_of(&execution.job);
                let output = plain(&job.spec.output);
                bail!("{place}: its output {output} exists: remove it, or name another one");
            }
        }
        Ok(())
    }

    /// Runs all that is left to do.
    pub(crate) async fn drive(&self) -> anyhow::Result<()> {
        let saved = self.folder.saved().await?;
        let mut done = saved.done();
        let mut end = termination()?;
        let mut under_way: BTreeSet<Execution> = BTreeSet::new();
        let mut running: FuturesUnordered<LocalBoxFuture<'_, Ran>> = FuturesUnordered::new();
        let mut removed: BTreeSet<Execution> = BTreeSet::new();
        let mut failed: Option<anyhow::Error> = None;
        let mut is_finished = false;
        while !is_finished {
            match self.plan().next(&done) {
                Next::Finished => {
                    is_finished = true;
                    continue;
                }
                Next::NotReached { name } => {
                    failed = failed.or_else(|| Some(self.not_reached(&name, &done)));
                }
                Next::NeverCounted { name } => {
                    failed = failed.or_else(|| Some(self.never_counted(&name, &done)));
                }
                Next::Run(ready) if failed.is_none() && !self.is_to_end(&mut end) => {
                    for execution in ready {
                        if under_way.insert(execution.clone()) {
                            running
                                .push(self.execute(execution, &saved, done.clone()).boxed_local());
                        }
                    }
                }
                Next::Run(_) => {}
            }
            let Some((execution, ran)) = self.next_end(&mut running, &mut end).await? else {
                break;
            };
            match ran {
                Ok(entry) => {
                    self.say_round(&execution, &entry);
                    done.insert(execution, entry);
                    self.remove_outdated(&done, &mut removed).await;
                }
                Err(error) if is_interruption(&error) => {
                    // The same signal ends the others, which tidy up; what ends well meanwhile is written down.
                    while running.next().await.is_some() {}
                    return Err(error);
                }
                // The others go on to their ends, which are written down. What failed first is told last, with what to do.
                Err(error) if failed.is_some() => say_error(&error),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(and_then(
                error,
                &format!(
                    "what was done is kept in {}: `{}` goes on from there; with `--file {}` by the file, and the scripts \
                     that it names, as they are then",
                    self.folder.shown(),
                    self.resume_command(),
                    self.file.path.display()
                ),
            )),
            None if is_finished => self.finish().await,
            None => bail!("{}: no job can run, and some have not", self.file.path.display()),
        }
    }

    fn resume_command(&self) -> String {
        let sequential = match self.engine {
            Engine::Local { sequential: true, .. } => " --sequential",
            Engine::Local { .. } | Engine::Cluster(_) => "",
        };
        format!("{}{sequential}", self.folder.resume_command(&self.run))
    }

    /// Whether a signal came while no local job listened for it: then none begins. Of jobs on a cluster none has to end.
    fn is_to_end(&self, end: &mut Termination) -> bool {
        matches!(self.engine, Engine::Local { .. }) && end.await_signal().now_or_never().is_some()
    }

    /// The next execution that ends; nothing if none runs.
    async fn next_end(
        &self,
        running: &mut FuturesUnordered<LocalBoxFuture<'_, Ran>>,
        end: &mut Termination,
    ) -> anyhow::Result<Option<Ran>> {
        let resume = format!("`{}`", self.resume_command());
        match self.engine {
            Engine::Cluster(_) => end.or(running.next()).await.map_err(|by| {
                let remains =
                    format!("jobs that were submitted go on: {resume} waits for them, and goes on");
                Interrupted { by, remains }.into()
            }),
            // Each job ends with the same signal, and tidies up itself; between two of them it counts, too.
            Engine::Local { .. } => match end.await_signal().now_or_never() {
                Some(by) if running.is_empty() => {
                    let remains = format!("{resume} goes on");
                    Err(Interrupted { by, remains }.into())
                }
                _ => Ok(running.next().await),
            },
        }
    }

    fn not_reached(&self, name: &str, done: &Done) -> anyhow::Error {
        let it = self.plan().loops.iter().find(|it| it.name == name);
        let (rounds, until) = it.map_or((0, None), |it| (it.rounds, it.until.as_ref()));
        let until = until.map(ToString::to_string).unwrap_or_default();
        let uncounted = self.counters_there_are(name, done).map(|there| format!(" ({there})"));
        let error = anyhow!(
            "after {rounds} rounds of {} it is not true that {until}{}: raise 'rounds', and resume with --file",
            plain(name),
            uncounted.unwrap_or_default()
        );
        and_then(error, &self.file.place_of(name))
    }

    fn never_counted(&self, name: &str, done: &Done) -> anyhow::Error {
        let error = anyhow!(
            "{}. Mend the counter of 'until', and resume with --file; a job that may have nothing to count counts 0",
            self.counters_there_are(name, done).unwrap_or_default()
        );
        and_then(error, &self.file.place_of(name))
    }

    fn counters_there_are(&self, name: &str, done: &Done) -> Option<String> {
        let at = self.plan().loops.iter().position(|it| it.name == name)?;
        self.plan().counters_there_are(at, done).map(|there| plain(&there).to_string())
    }

    /// What the counter of a loop's end is, once its round is over.
    fn say_round(&self, execution: &Execution, entry: &Entry) {
        for it in &self.plan().loops {
            let Some(until) = it.until.as_ref().filter(|until| until.job == execution.job) else {
                continue;
            };
            let value = until.value(entry);
            let note = match entry.counters.contains_key(&until.counter) {
                true => "",
                false => " (it was not counted)",
            };
            say!(
                "{}: round {}: {} is {value}{note}",
                plain(&it.name),
                execution.round,
                plain(&until.counter)
            );
        }
    }

    async fn remove_outdated(&self, done: &Done, removed: &mut BTreeSet<Execution>) {
        if self.keep {
            return;
        }
        for (execution, entry) in self.plan().outdated(done) {
            if removed.insert(execution.clone()) {
                // It is removed with all others at the end; the run needs none of it.
                if let Err(error) = self.folder.remove_data(&entry.output).await {
                    say!("warning: {error:#}: it stays until the run's end");
                }
            }
        }
    }

    async fn finish(&self) -> anyhow::Result<()> {
        self.folder.write_end().await?;
        if !self.keep {
            self.folder.remove_data(&self.folder.work()?).await?;
        }
        say!("{}: done", plain(&self.plan().name));
        Ok(())
    }

    /// Runs one execution to its end, which is written down.
    async fn execute(&self, execution: Execution, saved: &Saved, done: Done) -> Ran {
        let ran = async {
            let (mut n, mut is_begun) = saved.next_try(&execution);
            loop {
                let end = match &self.engine {
                    Engine::Cluster(session) => {
                        self.on_cluster(session, &execution, (n, is_begun), &done).await?
                    }
                    Engine::Local { config, sequential } => {
                        self.on_this_host(config, *sequential, &execution, (n, is_begun), &done)
                            .await?
                    }
                };
                match end {
                    // A job that failed before this client looked after it gets another try.
                    Found::FailedBefore => (n, is_begun) = (n + 1, false),
                    Found::Ended(End { failure: Some(failure), .. }) => bail!("{failure}"),
                    Found::Ended(End { output, counters, .. }) => {
                        return Ok(Entry { output, counters });
                    }
                }
            }
        };
        let ran: anyhow::Result<Entry> = ran.await;
        let ran = ran.map_err(|error| {
            let place = self.file.place_of(&execution.job);
            let round = match execution.round {
                0 => String::new(),
                round => format!(", round {round}"),
            };
            and_then(error, &format!("{place}{round}"))
        });
        (execution, ran)
    }

    /// The job of an execution, as its author could have written it in a file beside the workflow.
    fn job(&self, execution: &Execution, done: &Done) -> anyhow::Result<JobFile> {
        let resolved = self.plan().resolved(execution, &self.names()?, done);
        job_of(&self.file.path, resolved.map_err(|why| anyhow!(why))?)
    }

    async fn on_cluster(
        &self,
        session: &Session,
        execution: &Execution,
        (n, is_begun): (u32, bool),
        done: &Done,
    ) -> anyhow::Result<Found> {
        let spec: JobSpec = match is_begun {
            true => self.folder.spec(execution, n).await?,
            false => {
                let mut job = self.job(execution, done)?;
                job.check_for_cluster().or_early()?;
                inputs::of_store(session, &mut job, RECURSION).await?;
                let mut end = termination()?;
                let spec =
                    submit::prepared(session, &job, &mut self.shipped.clone(), &mut end).await?;
                self.folder.write_spec(execution, n, spec).await?
            }
        };
        let accepted = match submit_patiently(session, &spec, &self.key(execution, n)).await {
            Err(error) if is_refusal(&error) => {
                self.note_refusal(execution, n, &error, spec.output).await?;
                return Err(error);
            }
            accepted => accepted?,
        };
        let id = accepted.id;
        if is_begun && matches!(accepted.state, JobState::Failed | JobState::Killed) {
            let failure = Some(format!("{id} {} before", accepted.state.as_str()));
            let end = End { failure, output: spec.output, counters: Default::default() };
            self.folder.write_job_end(execution, n, end).await?;
            return Ok(Found::FailedBefore);
        }
        self.folder.write_id(execution, n, id.to_string()).await?;
        say!("{}: {id}", plain(&spec.name));
        let jobs = session.jobs();
        let ended = submit::await_end(&jobs, id, &mut JobProgress::lines()).await?;
        let failure = submit::must_have_succeeded(&ended).err().map(|error| format!("{error:#}"));
        let counters = match &failure {
            None => counters_patiently(session, id).await?,
            Some(_) => Default::default(),
        };
        let end = End { failure, output: spec.output, counters };
        Ok(Found::Ended(self.folder.write_job_end(execution, n, end).await?))
    }

    /// By which the JobTracker knows a try again.
    fn key(&self, execution: &Execution, n: u32) -> String {
        let run = match self.nonce.as_str() {
            "" => self.run.clone(),
            nonce => format!("{}-{nonce}", self.run),
        };
        format!("workflow/{run}/{}.{}.{n}", execution.job, execution.round)
    }

    /// Ends a try that the JobTracker never took, so that the next one is made of the file as it is then.
    async fn note_refusal(
        &self,
        execution: &Execution,
        n: u32,
        error: &anyhow::Error,
        output: String,
    ) -> anyhow::Result<()> {
        let saved = self.folder.saved().await?;
        let it = saved.tries.get(execution).and_then(|tries| tries.get(&n));
        // Another client may have been taken where this one was not.
        if it.is_some_and(|it| it.id.is_none() && it.end.is_none()) {
            let failure = Some(format!("refused: {error:#}"));
            let end = End { failure, output, counters: Default::default() };
            self.folder.write_job_end(execution, n, end).await?;
        }
        Ok(())
    }

    async fn on_this_host(
        &self,
        config: &Config,
        sequential: bool,
        execution: &Execution,
        (n, is_begun): (u32, bool),
        done: &Done,
    ) -> anyhow::Result<Found> {
        let mut job = self.job(execution, done)?.with_local_paths().or_early()?;
        let output = job.spec.output.clone();
        if is_begun && self.folder.spec(execution, n).await?.output != output {
            let failure = Some("it was cut off, and has another output since".to_owned());
            let end = End { failure, output, counters: Default::default() };
            self.folder.write_job_end(execution, n, end).await?;
            return Ok(Found::FailedBefore);
        }
        if is_begun && self.folder.stands(&output).await? {
            // The try that was cut off may have made it, before its end could be written down.
            if let Some(aside) = self.folder.make_way(&output).await? {
                say!("{}: what stood there is {} now", plain(&output), plain(&aside));
            }
        }
        inputs::of_this_host(&mut job, RECURSION)?;
        job.check_for_local().or_early()?;
        if !is_begun {
            self.folder.write_spec(execution, n, job.spec.clone()).await?;
        }
        let above = Path::new(&output).parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(above)
            .with_context(|| format!("cannot make {}", above.display()))?;
        say!("{}", plain(&job.spec.name));
        job.read_executable().or_early()?;
        let mut job = job.with_files_found().or_early()?;
        let end = match run_locally(&mut job, sequential, config).await?.outcome {
            Ok(counters) => End { failure: None, output, counters },
            Err(failure) => {
                End { failure: Some(failure.message), output, counters: Default::default() }
            }
        };
        Ok(Found::Ended(self.folder.write_job_end(execution, n, end).await?))
    }
}

/// What went wrong first, and below it what `behind` says: where it stands, what to do. Causes keep their types, and are said
/// once, since the sentence has their words.
fn and_then(error: anyhow::Error, behind: &str) -> anyhow::Error {
    let said = sentence(&error);
    error.context(format!("{said}\n  {behind}"))
}

fn is_interruption(error: &anyhow::Error) -> bool {
    error.chain().any(<dyn std::error::Error>::is::<Interrupted>)
}

/// What became of a try.
enum Found {
    Ended(End),
    FailedBefore,
}

fn job_of(path: &Path, mut resolved: Value) -> anyhow::Result<JobFile> {
    // Names of runs and rounds are no texts that could be too long; what an author wrote may be.
    if let Some(name) = resolved.get("name").and_then(Value::as_str) {
        let short: String = name.chars().take(mapreduce_protocol::JOB_NAME_CHARS_MAX).collect();
        resolved["name"] = short.into();
    }
    let spec: JobSpec = serde_json::from_value(resolved)
        .map_err(|error| early(anyhow!("{}", net::schema_words(&error.to_string()))))?;
    JobFile::of(path.to_owned(), spec).or_early()
}

/// All jobs as a first round has them, checked. What jobs before will have counted is not known: where a job is refused with
/// 0 for that, 1 may do.
pub(crate) fn rehearsed(
    file: &WorkflowFile,
    names: &RunNames,
    local: bool,
) -> anyhow::Result<Vec<(Execution, JobFile)>> {
    let all = |counted: u64| {
        let all = file.plan.rehearsed(names, counted);
        all.map_err(|(job, why)| early(anyhow!("{}: {why}", file.place_of(&job))))
    };
    let checked = |value: Value| {
        job_of(&file.path, value).and_then(|job| match local {
            true => job.with_local_paths().or_early(),
            false => job.check_for_cluster().map(|()| job).or_early(),
        })
    };
    let with_either = |((execution, with_0), (_, with_1)): (Rehearsed, Rehearsed)| {
        let job = checked(with_0).or_else(|refused| checked(with_1).map_err(|_| refused));
        let job = job.with_context(|| file.place_of(&execution.job))?;
        Ok((execution, job))
    };
    all(0)?.into_iter().zip(all(1)?).map(with_either).collect()
}

type Rehearsed = (Execution, Value);

/// Puts the programs and local files of all jobs into the chunk store, so that the run can go on from any host.
pub(crate) async fn shipped_of_all(
    session: &Session,
    file: &WorkflowFile,
    names: &RunNames,
) -> anyhow::Result<Shipped> {
    let mut shipped = Shipped::default();
    let mut end = termination()?;
    for (execution, job) in rehearsed(file, names, false)? {
        let shipping = submit::ship_local(session, &job, &mut shipped, &mut end).await;
        shipping.with_context(|| file.place_of(&execution.job))?;
    }
    Ok(shipped)
}

/// Where the runs of a file's local workflows are kept, unless it is said.
pub(crate) fn local_runs(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join("workflows")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> RunNames {
        RunNames { run: "r".into(), work: "/w".into(), store: "" }
    }

    fn parsed(text: &str, variables: &[(String, Value)]) -> WorkflowFile {
        WorkflowFile::parse("flow.yaml".as_ref(), text, variables).unwrap()
    }

    #[test]
    fn a_number_that_is_not_yet_counted_may_be_one_that_0_is_none_for() {
        let text = |n: &str| {
            format!(
                "name: n\njobs:\n  a: {{input: [/i], output: '${{work}}/a', program: {{builtin: {{name: wordcount}}}}}}\n  \
                 b: {{input: ['${{a.output}}'], output: /o, program: {{builtin: {{name: topn, args: {{n: '{n}'}}}}}}}}\n"
            )
        };
        let taken = rehearsed(&parsed(&text("${a.counter.g.N}"), &[]), &names(), false).unwrap();
        assert_eq!(taken.len(), 2);
        let refused = rehearsed(&parsed(&text("none"), &[]), &names(), false).unwrap_err();
        assert!(format!("{refused:#}").contains("flow.yaml:4: job b"), "{refused:#}");
    }
}
