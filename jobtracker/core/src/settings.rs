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
    /// How long a heartbeat may stay parked, at least.
    pub heartbeat_interval: Duration,
    /// Heartbeats of all trackers in a second (Hadoop: `mapred.heartbeats.in.second`).
    pub heartbeats_per_second: u32,
    /// Silence after which a tracker is lost, at least; also how long after a start finished maps wait for their
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
    pub(crate) fn host_rule(&self) -> Rule {
        Rule {
            strikes: self.host_strikes_max,
            lapse: self.host_forgiven_after,
            share: self.set_aside_share,
        }
    }
}

/// Heartbeats that a tracker misses, at least, before it is lost, where they are stretched.
const MISSED_MIN: u32 = 3;
/// Of all heartbeats that there may be, the share that map events may cause beside those of the interval.
const SHARE_OF_MAP_EVENTS: f64 = 0.1;

/// How fast news and silence are, which depends on how many trackers there are. (Hadoop:
/// `JobTracker.getNextHeartbeatInterval`.)
impl Settings {
    /// How long a heartbeat may stay parked with so many trackers: so long that all of them send no more heartbeats a second
    /// than they may.
    pub(crate) fn interval_of(&self, n_trackers: usize) -> Duration {
        self.heartbeat_interval.max(self.time_of_heartbeats(n_trackers))
    }

    /// Silence after which one of so many trackers is lost.
    pub(crate) fn dead_after_of(&self, n_trackers: usize) -> Duration {
        self.silence_of(self.interval_of(n_trackers))
    }

    /// Silence after which one is lost that was told to heartbeat so often.
    pub(crate) fn silence_of(&self, interval: Duration) -> Duration {
        let is_stretched = interval > self.heartbeat_interval;
        if is_stretched { self.dead_after.max(interval * MISSED_MIN) } else { self.dead_after }
    }

    /// How long map events wait at least for more of them, before a parked heartbeat is answered for their sake, if so many
    /// trackers run reduces.
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
