//! The I/O thread: one current-thread runtime on which everything waits that waits for a network. The
//! task's own thread exchanges blocks with it through bounded channels. Clients are built when first
//! needed: a map whose data is read from one place pays for one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chunkstore_client::stores::Stores;
use chunkstore_client::{
    ChunkStore, CreateOptions, FileWriter, ReadSettings, StoreError, StoreSettings,
};
use chunkstore_protocol::StorePath;
use mapreduce_protocol::{Failure, FailureKind, SplitPiece, StagedOutput, TaskDescription, is_url};
use net::{Client, ClientSettings, Tls};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};

use super::elsewhere::{self, Stage};
use super::failure::{bad_job, failure};
use super::storage::{Blocks, Input, OutputFile};

/// Blocks of the input that wait to be mapped: what is read ahead besides is the store client's.
const INPUT_BLOCKS: usize = 16;

/// How long an input that was opened is opened again, as for the line that goes on behind a split's end,
/// without asking the chunk master. Its length is compared with the plan's at each opening.
const LOCATIONS_FOR: Duration = Duration::from_secs(5);

/// Blocks of the output that wait to be sent.
const OUTPUT_BLOCKS: usize = 16;

/// The I/O thread and what it reaches the cluster with.
pub(crate) struct Io {
    runtime: Handle,
    client: OnceLock<Client>,
    store: OnceLock<ChunkStore>,
    token: String,
    client_settings: ClientSettings,
    settings: StoreSettings,
    replication: Option<u8>,
    others: Stores,
    /// What the attempt has staged in another store, by the names of outputs: its part has none.
    staged: Arc<Mutex<BTreeMap<Option<String>, StagedOutput>>>,
}

