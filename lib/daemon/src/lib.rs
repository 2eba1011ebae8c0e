//! What every daemon has, whatever it does: logs, metrics, health, shutdown, the panic hook, and the
//! routes for them. Called by the daemons' `run` and by their mains; knows neither chunks nor jobs.

mod health;
mod logging;
mod metrics;
mod panic;
mod routes;
mod shutdown;

pub use health::Health;
pub use logging::{LogFormat, LoggingError, install_logging};
pub use metrics::Metrics;
pub use panic::install_panic_hook;
pub use routes::routes;
pub use shutdown::Shutdown;

/// The release, as logs and panics name it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests;
