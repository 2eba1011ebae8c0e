//! How each workload is run, as a user would; where its output is then, and whether it is right.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;
use tests::cluster::{Dev, DevOptions};
use tests::command::finish;

use super::lines::{Lines, each};
use super::workload::Workload;
use super::{Bench, TRACKERS, pagerank, remove};

/// Where the output is put, in the store.
const OUT: &str = "/out";

/// What the measured cluster is made of.
pub(super) fn options(workload: Workload) -> DevOptions {
    let options = DevOptions::trackers(TRACKERS)
        .set("chunkmaster.replication=2")
        .set("chunkmaster.trash_interval=0s")
        .set("chunkserver.trash_interval=0s");
    match workload {
        // Fetching is to wait for no map, and for no merge.
        Workload::Shuffle => {
            options.set("jobtracker.reduce_slowstart=1").set("task.fetch_buffer=2GiB")
        }
        _ => options,
    }
}

impl Bench<'_> {
    /// What a user types.
    pub(super) fn command(&self) -> anyhow::Result<Command> {
        let Self { workload, cluster, inputs, stored, .. } = self;
        let local = self.local_output();
        Ok(match workload {
            Workload::Put => {
                let mut command = cluster.client(&["fs", "put"]);
                command.arg(&inputs[0]).arg(OUT);
                command
            }
            Workload::Get => {
                let mut command = cluster.client(&["fs", "get", &stored[0]]);
                command.arg(local);
                command
            }
            Workload::Pagerank => {
                let file = cluster.job_file("pagerank.yaml", &pagerank::workflow()?);
                cluster.client(&["workflow", "run", &file])
            }
            Workload::Sort => {
                let inputs = inputs.iter().map(|path| text(path)).collect::<Result<Vec<_>, _>>()?;
                cluster.client(&["local", &self.job_file(&inputs, &text(&local)?)?])
            }
            _ => cluster.client(&["job", "submit", &self.job_file(stored, OUT)?, "--wait"]),
        })
    }

    fn job_file(&self, inputs: &[String], output: &str) -> anyhow::Result<String> {
        let spec = self.workload.spec(inputs, output).context("a workload that is a job")?;
        Ok(self.cluster.job_file("suite.json", &spec.to_string()))
    }

    fn local_output(&self) -> PathBuf {
        self.cluster.scratch().join("output")
    }

    /// A fast wrong answer fails. `said` is what the command has printed.
    pub(super) fn check(&self, said: &str) -> anyhow::Result<()> {
        if self.workload == Workload::Shuffle {
            return self.check_shuffled(said);
        }
        let output = self.local_output();
        if !matches!(self.workload, Workload::Get | Workload::Sort) {
            self.cluster.get(OUT, &output);
        }
        let name = self.workload.name();
        if self.workload == Workload::Pagerank {
            return pagerank::compare(&output, &self.ranks()?).context(name);
        }
        let mut lines = Lines::default();
        each(&output, |line| lines.add(line))?;
        let expected = &self.expected;
        anyhow::ensure!(lines == *expected, "{name}: {} lines, expected {}", lines.n, expected.n);
        anyhow::ensure!(self.workload.is_in_order(&output)?, "{name}: not in order");
        Ok(())
    }

    /// The reduces must have got each record; and how fast they got them, they say themselves.
    fn check_shuffled(&self, said: &str) -> anyhow::Result<()> {
        let counters = counters(&self.cluster, said)?;
        let records = counter(&counters, "REDUCE_INPUT_RECORDS")?;
        let expected = counter(&counters, "MAP_INPUT_RECORDS")?;
        anyhow::ensure!(records == expected, "shuffle: {records} records, expected {expected}");
        Ok(())
    }

    /// Bytes a second that the reduces of a job together fetched, while they waited for nothing else.
    pub(super) fn shuffle_rate(&self, said: &str) -> anyhow::Result<f64> {
        let counters = counters(&self.cluster, said)?;
        let bytes = counter(&counters, "REDUCE_SHUFFLE_BYTES")?;
        let waited = counter(&counters, "SHUFFLE_WAIT_MS")?;
        let spec = self.workload.spec(&[], "").context("it is a job")?;
        let reduces = spec["reduces"].as_u64().context("its reduces")?;
        // They wait at the same time.
        let seconds = (waited as f64 / reduces.max(1) as f64 / 1e3).max(1e-3);
        Ok(bytes as f64 / seconds)
    }

    /// What the plain program makes of the links.
    fn ranks(&self) -> anyhow::Result<PathBuf> {
        let ranks = self.cluster.scratch().join("ranks");
        let program = std::env::current_exe()?.with_file_name("st_pagerank");
        let mut command = Command::new(program);
        command.arg(&self.inputs[0]).arg(&ranks).arg(pagerank::ROUNDS.to_string());
        let ended = finish(&mut command);
        anyhow::ensure!(ended.code == Some(0), "st_pagerank: {}", ended.stderr);
        Ok(ranks)
    }

    /// Removes what a run has left.
    pub(super) fn clean_up(&self) -> anyhow::Result<()> {
        if !matches!(self.workload, Workload::Get | Workload::Sort) {
            let gone = self.cluster.run(&["fs", "rm", "-r", "--skip-trash", OUT]);
            anyhow::ensure!(gone.code == Some(0), "the output can't be removed: {}", gone.stderr);
        }
        remove(&self.local_output())
    }
}

/// A job's counters; `said` is its id.
fn counters(cluster: &Dev, said: &str) -> anyhow::Result<Value> {
    let told = cluster.run(&["job", "counters", said.trim(), "--format", "json"]);
    anyhow::ensure!(told.code == Some(0), "job counters: {}", told.stderr);
    Ok(serde_json::from_slice(&told.stdout)?)
}

fn counter(counters: &Value, name: &str) -> anyhow::Result<u64> {
    let value = counters["counters"][format!("task.{name}")].as_u64();
    value.with_context(|| format!("no counter {name} in {counters}"))
}

fn text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("a path that is text")?.to_owned())
}
