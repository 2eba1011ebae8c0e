//! `howdah workflow`: several jobs of one file: look at what would run, run it, go on, see how far it is.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use chunkstore_protocol::StorePath;
use clap::{Args, Subcommand};
use mapreduce_protocol::JobId;
use serde_json::{Value, json};

use super::{Format, Global, runtime, shown};
use crate::exit::{OrEarly as _, early};
use crate::say::{plain, say};
use crate::session::Session;
use crate::workflow::{
    Driver, Engine, LAYOUT, Plan, RUNS, RunFolder, RunNames, Saved, StoredRun, WorkflowFile,
    local_runs, parse_variable, rehearsed, same_where_done, shipped_of_all,
};

/// Arguments of `workflow`.
#[derive(Debug, Args)]
pub(crate) struct WorkflowArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check a file, and print what would run, and what waits for what; nothing is asked of the cluster
    Check {
        #[command(flatten)]
        args: FileArgs,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Run a file's jobs to their end; the run's name goes to standard output, all else to standard error
    Run {
        #[command(flatten)]
        args: FileArgs,
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        how: HowArgs,
        /// The run's name, if it is not to be made up
        #[arg(long, value_name = "NAME")]
        run: Option<String>,
    },
    /// Go on with a run whose client was interrupted, or of which a job failed; on any host
    Resume {
        /// The run
        run: String,
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        how: HowArgs,
        /// The file as it is now: jobs that have succeeded must be the same, others may have changed
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List the runs, or show how far one is
    Status {
        /// The run; all if left out
        run: Option<String>,
        #[command(flatten)]
        place: PlaceArgs,
    },
}

#[derive(Debug, Args)]
struct FileArgs {
    /// The workflow, YAML; paths of programs and files are relative to it
    file: PathBuf,
    /// Another value than the file's for one of its variables; may be repeated
    #[arg(long = "var", value_name = "NAME=VALUE")]
    variables: Vec<String>,
}

#[derive(Debug, Args)]
struct PlaceArgs {
    /// On local files, without daemons, as `howdah local`
    #[arg(long)]
    local: bool,
    /// Where runs are kept: a folder of the chunk store [default: /workflows], or with --local of this host
    /// [default: workflows, beside the file or here]
    #[arg(long, value_name = "FOLDER")]
    runs: Option<String>,
}

#[derive(Debug, Args)]
struct HowArgs {
    /// Keep what is in ${work} at the end
    #[arg(long)]
    keep: bool,
    /// With --local: run each job as the plain loop that all outputs are compared with
    #[arg(long, requires = "local")]
    sequential: bool,
}

/// Runs `workflow`.
pub(crate) fn run(args: WorkflowArgs, global: &Global) -> anyhow::Result<()> {
    let config = global.client_config()?;
    let session = Session::open(config.clone())?;
    let command = Command { session: &session, config: &config, format: global.format };
    let done = runtime::on_this_thread(async {
        match args.action {
            Action::Check { args, place } => command.check(&args, &place),
            Action::Run { args, place, how, run } => command.run(&args, &place, &how, run).await,
            Action::Resume { run, place, how, file } => {
                command.resume(&run, &place, &how, file.as_deref()).await
            }
            Action::Status { run: Some(run), place } => command.show(&run, &place).await,
            Action::Status { run: None, place } => command.list(&place).await,
        }
    });
    done.map_err(|error| session.explain(error))
}

/// What all actions know.
struct Command<'a> {
    session: &'a Session,
    config: &'a config::Config,
    format: Format,
}

fn read(args: &FileArgs) -> anyhow::Result<(WorkflowFile, Vec<(String, Value)>)> {
    let variables =
        args.variables.iter().map(|it| parse_variable(it)).collect::<Result<Vec<_>, _>>();
    let variables = variables.or_early()?;
    Ok((WorkflowFile::read(&args.file, &variables).or_early()?, variables))
}

impl<'a> Command<'a> {
    /// Where runs are kept.
    async fn runs(&self, place: &PlaceArgs, file: &Path) -> anyhow::Result<RunFolder> {
        if place.local {
            let root = place.runs.as_ref().map_or_else(|| local_runs(file), PathBuf::from);
            return Ok(RunFolder::Local { root: std::path::absolute(root).or_early()? });
        }
        let root: StorePath = place.runs.as_deref().unwrap_or(RUNS).parse().or_early()?;
        Ok(RunFolder::Store { store: self.session.store().await?, root })
    }

