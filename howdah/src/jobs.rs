//! The JobTracker as a client calls it: REST with types, and retries where they are safe.

use std::time::Duration;

use chunkstore_protocol::ClusterReport;
use ids::HostName;
use mapreduce_protocol::{
    AttemptHistory, AttemptId, AttemptList, AttemptStatus, Explanation, HistoryList, HostList,
    HostStatus, JobAccepted, JobCounters, JobHistory, JobId, JobList, JobSpec, JobStatus,
    LOG_LENGTH_HEADER, LOG_OFFSET_HEADER, LOG_PART_BYTES_MAX, LogPart, PoolList, PoolStatus,
    Priority, SetPriority, TaskId, Timeline, TimelineAttempt,
};
use net::reqwest::Method;
use net::{CallError, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::masters::Patience;

/// Header that makes a submit safe to repeat.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// How long a submit is repeated while the answer gets lost or the JobTracker can't reach the chunk store.
const SUBMIT_PATIENCE: Duration = Duration::from_secs(10);
/// Time for one answer to a submit: the JobTracker asks the chunk store before it gives one.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Jobs that a list of histories tells of.
const HISTORY_LIMIT: usize = 1000;
/// Jobs that are asked for at once.
const LIST_PAGE: usize = 1000;

/// What the end of an attempt counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndsAs {
    /// Nothing: its task runs again.
    Killed,
    /// One of its task's tries.
    Failed,
}

/// A client of one JobTracker.
#[derive(Clone)]
pub(crate) struct Jobs {
    client: Client,
    address: String,
    retry_for: Duration,
    patience: Patience,
}

impl Jobs {
    /// A client whose waits go on for `retry_for` while the JobTracker is away, and whose first question for `patience`.
    pub(crate) fn new(
        client: Client,
        address: String,
        retry_for: Duration,
        patience: Patience,
    ) -> Self {
        Self { client, address, retry_for, patience }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        let answer = self.patience.look(async || self.client.get(&self.address, path).await).await;
        answer.map_err(named)
    }

