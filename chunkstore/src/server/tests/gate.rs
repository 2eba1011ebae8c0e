//! A gate in front of a chunkserver: passes bytes both ways, counts connections, and falls silent, with
//! its connections open, when it has sent as many bytes as it may, until it may send more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(super) struct Gate {
    pub(super) address: String,
    /// Bytes that may still pass to clients.
    budget: watch::Sender<u64>,
    /// Connections so far.
    pub(super) connections: Arc<AtomicU64>,
}

impl Gate {
    /// Before the server at `address`; ends with the test's runtime.
    pub(super) async fn before(address: &str, budget: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate = Self {
            address: listener.local_addr().unwrap().to_string(),
            budget: watch::Sender::new(budget),
            connections: Arc::default(),
        };
        let (budget, connections) = (gate.budget.clone(), Arc::clone(&gate.connections));
        let address = address.to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let server = TcpStream::connect(&address).await.unwrap();
                tokio::spawn(pass(client, server, budget.clone()));
            }
        });
        gate
    }

    /// Silent no more.
    pub(super) fn open(&self) {
        self.budget.send_replace(u64::MAX);
    }
}

async fn pass(client: TcpStream, server: TcpStream, budget: watch::Sender<u64>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async { tokio::io::copy(&mut from_client, &mut to_server).await };
    let answers = async {
        let mut piece = vec![0; 16 << 10];
        while let Ok(n @ 1..) = from_server.read(&mut piece).await {
            let mut left = &piece[..n];
            while !left.is_empty() {
                let mut more = budget.subscribe();
                more.wait_for(|budget| *budget > 0).await.unwrap();
                let mut passed = 0;
                budget.send_if_modified(|budget| {
                    passed = usize::try_from(*budget).unwrap().min(left.len());
                    *budget -= passed as u64;
                    passed > 0
                });
                if to_client.write_all(&left[..passed]).await.is_err() {
                    return;
                }
                left = &left[passed..];
            }
        }
    };
    // The client ends it: a gate that has fallen silent stays open.
    tokio::select! {
        _ = requests => {}
        () = answers => {}
    }
}
