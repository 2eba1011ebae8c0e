//! Attempts ended by clients. A killed one does not count and its task runs again; a failed one
//! uses up one of its task's attempts. Either way the next attempt goes to another host, if there
//! is one. `attempt` does the rest.

use ids::Now;
use mapreduce_protocol::{AttemptId, AttemptState, Failure, FailureKind};

use crate::durable::Stage;
use crate::ended::EndedAttempt;
use crate::machine::Core;
use crate::messages::{EndsAs, Reply, ReplyTo};
use crate::refusal::Refusal;

/// The reason given in the attempt's log.
const REASON: &str = "a client asked for its end";

impl Core {
    pub(crate) fn handle_end_attempt(
        &mut self,
        now: Now,
        attempt: AttemptId,
        counts: EndsAs,
        to: ReplyTo,
    ) {
        if let Err(refusal) = self.check_runs(attempt) {
            return self.refuse_with(to, refusal);
        }
        let split = self.split(attempt.task).cloned();
        let Some(ended) = self.withdraw(attempt, REASON) else { return };
        let (host, place, span) = (ended.host.clone(), ended.place, ended.span(now.wall));
        let status = ended.status.clone();
        if let Some(state) =
            self.live_mut(attempt.task.job).and_then(|it| it.task_mut(attempt.task))
        {
            state.failed_on(&host);
        }
        let (state, failure) = match counts {
            EndsAs::Killed => {
                let failure = Failure { kind: FailureKind::Killed, message: REASON.to_owned() };
                self.on_killed(attempt, ended, failure.clone());
                self.wait_again(attempt.task);
                (AttemptState::Killed, failure)
            }
            EndsAs::Failed => {
                let message = "a client asked that it counts as failed".to_owned();
                let failure = Failure { kind: FailureKind::FailedOnRequest, message };
                self.count_failure(now, attempt, &ended, (failure.clone(), None));
                (AttemptState::Failed, failure)
            }
        };
        let failure = Some(failure);
        let status =
            self.shown(&EndedAttempt { attempt, host, state, failure, split, place, span, status });
        self.reply(to, Reply::Attempt(Box::new(status)));
    }

    /// Checks that the attempt runs and may still win.
    fn check_runs(&self, attempt: AttemptId) -> Result<(), Refusal> {
        let job = attempt.task.job;
        let entry = self.durable.job(job).ok_or(Refusal::NoSuchJob { job })?;
        if self.live(job).is_some_and(|live| live.is_live(attempt)) {
            return Ok(());
        }
        let state = match &entry.stage {
            Stage::Planning => None,
            Stage::Running(_) => {
                self.durable.task(attempt.task).and_then(|task| task.end_of(attempt.number))
            }
            Stage::Ended(ended) => {
                let known = ended.attempts.iter().find(|it| it.attempt == attempt);
                let state = ended.state;
                let known = known.ok_or(Refusal::JobEnded { job, state })?;
                Some(known.state)
            }
        };
        Err(match state {
            Some(state) => Refusal::AttemptEnded { attempt, state },
            None => Refusal::NoSuchAttempt { attempt },
        })
    }
}
