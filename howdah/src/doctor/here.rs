//! Which host this is, whether names lead where they should, and whether the secret can be used.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, TcpListener, ToSocketAddrs as _};
use std::path::Path;

use config::Config;
use net::{Secret, SecretError};
use tokio::task::JoinSet;

use super::daemons::{self, Daemon};
use super::{Finding, Subject};

const CONFIGURATION: &str = "configuration";
const ADDRESS: &str = "address";
const NAME: &str = "name";
const SECRET: &str = "secret";

/// What each name of the configuration leads to, as this host looks it up.
pub(super) type Names = BTreeMap<String, Result<Vec<IpAddr>, String>>;

/// Looks up every name, all at once: one that hangs takes its time, and no other's.
pub(super) async fn resolve_all(config: &Config) -> Names {
    let all = daemons::all_of(config);
    let names: BTreeSet<String> = all.iter().map(|daemon| daemon.name().to_owned()).collect();
    let mut looking = JoinSet::new();
    for name in names {
        looking.spawn_blocking(move || {
            let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
            let found = (bare.as_str(), 0).to_socket_addrs();
            let found = found.map(|found| found.map(|address| address.ip()).collect());
            (name, found.map_err(|error| error.to_string()))
        });
    }
    let mut resolved = Names::new();
    while let Some(done) = looking.join_next().await {
        resolved.extend(done.ok());
    }
    resolved
}

/// Whether a name that leads to loopback can be meant.
fn is_of_one_host(config: &Config) -> bool {
    daemons::all_of(config).iter().all(|daemon| config::is_loopback(&daemon.address))
}

/// One finding for each name.
pub(super) fn names(config: &Config, names: &Names) -> Vec<Finding> {
    let is_alone = is_of_one_host(config);
    names.iter().map(|(name, found)| judge_name(name, found, is_alone)).collect()
}

fn judge_name(name: &str, found: &Result<Vec<IpAddr>, String>, is_alone: bool) -> Finding {
    match found {
        Err(error) => {
            let remedy = format!("give {name} an address in DNS or in this host's /etc/hosts");
            Finding::failed(NAME, name, format!("can't be looked up: {error}"), remedy)
        }
        Ok(found) if !is_alone && found.iter().any(IpAddr::is_loopback) => {
            let said = format!("is {} here, where no other host gets to", listed(found));
            let remedy = format!(
                "give {name} the address by which others reach it: in this host's /etc/hosts, take it out of the line \
                 of 127.0.0.1, 127.0.1.1 or ::1; or correct the configuration"
            );
            Finding::failed(NAME, name, said, remedy)
        }
        Ok(found) => Finding::ok(NAME, name, format!("is {}", listed(found))),
    }
}

fn listed(found: &[IpAddr]) -> String {
    let distinct: BTreeSet<String> = found.iter().map(ToString::to_string).collect();
    distinct.into_iter().collect::<Vec<_>>().join(", ")
}

/// Whether a process here can listen on such an address, whatever the port.
fn is_own(address: IpAddr) -> bool {
    TcpListener::bind((address, 0)).is_ok()
}

/// The daemons of this host: those of the entry that is named by `--host`, or as the host calls itself, and all that
/// have an address of this host's.
pub(super) fn find_us(
    subject: &Subject<'_>,
    all: &[Daemon],
    names: &Names,
) -> (Vec<Daemon>, Vec<Finding>) {
    let found = |daemon: &Daemon| names.get(daemon.name())?.as_ref().ok().cloned();
    let is_here = |daemon: &Daemon| {
        found(daemon).is_some_and(|found| found.iter().any(|address| is_own(*address)))
    };
    let label = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
    let is_called = |host: &str| match subject.host {
        Some(named) => host == named,
        None => host == subject.hostname || host == label(subject.hostname),
    };
    let mut ours: Vec<(Daemon, bool)> = vec![];
    for daemon in all {
        let here = is_here(daemon);
        let is_ours = match &daemon.host {
            Some(host) => is_called(host) || subject.host.is_none() && here,
            None => here,
        };
        if is_ours {
            ours.push((daemon.clone(), here));
        }
    }
    let mut findings = vec![judge_configuration(subject, &ours)];
    findings.extend(ours.iter().filter_map(|(daemon, here)| {
        // A name that leads nowhere has a finding of its own.
        Some(judge_address(daemon, &found(daemon)?, *here))
    }));
    (ours.into_iter().map(|(daemon, _)| daemon).collect(), findings)
}

fn judge_configuration(subject: &Subject<'_>, ours: &[(Daemon, bool)]) -> Finding {
    let file = subject.file.display();
    let hosts: BTreeSet<&str> = ours.iter().filter_map(|(it, _)| it.host.as_deref()).collect();
    if let Some(host) = subject.host
        && !hosts.contains(host)
    {
        let known: Vec<&str> = subject.config.hosts.iter().map(|host| host.name.as_str()).collect();
        let remedy =
            format!("name one of those in 'hosts' ({}), or add it there", known.join(", "));
        return Finding::failed(CONFIGURATION, file, format!("has no host {host}"), remedy);
    }
    if ours.is_empty() {
        let said = format!(
            "valid; no daemon of it belongs to this host, which calls itself {}: a client's",
            subject.hostname
        );
        return Finding::ok(CONFIGURATION, file, said);
    }
    let ours: Vec<String> = ours.iter().map(|(daemon, _)| daemon.to_string()).collect();
    Finding::ok(CONFIGURATION, file, format!("valid; of this host: {}", ours.join(", ")))
}

