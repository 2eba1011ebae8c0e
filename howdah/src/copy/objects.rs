//! Copies between stores, whichever two: bytes are streamed from one to the other, in parts where the target takes
//! parts, or copied by the store itself where both ends are in it. An object appears whole or not at all; what was
//! copied before a failure or Ctrl-C stays.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use chunkstore_client::{ChunkStore, CreateOptions};
use chunkstore_protocol::{Replace, StorePath};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt as _, WriteMultipart};
use tokio::sync::watch;

use super::{Copied, CopyOptions};
use crate::exit::Interrupted;
use crate::local_file::UNFINISHED;
use crate::progress::ByteProgress;
use crate::signals::Termination;

/// Length of a part of an upload, unless the object is so long that there would be too many.
const PART_BYTES: u64 = 8 << 20;
/// Length of a part where nobody knows how much comes.
const ENDLESS_PART_BYTES: u64 = 16 << 20;
/// Parts of one upload: half of what S3 takes.
const PARTS_MAX: u64 = 5000;
/// Parts of one object under way at once.
const PARTS_AT_ONCE: usize = 4;
/// How long uploads may take to be given up.
const GRACE: Duration = Duration::from_secs(5);
/// What S3 copies by itself in one request.
const OWN_COPY_BYTES_MAX: u64 = 5 << 30;

/// One object to read.
#[derive(Clone, Debug)]
pub(crate) struct From {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) path: Path,
    pub(crate) bytes: u64,
    pub(crate) e_tag: Option<String>,
    /// As messages call it.
    pub(crate) name: String,
}

/// Where one goes.
#[derive(Clone, Debug)]
pub(crate) enum To {
    /// Into another store; with the name that messages use.
    Object(Arc<dyn ObjectStore>, Path, String),
    /// Into the chunk store.
    Chunks(ChunkStore, StorePath),
}

impl To {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Object(_, _, name) => name,
            Self::Chunks(_, path) => path.as_str(),
        }
    }

    async fn stands(&self) -> anyhow::Result<bool> {
        Ok(match self {
            Self::Chunks(store, path) => store.exists(path).await?,
            Self::Object(store, path, _) => match store.head(path).await {
                Ok(_) => true,
                Err(object_store::Error::NotFound { .. }) => false,
                Err(error) => return Err(error.into()),
            },
        })
    }
}

type Pieces = BoxStream<'static, object_store::Result<Bytes>>;

/// Copies each object to the place beside it.
pub(crate) async fn copy_objects(
    verb: &'static str,
    pairs: Vec<(From, To)>,
    options: &CopyOptions,
    end: &mut Termination,
) -> anyhow::Result<Copied> {
    let (files, bytes) = (pairs.len(), pairs.iter().map(|(from, _)| from.bytes).sum());
    let progress = ByteProgress::new(verb, bytes);
    let (stopper, stop) = Stop::new();
    let copies = stream::iter(pairs).map(|(from, to)| {
        let (progress, stop) = (&progress, &stop);
        async move {
            let copied = copy_one(&from, &to, options, (progress, stop)).await;
            copied.with_context(|| format!("cannot copy {} to {}", from.name, to.name()))
        }
    });
    let copies = copies.buffer_unordered(options.at_once).try_collect::<()>();
    let copied = stopper.or(copies, end).await;
    progress.finish();
    copied.map(|()| Copied { files, bytes })
}

/// Makes an object of all that comes.
pub(crate) async fn copy_stream(
    verb: &'static str,
    pieces: Pieces,
    to: &To,
    options: &CopyOptions,
    end: &mut Termination,
) -> anyhow::Result<Copied> {
    let progress = ByteProgress::endless(verb);
    let (stopper, stop) = Stop::new();
    let copy = async {
        check_free(to, options).await?;
        write(pieces, None, to, options, (&progress, &stop)).await
    };
    let copied = stopper.or(copy, end).await;
    progress.finish();
    copied.with_context(|| format!("cannot write {}", to.name()))?;
    Ok(Copied { files: 1, bytes: progress.moved() })
}

/// Tells copies to give up what they have begun.
struct Stopper(watch::Sender<bool>);

/// Whether they are to.
struct Stop(watch::Receiver<bool>);

impl Stop {
    fn new() -> (Stopper, Self) {
        let (sender, receiver) = watch::channel(false);
        (Stopper(sender), Self(receiver))
    }

    /// What `work` gives, unless it is to stop.
    async fn or(&self, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
        let mut stop = self.0.clone();
        tokio::select! {
            done = work => done,
            _ = stop.wait_for(|stop| *stop) => Err(anyhow!("interrupted")),
        }
    }
}

