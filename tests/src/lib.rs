//! The harness of the end-to-end and fault tests: real processes of the one binary, in temporary folders,
//! driven as a user drives them. The tests themselves are in `tests/`.

pub mod binary;
pub mod books;
pub mod browser;
pub mod cluster;
pub mod command;
pub mod contents;
pub mod cpu_share;
pub mod dashboards;
pub mod freezable_disk;
pub mod fuzz;
pub mod hosts;
pub mod http;
pub mod job_author;
pub mod machines;
pub mod malformed;
pub mod metrics;
pub mod network;
pub mod oracle;
pub mod power;
pub mod prometheus;
pub mod promql;
pub mod replicas;
pub mod s3;
pub mod small_disk;
pub mod wait;

pub use cluster::{Dev, DevOptions};
pub use command::{Finished, howdah};
pub use power::PoweredDisk;

/// Whether to run at full size (`HOWDAH_LONG=1`).
#[must_use]
pub fn long() -> bool {
    config::env::process().long()
}

/// Says that a test can't be run here, and why. At full size that is a failure: such a run is to show everything.
///
/// # Panics
/// At full size.
pub fn skipped(why: &str) {
    assert!(!long(), "this test can't be run here: {why}");
    println!("skipped: {why}");
}

/// Runs of a repeated experiment: `n` at full size, else one.
#[must_use]
pub fn runs(n: u32) -> u32 {
    if long() { n } else { 1 }
}
