//! The chunk store, and another store, as jobs see them: inputs, staging folders, outputs and
//! uploads. It does what the JobTracker's edge would have it do (`jobtracker/src`: `splits`,
//! `commit`, `elsewhere`), and keeps what attempts stage.

use std::collections::{BTreeMap, BTreeSet};

use ids::UnixMillis;
use jobtracker_core::{
    Effect, Input, Part, PartElsewhere, Plan, PlannedSplit, StagedSplits, StoreEffect,
    StoreOutcome, staging_folder,
};
use mapreduce_protocol::{AttemptId, JobId, JobSpec, StagedOutput};

use crate::jobs::nature::{Fate, Nature, number_of};

/// A published folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// The job that it belongs to; `None` for a stranger's.
    pub(crate) by: Option<(JobId, UnixMillis)>,
    /// The attempts' files in it.
    pub(crate) parts: BTreeSet<AttemptId>,
    /// Whether it is complete.
    pub(crate) is_whole: bool,
}

/// The chunk store, and another store.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// Staging folders, with the closed files in them.
    pub(crate) staging: BTreeMap<String, BTreeSet<AttemptId>>,
    /// Split list files.
    lists: BTreeSet<String>,
    /// Uploads to another store that are neither completed nor aborted, by target folder.
    pub(crate) uploads: BTreeMap<String, BTreeSet<AttemptId>>,
    /// Jobs whose uploads were aborted. What an attempt stages afterwards is never found: in
    /// another store, no missing folder prevents that.
    swept: BTreeSet<JobId>,
    pub(crate) outputs: BTreeMap<String, Published>,
    /// Whether it is down.
    pub(crate) is_down: bool,
    /// How often a call breaks, in 1000, and its longest duration each way, milliseconds.
    pub(crate) breaks: u64,
    pub(crate) slow: u64,
    /// A second publication of one folder, which is forbidden.
    pub(crate) odd: Option<String>,
}

impl Store {
    /// An empty store; a call takes at most `slow` milliseconds each way.
    pub(crate) fn new(slow: u64) -> Self {
        Self { slow, breaks: 150, ..Self::default() }
    }

    /// An attempt closes its output; `None` if it cannot.
    pub(crate) fn stage(
        &mut self,
        attempt: AttemptId,
        staging: &str,
        elsewhere: Option<&String>,
    ) -> Option<Option<StagedOutput>> {
        match elsewhere {
            Some(output) => {
                let is_lost = self.swept.contains(&attempt.task.job);
                let output = if is_lost { "strays" } else { output.as_str() };
                self.uploads.entry(output.to_owned()).or_default().insert(attempt);
                let upload = Some(attempt.to_string());
                Some(Some(StagedOutput { upload, parts: vec!["part".to_owned()], bytes: 1 }))
            }
            None => {
                self.staging.get_mut(staging)?.insert(attempt);
                Some(None)
            }
        }
    }

    /// A stranger makes a folder.
    fn occupy(&mut self, folder: &str) {
        let stranger = Published { by: None, parts: BTreeSet::new(), is_whole: true };
        self.outputs.entry(folder.to_owned()).or_insert(stranger);
    }

    /// Performs a call of the JobTracker and returns the answer. `fails` says whether the call
    /// breaks, and whether before or after it took effect.
    pub(crate) fn carry_out(
        &mut self,
        natures: &[Nature],
        call: &Effect,
        fails: Option<Fails>,
    ) -> Option<Input> {
        let fails = if self.is_down { Some(Fails::Before) } else { fails };
        Some(match call {
            Effect::Store(StoreEffect::PlanSplits { job, spec, staging }) => {
                let nature = &natures[number_of(&spec.name)];
                let outcome = said(fails, || self.plan(nature, staging));
                Input::SplitsPlanned { job: *job, outcome }
            }
            Effect::Store(StoreEffect::MakeStaging { job, staging }) => {
                let outcome = said(fails, || {
                    self.staging.entry(staging.clone()).or_default();
                    StoreOutcome::Done(())
                });
                Input::StagingMade { job: *job, outcome }
            }
            Effect::Store(StoreEffect::ReadSplits { job, list }) => {
                let outcome = said(fails, || self.read_splits(natures, &list.path));
                Input::SplitsRead { job: *job, outcome }
            }
            Effect::Store(StoreEffect::Publish {
                job,
                submitted_at,
                staging,
                parts,
                target,
                ..
            }) => {
                let by = (*job, *submitted_at);
                let outcome = said(fails, || self.publish(by, staging, parts, target));
                Input::Published { job: *job, outcome }
            }
            Effect::Store(StoreEffect::PublishElsewhere { job, target, parts }) => {
                let n = if fails == Some(Fails::After) { parts.len() / 2 } else { parts.len() };
                let outcome = said(fails, || self.publish_elsewhere(*job, target, parts, n));
                Input::Published { job: *job, outcome }
            }
            Effect::WriteHistory { job } => {
                let outcome = said(fails, || StoreOutcome::Done(()));
                Input::HistoryWritten { job: *job, outcome }
            }
            Effect::Store(StoreEffect::RemoveStaging { job, staging, elsewhere }) => {
                let outcome = said(fails, || {
                    self.remove(*job, staging, elsewhere.as_ref());
                    StoreOutcome::Done(())
                });
                Input::StagingRemoved { job: *job, outcome }
            }
            _ => return None,
        })
    }

