//! Operations of clients on whole pools, and queries about them. (For pools in placement see
//! `pools` and `order`; for pauses, `pause`.)

use std::collections::BTreeSet;

use ids::Now;
use mapreduce_protocol::{JobId, JobState, PoolList, PoolStatus};

use crate::job::LiveJob;
use crate::machine::Core;
use crate::messages::{Reply, ReplyTo};
use crate::order::Pool;
use crate::pools::PoolRule;
use crate::refusal::Refusal;

/// An operation on all jobs of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolVerb {
    /// Pause the pool: no attempt of its jobs is launched, nor of jobs that come later.
    Pause {
        /// Whether running attempts end now, to be run again later.
        kill: bool,
    },
    /// Resume the pool, except for jobs that are paused themselves.
    Resume,
    /// Kill all its jobs, except those being published. (Repeating it also kills jobs that were
    /// submitted in between.)
    Kill,
}

impl Core {
    pub(crate) fn handle_pool(&mut self, now: Now, pool: &str, verb: PoolVerb, to: ReplyTo) {
        if let Err(refusal) = self.check_pool(pool) {
            return self.refuse_with(to, refusal);
        }
        let jobs = self.jobs_of(pool);
        match verb {
            PoolVerb::Pause { kill } => self.pause_pool(pool, &jobs, kill),
            PoolVerb::Resume => self.resume_pool(pool, &jobs),
            PoolVerb::Kill => self.kill_jobs(now, pool, &jobs),
        }
        self.answer_pools(now, Some(pool), to);
    }

    fn kill_jobs(&mut self, now: Now, pool: &str, jobs: &[JobId]) {
        for job in jobs {
            if self.live(*job).is_some_and(|live| !live.committing) {
                let reason = format!("all jobs of pool {pool} were killed by a client's request");
                self.end_job(now, *job, JobState::Killed, Some(reason));
            }
        }
    }

    /// Replies with all pools, or with the one named `only`. They include paused pools that are no
    /// longer configured: their jobs wait in the default pool.
    pub(crate) fn answer_pools(&mut self, now: Now, only: Option<&str>, to: ReplyTo) {
        self.jobs.bring_up_to_date();
        let shares = self.fair_shares(now);
        let configured = self.jobs.order().pools().iter().zip(shares);
        let mut pools: Vec<_> =
            configured.map(|(pool, share)| self.pool_status(pool, share)).collect();
        let others = self.durable.paused_pools().chain(only).collect::<BTreeSet<_>>();
        for name in others {
            if pools.iter().all(|it| it.pool != name) {
                let jobs = u32::try_from(self.jobs_of(name).len()).unwrap_or(u32::MAX);
                let gone = self.pool_status(&Pool::of(PoolRule::named(name)), 0);
                pools.push(PoolStatus { jobs, ..gone });
            }
        }
        pools.retain(|it| only.is_none_or(|only| only == it.pool));
        self.reply(to, Reply::Pools(PoolList { pools }));
    }

    fn pool_status(&self, pool: &Pool, fair_share: u32) -> PoolStatus {
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
    }

    /// Checks that there is a pool of that name, configured or at least paused.
    fn check_pool(&self, name: &str) -> Result<(), Refusal> {
        let pools = self.jobs.order().pools().iter().map(|pool| &pool.rule.name);
        if self.durable.is_pool_paused(name) || pools.clone().any(|pool| pool == name) {
            return Ok(());
        }
        Err(Refusal::UnknownPool { name: name.to_owned(), pools: pools.cloned().collect() })
    }

    /// The unfinished jobs that are in a pool or name it, oldest first.
    fn jobs_of(&self, pool: &str) -> Vec<JobId> {
        let is_in = |live: &&LiveJob| self.names_of(live).contains(&Some(pool));
        self.jobs.values().filter(is_in).map(|live| live.id).collect()
    }

    /// The pool that a job is in, and the one that it names, which may no longer be configured.
    fn names_of<'a>(&'a self, live: &LiveJob) -> [Option<&'a str>; 2] {
        let named = self.durable.job(live.id).and_then(|entry| entry.spec.pool.as_deref());
        [Some(&self.jobs.order().pools()[live.pool].rule.name), named]
    }

    /// The name under which a job's pool is paused, if it is.
    pub(crate) fn paused_pool_of(&self, live: &LiveJob) -> Option<&str> {
        let names = self.names_of(live).into_iter().flatten();
        names.into_iter().find(|name| self.durable.is_pool_paused(name))
    }

    /// Why no attempt of a job in a paused pool is launched, for people.
    pub(crate) fn pool_is_paused(&self, live: &LiveJob) -> String {
        let name = self.paused_pool_of(live).unwrap_or_default();
        format!("pool {name} is paused: `howdah pool resume {name}` lets its jobs go on")
    }
}
