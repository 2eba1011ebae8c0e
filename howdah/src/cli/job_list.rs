//! `howdah job list`.

use std::collections::BTreeSet;
use std::str::FromStr;

use clap::Args;
use mapreduce_protocol::{JobState, JobStatus, TaskCounts};

use super::job::elapsed;
use super::watch::{Frame, Watch};
use super::{Format, shown};
use crate::jobs::Jobs;
use crate::say::{plain, say};

/// Arguments of `job list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Also those that the JobTracker has forgotten since they ended, from the chunk store
    #[arg(long)]
    all: bool,
    /// Jobs to list, the newest ones
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Those in this state alone: prep, running, paused, succeeded, failed, killed; may be repeated
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<State>,
    /// Those of this user alone
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Those of this pool alone
    #[arg(long)]
    pool: Option<String>,
    #[command(flatten)]
    watch: Watch,
}

/// A state as the list shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Paused,
    Of(JobState),
}

impl State {
    fn of(job: &JobStatus) -> Self {
        if job.paused { Self::Paused } else { Self::Of(job.state) }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "PAUSED",
            Self::Of(state) => state.as_str(),
        }
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use JobState::{Failed, Killed, Prep, Running, Succeeded};
        let of = [Prep, Running, Succeeded, Failed, Killed].map(Self::Of);
        let mut known = of.into_iter().chain([Self::Paused]);
        known
            .find(|state| state.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| "give prep, running, paused, succeeded, failed or killed".to_owned())
    }
}

impl ListArgs {
    fn wants(&self, job: &JobStatus) -> bool {
        (self.states.is_empty() || self.states.contains(&State::of(job)))
            && self.user.as_ref().is_none_or(|user| *user == job.owner)
            && self.pool.as_ref().is_none_or(|pool| *pool == job.pool)
    }
}

/// Runs it.
pub(super) async fn run(jobs: &Jobs, args: &ListArgs, format: Format) -> anyhow::Result<()> {
    let mut more_is_said = false;
    args.watch.show(async || look(jobs, args, format, &mut more_is_said).await).await
}

async fn look(
    jobs: &Jobs,
    args: &ListArgs,
    format: Format,
    more_is_said: &mut bool,
) -> anyhow::Result<Frame> {
    let limit = args.limit as usize;
    // One more tells that there are more.
    let asked = if args.all { usize::MAX } else { limit + 1 };
    let mut list = jobs.list(asked, |job| args.wants(job)).await?;
    if args.all {
        let known: BTreeSet<_> = list.jobs.iter().map(|job| job.id).collect();
        let kept = jobs.history_list().await?.jobs;
        let forgotten = kept.into_iter().filter(|job| !known.contains(&job.id));
        list.jobs.extend(forgotten.filter(|job| args.wants(job)));
        list.jobs.sort_by_key(|job| std::cmp::Reverse(job.id.ordinal));
    }
    if list.jobs.len() > limit {
        list.jobs.truncate(limit);
        if !std::mem::replace(more_is_said, true) {
            say!("howdah: these are the newest {limit}: --limit N lists more");
        }
    }
    let text = format.text_of(&list)?.unwrap_or_else(|| table(&list.jobs));
    Ok(Frame { text, is_last: false })
}

fn table(jobs: &[JobStatus]) -> String {
    if jobs.is_empty() {
        return String::new();
    }
    let head = ["JOB", "STATE", "SUBMITTED", "ELAPSED", "MAPS", "REDUCES", "USER", "POOL", "NAME"];
    let mut rows = vec![head.map(str::to_owned)];
    let done = |counts: TaskCounts| format!("{}/{}", counts.succeeded, counts.total);
    rows.extend(jobs.iter().map(|job| {
        [
            job.id.to_string(),
            State::of(job).as_str().to_owned(),
            shown::time(job.submitted_at),
            shown::duration(elapsed(job)),
            done(job.maps),
            done(job.reduces),
            plain(&job.owner),
            plain(&job.pool),
            plain(&job.name),
        ]
    }));
    shown::table(&rows, [false, false, false, true, true, true, false, false, false])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_those_that_the_list_shows() {
        for text in ["PREP", "running", "Paused", "SUCCEEDED", "failed", "killed"] {
            assert_eq!(text.parse::<State>().unwrap().as_str(), text.to_uppercase());
        }
        assert!("done".parse::<State>().unwrap_err().contains("succeeded"));
    }
}
