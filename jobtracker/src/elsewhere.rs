//! The end of a job with its output in another store. There is no transaction: the winners' files
//! appear one by one, and `_SUCCESS` last, so readers wait for that. Each step is idempotent, also
//! across processes.

use std::collections::BTreeSet;

use chunkstore_client::stores::{
    OtherStore, OtherStoreError, StagedObject, StagedPlace, StoreUrl, Stores,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jobtracker_core::{PartElsewhere, StoreOutcome};
use mapreduce_protocol::{
    AttemptId, JobId, SCRATCH_FOLDER, SUCCESS_MARKER, StagedOutput, scratch_name,
};

use crate::store::outcome_of_other;

/// Limit on the parts of one job that are published in parallel.
const PARTS_AT_ONCE: usize = 16;

/// Why an output cannot be published, besides errors of the store.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Store(#[from] OtherStoreError),
    #[error("{attempt} has won, but names no upload: its program is older than the cluster")]
    NothingStaged { attempt: AttemptId },
    #[error(
        "somebody else has put {stranger} into {target} meanwhile: remove it, and submit again"
    )]
    Stranger { target: StoreUrl, stranger: String },
}

/// The folder of an output, with its store.
struct Output {
    store: OtherStore,
    url: StoreUrl,
}

impl Output {
    fn open(stores: &Stores, target: &str) -> Result<Self, String> {
        let url: StoreUrl = target.parse().map_err(|error| format!("{error}"))?;
        let store = stores.open(&url).map_err(|error| error.to_string())?;
        Ok(Self { store, url })
    }

    async fn publish(&self, parts: Vec<PartElsewhere>) -> Result<(), PublishError> {
        let names: BTreeSet<_> = parts.iter().map(|part| self.url.below(&part.published)).collect();
        let (marker, scratch) = (self.url.below(SUCCESS_MARKER), self.url.below(SCRATCH_FOLDER));
        let is_known = |path: &_| names.contains(path) || *path == marker;
        let strangers = self.store.strangers(self.url.path(), &scratch, is_known).await?;
        if let Some(stranger) = strangers.first() {
            let (target, stranger) = (self.url.clone(), stranger.to_string());
            return Err(PublishError::Stranger { target, stranger });
        }
        let published = stream::iter(parts).map(|part| self.publish_part(part));
        published.buffer_unordered(PARTS_AT_ONCE).try_collect::<()>().await?;
        Ok(self.store.put(&marker, Default::default()).await?)
    }

    async fn publish_part(&self, part: PartElsewhere) -> Result<(), PublishError> {
        let attempt = part.attempt;
        let Some(staged) = part.staged else {
            return Err(PublishError::NothingStaged { attempt });
        };
        let scratch = scratch_name(attempt, part.named.as_deref());
        let target = self.url.below(&part.published);
        let place = StagedPlace { target, scratch: self.url.below(&scratch) };
        Ok(self.store.publish(&staged_object(staged), &place).await?)
    }
}

fn staged_object(StagedOutput { upload, parts, bytes }: StagedOutput) -> StagedObject {
    StagedObject { upload, parts, bytes }
}

/// Publishes the winners' files, then `_SUCCESS`.
pub(crate) async fn publish(
    stores: &Stores,
    target: &str,
    parts: Vec<PartElsewhere>,
) -> StoreOutcome<()> {
    let output = match Output::open(stores, target) {
        Ok(output) => output,
        Err(reason) => return StoreOutcome::Refused { reason },
    };
    match output.publish(parts).await {
        Ok(()) => StoreOutcome::Done(()),
        Err(PublishError::Store(error)) => outcome_of_other(&error),
        Err(error) => StoreOutcome::Refused { reason: error.to_string() },
    }
}

/// Removes what the job's attempts staged for `target` and was not published.
pub(crate) async fn sweep(stores: &Stores, target: &str, job: JobId) -> StoreOutcome<()> {
    let output = match Output::open(stores, target) {
        Ok(output) => output,
        Err(reason) => return StoreOutcome::Refused { reason },
    };
    let scratch = output.url.below(&format!("{SCRATCH_FOLDER}/{job}"));
    match output.store.sweep(output.url.path(), &scratch).await {
        Ok(removed) => {
            tracing::debug!(%job, target, removed, "what was staged and not published is gone");
            StoreOutcome::Done(())
        }
        Err(error) => {
            tracing::warn!(%job, target, %error, "what was staged and not published was not removed");
            outcome_of_other(&error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use chunkstore_client::stores::StoreAccess;
    use mapreduce_protocol::{TaskKind, part_name};

    use super::*;

    async fn stage(output: &Output, attempt: AttemptId, text: &'static str) -> StagedOutput {
        let target = output.url.below(&part_name(attempt.task));
        let place = StagedPlace { target, scratch: output.url.below(&scratch_name(attempt, None)) };
        let mut writer = output.store.stage(&place).await.unwrap();
        writer.write(Bytes::from_static(text.as_bytes())).await.unwrap();
        let StagedObject { upload, parts, bytes } = writer.finish().await.unwrap();
        StagedOutput { upload, parts, bytes }
    }

    #[tokio::test]
    async fn an_output_appears_with_its_marker_last_and_again_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::new(vec![StoreAccess::local_files()], Duration::ZERO);
        let target = format!("file://{}/out", folder.path().display());
        let output = Output::open(&stores, &target).unwrap();
        let job = JobId { date: 20_261_122, ordinal: 1 };
        let [first, second] = [0, 1].map(|n| job.task(TaskKind::Reduce, n));
        let loser = first.attempt(0);
        stage(&output, loser, "the loser's").await;
        let mut parts = Vec::new();
        for (attempt, text) in [(first.attempt(1), "one"), (second.attempt(0), "two")] {
            let staged = Some(stage(&output, attempt, text).await);
            parts.push(PartElsewhere {
                attempt,
                named: None,
                staged,
                published: part_name(attempt.task),
            });
        }
        let unstaged = vec![PartElsewhere {
            attempt: loser,
            named: None,
            staged: None,
            published: part_name(first),
        }];
        let refused = publish(&stores, &target, unstaged).await;
        assert!(
            matches!(refused, StoreOutcome::Refused { reason } if reason.contains("no upload"))
        );
        let out = folder.path().join("out");
        assert!(!out.join(SUCCESS_MARKER).exists());
        for _ in 0..2 {
            assert_eq!(publish(&stores, &target, parts.clone()).await, StoreOutcome::Done(()));
            assert_eq!(sweep(&stores, &target, job).await, StoreOutcome::Done(()));
            let mut names: Vec<_> =
                std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, [SUCCESS_MARKER, "part-r-00000", "part-r-00001"]);
            assert_eq!(std::fs::read_to_string(out.join("part-r-00000")).unwrap(), "one");
        }
        std::fs::write(out.join("part-x"), "a stranger's").unwrap();
        let refused = publish(&stores, &target, parts).await;
        assert!(matches!(refused, StoreOutcome::Refused { reason } if reason.contains("part-x")));
    }
}
