//! The table of what was measured, against which goal, by which command.

use std::fmt;
use std::path::Path;

/// Rows of measurements.
pub(crate) struct Report {
    rows: Vec<Row>,
}

struct Row {
    what: String,
    measured: String,
    goal: String,
    met: bool,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(
        &mut self,
        what: impl Into<String>,
        measured: impl Into<String>,
        goal: impl Into<String>,
        met: bool,
    ) {
        let row = Row { what: what.into(), measured: measured.into(), goal: goal.into(), met };
        eprintln!("{}: {} (goal: {})", row.what, row.measured, row.goal);
        self.rows.push(row);
    }

    /// Prints the table, and keeps it in `file` if there is one.
    ///
    /// # Errors
    /// When that can't be written.
    pub(crate) fn give(&self, file: Option<&Path>) -> std::io::Result<()> {
        println!("{self}");
        file.map_or(Ok(()), |file| std::fs::write(file, self.to_string()))
    }

    /// Whether every goal is met.
    pub(crate) fn all_met(&self) -> bool {
        self.rows.iter().all(|row| row.met)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        writeln!(f, "`cargo run --release -p bench -- {}`", arguments.join(" "))?;
        writeln!(f, "\nMachine: {processors} processors, {}.\n", std::env::consts::ARCH)?;
        writeln!(f, "| what | measured | goal | met |\n| --- | --- | --- | --- |")?;
        for Row { what, measured, goal, met } in &self.rows {
            let met = if *met { "yes" } else { "**no**" };
            writeln!(f, "| {what} | {measured} | {goal} | {met} |")?;
        }
        Ok(())
    }
}