    fn engine(&self, place: &PlaceArgs, how: &HowArgs) -> Engine<'a> {
        match place.local {
            true => Engine::Local { config: self.config, sequential: how.sequential },
            false => Engine::Cluster(self.session),
        }
    }

    fn check(&self, args: &FileArgs, place: &PlaceArgs) -> anyhow::Result<()> {
        let (file, _) = read(args)?;
        let root = place.runs.as_deref().unwrap_or(RUNS);
        let names = match place.local {
            false => {
                RunNames { run: "RUN".into(), work: format!("{root}/RUN/data"), store: "howdah://" }
            }
            true => {
                let runs =
                    place.runs.as_ref().map_or_else(|| local_runs(&args.file), PathBuf::from);
                let work = std::path::absolute(runs.join("RUN/data")).or_early()?;
                RunNames { run: "RUN".into(), work: work.display().to_string(), store: "" }
            }
        };
        let jobs = rehearsed(&file, &names, place.local)?;
        for (execution, job) in &jobs {
            job.read_executable().or_early().with_context(|| file.place_of(&execution.job))?;
        }
        if self.format.is_document() {
            let of = |(execution, job): &(crate::workflow::Execution, crate::job_file::JobFile)| {
                let planned = file.plan.job(&execution.job);
                json!({"job": execution.job, "waits_for": planned.map(|it| &it.waits_for),
                       "loop": planned.and_then(|it| it.in_loop).map(|at| &file.plan.loops[at].name), "spec": job.spec})
            };
            return self.format.print(
                &json!({"name": file.plan.name, "jobs": jobs.iter().map(of).collect::<Vec<_>>()}),
            );
        }
        crate::say::tell!("{}", plan_text(&file.plan, &jobs));
        Ok(())
    }

    async fn run(
        &self,
        args: &FileArgs,
        place: &PlaceArgs,
        how: &HowArgs,
        run: Option<String>,
    ) -> anyhow::Result<()> {
        let (file, variables) = read(args)?;
        let run = run.unwrap_or_else(|| made_up(&file.plan.name));
        check_run(&run)?;
        let folder = self.runs(place, &args.file).await?.run(&run)?;
        if folder.plan().await?.is_some() {
            let resume = folder.resume_command(&run);
            let what = format!("there is a run {run} already: `{resume}` goes on with it");
            return Err(anyhow!("{what}, and --run gives this one another name"));
        }
        let engine = self.engine(place, how);
        if let Engine::Cluster(session) = engine {
            session.jobs().is_there().await?;
        }
        let (shipped, nonce) = (Default::default(), net::random_hex(8));
        let mut driver = Driver { engine, file, run, folder, shipped, nonce, keep: how.keep };
        driver.check().await?;
        if let Engine::Cluster(session) = driver.engine {
            driver.shipped = shipped_of_all(session, &driver.file, &driver.names()?).await?;
        }
        let _alone = driver.folder.lock()?;
        let whole = std::path::absolute(&args.file).or_early()?;
        let plan = stored(&driver, whole, variables);
        let written = driver.folder.write_plan(1, plan.clone()).await?;
        if !written.is_same_workflow(&plan) {
            bail!(
                "another client has begun a run {} meanwhile: give this one another name",
                driver.run
            );
        }
        // Of two clients that begin it at once, the first one's counts.
        (driver.shipped, driver.nonce, driver.keep) =
            (written.shipped, written.nonce, written.keep);
        if !self.format.is_document() {
            crate::say::tell!("{}", driver.run);
        }
        driver.drive().await?;
        self.has_succeeded(&driver.run)
    }

    /// What programs are told of a run that is over. People know its name already.
    fn has_succeeded(&self, run: &str) -> anyhow::Result<()> {
        self.format.print(&json!({"run": run, "state": "SUCCEEDED"}))
    }

    async fn resume(
        &self,
        run: &str,
        place: &PlaceArgs,
        how: &HowArgs,
        newer: Option<&Path>,
    ) -> anyhow::Result<()> {
        check_run(run)?;
        let folder = self.runs(place, newer.unwrap_or(Path::new(""))).await?.run(run)?;
        let (n, stored_run) = folder.plan().await?.ok_or_else(|| no_run(run, &folder))?;
        let old = WorkflowFile::parse(&stored_run.file, &stored_run.text, &stored_run.variables)?;
        let _alone = folder.lock()?;
        let keep = how.keep || stored_run.keep;
        if folder.has_ended().await? {
            // The client that ended it may not have come to that any more.
            if !keep {
                folder.remove_data(&folder.work()?).await?;
            }
            say!("{run}: all is done already");
            return self.has_succeeded(run);
        }
        let file = match newer {
            None => old.clone(),
            Some(path) => WorkflowFile::read(path, &stored_run.variables).or_early()?,
        };
        let saved = folder.saved().await?;
        let (engine, shipped) = (self.engine(place, how), stored_run.shipped.clone());
        let (run, nonce) = (run.to_owned(), stored_run.nonce.clone());
        let mut driver = Driver { engine, file, run, folder, shipped, nonce, keep };
        same_where_done(&old, &driver.file, &saved, &driver.names()?)?;
        let whole = match newer {
            None => stored_run.file.clone(),
            Some(path) => std::path::absolute(path).or_early()?,
        };
        if let (Some(_), Engine::Cluster(session)) = (newer, &driver.engine) {
            driver.shipped = shipped_of_all(session, &driver.file, &driver.names()?).await?;
        }
        if newer.is_some() || keep != stored_run.keep {
            let plan = stored(&driver, whole, stored_run.variables);
            let written = driver.folder.write_plan(n + 1, plan.clone()).await?;
            if !written.is_same_workflow(&plan) {
                bail!("another client goes on with another file: resume {} again", driver.run);
            }
        }
        driver.drive().await?;
        self.has_succeeded(&driver.run)
    }

    async fn list(&self, place: &PlaceArgs) -> anyhow::Result<()> {
        let runs = self.runs(place, Path::new("")).await?;
        let mut rows = Vec::new();
        for name in runs.names("").await? {
            let folder = runs.run(&name)?;
            let Ok(Some((_, plan))) = folder.plan().await else { continue };
            let file = WorkflowFile::parse(&plan.file, &plan.text, &plan.variables);
            let workflow = file.map_or_else(|_| String::new(), |file| file.plan.name);
            let saved = folder.saved().await?;
            rows.push((name, state_of(&folder, &saved).await?, saved.done().len(), workflow));
        }
        if self.format.is_document() {
            let json = |(run, state, done, workflow): &(String, &str, usize, String)| json!({"run": run, "state": state, "executions_done": done, "workflow": workflow});
            return self.format.print(&json!({"runs": rows.iter().map(json).collect::<Vec<_>>()}));
        }
        let mut table = vec![["RUN", "STATE", "DONE", "WORKFLOW"].map(str::to_owned)];
        table.extend(rows.into_iter().map(|(run, state, done, workflow)| {
            [plain(&run), state.to_owned(), done.to_string(), plain(&workflow)]
        }));
        if table.len() > 1 {
            crate::say::tell!("{}", shown::table(&table, [false, false, true, false]).trim_end());
        }
        Ok(())
    }

    async fn show(&self, run: &str, place: &PlaceArgs) -> anyhow::Result<()> {
        check_run(run)?;
        let folder = self.runs(place, Path::new("")).await?.run(run)?;
        let (_, stored_run) = folder.plan().await?.ok_or_else(|| no_run(run, &folder))?;
        let file = WorkflowFile::parse(&stored_run.file, &stored_run.text, &stored_run.variables)?;
        let saved = folder.saved().await?;
        let state = state_of(&folder, &saved).await?;
        let mut rows = Vec::new();
        for (execution, tries) in &saved.tries {
            for (n, it) in tries {
                let state = match &it.end {
                    Some(end) if end.failure.is_none() => "SUCCEEDED".to_owned(),
                    Some(_) => "FAILED".to_owned(),
                    None => self.state_of_job(it.id.as_deref()).await,
                };
                let failure =
                    it.end.as_ref().and_then(|end| end.failure.clone()).unwrap_or_default();
                let id = it.id.clone().unwrap_or_default();
                rows.push((execution.job.clone(), execution.round, *n, state, id, failure));
            }
        }
        if self.format.is_document() {
            let json = |(job, round, n, state, id, failure): &(
                String,
                u32,
                u32,
                String,
                String,
                String,
            )| {
                json!({"job": job, "round": round, "try": n, "state": state, "id": id, "failure": failure})
            };
            let jobs: Vec<_> = rows.iter().map(json).collect();
            return self.format.print(
                &json!({"run": run, "workflow": file.plan.name, "state": state, "jobs": jobs}),
            );
        }
        crate::say::tell!("run        {}", plain(run));
        crate::say::tell!("workflow   {}", plain(&file.plan.name));
        crate::say::tell!("state      {state}");
        let mut table = vec![["JOB", "ROUND", "TRY", "STATE", "ID", "FAILURE"].map(str::to_owned)];
        table.extend(rows.into_iter().map(|(job, round, n, state, id, failure)| {
            let round = if round == 0 { String::new() } else { round.to_string() };
            [job, round, n.to_string(), state, plain(&id), plain(&failure)]
        }));
        let right = [false, true, true, false, false, false];
        crate::say::tell!("\n{}", shown::table(&table, right).trim_end());
        Ok(())
    }

    /// What the JobTracker says of a job whose end nobody has written down.
    async fn state_of_job(&self, id: Option<&str>) -> String {
        let Some(id) = id.and_then(|id| id.parse::<JobId>().ok()) else {
            return "BEGUN".to_owned();
        };
        match self.session.jobs().status(id).await {
            Ok(status) => status.state.as_str().to_owned(),
            Err(_) => "UNKNOWN".to_owned(),
        }
    }
}

