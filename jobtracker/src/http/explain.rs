//! The users' route that explains a job: the core's explanation of its tasks, and the critical path
//! of its attempts, which is computed outside the core so as not to keep it busy.

use axum::extract::State;
use jobtracker_core::{Query, Reply, critical_path};
use mapreduce_protocol::{AttemptStatus, Explanation, JobId, TaskExplanation, TaskId};
use net::api::get;
use net::{Access, Json, Path, Problem, Query as UrlQuery, Routes};
use schemars::JsonSchema;
use serde::Deserialize;

use super::ServerState;
use super::error::{KEPT, NO_SUCH, bad_id, not_of_job, unexpected};
use super::history::{Told, ask_or_read_attempts, ask_or_read_job};
use super::jobs::job_of;

pub(super) fn routes() -> Routes<ServerState> {
    let explain = get(explain)
        .summary("Explains why a job's tasks wait, where they would run, and what a job took its time for.")
        .problems(NO_SUCH)
        .problems(KEPT);
    Routes::new().route("/v1/jobs/{id}/explain", Access::USERS, explain)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// This task; the next ones if absent.
    task: Option<String>,
}

async fn explain(
    State(state): State<ServerState>,
    Path(id): Path<String>,
    UrlQuery(Parameters { task }): UrlQuery<Parameters>,
) -> Result<Json<Explanation>, Problem> {
    let job = job_of(&id)?;
    let task = task.map(|task| task_of(job, &task)).transpose()?;
    let attempts = attempts(&state, job, task).await?;
    let mut explanation = match ask_or_read_job(&state, Query::Explain { job, task }).await? {
        Told::Now(Reply::Explanation(explanation)) => *explanation,
        Told::Now(other) => return Err(unexpected(&other)),
        Told::Kept(history) => Explanation {
            job,
            state: history.status.state,
            obstacles: Vec::new(),
            unsplit: None,
            tasks: Vec::new(),
            path: Vec::new(),
        },
    };
    match task {
        Some(task) => add_attempts(&mut explanation, task, attempts),
        None => explanation.path = critical_path(&attempts),
    }
    Ok(Json(explanation))
}

/// The explanation of a task of an ended job consists of its attempts.
fn add_attempts(explanation: &mut Explanation, task: TaskId, attempts: Vec<AttemptStatus>) {
    if explanation.tasks.is_empty() {
        explanation.tasks.push(TaskExplanation::over(task));
    }
    let of_task = attempts.into_iter().filter(|it| it.attempt.task == task);
    explanation.tasks[0].attempts = of_task.collect();
}

/// The attempts of one task, which a page may ask for every second, or of all.
async fn attempts(
    state: &ServerState,
    job: JobId,
    task: Option<TaskId>,
) -> Result<Vec<AttemptStatus>, Problem> {
    let query = task.map_or(Query::Attempts { job }, |task| Query::AttemptsOf { task });
    match ask_or_read_attempts(state, query).await? {
        Told::Now(Reply::Attempts(list)) => Ok(list.attempts),
        Told::Now(other) => Err(unexpected(&other)),
        Told::Kept(kept) => Ok(kept.into_iter().map(|attempt| attempt.status).collect()),
    }
}

fn task_of(job: JobId, task: &str) -> Result<TaskId, Problem> {
    let task = task.parse::<TaskId>().map_err(|error| bad_id(&error))?;
    if task.job == job { Ok(task) } else { Err(not_of_job(job, (&task, task.job))) }
}
