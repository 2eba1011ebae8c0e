//! The configuration of a supervised cluster: made at its first start, kept in its folder from then on,
//! so that its ports and everything a user changed there stay the same.

use std::net::TcpListener;

use anyhow::Context;
use config::Config;

use super::layout::Layout;
use super::left_out;
use super::ports::{listen_again, listen_anywhere};
use crate::daemons::DaemonName;
use crate::exit::OrEarly;

/// TaskTrackers of a new cluster, where the user does not say.
const TRACKERS: usize = 3;
/// Replicas asked for, where there are servers enough.
const REPLICAS_MAX: usize = 3;

/// A daemon to be started, with the listener that it is handed.
pub(super) struct Seat {
    /// The daemon.
    pub(super) name: DaemonName,
    /// Its host's name; none for the masters.
    pub(super) host: Option<String>,
    /// `host:port` of its listener.
    pub(super) address: String,
    /// The listener.
    pub(super) listener: TcpListener,
}

/// The configuration to start with, and the listeners for it in boot order.
pub(super) struct Prepared {
    pub(super) config: Config,
    pub(super) seats: Vec<Seat>,
}

/// Reads or makes the configuration, binds every listener, and writes the configuration down.
pub(super) fn prepare(
    layout: &Layout,
    trackers: Option<usize>,
    overrides: &[(String, String)],
) -> anyhow::Result<Prepared> {
    let file = layout.cluster_yaml();
    let kept = file.exists().then(|| config::load(&file, &[])).transpose().or_early()?;
    let is_new = kept.is_none();
    let mut config = kept.unwrap_or_else(|| new_config(layout));
    let before = config.hosts.len();
    left_out::check(&config, trackers.unwrap_or(before), &file).or_early()?;
    let was_derived = is_new || config.chunkmaster.replication == replicas(before);
    set_hosts(&mut config, layout, trackers);
    if was_derived {
        config.chunkmaster.replication = replicas(config.hosts.len());
    }
    let (slots, hosts) = (config.tasktracker.slots, config.hosts.len());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    config.tasktracker.slots = slots_each(processors, hosts, (!is_new).then_some((slots, before)));
    let mut config = config.with_overrides(overrides).or_early()?;
    check_replicas(&config).or_early()?;
    check_listeners(&config).or_early()?;
    let given = |key: &str| !is_new || overrides.iter().any(|(set, _)| set == key);
    let known = Known {
        chunkmaster: given("chunkmaster.address"),
        jobtracker: given("jobtracker.address"),
        hosts: before,
    };
    let seats = bind(layout, &mut config, &known).or_early()?;
    // As the daemons will read it: what they would refuse is refused here, and nothing is left behind.
    let config = config::parse(&config.to_yaml(), &file, &[]).or_early()?;
    write(layout, &config)?;
    Ok(Prepared { config, seats })
}

/// More replicas than there will be chunkservers to take them.
#[derive(Debug, thiserror::Error)]
#[error(
    "chunkmaster.replication is {replication}, and a single chunkserver can't keep more than one replica: \
     add --set chunkmaster.replication=1, or start more with --trackers"
)]
pub(crate) struct TooManyReplicas {
    replication: u8,
}

/// A file is written when two servers have it, or one where one replica is asked for.
fn check_replicas(config: &Config) -> Result<(), TooManyReplicas> {
    let replication = config.chunkmaster.replication;
    if config.hosts.len() == 1 && replication > 1 {
        return Err(TooManyReplicas { replication });
    }
    Ok(())
}

/// A daemon that is to listen elsewhere than at its address.
#[derive(Debug, thiserror::Error)]
#[error(
    "{key} is {listen}, and the daemons of `dev` and `demo` listen at their addresses: leave it out; \
     --set chunkmaster.address=HOST:PORT and jobtracker.address choose those of the masters"
)]
pub(crate) struct ListensElsewhere {
    key: String,
    listen: String,
}

/// The listeners that are handed down are made here.
fn check_listeners(config: &Config) -> Result<(), ListensElsewhere> {
    match config.listeners().next() {
        Some((key, listen)) => Err(ListensElsewhere { key, listen }),
        None => Ok(()),
    }
}

/// What a cluster of that many chunkservers keeps of each chunk, unless the user says otherwise.
fn replicas(chunkservers: usize) -> u8 {
    chunkservers.min(REPLICAS_MAX) as u8
}

