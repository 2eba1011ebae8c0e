//! What each key of an entry of `hosts` accepts.

use crate::names::{is_address, is_host_name, is_rack_name};
use crate::rules::{
    ADDRESS, FOLDER, FOLDERS, Fault, LISTEN, LOCAL_FOLDERS, are_disks, are_local, is_listener,
};
use crate::{Config, Host};

struct HostRule {
    key: &'static str,
    accepted: &'static str,
    holds: fn(&Host) -> bool,
}

const HOST_RULES: &[HostRule] = &[
    HostRule {
        key: "name",
        accepted: "1 to 253 letters, digits, '-', '_' and '.', beginning with a letter or digit",
        holds: |host| is_host_name(&host.name),
    },
    HostRule {
        key: "rack",
        accepted: "'/' and then 1 to 252 letters, digits, '-', '_', '.' and '/', without empty parts",
        holds: |host| is_rack_name(&host.rack),
    },
    HostRule {
        key: "chunkserver.address",
        accepted: ADDRESS,
        holds: |host| host.chunkserver.address.as_ref().is_none_or(|text| is_address(text)),
    },
    HostRule {
        key: "chunkserver.listen",
        accepted: LISTEN,
        holds: |host| is_listener(host.chunkserver.listen.as_deref()),
    },
    HostRule {
        key: "chunkserver.data_dirs",
        accepted: FOLDERS,
        holds: |host| host.chunkserver.data_dirs.as_ref().is_none_or(|dirs| are_disks(dirs)),
    },
    HostRule {
        key: "tasktracker.address",
        accepted: ADDRESS,
        holds: |host| host.tasktracker.address.as_ref().is_none_or(|text| is_address(text)),
    },
    HostRule {
        key: "tasktracker.listen",
        accepted: LISTEN,
        holds: |host| is_listener(host.tasktracker.listen.as_deref()),
    },
    HostRule {
        key: "tasktracker.data_dir",
        accepted: FOLDER,
        holds: |host| host.tasktracker.data_dir.as_ref().is_none_or(|dir| dir.is_absolute()),
    },
    HostRule {
        key: "tasktracker.local_dirs",
        accepted: LOCAL_FOLDERS,
        holds: |host| host.tasktracker.local_dirs.as_ref().is_none_or(|dirs| are_local(dirs)),
    },
];

/// What the key of an entry accepts.
pub(crate) fn accepted_form(key: &str) -> &'static str {
    let host_key = key.split_once("].").map_or("", |(_, host_key)| host_key);
    let rule = HOST_RULES.iter().find(|rule| rule.key == host_key);
    rule.map_or("the keys of a host: {name: host-1}", |rule| rule.accepted)
}

/// The first entry that breaks a rule.
pub(crate) fn first_refused(config: &Config) -> Option<Fault> {
    config.hosts.iter().enumerate().find_map(|(index, host)| {
        let broken = HOST_RULES.iter().find(|rule| !(rule.holds)(host))?;
        Some(Fault::Refused { key: format!("hosts[{index}].{}", broken.key) })
    })
}
