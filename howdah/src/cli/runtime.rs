//! The two kinds of async runtime that commands run on.

use std::future::Future;

use anyhow::Context;

/// For clients and supervisors: everything on the calling thread. Children of the supervisor must be
/// spawned from a thread that lasts, see `supervise`.
pub(crate) fn on_this_thread<T>(
    what: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the async runtime")?.block_on(what)
}

/// For daemons: one thread per processor.
pub(crate) fn on_all_processors<T>(
    what: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the async runtime")?.block_on(what)
}
