//! Jobs of every kind on a real cluster, each in turn with the programs that do the same elsewhere: how long they take, and
//! what they cost. Peers are run by `bench/peers/run`; one that is not installed is skipped, and said to be.

mod baseline;
mod lines;
mod machine;
mod pagerank;
mod run;
pub(crate) mod usage;
mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum as _};
use tests::cluster::Dev;
use tests::command::finish;

use crate::measure::{Rates, Samples};
use crate::report::Report;
use baseline::Plain;
use lines::Lines;
use usage::Usage;
use workload::{Peer, Workload};

/// What to run, and beside what.
#[derive(Args)]
pub(crate) struct SuiteArgs {
    /// Only these; the default is all.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Workload>,
    /// Bytes of each input.
    #[arg(long, default_value = "1GiB")]
    size: config::Bytes,
    /// Runs of each thing; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Programs to compare with, as `bench/peers/run` names them.
    #[arg(long, value_delimiter = ',', default_value = "rust,rust-tuned,gnu,rg")]
    peers: Vec<String>,
    /// Folder that `bench/peers/setup` made, for peers that need more than this package.
    #[arg(long, value_name = "FOLDER")]
    peers_dir: Option<PathBuf>,
    /// Compare processor time per byte with what is kept in this file, and fail where it is more by more than noise.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Keep processor time per byte in this file.
    #[arg(long, value_name = "FILE", conflicts_with = "baseline")]
    keep_baseline: Option<PathBuf>,
    /// Fail if a goal is missed.
    #[arg(long)]
    pub(crate) goals: bool,
    /// Keep the table in this file.
    #[arg(long)]
    pub(crate) write: Option<PathBuf>,
}

/// Daemons of the measured cluster, besides the two masters.
const TRACKERS: u32 = 3;
/// What a peer's script says by its exit code when it can't run here.
const NOT_HERE: i32 = 77;
/// Below this it is the start of processes that counts, and no goal is missed.
const FULL_BYTES: u64 = 1 << 30;
/// An empty job on an idle machine.
const EMPTY_JOB_MAX: Duration = Duration::from_millis(60);
/// Bytes a second that reduces fetch.
const SHUFFLE_MIN: f64 = 1_200e6;

/// Adds the rows of each workload. Whether none has become dearer, where that was asked.
///
/// # Errors
/// When one can't be run, or its output is wrong.
pub(crate) fn measure(args: &SuiteArgs, report: &mut Report) -> anyhow::Result<bool> {
    let folder = tempfile::tempdir()?;
    let rates = machine::Rates::measure(folder.path())?;
    report.row("the machine", rates.shown(), "–", true);
    let is_compared = args.baseline.is_some() || args.keep_baseline.is_some();
    let mut plain = is_compared.then(|| Plain::new(folder.path())).transpose()?;
    let mut costs = BTreeMap::new();
    for workload in Workload::value_variants() {
        if args.only.is_empty() || args.only.contains(workload) {
            let bench = Bench::new(*workload, args, rates)?;
            let least = bench.measure(report, plain.as_mut())?;
            if let Some(plain) = &plain {
                costs.insert(workload.name(), plain.ratio(least, bench.input_bytes));
            }
        }
    }
    if let Some(file) = &args.keep_baseline {
        baseline::keep(file, args.size, &costs)?;
    }
    match &args.baseline {
        Some(file) => baseline::compare(file, args.size, &costs, report),
        None => Ok(true),
    }
}

/// One workload, its cluster and its peers.
struct Bench<'a> {
    workload: Workload,
    args: &'a SuiteArgs,
    rates: machine::Rates,
    cluster: Dev,
    roots: Vec<i32>,
    /// Local files or folders.
    inputs: Vec<PathBuf>,
    input_bytes: u64,
    /// Paths of the same in the store.
    stored: Vec<String>,
    expected: Lines,
}

/// All runs of one program.
#[derive(Default)]
struct Runs {
    walls: Samples,
    usages: Vec<Usage>,
    /// Of the shuffle alone: bytes a second.
    shuffled: Rates,
}

