//! How many files and connections a daemon may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process' limit of open descriptors to the most that the system allows it: service managers and shells give
/// 1024, so that old programs don't break, and each TaskTracker keeps a connection or two to the JobTracker. Processes that it
/// starts get that limit too, unless they are given another.
///
/// What can't be raised stays as it is, and the log says so.
pub fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::debug!(limit = ?maximum, "open files and connections"),
        Err(error) => {
            tracing::warn!(?current, ?maximum, %error, "the limit of open files can't be raised");
        }
    }
}
