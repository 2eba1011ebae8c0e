//! How far a task is: by bytes, told now and then. Telling is also the sign of life, so all that a task
//! works at asks here, record by record. That costs no more than a look at a flag, which the I/O thread
//! raises twice a second; it never speaks itself, so code that hangs stays silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Time between two messages.
const INTERVAL: Duration = Duration::from_millis(500);

/// Tells how far a task is.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Shared>);

struct Shared {
    due: AtomicBool,
    /// The bits of an `f32`, 0 to 1.
    share: AtomicU32,
    tell: Box<dyn Fn(f32) + Send + Sync>,
}

impl Progress {
    /// `tell` is called whenever a message is due and the task does something.
    pub(crate) fn new(tell: impl Fn(f32) + Send + Sync + 'static) -> Self {
        let (due, share) = (AtomicBool::new(false), AtomicU32::new(0));
        Self(Arc::new(Shared { due, share, tell: Box::new(tell) }))
    }

    /// Nobody wants to know.
    pub(crate) fn untold() -> Self {
        Self::new(|_| ())
    }

    /// Makes a message due from time to time, for ever.
    pub(crate) async fn keep_due(self) {
        let mut interval = tokio::time::interval(INTERVAL);
        loop {
            interval.tick().await;
            self.make_due();
        }
    }

    /// The next thing that the task does is told.
    pub(crate) fn make_due(&self) {
        self.0.due.store(true, Ordering::Relaxed);
    }

    /// The task goes on, wherever it is.
    #[inline]
    pub(crate) fn alive(&self) {
        if self.0.due.load(Ordering::Relaxed) {
            self.tell();
        }
    }

    /// `done` of `total` bytes are passed.
    pub(crate) fn at(&self, done: u64, total: u64) {
        let share = (done as f64 / total.max(1) as f64).min(1.0) as f32;
        self.0.share.store(share.to_bits(), Ordering::Relaxed);
        self.alive();
    }

