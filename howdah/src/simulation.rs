//! What `howdah simulate` puts into the simulator: a cluster and rates from the command line, rules from the configuration,
//! and a job, as it is written or as it once ran. How it is printed is `cli/simulate`'s business.

use std::collections::BTreeMap;
use std::time::Duration;

use ids::UnixMillis;
use mapreduce_protocol::{
    AttemptHistory, AttemptState, JobHistory, JobSpec, JobState, Place, ProgramError, Split,
    TaskKind, builtins,
};
use simulator::cluster::{JobPlan, Locality, MapPlan, ReducePlan, Took};

/// Counters of tasks that tell bytes.
const SPLIT_BYTES: &str = "SPLIT_BYTES";
const OUTPUT_BYTES: &str = "OUTPUT_BYTES";
const MAP_OUTPUT_BYTES: &str = "MAP_OUTPUT_MATERIALIZED_BYTES";

/// What is assumed of a job that has never run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assumed {
    /// What it reads.
    pub(crate) input_bytes: u64,
    /// Length limit of its splits.
    pub(crate) split_bytes: u64,
    /// What its maps leave, of each byte that they read.
    pub(crate) map_output: f64,
    /// What its reduces write, of each byte that they fetch.
    pub(crate) reduce_output: f64,
}

/// Why a history tells too little to be lived through again.
#[derive(Debug, thiserror::Error)]
#[error(
    "only a job that has succeeded can be simulated: this one's history does not tell of each of its maps when it began and \
     ended"
)]
pub(crate) struct NoMaps;

fn plan(spec: &JobSpec) -> JobPlan {
    JobPlan {
        name: spec.name.clone(),
        pool: spec.pool.clone(),
        priority: spec.priority,
        speculative: spec.speculative,
        at: Duration::ZERO,
        maps: Vec::new(),
        reduces: Vec::new(),
    }
}

/// A job that has never run: all its maps are alike, and all its reduces.
///
/// # Errors
/// Its program is none.
pub(crate) fn of_file(spec: &JobSpec, assumed: &Assumed) -> Result<JobPlan, ProgramError> {
    let n_reduces = builtins::check(spec)?;
    let Assumed { input_bytes, split_bytes, map_output, reduce_output } = *assumed;
    let split_bytes = split_bytes.max(1);
    let map = |begin: u64| {
        let input = split_bytes.min(input_bytes - begin);
        MapPlan { input, output: part(input, map_output), partition: None, took: None }
    };
    let mut maps: Vec<MapPlan> = Vec::new();
    let mut begin = 0;
    while begin < input_bytes {
        maps.push(map(begin));
        begin = begin.saturating_add(split_bytes);
    }
    let share = 1.0 / f64::from(n_reduces.max(1));
    let output = part(part(input_bytes, map_output), share * reduce_output);
    let reduce = ReducePlan { share, output, took: None };
    Ok(JobPlan { maps, reduces: vec![reduce; n_reduces as usize], ..plan(spec) })
}

/// That part of so many bytes.
#[expect(clippy::cast_possible_truncation, reason = "a part of bytes is a number of bytes")]
#[expect(clippy::cast_sign_loss, reason = "nothing has fewer than none")]
fn part(bytes: u64, of_it: f64) -> u64 {
    (bytes as f64 * of_it.max(0.0)) as u64
}

/// A job as it once ran: each task takes what its winner took.
///
/// # Errors
/// The history does not tell what its maps took.
pub(crate) fn of_history(job: &JobHistory, attempts: &[AttemptHistory]) -> Result<JobPlan, NoMaps> {
    let winners: BTreeMap<_, _> = attempts
        .iter()
        .filter(|it| it.status.state == AttemptState::Succeeded)
        .map(|it| (it.status.attempt.task, it))
        .collect();
    let of = |kind| {
        let its = winners.iter().filter(move |(task, _)| task.kind == kind);
        its.map(|(_, attempt)| *attempt)
    };
    let n_maps = job.status.maps.total.max(1);
    let usual = job.status.input_bytes / u64::from(n_maps);
    let map = |attempt: &AttemptHistory| {
        let input = attempt.status.split.as_ref().map(Split::length);
        let input = input.or_else(|| counter(attempt, SPLIT_BYTES)).unwrap_or(usual);
        let output = counter(attempt, MAP_OUTPUT_BYTES).unwrap_or(input);
        let time = span(attempt)?;
        let took = Some(Took { time, place: place(attempt.status.place) });
        Some(MapPlan { input, output, partition: None, took })
    };
    let maps: Vec<MapPlan> = of(TaskKind::Map).filter_map(map).collect();
    if job.status.state != JobState::Succeeded || maps.len() != job.status.maps.total as usize {
        return Err(NoMaps);
    }
    let maps_end = of(TaskKind::Map).filter_map(|it| it.status.ended_at).max();
    let reduce = |attempt: &AttemptHistory| {
        let worked = attempt.worked_ms.map(Duration::from_millis);
        let worked = worked.or_else(|| since(attempt, maps_end));
        let output = counter(attempt, OUTPUT_BYTES).unwrap_or_default();
        // What it fetched is in the time that it worked.
        Some(ReducePlan { share: 0.0, output, took: Some(worked?) })
    };
    let reduces = of(TaskKind::Reduce).filter_map(reduce).collect();
    Ok(JobPlan { maps, reduces, ..plan(&job.spec) })
}

fn counter(attempt: &AttemptHistory, name: &str) -> Option<u64> {
    let is_it = |full: &&String| full.rsplit_once('.').map_or(full.as_str(), |(_, it)| it) == name;
    attempt.counters.iter().find(|(full, _)| is_it(full)).map(|(_, value)| *value)
}

