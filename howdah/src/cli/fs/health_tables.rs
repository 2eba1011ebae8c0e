//! How `fs report` and `fs fsck` look as text.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use chunkstore_protocol::{
    BalanceReport, ChunkFault, ChunkHealth, ClusterReport, FileHealth, Liveness, RepairCause,
    RepairState, ReplicaState, ServerReport,
};

use crate::say::{plain, quiet_if_closed};

/// Above the chunkservers.
const HEAD: [&str; 7] = ["HOST", "RACK", "ADDRESS", "STATE", "REPLICAS", "FREE", "OF"];

/// Like `1.5 GiB`.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = (n.max(1).ilog2() / 10) as usize;
    match unit.checked_sub(1).map(|unit| unit.min(UNITS.len() - 1)) {
        None => format!("{n} B"),
        #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
        Some(unit) => {
            format!("{:.1} {}", n as f64 / (1_u64 << (10 * (unit + 1))) as f64, UNITS[unit])
        }
    }
}

/// Lines of cells, each column as wide as its widest cell.
fn table(rows: &[Vec<String>]) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

/// What people see of it.
pub(super) fn text_of_report(report: &ClusterReport) -> String {
    let mut text = String::new();
    if let Some(outdated) = report.safe_mode.as_ref().and_then(|it| it.journal_outdated.as_ref()) {
        let _ = writeln!(text, "safe mode: {outdated}");
    } else if let Some(safe_mode) = &report.safe_mode {
        let awaited: Vec<&str> = safe_mode.awaited.iter().map(ids::HostName::as_str).collect();
        let _ = writeln!(
            text,
            "safe mode: nothing changes for {} s at most, until it is known what {} hold(s)",
            safe_mode.seconds_left,
            awaited.join(", ")
        );
    }
    let totals = &report.totals;
    let _ = writeln!(
        text,
        "{} files, {} folders, {} chunks; {} chunkservers live, {} dead; {} free of {}",
        totals.files,
        totals.folders,
        totals.chunks,
        totals.servers_live,
        totals.servers_dead,
        bytes(totals.free_bytes),
        bytes(totals.capacity_bytes)
    );
    let _ = writeln!(text, "{}", repairs(report));
    let _ = writeln!(text, "{}", balance(&report.balance));
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    for server in &report.servers {
        rows.push(server_row(server));
        rows.extend(disk_rows(server));
    }
    let _ = write!(text, "\n{}", table(&rows));
    report.servers.iter().filter_map(unreached).for_each(|line| text.push_str(&line));
    let copies = [("repair", &report.repairs.running), ("balance", &report.balance.running)];
    if copies.iter().any(|(_, running)| !running.is_empty()) {
        let mut rows = vec![["CHUNK", "FROM", "TO", "SIZE", "FOR"].map(str::to_owned).to_vec()];
        for (purpose, running) in copies {
            rows.extend(running.iter().map(|copy| {
                let (from, to) = (copy.from.to_string(), copy.to.to_string());
                vec![copy.chunk.to_string(), from, to, bytes(copy.bytes), purpose.to_owned()]
            }));
        }
        let _ = write!(text, "\n{}", table(&rows));
    }
    text
}

fn repairs(report: &ClusterReport) -> String {
    let repairs = &report.repairs;
    let mut parts: Vec<String> = repairs
        .waiting
        .iter()
        .map(|waiting| match waiting.why {
            RepairCause::Broken => {
                format!("{} wait to be put together from broken replicas", waiting.chunks)
            }
            RepairCause::Under { live } => {
                format!("{} wait with {live} live replica(s)", waiting.chunks)
            }
            RepairCause::Draining => format!("{} wait on draining servers", waiting.chunks),
            RepairCause::MisReplicated => format!("{} wait on one rack", waiting.chunks),
        })
        .collect();
    parts.push(format!("{} being copied", repairs.n_running));
    if repairs.retrying > 0 {
        parts.push(format!("{} to be tried again", repairs.retrying));
    }
    parts.push(format!("{} without a live replica", repairs.chunks_missing));
    let sweeping = if repairs.sweeping { "; still looking" } else { "" };
    format!("chunks: {}{sweeping}", parts.join(", "))
}

/// Like `balance: 1 chunkserver(s) fuller than others, 2 emptier; 2 chunks being moved, then 1.5 GiB more`.
fn balance(balance: &BalanceReport) -> String {
    let BalanceReport { servers_over, servers_under, bytes_left, n_running, .. } = balance;
    if servers_over + servers_under + n_running == 0 {
        return "balance: all chunkservers are as full as the others".to_owned();
    }
    format!(
        "balance: {servers_over} chunkserver(s) fuller than others, {servers_under} emptier; {n_running} chunks \
         being moved, then {} more",
        bytes(*bytes_left)
    )
}

