//! Settings that the core gets at its start. The values come from the configuration's section
//! `jobtracker`; there are no defaults here.

use std::time::Duration;

use ids::ClusterId;

use crate::pools::PoolRule;
use crate::standing::Rule;

/// The parameters of the scheduler.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The cluster in the JobTracker's data folder.
    pub cluster: ClusterId,
    /// How long a heartbeat may stay parked, at least.
    pub heartbeat_interval: Duration,
    /// Limit on the heartbeats of all trackers per second (Hadoop: `mapred.heartbeats.in.second`).
    pub heartbeats_per_second: u32,
    /// Silence after which a tracker is lost, at least; also how long after a start finished maps
    /// wait for their trackers to come back.
    pub dead_after: Duration,
    /// Attempts per task unless the job says otherwise (Hadoop: `mapred.map.max.attempts`).
    pub max_attempts: u32,
    /// How long a job waits for a better place, per level of locality.
    pub locality_wait: Duration,
    /// Share of a job's maps that must be done before its reduces start (Hadoop:
    /// `mapred.reduce.slowstart.completed.maps`), 0 to 1.
    pub reduce_slowstart: f64,
    /// The pools that share the slots, one of them named [`crate::DEFAULT_POOL`].
    pub pools: Vec<PoolRule>,
    /// How long a pool waits for its share before others' attempts are preempted; absent: for ever
    /// (Hadoop: `minSharePreemptionTimeout`, `fairSharePreemptionTimeout`).
    pub preempt_after: Option<Duration>,
    /// Whether late attempts get backups unless the job says otherwise (Hadoop:
    /// `mapred.map.tasks.speculative.execution`).
    pub speculative: bool,
    /// Share of all slots that backups may hold, 0 to 1; at least one backup is always allowed.
    pub speculative_share: f64,
    /// Number of reduces that must fail to fetch a map output for `dead_after` before the map runs
    /// again.
    pub fetch_failures_max: u32,
    /// Number of tasks of a job that must fail on a host before the job avoids it for a while; 0:
    /// never (Hadoop: `mapred.max.tracker.failures`).
    pub host_failures_max: u32,
    /// Number of strikes from which a host is set aside for all jobs; 0: never (Hadoop:
    /// `mapred.max.tracker.blacklists`).
    pub host_strikes_max: u32,
    /// How long a strike counts (Hadoop: `mapred.jobtracker.blacklist.fault-timeout-window`).
    pub host_forgiven_after: Duration,
    /// Share of the live hosts that may be set aside at once, for all jobs or by one.
    pub set_aside_share: f64,
    /// Number of ended jobs that are kept.
    pub finished_jobs_max: usize,
    /// Whether histories of ended jobs are kept in the chunk store.
    pub keeps_history: bool,
    /// How long after a start nothing of an earlier term's jobs is launched if the journal does not
    /// record the trackers, so that they can register and report what runs; see [`recovery_grace`].
    pub recovery_grace: Duration,
}

impl Settings {
    pub(crate) fn host_rule(&self) -> Rule {
        Rule {
            strikes: self.host_strikes_max,
            lapse: self.host_forgiven_after,
            share: self.set_aside_share,
        }
    }
}

/// Least number of heartbeats that a tracker misses before it is lost, if the interval is
/// stretched.
const MISSED_MIN: u32 = 3;
/// Heartbeats that map events may cause beside those of the interval, as a share of the maximum.
const SHARE_OF_MAP_EVENTS: f64 = 0.1;

/// Heartbeat interval and time-outs, which depend on the number of trackers. (Hadoop:
/// `JobTracker.getNextHeartbeatInterval`.)
impl Settings {
    /// How long a heartbeat may stay parked with `n_trackers`: long enough that all of them
    /// together do not exceed the permitted heartbeats per second.
    pub(crate) fn interval_of(&self, n_trackers: usize) -> Duration {
        self.heartbeat_interval.max(self.time_of_heartbeats(n_trackers))
    }

    /// Silence after which one of `n_trackers` is lost.
    pub(crate) fn dead_after_of(&self, n_trackers: usize) -> Duration {
        self.silence_of(self.interval_of(n_trackers))
    }

    /// Silence after which a tracker with that heartbeat interval is lost.
    pub(crate) fn silence_of(&self, interval: Duration) -> Duration {
        let is_stretched = interval > self.heartbeat_interval;
        if is_stretched { self.dead_after.max(interval * MISSED_MIN) } else { self.dead_after }
    }

    /// How long map events wait for more of them, at least, before they cause a reply to a parked
    /// heartbeat, if `n_listening` trackers run reduces.
    pub(crate) fn map_events_pause(&self, n_listening: usize) -> Duration {
        self.time_of_heartbeats(n_listening).div_f64(SHARE_OF_MAP_EVENTS)
    }

    fn time_of_heartbeats(&self, n: usize) -> Duration {
        Duration::from_secs(n as u64) / self.heartbeats_per_second.max(1)
    }
}

/// The usual [`Settings::recovery_grace`]: a tracker notices a restart within one heartbeat interval,
/// and tries to register again at least once a second.
#[must_use]
pub fn recovery_grace(heartbeat_interval: Duration, dead_after: Duration) -> Duration {
    const RETRY_MAX: Duration = Duration::from_secs(1);
    dead_after.min(heartbeat_interval * 2 + RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_trackers_there_are_the_longer_a_heartbeat_waits_and_silence_lasts() {
        let settings = Settings {
            heartbeats_per_second: 1000,
            heartbeat_interval: Duration::from_secs(1),
            dead_after: Duration::from_secs(10),
            ..crate::stories::settings()
        };
        for (n_trackers, interval_ms, dead_ms, pause_ms) in [
            (0, 1000, 10_000, 0),
            (3, 1000, 10_000, 30),
            (1000, 1000, 10_000, 10_000),
            (3000, 3000, 10_000, 30_000),
            (10_000, 10_000, 30_000, 100_000),
        ] {
            let found = [
                settings.interval_of(n_trackers),
                settings.dead_after_of(n_trackers),
                settings.map_events_pause(n_trackers),
            ];
            let expected = [interval_ms, dead_ms, pause_ms].map(Duration::from_millis);
            assert_eq!(found, expected, "{n_trackers} trackers");
        }
    }
}