impl Stopper {
    /// What `copies` give. When `end` comes first, they have a moment to give up their uploads.
    async fn or(
        self,
        copies: impl Future<Output = anyhow::Result<()>>,
        end: &mut Termination,
    ) -> anyhow::Result<()> {
        tokio::pin!(copies);
        let by = tokio::select! {
            done = &mut copies => return done,
            by = end.await_signal() => by,
        };
        self.0.send_replace(true);
        tokio::time::timeout(GRACE, copies).await.ok();
        Err(Interrupted { by, remains: "what was copied whole stays".to_owned() }.into())
    }
}

async fn check_free(to: &To, options: &CopyOptions) -> anyhow::Result<()> {
    match !options.replace && to.stands().await? {
        true => Err(anyhow!("{} exists: add -f to replace it", to.name())),
        false => Ok(()),
    }
}

async fn copy_one(
    from: &From,
    to: &To,
    options: &CopyOptions,
    (progress, stop): (&ByteProgress, &Stop),
) -> anyhow::Result<()> {
    check_free(to, options).await?;
    if let To::Object(store, path, _) = to
        && Arc::ptr_eq(store, &from.store)
        && from.bytes <= OWN_COPY_BYTES_MAX
    {
        store.copy(&from.path, path).await?;
        progress.add(from.bytes);
        return Ok(());
    }
    let read = GetOptions { if_match: from.e_tag.clone(), ..GetOptions::default() };
    let pieces = from.store.get_opts(&from.path, read).await?.into_stream();
    write(pieces, Some(from.bytes), to, options, (progress, stop)).await
}

async fn write(
    pieces: Pieces,
    bytes: Option<u64>,
    to: &To,
    options: &CopyOptions,
    (progress, stop): (&ByteProgress, &Stop),
) -> anyhow::Result<()> {
    match to {
        To::Object(store, path, _) => {
            write_object(pieces, bytes, &**store, path, (progress, stop)).await
        }
        To::Chunks(store, path) => write_file(pieces, store, path, options, (progress, stop)).await,
    }
}

async fn write_object(
    mut pieces: Pieces,
    bytes: Option<u64>,
    store: &dyn ObjectStore,
    path: &Path,
    (progress, stop): (&ByteProgress, &Stop),
) -> anyhow::Result<()> {
    if let Some(bytes) = bytes.filter(|bytes| *bytes <= PART_BYTES) {
        let whole: Vec<Bytes> = pieces.try_collect().await?;
        store.put(path, whole.into_iter().collect()).await?;
        progress.add(bytes);
        return Ok(());
    }
    let part = bytes.map_or(ENDLESS_PART_BYTES, |bytes| PART_BYTES.max(bytes.div_ceil(PARTS_MAX)));
    let part = usize::try_from(part).unwrap_or(usize::MAX);
    let mut writer = WriteMultipart::new_with_chunk_size(store.put_multipart(path).await?, part);
    let filled = stop.or(async {
        while let Some(piece) = pieces.try_next().await? {
            writer.wait_for_capacity(PARTS_AT_ONCE).await?;
            progress.add(piece.len() as u64);
            writer.put(piece);
        }
        Ok(())
    });
    match filled.await {
        Ok(()) => writer.finish().await.map(drop)?,
        Err(error) => {
            // The first failure is what the caller must hear of.
            writer.abort().await.ok();
            return Err(error);
        }
    }
    Ok(())
}

async fn write_file(
    mut pieces: Pieces,
    store: &ChunkStore,
    path: &StorePath,
    options: &CopyOptions,
    (progress, stop): (&ByteProgress, &Stop),
) -> anyhow::Result<()> {
    let beside = path.parent().filter(|_| options.replace);
    let beside = beside.map(|folder| folder.join(&format!("{UNFINISHED}{}", net::random_hex(8))));
    let beside = beside.transpose()?;
    let written = beside.as_ref().unwrap_or(path);
    let create = CreateOptions { parents: true, ..options.create };
    let mut writer = store.create(written, create).await?;
    let filled = stop.or(async {
        while let Some(piece) = pieces.try_next().await? {
            progress.add(piece.len() as u64);
            writer.write(piece).await?;
        }
        Ok(())
    });
    if let Err(error) = filled.await {
        writer.abandon().await.ok();
        return Err(error);
    }
    writer.close().await?;
    if let Some(beside) = &beside {
        store.rename_over(beside, path, Replace::Always).await?;
    }
    Ok(())
}
