//! What Howdah's requests are compared with: axum handlers that do nothing, or nothing but journal, each in
//! a process of its own, so that load and server share the processors as they do with Howdah.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use clap::Subcommand;
use event_loop::{Handle, Machine, ReplyDesk, Settings, Step, recover};
use ids::{Monotonic, Now, Room};
use journal::{Fold, FoldError, Journal, Options};

/// As the chunk master's, of the configuration's defaults.
const OPTIONS: Options = Options::with_segments(8 << 20);
const SETTINGS: Settings =
    Settings { queue: 1024, snapshot_after_segments: 4, stop_patience: journal::TIMEOUT };

/// Which peer to be.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Peer {
    /// Answers each `POST /empty` with nothing.
    Empty,
    /// Answers each `POST /journal` when a record of so many bytes is synced, in groups.
    Journal {
        /// Folder of its journal.
        dir: PathBuf,
        /// Bytes of a record.
        record_bytes: usize,
    },
}

impl Peer {
    /// Serves until it is killed; says its address on standard output.
    ///
    /// # Errors
    /// When it can't serve.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            println!("{}", listener.local_addr()?);
            let router = match self {
                Self::Empty => Router::new().route("/empty", post(async || StatusCode::OK)),
                Self::Journal { dir, record_bytes } => Router::new()
                    .route("/journal", post(journal))
                    .with_state(start(&dir, record_bytes)?),
            };
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            Ok(axum::serve(
                axum::serve::ListenerExt::tap_io(listener, |stream| {
                    // As Howdah does: small replies don't wait.
                    let _without = stream.set_nodelay(true);
                }),
                router,
            )
            .await?)
        })
    }
}

#[derive(Clone)]
struct Journaling {
    inputs: Handle<u64>,
    replies: ReplyDesk<()>,
}

fn start(dir: &Path, record_bytes: usize) -> anyhow::Result<Journaling> {
    Journal::create(dir, OPTIONS)?;
    let log = recover::<Nothing>(dir, OPTIONS)?.log;
    let replies = ReplyDesk::default();
    let waiting = replies.clone();
    let machine = Recorder { record: "r".repeat(record_bytes) };
    let running =
        event_loop::start(machine, log, move |number| waiting.answer(number, ()), SETTINGS);
    Ok(Journaling { inputs: running.handle, replies })
}

async fn journal(State(state): State<Journaling>) -> StatusCode {
    let mut waiter = state.replies.expect_one();
    let sent = state.inputs.send(waiter.number()).await;
    match (sent, waiter.answer().await) {
        (Ok(()), Ok(())) => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Makes one record of each input.
struct Recorder {
    record: String,
}

impl Machine for Recorder {
    type Input = u64;
    type Record = String;
    type Effect = u64;
    type Durable = Nothing;

    fn handle(&mut self, _: Now, input: u64) -> Step<String, u64> {
        Step { records: vec![self.record.clone()], effects: vec![input] }
    }

    fn handle_timeout(&mut self, _: Now) -> Step<String, u64> {
        Step { records: Vec::new(), effects: Vec::new() }
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        None
    }

    fn set_room(&mut self, _: Room) {}

    fn refuse(&mut self, input: u64) -> Result<u64, Vec<u64>> {
        Ok(input)
    }
}

/// The state of one that keeps none.
struct Nothing;

impl Fold for Nothing {
    fn restore(_: Option<&[u8]>) -> Result<Self, FoldError> {
        Ok(Self)
    }

    fn apply(&mut self, _: &[u8]) -> Result<(), FoldError> {
        Ok(())
    }

    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// A running peer; ends when this is dropped.
pub(crate) struct Running {
    child: Child,
    /// `host:port`.
    pub(crate) address: String,
}

impl Running {
    /// Starts this program as `bench peer ARGUMENTS`.
    ///
    /// # Errors
    /// When it doesn't come up.
    pub(crate) fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("peer").args(arguments).stdout(Stdio::piped());
        tests::cluster::end_with_this_process(&mut command);
        let mut child = command.spawn()?;
        let mut address = String::new();
        let stdout = child.stdout.take().context("its output is a pipe")?;
        BufReader::new(stdout).read_line(&mut address)?;
        Ok(Self { child, address: address.trim().to_owned() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
