//! The Unix socket on which readers of this host get the open file of a sealed replica, instead of its
//! bytes (HDFS' short-circuit reads; see `chunkstore_protocol::descriptor`). The socket's name is abstract:
//! no file that goes stale, no limit of a path's length. Whoever is on the host may connect, and gets
//! nothing without a token that a `GET` of the bytes would take.

use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::descriptor::{DESCRIPTOR_FRAME_MAX, DescriptorAnswer, DescriptorRequest};
use net::{Keyring, Right, Role};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::{Server, download, metrics};

/// Connections at a time; others wait.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may take: it carries one small request.
const CONNECTION_LIMIT: Duration = Duration::from_secs(2);
/// Pause after a connection that could not be accepted, as when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The socket, and the name that readers are told.
pub(super) struct Descriptors {
    listener: UnixListener,
    name: String,
}

impl Descriptors {
    /// Listens under a new random name; `None`, and readers take the bytes, if that fails.
    pub(super) fn listen() -> Option<Self> {
        let name = format!("howdah-chunkserver-{}", net::random_hex(16));
        let bound = SocketAddr::from_abstract_name(&name)
            .and_then(|address| std::os::unix::net::UnixListener::bind_addr(&address))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .and_then(UnixListener::from_std);
        match bound {
            Ok(listener) => Some(Self { listener, name }),
            Err(error) => {
                tracing::warn!(%error, "no socket for readers of this host: they read over HTTP");
                None
            }
        }
    }

    /// What readers are told.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    async fn serve(self, server: Arc<Server>, keyring: Keyring) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        // Never closed.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a reader of this host can't be let in just now");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (server, keyring) = (Arc::clone(&server), keyring.clone());
            tokio::spawn(async move {
                let answering = answer(&server, &keyring, stream);
                let answered = tokio::time::timeout(CONNECTION_LIMIT, answering).await;
                if let Ok(Err(error)) = answered {
                    tracing::debug!(%error, "a reader of this host went without an answer");
                }
                drop(place);
            });
        }
    }
}

/// Serves for ever, whether or not there is a socket.
pub(super) async fn serve(sockets: Option<Descriptors>, server: Arc<Server>, keyring: Keyring) {
    if let Some(descriptors) = sockets {
        descriptors.serve(server, keyring).await;
    }
    std::future::pending::<()>().await;
}

async fn answer(server: &Arc<Server>, keyring: &Keyring, mut stream: UnixStream) -> io::Result<()> {
    let length = stream.read_u32_le().await? as usize;
    if length > DESCRIPTOR_FRAME_MAX {
        return Err(io::Error::other("a request that is too long"));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    match open(server, keyring, &frame).await {
        Ok(file) => {
            metrics::observe_descriptor();
            send(&stream, &DescriptorAnswer::Opened, Some(&file)).await
        }
        Err(reason) => send(&stream, &DescriptorAnswer::Refused { reason }, None).await,
    }
}

async fn open(server: &Arc<Server>, keyring: &Keyring, frame: &[u8]) -> Result<File, String> {
    let DescriptorRequest { chunk, version, token } =
        serde_json::from_slice(frame).map_err(|error| error.to_string())?;
    let caller = keyring.verify(&token, clock::wall()).map_err(|error| error.to_string())?;
    if caller.role != Role::Task || !caller.permits(Right::Read, &chunk.resource()) {
        return Err(format!("{} may not read {}", caller.subject, chunk.resource()));
    }
    let opened = download::open_for_host(server, ReplicaKey { chunk, version }).await;
    opened.map_err(|error| error.to_string())
}

/// One message: the socket of a new connection has room for it.
async fn send(
    stream: &UnixStream,
    answer: &DescriptorAnswer,
    file: Option<&File>,
) -> io::Result<()> {
    let body = serde_json::to_vec(answer)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let frame = [&length.to_le_bytes()[..], &body].concat();
    let sent = stream.async_io(Interest::WRITABLE, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = file.map(|file| [file.as_fd()]);
        if let Some(descriptors) = &descriptors {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let parts = [IoSlice::new(&frame)];
        Ok(rustix::net::sendmsg(stream, &parts, &mut control, SendFlags::NOSIGNAL)?)
    });
    match sent.await? {
        n if n == frame.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}
