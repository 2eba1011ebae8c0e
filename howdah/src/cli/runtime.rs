//! The async runtime that commands run on; daemons have their own, see `daemons`.

use std::future::Future;

use anyhow::Context;

/// Runs `what` with everything on the calling thread: a client needs no more, and the children of the
/// supervisor must be spawned from a thread that lasts.
pub(crate) fn on_this_thread<T>(
    what: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the async runtime")?.block_on(what)
}
