//! What is shipped for Prometheus and Grafana, read as they read it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use crate::binary::root;

/// The folder.
#[must_use]
pub fn folder() -> PathBuf {
    root().join("dashboards")
}

/// A file of it.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn read(path: &str) -> String {
    let path = folder().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a folder in it with this ending, sorted.
///
/// # Panics
/// When the folder is not there.
#[must_use]
pub fn files(folder_name: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder().join(folder_name)).expect("the folder stands");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let has_ending = |path: &PathBuf| path.extension().is_some_and(|it| it == ending);
    let mut files: Vec<PathBuf> = paths.filter(has_ending).collect();
    files.sort();
    files
}

/// A Grafana dashboard.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// The file's name without its ending.
    pub name: String,
    /// Its contents.
    pub json: Value,
}

/// All of them.
///
/// # Panics
/// When one is no JSON.
#[must_use]
pub fn dashboards() -> Vec<Dashboard> {
    let dashboard = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a file of text");
        let json =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.file_stem().and_then(OsStr::to_str).expect("a name").to_owned();
        Dashboard { name, json }
    };
    files("grafana/dashboards", "json").iter().map(dashboard).collect()
}

impl Dashboard {
    /// Its panels, without the rows that they stand in.
    ///
    /// # Panics
    /// When it has no list of them.
    #[must_use]
    pub fn panels(&self) -> Vec<&Value> {
        let panels = self.json["panels"].as_array().expect("a list of panels");
        panels.iter().filter(|panel| panel["type"] != "row").collect()
    }

    /// The expressions of its panels, each with the title of its panel.
    #[must_use]
    pub fn expressions(&self) -> Vec<(String, String)> {
        let of = |panel: &&Value| {
            let title = panel["title"].as_str().unwrap_or_default().to_owned();
            let targets = panel["targets"].as_array().cloned().unwrap_or_default();
            let expressions = targets
                .into_iter()
                .filter_map(|target| Some((title.clone(), target["expr"].as_str()?.to_owned())));
            expressions.collect::<Vec<_>>()
        };
        self.panels().iter().flat_map(of).collect()
    }
}

/// A rule of Prometheus, recording or alerting.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What it records.
    pub record: Option<String>,
    /// What it alerts of.
    pub alert: Option<String>,
    /// The expression.
    pub expr: String,
    /// How long it must hold.
    #[serde(rename = "for")]
    pub held_for: Option<String>,
    /// Further labels of an alert.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What people are told of it.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<RuleGroup>,
}

#[derive(Deserialize)]
struct RuleGroup {
    rules: Vec<Rule>,
}

/// All rules that are shipped.
///
/// # Panics
/// When a file of them is none.
#[must_use]
pub fn rules() -> Vec<Rule> {
    let rules = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a file of text");
        let file: RuleFile =
            serde_yaml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        file.groups.into_iter().flat_map(|group| group.rules)
    };
    files("prometheus/rules", "yml").into_iter().flat_map(rules).collect()
}
