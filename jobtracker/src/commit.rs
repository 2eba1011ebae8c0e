//! The end of a job in the chunk store: its output is published in one transaction, or nothing of
//! it stays. The chunk master does either; the core chooses which winners are published.

use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{Done, PathError, Publish, StorePath, Winner};
use ids::{RequestStamp, UnixMillis};
use jobtracker_core::{Part, StoreOutcome};
use mapreduce_protocol::{JobId, SUCCESS_MARKER};

use crate::store::{Store, outcome_of};

/// Publishes a job's output, owned by `owner`. Repeating the request with the same stamp is
/// harmless, even from the next process.
pub(crate) async fn publish(
    store: &Store,
    stamp: RequestStamp,
    (staging, target): (&str, &str),
    parts: Vec<Part>,
    owner: String,
) -> StoreOutcome<()> {
    let (staging, target) = match (staging.parse(), target.parse()) {
        (Ok(staging), Ok(target)) => (staging, target),
        (Err(error), _) | (_, Err(error)) => return refused(&error),
    };
    let winner = |part: Part| Winner { staged: part.staged, published: part.published };
    let request = Publish {
        stamp,
        staging,
        winners: parts.into_iter().map(winner).collect(),
        target,
        marker: SUCCESS_MARKER.to_owned(),
        owner: Some(owner).filter(|owner| !owner.is_empty()),
    };
    let (client, retry_for) = (store.client(), store.retry_for());
    let route = "/v1/files/publish";
    match client.post_retrying::<_, Done>(store.master(), route, &request, retry_for).await {
        Ok(Done {}) => StoreOutcome::Done(()),
        Err(error) => match StoreError::from_call(&request.target, error) {
            // People can free space, and the job's work is worth waiting for that.
            full @ StoreError::OutOfSpace { .. } => {
                StoreOutcome::Unavailable { reason: full.to_string() }
            }
            error => outcome_of(&error),
        },
    }
}

/// The stamp of the job's publication. The id alone is not enough: a JobTracker with a new journal
/// restarts the numbering, and would get the answer meant for another job of that day.
pub(crate) fn stamp(job: JobId, submitted_at: UnixMillis) -> RequestStamp {
    let client = format!("publish-{job}-{}", submitted_at.0);
    let client = client.parse().expect("ids and numbers have no other characters");
    RequestStamp { client, slot: 0, sequence: 1 }
}

fn refused(error: &PathError) -> StoreOutcome<()> {
    StoreOutcome::Refused { reason: error.to_string() }
}

/// Removes a job's staging folder with its contents. A missing folder is no error.
pub(crate) async fn remove_staging(store: &ChunkStore, staging: &str) -> StoreOutcome<()> {
    let staging: StorePath = match staging.parse() {
        Ok(staging) => staging,
        Err(error) => return refused(&error),
    };
    match store.delete(&staging, true).await {
        Ok(()) | Err(StoreError::NotFound { .. }) => StoreOutcome::Done(()),
        Err(error) => {
            tracing::warn!(%staging, %error, "a staging folder was not removed");
            outcome_of(&error)
        }
    }
}
