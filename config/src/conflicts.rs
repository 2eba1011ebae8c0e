//! Values that do not go together: what stands twice and must not, and what is missing beside something else.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Config;
use crate::names::is_loopback;
use crate::rules::{Fault, without_dots};

/// The first name, address or folder that stands twice.
pub(crate) fn anything_twice(config: &Config) -> Option<Fault> {
    names_twice(config)
        .or_else(|| users_twice(config))
        .or_else(|| pools_twice(config))
        .or_else(|| stores_twice(config))
        .or_else(|| addresses_twice(config))
        .or_else(|| listeners_twice(config))
        .or_else(|| folders_twice(config))
}

fn names_twice(config: &Config) -> Option<Fault> {
    let names = config.hosts.iter().enumerate();
    first_twice(
        names.map(|(index, host)| (format!("hosts[{index}].name"), host.name.clone())),
        "a host stands once in the list",
    )
}

fn users_twice(config: &Config) -> Option<Fault> {
    let users = config.users.iter().enumerate();
    first_twice(
        users.map(|(index, user)| (format!("users[{index}].name"), user.name.clone())),
        "a user stands once in the list",
    )
}

fn pools_twice(config: &Config) -> Option<Fault> {
    let pools = config.pools.iter().enumerate();
    first_twice(
        pools.map(|(index, pool)| (format!("pools[{index}].name"), pool.name.clone())),
        "a pool stands once in the list",
    )
}

fn stores_twice(config: &Config) -> Option<Fault> {
    let stores = config.stores.iter().enumerate();
    first_twice(
        stores.map(|(index, store)| (format!("stores[{index}].url"), store.url.clone())),
        "a store stands once in the list",
    )
}

fn addresses_twice(config: &Config) -> Option<Fault> {
    first_twice(addresses(config), "give each daemon an address of its own")
}

/// On one host only: all of them may listen on `0.0.0.0:7871`.
fn listeners_twice(config: &Config) -> Option<Fault> {
    config.all_hosts().enumerate().find_map(|(index, host)| {
        let of_host = [
            (format!("hosts[{index}].chunkserver.listen"), host.chunkserver_listen),
            (format!("hosts[{index}].tasktracker.listen"), host.tasktracker_listen),
        ];
        first_twice(of_host, "give each daemon of a host a port of its own")
    })
}

/// Folders are compared on one host only: the same folder on two hosts is two folders.
fn folders_twice(config: &Config) -> Option<Fault> {
    let folder =
        |key: &str, path: &Path| (key.to_owned(), without_dots(path).display().to_string());
    let remedy = "give each daemon, and each disk, a folder of its own";
    let masters = [
        folder("chunkmaster.data_dir", &config.chunkmaster.data_dir),
        folder("jobtracker.data_dir", &config.jobtracker.data_dir),
    ];
    let mirrors = [
        ("chunkmaster.journal_mirror", &config.chunkmaster.journal_mirror),
        ("jobtracker.journal_mirror", &config.jobtracker.journal_mirror),
    ];
    let mirrors = mirrors.into_iter().filter_map(|(key, path)| Some(folder(key, path.as_deref()?)));
    let of_masters: Vec<_> = masters.into_iter().chain(mirrors).collect();
    first_twice(of_masters.iter().cloned(), remedy).or_else(|| {
        config.all_hosts().enumerate().find_map(|(index, host)| {
            let chunks = host.chunkserver_dirs.iter().enumerate().map(|(nth, dir)| {
                folder(&format!("hosts[{index}].chunkserver.data_dirs[{nth}]"), dir)
            });
            let key = format!("hosts[{index}].tasktracker.data_dir");
            let tasks = std::iter::once(folder(&key, &host.tasktracker_dir));
            // The data folder may be one of them.
            let local = host.tasktracker_local_dirs.iter().enumerate();
            let local = local.filter(|(_, dir)| **dir != host.tasktracker_dir).map(|(nth, dir)| {
                folder(&format!("hosts[{index}].tasktracker.local_dirs[{nth}]"), dir)
            });
            let beside = |(key, _): &&(String, String)| match key.starts_with("chunkmaster.") {
                true => is_on(&config.chunkmaster.address, &host.name),
                false => is_on(&config.jobtracker.address, &host.name),
            };
            let of_masters = of_masters.iter().filter(beside).cloned();
            first_twice(of_masters.chain(chunks).chain(tasks).chain(local), remedy)
        })
    })
}

/// Whether what listens there is on that host, as far as names tell.
fn is_on(address: &str, host: &str) -> bool {
    is_loopback(address) || address.rsplit_once(':').is_some_and(|(name, _)| name == host)
}

fn first_twice(
    keyed: impl IntoIterator<Item = (String, String)>,
    remedy: &'static str,
) -> Option<Fault> {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    keyed.into_iter().find_map(|(key, value)| {
        let other = seen.insert(value.clone(), key.clone())?;
        Some(Fault::Twice { key, other, value, remedy })
    })
}

/// Every address that others connect to, with the key that a host would set it by.
fn addresses(config: &Config) -> impl Iterator<Item = (String, String)> + '_ {
    let masters = [
        ("chunkmaster.address".to_owned(), config.chunkmaster.address.clone()),
        ("jobtracker.address".to_owned(), config.jobtracker.address.clone()),
    ];
    masters.into_iter().chain(config.all_hosts().enumerate().flat_map(|(index, host)| {
        [
            (format!("hosts[{index}].chunkserver.address"), host.chunkserver_address),
            (format!("hosts[{index}].tasktracker.address"), host.tasktracker_address),
        ]
    }))
}

/// An address that others reach, where there is no secret.
pub(crate) fn secret_needed(config: &Config) -> Option<Fault> {
    if config.cluster.secret_file.is_some() {
        return None;
    }
    let mut all = addresses(config).chain(config.listeners());
    let (key, address) = all.find(|(_, address)| !is_loopback(address))?;
    Some(Fault::SecretNeeded { key, address })
}
