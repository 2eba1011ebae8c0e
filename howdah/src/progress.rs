//! How far a transfer or a job is, on standard error: bars on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use mapreduce_protocol::{JobState, JobStatus, TaskCounts};

const TASKS: &str = "{prefix:>7} [{bar:40}] {pos}/{len} {msg}";
const BYTES: &str = "{prefix} [{bar:40}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";
const ENDLESS: &str = "{prefix} {bytes} {binary_bytes_per_sec}";
const ITEMS: &str = "{prefix} [{bar:40}] {pos}/{len} {msg} {eta}";
/// Work that is over sooner shows no bar.
const SILENT: Duration = Duration::from_secs(1);

fn on_terminal() -> bool {
    std::io::stderr().is_terminal()
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is a constant")
        .progress_chars("=> ")
}

/// A job's maps and reduces.
pub(crate) struct JobProgress {
    bars: Option<[ProgressBar; 2]>,
    last_line: String,
    last_reason: Option<String>,
}

impl JobProgress {
    /// Shows nothing until the first state.
    pub(crate) fn new() -> Self {
        let bars = on_terminal().then(|| {
            let both = MultiProgress::new();
            ["maps", "reduces"].map(|prefix| {
                let bar = both.add(ProgressBar::new(0).with_style(style(TASKS)));
                bar.with_prefix(prefix)
            })
        });
        Self { bars, last_line: String::new(), last_reason: None }
    }

    /// Lines alone, also on a terminal: for several jobs at a time.
    pub(crate) fn lines() -> Self {
        Self { bars: None, last_line: String::new(), last_reason: None }
    }

    /// Shows this state, if it differs from the one shown.
    pub(crate) fn show(&mut self, status: &JobStatus) {
        match &self.bars {
            Some([maps, reduces]) => {
                show_on(maps, status.maps);
                show_on(reduces, status.reduces);
                if let Some(waiting) = &status.waiting {
                    maps.set_message(format!("waits: {waiting}"));
                }
            }
            None => {
                let line = line_of(status);
                if line != self.last_line {
                    crate::say::say!("{line}");
                    self.last_line = line;
                }
                if status.waiting.is_some() && status.waiting != self.last_reason {
                    self.last_reason.clone_from(&status.waiting);
                    let why = self.last_reason.as_deref().unwrap_or_default();
                    crate::say::say!("{} waits: {why}", status.id);
                }
            }
        }
    }

    /// Says something without disturbing the bars.
    pub(crate) fn say(&self, text: &str) {
        match &self.bars {
            Some([maps, _]) => maps.suspend(|| crate::say::say!("{text}")),
            None => crate::say::say!("{text}"),
        }
    }

    /// Leaves the last state on the screen.
    pub(crate) fn finish(&self) {
        for bar in self.bars.iter().flatten() {
            bar.abandon();
        }
    }
}

fn show_on(bar: &ProgressBar, counts: TaskCounts) {
    bar.set_length(counts.total.into());
    bar.set_position(counts.succeeded.into());
    bar.set_message(format!("{} running", counts.running));
}

/// Hadoop's line: `map 50% reduce 0%`.
fn line_of(status: &JobStatus) -> String {
    let percent = |counts: TaskCounts| (counts.succeeded * 100).checked_div(counts.total);
    // Before the plan there are no tasks; after it, those that there are not are done.
    let is_planned = status.state != JobState::Prep && status.maps.total + status.reduces.total > 0;
    let is_over = is_planned || status.state == JobState::Succeeded;
    let map = percent(status.maps).unwrap_or(if is_over { 100 } else { 0 });
    let reduce = percent(status.reduces).unwrap_or(if map == 100 { 100 } else { 0 });
    format!("{} {} map {map}% reduce {reduce}%", status.id, status.state.as_str())
}

/// Bytes that go from one place to another.
pub(crate) struct ByteProgress {
    bar: Option<ProgressBar>,
    moved: AtomicU64,
    started: clock::Stopwatch,
}

impl ByteProgress {
    /// A bar for `total` bytes, on a terminal, when it has gone on for a moment; elsewhere nothing is shown.
    pub(crate) fn new(prefix: &'static str, total: u64) -> Self {
        Self::with(prefix, Some(total), BYTES)
    }

    /// The same for bytes that end nobody knows when.
    pub(crate) fn endless(prefix: &'static str) -> Self {
        Self::with(prefix, None, ENDLESS)
    }

    fn with(prefix: &'static str, total: Option<u64>, template: &str) -> Self {
        let bar = on_terminal().then(|| {
            ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden())
                .with_style(style(template))
                .with_prefix(prefix)
        });
        Self { bar, moved: AtomicU64::new(0), started: clock::Stopwatch::start() }
    }

    /// That many bytes more are through.
    pub(crate) fn add(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
        let Some(bar) = &self.bar else { return };
        if bar.is_hidden() && self.started.elapsed() >= SILENT {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar.inc(bytes);
    }

    /// Bytes that are through.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Takes the bar off the screen.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Things that are done one after the other: files, chunks, paths.
pub(crate) struct ItemProgress {
    bar: Option<ProgressBar>,
    started: clock::Stopwatch,
}

impl ItemProgress {
    /// Whether anybody would see it: a total that nobody sees need not be asked for.
    pub(crate) fn is_seen() -> bool {
        on_terminal()
    }

    /// A bar for `total` of what `what` names, on a terminal, when it has gone on for a moment; elsewhere nothing is shown.
    pub(crate) fn new(prefix: &'static str, total: u64, what: &'static str) -> Self {
        let bar = on_terminal().then(|| {
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden())
                .with_style(style(ITEMS))
                .with_prefix(prefix)
                .with_message(what)
        });
        Self { bar, started: clock::Stopwatch::start() }
    }

    /// So many are done. What was not known at first makes the total more.
    pub(crate) fn set(&self, done: u64) {
        let Some(bar) = &self.bar else { return };
        if bar.is_hidden() && self.started.elapsed() >= SILENT {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        if bar.length().is_some_and(|total| total < done) {
            bar.set_length(done);
        }
        bar.set_position(done);
    }

    /// Writes something without disturbing the bar.
    pub(crate) fn beside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar off the screen.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_progress_reads_like_hadoops() {
        let mut status: JobStatus = serde_json::from_value(serde_json::json!({
            "id": "job_20261122_0001", "name": "n", "state": "RUNNING", "failure": null,
            "maps": TaskCounts { total: 3, succeeded: 1, ..TaskCounts::default() },
            "reduces": TaskCounts { total: 2, ..TaskCounts::default() },
            "output": "/out", "input_bytes": 0, "submitted_at": 0, "finished_at": null,
        }))
        .unwrap();
        assert_eq!(line_of(&status), "job_20261122_0001 RUNNING map 33% reduce 0%");
        status.maps.succeeded = 3;
        status.reduces.total = 0;
        assert_eq!(line_of(&status), "job_20261122_0001 RUNNING map 100% reduce 100%");
        // Of an empty input: nothing to map.
        status.maps = TaskCounts::default();
        assert_eq!(line_of(&status), "job_20261122_0001 RUNNING map 0% reduce 0%");
        status.reduces.total = 1;
        assert_eq!(line_of(&status), "job_20261122_0001 RUNNING map 100% reduce 0%");
        status.state = JobState::Succeeded;
        status.reduces.total = 0;
        assert_eq!(line_of(&status), "job_20261122_0001 SUCCEEDED map 100% reduce 100%");
        status.state = JobState::Prep;
        assert_eq!(line_of(&status), "job_20261122_0001 PREP map 0% reduce 0%");
    }
}
