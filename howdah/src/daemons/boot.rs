//! What every daemon does before its `run`: configuration, logs, secret, listener, pid file.

use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clock::wall;
use config::{Config, HostConfig};
use daemon::{Shutdown, Topology};
use net::{ClientSettings, Keyring, Listener, Secret, Tls, Users};
use tokio::runtime::Runtime;

use super::DaemonName;
use super::listen::listener;
use super::pid_file::PidFile;
use crate::exit::{OrEarly, sentence};

/// How long a daemon that ends waits for calls that block.
const PATIENCE: Duration = Duration::from_secs(5);

/// A daemon without the cluster's secret.
#[derive(Debug, thiserror::Error)]
#[error(
    "{file}: cluster.secret_file names no secret, and daemons prove by it who they are: make one with \
     `howdah secret new /etc/howdah/secret`, copy it to every host, and name it there; `howdah dev` mints its own"
)]
pub(crate) struct SecretMissing {
    file: PathBuf,
}

/// A daemon that is about to run.
pub(crate) struct Boot {
    /// The configuration of all.
    pub(crate) config: Config,
    secret: Secret,
    users: Users,
    tls: Option<Tls>,
    file: PathBuf,
    /// `None`: as many as the runtime has by itself.
    blocking_threads_max: Option<usize>,
}

impl Boot {
    /// Reads the configuration and the secret, installs logs and the panic hook. What is wrong is
    /// decidable without the cluster.
    pub(crate) fn new(file: &Path) -> anyhow::Result<Self> {
        let config = config::load(file, &[]).or_early()?;
        let format = match config.log.format {
            config::LogFormat::Text => daemon::LogFormat::Text,
            config::LogFormat::Json => daemon::LogFormat::Json,
        };
        daemon::install_logging(format, &config.log.filter).or_early()?;
        daemon::install_panic_hook();
        daemon::close_memory();
        daemon::raise_descriptor_limit();
        let Some(secret_file) = &config.cluster.secret_file else {
            return Err(SecretMissing { file: file.to_owned() }).or_early();
        };
        let secret = Secret::read_file(secret_file).or_early()?;
        let tls = crate::tls::of_daemon(&config, file)?;
        let users = Users::default();
        super::users::take(&users, &config.users).or_early()?;
        let (file, blocking_threads_max) = (file.to_owned(), None);
        Ok(Self { config, secret, users, tls, file, blocking_threads_max })
    }

    /// The worker host called `name`, or the only one there is, with its position from 1.
    pub(crate) fn host(&self, name: Option<&str>) -> anyhow::Result<(usize, HostConfig)> {
        let names: Vec<&str> = self.config.hosts.iter().map(|host| host.name.as_str()).collect();
        let name = match (name, names.as_slice()) {
            (Some(name), _) => name,
            (None, [name]) => name,
            (None, _) => {
                let file = self.file.display();
                return Err(anyhow!(
                    "which host is this? give --host one of those in {file}: {}",
                    names.join(", ")
                ))
                .or_early();
            }
        };
        let host = self.config.host(name).or_early()?;
        let position = names.iter().position(|known| *known == name).unwrap_or_default();
        Ok((position + 1, host))
    }

    /// So many threads at most for calls that block; each is made when it is needed.
    pub(crate) fn allow_blocking_threads(&mut self, max: usize) {
        self.blocking_threads_max = Some(max);
    }

    /// Signs and verifies tokens, for the users of the configuration.
    pub(crate) fn keyring(&self) -> Keyring {
        Keyring::new(&self.secret).with_users(self.users.clone())
    }

    /// What `tcp` is to its daemon, which is reached at `address` and configured to listen at `listen`. A name that merely
    /// leads to loopback opens nothing.
    fn listener(
        &self,
        tcp: TcpListener,
        (address, listen): (&str, &str),
    ) -> std::io::Result<Listener> {
        let is_loopback = config::is_loopback(address) && config::is_loopback(listen);
        let allowed = self.config.cluster.anonymous_loopback && is_loopback;
        Listener::new(tcp, self.tls.clone()).anonymous_on_loopback(allowed)
    }

    /// Who stands where, if a file says so.
    pub(crate) fn topology(&self) -> anyhow::Result<Topology> {
        Topology::open(self.config.cluster.topology_file.as_deref()).or_early()
    }

    /// Time limits of calls to other daemons, and how they are made.
    pub(crate) fn client(&self) -> ClientSettings {
        crate::tls::client_settings(&self.config.client, self.tls.clone())
    }

    /// Listens at `listen`, where others reach it at `address`, writes the pid file, and runs `serve` until it ends or a signal asks for the end.
    pub(crate) fn run<F: Future<Output = anyhow::Result<()>>>(
        &self,
        name: &DaemonName,
        (address, listen): (&str, &str),
        serve: impl FnOnce(Listener, Shutdown) -> F,
    ) -> anyhow::Result<()> {
        if let Some(socket) = config::env::process().notify_socket() {
            daemon::report_to(&socket).context("NOTIFY_SOCKET names no socket").or_early()?;
        }
        let handed_down = config::env::process().listen_fd().or_early()?;
        let listener = listener(listen, handed_down).or_early()?;
        let listener =
            self.listener(listener, (address, listen)).context("a listener without address")?;
        let pid_dir = self.config.cluster.pid_dir.as_deref();
        if let Some(folder) = &self.config.log.audit_dir {
            let bytes_max = self.config.log.audit_bytes_max.0;
            daemon::install_audit(folder, &name.to_string(), bytes_max).or_early()?;
        }
        let pid_file = pid_dir.map(|folder| PidFile::write(folder, name)).transpose().or_early()?;
        tracing::info!(%name, listen, version = env!("CARGO_PKG_VERSION"), at = wall().0, "starting");
        // Before anybody records: what is told to no recorder is lost.
        daemon::Metrics::install(&[]);
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if let Some(max) = self.blocking_threads_max {
            builder.max_blocking_threads(max);
        }
        let runtime = builder.enable_all().build().context("cannot start the async runtime")?;
        let ended = run_to_the_end(runtime, PATIENCE, async {
            let shutdown = Shutdown::on_signals().context("cannot listen for signals")?;
            let (users, file) = (self.users.clone(), self.file.clone());
            tokio::spawn(super::users::follow(users, file, self.config.users.clone()));
            if let Some(tls) = self.tls.clone() {
                tokio::spawn(daemon::follow_certificates(tls));
            }
            serve(listener, shutdown).await
        });
        drop(pid_file);
        match ended {
            Ok(()) => tracing::info!(%name, "stopped"),
            // The log is where operators look; standard error may be elsewhere.
            Err(ref error) => tracing::error!(%name, "stopped: {}", sentence(error)),
        }
        ended
    }
}

/// Runs `serve` to its end. Blocking calls that are under way then, as of a disk that hangs, are waited for no longer than
/// `patience`: what must be on disk has been synced before `serve` ends.
fn run_to_the_end<F: Future>(runtime: Runtime, patience: Duration, serve: F) -> F::Output {
    let ended = runtime.block_on(serve);
    runtime.shutdown_timeout(patience);
    ended
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_call_that_hangs_does_not_keep_a_daemon_from_its_end() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (release, hangs) = mpsc::channel::<()>();
        let (tell, has_begun) = tokio::sync::oneshot::channel();
        let answer = run_to_the_end(runtime, Duration::from_millis(1), async {
            drop(tokio::task::spawn_blocking(move || {
                tell.send(()).unwrap();
                hangs.recv()
            }));
            has_begun.await.unwrap();
            7
        });
        assert_eq!(answer, 7);
        drop(release);
    }
}