fn new_config(layout: &Layout) -> Config {
    let mut config = Config::default();
    config.cluster.secret_file = Some(layout.secret());
    config.cluster.pid_dir = Some(layout.pids());
    config.cluster.anonymous_loopback = true;
    config.chunkmaster.data_dir = layout.data_of("chunkmaster");
    config.jobtracker.data_dir = layout.data_of("jobtracker");
    config
}

/// Slots of each tracker: all of this machine share its processors, also when there are other ones than before; what a user
/// chose stays.
fn slots_each(processors: usize, trackers: usize, before: Option<(u32, usize)>) -> u32 {
    let share = |trackers: usize| processors.div_ceil(trackers.max(1)) as u32;
    match before {
        Some((slots, trackers)) if slots != share(trackers) => slots,
        _ => share(trackers),
    }
}

fn set_hosts(config: &mut Config, layout: &Layout, trackers: Option<usize>) {
    let present = config.hosts.len();
    let wanted = trackers.unwrap_or(if present == 0 { TRACKERS } else { present });
    config.hosts.truncate(wanted);
    for number in config.hosts.len() + 1..=wanted {
        let mut host = config::Host::named(format!("host-{number}"));
        host.chunkserver.data_dirs =
            Some(vec![layout.data_of(&DaemonName::Chunkserver(number).to_string())]);
        host.tasktracker.data_dir =
            Some(layout.data_of(&DaemonName::Tasktracker(number).to_string()));
        config.hosts.push(host);
    }
}

/// Whose addresses are known; the others get new ports.
struct Known {
    chunkmaster: bool,
    jobtracker: bool,
    /// That many hosts, the first ones.
    hosts: usize,
}

/// Binds all listeners.
fn bind(layout: &Layout, config: &mut Config, known: &Known) -> anyhow::Result<Vec<Seat>> {
    let file = layout.cluster_yaml();
    let listen = |name: &DaemonName, address: &mut String, known: bool| {
        if known {
            return Ok(listen_again(&name.to_string(), address, &file)?);
        }
        let listener = listen_anywhere()?;
        *address = listener.local_addr().context("a new listener has no address")?.to_string();
        anyhow::Ok(listener)
    };
    let (mut servers, mut trackers) = (Vec::new(), Vec::new());
    let seat = |name: DaemonName, host: Option<&str>, address: &mut String, known: bool| {
        let listener = listen(&name, address, known)?;
        anyhow::Ok(Seat { name, host: host.map(str::to_owned), address: address.clone(), listener })
    };
    let address = &mut config.chunkmaster.address;
    let chunkmaster = seat(DaemonName::Chunkmaster, None, address, known.chunkmaster)?;
    let address = &mut config.jobtracker.address;
    let jobtracker = seat(DaemonName::Jobtracker, None, address, known.jobtracker)?;
    for (index, host) in config.hosts.iter_mut().enumerate() {
        let known = index < known.hosts;
        let name = Some(host.name.as_str());
        let mut address = host.chunkserver.address.take().unwrap_or_default();
        servers.push(seat(DaemonName::Chunkserver(index + 1), name, &mut address, known)?);
        host.chunkserver.address = Some(address);
        let mut address = host.tasktracker.address.take().unwrap_or_default();
        trackers.push(seat(DaemonName::Tasktracker(index + 1), name, &mut address, known)?);
        host.tasktracker.address = Some(address);
    }
    let masters_first = std::iter::once(chunkmaster).chain(servers);
    Ok(masters_first.chain(std::iter::once(jobtracker)).chain(trackers).collect())
}

fn write(layout: &Layout, config: &Config) -> anyhow::Result<()> {
    let path = layout.cluster_yaml();
    let text = format!(
        "# Made by `howdah dev`; kept and read again at its next start.\n{}",
        config.to_yaml()
    );
    crate::local_file::write_durably(&path, text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trackers_share_all_processors_also_when_their_number_changes() {
        assert_eq!(slots_each(8, 3, None), 3);
        assert_eq!(slots_each(2, 3, None), 1);
        assert_eq!(slots_each(8, 1, Some((3, 3))), 8, "three, of which one is left");
        assert_eq!(slots_each(8, 4, Some((8, 1))), 2);
        assert_eq!(slots_each(8, 1, Some((5, 3))), 5, "a user's own");
        assert_eq!(slots_each(8, 3, Some((3, 3))), 3);
    }
}