fn stored(driver: &Driver<'_>, file: PathBuf, variables: Vec<(String, Value)>) -> StoredRun {
    let (text, shipped) = (driver.file.text.clone(), driver.shipped.clone());
    let (nonce, keep) = (driver.nonce.clone(), driver.keep);
    StoredRun { version: LAYOUT, text, file, variables, shipped, nonce, keep }
}

fn no_run(run: &str, folder: &RunFolder) -> anyhow::Error {
    anyhow!("there is no run {run} ({}): `howdah workflow status` lists them", folder.shown())
}

/// How a run is.
async fn state_of(folder: &RunFolder, saved: &Saved) -> anyhow::Result<&'static str> {
    if folder.has_ended().await? {
        return Ok("SUCCEEDED");
    }
    let has_failed = saved.tries.values().any(|tries| {
        let last = tries.last_key_value().and_then(|(_, it)| it.end.as_ref());
        last.is_some_and(|end| end.failure.is_some())
    });
    Ok(if has_failed { "FAILED" } else { "UNFINISHED" })
}

/// Letters of the workflow's name, and some digits that no other run has.
fn made_up(name: &str) -> String {
    let letters =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let slug: String = letters.take(40).collect();
    let slug = slug.trim_matches('-');
    let slug = if slug.is_empty() { "run" } else { slug };
    format!("{slug}-{}", net::random_hex(4))
}

