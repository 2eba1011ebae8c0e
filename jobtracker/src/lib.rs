//! The JobTracker's daemon: the shell around `jobtracker_core`, which makes the decisions.
//! [`run()`] wires journal, event loop and HTTP; [`init()`] makes it a member of the chunk store's
//! cluster. Here are the calls to the chunk store (`admission`, `splits`, `commit`; `elsewhere` for
//! other stores; `history` for ended jobs), the event stream (`events`), HTTP statuses in
//! `http/error.rs`, and metric names in `metrics.rs`. Called by `howdah jobtracker`.

mod admission;
mod commit;
mod elsewhere;
mod event_loop;
mod events;
mod fold;
mod history;
mod http;
mod init;
mod metrics;
mod newest;
mod rules;
mod run;
mod settings;
mod splits;
mod store;

#[cfg(test)]
mod tests;

pub use fold::JobFold;
pub use http::{access, openapi};
pub use init::{InitError, init};
pub use jobtracker_core::{InvalidJob, validate};
pub use metrics::METRICS;
pub use newest::OlderBy;
pub use rules::{pretended_rules, rules};
pub use run::{RunError, run};
pub use settings::JobtrackerSettings;
