//! The smallest job on a warm cluster: what a user waits for when there is next to nothing to do.

use std::time::Duration;

use tests::cluster::{Dev, DevOptions};

use crate::main_job::run_job;
use crate::measure::Samples;
use crate::report::Report;

const MEDIAN_MAX: Duration = Duration::from_millis(250);

/// Adds the row of word count on 1 KB with one reduce.
pub(crate) fn measure(runs: u32, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Dev::start(&DevOptions::trackers(3));
    let text = cluster.scratch().join("text");
    tests::books::generate(&text, "1000B", 7);
    let _put = cluster.run(&["fs", "put", &text.to_string_lossy(), "/in"]).success();
    let mut jobs = Samples::default();
    for run in 0..=runs {
        let job = run_job(&cluster, "wordcount", "/in", &format!("/out-{run}"), 1)?;
        if run > 0 {
            jobs.push(job);
        }
    }
    let met = jobs.median() <= MEDIAN_MAX;
    let goal = format!("≤ {} ms", MEDIAN_MAX.as_millis());
    report.row("word count of 1 KB, 1 reduce, warm cluster", jobs.to_string(), goal, met);
    Ok(())
}
