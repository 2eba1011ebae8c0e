//! Safe mode: a master that has just started knows which files there are, but not yet which servers
//! hold them. Until every known server has registered and completed its report, or has been silent
//! for as long as allowed, the master answers reads, takes registrations, and changes nothing: no
//! mutation, no command to a server, no lease that expires. Whatever looks lost, or surplus, may
//! just not be reported yet. (HDFS waits for a share of the blocks instead; here it is known which
//! servers to wait for.)

use std::collections::BTreeMap;
use std::time::Duration;

use ids::{HostName, Monotonic};

use super::error::FsError;
use super::{Effect, Master, Notice, Output};

/// Whether the master is waiting for servers to report what they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum SafeMode {
    /// It knows all that can be known.
    #[default]
    Off,
    /// It is waiting.
    On {
        /// Known servers whose reports are incomplete, and how far those that began theirs have
        /// come.
        awaited: BTreeMap<HostName, Option<Told>>,
        /// Servers that have not been heard from by then count as dead.
        until: Monotonic,
    },
}

/// How much of its report a server has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The highest number of events in one registration.
    n: u64,
    /// When this number was last raised.
    since: Monotonic,
}

impl SafeMode {
    /// The mode of a master that starts. A new cluster has no servers to wait for.
    pub(crate) fn begin<'a>(known: impl Iterator<Item = &'a HostName>, until: Monotonic) -> Self {
        let awaited: BTreeMap<_, _> = known.map(|host| (host.clone(), None)).collect();
        if awaited.is_empty() { Self::Off } else { Self::On { awaited, until } }
    }

    /// When safe mode ends at the latest.
    pub(crate) fn until(&self) -> Option<Monotonic> {
        match self {
            Self::Off => None,
            Self::On { until, .. } => Some(*until),
        }
    }

    /// The servers that it waits for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = &HostName> {
        let awaited = match self {
            Self::Off => None,
            Self::On { awaited, .. } => Some(awaited.keys()),
        };
        awaited.into_iter().flatten()
    }

    /// The master itself was stopped, so nobody could be heard.
    pub(crate) fn postpone(&mut self, by: Duration) {
        if let Self::On { until, .. } = self {
            *until = *until + by;
        }
    }
}

impl Master {
    /// Whether what servers hold is not known yet, or the journal is an older copy: then nothing
    /// may be deleted, copied, ended or changed.
    pub(super) fn in_safe_mode(&self) -> bool {
        self.safe_mode != SafeMode::Off || self.outdated.is_some()
    }

    /// Refuses a change in safe mode.
    pub(super) fn leave_to_change(&self) -> Result<(), FsError> {
        self.refuse_if_outdated()?;
        match &self.safe_mode {
            SafeMode::Off => Ok(()),
            SafeMode::On { awaited, until } => Err(FsError::SafeMode {
                awaited: awaited.keys().cloned().collect(),
                seconds: until.since(self.called).as_secs() + 1,
            }),
        }
    }

    /// A server has completed its report.
    pub(super) fn has_reported(&mut self, host: &HostName, now: Monotonic, out: &mut Output) {
        if let SafeMode::On { awaited, .. } = &mut self.safe_mode {
            awaited.remove(host);
            if awaited.is_empty() && self.outdated.is_none() {
                self.leave_safe_mode(now, out);
            }
        }
    }

    /// Leaves safe mode if its time is up and no awaited server makes progress any more. A report
    /// that progresses is waited for, however long it takes; a server that keeps starting over is
    /// not.
    pub(super) fn pass_safe_mode(&mut self, now: Monotonic, out: &mut Output) {
        let SafeMode::On { awaited, until } = &mut self.safe_mode else { return };
        if *until > now || self.outdated.is_some() {
            return;
        }
        let mut goes_on = false;
        for (host, told) in awaited {
            let Some(by) = self.servers.by_host(host) else { continue };
            let n = self.servers.n_told(by.server);
            let told = told.get_or_insert(Told { n, since: now });
            if n > told.n {
                *told = Told { n, since: now };
            }
            goes_on |=
                self.servers.is_live_host(host) && now.since(told.since) < self.settings.dead_after;
        }
        match goes_on {
            true => *until = now + self.settings.heartbeat_interval,
            false => self.leave_safe_mode(now, out),
        }
    }

    fn leave_safe_mode(&mut self, now: Monotonic, out: &mut Output) {
        let silent = self.safe_mode.awaited().cloned().collect();
        self.safe_mode = SafeMode::Off;
        self.end_logs_on_missing(now);
        out.effects.push(Effect::Tell(Notice::SafeModeLeft { silent }));
        self.sweep(now);
    }
}
