//! What is simulated: a cluster, the rules of its JobTracker, how fast its hosts are, the jobs, and
//! the deaths of hosts. These are only numbers; the caller makes them up, or takes them from a
//! finished job.

use std::collections::BTreeSet;
use std::time::Duration;

use jobtracker_core::Settings;
use mapreduce_protocol::Priority;

/// The most hosts: more would show nothing new, and take hours.
pub const HOSTS_MAX: usize = 100_000;
/// The most tasks of all jobs together.
pub const TASKS_MAX: usize = 5_000_000;

/// Everything that a simulation depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The seed of all random choices: the same seed gives the same report.
    pub seed: u64,
    /// The hosts.
    pub cluster: Cluster,
    /// The rules of the JobTracker.
    pub rules: Settings,
    /// How fast an attempt is on a host that is not slow.
    pub rates: Rates,
    /// The jobs, in any order.
    pub jobs: Vec<JobPlan>,
    /// The hosts that die.
    pub deaths: Vec<Deaths>,
}

/// Hosts, spread evenly over racks.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// The number of hosts; each runs a TaskTracker and keeps chunks.
    pub hosts: usize,
    /// The number of racks.
    pub racks: usize,
    /// Slots of each host.
    pub slots: u32,
    /// The number of hosts that are slow from the start.
    pub slow: usize,
    /// How many times longer everything takes on a slow host.
    pub slow_factor: f64,
}

/// How many bytes one attempt processes in a second, and what else takes time. An attempt does one
/// thing after another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// What a map reads from its own host.
    pub read_local: f64,
    /// What a map reads from a host of its rack.
    pub read_rack: f64,
    /// What a map reads from any other host.
    pub read_remote: f64,
    /// What a map processes of its input, including leaving its output.
    pub map: f64,
    /// What a reduce fetches of maps' outputs from other hosts; from its own host it reads at
    /// `read_local`.
    pub fetch: f64,
    /// What a reduce merges and reduces of what it has fetched.
    pub reduce: f64,
    /// What an attempt writes of the job's output, with all its replicas.
    pub write: f64,
    /// The time until a process runs.
    pub start: Duration,
    /// How much attempts of one kind differ: the standard deviation of their times, as a share of
    /// the mean.
    pub spread: f64,
}

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobPlan {
    /// Its name for people.
    pub name: String,
    /// Its pool; the default one if absent.
    pub pool: Option<String>,
    /// Its priority.
    pub priority: Option<Priority>,
    /// Whether its late attempts get backups; absent: as the rules say.
    pub speculative: Option<bool>,
    /// When it is submitted.
    pub at: Duration,
    /// Its maps.
    pub maps: Vec<MapPlan>,
    /// Its reduces; if there are none, its maps write the output.
    pub reduces: Vec<ReducePlan>,
}

/// A map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapPlan {
    /// The bytes that it reads.
    pub input: u64,
    /// The bytes that it leaves for the reduces, or writes if there are none.
    pub output: u64,
    /// The reduce that gets all of its output; absent: each reduce gets its share.
    pub partition: Option<usize>,
    /// The measured time of a real attempt, if it is known.
    pub took: Option<Took>,
}

/// How long an attempt of a real map took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Took {
    /// From its launch to its end.
    pub time: Duration,
    /// How near to its data it ran.
    pub place: jobtracker_core::Locality,
}

/// A reduce.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReducePlan {
    /// Its share of the output of each map that serves all reduces.
    pub share: f64,
    /// The bytes that it writes.
    pub output: u64,
    /// How long it once worked after the end of the last map, if that is known.
    pub took: Option<Duration>,
}

/// Hosts, chosen at random, that die at the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deaths {
    /// How many.
    pub hosts: usize,
    /// When.
    pub at: Duration,
    /// How long after that their TaskTrackers are started again, with the maps' outputs on their
    /// disks; absent: the hosts are gone, and nobody is told.
    pub back_after: Option<Duration>,
}

/// Why a scenario cannot be simulated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScenario {
    /// The cluster has no host, rack or slot, or too many of them.
    #[error(
        "a cluster has 1 to {HOSTS_MAX} hosts, of 1 to 1024 slots, in as many racks at most as it has hosts"
    )]
    Cluster,
    /// More hosts are to be slow, or to die, than there are.
    #[error("{asked} hosts are to {what}, and the cluster has {hosts}")]
    Hosts {
        /// The number of hosts that were asked for.
        asked: usize,
        /// What is to happen to them.
        what: &'static str,
        /// The number of hosts that there are.
        hosts: usize,
    },
    /// A number is out of its range.
    #[error("{what} must be a number above 0")]
    Number {
        /// Which number.
        what: &'static str,
    },
    /// There is nothing to do: there is no job, or a job has no map.
    #[error("there is no job with a map")]
    NoJobs,
    /// There are too many tasks.
    #[error("the jobs have {tasks} tasks: at most {TASKS_MAX} can be simulated")]
    TooManyTasks {
        /// How many there are.
        tasks: usize,
    },
    /// A job's pool is not one of those in the rules.
    #[error("the job '{job}' is in the pool '{pool}', and the configuration has no such one")]
    Pool {
        /// The job.
        job: String,
        /// Its pool.
        pool: String,
    },
}

impl Scenario {
    /// Checks that the scenario can be simulated.
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