    async fn post<Q: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Q,
    ) -> Result<T, CallError> {
        let ask = async || self.client.post(&self.address, path, body).await;
        self.patience.ask(ask).await.map_err(named)
    }

    /// Whether it is there.
    pub(crate) async fn is_there(&self) -> Result<(), CallError> {
        let ask = async || {
            let request = self.client.request(Method::GET, &self.address, "/healthz");
            self.client.send(&self.address, request).await.map(drop)
        };
        self.patience.look(ask).await.map_err(named)
    }

    /// Submits a job, once, however often the request has to be repeated.
    pub(crate) async fn submit(&self, spec: &JobSpec) -> Result<JobAccepted, CallError> {
        self.submit_with_key(spec, &net::random_hex(16)).await
    }

    /// The same by a key of the caller's: the job is the one that was submitted by it, whoever did.
    pub(crate) async fn submit_with_key(
        &self,
        spec: &JobSpec,
        key: &str,
    ) -> Result<JobAccepted, CallError> {
        let ask = async || {
            let request = self.client.request(Method::POST, &self.address, "/v1/jobs");
            let request = request.header(IDEMPOTENCY_KEY, key).json(spec).timeout(SUBMIT_TIMEOUT);
            self.client.exchange(&self.address, request).await
        };
        let is_there = |error: &CallError| !error.is_connect();
        let submit = || self.patience.ask(&ask);
        net::retrying_while(is_there, SUBMIT_PATIENCE, submit).await.map_err(named)
    }

    /// A job's state.
    pub(crate) async fn status(&self, job: JobId) -> Result<JobStatus, CallError> {
        self.get(&format!("/v1/jobs/{job}")).await
    }

    /// A job's state at its end, or after `wait`.
    pub(crate) async fn status_after(
        &self,
        job: JobId,
        wait: Duration,
    ) -> Result<JobStatus, CallError> {
        let path = format!("/v1/jobs/{job}?wait_ms={}", wait.as_millis());
        self.get(&path).await
    }

    /// How long to wait for a JobTracker that has gone away.
    pub(crate) fn retry_for(&self) -> Duration {
        self.retry_for
    }

    /// The newest jobs that it keeps of those that are wanted, newest first, as many as `limit`.
    pub(crate) async fn list(
        &self,
        limit: usize,
        wants: impl Fn(&JobStatus) -> bool,
    ) -> Result<JobList, CallError> {
        let page = async |limit: usize, before: Option<JobId>| {
            let before = before.map(|job| format!("&before={job}")).unwrap_or_default();
            let path = format!("/v1/jobs?limit={limit}{before}");
            let page: JobList = self.get(&path).await?;
            Ok(page.jobs)
        };
        wanted_of(page, limit, wants).await
    }

    /// Ends a job.
    pub(crate) async fn kill(&self, job: JobId) -> Result<JobStatus, CallError> {
        let path = format!("/v1/jobs/{job}/kill");
        self.post(&path, &serde_json::json!({})).await
    }

    /// Has nothing new of a job launched; with `kill` what runs ends now.
    pub(crate) async fn pause(&self, job: JobId, kill: bool) -> Result<JobStatus, CallError> {
        let path = format!("/v1/jobs/{job}/pause?kill={kill}");
        self.post(&path, &serde_json::json!({})).await
    }

    /// Lets a paused job go on.
    pub(crate) async fn resume(&self, job: JobId) -> Result<JobStatus, CallError> {
        let path = format!("/v1/jobs/{job}/resume");
        self.post(&path, &serde_json::json!({})).await
    }

    /// Why a job, or a task of it, is where it is.
    pub(crate) async fn explain(
        &self,
        job: JobId,
        task: Option<TaskId>,
    ) -> Result<Explanation, CallError> {
        let task = task.map_or_else(String::new, |task| format!("?task={task}"));
        let path = format!("/v1/jobs/{job}/explain{task}");
        self.get(&path).await
    }

    /// Gives a job another share of the slots.
    pub(crate) async fn set_priority(
        &self,
        job: JobId,
        priority: Priority,
    ) -> Result<JobStatus, CallError> {
        let path = format!("/v1/jobs/{job}/priority");
        self.post(&path, &SetPriority { priority }).await
    }

    /// A job's counters.
    pub(crate) async fn counters(&self, job: JobId) -> Result<JobCounters, CallError> {
        self.get(&format!("/v1/jobs/{job}/counters")).await
    }

    /// A job's attempts.
    pub(crate) async fn attempts(&self, job: JobId) -> Result<AttemptList, CallError> {
        self.get(&format!("/v1/jobs/{job}/attempts")).await
    }

    /// Ends an attempt, which `counts` as killed or failed.
    pub(crate) async fn end_attempt(
        &self,
        attempt: AttemptId,
        counts: EndsAs,
    ) -> Result<AttemptStatus, CallError> {
        let verb = match counts {
            EndsAs::Killed => "kill",
            EndsAs::Failed => "fail",
        };
        let path = format!("/v1/jobs/{}/attempts/{attempt}/{verb}", attempt.task.job);
        self.post(&path, &serde_json::json!({})).await
    }

    /// The hosts of TaskTrackers.
    pub(crate) async fn hosts(&self) -> Result<HostList, CallError> {
        self.get("/v1/hosts").await
    }

    /// One host of a TaskTracker.
    pub(crate) async fn host(&self, host: &HostName) -> Result<HostStatus, CallError> {
        self.get(&format!("/v1/hosts/{host}")).await
    }

    /// The attempts that run on a host, of all jobs.
    pub(crate) async fn running_on(
        &self,
        host: &HostName,
    ) -> Result<Vec<TimelineAttempt>, CallError> {
        let jobs: JobList = self
            .client
            .get(&self.address, "/v1/jobs?limit=1000&state=RUNNING")
            .await
            .map_err(named)?;
        let mut running = Vec::new();
        for job in jobs.jobs {
            let mut first = Some(0);
            while let Some(from) = first {
                // What ends from then on has not ended yet.
                let path = format!("/v1/jobs/{}/timeline?since={}&first={from}", job.id, u64::MAX);
                let page: Timeline = self.get(&path).await?;
                running.extend(
                    page.attempts
                        .into_iter()
                        .filter(|it| it.host == *host && it.ended_at.is_none()),
                );
                first = page.next;
            }
        }
        Ok(running)
    }

    /// How the chunkservers are, as the JobTracker hears of it.
    pub(crate) async fn store_report(&self) -> Result<ClusterReport, CallError> {
        self.get("/v1/store/report").await
    }

    /// Has a host emptied; with `kill` what runs there ends now.
    pub(crate) async fn drain(&self, host: &HostName, kill: bool) -> Result<HostStatus, CallError> {
        let path = format!("/v1/hosts/{host}/drain?kill={kill}");
        self.post(&path, &serde_json::json!({})).await
    }

    /// Takes that back; the host, if it is known.
    pub(crate) async fn undrain(&self, host: &HostName) -> Result<HostList, CallError> {
        let path = format!("/v1/hosts/{host}/undrain");
        self.post(&path, &serde_json::json!({})).await
    }

    /// Says that nothing speaks against a host; the host.
    pub(crate) async fn forgive(&self, host: &HostName) -> Result<HostStatus, CallError> {
        let path = format!("/v1/hosts/{host}/forgive");
        self.post(&path, &serde_json::json!({})).await
    }

    /// The pools.
    pub(crate) async fn pools(&self) -> Result<PoolList, CallError> {
        self.get("/v1/pools").await
    }

    /// Has nothing of a pool launched; with `kill` what runs ends now.
    pub(crate) async fn pause_pool(&self, pool: &str, kill: bool) -> Result<PoolStatus, CallError> {
        self.tell_pool(pool, &format!("pause?kill={kill}")).await
    }

    /// Lets a paused pool go on.
    pub(crate) async fn resume_pool(&self, pool: &str) -> Result<PoolStatus, CallError> {
        self.tell_pool(pool, "resume").await
    }

    /// Ends all jobs of a pool.
    pub(crate) async fn kill_pool(&self, pool: &str) -> Result<PoolStatus, CallError> {
        self.tell_pool(pool, "kill").await
    }

    async fn tell_pool(&self, pool: &str, verb: &str) -> Result<PoolStatus, CallError> {
        let path = format!("/v1/pools/{pool}/{verb}");
        self.post(&path, &serde_json::json!({})).await
    }

    /// Jobs that are over, those that ended last first, from the chunk store.
    pub(crate) async fn history_list(&self) -> Result<HistoryList, CallError> {
        let path = format!("/v1/history?limit={HISTORY_LIMIT}");
        self.get(&path).await
    }

    /// What is kept of a job that is over.
    pub(crate) async fn history(&self, job: JobId) -> Result<JobHistory, CallError> {
        self.get(&format!("/v1/history/{job}")).await
    }

    /// What is kept of its attempts.
    pub(crate) async fn history_attempts(
        &self,
        job: JobId,
    ) -> Result<Vec<AttemptHistory>, CallError> {
        self.get(&format!("/v1/history/{job}/attempts")).await
    }

    /// What is kept of what a failed attempt wrote.
    pub(crate) async fn kept_log(
        &self,
        attempt: AttemptId,
    ) -> Result<net::reqwest::Response, CallError> {
        let path = format!("/v1/history/{}/attempts/{attempt}/log", attempt.task.job);
        let request = self.client.request(Method::GET, &self.address, &path);
        self.client.send(&self.address, request).await.map_err(named)
    }

    /// What an attempt wrote until now, part by part, and where a part of it was left out.
    pub(crate) async fn log(&self, attempt: AttemptId) -> Result<Vec<u8>, CallError> {
        let mut log = Vec::new();
        let (mut read, mut until) = (0, None);
        loop {
            let part = self.log_part(attempt, read).await?;
            if part.offset > read {
                let left_out = part.offset - read;
                log.extend_from_slice(format!("\n[… {left_out} bytes left out …]\n").as_bytes());
            }
            read = part.offset + part.bytes.len() as u64;
            log.extend_from_slice(&part.bytes);
            // What is written meanwhile may never end.
            if part.bytes.is_empty() || read >= *until.get_or_insert(part.length) {
                return Ok(log);
            }
        }
    }

    async fn log_part(&self, attempt: AttemptId, offset: u64) -> Result<LogPart, CallError> {
        let job = attempt.task.job;
        let path = format!(
            "/v1/jobs/{job}/attempts/{attempt}/log?offset={offset}&limit={LOG_PART_BYTES_MAX}"
        );
        let request = self.client.request(Method::GET, &self.address, &path);
        let mut response = self.client.send(&self.address, request).await.map_err(named)?;
        let number = |name| {
            let text = response.headers().get(name)?.to_str().ok()?;
            text.parse::<u64>().ok()
        };
        let offset = number(LOG_OFFSET_HEADER).unwrap_or(offset);
        let length = number(LOG_LENGTH_HEADER).unwrap_or_default();
        let mut bytes = Vec::new();
        let broken = |error| CallError::from_http(&self.address, &error);
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            bytes.extend_from_slice(&piece);
        }
        Ok(LogPart { offset, length, bytes })
    }
}

