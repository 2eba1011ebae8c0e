//! What clients do to whole pools, and ask of them. (What a pool means for placement: `pools`, `order`; pauses: `pause`.)

use ids::Now;
use mapreduce_protocol::{JobId, JobState, PoolList, PoolStatus};

use crate::job::LiveJob;
use crate::machine::Core;
use crate::messages::{Reply, ReplyTo};
use crate::refusal::Refusal;

/// What a client wants of all jobs of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolVerb {
    /// Nothing new of them is launched, nor of jobs that come later.
    Pause {
        /// Whether what runs is to end now, and run again later.
        kill: bool,
    },
    /// They go on, but those that are paused themselves.
    Resume,
    /// They end. One whose output is about to be published succeeds all the same.
    Kill,
}

impl Core {
    pub(crate) fn handle_pool(&mut self, now: Now, pool: &str, verb: PoolVerb, to: ReplyTo) {
        let Some(at) = self.known_pool(pool, to) else { return };
        let jobs = self.jobs_of(at);
        match verb {
            PoolVerb::Pause { kill } => self.pause_pool(pool, &jobs, kill),
            PoolVerb::Resume => self.resume_pool(pool, &jobs),
            PoolVerb::Kill => self.kill_jobs(now, pool, &jobs),
        }
        self.answer_pools(now, Some(at), to);
    }

    fn kill_jobs(&mut self, now: Now, pool: &str, jobs: &[JobId]) {
        for job in jobs {
            if self.live(*job).is_some_and(|live| !live.committing) {
                let reason = format!("all jobs of pool {pool} were killed by a client's request");
                self.end_job(now, *job, JobState::Killed, Some(reason));
            }
        }
    }

    /// Answers with the pools, or with the one at a place.
    pub(crate) fn answer_pools(&mut self, now: Now, only: Option<usize>, to: ReplyTo) {
        self.jobs.bring_up_to_date();
        let shares = self.fair_shares(now);
        let pools = self.jobs.order().pools().iter().zip(shares).enumerate();
        let asked = pools.filter(|(at, _)| only.is_none_or(|only| only == *at));
        let shown = asked.map(|(_, (pool, fair_share))| {
            let rule = &pool.rule;
            PoolStatus {
                pool: rule.name.clone(),
                weight: rule.weight,
                min_slots: rule.min_slots,
                slots_max: rule.slots_max,
                running_jobs_max: rule.running_jobs_max,
                jobs_max: rule.jobs_max,
                paused: self.durable.is_pool_paused(&rule.name),
                slots: pool.n_slots,
                fair_share,
                waiting: pool.n_waiting,
                jobs: u32::try_from(pool.n_jobs()).unwrap_or(u32::MAX),
            }
        });
        let pools = shown.collect();
        self.reply(to, Reply::Pools(PoolList { pools }));
    }

    /// The place of a pool; if there is none of that name, the client is told.
    fn known_pool(&mut self, name: &str, to: ReplyTo) -> Option<usize> {
        let pools = self.jobs.order().pools();
        let place = pools.iter().position(|pool| pool.rule.name == name);
        if place.is_none() {
            let pools = pools.iter().map(|pool| pool.rule.name.clone()).collect();
            self.refuse_with(to, Refusal::UnknownPool { name: name.to_owned(), pools });
        }
        place
    }

    /// The unfinished jobs of a pool, the oldest first.
    fn jobs_of(&self, pool: usize) -> Vec<JobId> {
        self.jobs.values().filter(|live| live.pool == pool).map(|live| live.id).collect()
    }

    /// Why nothing of a job is launched whose pool is paused, for people.
    pub(crate) fn pool_is_paused(&self, live: &LiveJob) -> String {
        let name = &self.jobs.order().pools()[live.pool].rule.name;
        format!("pool {name} is paused: `howdah pool resume {name}` lets its jobs go on")
    }
}
