//! Word count from accepted submit to `SUCCEEDED`, its output replicated and synced, in turn with one
//! thread of plain Rust on the same text.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tests::cluster::{Dev, DevOptions};

use crate::measure::Samples;
use crate::report::Report;

/// One thread's time that the job may take.
const RATIO_MAX: f64 = 1.0;

/// Adds the row of word count on `size` of text.
pub(crate) fn measure(
    size: &str,
    runs: u32,
    baseline: &Path,
    report: &mut Report,
) -> anyhow::Result<()> {
    let cluster = Dev::start(&DevOptions::trackers(3));
    let text = cluster.scratch().join("text");
    tests::books::generate(&text, size, 42);
    let text = text.to_str().context("the scratch folder's name is no UTF-8")?;
    let _put = cluster.run(&["fs", "put", text, "/in"]).success();
    let counted = cluster.scratch().join("counted");
    let (mut jobs, mut alone) = (Samples::default(), Samples::default());
    for run in 0..=runs {
        let output = format!("/out-{run}");
        let counting = count_alone(baseline, text, &counted)?;
        let job = run_job(&cluster, "wordcount", "/in", &output, 2)?;
        if run == 0 {
            check_output(&cluster, &output, &counted)?;
        } else {
            alone.push(counting);
            jobs.push(job);
        }
        let _removed = cluster.run(&["fs", "rm", "-r", &output]).success();
    }
    let ratio = jobs.ratio_to(&alone);
    report.row(
        format!("word count of {size}, 3 trackers, replication 3"),
        format!("{jobs}; one thread {alone}; ratio {ratio:.2}"),
        format!("≤ {RATIO_MAX:.1} × one thread"),
        ratio <= RATIO_MAX,
    );
    Ok(())
}

fn count_alone(program: &Path, text: &str, output: &Path) -> anyhow::Result<Duration> {
    let watch = clock::Stopwatch::start();
    let status = Command::new(program).arg(text).arg(output).status();
    let status = status.with_context(|| {
        format!("{}: build it with `cargo build --release -p bench`", program.display())
    })?;
    anyhow::ensure!(status.success(), "st_wordcount failed: {status}");
    Ok(watch.elapsed())
}

/// Runs a builtin to its end; the time is the JobTracker's own, from accepted to succeeded.
pub(crate) fn run_job(
    cluster: &Dev,
    builtin: &str,
    input: &str,
    output: &str,
    reduces: u32,
) -> anyhow::Result<Duration> {
    let spec = serde_json::json!({
        "name": builtin, "input": [input], "output": output, "reduces": reduces,
        "program": {"builtin": {"name": builtin}},
    });
    let file = cluster.job_file("bench.json", &spec.to_string());
    let id = cluster.run(&["job", "submit", &file, "--wait"]).success().text();
    let status: Value = cluster.job(&id);
    let at = |key: &str| status[key].as_u64().with_context(|| format!("{key} in {status}"));
    Ok(Duration::from_millis(at("finished_at")? - at("submitted_at")?))
}

/// A fast wrong answer fails: the parts are, as a multiset of lines, what one thread counted.
fn check_output(cluster: &Dev, output: &str, counted: &Path) -> anyhow::Result<()> {
    let parts = cluster.scratch().join("parts");
    let parts_text = parts.to_str().context("the scratch folder's name is no UTF-8")?;
    let _got = cluster.run(&["fs", "get", output, parts_text]).success();
    let mut expected = tests::oracle::lines_of(&std::fs::read(counted)?);
    expected.sort_unstable();
    anyhow::ensure!(tests::oracle::lines_of_parts(&parts) == expected, "the output is wrong");
    Ok(())
}