fn judge_address(daemon: &Daemon, found: &[IpAddr], is_here: bool) -> Finding {
    let Daemon { address, listen, .. } = daemon;
    if is_here {
        return Finding::ok(ADDRESS, daemon, format!("{address} is this host's"));
    }
    if address != listen {
        let said = format!("is reached at {address} ({}), and listens at {listen}", listed(found));
        return Finding::ok(ADDRESS, daemon, said);
    }
    let said = format!("{address} is {}, which is no address of this host", listed(found));
    let remedy = format!(
        "correct {}, or what {} leads to (DNS, /etc/hosts), or say with --host which host this is; where others reach \
         it by an address that this host does not have, say beside it where to listen (listen: 0.0.0.0:PORT)",
        daemon.key(),
        daemon.name()
    );
    Finding::failed(ADDRESS, daemon, said, remedy)
}

/// Whether the secret can be read. Whether it is the cluster's, the daemons say.
pub(super) fn secret(file: Option<&Path>) -> Option<Finding> {
    let file = file?;
    Some(judge_secret(file, &Secret::read_file(file).map(drop)))
}

fn judge_secret(file: &Path, read: &Result<(), SecretError>) -> Finding {
    let about = file.display().to_string();
    match read {
        Ok(()) => Finding::ok(SECRET, about, "can be read, and by its owner alone"),
        Err(error @ SecretError::Exposed { .. }) => {
            Finding::failed(SECRET, &about, error.to_string(), format!("chmod 600 {about}"))
        }
        Err(error @ SecretError::Length { .. }) => {
            let remedy =
                "copy the file of another host, or make a new secret for all (`howdah secret new`)";
            Finding::failed(SECRET, about, error.to_string(), remedy)
        }
        Err(error @ SecretError::Io { source, .. }) => {
            let remedy = match source.kind() {
                std::io::ErrorKind::NotFound => {
                    "copy the file of another host there; on the first one `howdah secret new` makes it"
                }
                std::io::ErrorKind::PermissionDenied => {
                    "ask as the daemons' user (`runuser -u howdah -- howdah doctor`), or give it the file (`chown`)"
                }
                _ => "see what is wrong with its disk",
            };
            Finding::failed(SECRET, about, error.to_string(), remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_name_leads_somewhere_and_not_to_loopback_where_there_are_other_hosts() {
        let found = |text: &str| Ok(vec![text.parse().unwrap()]);
        let table = [
            (found("10.0.0.1"), false, Verdict::Ok, ""),
            (found("127.0.1.1"), true, Verdict::Ok, ""),
            (found("127.0.1.1"), false, Verdict::Failed, "/etc/hosts"),
            (Err("Name or service not known".to_owned()), false, Verdict::Failed, "DNS"),
        ];
        for (found, is_alone, verdict, remedy) in table {
            let finding = judge_name("host-1", &found, is_alone);
            assert_eq!(finding.verdict, verdict, "{found:?}");
            assert!(finding.remedy.unwrap_or_default().contains(remedy), "{found:?}");
        }
    }

    #[test]
    fn each_thing_that_is_wrong_with_a_secret_has_its_remedy() {
        let path = Path::new("/etc/howdah/secret");
        let io = |kind: std::io::ErrorKind| {
            Err(SecretError::Io { path: path.to_owned(), source: kind.into() })
        };
        let table = [
            (Ok(()), ""),
            (Err(SecretError::Exposed { path: path.to_owned(), mode: 0o644 }), "chmod 600 /etc"),
            (Err(SecretError::Length { bytes: 3 }), "howdah secret new"),
            (io(std::io::ErrorKind::NotFound), "copy the file"),
            (io(std::io::ErrorKind::PermissionDenied), "runuser"),
            (io(std::io::ErrorKind::Other), "disk"),
        ];
        for (read, remedy) in table {
            let finding = judge_secret(path, &read);
            assert_eq!(finding.verdict == Verdict::Ok, read.is_ok());
            assert!(finding.remedy.unwrap_or_default().contains(remedy), "{read:?}");
        }
    }

    #[test]
    fn this_host_is_found_by_its_name_or_its_addresses_and_an_address_of_others_is_said() {
        let text = "cluster: {secret_file: /s}\nchunkmaster: {address: '127.0.0.1:1'}\n\
                    hosts:\n- name: host-1\n  chunkserver: {address: '127.0.0.1:2'}\n  tasktracker: {address: '127.0.0.1:3'}\n\
                    - name: host-2\n  chunkserver: {address: '192.0.2.1:2'}\n  tasktracker: {address: '192.0.2.1:3'}\n";
        let config = config::parse(text, "c.yaml", &[]).unwrap();
        let all = daemons::all_of(&config);
        let literal = |daemon: &Daemon| {
            (daemon.name().to_owned(), Ok(vec![daemon.name().parse::<IpAddr>().unwrap()]))
        };
        let names: Names = all.iter().map(literal).collect();
        let look = |host, hostname| {
            let (file, config) = (Path::new("c.yaml"), &config);
            let subject = Subject { file, config, host, hostname, local: true };
            let (ours, findings) = find_us(&subject, &all, &names);
            let failed = findings.into_iter().filter(|it| it.verdict == Verdict::Failed);
            (ours.len(), failed.map(|it| it.said).collect::<Vec<_>>().join("\n"))
        };
        // Both masters and what has an address of this host.
        assert_eq!(look(None, "elsewhere"), (4, String::new()));
        let (n, failed) = look(None, "host-2.example.org");
        assert!(
            n == 6 && failed.contains("192.0.2.1:3 is 192.0.2.1, which is no address"),
            "{failed}"
        );
        assert_eq!(look(Some("host-1"), "host-2"), (4, String::new()));
        assert_eq!(look(Some("host-3"), "host-1").1, "has no host host-3");
    }
}
