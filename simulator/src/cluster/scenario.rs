//! What is simulated: a cluster, the rules that its JobTracker goes by, how fast its hosts are, jobs, and what befalls hosts.
//! Numbers only; who makes them up, or takes them from a finished job, is the caller.

use std::collections::BTreeSet;
use std::time::Duration;

use jobtracker_core::Settings;
use mapreduce_protocol::Priority;

/// Hosts at most: more would say nothing new, and take hours.
pub const HOSTS_MAX: usize = 100_000;
/// Tasks of all jobs at most.
pub const TASKS_MAX: usize = 5_000_000;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// What chance there is comes out of it: the same seed gives the same report.
    pub seed: u64,
    /// The hosts.
    pub cluster: Cluster,
    /// The rules of the JobTracker.
    pub rules: Settings,
    /// How fast an attempt is on a host that is well.
    pub rates: Rates,
    /// The jobs, in whatever order.
    pub jobs: Vec<JobPlan>,
    /// Hosts that die.
    pub deaths: Vec<Deaths>,
}

/// Hosts, evenly spread over racks.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// TaskTrackers; each host also keeps chunks.
    pub hosts: usize,
    /// Racks that they stand in.
    pub racks: usize,
    /// Slots of each.
    pub slots: u32,
    /// Hosts that are slow from the start.
    pub slow: usize,
    /// How many times longer everything takes there.
    pub slow_factor: f64,
}

/// What one attempt gets done in a second, bytes; and what else takes time. An attempt does one thing after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// A map reads so much from its own host.
    pub read_local: f64,
    /// The same from a host of its rack.
    pub read_rack: f64,
    /// The same from elsewhere.
    pub read_remote: f64,
    /// A map works through so much of its input, and leaves its output.
    pub map: f64,
    /// A reduce fetches so much of maps' outputs from other hosts; from its own it reads.
    pub fetch: f64,
    /// A reduce merges and reduces so much of what it has fetched.
    pub reduce: f64,
    /// An attempt writes so much of the job's output, with all its replicas.
    pub write: f64,
    /// Until a process runs.
    pub start: Duration,
    /// How much attempts that are alike differ: the standard deviation of their times, as a share.
    pub spread: f64,
}

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobPlan {
    /// What people call it.
    pub name: String,
    /// Its pool; the default one if absent.
    pub pool: Option<String>,
    /// Its priority.
    pub priority: Option<Priority>,
    /// Whether late attempts get backups; as the rules say if absent.
    pub speculative: Option<bool>,
    /// When it is submitted.
    pub at: Duration,
    /// Its maps.
    pub maps: Vec<MapPlan>,
    /// Its reduces; none: the maps write the output.
    pub reduces: Vec<ReducePlan>,
}

/// A map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapPlan {
    /// What it reads.
    pub input: u64,
    /// What it leaves for the reduces, or writes if there are none.
    pub output: u64,
    /// The reduce that all of it is for; absent: each reduce has its share of it.
    pub partition: Option<usize>,
    /// What it took once, where that is known.
    pub took: Option<Took>,
}

/// What an attempt of a real map took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Took {
    /// From its launch to its end.
    pub time: Duration,
    /// How near to its bytes it ran.
    pub place: jobtracker_core::Locality,
}

/// A reduce.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReducePlan {
    /// Its share of the output of each map that makes something for all.
    pub share: f64,
    /// What it writes.
    pub output: u64,
    /// How long it worked once, from the end of the last map on, where that is known.
    pub took: Option<Duration>,
}

/// Hosts, drawn by chance, that die at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deaths {
    /// How many.
    pub hosts: usize,
    /// When.
    pub at: Duration,
    /// After how long their TaskTrackers are started again, with the maps' outputs on their disks; absent: the hosts are gone,
    /// and nobody is told.
    pub back_after: Option<Duration>,
}

/// Why a scenario can't be lived through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScenario {
    /// The cluster has no host, no rack, no slot, or too many of them.
    #[error(
        "a cluster has 1 to {HOSTS_MAX} hosts, of 1 to 1024 slots, in as many racks at most as it has hosts"
    )]
    Cluster,
    /// More hosts are slow or die than there are.
    #[error("{asked} hosts are to {what}, and the cluster has {hosts}")]
    Hosts {
        /// How many.
        asked: usize,
        /// What is to become of them.
        what: &'static str,
        /// How many there are.
        hosts: usize,
    },
    /// A number is no rate, factor or share.
    #[error("{what} must be a number above 0")]
    Number {
        /// Which.
        what: &'static str,
    },
    /// There is nothing to do.
    #[error("there is no job with a map")]
    NoJobs,
    /// There is too much.
    #[error("the jobs have {tasks} tasks: at most {TASKS_MAX} can be simulated")]
    TooManyTasks {
        /// How many there are.
        tasks: usize,
    },
    /// A job's pool is not one of the rules'.
    #[error("the job '{job}' is in the pool '{pool}', and the configuration has no such one")]
    Pool {
        /// The job.
        job: String,
        /// Its pool.
        pool: String,
    },
}

impl Scenario {
    /// Whether it can be lived through.
    pub(crate) fn check(&self) -> Result<(), InvalidScenario> {
        let Cluster { hosts, racks, slots, slow, slow_factor } = self.cluster;
        let fits = (1..=HOSTS_MAX).contains(&hosts) && (1..=hosts).contains(&racks);
        if !fits || !(1..=1024).contains(&slots) {
            return Err(InvalidScenario::Cluster);
        }
        let dying = self.deaths.iter().map(|deaths| deaths.hosts).sum();
        for (asked, what) in [(slow, "be slow"), (dying, "die")] {
            if asked > hosts {
                return Err(InvalidScenario::Hosts { asked, what, hosts });
            }
        }
        let Rates { read_local, read_rack, read_remote, map, fetch, reduce, write, spread, .. } =
            self.rates;
        for (number, what) in [
            (read_local, "the rate of reading from the same host"),
            (read_rack, "the rate of reading from the same rack"),
            (read_remote, "the rate of reading from elsewhere"),
            (map, "the rate of maps"),
            (fetch, "the rate of fetching"),
            (reduce, "the rate of reduces"),
            (write, "the rate of writing"),
            (slow_factor, "the factor of slow hosts"),
            (spread + 1.0, "the spread"),
        ] {
            if !(number.is_finite() && number > 0.0) {
                return Err(InvalidScenario::Number { what });
            }
        }
        self.check_jobs()
    }

    fn check_jobs(&self) -> Result<(), InvalidScenario> {
        let tasks = self.jobs.iter().map(|job| job.maps.len() + job.reduces.len()).sum();
        if tasks > TASKS_MAX {
            return Err(InvalidScenario::TooManyTasks { tasks });
        }
        if self.jobs.is_empty() || self.jobs.iter().any(|job| job.maps.is_empty()) {
            return Err(InvalidScenario::NoJobs);
        }
        let pools: BTreeSet<_> = self.rules.pools.iter().map(|rule| &rule.name).collect();
        for JobPlan { name, pool, .. } in &self.jobs {
            if let Some(pool) = pool.as_ref().filter(|pool| !pools.contains(pool)) {
                let (job, pool) = (name.clone(), pool.clone());
                return Err(InvalidScenario::Pool { job, pool });
            }
        }
        Ok(())
    }
}
