//! Calls to the JobTracker, which may be away for a while.

use std::collections::BTreeMap;

use mapreduce_protocol::{JobAccepted, JobId, JobSpec};

use crate::session::Session;

/// A workflow outlives a JobTracker that restarts: the same job is asked for until it answers.
pub(super) async fn submit_patiently(
    session: &Session,
    spec: &JobSpec,
    key: &str,
) -> anyhow::Result<JobAccepted> {
    let jobs = session.jobs();
    Ok(net::retrying(jobs.retry_for(), || jobs.submit_with_key(spec, key)).await?)
}

pub(super) async fn counters_patiently(
    session: &Session,
    id: JobId,
) -> anyhow::Result<BTreeMap<String, u64>> {
    let jobs = session.jobs();
    Ok(net::retrying(jobs.retry_for(), || jobs.counters(id)).await?.counters)
}

/// Whether the JobTracker has said no to the job itself, so that it says the same again: not for want of a token, or of
/// room for more jobs.
pub(super) fn is_refusal(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(net::CallError::Problem { problem, .. })
        if (400..500).contains(&problem.status) && ![401, 408, 429].contains(&problem.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_jobtracker_says_of_the_job_itself_ends_a_try() {
        let problem = |status: u16| {
            let problem = net::Problem::new(status, "kind", "no");
            anyhow::Error::from(net::CallError::Problem { address: "a:1".into(), problem })
        };
        let refusals: Vec<_> =
            [400, 401, 409, 422, 429, 500, 503].map(|it| is_refusal(&problem(it))).into();
        assert_eq!(refusals, [true, false, true, true, false, false, false]);
    }
}
