//! How fast a file is read on the host of one of its replicas, from the page cache: by the descriptor that the
//! chunkserver hands over, and over HTTP, in turns with `cat` of the same chunk files.
//!
//! usage: cargo run --release -p chunkstore-client --example local_read -- MASTER SECRET_FILE HOST PATH ROUNDS CHUNK_FILE...

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use chunkstore_client::{ChunkStore, Descriptors, ReadSettings, StoreSettings};
use chunkstore_protocol::StorePath;
use clock::Stopwatch;
use ids::{RackName, UnixMillis};
use net::{Capability, Client, ClientSettings, Keyring, Role, Secret};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [master, secret, host, path, rounds, files @ ..] = &arguments[..] else {
        return Err("MASTER SECRET_FILE HOST PATH ROUNDS CHUNK_FILE...".into());
    };
    let (path, rounds): (StorePath, usize) = (path.parse()?, rounds.parse()?);
    let keyring = Keyring::new(&Secret::read_file(Path::new(secret))?);
    let token = keyring.mint(&Capability::unlimited("reader", Role::User, UnixMillis(u64::MAX)));
    let store = |descriptors| {
        let settings = StoreSettings {
            master: master.clone(),
            host: host.parse().ok(),
            rack: RackName::default_rack(),
            retry_for: Duration::from_secs(10),
            reads: ReadSettings { descriptors, ..ReadSettings::default() },
        };
        let limit = Duration::from_secs(10);
        let limits = ClientSettings {
            connect_timeout: limit,
            request_timeout: limit,
            silence_timeout: limit,
            tls: None,
        };
        ChunkStore::new(Client::new(limits).with_token(token.clone()), settings)
    };
    let (by_descriptor, by_http) = (store(Descriptors::OwnHost), store(Descriptors::Never));
    let n_bytes = by_http.open(&path).await?.len();
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..=rounds {
        times[0].push(cat(files)?);
        times[1].push(read(&by_descriptor, &path).await?);
        times[2].push(read(&by_http, &path).await?);
    }
    println!("{:?}, {:?}", by_descriptor.read_counts(), by_http.read_counts());
    let spreads = times.map(|mut times| {
        times.remove(0); // The first round fills the caches.
        times.sort();
        (times[0], times[times.len() / 2], times[times.len() - 1])
    });
    let (_, cat, _) = spreads[0];
    for (what, (least, median, most)) in ["cat", "descriptor", "http"].iter().zip(spreads) {
        let (rate, ratio) = (n_bytes as f64 / 1e6, cat.as_secs_f64() / median.as_secs_f64());
        let rate = rate / median.as_secs_f64();
        println!("{what:<10} {rate:>6.0} MB/s ({least:?} to {most:?}): {ratio:.2} of cat");
    }
    Ok(())
}

fn cat(files: &[String]) -> Result<Duration, Box<dyn Error>> {
    let watch = Stopwatch::start();
    let ended = Command::new("cat").args(files).stdout(Stdio::null()).status()?;
    if ended.success() { Ok(watch.elapsed()) } else { Err("cat has failed".into()) }
}

async fn read(store: &ChunkStore, path: &StorePath) -> Result<Duration, Box<dyn Error>> {
    let watch = Stopwatch::start();
    let mut reader = store.open(path).await?;
    while reader.next().await?.is_some() {}
    Ok(watch.elapsed())
}
