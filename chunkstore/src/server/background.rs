//! Threads of their own for what can wait: copies to and from other servers, and the scrubber. All their work,
//! checksums above all, comes behind what clients ask of any daemon on the host. They are of Linux' idle policy
//! (sched(7)): a niced thread would still keep those from a processor that wake up beside it, for a slice each
//! time, and a reader wakes up for each piece of its bytes. But where tasks keep every processor busy an idle
//! thread starves, and lost replicas must be made again even so: what begins late there, and what begins in the
//! seconds after, runs on threads that are only niced.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clock::Stopwatch;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;

/// Of a thread at 0 that wants the same processor it leaves nine tenths.
const NICE: i32 = 10;
/// What begins so late has been starved: a thread at 0 leaves the processor to an idle one much sooner if it ever
/// waits for anything.
const LATE: Duration = Duration::from_millis(100);
/// For how long idle threads are not tried again then.
const STARVED_FOR: Duration = Duration::from_secs(10);

/// Owns the threads. They end when it is dropped, and with them whatever they do.
pub(super) struct Background {
    runtimes: Vec<Runtime>,
    behind: Behind,
}

/// Where to start what can wait.
#[derive(Clone, Debug)]
pub(super) struct Behind {
    idle: Handle,
    niced: Handle,
    /// Until then idle threads are not tried, in milliseconds of the monotonic clock.
    starved_until: Arc<AtomicU64>,
}

impl Background {
    /// Starts the threads.
    pub(super) fn start() -> std::io::Result<Self> {
        let start = |on_start: fn()| {
            let mut builder = Builder::new_multi_thread();
            builder.enable_all().thread_name("background").on_thread_start(on_start).build()
        };
        let (idle, niced) = (start(be_idle)?, start(be_nice)?);
        let behind = Behind {
            idle: idle.handle().clone(),
            niced: niced.handle().clone(),
            starved_until: Arc::default(),
        };
        Ok(Self { runtimes: vec![idle, niced], behind })
    }

    /// As long as this is not dropped.
    pub(super) fn behind(&self) -> Behind {
        self.behind.clone()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Where tasks run, nothing may wait for the threads to end.
        self.runtimes.drain(..).for_each(Runtime::shutdown_background);
    }
}

impl Behind {
    /// With the priority of the caller's runtime.
    #[cfg(test)]
    pub(super) fn here() -> Self {
        let (idle, niced) = (Handle::current(), Handle::current());
        Self { idle, niced, starved_until: Arc::default() }
    }

    /// Runs it, and whatever it spawns itself, to its end.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if self.is_starved() {
            self.niced.spawn(work);
            return;
        }
        let (behind, asked) = (self.clone(), Stopwatch::start());
        self.idle.spawn(async move {
            if asked.elapsed() < LATE {
                return work.await;
            }
            let until = clock::monotonic() + STARVED_FOR;
            behind.starved_until.store(millis(until.0), Ordering::Relaxed);
            tracing::debug!("idle threads get no processor: background work is only niced for now");
            behind.niced.spawn(work);
        });
    }

    /// Runs on idle threads whatever comes; it ends with the set.
    pub(super) fn spawn_in(
        &self,
        set: &mut JoinSet<()>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        set.spawn_on(work, &self.idle);
    }

    fn is_starved(&self) -> bool {
        millis(clock::monotonic().0) < self.starved_until.load(Ordering::Relaxed)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Of the calling thread alone.
fn be_idle() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters are this function's own, and only read; 0 is the calling thread.
    let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
    if done != 0 {
        let error = std::io::Error::last_os_error();
        tracing::warn!(%error, "idle threads can't be had: background work is only niced");
        be_nice();
    }
}

/// Of the calling thread alone: that is what Linux means by this process.
fn be_nice() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "background work has the priority of any other");
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// The calling thread's policy and niceness.
    fn priority() -> (i32, i32) {
        // SAFETY: it takes a number alone.
        let policy = unsafe { libc::sched_getscheduler(0) };
        (policy, rustix::process::getpriority_process(None).unwrap())
    }

    /// Of the thread that works, of one that blocks for it, and of one that it spawns on.
    async fn priorities(behind: &Behind) -> [(i32, i32); 3] {
        let (tell, told) = oneshot::channel();
        behind.spawn(async {
            let blocking = tokio::task::spawn_blocking(priority).await.unwrap();
            let spawned = tokio::spawn(async { priority() }).await.unwrap();
            tell.send([priority(), blocking, spawned]).unwrap();
        });
        told.await.unwrap()
    }

    #[tokio::test]
    async fn what_is_started_behind_gives_way_with_all_its_threads_and_nothing_else_does() {
        let background = Background::start().unwrap();
        let own = priority();
        let behind = background.behind();
        behind.starved_until.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(priorities(&behind).await, [(libc::SCHED_OTHER, NICE); 3]);
        behind.starved_until.store(0, Ordering::Relaxed);
        // Others may keep the processors busy just now.
        let found = priorities(&behind).await;
        assert!(behind.is_starved() || found.map(|(policy, _)| policy) == [libc::SCHED_IDLE; 3]);
        assert_eq!(tokio::task::spawn_blocking(priority).await.unwrap(), own);
        assert_eq!(priority(), own);
    }

    #[tokio::test(flavor = "current_thread")]
    #[expect(clippy::disallowed_methods, reason = "the thread is kept busy on purpose")]
    async fn what_begins_late_is_begun_elsewhere_and_so_is_what_follows() {
        let niced = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let behind = Behind { niced: niced.handle().clone(), ..Behind::here() };
        let own = std::thread::current().id();
        let (tell, told) = oneshot::channel();
        behind.spawn(async move { tell.send(std::thread::current().id()).unwrap() });
        // This thread, which the first try needs, is busy.
        std::thread::park_timeout(LATE + Duration::from_millis(10));
        assert_ne!(told.await.unwrap(), own);
        assert!(behind.is_starved());
        niced.shutdown_background();
    }
}