impl<'a> Bench<'a> {
    fn new(workload: Workload, args: &'a SuiteArgs, rates: machine::Rates) -> anyhow::Result<Self> {
        let cluster = Dev::start(&run::options(workload));
        let numbered = |kind: &str| (1..=TRACKERS).map(move |n| format!("{kind}-{n}")).collect();
        let servers: Vec<String> = numbered("chunkserver");
        let trackers: Vec<String> = numbered("tasktracker");
        let masters = ["chunkmaster", "jobtracker"].map(ToOwned::to_owned);
        let daemons = masters.iter().chain(&servers).chain(&trackers);
        let roots = daemons.map(|daemon| cluster.pid(daemon)).collect();
        let inputs = workload.make_input(&cluster.scratch().join("input"), args.size.0)?;
        let mut stored = Vec::new();
        for input in inputs.iter().filter(|_| !workload.is_of_local_files()) {
            let name = input.file_name().and_then(|name| name.to_str()).context("a name")?;
            stored.push(format!("/{name}"));
            cluster.put(input, &format!("/{name}"));
        }
        let input_bytes = inputs.iter().map(|input| bytes_of(input)).sum::<anyhow::Result<_>>()?;
        let expected = workload.expected(&inputs)?;
        Ok(Self { workload, args, rates, cluster, roots, inputs, input_bytes, stored, expected })
    }

    /// Runs it in turn with its peers; the least processor time that it took, seconds.
    fn measure(&self, report: &mut Report, mut plain: Option<&mut Plain>) -> anyhow::Result<f64> {
        let asked = |peer: &&Peer| self.args.peers.iter().any(|name| name == peer.name);
        let mut peers: Vec<_> = self.workload.peers().iter().filter(asked).collect();
        let mut theirs: Vec<Runs> = peers.iter().map(|_| Runs::default()).collect();
        let mut ours = Runs::default();
        // The first round warms up, and is where outputs are looked at.
        for round in 0..=self.args.runs {
            let is_measured = round > 0;
            self.run(is_measured, &mut ours)?;
            if let Some(plain) = plain.as_deref_mut() {
                plain.run()?;
            }
            let mut nth = 0;
            while let Some(peer) = peers.get(nth) {
                match self.run_peer(peer.name)? {
                    Some(usage) if is_measured => theirs[nth].push(usage),
                    Some(_) => {}
                    None => {
                        peers.remove(nth);
                        theirs.remove(nth);
                        continue;
                    }
                }
                nth += 1;
            }
        }
        self.give(&ours, report);
        for (peer, theirs) in peers.into_iter().zip(&theirs) {
            self.compare(peer, &ours, theirs, report);
        }
        Ok(ours.usages.iter().map(|usage| usage.cpu_seconds).fold(f64::INFINITY, f64::min))
    }

    /// One run, from the command line to its output, which is replicated and synced where it is in the store.
    fn run(&self, is_measured: bool, runs: &mut Runs) -> anyhow::Result<()> {
        let mut command = self.command()?;
        let mut said = String::new();
        let usage = usage::of(&self.roots, || {
            let ended = finish(&mut command);
            anyhow::ensure!(ended.code == Some(0), "{command:?} failed: {}", ended.stderr);
            said = ended.text();
            Ok(())
        })?;
        if is_measured {
            runs.push(usage);
            if self.workload == Workload::Shuffle {
                runs.shuffled.push(self.shuffle_rate(&said)?);
            }
        } else {
            self.check(&said)?;
        }
        self.clean_up()
    }

    /// The same by another program; nothing where it is not installed.
    fn run_peer(&self, name: &str) -> anyhow::Result<Option<Usage>> {
        let output = self.cluster.scratch().join("peer-output");
        remove(&output)?;
        let mut command = Command::new(tests::binary::root().join("bench/peers/run"));
        command.args([name, &self.workload.name()]).arg(&output).args(&self.inputs);
        command.env("BENCH_BIN", std::env::current_exe()?.parent().context("a folder")?);
        if let Some(folder) = &self.args.peers_dir {
            command.env("PEERS_DIR", folder.canonicalize()?);
        }
        tests::cluster::end_with_this_process(&mut command);
        let mut said = None;
        let usage = usage::of(&[], || {
            said = Some(command.stdin(Stdio::null()).output()?);
            Ok(())
        })?;
        let said = said.context("it has ended")?;
        let message = String::from_utf8_lossy(&said.stderr);
        match said.status.code() {
            Some(0) => {}
            Some(NOT_HERE) => {
                eprintln!("{} beside {name}: skipped: {}", self.workload.name(), message.trim());
                return Ok(None);
            }
            _ => anyhow::bail!("bench/peers/run {name}: {}: {message}", said.status),
        }
        anyhow::ensure!(output.exists(), "bench/peers/run {name}: no output");
        remove(&output)?;
        Ok(Some(usage))
    }

