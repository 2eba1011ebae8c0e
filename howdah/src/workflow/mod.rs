//! Workflows: several jobs of one file, with what each waits for, and loops of them until a counter says stop. What
//! is written, and what may run next, is decided here by pure functions (`file`, `plan`, `text`); `folder` keeps what was
//! done where any client finds it, `mended` says what may change of it, and `drive` runs what may. `howdah workflow` calls them.

mod calls;
mod drive;
mod file;
mod folder;
mod line_of;
mod mended;
mod plan;
mod text;

pub(crate) use drive::{Driver, Engine, local_runs, rehearsed, shipped_of_all};
pub(crate) use file::{WorkflowFile, parse_variable};
pub(crate) use folder::{LAYOUT, RUNS, RunFolder, Saved, StoredRun};
pub(crate) use mended::same_where_done;
pub(crate) use plan::{Execution, Plan, RunNames};
