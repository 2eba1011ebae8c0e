//! The entries of `hosts`, and what one worker host runs with: its own values, else those of the sections.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Config;

/// One entry of `hosts`: a worker host. Only the name is needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its name: what locality compares.
    pub name: String,
    /// Its rack.
    #[serde(default = "default_rack")]
    pub rack: String,
    /// This host's own values of section `chunkserver`.
    #[serde(default)]
    pub chunkserver: HostChunkserver,
    /// This host's own values of section `tasktracker`.
    #[serde(default)]
    pub tasktracker: HostTasktracker,
}

/// What a host says differently of its chunkserver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostChunkserver {
    /// `host:port` where all others connect.
    pub address: Option<String>,
    /// `host:port` to listen on.
    pub listen: Option<String>,
    /// Folders of the chunks.
    pub data_dirs: Option<Vec<PathBuf>>,
}

/// What a host says differently of its TaskTracker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostTasktracker {
    /// `host:port` where all others connect.
    pub address: Option<String>,
    /// `host:port` to listen on.
    pub listen: Option<String>,
    /// Data folder.
    pub data_dir: Option<PathBuf>,
    /// Folders of attempts and map outputs.
    pub local_dirs: Option<Vec<PathBuf>>,
}

impl Host {
    /// A host of that name in the default rack, with the sections' values.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            rack: default_rack(),
            chunkserver: HostChunkserver::default(),
            tasktracker: HostTasktracker::default(),
        }
    }
}

fn default_rack() -> String {
    "/default-rack".to_owned()
}

/// The daemons of one host, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// The host's name: what locality compares.
    pub name: String,
    /// Its rack.
    pub rack: String,
    /// Where others connect to its chunkserver.
    pub chunkserver_address: String,
    /// Where that listens.
    pub chunkserver_listen: String,
    /// Folders of its chunks.
    pub chunkserver_dirs: Vec<PathBuf>,
    /// Where others connect to its TaskTracker.
    pub tasktracker_address: String,
    /// Where that listens.
    pub tasktracker_listen: String,
    /// Folder of its programs and logs.
    pub tasktracker_dir: PathBuf,
    /// Folders of its attempts and map outputs, at least one; that of its programs may be one.
    pub tasktracker_local_dirs: Vec<PathBuf>,
}

/// A host that the configuration does not name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("host {name:?} is not in the configuration's 'hosts': {}", remedy(known))]
pub struct UnknownHost {
    /// The name that was asked for.
    pub name: String,
    /// The names there are.
    pub known: Vec<String>,
}

fn remedy(known: &[String]) -> String {
    match known {
        [] => "the list is empty; add '- name: NAME'".to_owned(),
        known => format!("give --host one of {}, or add it", known.join(", ")),
    }
}

impl Config {
    /// What the host called `name` runs with.
    ///
    /// # Errors
    /// When `hosts` has no such name.
    pub fn host(&self, name: &str) -> Result<HostConfig, UnknownHost> {
        self.all_hosts().find(|host| host.name == name).ok_or_else(|| UnknownHost {
            name: name.to_owned(),
            known: self.hosts.iter().map(|host| host.name.clone()).collect(),
        })
    }

    /// What no task needs to see: secrets, and the folders of all daemons of all hosts, since several may be on one.
    #[must_use]
    pub fn kept_from_tasks(&self) -> Vec<PathBuf> {
        let secrets = self.stores.iter().filter_map(|store| store.secret_file.clone());
        let own = [
            &self.cluster.secret_file,
            &self.client.token_file,
            &self.log.audit_dir,
            &self.tls.key,
        ];
        let secrets = own.into_iter().flatten().cloned().chain(secrets);
        let masters = [&self.chunkmaster.data_dir, &self.jobtracker.data_dir].into_iter().cloned();
        let mirrors = [&self.chunkmaster.journal_mirror, &self.jobtracker.journal_mirror];
        let masters = masters.chain(mirrors.into_iter().flatten().cloned());
        let of_host = |host: HostConfig| {
            let trackers = host.tasktracker_local_dirs.into_iter().chain([host.tasktracker_dir]);
            host.chunkserver_dirs.into_iter().chain(trackers)
        };
        let mut all: Vec<_> =
            secrets.chain(masters).chain(self.all_hosts().flat_map(of_host)).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Where the chunk master listens.
    #[must_use]
    pub fn chunkmaster_listen(&self) -> &str {
        self.chunkmaster.listen.as_ref().unwrap_or(&self.chunkmaster.address)
    }

    /// Where the JobTracker listens.
    #[must_use]
    pub fn jobtracker_listen(&self) -> &str {
        self.jobtracker.listen.as_ref().unwrap_or(&self.jobtracker.address)
    }

    /// Each `listen` that is given, with its key.
    pub fn listeners(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let sections = [
            ("chunkmaster.listen", &self.chunkmaster.listen),
            ("jobtracker.listen", &self.jobtracker.listen),
            ("chunkserver.listen", &self.chunkserver.listen),
            ("tasktracker.listen", &self.tasktracker.listen),
        ];
        let sections = sections.into_iter().map(|(key, listen)| (key.to_owned(), listen));
        let hosts = self.hosts.iter().enumerate().flat_map(|(index, host)| {
            [
                (format!("hosts[{index}].chunkserver.listen"), &host.chunkserver.listen),
                (format!("hosts[{index}].tasktracker.listen"), &host.tasktracker.listen),
            ]
        });
        sections.chain(hosts).filter_map(|(key, listen)| Some((key, listen.clone()?)))
    }

    /// Every worker host, in the file's order.
    pub fn all_hosts(&self) -> impl Iterator<Item = HostConfig> + '_ {
        self.hosts.iter().map(|host| {
            let (server, tracker) = (&host.chunkserver, &host.tasktracker);
            let tasktracker_dir = own_or(&tracker.data_dir, &self.tasktracker.data_dir);
            let mut local_dirs = own_or(&tracker.local_dirs, &self.tasktracker.local_dirs);
            if local_dirs.is_empty() {
                local_dirs.push(tasktracker_dir.clone());
            }
            let chunkserver_address = own_or(&server.address, &self.chunkserver.address);
            let tasktracker_address = own_or(&tracker.address, &self.tasktracker.address);
            let server_listen = server.listen.as_ref().or(self.chunkserver.listen.as_ref());
            let tracker_listen = tracker.listen.as_ref().or(self.tasktracker.listen.as_ref());
            HostConfig {
                name: host.name.clone(),
                rack: host.rack.clone(),
                chunkserver_listen: server_listen.unwrap_or(&chunkserver_address).clone(),
                chunkserver_address,
                chunkserver_dirs: own_or(&server.data_dirs, &self.chunkserver.data_dirs),
                tasktracker_listen: tracker_listen.unwrap_or(&tasktracker_address).clone(),
                tasktracker_address,
                tasktracker_dir,
                tasktracker_local_dirs: local_dirs,
            }
        })
    }
}

