//! A chunk master alone, as a process of the binary, with many files in its journal and servers that only
//! say that they hold them.

use std::time::Duration;

use anyhow::Context as _;
use chunkstore_protocol::{Locate, Located, ServerAddress};
use clock::Stopwatch;
use ids::UnixMillis;
use net::{Capability, Client, ClientSettings, Keyring, Role, Secret};
use tests::cluster::{Dev, DevOptions};

use super::population;
use super::servers::Servers;

/// The daemon that is measured.
pub(crate) const DAEMON: &str = "chunkmaster";

/// A running chunk master.
pub(crate) struct Master {
    /// The cluster whose master it is; nothing else of that runs.
    pub(crate) cluster: Dev,
    /// `host:port`.
    pub(crate) address: String,
    /// From the start of its process until it was ready.
    pub(crate) started_in: Duration,
    /// The servers that it knows.
    pub(crate) servers: Vec<ServerAddress>,
    keyring: Keyring,
    _live: Servers,
}

impl Master {
    /// Starts one on `files` files.
    ///
    /// # Errors
    /// When it doesn't start, or refuses the servers.
    pub(crate) async fn start(files: u64) -> anyhow::Result<Self> {
        // Files that nobody closes, and servers that are slow to speak, stay during a run.
        let patient =
            DevOptions::trackers(3).set("chunkmaster.lease=1h").set("chunkmaster.dead_after=10m");
        let mut cluster = Dev::start(&patient);
        cluster.stop();
        let config = cluster.config();
        let servers: Vec<_> = config
            .all_hosts()
            .map(|host| {
                let (name, rack) = (host.name.parse()?, host.rack.parse()?);
                anyhow::Ok(ServerAddress { host: name, rack, address: host.chunkserver_address })
            })
            .collect::<Result<_, _>>()?;
        let watch = Stopwatch::start();
        population::add(&cluster.data_dir(DAEMON), files, &servers)?;
        eprintln!("{files} files are in the journal after {:?}", watch.elapsed());
        let watch = Stopwatch::start();
        cluster.restart(DAEMON);
        let started_in = watch.elapsed();
        let secret = config.cluster.secret_file.context("dev keeps a secret")?;
        let keyring = Keyring::new(&Secret::read_file(&secret)?);
        let address = config.chunkmaster.address;
        let token = token(&keyring, Role::Server);
        let live = Servers::start(&address, &token, &servers, files).await?;
        eprintln!("{files} files are reported after {:?}", watch.elapsed());
        let master = Self { cluster, address, started_in, servers, keyring, _live: live };
        if let Some(last) = files.checked_sub(1) {
            master.check(last).await?;
        }
        Ok(master)
    }

    /// A fast wrong answer fails: file `n` is known, with all its replicas.
    async fn check(&self, n: u64) -> anyhow::Result<()> {
        let timeout = Duration::from_secs(10);
        let settings = ClientSettings {
            connect_timeout: timeout,
            request_timeout: timeout,
            silence_timeout: timeout,
            tls: None,
        };
        let client = Client::new(settings).with_token(self.user_token());
        let path = population::path(n).parse()?;
        let locate = Locate { path, offset: 0, length: None, open: false, log: false };
        let located: Located = client.post(&self.address, "/v1/files/locate", &locate).await?;
        let on: Vec<_> = located.chunks.iter().map(|chunk| chunk.servers.len()).collect();
        anyhow::ensure!(on == [self.servers.len()], "replicas of the chunks of a file: {on:?}");
        Ok(())
    }

    /// A user's token, for everything.
    pub(crate) fn user_token(&self) -> String {
        token(&self.keyring, Role::User)
    }
}

fn token(keyring: &Keyring, role: Role) -> String {
    keyring.mint(&Capability::unlimited("bench", role, UnixMillis(u64::MAX)))
}
