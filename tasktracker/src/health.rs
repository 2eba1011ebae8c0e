//! Examines the host, again and again: whether its disk takes a file and has room, how much memory is left, and what the
//! operator's own command says. Whether that is bad is the core's.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tasktracker_core::{Finding, Input, Limits};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::meter;
use crate::process::{Executable, Spawner};

/// Written to the disk, synced and removed, each time.
const PROBE: &[u8] = &[0x5a; 4096];
/// Name of the file that is written.
const PROBE_NAME: &str = "health.probe";
/// Bytes of a health command's output that are read; more of it is thrown away.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;
/// Lines of its output that begin so are complaints (Hadoop: `NodeHealthScriptRunner`).
const COMPLAINT: &str = "ERROR";

/// What is examined, and how often.
#[derive(Clone, Debug)]
pub struct HealthSettings {
    /// Time between two looks at disk and memory; and how long the disk may take to answer, if that is longer than
    /// [`Self::timeout`].
    pub interval: Duration,
    /// The operator's command, run by `/bin/sh -c`.
    pub command: Option<String>,
    /// Time between two runs of the command.
    pub command_interval: Duration,
    /// How long disk and command may take.
    pub timeout: Duration,
}

/// Looks at the disk of `folder`.
pub(crate) async fn examine_disk(folder: PathBuf, patience: Duration) -> Finding {
    let path = folder.display().to_string();
    let probe = tokio::task::spawn_blocking(move || probe(&folder));
    let free = match timeout(patience, probe).await {
        Ok(Ok(free)) => free.map_err(|error| error.to_string()),
        Ok(Err(panicked)) => Err(panicked.to_string()),
        Err(_) => Err(format!("it has not answered for {patience:?}")),
    };
    Finding::Disk { path, free }
}

/// Writes a small file and removes it; the free bytes of its disk. A full disk is none that fails.
fn probe(folder: &Path) -> io::Result<u64> {
    let path = folder.join(PROBE_NAME);
    let write = || {
        let mut file = File::create(&path)?;
        file.write_all(PROBE)?;
        file.sync_data()
    };
    let written = write();
    let removed = std::fs::remove_file(&path);
    match written.and(removed) {
        Err(error) if error.kind() != io::ErrorKind::StorageFull => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail * disk.f_frsize)
}

/// Looks at disk and memory for as long as somebody listens.
pub(crate) async fn watch_disk_and_memory(
    settings: HealthSettings,
    folder: PathBuf,
    inputs: mpsc::Sender<Input>,
) {
    loop {
        tokio::time::sleep(settings.interval).await;
        let disk = examine_disk(folder.clone(), settings.timeout).await;
        let memory = meter::available_memory().map(|available| Finding::Memory { available });
        for finding in [Some(disk), memory].into_iter().flatten() {
            if inputs.send(Input::Examined(finding)).await.is_err() {
                return;
            }
        }
    }
}

/// Runs the health command, if there is one, for as long as somebody listens.
pub(crate) async fn watch_command(
    settings: HealthSettings,
    folder: PathBuf,
    spawner: Spawner,
    inputs: mpsc::Sender<Input>,
) {
    let Some(command) = settings.command else { return };
    loop {
        let said = ask(&spawner, &command, &folder, settings.timeout).await;
        let finding = Finding::Command { command: command.clone(), said };
        if inputs.send(Input::Examined(finding)).await.is_err() {
            return;
        }
        tokio::time::sleep(settings.command_interval).await;
    }
}

/// Runs the command to its end; the complaint, if there is one.
async fn ask(
    spawner: &Spawner,
    command: &str,
    folder: &Path,
    patience: Duration,
) -> Result<(), String> {
    let executable = Executable {
        path: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), command.to_owned()],
        folder: folder.to_owned(),
        environment: Vec::new(),
        group: None,
        limits: Limits::NONE,
        uid: None,
    };
    let process = spawner.spawn(executable).await;
    let process = process.map_err(|error| format!("it can't be run: {error}"))?;
    let log = process.log;
    let output = tokio::task::spawn_blocking(move || read(log));
    match timeout(patience, process.exit).await {
        Ok(Ok(status)) => verdict(&output.await.unwrap_or_default(), status),
        Ok(Err(_)) => Err("it could not be waited for".to_owned()),
        // Its leash ends it.
        Err(_) => Err(format!("it has not ended within {patience:?}")),
    }
}

/// The beginning of what it writes, to its end.
fn read(mut log: io::PipeReader) -> String {
    let mut output = Vec::new();
    // What can't be read is as if it were not written.
    let _ = log.by_ref().take(OUTPUT_BYTES_MAX).read_to_end(&mut output);
    let _ = io::copy(&mut log, &mut io::sink());
    String::from_utf8_lossy(&output).into_owned()
}

/// A complaint is a line that says so, or a failed command.
fn verdict(output: &str, status: ExitStatus) -> Result<(), String> {
    if let Some(complaint) = output.lines().find(|line| line.starts_with(COMPLAINT)) {
        return Err(complaint.to_owned());
    }
    if status.success() {
        return Ok(());
    }
    let last = output.lines().rev().find(|line| !line.trim().is_empty());
    Err(last.map_or_else(|| status.to_string(), |last| format!("{status}: {last}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    async fn says(command: &str, patience: Duration) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        ask(&Spawner::start().unwrap(), command, folder.path(), patience).await
    }

    #[tokio::test]
    async fn a_command_complains_by_a_line_or_by_its_exit_status() {
        for (command, expected) in [
            ("true", Ok(())),
            ("echo all is well; echo this is no ERROR", Ok(())),
            (
                "echo well; echo ERROR the fan stands still; echo more",
                Err("ERROR the fan stands still"),
            ),
            ("echo why >&2; exit 3", Err("exit status: 3: why")),
            ("no-such-program-anywhere", Err("not found")),
        ] {
            match (says(command, PATIENCE).await, expected) {
                (Ok(()), Ok(())) => {}
                (Err(said), Err(part)) => assert!(said.contains(part), "{command}: {said}"),
                (said, expected) => panic!("{command}: {said:?}, not {expected:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_ended_and_one_that_talks_without_end_does_end() {
        let said = says("sleep 1000", Duration::from_millis(300)).await.unwrap_err();
        assert!(said.contains("has not ended within 300ms"), "{said}");
        assert_eq!(says("head -c 10000000 /dev/zero", PATIENCE).await, Ok(()));
    }

    #[tokio::test]
    async fn a_disk_tells_its_room_and_a_folder_that_is_gone_fails() {
        let folder = tempfile::tempdir().unwrap();
        let finding = examine_disk(folder.path().to_owned(), PATIENCE).await;
        let Finding::Disk { free, .. } = finding else { panic!("{finding:?}") };
        assert!(free.unwrap() > 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing stays");
        let finding = examine_disk(folder.path().join("gone"), PATIENCE).await;
        assert!(matches!(finding, Finding::Disk { free: Err(_), .. }), "{finding:?}");
    }
}