fn own_or<T: Clone>(own: &Option<T>, section: &T) -> T {
    own.as_ref().unwrap_or(section).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_mirrors_are_kept_from_tasks_too() {
        let text = "cluster: {secret_file: /s}\njobtracker: {journal_mirror: /m}\n\
                    client: {token_file: /t}\nlog: {audit_dir: /l}\n\
                    tls: {ca: /ca, cert: /c, key: /p}\n\
                    stores: [{url: 's3://a', key_id: a, secret_file: /k}]";
        let kept = crate::parse(text, "c.yaml", &[]).unwrap().kept_from_tasks();
        for path in ["/s", "/t", "/l", "/m", "/k", "/p"] {
            assert!(kept.contains(&path.into()), "{path} is not in {kept:?}");
        }
    }

    #[test]
    fn a_daemon_listens_at_its_address_unless_it_is_told_another_one() {
        let text = "cluster: {secret_file: /s}\njobtracker: {address: 'm:7880', listen: '[::]:80'}\n\
                    chunkserver: {listen: '0.0.0.0:7871'}\n\
                    hosts:\n- name: a\n  chunkserver: {address: 'a:1'}\n  tasktracker: {address: 'a:2'}\n\
                    - name: b\n  chunkserver: {address: 'nat:3', listen: '10.0.0.2:3'}\n";
        let config = crate::parse(text, "c.yaml", &[]).unwrap();
        assert_eq!(config.chunkmaster_listen(), config.chunkmaster.address);
        assert_eq!(config.jobtracker_listen(), "[::]:80");
        let (a, b) = (config.host("a").unwrap(), config.host("b").unwrap());
        assert_eq!(
            (a.chunkserver_address.as_str(), a.chunkserver_listen.as_str()),
            ("a:1", "0.0.0.0:7871")
        );
        assert_eq!((a.tasktracker_address.as_str(), a.tasktracker_listen.as_str()), ("a:2", "a:2"));
        assert_eq!(
            (b.chunkserver_address.as_str(), b.chunkserver_listen.as_str()),
            ("nat:3", "10.0.0.2:3")
        );
        assert_eq!(b.tasktracker_listen, config.tasktracker.address);
    }

    #[test]
    fn a_host_has_its_own_values_and_else_those_of_the_section() {
        let text = "hosts:\n- name: a\n  rack: /r1\n  chunkserver: {address: 'localhost:9001'}\n\
                    - name: b\n  chunkserver: {address: 'localhost:9002', data_dirs: [/b/c, /d]}\n  \
                    tasktracker: {address: 'localhost:9003', data_dir: /b/t, local_dirs: [/x, /y]}\n";
        let config = crate::parse(text, "c.yaml", &[]).unwrap();
        let a = config.host("a").unwrap();
        assert_eq!((a.rack.as_str(), a.chunkserver_address.as_str()), ("/r1", "localhost:9001"));
        assert_eq!(a.chunkserver_dirs, config.chunkserver.data_dirs);
        assert_eq!(a.tasktracker_address, config.tasktracker.address);
        assert_eq!(a.tasktracker_local_dirs, [config.tasktracker.data_dir.as_path()]);
        let b = config.host("b").unwrap();
        assert_eq!(b.chunkserver_dirs, [PathBuf::from("/b/c"), PathBuf::from("/d")]);
        assert_eq!((b.rack.as_str(), b.tasktracker_dir), ("/default-rack", PathBuf::from("/b/t")));
        assert_eq!(b.tasktracker_local_dirs, [PathBuf::from("/x"), PathBuf::from("/y")]);
        let kept = config.kept_from_tasks();
        for folder in ["/b/c", "/d", "/b/t", "/y", "/var/lib/howdah/jobtracker"] {
            assert!(kept.contains(&folder.into()), "{folder} is not in {kept:?}");
        }
        let unknown = config.host("c").unwrap_err().to_string();
        assert!(unknown.contains("\"c\"") && unknown.contains("a, b"), "{unknown}");
        assert!(Config::default().host("c").unwrap_err().to_string().contains("list is empty"));
    }
}
