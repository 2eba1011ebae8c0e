//! HDFS as a peer: a name-node and two data-nodes of `bench/peers/hdfs_mini.sh`, which stop when this is
//! dropped. Needs Java and a folder of Hadoop's jars; where there are none, nothing is compared.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::files::settle;

/// A running one.
pub(super) struct Hdfs {
    jars: PathBuf,
    dir: PathBuf,
}

impl Hdfs {
    /// Starts one with its data in `scratch`, if there are `jars`.
    ///
    /// # Errors
    /// When it doesn't start.
    pub(super) fn start(jars: Option<&Path>, scratch: &Path) -> anyhow::Result<Option<Self>> {
        let Some(jars) = jars else { return Ok(None) };
        let hdfs = Self { jars: jars.canonicalize()?, dir: scratch.join("hdfs") };
        hdfs.run(&["build"])?;
        hdfs.run(&["start"])?;
        Ok(Some(hdfs))
    }

    /// MB/s of a put, as its client measures it.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn put(&self, file: &Path, replication: u32) -> anyhow::Result<f64> {
        let file = file.to_str().context("the scratch folder's name is no UTF-8")?;
        self.rate(&["bench", "put", file, "/file", &replication.to_string()])
    }

    /// MB/s of a get of what was put last.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn get(&self) -> anyhow::Result<f64> {
        self.rate(&["bench", "get", "/file"])
    }

    fn rate(&self, arguments: &[&str]) -> anyhow::Result<f64> {
        settle();
        let said = self.run(arguments)?;
        let rate = said.lines().find_map(|line| {
            let (before, _) = line.split_once(" MB/s")?;
            before.rsplit(' ').next()?.parse().ok()
        });
        rate.with_context(|| format!("no rate in what HDFS said: {said}"))
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let script = tests::binary::root().join("bench/peers/hdfs_mini.sh");
        let mut command = Command::new(script);
        command.args(arguments).env("HADOOP_JARS", &self.jars).env("HDFS_DIR", &self.dir);
        // What it starts keeps standard output open.
        let (out, err) = (self.dir.with_extension("out"), self.dir.with_extension("err"));
        let ended = command
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&out)?)
            .stderr(std::fs::File::create(&err)?)
            .status()?;
        let (said, wrong) = (std::fs::read_to_string(out)?, std::fs::read_to_string(err)?);
        anyhow::ensure!(ended.success(), "{command:?}: {ended}: {wrong}");
        Ok(said)
    }
}

impl Drop for Hdfs {
    fn drop(&mut self) {
        if let Err(error) = self.run(&["stop"]) {
            eprintln!("{error:#}");
        }
    }
}