/// Says who was expected where a stranger answers.
fn named(error: CallError) -> CallError {
    error.expecting("a JobTracker", "jobtracker.address")
}

/// Asks for page after page, each of the jobs before a job, until there are as many as `limit` of those that are wanted, or no
/// more at all.
async fn wanted_of(
    page: impl AsyncFn(usize, Option<JobId>) -> Result<Vec<JobStatus>, CallError>,
    limit: usize,
    wants: impl Fn(&JobStatus) -> bool,
) -> Result<JobList, CallError> {
    let mut found: Vec<JobStatus> = Vec::new();
    let (mut n, mut before) = (limit.min(LIST_PAGE), None);
    while found.len() < limit {
        let jobs = page(n, before).await?;
        let Some(last) = jobs.last() else { break };
        (n, before) = (LIST_PAGE, Some(last.id));
        found.extend(jobs.into_iter().filter(|job| wants(job)));
    }
    found.truncate(limit);
    Ok(JobList { jobs: found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_that_are_wanted_are_found_behind_any_number_of_others() {
        let job = |ordinal: u32| {
            let counts = serde_json::json!({
                "total": 0, "waiting": 0, "succeeded": 0, "running": 0, "attempts": 0, "failed_attempts": 0,
                "killed_attempts": 0, "node_local": 0, "rack_local": 0, "off_rack": 0
            });
            let status = serde_json::json!({
                "id": format!("job_20261122_{ordinal:04}"), "name": "n", "state": "RUNNING",
                "output": "/out", "input_bytes": 0, "submitted_at": 0, "maps": counts, "reduces": counts,
            });
            serde_json::from_value::<JobStatus>(status).unwrap()
        };
        // A server that gives no more than three at once.
        let page = async |limit: usize, before: Option<JobId>| {
            let newest = before.map_or(20, |job| job.ordinal - 1);
            Ok((1..=newest).rev().take(limit.min(3)).map(job).collect())
        };
        for (limit, wants, expected) in [
            (2, &(|_: u32| true) as &(dyn Fn(u32) -> bool + Sync), vec![20, 19]),
            (usize::MAX, &|ordinal| ordinal % 9 == 0, vec![18, 9]),
            (1, &|ordinal| ordinal < 5, vec![4]),
            (9, &|_| false, vec![]),
        ] {
            let list = wanted_of(page, limit, |job| wants(job.id.ordinal)).await.unwrap();
            let ordinals: Vec<_> = list.jobs.iter().map(|job| job.id.ordinal).collect();
            assert_eq!(ordinals, expected);
        }
    }
}
