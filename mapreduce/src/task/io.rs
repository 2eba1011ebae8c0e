//! The I/O thread: one current-thread runtime on which everything waits that waits for a network. The
//! task's own thread exchanges blocks with it through bounded channels. Clients are built when first
//! needed: a map whose data is read from one place pays for one.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use chunkstore_client::{ChunkStore, CreateOptions, FileWriter, StoreError, StoreSettings};
use chunkstore_protocol::StorePath;
use mapreduce_protocol::{Failure, FailureKind, TaskDescription};
use net::{Client, ClientSettings};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};

use super::failure::{bad_job, failure};
use super::storage::{Blocks, Input, OutputFile};

/// Blocks of the input that are read ahead.
const INPUT_BLOCKS: usize = 64;

/// Blocks of the output that wait to be sent.
const OUTPUT_BLOCKS: usize = 16;

/// Time to connect to a daemon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for the answer to one small request; retries are on top.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The I/O thread and what it reaches the cluster with.
pub(crate) struct Io {
    runtime: Handle,
    client: OnceLock<Client>,
    store: OnceLock<ChunkStore>,
    token: String,
    settings: StoreSettings,
    replication: Option<u8>,
}

impl Io {
    /// Starts the thread; it ends with the process.
    pub(crate) fn start(description: &TaskDescription) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("io".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(Self {
            runtime: handle,
            client: OnceLock::new(),
            store: OnceLock::new(),
            token: description.token.clone(),
            settings: StoreSettings {
                master: description.chunkmaster.clone(),
                host: Some(description.host.clone()),
                rack: description.rack.clone(),
                retry_for: Duration::from_millis(description.settings.store_retry_ms),
            },
            replication: description.settings.output_replication,
        })
    }

    /// Runs `future` on the I/O thread.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(future);
    }

    /// The client for the cluster's daemons, with the attempt's token.
    pub(crate) fn client(&self) -> Client {
        let make = || {
            let settings = ClientSettings {
                connect_timeout: CONNECT_TIMEOUT,
                request_timeout: REQUEST_TIMEOUT,
            };
            Client::new(settings).with_token(self.token.clone())
        };
        self.client.get_or_init(make).clone()
    }

    fn store(&self) -> ChunkStore {
        self.store.get_or_init(|| ChunkStore::new(self.client(), self.settings.clone())).clone()
    }

    /// Creates the attempt's output file in the staging folder.
    pub(crate) fn create(&self, path: &str) -> Result<Box<dyn OutputFile>, Failure> {
        let path = store_path(path)?;
        let options = CreateOptions { replication: self.replication, ..CreateOptions::default() };
        let (blocks, received) = mpsc::channel(OUTPUT_BLOCKS);
        let (done, outcome) = oneshot::channel();
        let store = self.store();
        self.spawn(async move {
            let written = write_all(&store, &path, options, received).await;
            // Nobody hears of it when the task has failed for another reason meanwhile.
            let _ = done.send(written.map_err(|error| unwritable(&path, &error)));
        });
        Ok(Box::new(StoreOutput { blocks, outcome: Some(outcome) }))
    }
}

async fn write_all(
    store: &ChunkStore,
    path: &StorePath,
    options: CreateOptions,
    mut blocks: mpsc::Receiver<Message>,
) -> Result<(), StoreError> {
    let mut writer: FileWriter = store.create(path, options).await?;
    loop {
        match blocks.recv().await {
            Some(Message::Block(block)) => writer.write(block).await?,
            Some(Message::Close) => return writer.close().await.map(drop),
            // The task gave up.
            None => return writer.abandon().await,
        }
    }
}

fn store_path(path: &str) -> Result<StorePath, Failure> {
    path.parse().map_err(|error| bad_job(format!("the task's description: {error}")))
}

fn unreadable(path: &str, error: &StoreError) -> Failure {
    failure(FailureKind::InputUnavailable, format!("can't read input {path}: {error}"))
}

fn unwritable(path: &StorePath, error: &StoreError) -> Failure {
    failure(FailureKind::OutputUnavailable, format!("can't write output {path}: {error}"))
}

impl Input for Io {
    fn read(&self, path: &str, offset: u64, length: u64) -> Result<Box<dyn Blocks>, Failure> {
        let store_path = store_path(path)?;
        let path = path.to_owned();
        let (blocks, received) = mpsc::channel(INPUT_BLOCKS);
        let store = self.store();
        self.spawn(async move {
            let read = async {
                let mut reader = store.open_range(&store_path, offset, length).await?;
                while let Some(block) = reader.next().await? {
                    // Who has seen enough stops listening.
                    if blocks.send(Ok(block)).await.is_err() {
                        break;
                    }
                }
                Ok(())
            };
            if let Err(error) = read.await {
                let _ = blocks.send(Err(unreadable(&path, &error))).await;
            }
        });
        Ok(Box::new(StoreBlocks { received, missing: length }))
    }
}

struct StoreBlocks {
    received: mpsc::Receiver<Result<Bytes, Failure>>,
    missing: u64,
}

impl Blocks for StoreBlocks {
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(block) = self.received.blocking_recv().transpose()? else {
            if self.missing > 0 {
                let message = format!("the input ended {} bytes too early", self.missing);
                return Err(failure(FailureKind::InputUnavailable, message));
            }
            return Ok(None);
        };
        self.missing = self.missing.saturating_sub(block.len() as u64);
        Ok(Some(block))
    }
}

enum Message {
    Block(Bytes),
    Close,
}

struct StoreOutput {
    blocks: mpsc::Sender<Message>,
    outcome: Option<oneshot::Receiver<Result<(), Failure>>>,
}

impl StoreOutput {
    /// What the I/O thread says at its end.
    fn outcome(&mut self) -> Result<(), Failure> {
        let ended = self.outcome.take().and_then(|outcome| outcome.blocking_recv().ok());
        ended.unwrap_or_else(|| {
            let message = "the output's writer is gone".to_owned();
            Err(failure(FailureKind::OutputUnavailable, message))
        })
    }
}

impl OutputFile for StoreOutput {
    fn write(&mut self, bytes: Bytes) -> Result<(), Failure> {
        match self.blocks.blocking_send(Message::Block(bytes)) {
            Ok(()) => Ok(()),
            Err(_) => self.outcome(),
        }
    }

    fn close(mut self: Box<Self>) -> Result<(), Failure> {
        match self.blocks.blocking_send(Message::Close) {
            Ok(()) | Err(_) => self.outcome(),
        }
    }
}