/// It is part of paths, and of idempotency keys.
fn check_run(run: &str) -> anyhow::Result<()> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if (1..=80).contains(&run.len()) && run.bytes().all(is_name) {
        return Ok(());
    }
    Err(early(anyhow!("a run's name is 1 to 80 letters, digits, _ and -, and not {run:?}")))
}

fn plan_text(
    plan: &Plan,
    jobs: &[(crate::workflow::Execution, crate::job_file::JobFile)],
) -> String {
    let mut lines = vec![format!("{}: {} jobs", plain(&plan.name), plan.jobs.len())];
    let mut shown_loop = None;
    for (planned, (_, job)) in plan.jobs.iter().zip(jobs) {
        if let Some(at) = planned.in_loop.filter(|_| planned.in_loop != shown_loop) {
            let it = &plan.loops[at];
            let until = it.until.as_ref().map_or(String::new(), |until| format!(", until {until}"));
            lines.push(format!("  {}: up to {} rounds{}", it.name, it.rounds, plain(&until)));
        }
        shown_loop = planned.in_loop;
        let indent = if planned.in_loop.is_some() { "    " } else { "  " };
        let after = match planned.waits_for.is_empty() {
            true => String::new(),
            false => {
                let names: Vec<&str> = planned.waits_for.iter().map(String::as_str).collect();
                format!("  after {}", names.join(", "))
            }
        };
        let reads = job.spec.input.join(", ");
        lines.push(format!(
            "{indent}{}: {} -> {}{after}",
            planned.name,
            plain(&reads),
            plain(&job.spec.output)
        ));
    }
    lines.join("\n")
}
