//! What all daemons have in common: logs, metrics, health, shutdown, the panic hook, the descriptor
//! limit, the routes for these, and a data folder. Called by the daemons' `run` and by their mains;
//! knows neither chunks nor jobs.

mod audit;
mod certificates;
mod data_folder;
mod descriptors;
mod families;
mod file_stamp;
mod health;
mod logging;
mod metrics;
mod panic;
mod privacy;
mod probe;
mod prometheus;
mod racks;
mod reach;
mod requests;
mod routes;
mod sd_notify;
mod shutdown;
mod topology;

pub use audit::{AuditError, install_audit};
pub use certificates::follow_certificates;
pub use data_folder::{DataFolder, FolderError, Owner};
pub use descriptors::raise_descriptor_limit;
pub use families::{MetricFamily, MetricKind, MetricLabel, counter_of, gauge_of, histogram_of};
pub use file_stamp::FileStamp;
pub use health::Health;
pub use logging::{LogFormat, LoggingError, install_logging};
pub use metrics::{COMMON_METRICS, Metrics};
pub use panic::install_panic_hook;
pub use privacy::close_memory;
pub use probe::{
    PROBE_ADDRESSES_MAX, PROBE_BYTES_MAX, Probe, ProbeReply, ProbeRequest, probe_access,
    probe_routes,
};
pub use prometheus::TargetGroup;
pub use racks::{RackLineError, RackTableError};
pub use reach::{Asked, Reach, ReachReply, ReachRequest, Reached, reach_access, reach_remedy};
pub use requests::{REQUEST_LABELS, Requests};
pub use routes::routes;
pub use sd_notify::report_to;
pub use shutdown::Shutdown;
pub use topology::{Topology, TopologyError};

/// The release, as named in logs and panics.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests;
