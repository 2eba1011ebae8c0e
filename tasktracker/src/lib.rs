//! The TaskTracker: runs attempts on one host, each in a process of its own, and serves map outputs and
//! logs. What it does when is decided in `tasktracker-core`; what runs where, in the JobTracker.
//!
//! [`run`] is called by the `howdah` binary. The way of an input: `http`, `attempt` and `jobtracker` →
//! `event_loop` → core; the way of an effect: `event_loop` → `attempt` → `process`.

mod attempt;
mod cgroup;
mod channel;
mod clone3;
mod description;
mod event_loop;
mod folder;
mod health;
mod http;
mod isolation;
mod jobtracker;
mod logs;
mod map_outputs;
mod meter;
mod metrics;
mod orphans;
mod process;
mod program_store;
mod programs;
mod record_note;
mod run;
mod settings;
mod shuffle_server;
mod tree;
mod uids;
mod vfork;

pub use daemon::FolderError;
pub use health::HealthSettings;
pub use http::access;
pub use isolation::{IsolationSettings, make_namespace};
pub use jobtracker::RefusedError;
pub use metrics::METRICS;
pub use run::{RunError, run};
pub use settings::TasktrackerSettings;
pub use uids::UidsError;
