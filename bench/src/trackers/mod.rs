//! The JobTracker with as many TaskTrackers as no test machine has: this process plays all of them over HTTP, against a real
//! `howdah jobtracker`, through one job of very many maps and some reduces. Time is not sped up. On the way a part of them dies
//! at once, as by a power cut: their connections stay, and nothing comes any more.

mod cluster;
mod front;
mod process;
mod tally;
mod toy;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use clock::Stopwatch;
use mapreduce_protocol::{
    Builtin, JobAccepted, JobSpec, JobState, JobStatus, JobtrackerInfo, Program,
};
use net::Client;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::report::Report;
use cluster::Cluster;
use tally::Tally;
use toy::{Common, Toy};

/// How large the pretended cluster is.
#[derive(Args, Clone, Debug)]
pub(crate) struct TrackersArgs {
    /// TaskTrackers.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) trackers: u64,
    /// Racks that they stand in.
    #[arg(long, default_value_t = 25)]
    pub(crate) racks: u64,
    /// Slots of each.
    #[arg(long, default_value_t = 2)]
    slots: u32,
    /// Maps of the job.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) tasks: u64,
    /// Milliseconds that each of them takes in the mean.
    #[arg(long, default_value_t = 30_000)]
    task_ms: u64,
    /// Reduces of the job.
    #[arg(long, default_value_t = 20)]
    reduces: u32,
    /// Milliseconds that a heartbeat may wait for news, before the JobTracker stretches that.
    #[arg(long, default_value_t = 3000)]
    pub(crate) interval_ms: u64,
    /// TaskTrackers that die at once when a third of the maps are done.
    #[arg(long, default_value_t = 1000)]
    die: u64,
    /// Fail if a goal is missed.
    #[arg(long)]
    pub(crate) goals: bool,
    /// Keep the table in this file.
    #[arg(long)]
    pub(crate) write: Option<PathBuf>,
}

const ANSWERED_WITHIN: Duration = Duration::from_millis(100);
const MEMORY_MAX: u64 = 1 << 30;
const AGAIN_WITHIN: Duration = Duration::from_secs(15);

/// Trackers that register at once.
const REGISTRATIONS: usize = 64;
/// How often the JobTracker is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The job may take so many times as long as its maps alone would, and a while more.
const PATIENCE_TIMES: u32 = 3;
const PATIENCE: Duration = Duration::from_mins(3);
/// Trackers of which it is shown why they were dropped.
const SHOWN_MAX: u64 = 5;
/// Descriptors beside two for each tracker.
const OTHER_DESCRIPTORS: u64 = 500;

