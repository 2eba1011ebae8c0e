//! What the core is told once, at its start. Numbers come from the configuration's section
//! `jobtracker`; nothing here has a default.

use std::time::Duration;

use ids::ClusterId;

use crate::pools::PoolRule;
use crate::standing::Rule;

/// The rules' numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The cluster in the JobTracker's data folder.
    pub cluster: ClusterId,
    /// How long a heartbeat may stay parked.
    pub heartbeat_interval: Duration,
    /// Silence after which a tracker is lost; also how long after a start finished maps wait for their
    /// trackers to come back.
    pub dead_after: Duration,
    /// Tries of one task, where a job does not say (Hadoop: `mapred.map.max.attempts`).
    pub max_attempts: u32,
    /// How long a job waits for a better place, per level of locality.
    pub locality_wait: Duration,
    /// Share of a job's maps that must be done before its reduces start (Hadoop:
    /// `mapred.reduce.slowstart.completed.maps`), 0 to 1.
    pub reduce_slowstart: f64,
    /// The pools that share the slots, one of them named [`crate::DEFAULT_POOL`].
    pub pools: Vec<PoolRule>,
    /// How long a pool waits for its share before attempts of others give way; absent: for ever (Hadoop:
    /// `minSharePreemptionTimeout`, `fairSharePreemptionTimeout`).
    pub preempt_after: Option<Duration>,
    /// Whether late attempts get backups, where a job does not say (Hadoop:
    /// `mapred.map.tasks.speculative.execution`).
    pub speculative: bool,
    /// Share of all slots that backups may hold, 0 to 1; one of them in any case.
    pub speculative_share: f64,
    /// Reduces that can't fetch a map output for `dead_after`, after which the map runs again.
    pub fetch_failures_max: u32,
    /// Tasks of a job that fail on one host before the job leaves it alone for a while; 0: never (Hadoop:
    /// `mapred.max.tracker.failures`).
    pub host_failures_max: u32,
    /// What speaks against a host, so many times, before it is set aside for all jobs; 0: never (Hadoop:
    /// `mapred.max.tracker.blacklists`).
    pub host_strikes_max: u32,
    /// How long what speaks against a host is remembered (Hadoop: `mapred.jobtracker.blacklist.fault-timeout-window`).
    pub host_forgiven_after: Duration,
    /// Share of the live hosts that may be set aside at once, for all jobs or by one.
    pub set_aside_share: f64,
    /// Ended jobs that are remembered.
    pub finished_jobs_max: usize,
    /// Whether what is known of ended jobs is kept in the chunk store.
    pub keeps_history: bool,
    /// How long after a start nothing of an earlier term's jobs is launched where the journal does not tell which trackers
    /// there are, so that they can register with what they run; see [`recovery_grace`].
    pub recovery_grace: Duration,
}

impl Settings {
    /// Silence that is no chance.
    pub(crate) fn long_silence(&self) -> Duration {
        self.dead_after / 2
    }

    pub(crate) fn host_rule(&self) -> Rule {
        Rule {
            strikes: self.host_strikes_max,
            lapse: self.host_forgiven_after,
            share: self.set_aside_share,
        }
    }
}

/// The usual [`Settings::recovery_grace`]: a tracker notices a restart within one heartbeat interval,
/// and tries to register again at least once a second.
#[must_use]
pub fn recovery_grace(heartbeat_interval: Duration, dead_after: Duration) -> Duration {
    const RETRY_MAX: Duration = Duration::from_secs(1);
    dead_after.min(heartbeat_interval * 2 + RETRY_MAX)
}