    /// Howdah's own rows.
    fn give(&self, ours: &Runs, report: &mut Report) {
        let (goal, is_met) = match self.workload {
            Workload::Empty => (
                format!("≤ {} ms", EMPTY_JOB_MAX.as_millis()),
                ours.walls.median() <= EMPTY_JOB_MAX,
            ),
            _ => ("–".to_owned(), true),
        };
        let limit = ours.median(|usage| self.rates.limit(usage, self.input_bytes).as_secs_f64());
        let share = 100.0 * limit / ours.walls.median().as_secs_f64().max(f64::EPSILON);
        let measured = format!(
            "{}; {}; {share:.0} % of the limit, in which the machine could move those bytes: {:.0} ms",
            ours.walls,
            ours.costs(self.input_bytes),
            limit * 1e3,
        );
        report.row(self.workload.title(self.args.size), measured, goal, is_met);
        if self.workload == Workload::Shuffle {
            let is_met = self.is_small() || ours.shuffled.median() >= SHUFFLE_MIN;
            let goal = format!("≥ {:.0} MB/s", SHUFFLE_MIN / 1e6);
            let measured = format!("{} bytes", ours.shuffled);
            report.row("… what the reduces fetched while they waited", measured, goal, is_met);
        }
    }

    fn is_small(&self) -> bool {
        self.args.size.0 < FULL_BYTES
    }

    fn compare(&self, peer: &Peer, ours: &Runs, theirs: &Runs, report: &mut Report) {
        let ratio = ours.walls.ratio_to(&theirs.walls);
        let cpu = ours.cpu() / theirs.cpu().max(f64::EPSILON);
        let measured = format!(
            "{}, {:.2} s of processors; ratio {ratio:.2}, of processors {cpu:.2}",
            theirs.walls,
            theirs.cpu(),
        );
        let job = if peer.and_a_job { EMPTY_JOB_MAX } else { Duration::ZERO };
        let most = |max| theirs.walls.median().mul_f64(max) + job;
        let is_met =
            self.is_small() || peer.ratio_max.is_none_or(|max| ours.walls.median() <= most(max));
        let besides =
            if peer.and_a_job { format!(" + {} ms", job.as_millis()) } else { String::new() };
        let goal = peer.ratio_max.map(|max| format!("≤ {max:.2} × its time{besides}"));
        let goal = goal.unwrap_or_else(|| "–".to_owned());
        report.row(format!("… beside {}", peer.name), measured, goal, is_met);
    }
}

impl Runs {
    fn push(&mut self, usage: Usage) {
        self.walls.push(usage.wall);
        self.usages.push(usage);
    }

    /// The run in the middle, of whatever is asked.
    fn median(&self, what: impl Fn(&Usage) -> f64) -> f64 {
        let mut all: Vec<f64> = self.usages.iter().map(what).collect();
        all.sort_unstable_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    }

    fn cpu(&self) -> f64 {
        self.median(|usage| usage.cpu_seconds)
    }

    /// What `input_bytes` cost.
    fn costs(&self, input_bytes: u64) -> String {
        #[expect(clippy::cast_precision_loss, reason = "two digits of it are shown")]
        let each = |bytes: u64| bytes as f64 / input_bytes.max(1) as f64;
        #[expect(clippy::cast_precision_loss, reason = "whole MiB are shown")]
        let mib = self.median(|usage| usage.peak_bytes as f64) / f64::from(1 << 20);
        format!(
            "{:.2} s of processors, at most {mib:.0} MiB; per byte of input {:.2} from disks, {:.2} to disks, {:.2} sent",
            self.cpu(),
            self.median(|usage| each(usage.disk_read)),
            self.median(|usage| each(usage.disk_written)),
            self.median(|usage| each(usage.sent)),
        )
    }
}

/// Bytes of a file, or of the files of a folder.
fn bytes_of(path: &Path) -> anyhow::Result<u64> {
    if path.is_file() {
        return Ok(path.metadata()?.len());
    }
    std::fs::read_dir(path)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => Ok(std::fs::remove_dir_all(path)?),
        Ok(_) => Ok(std::fs::remove_file(path)?),
        Err(_) => Ok(()),
    }
}
