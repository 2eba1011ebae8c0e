//! What the author's code is told of the task that it runs in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mapreduce_protocol::{AttemptId, TaskKind};

use super::UserError;

/// The task, its attempt and its job (Hadoop: `TaskAttemptContext`); from [`crate::Output::task`]. Under `howdah local`
/// the job is number 1 of no day.
#[derive(Clone, Debug)]
pub struct TaskContext {
    pub(crate) attempt: AttemptId,
    pub(crate) job_name: String,
    pub(crate) n_maps: u32,
    pub(crate) n_reduces: u32,
    /// What a native program brings along: names, and where they lie here.
    pub(crate) files: Vec<(String, PathBuf)>,
    /// Who is told what it does.
    pub(crate) status: StatusSink,
}

type Tell = dyn Fn(&str) + Send + Sync;

/// Where an attempt's words about itself go; nowhere by default.
#[derive(Clone, Default)]
pub(crate) struct StatusSink(Option<Arc<Tell>>);

impl StatusSink {
    /// To `tell`.
    pub(crate) fn new(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Tells it.
    pub(crate) fn say(&self, status: &str) {
        if let Some(tell) = &self.0 {
            tell(status);
        }
    }
}

impl fmt::Debug for StatusSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusSink")
    }
}

impl TaskContext {
    /// What people call the job.
    #[must_use]
    pub fn job_name(&self) -> &str {
        &self.job_name
    }

    /// As `howdah job list` shows it: `job_20261122_0007`.
    #[must_use]
    pub fn job_id(&self) -> String {
        self.attempt.task.job.to_string()
    }

    /// `task_20261122_0007_m_000003`.
    #[must_use]
    pub fn task_id(&self) -> String {
        self.attempt.task.to_string()
    }

    /// `attempt_20261122_0007_m_000003_0`: what it writes elsewhere should bear this name, since another attempt
    /// may run at the same time.
    #[must_use]
    pub fn attempt_id(&self) -> String {
        self.attempt.to_string()
    }

    /// Whether it is a map.
    #[must_use]
    pub fn is_map(&self) -> bool {
        self.attempt.task.kind == TaskKind::Map
    }

    /// Its number among the job's maps, or reduces, from 0: of a reduce, the partition.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.attempt.task.index
    }

    /// Maps of the job.
    #[must_use]
    pub fn n_maps(&self) -> u32 {
        self.n_maps
    }

    /// Reduces of the job; 0 where maps write its output.
    #[must_use]
    pub fn n_reduces(&self) -> u32 {
        self.n_reduces
    }

    /// Says what the attempt is doing, for `howdah attempt list` and REST: one line, of which 200 characters are shown, told at
    /// most twice a second (Hadoop: `setStatus`). The last one stays with an attempt that fails.
    ///
    /// ```
    /// use mapreduce::{Bytes, Job};
    ///
    /// let job = Job::map::<Bytes, u64>(|line, out| {
    ///     if line.offset % (1 << 20) == 0 {
    ///         out.task().status(&format!("at byte {} of {}", line.offset, line.path));
    ///     }
    ///     Ok(())
    /// });
    /// let _: Job = job.into();
    /// ```
    pub fn status(&self, text: &str) {
        self.status.say(text);
    }

    /// Where a file lies that the job brings along under this name (`native: {executable, files: [PATH]}`; Hadoop:
    /// the distributed cache). It is to be read only: other attempts on this host read the same one.
    ///
    /// # Errors
    /// When the job brings none of this name.
    pub fn file(&self, name: &str) -> Result<&Path, UserError> {
        let found = self.files.iter().find(|(known, _)| known == name);
        found.map(|(_, path)| path.as_path()).ok_or_else(|| {
            let names: Vec<&str> = self.files.iter().map(|(name, _)| name.as_str()).collect();
            let brought = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            format!(
                "the job brings no file {name:?} ({brought}): name it in 'files' of its program"
            )
            .into()
        })
    }
}