fn span(attempt: &AttemptHistory) -> Option<Duration> {
    since(attempt, attempt.status.began_at)
}

/// From a time, or from its beginning if that is later, to its end.
fn since(attempt: &AttemptHistory, from: Option<UnixMillis>) -> Option<Duration> {
    let (began, ended) = (attempt.status.began_at?, attempt.status.ended_at?);
    let from = from.map_or(began.0, |from| from.0.max(began.0));
    Some(Duration::from_millis(ended.0.saturating_sub(from)))
}

/// Where it is not known, near: so that reading is not counted twice.
fn place(place: Option<Place>) -> Locality {
    match place {
        Some(Place::NodeLocal) | None => Locality::NodeLocal,
        Some(Place::RackLocal) => Locality::RackLocal,
        Some(Place::OffRack) => Locality::OffRack,
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::{AttemptHistory, JobHistory, JobSpec};
    use serde_json::json;

    use super::*;

    fn spec(reduces: u32) -> JobSpec {
        serde_json::from_value(json!({
            "name": "sort", "input": ["/in"], "output": "/out", "reduces": reduces,
            "program": {"builtin": {"name": "sort"}},
        }))
        .unwrap()
    }

    #[test]
    fn a_job_that_never_ran_has_a_map_for_each_split_and_its_reduces_share_what_those_leave() {
        let assumed =
            Assumed { input_bytes: 250, split_bytes: 100, map_output: 2.0, reduce_output: 0.5 };
        let job = of_file(&spec(5), &assumed).unwrap();
        let maps: Vec<_> = job.maps.iter().map(|map| (map.input, map.output)).collect();
        assert_eq!(maps, [(100, 200), (100, 200), (50, 100)]);
        let reduce = ReducePlan { share: 0.2, output: 50, took: None };
        assert_eq!(job.reduces, vec![reduce; 5]);
    }

    fn history(state: &str, maps: u32) -> JobHistory {
        let counts = |total: u32| {
            json!({"total": total, "waiting": 0, "running": 0, "succeeded": total, "attempts": total,
                "failed_attempts": 0, "killed_attempts": 0, "node_local": 0, "rack_local": 0, "off_rack": 0})
        };
        serde_json::from_value(json!({
            "status": {
                "id": "job_20261122_0007", "name": "sort", "state": state, "maps": counts(maps),
                "reduces": counts(1), "failure": null, "output": "/out", "input_bytes": 200,
                "submitted_at": 0, "finished_at": 9000,
            },
            "spec": spec(1),
            "settings": {
                "reduces": 1, "max_attempts": 4, "speculative": true, "speculative_share": 0.25,
                "sharing": "fair", "reduce_slowstart": 0.05, "locality_wait_ms": 1000,
            },
            "counters": {},
        }))
        .unwrap()
    }

    fn attempt(
        id: &str,
        state: &str,
        times: (u64, u64),
        more: &serde_json::Value,
    ) -> AttemptHistory {
        let mut attempt = json!({
            "attempt": format!("attempt_20261122_0007_{id}"), "host": "a", "address": null,
            "state": state, "failure": null, "began_at": times.0, "ended_at": times.1,
        });
        let more = more.as_object().unwrap().clone();
        attempt.as_object_mut().unwrap().extend(more);
        serde_json::from_value(attempt).unwrap()
    }

    #[test]
    fn a_job_that_ran_takes_what_its_winners_took() {
        let read = json!({"place": "rack_local",
            "counters": {"TASK.SPLIT_BYTES": 120, "TASK.MAP_OUTPUT_MATERIALIZED_BYTES": 60}});
        let attempts = [
            attempt("m_000000_0", "KILLED", (0, 9000), &json!({})),
            attempt("m_000000_1", "SUCCEEDED", (1000, 4000), &read),
            attempt("m_000001_0", "SUCCEEDED", (1000, 3000), &json!({"place": "node_local"})),
            attempt("r_000000_0", "SUCCEEDED", (2000, 8000), &json!({"worked_ms": 3500})),
        ];
        let job = of_history(&history("SUCCEEDED", 2), &attempts).unwrap();
        let took = |millis, place| Some(Took { time: Duration::from_millis(millis), place });
        let maps = [
            MapPlan {
                input: 120,
                output: 60,
                partition: None,
                took: took(3000, Locality::RackLocal),
            },
            MapPlan {
                input: 100,
                output: 100,
                partition: None,
                took: took(2000, Locality::NodeLocal),
            },
        ];
        assert_eq!(job.maps, maps);
        let worked = Some(Duration::from_millis(3500));
        assert_eq!(job.reduces, [ReducePlan { share: 0.0, output: 0, took: worked }]);
        let old = [attempts[1].clone(), attempts[2].clone()];
        let reduce = attempt("r_000000_0", "SUCCEEDED", (2000, 8000), &json!({}));
        let old: Vec<_> = old.into_iter().chain([reduce]).collect();
        let job = of_history(&history("SUCCEEDED", 2), &old).unwrap();
        assert_eq!(job.reduces[0].took, Some(Duration::from_secs(4)), "from the last map's end on");
    }

    #[test]
    fn a_job_that_failed_or_whose_times_are_not_known_says_so() {
        let map = [attempt("m_000000_0", "SUCCEEDED", (0, 1000), &json!({}))];
        assert!(of_history(&history("SUCCEEDED", 1), &map).is_ok());
        assert!(of_history(&history("FAILED", 1), &map).is_err());
        assert!(of_history(&history("SUCCEEDED", 2), &map).is_err());
        let unknown = attempt("m_000000_0", "SUCCEEDED", (0, 1000), &json!({"began_at": null}));
        assert!(of_history(&history("SUCCEEDED", 1), &[unknown]).is_err());
    }
}
