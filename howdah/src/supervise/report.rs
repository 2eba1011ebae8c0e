//! What the demo prints at its end.

use std::fmt;
use std::io::{self, Write as _};
use std::time::Duration;

use mapreduce_protocol::{JobStatus, TaskCounts};
use serde_json::json;

use crate::cli::Format;

/// The job's result and how it went.
pub(super) struct Report {
    /// The job at its end.
    pub(super) status: JobStatus,
    /// From the accepted submit to SUCCEEDED.
    pub(super) wall_time: Duration,
    /// The most frequent words, where words were counted.
    pub(super) top: Option<Vec<(String, u64)>>,
}

impl Report {
    /// To standard output.
    pub(super) fn print(&self, format: Format) -> anyhow::Result<()> {
        let document = format.text_of(&self.document())?;
        let text = document.unwrap_or_else(|| self.to_string());
        // An error, not an exit: the cluster is still to be stopped.
        crate::say::quiet_if_closed(io::stdout().write_all(text.as_bytes()))
    }

    fn document(&self) -> serde_json::Value {
        let words = self.top.as_ref().map(|top| {
            let word = |(word, count): &(String, u64)| json!({"word": word, "count": count});
            top.iter().map(word).collect::<Vec<_>>()
        });
        json!({
            "top": words,
            "wall_time_seconds": self.wall_time.as_secs_f64(),
            "node_local_share": self.node_local_share(),
            "job": self.status,
        })
    }

    /// Share of the map attempts that ran on a host with their data.
    fn node_local_share(&self) -> Option<f64> {
        let TaskCounts { node_local, rack_local, off_rack, .. } = self.status.maps;
        let all = node_local + rack_local + off_rack;
        (all > 0).then(|| f64::from(node_local) / f64::from(all))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, count) in self.top.iter().flatten() {
            writeln!(f, "{count:>12}  {word}")?;
        }
        if self.top.is_some() {
            writeln!(f)?;
        }
        let JobStatus { id, state, maps, reduces, input_bytes, .. } = &self.status;
        writeln!(f, "{id} {} in {:.3} s", state.as_str(), self.wall_time.as_secs_f64())?;
        writeln!(f, "maps        {}", maps.total)?;
        writeln!(f, "reduces     {}", reduces.total)?;
        writeln!(f, "bytes       {input_bytes} ({})", indicatif::BinaryBytes(*input_bytes))?;
        if let Some(share) = self.node_local_share() {
            writeln!(f, "node-local  {:.0} % of the maps", share * 100.0)?;
        }
        writeln!(
            f,
            "attempts    {} ({} failed, {} killed)",
            maps.attempts + reduces.attempts,
            maps.failed_attempts + reduces.failed_attempts,
            maps.killed_attempts + reduces.killed_attempts
        )
    }
}
