//! Whether work has become dearer: processor time per byte of each workload, in that of a plain program of one thread that
//! runs in turn with it. Both are the least of several runs, since others on the machine only ever add to them; so the
//! ratio holds on a machine that is slower, or busy, where neither time does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::usage;
use crate::report::Report;

/// Text for the plain program.
const TEXT_BYTES: u64 = 64 << 20;
/// How much more than the baseline is noise, where the file does not say: a part of it.
const NOISE: f64 = 0.3;

/// `bench/baseline.json`: what was measured when it was last taken.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Bytes of each input, as `--size` takes it.
    size: String,
    workloads: BTreeMap<String, Cost>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    /// Processor time per byte in that of the plain program's.
    ratio: f64,
    /// How much more is noise, in parts of the ratio.
    #[serde(default = "noise")]
    noise: f64,
}

fn noise() -> f64 {
    NOISE
}

/// The plain program and its text.
pub(super) struct Plain {
    program: PathBuf,
    text: PathBuf,
    counted: PathBuf,
    /// Least processor time so far, seconds.
    least: f64,
}

impl Plain {
    /// Word count by one thread, on text in `folder`.
    ///
    /// # Errors
    /// When this program lies nowhere.
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        let text = folder.join("plain-text");
        ::tests::books::generate(&text, &format!("{TEXT_BYTES}B"), 7);
        let program = std::env::current_exe()?.with_file_name("st_wordcount");
        Ok(Self { program, text, counted: folder.join("plain-counts"), least: f64::INFINITY })
    }

    /// Runs it once.
    ///
    /// # Errors
    /// When it can't.
    pub(super) fn run(&mut self) -> anyhow::Result<()> {
        let Self { program, text, counted, .. } = &*self;
        let usage = usage::of(&[], || {
            let status = Command::new(program).arg(text).arg(counted).status();
            let status = status.with_context(|| format!("{}: build it", program.display()))?;
            anyhow::ensure!(status.success(), "{}: {status}", program.display());
            Ok(())
        })?;
        self.least = self.least.min(usage.cpu_seconds);
        Ok(())
    }

    /// How often its processor time per byte goes into `seconds` for `bytes`.
    pub(super) fn ratio(&self, seconds: f64, bytes: u64) -> f64 {
        (seconds / bytes.max(1) as f64) / (self.least / TEXT_BYTES as f64)
    }
}

/// Compares with what was kept in `file`, a row for each workload that is there; whether none has become dearer.
///
/// # Errors
/// When the file can't be read, or is of another size.
pub(super) fn compare(
    file: &Path,
    size: config::Bytes,
    measured: &BTreeMap<String, f64>,
    report: &mut Report,
) -> anyhow::Result<bool> {
    let named = || file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(named)?;
    let kept: Kept = serde_json::from_str(&text).with_context(named)?;
    let size = size.to_string();
    anyhow::ensure!(kept.size == size, "{} is of inputs of {}: give --size", named(), kept.size);
    let mut all_met = true;
    for (workload, ratio) in measured {
        let Some(Cost { ratio: before, noise }) = kept.workloads.get(workload).copied() else {
            continue;
        };
        let most = before * (1.0 + noise);
        all_met &= *ratio <= most;
        report.row(
            format!("{workload}, processor time per byte in that of a plain program"),
            format!("{ratio:.2}; it was {before:.2}"),
            format!("≤ {most:.2}"),
            *ratio <= most,
        );
    }
    Ok(all_met)
}

/// Keeps what was measured in `file`; what is noise there, and workloads that were not run, stay.
///
/// # Errors
/// When the file can't be written.
pub(super) fn keep(
    file: &Path,
    size: config::Bytes,
    measured: &BTreeMap<String, f64>,
) -> anyhow::Result<()> {
    let old = std::fs::read_to_string(file).ok();
    let old: Option<Kept> = old.and_then(|text| serde_json::from_str(&text).ok());
    let size = size.to_string();
    let mut workloads =
        old.filter(|old| old.size == size).map(|old| old.workloads).unwrap_or_default();
    for (workload, ratio) in measured {
        // Two digits: more would change with each run.
        let ratio = (ratio * 100.0).round() / 100.0;
        let noise = workloads.get(workload).map_or(NOISE, |cost| cost.noise);
        workloads.insert(workload.clone(), Cost { ratio, noise });
    }
    let text = serde_json::to_string_pretty(&Kept { size, workloads })?;
    std::fs::write(file, text + "\n").with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: config::Bytes = config::Bytes(1 << 20);

    #[test]
    fn what_has_become_dearer_by_more_than_noise_is_missed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("baseline.json");
        let measured = |ratio| BTreeMap::from([("join".to_owned(), ratio)]);
        keep(&file, SIZE, &measured(2.0)).expect("it can be written");
        for (ratio, is_met) in [(0.5, true), (2.0, true), (2.5, true), (2.7, false), (9.0, false)] {
            let mut report = Report::new();
            let met = compare(&file, SIZE, &measured(ratio), &mut report);
            assert_eq!(met.expect("it can be read"), is_met, "{ratio}");
            assert_eq!(report.all_met(), is_met, "{ratio}");
        }
        let mut report = Report::new();
        let other = compare(&file, config::Bytes(2 << 20), &measured(2.0), &mut report);
        assert!(other.is_err_and(|error| error.to_string().contains("1MiB")));
    }

    #[test]
    fn what_is_noise_and_other_workloads_stay_when_it_is_taken_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("baseline.json");
        let kept =
            r#"{"size":"1MiB","workloads":{"a":{"ratio":1.0,"noise":0.5},"b":{"ratio":3.0}}}"#;
        std::fs::write(&file, kept).expect("a file can be written");
        keep(&file, SIZE, &BTreeMap::from([("a".to_owned(), 2.004)])).expect("it can be written");
        let text = std::fs::read_to_string(&file).expect("it can be read");
        let kept: Kept = serde_json::from_str(&text).expect("it is one");
        let costs: Vec<_> = kept.workloads.values().map(|cost| (cost.ratio, cost.noise)).collect();
        assert_eq!(costs, [(2.0, 0.5), (3.0, NOISE)]);
    }
}