impl Io {
    /// Starts the thread; it ends with the process.
    pub(crate) fn start(description: &TaskDescription) -> std::io::Result<Self> {
        let settings = &description.settings;
        let tls = description.tls_ca.as_deref().map(Tls::of_authorities).transpose();
        let tls = tls.map_err(std::io::Error::other)?;
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
            client_settings: ClientSettings {
                connect_timeout: Duration::from_millis(settings.connect_timeout_ms),
                request_timeout: Duration::from_millis(settings.request_timeout_ms),
                silence_timeout: Duration::from_millis(settings.silence_timeout_ms),
                tls,
            },
            settings: StoreSettings {
                master: description.chunkmaster.clone(),
                host: Some(description.host.clone()),
                rack: description.rack.clone(),
                retry_for: Duration::from_millis(settings.store_retry_ms),
                reads: ReadSettings {
                    locations_for: LOCATIONS_FOR,
                    ..ReadSettings::hedged_after(Duration::from_millis(settings.hedge_after_ms))
                },
            },
            replication: settings.output_replication,
            others: elsewhere::stores(description),
            staged: Arc::default(),
        })
    }

    /// Runs `future` on the I/O thread.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(future);
    }

    /// The client for the cluster's daemons, with the attempt's token.
    pub(crate) fn client(&self) -> Client {
        let make = || Client::new(self.client_settings.clone()).with_token(self.token.clone());
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

impl Io {
    /// Begins the attempt's part of an output in another store, or its named output.
    pub(crate) fn stage(
        &self,
        output: &str,
        description: &TaskDescription,
        named: Option<&str>,
    ) -> Result<Box<dyn OutputFile>, Failure> {
        let stage = Stage::of(output, description, named)?;
        let named = named.map(str::to_owned);
        let (blocks, received) = mpsc::channel(OUTPUT_BLOCKS);
        let (done, outcome) = oneshot::channel();
        let (stores, staged) = (self.others.clone(), Arc::clone(&self.staged));
        self.spawn(async move {
            let written = stage.write_all(&stores, received).await;
            let written = written.map(|output| {
                staged.lock().unwrap_or_else(PoisonError::into_inner).insert(named, output);
            });
            // Nobody hears of it when the task has failed for another reason meanwhile.
            let _ = done.send(written);
        });
        Ok(Box::new(StoreOutput { blocks, outcome: Some(outcome) }))
    }

    /// What was staged, once its output is closed.
    pub(crate) fn take_staged(&self, named: Option<&str>) -> Option<StagedOutput> {
        let named = named.map(str::to_owned);
        self.staged.lock().unwrap_or_else(PoisonError::into_inner).remove(&named)
    }

    fn read_elsewhere(&self, piece: SplitPiece, offset: u64, length: u64) -> Box<dyn Blocks> {
        let (blocks, received) = mpsc::channel(INPUT_BLOCKS);
        let stores = self.others.clone();
        self.spawn(async move {
            let read = elsewhere::read_all(&stores, &piece, (offset, length), &blocks).await;
            if let Err(failure) = read {
                let _ = blocks.send(Err(failure)).await;
            }
        });
        Box::new(StoreBlocks { received, missing: length })
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

pub(super) fn unreadable(path: &str, why: impl std::fmt::Display) -> Failure {
    failure(FailureKind::InputUnavailable, format!("can't read input {path}: {why}"))
}

/// Passes the range on, block by block.
async fn read_all(
    store: &ChunkStore,
    path: &StorePath,
    piece: &SplitPiece,
    (offset, length): (u64, u64),
    blocks: &mpsc::Sender<Result<Bytes, Failure>>,
) -> Result<(), Failure> {
    let unavailable = |error: StoreError| unreadable(&piece.path, error);
    let mut reader = store.open_range(path, offset, length).await.map_err(unavailable)?;
    let is_planned = match piece.e_tag.as_deref() {
        // What is appended later is not read.
        Some(id) => reader.file().0.to_string() == id && reader.len() >= piece.file_length,
        None => reader.len() == piece.file_length,
    };
    if !is_planned {
        // The splits were cut from another file: records would be torn, missing, or those of both.
        return Err(elsewhere::replaced(&piece.path));
    }
    while let Some(block) = reader.next().await.map_err(unavailable)? {
        // Who has seen enough stops listening.
        if blocks.send(Ok(block)).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn unwritable(path: &StorePath, error: &StoreError) -> Failure {
    failure(FailureKind::OutputUnavailable, format!("can't write output {path}: {error}"))
}

impl Input for Io {
    fn read(&self, of: &SplitPiece, offset: u64, length: u64) -> Result<Box<dyn Blocks>, Failure> {
        if is_url(&of.path) {
            return Ok(self.read_elsewhere(of.clone(), offset, length));
        }
        let path = store_path(&of.path)?;
        let piece = of.clone();
        let (blocks, received) = mpsc::channel(INPUT_BLOCKS);
        let store = self.store();
        self.spawn(async move {
            let read = read_all(&store, &path, &piece, (offset, length), &blocks).await;
            if let Err(failure) = read {
                let _ = blocks.send(Err(failure)).await;
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

pub(super) enum Message {
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use chunkstore_protocol::{FileId, Located};
    use mapreduce_protocol::{
        Builtin, CHANNEL_VERSION, JobDescription, JobId, Program, Split, TaskKind, TaskLimits,
        TaskSettings, Work,
    };

    use super::*;

    /// A chunk master that knows one file of `length` bytes, whatever it is asked, once.
    fn master_of_a_file(length: u64) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while !lines.next().unwrap().unwrap().is_empty() {}
            let body =
                serde_json::to_string(&Located { file: FileId(1), length, ..Located::default() })
                    .unwrap();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
            let length = body.len();
            write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        });
        address
    }

    fn description(chunkmaster: String) -> TaskDescription {
        let job = JobId { date: 20_261_122, ordinal: 1 };
        let builtin = Builtin { name: "wordcount".to_owned(), args: [].into() };
        let common = JobDescription {
            job,
            name: "words".to_owned(),
            program: Program::Builtin(builtin),
            n_reduces: 1,
            n_maps: 1,
            staging: "/staging".to_owned(),
            output: None,
            limits: TaskLimits::default(),
            formats: Default::default(),
            output_forms: Default::default(),
        };
        TaskDescription {
            version: CHANNEL_VERSION,
            attempt: job.task(TaskKind::Map, 0).attempt(0),
            job: common.into(),
            work: Work::Map { split: Split { pieces: Vec::new() } },
            host: "host-1".parse().unwrap(),
            rack: ids::RackName::default(),
            chunkmaster,
            token: String::new(),
            folder: String::new(),
            map_output: String::new(),
            files: Vec::new(),
            stores: Vec::new(),
            tls_ca: None,
            settings: TaskSettings {
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
            skipping: None,
        }
    }

    #[test]
    fn an_input_replaced_since_the_job_was_planned_is_not_read() {
        // The file's id is 1.
        for (length, e_tag) in [(999, None), (1001, None), (1000, Some("2")), (999, Some("1"))] {
            let io = Io::start(&description(master_of_a_file(length))).unwrap();
            let (path, e_tag) = ("/in/a".into(), e_tag.map(Into::into));
            let piece = SplitPiece { path, offset: 0, length: 10, file_length: 1000, e_tag };
            let failure = io.read(&piece, 0, 10).unwrap().next_block().unwrap_err();
            assert_eq!(failure.kind, FailureKind::BadJob, "{}", failure.message);
            assert!(failure.message.contains("/in/a is not the file"), "{}", failure.message);
        }
    }
}