/// Adds a row for each thing that is measured.
///
/// # Errors
/// When the job does not succeed.
pub(crate) fn measure(args: &TrackersArgs, report: &mut Report) -> anyhow::Result<()> {
    process::raise_descriptors(args.trackers * 2 + OTHER_DESCRIPTORS)?;
    // The JobTracker has the first processor to itself: what plays the trackers waits for no turn of it, nor it for theirs.
    let leave_first = || {
        if let Err(error) = process::leave_first_processor() {
            eprintln!("trackers: they share the JobTracker's processor: {error}");
        }
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().on_thread_start(leave_first).build()?.block_on(run(args, report))
}

async fn run(args: &TrackersArgs, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Cluster::start(args).await?;
    process::pin(cluster.pid(), 0)?;
    let common = Arc::new(Common {
        jobtracker: cluster.jobtracker.clone(),
        token: cluster.tracker_token(),
        slots: args.slots,
        map_time: Duration::from_millis(args.task_ms),
        tally: Tally::new(),
    });
    let (kill, death) = watch::channel(false);
    let registering = Stopwatch::start();
    let mut toys = start_all(args, &common, &death).await?;
    let registered_in = registering.elapsed();

    let look = Look { user: cluster.user(), cluster: &cluster, args, common: &common };
    let begun = Stopwatch::start();
    let job = look.submit().await?;
    let third = look.await_maps(job.id, args.tasks / 3, begun).await?;
    let answered = common.tally.answered.to_string();
    let is_quick = common.tally.answered.per_mille(990) <= ANSWERED_WITHIN;
    let launched = common.tally.launched.to_string();
    report.row(
        format!("{} TaskTrackers registered, {REGISTRATIONS} at a time", args.trackers),
        format!("{:.1} s", registered_in.as_secs_f64()),
        "–",
        true,
    );
    let goal = format!("p99 ≤ {} ms", ANSWERED_WITHIN.as_millis());
    report.row("a heartbeat is answered late by", answered, goal, is_quick);
    report.row("from an attempt's end to the next launch in its slot", launched, "–", true);
    report.row("processor time of the JobTracker meanwhile", third, "on one processor", true);

    common.tally.answered.clear();
    // Whoever waits for it has died: that is the end of it.
    let _all_dead = kill.send(true);
    look.await_deaths(report).await?;
    let ended = look.await_end(job.id, begun).await?;
    report_end(args, &common, &ended, begun.elapsed(), report);
    let (now, most) = process::memory(cluster.pid())?;
    report.row(
        "memory of the JobTracker",
        format!("{} MiB at most, {} MiB at the job's end", most >> 20, now >> 20),
        format!("≤ {} MiB", MEMORY_MAX >> 20),
        most <= MEMORY_MAX,
    );
    toys.abort_all();
    Ok(())
}

fn report_end(
    args: &TrackersArgs,
    common: &Common,
    ended: &JobStatus,
    took: Duration,
    report: &mut Report,
) {
    let slots = args.trackers * u64::from(args.slots);
    let ideal = Duration::from_millis(args.task_ms * args.tasks.div_ceil(slots));
    let maps = ended.maps;
    report.row(
        format!("the job: {} maps of {} ms, {} reduces", args.tasks, args.task_ms, args.reduces),
        format!(
            "{:.0} s; {} attempts of maps, {} node-local, {} rack-local; {} launches",
            took.as_secs_f64(),
            maps.attempts,
            maps.node_local,
            maps.rack_local,
            common.tally.launches.load(Ordering::Relaxed)
        ),
        format!("{:.0} s are its maps alone", ideal.as_secs_f64()),
        true,
    );
    report.row(
        "heartbeats after the deaths, answered late by",
        common.tally.answered.to_string(),
        "–",
        true,
    );
    let dropped = common.tally.dropped.load(Ordering::Relaxed);
    report.row("live TaskTrackers that were dropped", dropped.to_string(), "none", dropped == 0);
}

/// Registers all trackers, a few at a time, and lets them live.
async fn start_all(
    args: &TrackersArgs,
    common: &Arc<Common>,
    death: &watch::Receiver<bool>,
) -> anyhow::Result<JoinSet<()>> {
    let permits = Arc::new(Semaphore::new(REGISTRATIONS));
    let (mut toys, mut registrations) = (JoinSet::new(), JoinSet::new());
    for n in 0..args.trackers {
        let rack = cluster::rack(n % args.racks);
        let mut toy = Toy::new(Arc::clone(common), cluster::host(n), rack);
        let permits = Arc::clone(&permits);
        registrations.spawn(async move {
            let _permit = permits.acquire().await;
            toy.register().await.map(|()| (n, toy))
        });
    }
    while let Some(registered) = registrations.join_next().await {
        let (n, toy) = registered??;
        let dies = (n * args.die) / args.trackers != ((n + 1) * args.die) / args.trackers;
        toys.spawn(live(toy, dies.then(|| death.clone()), Arc::clone(common)));
    }
    Ok(toys)
}

/// Lives until it is its turn to die. A dead one keeps its connections, and says nothing.
async fn live(mut toy: Toy, death: Option<watch::Receiver<bool>>, common: Arc<Common>) {
    let died = async {
        match death {
            Some(mut death) => death.wait_for(|is_over| *is_over).await.map(drop),
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = toy.run() => ended,
        _ = died => {
            common.tally.lose(toy.running().map(|attempt| attempt.task));
            std::future::pending().await
        }
    };
    let Err(error) = ended else { return };
    if common.tally.dropped.fetch_add(1, Ordering::Relaxed) < SHOWN_MAX {
        eprintln!("a live tracker was dropped: {error:#}");
    }
}

/// Looks at what becomes of it.
struct Look<'a> {
    user: Client,
    cluster: &'a Cluster,
    args: &'a TrackersArgs,
    common: &'a Common,
}

impl Look<'_> {
    async fn submit(&self) -> anyhow::Result<JobAccepted> {
        let builtin = Builtin { name: "wordcount".to_owned(), args: BTreeMap::new() };
        let spec = JobSpec {
            reduces: Some(self.args.reduces),
            ..JobSpec::new(
                "as many as there are",
                vec![front::INPUT.to_owned()],
                "/out",
                Program::Builtin(builtin),
            )
        };
        Ok(self.user.post(&self.cluster.jobtracker, "/v1/jobs", &spec).await?)
    }

    async fn status(&self, job: impl std::fmt::Display) -> anyhow::Result<JobStatus> {
        let path = format!("/v1/jobs/{job}");
        let status: JobStatus = self.user.get(&self.cluster.jobtracker, &path).await?;
        let is_lost = matches!(status.state, JobState::Failed | JobState::Killed);
        anyhow::ensure!(!is_lost, "{}: {:?}", status.state.as_str(), status.failure);
        Ok(status)
    }

    /// Waits until so many maps are done; what the JobTracker has taken of its processor from the first one on.
    async fn await_maps(
        &self,
        job: impl std::fmt::Display,
        wanted: u64,
        begun: Stopwatch,
    ) -> anyhow::Result<String> {
        let pid = self.cluster.pid();
        while self.status(&job).await?.maps.succeeded == 0 {
            self.pause(begun).await?;
        }
        let planned_in = begun.elapsed();
        let (watch, before) = (Stopwatch::start(), process::processor_seconds(pid)?);
        self.common.tally.answered.clear();
        self.common.tally.launched.clear();
        while u64::from(self.status(&job).await?.maps.succeeded) < wanted {
            self.pause(begun).await?;
        }
        let used = process::processor_seconds(pid)? - before;
        Ok(format!(
            "{:.0} % over {:.0} s, {:.0} heartbeats answered a second; the first map was done after {:.1} s",
            100.0 * used / watch.elapsed().as_secs_f64(),
            watch.elapsed().as_secs_f64(),
            self.common.tally.answered.n() as f64 / watch.elapsed().as_secs_f64(),
            planned_in.as_secs_f64()
        ))
    }

    /// Waits until the dead are known to be, and what they ran runs elsewhere.
    async fn await_deaths(&self, report: &mut Report) -> anyhow::Result<()> {
        let watch = Stopwatch::start();
        let alive = self.args.trackers - self.args.die;
        let mut noticed = None;
        let (n_tasks, again) = loop {
            let path = "/v1/cluster";
            let info: JobtrackerInfo = self.user.get(&self.cluster.jobtracker, path).await?;
            if u64::from(info.trackers) == alive {
                noticed.get_or_insert_with(|| watch.elapsed());
            }
            let (n_tasks, again) = self.common.tally.lost_and_again();
            let is_over = n_tasks == 0 && self.args.die == 0;
            if noticed.is_some() && (again.is_some() || is_over) {
                break (n_tasks, again.unwrap_or_default());
            }
            self.pause(watch).await?;
        };
        let noticed = noticed.unwrap_or_default();
        report.row(
            format!("{} of {} TaskTrackers die at once", self.args.die, self.args.trackers),
            format!(
                "all noticed, and their tasks waiting again, after {:.1} s; the last of {n_tasks} tasks that ran there found a \
                 slot after {:.1} s",
                noticed.as_secs_f64(),
                again.as_secs_f64()
            ),
            format!("≤ {} s", AGAIN_WITHIN.as_secs()),
            noticed <= AGAIN_WITHIN,
        );
        Ok(())
    }

    async fn await_end(
        &self,
        job: impl std::fmt::Display,
        begun: Stopwatch,
    ) -> anyhow::Result<JobStatus> {
        loop {
            let status = self.status(&job).await?;
            if status.state == JobState::Succeeded {
                return Ok(status);
            }
            self.pause(begun).await?;
        }
    }

    async fn pause(&self, since: Stopwatch) -> anyhow::Result<()> {
        let slots = self.args.trackers * u64::from(self.args.slots);
        let maps = Duration::from_millis(self.args.task_ms * self.args.tasks.div_ceil(slots));
        anyhow::ensure!(since.elapsed() < maps * PATIENCE_TIMES + PATIENCE, "it takes too long");
        tokio::time::sleep(LOOK_EVERY).await;
        Ok(())
    }
}
