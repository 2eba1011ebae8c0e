//! `--set KEY=VALUE`, for `dev` and `demo`.

use clap::Args;

use crate::exit::OrEarly;

/// The flag.
#[derive(Clone, Debug, Args)]
pub(crate) struct Overrides {
    /// Set a configuration key, like tasktracker.slots=2; may be repeated. `dev` keeps it in its
    /// DIR/cluster.yaml, for later starts too; `demo` forgets it
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Overrides {
    /// Keys and values, in the order given.
    pub(crate) fn parsed(&self) -> anyhow::Result<Vec<(String, String)>> {
        self.set
            .iter()
            .map(|text| config::parse_override(text))
            .collect::<Result<_, _>>()
            .or_early()
    }
}
