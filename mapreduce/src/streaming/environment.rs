//! What commands find in their environment: facts about their task, under the names of both Hadoop families (`mapred_…`
//! of Hadoop 1, `mapreduce_…` of Hadoop 2), and the job's own variables. A fixed set: Hadoop passes on the whole
//! configuration of the job, which can be more than the system lets a process start with.

use std::path::Path;

use mapreduce_protocol::{SplitPiece, Streaming, TaskKind};

use super::workplace::Workplace;
use crate::api::TaskContext;

/// The folder of files that become named outputs.
const BESIDE: [&str; 2] = ["mapred_work_output_dir", "mapreduce_task_output_dir"];

/// Names and values.
#[derive(Clone)]
pub(super) struct Environment {
    facts: Vec<(&'static str, String)>,
    /// The job's own, which win.
    own: Vec<(String, String)>,
}

impl Environment {
    /// Of a task that does not read a split.
    pub(super) fn new(identity: &TaskContext, about: &Streaming, workplace: &Workplace) -> Self {
        let TaskContext { attempt, job_name, n_maps, n_reduces, .. } = identity;
        let is_map = (attempt.task.kind == TaskKind::Map).to_string();
        let folder = |path: &Path| path.display().to_string();
        let job = attempt.task.job.to_string();
        let (task, partition) = (attempt.task.to_string(), attempt.task.index.to_string());
        let facts = vec![
            ("mapred_job_id", job.clone()),
            ("mapreduce_job_id", job),
            ("mapred_job_name", job_name.clone()),
            ("mapreduce_job_name", job_name.clone()),
            ("mapred_task_id", attempt.to_string()),
            ("mapreduce_task_attempt_id", attempt.to_string()),
            ("mapred_tip_id", task.clone()),
            ("mapreduce_task_id", task),
            ("mapred_task_partition", partition.clone()),
            ("mapreduce_task_partition", partition),
            ("mapred_task_is_map", is_map.clone()),
            ("mapreduce_task_ismap", is_map),
            ("mapred_map_tasks", n_maps.to_string()),
            ("mapreduce_job_maps", n_maps.to_string()),
            ("mapred_reduce_tasks", n_reduces.to_string()),
            ("mapreduce_job_reduces", n_reduces.to_string()),
            ("job_local_dir", folder(workplace.folder())),
            ("mapreduce_job_local_dir", folder(workplace.folder())),
            (BESIDE[0], folder(workplace.beside())),
            (BESIDE[1], folder(workplace.beside())),
            ("TMPDIR", folder(workplace.temporary())),
        ];
        let own = about.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { facts, own }
    }

    /// The task reads this: of a split of several pieces, the first.
    pub(super) fn reads(&mut self, piece: &SplitPiece) {
        let SplitPiece { path, offset, length, .. } = piece;
        self.facts.extend([
            ("map_input_file", path.to_string()),
            ("mapreduce_map_input_file", path.to_string()),
            ("map_input_start", offset.to_string()),
            ("mapreduce_map_input_start", offset.to_string()),
            ("map_input_length", length.to_string()),
            ("mapreduce_map_input_length", length.to_string()),
        ]);
    }

    /// Files that become named outputs are written to this folder instead.
    pub(super) fn writes_beside(&mut self, folder: &Path) {
        for (_, value) in self.facts.iter_mut().filter(|(name, _)| BESIDE.contains(name)) {
            *value = folder.display().to_string();
        }
    }

    /// All of them, later ones before earlier ones of the same name.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let facts = self.facts.iter().map(|(name, value)| (*name, value.as_str()));
        facts.chain(self.own.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mapreduce_protocol::JobId;

    use super::*;
    use crate::api::StatusSink;
    use crate::task::progress::Progress;

    #[test]
    fn both_families_say_the_same_and_the_jobs_own_variables_win() {
        let folder = tempfile::tempdir().unwrap();
        let env = [("TMPDIR", "/elsewhere"), ("X", "a b")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let about = Streaming { mapper: Some("cat".to_owned()), env, ..Streaming::default() };
        let workplace = Workplace::make(folder.path(), &about, &[], &Progress::untold()).unwrap();
        let job = JobId { date: 20_261_122, ordinal: 7 };
        let identity = TaskContext {
            attempt: job.task(TaskKind::Map, 3).attempt(1),
            job_name: "n".to_owned(),
            n_maps: 9,
            n_reduces: 2,
            files: Vec::new(),
            status: StatusSink::default(),
        };
        let mut environment = Environment::new(&identity, &about, &workplace);
        let path = "/in/a";
        environment.reads(&SplitPiece {
            path: path.into(),
            offset: 5,
            length: 6,
            file_length: 100,
            e_tag: None,
        });
        let found: BTreeMap<&str, &str> = environment.variables().collect();
        for (names, value) in [
            (["mapred_job_id", "mapreduce_job_id"], "job_20261122_0007"),
            (["mapred_task_id", "mapreduce_task_attempt_id"], "attempt_20261122_0007_m_000003_1"),
            (["mapred_tip_id", "mapreduce_task_id"], "task_20261122_0007_m_000003"),
            (["mapred_task_partition", "mapreduce_task_partition"], "3"),
            (["mapred_task_is_map", "mapreduce_task_ismap"], "true"),
            (["mapred_map_tasks", "mapreduce_job_maps"], "9"),
            (["mapred_reduce_tasks", "mapreduce_job_reduces"], "2"),
            (["map_input_file", "mapreduce_map_input_file"], "/in/a"),
            (["map_input_start", "mapreduce_map_input_start"], "5"),
            (["map_input_length", "mapreduce_map_input_length"], "6"),
            (["TMPDIR", "TMPDIR"], "/elsewhere"),
            (["X", "X"], "a b"),
        ] {
            assert_eq!(names.map(|name| found[name]), [value; 2], "{names:?}");
        }
    }
}
