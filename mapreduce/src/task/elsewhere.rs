//! Inputs and outputs of a task in other stores than the chunk store; on the I/O thread, as `io` has it.

use std::time::Duration;

use bytes::Bytes;
use chunkstore_client::stores::{
    OtherStoreError, StagedObject, StagedPlace, StagedWriter, StoreAccess, StoreSecret, StoreUrl,
    Stores,
};
use futures_util::TryStreamExt as _;
use mapreduce_protocol::{
    Failure, FailureKind, SplitPiece, StagedOutput, TaskDescription, TaskStore, scratch_name,
};
use tokio::sync::mpsc;

use super::failure::{bad_job, failure};
use super::io::{Message, unreadable};

/// The stores that the description tells of.
pub(crate) fn stores(description: &TaskDescription) -> Stores {
    let access = |store: &TaskStore| StoreAccess {
        url: store.url.clone(),
        endpoint: store.endpoint.clone(),
        region: store.region.clone(),
        key_id: store.key_id.clone(),
        secret: store.secret.as_deref().map(StoreSecret::new),
        allow_http: store.allow_http,
    };
    let retry_for = Duration::from_millis(description.settings.store_retry_ms);
    Stores::new(description.stores.iter().map(access).collect(), retry_for)
}

/// Passes a range of an object on, block by block, as long as it is the object that the job was planned with.
pub(crate) async fn read_all(
    stores: &Stores,
    piece: &SplitPiece,
    (offset, length): (u64, u64),
    blocks: &mpsc::Sender<Result<Bytes, Failure>>,
) -> Result<(), Failure> {
    let failed = |error: OtherStoreError| match error {
        // It would be so on every host.
        OtherStoreError::Replaced { .. } => replaced(&piece.path),
        error => unreadable(&piece.path, error),
    };
    let url = parse(&piece.path)?;
    let store = stores.open(&url).map_err(failed)?;
    let e_tag = piece.e_tag.as_deref();
    let read = store.read_range(url.path(), e_tag, offset, length).await;
    let (whole, mut bytes) = read.map_err(failed)?;
    if whole != piece.file_length {
        return Err(replaced(&piece.path));
    }
    while let Some(block) = bytes.try_next().await.map_err(failed)? {
        // Who has seen enough stops listening.
        if blocks.send(Ok(block)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// An input is no longer what the splits were cut from: it would be so on every host.
pub(super) fn replaced(input: &str) -> Failure {
    bad_job(format!(
        "input {input} is not the file that it was when the job was planned; it was replaced meanwhile: submit the job \
         again"
    ))
}

/// Stages the attempt's part of an output.
pub(crate) struct Stage {
    url: StoreUrl,
    place: StagedPlace,
}

impl Stage {
    /// Of the attempt's part, or of its named output.
    pub(crate) fn of(
        output: &str,
        description: &TaskDescription,
        named: Option<&str>,
    ) -> Result<Self, Failure> {
        let url = parse(output)?;
        let TaskDescription { attempt, job, .. } = description;
        let target = match named {
            Some(name) => job.output_forms.part_name_of(name, attempt.task),
            None => job.output_forms.part_name(attempt.task),
        };
        let target = url.below(&target);
        let scratch = url.below(&scratch_name(*attempt, named));
        Ok(Self { url, place: StagedPlace { target, scratch } })
    }

    /// Writes all blocks. Nothing of it is seen until the JobTracker publishes it.
    pub(crate) async fn write_all(
        &self,
        stores: &Stores,
        mut blocks: mpsc::Receiver<Message>,
    ) -> Result<StagedOutput, Failure> {
        let failed = |error: OtherStoreError| {
            let url = &self.url;
            let message = format!("can't write a part of output {url}: {error}");
            failure(FailureKind::OutputUnavailable, message)
        };
        let store = stores.open(&self.url).map_err(failed)?;
        let mut writer = store.stage(&self.place).await.map_err(failed)?;
        loop {
            let written = match blocks.recv().await {
                Some(Message::Block(block)) => writer.write(block).await,
                Some(Message::Close) => return finish(writer).await.map_err(failed),
                // The task gave up.
                None => {
                    writer.abandon().await.map_err(failed)?;
                    let message = "the task gave its output up".to_owned();
                    return Err(failure(FailureKind::OutputUnavailable, message));
                }
            };
            if let Err(error) = written {
                // What failed first is what is told; what stays is swept away at the job's end.
                writer.abandon().await.ok();
                return Err(failed(error));
            }
        }
    }
}

async fn finish(writer: StagedWriter) -> Result<StagedOutput, OtherStoreError> {
    let StagedObject { upload, parts, bytes } = writer.finish().await?;
    Ok(StagedOutput { upload, parts, bytes })
}

fn parse(url: &str) -> Result<StoreUrl, Failure> {
    url.parse().map_err(|error| bad_job(format!("the task's description: {error}")))
}
