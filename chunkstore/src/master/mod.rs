//! The chunk master's daemon: the shell around `chunkstore_core::master`. [`run`] connects journal,
//! event loop and HTTP; [`init`] creates a cluster. Decisions are made in the core; statuses are in
//! `http/error.rs`, metric names in `metrics.rs`. Called by `howdah chunkmaster`.

mod event_loop;
mod fold;
mod http;
mod init;
mod metrics;
mod run;
mod settings;

#[cfg(test)]
mod tests;

pub use ::event_loop::InitError;
pub use chunkstore_core::master::Settings;
pub use fold::{MasterFold, MasterState};
pub use http::{access, openapi};
pub use init::init;
pub use metrics::METRICS;
pub use run::{RunError, run};
pub use settings::MasterSettings;