    /// A job's splits, if they are found while its staging folder is still being made.
    pub(crate) fn find_splits(
        &self,
        natures: &[Nature],
        spec: &JobSpec,
    ) -> Option<Vec<PlannedSplit>> {
        let nature = &natures[number_of(&spec.name)];
        let is_plain =
            !matches!(nature.fate, Fate::NoInput | Fate::OutputTaken) && !nature.is_staged;
        (is_plain && !self.is_down).then(|| nature.splits.clone())
    }

    fn plan(&mut self, nature: &Nature, staging: &str) -> StoreOutcome<Plan> {
        self.staging.entry(staging.to_owned()).or_default();
        if nature.fate == Fate::OutputTaken {
            self.occupy(&nature.spec.output);
        }
        if nature.fate == Fate::NoInput {
            return StoreOutcome::Refused { reason: "there is no /in".to_owned() };
        }
        let path = format!("{staging}/{}", nature.spec.name);
        let staged = nature.is_staged.then(|| {
            self.lists.insert(path.clone());
            StagedSplits { path, digest: "0".repeat(32) }
        });
        StoreOutcome::Done(Plan { splits: nature.splits.clone(), staged })
    }

    fn read_splits(
        &self,
        natures: &[Nature],
        path: &str,
    ) -> StoreOutcome<Vec<jobtracker_core::PlannedSplit>> {
        match path.rsplit_once('/').filter(|_| self.lists.contains(path)) {
            Some((_, name)) => StoreOutcome::Done(natures[number_of(name)].splits.clone()),
            None => StoreOutcome::Refused { reason: format!("there is no {path}") },
        }
    }

    fn publish(
        &mut self,
        by: (JobId, UnixMillis),
        staging: &str,
        parts: &[Part],
        target: &str,
    ) -> StoreOutcome<()> {
        match self.outputs.get(target) {
            Some(published) if published.by == Some(by) => return StoreOutcome::Done(()),
            Some(_) => {
                return StoreOutcome::Refused { reason: format!("{target} is there already") };
            }
            None => {}
        }
        let closed = self.staging.get(staging);
        let is_closed = |it: &AttemptId| closed.is_some_and(|closed| closed.contains(it));
        let attempt = |part: &Part| part.staged.parse().ok().filter(is_closed);
        let found: Option<BTreeSet<AttemptId>> = parts.iter().map(attempt).collect();
        let Some(parts) = found.filter(|_| closed.is_some()) else {
            let what =
                format!("{parts:?} of {:?} are to be published, and {closed:?} are there", by.0);
            self.odd.get_or_insert(what.clone());
            return StoreOutcome::Refused { reason: what };
        };
        self.outputs.insert(target.to_owned(), Published { by: Some(by), parts, is_whole: true });
        self.remove_folder(staging);
        StoreOutcome::Done(())
    }

    fn publish_elsewhere(
        &mut self,
        job: JobId,
        target: &str,
        parts: &[PartElsewhere],
        n: usize,
    ) -> StoreOutcome<()> {
        let by = Some((job, UnixMillis(0)));
        let new = Published { by, parts: BTreeSet::new(), is_whole: false };
        let output = self.outputs.entry(target.to_owned()).or_insert(new);
        if output.by != by {
            return StoreOutcome::Refused { reason: format!("{target} holds other objects") };
        }
        for PartElsewhere { attempt, staged, .. } in &parts[..n] {
            let open = self.uploads.get_mut(target).is_some_and(|all| all.remove(attempt));
            if staged.is_none() || !(open || output.parts.contains(attempt)) {
                let what =
                    format!("{attempt} is to be published at {target}: {staged:?} is not there");
                self.odd.get_or_insert(what.clone());
                return StoreOutcome::Refused { reason: what };
            }
            output.parts.insert(*attempt);
        }
        output.is_whole = n == parts.len();
        StoreOutcome::Done(())
    }

    fn remove(&mut self, job: JobId, staging: &str, elsewhere: Option<&String>) {
        self.remove_folder(staging);
        if let Some(output) = elsewhere {
            self.swept.insert(job);
            self.uploads.remove(output);
        }
    }

    fn remove_folder(&mut self, staging: &str) {
        self.staging.remove(staging);
        let inside = format!("{staging}/");
        self.lists.retain(|path| !path.starts_with(&inside));
    }

    /// Anything left of a job except its output.
    pub(crate) fn leftover(&self, job: JobId) -> Option<String> {
        let staging = staging_folder(job);
        if self.staging.contains_key(&staging) {
            return Some(staging);
        }
        let mut uploads = self.uploads.iter().filter(|(output, _)| *output != "strays");
        let its = |all: &BTreeSet<AttemptId>| all.iter().any(|it| it.task.job == job);
        uploads.find(|(_, all)| its(all)).map(|(output, _)| format!("an upload to {output}"))
    }
}

/// When a call breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fails {
    /// Before anything is done.
    Before,
    /// After it took effect, completely or in part, but before the answer.
    After,
}

fn said<T>(fails: Option<Fails>, act: impl FnOnce() -> StoreOutcome<T>) -> StoreOutcome<T> {
    let reason = "the chunk store does not answer".to_owned();
    match fails {
        None => act(),
        Some(Fails::Before) => StoreOutcome::Unavailable { reason },
        Some(Fails::After) => {
            act();
            StoreOutcome::Unavailable { reason }
        }
    }
}