fn server_row(server: &ServerReport) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut state = match server.liveness {
        Liveness::Live => "live".to_owned(),
        Liveness::Reporting => "reporting".to_owned(),
        Liveness::Awaited => "awaited".to_owned(),
        Liveness::Dead { seconds } => format!("dead for {seconds} s"),
    };
    match server.drain {
        Some(left) if left.is_done() => state += ", drained",
        Some(left) if left.counted => {
            let _ = write!(
                state,
                ", draining: {} chunks left, {}",
                left.chunks_left,
                bytes(left.bytes_left)
            );
        }
        Some(_) => state += ", draining",
        None => {}
    }
    if server.orphans > 0 {
        let _ = write!(state, ", {} orphans", server.orphans);
    }
    vec![
        server.host.to_string(),
        or_dash(server.rack.as_ref().map(ToString::to_string)),
        or_dash(server.address.clone()),
        state,
        server.replicas.to_string(),
        bytes(server.free_bytes),
        bytes(server.capacity_bytes),
    ]
}

/// A chunkserver, as it stands in the report.
pub(in crate::cli) fn text_of_server(server: &ServerReport) -> String {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec(), server_row(server)];
    rows.extend(disk_rows(server));
    table(&rows) + &unreached(server).unwrap_or_default()
}

/// What the chunk master knows of a server that it does not reach, and what to do.
fn unreached(server: &ServerReport) -> Option<String> {
    let (host, why) = (&server.host, server.unreached.as_ref()?);
    let address = server.address.as_deref().unwrap_or_default();
    let remedy = daemon::reach_remedy("chunkserver", host, address);
    Some(format!("{host} is not reached by the chunk master {why}; {remedy}\n"))
}

/// Of servers with several disks, or a failed one.
fn disk_rows(server: &ServerReport) -> impl Iterator<Item = Vec<String>> {
    let is_told = server.disks.len() > 1 || server.disks.iter().any(|disk| disk.failed.is_some());
    server.disks.iter().filter(move |_| is_told).map(|disk| {
        let state = disk.failed.as_ref().map_or("works".to_owned(), |why| format!("failed: {why}"));
        vec![
            String::new(),
            String::new(),
            disk.path.clone(),
            state,
            disk.replicas.to_string(),
            bytes(disk.free_bytes),
            bytes(disk.capacity_bytes),
        ]
    })
}

pub(super) fn show_faults(files: &[FileHealth]) -> anyhow::Result<()> {
    let mut text = String::new();
    for file in files {
        let _ = writeln!(text, "{}", plain(file.path.as_str()));
        for chunk in &file.chunks {
            let _ = writeln!(text, "  {}", chunk_line(chunk));
        }
    }
    quiet_if_closed(io::stdout().lock().write_all(text.as_bytes()))
}

/// Like `chunk 3 (00000000000000a1, 64.0 MiB) under, wants 3: host-1 good, host-2 dead for 12 s; waiting`.
fn chunk_line(chunk: &ChunkHealth) -> String {
    let fault = match chunk.fault {
        ChunkFault::Missing => "missing",
        ChunkFault::Corrupt => "corrupt",
        ChunkFault::Under => "under",
        ChunkFault::Over => "over",
        ChunkFault::MisReplicated => "mis-replicated",
    };
    let replica = |state| match state {
        ReplicaState::Good => "good".to_owned(),
        ReplicaState::Draining => "good, draining".to_owned(),
        ReplicaState::Dead { seconds } => format!("dead for {seconds} s"),
        ReplicaState::Stale => "stale".to_owned(),
        ReplicaState::Broken => "found it broken or gone".to_owned(),
    };
    let mut replicas: Vec<String> =
        chunk.replicas.iter().map(|of| format!("{} {}", of.host, replica(of.state))).collect();
    if replicas.is_empty() {
        replicas.push("no server has told of it since the chunk master started".to_owned());
    }
    let repair = match &chunk.repair {
        RepairState::None => String::new(),
        RepairState::Waiting => "; waits to be copied".to_owned(),
        RepairState::Copying { from, to } => format!("; being copied from {from} to {to}"),
    };
    format!(
        "chunk {} ({}, {}) {fault}, wants {}: {}{repair}",
        chunk.index,
        chunk.chunk,
        bytes(chunk.bytes),
        chunk.wanted,
        replicas.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_and_one_digit() {
        for (n, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(bytes(n), expected);
        }
    }

    #[test]
    fn a_bad_chunks_line_names_the_servers_and_why() {
        use chunkstore_protocol::{ChunkId, ReplicaHealth};
        let replica = |host: &str, state| ReplicaHealth { host: host.parse().unwrap(), state };
        let mut chunk = ChunkHealth {
            chunk: ChunkId(0xa1),
            index: 3,
            bytes: 64 << 20,
            wanted: 3,
            fault: ChunkFault::Under,
            replicas: vec![
                replica("host-1", ReplicaState::Good),
                replica("host-2", ReplicaState::Dead { seconds: 12 }),
            ],
            repair: RepairState::Waiting,
        };
        let expected = "chunk 3 (00000000000000a1, 64.0 MiB) under, wants 3: host-1 good, \
                        host-2 dead for 12 s; waits to be copied";
        assert_eq!(chunk_line(&chunk), expected);
        (chunk.fault, chunk.replicas, chunk.repair) =
            (ChunkFault::Missing, Vec::new(), RepairState::None);
        assert!(chunk_line(&chunk).ends_with("since the chunk master started"));
    }
}
