//! The async runtime that commands run on; daemons have their own, see `daemons`.

use std::future::Future;
use std::time::Duration;

use anyhow::Context;

/// How long a command that has failed, or was interrupted, waits for the system calls that are under way on other
/// threads: one may never come back, and the end of the process ends it.
const STRAGGLERS_LIMIT: Duration = Duration::from_secs(1);

/// Runs `what` with everything on the calling thread: a client needs no more, and the children of the
/// supervisor must be spawned from a thread that lasts.
pub(crate) fn on_this_thread<T>(
    what: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the async runtime")?;
    let done = runtime.block_on(what);
    if done.is_err() {
        runtime.shutdown_timeout(STRAGGLERS_LIMIT);
    }
    done
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_command_that_was_interrupted_ends_though_a_system_call_does_not() {
        let (never, hangs) = mpsc::channel::<()>();
        let (tell, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let done = on_this_thread::<()>(async {
                let (begin, begun) = tokio::sync::oneshot::channel();
                tokio::task::spawn_blocking(move || {
                    begin.send(()).unwrap();
                    hangs.recv()
                });
                begun.await.unwrap();
                Err(anyhow::anyhow!("interrupted"))
            });
            tell.send(done).unwrap();
        });
        let done = ended.recv_timeout(Duration::from_secs(60)).expect("it waits for the thread");
        assert_eq!(done.unwrap_err().to_string(), "interrupted");
        drop(never);
    }
}
