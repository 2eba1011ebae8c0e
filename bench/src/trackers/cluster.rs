//! The daemons of the run: a chunk master and a chunkserver, which keep what the JobTracker keeps there, and the JobTracker that
//! is measured. Each is a process of the binary.

use std::time::Duration;

use anyhow::Context as _;
use ids::{HostName, RackName, UnixMillis};
use net::{Capability, Client, ClientSettings, Keyring, Role, Secret};
use tests::cluster::{Dev, DevOptions};

use super::TrackersArgs;
use super::front::{self, Size};

/// Of calls that are not measured.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The running daemons.
pub(crate) struct Cluster {
    pub(crate) dev: Dev,
    /// `host:port` of the JobTracker.
    pub(crate) jobtracker: String,
    keyring: Keyring,
}

impl Cluster {
    /// Starts them.
    ///
    /// # Errors
    /// When the stand-in of the chunk master can't listen.
    pub(crate) async fn start(args: &TrackersArgs) -> anyhow::Result<Self> {
        let options = DevOptions::trackers(1)
            .set(&format!("jobtracker.heartbeat_interval={}ms", args.interval_ms))
            .set("jobtracker.history_keep=0s")
            // What is pretended tells no progress from which anybody could reckon.
            .set("jobtracker.speculative=false");
        let mut dev = Dev::start(&options);
        dev.stop();
        dev.restart("chunkmaster");
        dev.restart("chunkserver-1");
        let config = dev.config();
        let secret = config.cluster.secret_file.context("dev keeps a secret")?;
        let keyring = Keyring::new(&Secret::read_file(&secret)?);
        let master = client().with_token(token(&keyring, Role::Master));
        let size = Size { chunks: args.tasks, hosts: args.trackers, racks: args.racks };
        let address = front::start(size, config.chunkmaster.address.clone(), master).await?;
        // From here on nobody else reads the configuration.
        let text = std::fs::read_to_string(dev.config_file())?;
        let text = text.replace(&config.chunkmaster.address, &address.to_string());
        std::fs::write(dev.config_file(), text)?;
        dev.restart("jobtracker");
        Ok(Self { dev, jobtracker: config.jobtracker.address, keyring })
    }

    /// A client with the rights of a user.
    pub(crate) fn user(&self) -> Client {
        client().with_token(token(&self.keyring, Role::User))
    }

    /// A TaskTracker's token.
    pub(crate) fn tracker_token(&self) -> String {
        token(&self.keyring, Role::Tracker)
    }

    /// The JobTracker's process.
    pub(crate) fn pid(&self) -> i32 {
        self.dev.pid("jobtracker")
    }
}

fn client() -> Client {
    Client::new(ClientSettings {
        connect_timeout: TIMEOUT,
        request_timeout: TIMEOUT,
        silence_timeout: TIMEOUT,
        tls: None,
    })
}

fn token(keyring: &Keyring, role: Role) -> String {
    keyring.mint(&Capability::unlimited("bench", role, UnixMillis(u64::MAX)))
}

/// The name of a pretended host.
pub(crate) fn host(n: u64) -> HostName {
    format!("host-{n:05}").parse().expect("a host's name")
}

/// The name of a pretended rack.
pub(crate) fn rack(n: u64) -> RackName {
    format!("/rack-{n:02}").parse().expect("a rack's name")
}
