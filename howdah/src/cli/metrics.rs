//! `howdah metrics`: the page of all metrics, made from the lists in the daemons' code.

use std::fmt::Write as _;

use clap::Args;
use daemon::{COMMON_METRICS, MetricFamily, MetricKind, MetricLabel};
use serde_json::{Value, json};

use super::{Format, Global};

/// Arguments of `metrics`.
#[derive(Debug, Args)]
#[command(arg(super::idle_config()))]
pub(crate) struct MetricsArgs {}

/// Who serves what: the label `daemon`, absent for what all serve; and a heading.
const DAEMONS: [(Option<&str>, &str, &[MetricFamily]); 5] = [
    (None, "Every daemon", COMMON_METRICS),
    (Some("jobtracker"), "JobTracker", jobtracker::METRICS),
    (Some("tasktracker"), "TaskTracker", tasktracker::METRICS),
    (Some("chunkmaster"), "Chunk master", chunkstore::master::METRICS),
    (Some("chunkserver"), "Chunkserver", chunkstore::server::METRICS),
];

/// Prints Markdown, or a list of objects.
pub(crate) fn run(_args: &MetricsArgs, global: &Global) -> anyhow::Result<()> {
    match global.format {
        Format::Table => crate::say::tell!("{}", page().trim_end()),
        Format::Json | Format::Yaml => {
            let mut all = Vec::new();
            for (daemon, _, families) in DAEMONS {
                all.extend(families.iter().map(|family| object(daemon, family)));
            }
            global.format.print(&all)?;
        }
    }
    Ok(())
}

fn page() -> String {
    let mut page = "# Metrics\n\nEverything that `/metrics` of the daemons tells, as `howdah metrics` prints it. \
                    Prometheus adds the labels `job`, `instance`, `daemon`, `host` and `rack` of the target.\n"
        .to_owned();
    for (_, heading, families) in DAEMONS {
        let _ = write!(
            page,
            "\n## {heading}\n\n| metric | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n"
        );
        for family in families {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {} |",
                family.name,
                word(family.kind),
                family.unit().unwrap_or("–"),
                labels(family.labels),
                family.help
            );
        }
    }
    page
}

fn labels(labels: &[MetricLabel]) -> String {
    let one = |label: &MetricLabel| match label.values {
        [] => format!("`{}`", label.name),
        values => format!("`{}`: {}", label.name, values.join(", ")),
    };
    match labels {
        [] => "–".to_owned(),
        labels => labels.iter().map(one).collect::<Vec<_>>().join("; "),
    }
}

fn object(daemon: Option<&str>, family: &MetricFamily) -> Value {
    let labels: serde_json::Map<_, _> =
        family.labels.iter().map(|label| (label.name.to_owned(), json!(label.values))).collect();
    json!({
        "daemon": daemon,
        "name": family.name,
        "type": word(family.kind),
        "unit": family.unit(),
        "labels": labels,
        "help": family.help,
    })
}

fn word(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    }
}
