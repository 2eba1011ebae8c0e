//! How many files and connections a daemon may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process' limit of open descriptors to the most that the system allows it: service managers and shells give
/// 1024, so that old programs don't break, and each TaskTracker keeps a connection or two to the JobTracker. Processes that it
/// starts get that limit too, unless they are given another.
///
/// The limit as it is then; `None`: there is none. What can't be raised stays as it is.
#[must_use = "an operator should hear it"]
pub fn raise_descriptor_limit() -> Option<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    match raised {
        Ok(()) => maximum,
        Err(_kept) => getrlimit(Resource::Nofile).current,
    }
}
