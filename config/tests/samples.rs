//! The sample files that users copy are the reference of the keys: these tests hold them to the
//! model. `howdah.yaml` has every key, commented, with its default; `five-hosts.yaml` loads.

use std::path::{Path, PathBuf};

use config::Config;
use serde_yaml::Value;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Dotted keys of all that is no section.
fn leaves(value: &Value, above: &str, into: &mut Vec<String>) {
    for (key, value) in value.as_mapping().into_iter().flatten() {
        let key = key.as_str().unwrap_or_default();
        let path = if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") };
        if value.is_mapping() {
            leaves(value, &path, into);
        } else {
            into.push(path);
        }
    }
}

fn sorted_leaves(value: &Value) -> Vec<String> {
    let mut all = Vec::new();
    leaves(value, "", &mut all);
    all.sort();
    all
}

#[test]
fn the_reference_file_holds_every_key_with_its_default() {
    let text = std::fs::read_to_string(sample("howdah.yaml")).unwrap();
    let written: Value = serde_yaml::from_str(&text).unwrap();
    let model = serde_yaml::to_value(Config::default()).unwrap();
    assert_eq!(sorted_leaves(&written), sorted_leaves(&model));
    assert_eq!(config::load(sample("howdah.yaml"), &[]).unwrap(), Config::default());
}

#[test]
fn every_key_of_the_reference_file_has_a_comment_of_one_to_three_lines_above_it() {
    let text = std::fs::read_to_string(sample("howdah.yaml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut keys = 0;
    for (index, line) in lines.iter().enumerate() {
        let is_comment = |line: &&&str| line.trim_start().starts_with('#');
        if line.trim().is_empty() || is_comment(&line) {
            continue;
        }
        keys += 1;
        let above = lines[..index].iter().rev().take_while(is_comment).count();
        assert!((1..=3).contains(&above), "line {}, {line:?}, has {above} lines above", index + 1);
    }
    let model = serde_yaml::to_value(Config::default()).unwrap();
    let sections = model.as_mapping().unwrap().values().filter(|value| value.is_mapping()).count();
    assert_eq!(keys, sorted_leaves(&model).len() + sections, "one key a line");
}

#[test]
fn every_key_of_the_model_has_an_accepted_form() {
    let mut keys = sorted_leaves(&serde_yaml::to_value(Config::default()).unwrap());
    let host = serde_yaml::to_value(config::Host::named("host-1")).unwrap();
    keys.extend(sorted_leaves(&host).iter().map(|key| format!("hosts[0].{key}")));
    let store = serde_yaml::to_value(config::Store::named("s3://bucket")).unwrap();
    keys.extend(sorted_leaves(&store).iter().map(|key| format!("stores[0].{key}")));
    let unknown = config::accepted_form("no.such.key");
    let unknown_of_store = config::accepted_form("stores[0].no_such_key");
    let unknown_of_host = config::accepted_form("hosts[0].no_such_key");
    for key in keys {
        let form = config::accepted_form(&key);
        assert!(
            form != unknown && form != unknown_of_host && form != unknown_of_store,
            "{key} has no row in rules.rs"
        );
    }
}

#[test]
fn the_example_of_five_hosts_loads_and_spreads_over_two_racks() {
    let config = config::load(sample("five-hosts.yaml"), &[]).unwrap();
    assert_eq!(config.hosts.len(), 4);
    let last = config.host("host-4").unwrap();
    assert_eq!(last.rack, "/room-1/rack-2");
    let folders = [2, 3].map(|n| PathBuf::from(format!("/mnt/disk-{n}/howdah-chunks")));
    assert_eq!(last.chunkserver_dirs, folders);
    assert_eq!(last.tasktracker_address, "host-4.example.org:7881");
}

#[test]
fn the_printed_configuration_reads_back_the_same() {
    for name in ["howdah.yaml", "five-hosts.yaml"] {
        let config = config::load(sample(name), &[]).unwrap();
        let printed = config.to_yaml();
        assert_eq!(config::parse(&printed, "printed", &[]).unwrap(), config, "{printed}");
    }
}
