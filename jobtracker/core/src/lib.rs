//! The pure scheduler: jobs, tasks, attempts, trackers, placement, commit. No I/O, no clock, no
//! randomness. Only `jobtracker`'s event loop calls this crate: it supplies inputs with the time,
//! journals the records and carries out the effects.
//!
//! - `machine`: [`Core`], which dispatches each input to the module with its rules;
//! - `durable`, `records`: what survives a restart; `recovery`: how a start resumes from it;
//! - `submit`, `spec`: the beginning of a job; `commit`: its end; `history`: what is kept of it;
//! - `job`, `task`, `tasks`, `jobs`: soft state of unfinished jobs; `attempt`: outcomes of
//!   attempts; `skips`: records that attempts skip; `intervene`: attempts ended by clients;
//!   `pause`: jobs paused by clients; `overtime`: time limits;
//! - `running`, `ended`, `tally`, `counters`, `digest`: what the records say of tasks and attempts;
//!   `bounds`: limits on their size; `parts`: the files of an output;
//! - `waiting_maps`, `planned_maps`, `waiting_reduces`, `reduce_inputs`: waiting tasks, indexed by
//!   where their input is;
//! - `fetch_reports`: map outputs that cannot be fetched; `pool_verbs`: what clients do to pools;
//!   `phases`: how long each phase took;
//! - `trackers`, `idle`, `registration`, `heartbeat`: the TaskTrackers; `members`: those that a
//!   restart waits for; `hosts`, `held`: what is reported about hosts; `standing`: strikes against
//!   them; `drain`: hosts about to be stopped;
//! - `order`, `pools`, `share`: whose turn it is; `schedule`, `asking`, `locality`, `numbers`,
//!   `shared`, `exclusions`: which task runs where; `stuck`: when no host is left for a task;
//!   `speculate`, `pace`: backup attempts;
//! - `queries`, `waiting`, `explain`, `path`, `timeline`, `summary`: answers to queries; `refusal`:
//!   why a request is refused;
//! - `messages`, `settings`, `timers`: inputs and outputs, configuration, wake-ups; `invariants`:
//!   what holds after every input; `date`: the dates in job ids.

mod asking;
mod attempt;
mod bounds;
mod commit;
mod counters;
mod date;
mod digest;
mod drain;
mod durable;
mod ended;
mod exclusions;
mod explain;
mod fetch_reports;
mod heartbeat;
mod held;
mod history;
mod hosts;
mod idle;
mod intervene;
mod invariants;
mod job;
mod jobs;
mod locality;
mod machine;
mod members;
mod messages;
mod numbers;
mod order;
mod overtime;
mod pace;
mod parts;
mod path;
mod pause;
mod phases;
mod planned_maps;
mod pool_verbs;
mod pools;
mod queries;
mod records;
mod recovery;
mod reduce_inputs;
mod refusal;
mod registration;
mod running;
mod schedule;
mod settings;
mod share;
mod shared;
mod skips;
mod spec;
mod speculate;
mod standing;
#[cfg(test)]
mod stories;
mod stuck;
mod submit;
mod summary;
mod tally;
mod task;
mod tasks;
mod timeline;
mod timers;
mod trackers;
mod waiting;
mod waiting_maps;
mod waiting_reduces;

use std::time::Duration;

pub use bounds::RECORD_BYTES_MAX;
pub use durable::{Durable, EPOCHS_PER_JOURNAL};
pub use history::{
    HISTORY_RETRY, HISTORY_RETRY_MAX, UNWRITTEN_MAX, day_folder, first_day_kept, history_folder,
};
pub use job::staging_folder;
pub use locality::Locality;
pub use machine::Core;
pub use messages::{
    Effect, EndsAs, HistoryPage, Input, Notice, Output, Plan, Reply, ReplyTo, StoreEffect,
    StoreOutcome,
};
pub use parts::{Part, PartElsewhere};
pub use path::critical_path;
pub use phases::Phases;
pub use pool_verbs::PoolVerb;
pub use pools::{DEFAULT_POOL, PoolRule};
pub use queries::{JobFilter, Query, WAIT_MAX};
pub use records::{
    Home, IdempotencyKey, KilledAttempt, PlannedSplit, Record, Span, SplitList, StagedSplits,
};
pub use refusal::Refusal;
pub use registration::SLOTS_MAX;
pub use settings::{Settings, recovery_grace};
pub use share::Sharing;
pub use spec::{InvalidJob, STAGING_ROOT, SYSTEM_ROOT, is_within, validate};
pub use submit::{KEY_BYTES_MAX, SPLITS_MAX, UNFINISHED_JOBS_MAX};
pub use summary::{Launches, PoolGauges, Summary, TaskGauges};
pub use task::ATTEMPTS_PER_TERM;
pub use timeline::{PARTITIONS_PER_PAGE, TimelinePage};

/// Delay before a chunk store call is repeated once the edge has given up retrying it.
pub const STORE_RETRY: Duration = Duration::from_secs(1);
