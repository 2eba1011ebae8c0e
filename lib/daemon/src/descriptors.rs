//! How many files and connections a daemon may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's limit of open descriptors to the maximum that the system allows. Service
/// managers and shells set 1024, for the sake of old programs, and each TaskTracker keeps a
/// connection or two to the JobTracker. Processes that it starts inherit the limit, unless they are
/// given another.
///
/// If the limit can't be raised, it stays as it is, and this is logged.
pub fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::debug!(limit = ?maximum, "open files and connections"),
        Err(error) => {
            tracing::warn!(?current, ?maximum, %error, "the limit of open files can't be raised");
        }
    }
}