    #[cold]
    fn tell(&self) {
        self.0.due.store(false, Ordering::Relaxed);
        (self.0.tell)(f32::from_bits(self.0.share.load(Ordering::Relaxed)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use mapreduce_protocol::{Failure, Split, SplitPiece, TaskSettings};

    use super::*;
    use crate::Job;
    use crate::api::Counters;
    use crate::api::{StatusSink, TaskContext};
    use crate::task::map::MapTask;
    use crate::task::named::Named;
    use crate::task::part_output::PartOutput;
    use crate::task::reduce::ReduceTask;
    use crate::task::run_writer::RunWriter;
    use crate::task::segments::{Budget, Segments};
    use crate::task::source::Source;
    use crate::task::storage::OutputFile;
    use crate::task::storage::testing::MemoryInput;

    /// What is told.
    fn recorded() -> (Progress, Arc<Mutex<Vec<f32>>>) {
        let told: Arc<Mutex<Vec<f32>>> = Arc::default();
        let heard = Arc::clone(&told);
        (Progress::new(move |share| heard.lock().unwrap().push(share)), told)
    }

    fn identity() -> TaskContext {
        let attempt = "attempt_20261122_0001_m_000003_0".parse().unwrap();
        TaskContext {
            attempt,
            job_name: "n".to_owned(),
            n_maps: 1,
            n_reduces: 1,
            files: Vec::new(),
            status: StatusSink::default(),
        }
    }

    struct Nowhere;

    impl OutputFile for Nowhere {
        fn write(&mut self, _: Bytes) -> Result<(), Failure> {
            Ok(())
        }

        fn close(self: Box<Self>) -> Result<(), Failure> {
            Ok(())
        }
    }

    /// Three records of one key, and one of another.
    fn run(folder: &std::path::Path, name: &str) -> Source {
        let mut writer =
            RunWriter::create_temporary(&folder.join(name), 1, Default::default()).unwrap();
        for key in ["a", "a", "a", "b"] {
            writer.record(0, key.as_bytes(), b"v").unwrap();
        }
        let run = writer.finish().unwrap();
        Source::of(&run.file, &run.segments[0])
    }

    #[test]
    fn what_is_due_is_told_once_with_the_last_share() {
        let (progress, told) = recorded();
        progress.at(1, 4);
        progress.alive();
        assert_eq!(*told.lock().unwrap(), [0.0; 0]);
        progress.make_due();
        progress.alive();
        progress.alive();
        assert_eq!(*told.lock().unwrap(), [0.25]);
        progress.make_due();
        progress.at(9, 4);
        progress.at(0, 0);
        assert_eq!(*told.lock().unwrap(), [0.25, 1.0]);
    }

    #[test]
    fn each_call_of_a_mapper_is_a_sign_of_life() {
        let folder = tempfile::tempdir().unwrap();
        let (progress, told) = recorded();
        let slow = progress.clone();
        let job: Job = Job::map::<crate::Bytes, u64>(move |_, _| {
            slow.make_due();
            Ok(())
        })
        .into();
        let path = "/in".to_owned();
        let pieces = vec![SplitPiece {
            path: path.into(),
            offset: 0,
            length: 6,
            file_length: 6,
            e_tag: None,
        }];
        let mut task = MapTask {
            split: &Split { pieces },
            input: &MemoryInput { data: b"a\nb\nc\n".to_vec(), block: 100 },
            formats: &Default::default(),
            forms: &Default::default(),
            n_partitions: 1,
            folder: folder.path(),
            map_output: &folder.path().join("output"),
            settings: &TaskSettings {
                sort_buffer_bytes: 1 << 20,
                fetch_buffer_bytes: 1 << 20,
                parallel_fetches: 1,
                merge_factor: 10,
                fetch_retry_ms: 10,
                fetch_stall_ms: 30_000,
                connect_timeout_ms: 2000,
                request_timeout_ms: 30_000,
                silence_timeout_ms: 3000,
                store_retry_ms: 10,
                hedge_after_ms: 500,
                output_replication: None,
            },
            identity: &identity(),
            progress,
            counters: Counters::default(),
            named: Named::new(|_| panic!("no named output")),
            sizes: None,
            skips: None,
        };
        job.program.map_to_partitions(&mut task).unwrap();
        assert_eq!(told.lock().unwrap().len(), 3);
        let slow = task.progress.clone();
        let job: Job = Job::map::<crate::Bytes, u64>(move |line, out| {
            for _ in 0..4 {
                slow.make_due();
                out.emit(line.value, 1);
            }
            Ok(())
        })
        .into();
        let output = PartOutput::new(&Default::default(), || Ok(Box::new(Nowhere))).unwrap();
        job.program.map_to_output(&mut task, output).unwrap();
        assert_eq!(told.lock().unwrap().len(), 3 + 12, "each pair of a map without a reduce");
    }

    #[test]
    fn each_record_that_is_merged_or_reduced_is_a_sign_of_life() {
        let folder = tempfile::tempdir().unwrap();
        let (progress, told) = recorded();
        let budget = Budget::new(1);
        let mut segments = Segments::new(folder.path().to_owned(), 2, budget, progress.clone());
        for (map, name) in [(0, "x"), (1, "y"), (2, "z")] {
            segments.add_on_disk(map, run(folder.path(), name));
        }
        progress.make_due();
        let (merge, written) = segments.into_merge(None).unwrap();
        assert!(written > 0, "more runs than may be merged at once");
        assert_eq!(told.lock().unwrap().len(), 1, "a merge to disk");
        let slow = progress.clone();
        let job: Job = Job::map::<crate::Bytes, crate::Bytes>(|_, _| Ok(()))
            .reduce::<crate::Bytes, ()>(move |_, values, _| {
                while values.next().is_some() {
                    slow.make_due();
                }
                Ok(())
            })
            .into();
        let output = PartOutput::new(&Default::default(), || Ok(Box::new(Nowhere))).unwrap();
        let mut task = ReduceTask {
            folder: folder.path(),
            identity: &identity(),
            progress,
            counters: Counters::default(),
            named: Named::new(|_| panic!("no named output")),
            skips: None,
        };
        job.program.reduce(merge, output, &mut task).unwrap();
        assert_eq!(told.lock().unwrap().len(), 1 + 12, "each value");
    }
}
