//! Examines the host, again and again: whether its disks take a file and have room, how much memory is left, and what the
//! operator's own command says. Whether that is bad is the core's.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tasktracker_core::{DiskNumber, Finding, Input, Limits};
use tokio::sync::oneshot::error::{RecvError, TryRecvError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;

use crate::folder::{DataFolder, Failing};
use crate::meter;
use crate::process::{Executable, Leash, Process, Spawner};

/// Written to the disk, synced and removed, each time.
const PROBE: &[u8] = &[0x5a; 4096];
/// Name of the file that is written.
const PROBE_NAME: &str = "health.probe";
/// How long a disk on which an attempt has failed may take to answer.
const BLAME_PATIENCE: Duration = Duration::from_secs(5);
/// How long one may take to say how much room it has, and no more.
const ROOM_PATIENCE: Duration = Duration::from_millis(500);
/// Bytes of a health command's output that are read; more of it is thrown away.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;
/// Lines of its output that begin so are complaints (Hadoop: `NodeHealthScriptRunner`).
const COMPLAINT: &str = "ERROR";

/// What is examined, and how often.
#[derive(Clone, Debug)]
pub struct HealthSettings {
    /// Time between two looks at disk and memory.
    pub interval: Duration,
    /// The operator's command, run by `/bin/sh -c`.
    pub command: Option<String>,
    /// Time between two runs of the command.
    pub command_interval: Duration,
    /// How long disk and command may take.
    pub timeout: Duration,
}

/// Looks at the disk of a folder. Whatever becomes of it, at most one look is under way: on a disk that hangs, another
/// would only hang beside it.
pub(crate) struct Disk {
    folder: PathBuf,
    /// Whether it is the data folder's.
    is_home: bool,
    /// Which it is of those that attempts work on, if it is one.
    local: Option<DiskNumber>,
    patience: Duration,
    look: Look,
    /// The look that has not answered in time.
    late: Option<JoinHandle<io::Result<u64>>>,
}

/// How one looks: [`probe`], but for tests.
type Look = Arc<dyn Fn(&Path) -> io::Result<u64> + Send + Sync>;

impl Disk {
    fn new(folder: PathBuf, patience: Duration) -> Self {
        let (is_home, local) = (false, None);
        Self { folder, is_home, local, patience, look: Arc::new(probe), late: None }
    }

    /// All of a TaskTracker's.
    pub(crate) fn all(folder: &DataFolder, patience: Duration) -> Vec<Self> {
        let home = Self { is_home: true, ..Self::new(folder.root().to_owned(), patience) };
        let mut all = vec![home];
        for (number, root) in folder.disks() {
            match all.iter_mut().find(|disk| disk.folder == root) {
                Some(home) => home.local = Some(number),
                None => {
                    let disk = Self::new(root.to_owned(), patience);
                    all.push(Self { local: Some(number), ..disk });
                }
            }
        }
        all
    }

    /// What there is to tell of it now.
    pub(crate) async fn examine(&mut self) -> Vec<Finding> {
        let free = self.look().await;
        let path = self.folder.display().to_string();
        let home = self.is_home.then(|| Finding::Disk { path, free: free.clone() });
        let local = self.local.map(|disk| Finding::LocalDisk { disk, free });
        home.into_iter().chain(local).collect()
    }

    /// Its free bytes, or what is wrong.
    async fn look(&mut self) -> Result<u64, String> {
        self.ask().await.map_err(|error| error.to_string())
    }

    /// Looks at it, or waits on for the answer to the last look.
    async fn ask(&mut self) -> Result<u64, LookError> {
        let mut looking = self.late.take().unwrap_or_else(|| {
            let (look, folder) = (Arc::clone(&self.look), self.folder.clone());
            tokio::task::spawn_blocking(move || look(&folder))
        });
        match timeout(self.patience, &mut looking).await {
            Ok(Ok(free)) => free.map_err(LookError::Disk),
            Ok(Err(panicked)) => Err(LookError::Panicked(panicked)),
            Err(_) => {
                self.late = Some(looking);
                Err(LookError::Late(self.patience))
            }
        }
    }

    /// What the disk itself says is wrong. That it has not answered yet is no word of its.
    async fn complaint(&mut self) -> Option<String> {
        match self.ask().await {
            Err(LookError::Disk(error)) => Some(error.to_string()),
            Ok(_) | Err(LookError::Panicked(_) | LookError::Late(_)) => None,
        }
    }
}

/// Why nothing is known of a disk's room. Each time in the same words: others would be told as news.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Disk(io::Error),
    #[error(transparent)]
    Panicked(JoinError),
    #[error("it has not answered within {0:?}")]
    Late(Duration),
}

/// What an attempt that failed may have failed for: its disk, if that says so. One that is only slow, [`watch_disk`] has
/// more patience with.
pub(crate) async fn blame(folder: PathBuf, disk: DiskNumber) -> Option<Finding> {
    let complaint = Disk::new(folder, BLAME_PATIENCE).complaint().await?;
    Some(Finding::LocalDisk { disk, free: Err(complaint) })
}

/// How much room a disk has that an attempt has just called full; nothing if it does not say so at once: the attempt's last
/// word waits for it.
pub(crate) async fn room(folder: PathBuf, disk: DiskNumber) -> Option<Finding> {
    let asked = tokio::task::spawn_blocking(move || free_of(&folder));
    let free = timeout(ROOM_PATIENCE, asked).await.ok()?.ok()?.ok()?;
    Some(Finding::Room { disk, free })
}

/// What is known before the first task is asked for. Which disks could not be opened comes first: of the others, the last
/// one is looked at again and again, whatever it says now.
pub(crate) async fn look_first(failing: Vec<Failing>, disks: &mut [Disk]) -> Vec<Finding> {
    let fails = |(disk, message)| Finding::LocalDisk { disk, free: Err(message) };
    let mut findings: Vec<Finding> = failing.into_iter().map(fails).collect();
    for disk in disks {
        findings.extend(disk.examine().await);
    }
    findings
}

/// Writes a small file and removes it; the free bytes of its disk. A full disk is none that fails. It is full if it has no
/// place for another file, however many bytes are free.
fn probe(folder: &Path) -> io::Result<u64> {
    let path = folder.join(PROBE_NAME);
    let write = || {
        let mut file = File::create(&path)?;
        file.write_all(PROBE)?;
        file.sync_data()
    };
    let written = write();
    let removed = remove(&path);
    match written.and(removed) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(0),
        Err(error) => return Err(error),
        Ok(()) => {}
    }
    free_of(folder)
}

/// The free bytes of a folder's disk; none if it takes no more files.
fn free_of(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    let takes_files = disk.f_files == 0 || disk.f_favail > 0;
    Ok(if takes_files { disk.f_bavail * disk.f_frsize } else { 0 })
}

/// Removes a file; that it is gone already is as good.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Looks at a disk for as long as somebody listens, and it is not left.
pub(crate) async fn watch_disk(
    interval: Duration,
    mut disk: Disk,
    folder: Arc<DataFolder>,
    inputs: mpsc::Sender<Input>,
) {
    while disk.is_home || disk.local.is_some_and(|disk| !folder.is_left(disk)) {
        tokio::time::sleep(interval).await;
        for finding in disk.examine().await {
            if inputs.send(Input::Examined(finding)).await.is_err() {
                return;
            }
        }
    }
}

/// Looks at the memory for as long as somebody listens.
pub(crate) async fn watch_memory(interval: Duration, inputs: mpsc::Sender<Input>) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(available) = meter::available_memory() else { continue };
        let finding = Finding::Memory { available };
        if inputs.send(Input::Examined(finding)).await.is_err() {
            return;
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
    let mut health =
        HealthCommand { spawner, command, folder, patience: settings.timeout, last: None };
    loop {
        let said = health.ask().await;
        let finding = Finding::Command { command: health.command.clone(), said };
        if inputs.send(Input::Examined(finding)).await.is_err() {
            return;
        }
        tokio::time::sleep(settings.command_interval).await;
    }
}

/// The command, and what is left of its last run.
struct HealthCommand {
    spawner: Spawner,
    command: String,
    folder: PathBuf,
    patience: Duration,
    last: Option<Run>,
}

impl HealthCommand {
    /// Runs the command to its end; the complaint, if there is one. As long as something of its last run hangs in
    /// the system, it is not run again: each run would leave another process that nobody can end.
    async fn ask(&mut self) -> Result<(), String> {
        if self.last.as_mut().is_some_and(Run::lives) {
            return Err(
                "what it started last was killed and hangs still: it is not run again".to_owned()
            );
        }
        let run = start(&self.spawner, &self.command, &self.folder).await;
        let run = self.last.insert(run.map_err(|error| format!("it can't be run: {error}"))?);
        run.verdict(self.patience).await
    }
}

/// One run of it. What lives of it ends with this, as far as it can be ended.
struct Run {
    exit: oneshot::Receiver<ExitStatus>,
    output: JoinHandle<String>,
    leash: Leash,
}

impl Run {
    /// Waits for its end, and for that of whoever else may write what it writes; what is wrong then, if anything.
    async fn verdict(&mut self, patience: Duration) -> Result<(), String> {
        let end = async {
            let status = (&mut self.exit).await?;
            Ok::<_, RecvError>(((&mut self.output).await.unwrap_or_default(), status))
        };
        match timeout(patience, end).await {
            Ok(Ok((output, status))) => verdict(&output, status),
            Ok(Err(_)) => Err("it could not be waited for".to_owned()),
            Err(_) => {
                self.leash.killer().kill();
                Err(format!("it has not ended within {patience:?}"))
            }
        }
    }

    /// Whether it, or what it has started, lives.
    fn lives(&mut self) -> bool {
        matches!(self.exit.try_recv(), Err(TryRecvError::Empty))
            || !self.output.is_finished()
            || self.leash.killer().group_lives()
    }
}

async fn start(spawner: &Spawner, command: &str, folder: &Path) -> io::Result<Run> {
    let executable = Executable {
        path: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), command.to_owned()],
        folder: folder.to_owned(),
        environment: Vec::new(),
        group: None,
        limits: Limits::NONE,
        uid: None,
        disk: None,
        confinement: None,
    };
    let Process { exit, log, leash, .. } = spawner.spawn(executable).await?;
    let output = tokio::task::spawn_blocking(move || read(log));
    Ok(Run { exit, output, leash })
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
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn health_command(command: &str, folder: &Path, patience: Duration) -> HealthCommand {
        let (spawner, command) = (Spawner::start().unwrap(), command.to_owned());
        HealthCommand { spawner, command, folder: folder.to_owned(), patience, last: None }
    }

    async fn says(command: &str, patience: Duration) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        health_command(command, folder.path(), patience).ask().await
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
    async fn a_command_is_not_run_again_while_something_of_its_last_run_lives() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = health_command("echo ran >>runs", folder.path(), PATIENCE);
        let runs = || std::fs::read_to_string(folder.path().join("runs")).unwrap().lines().count();
        let still = |said: Result<(), String>| said.is_err_and(|said| said.contains("hangs still"));
        // As if it did not end.
        assert_eq!(command.ask().await, Ok(()));
        let (exits, exit) = oneshot::channel();
        command.last.as_mut().unwrap().exit = exit;
        assert!(still(command.ask().await));
        assert_eq!(runs(), 1);
        exits.send(ExitStatus::default()).unwrap();
        // As if another process had its output.
        assert_eq!(command.ask().await, Ok(()));
        let (ends, end) = oneshot::channel();
        let output = tokio::spawn(async { end.await.unwrap() });
        command.last.as_mut().unwrap().output = output;
        assert!(still(command.ask().await));
        assert_eq!(runs(), 2);
        ends.send(String::new()).unwrap();
        while !command.last.as_ref().unwrap().output.is_finished() {
            tokio::task::yield_now().await;
        }
        // As if one of its group hung that has not.
        assert_eq!(command.ask().await, Ok(()));
        let mut other = start(&command.spawner, "exec sleep 1000", folder.path()).await.unwrap();
        std::mem::swap(&mut other.leash, &mut command.last.as_mut().unwrap().leash);
        assert!(still(command.ask().await));
        assert_eq!(runs(), 3);
        command.last.as_ref().unwrap().leash.killer().kill();
        other.exit.await.unwrap();
        assert_eq!(command.ask().await, Ok(()));
        assert_eq!(runs(), 4);
    }

    #[tokio::test]
    async fn the_time_for_a_command_is_for_its_output_too() {
        let folder = tempfile::tempdir().unwrap();
        let spawner = Spawner::start().unwrap();
        let mut run = start(&spawner, "true", folder.path()).await.unwrap();
        run.output = tokio::spawn(std::future::pending());
        let said = timeout(PATIENCE, run.verdict(Duration::from_millis(300))).await.unwrap();
        assert!(said.unwrap_err().contains("has not ended within 300ms"));
        assert!(run.lives());
    }

    #[tokio::test]
    async fn a_disk_tells_its_room_and_a_folder_that_is_gone_fails() {
        let folder = tempfile::tempdir().unwrap();
        let free = Disk::new(folder.path().to_owned(), PATIENCE).look().await;
        assert!(free.unwrap() > 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing stays");
        let room = room(folder.path().to_owned(), DiskNumber(1)).await;
        assert!(matches!(room, Some(Finding::Room { free: 1.., .. })), "{room:?}");
        let gone = folder.path().join("gone");
        assert!(Disk::new(gone.clone(), PATIENCE).look().await.is_err());
        assert_eq!(blame(folder.path().to_owned(), DiskNumber(1)).await, None);
        let blamed = blame(gone, DiskNumber(1)).await;
        assert!(matches!(blamed, Some(Finding::LocalDisk { disk: DiskNumber(1), .. })));
    }

    #[tokio::test]
    async fn a_failed_attempt_blames_its_disk_for_what_it_says_and_not_for_its_silence() {
        let (answers, answer) = std::sync::mpsc::channel();
        let answer = Mutex::new(answer);
        let mut disk = Disk::new("/hangs".into(), Duration::from_millis(10));
        disk.look = Arc::new(move |_: &Path| answer.lock().unwrap().recv().unwrap());
        assert_eq!(disk.complaint().await, None, "it is slow");
        disk.patience = PATIENCE;
        answers.send(Ok(5)).unwrap();
        assert_eq!(disk.complaint().await, None, "it is well");
        answers.send(Err(io::Error::from_raw_os_error(libc::EIO))).unwrap();
        let complaint = disk.complaint().await.unwrap();
        assert!(complaint.contains("Input/output error"), "{complaint}");
    }

    #[tokio::test]
    async fn disks_that_could_not_be_opened_are_told_of_before_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(folder.path().join("gone"), PATIENCE);
        disk.local = Some(DiskNumber(1));
        let failing = vec![(DiskNumber(0), "pulled".to_owned())];
        let findings = look_first(failing, std::slice::from_mut(&mut disk)).await;
        let local = |finding: &Finding| match finding {
            Finding::LocalDisk { disk, free: Err(_) } => disk.0,
            other => panic!("{other:?}"),
        };
        assert_eq!(findings.iter().map(local).collect::<Vec<_>>(), [0, 1]);
    }

    #[tokio::test]
    async fn a_disk_that_hangs_is_not_looked_at_again_before_it_answers() {
        let (answers, answer) = std::sync::mpsc::channel();
        let (answer, looks) = (Mutex::new(answer), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&looks);
        let look = move |_: &Path| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(answer.lock().unwrap().recv().unwrap())
        };
        let mut disk = Disk::new("/hangs".into(), Duration::from_millis(10));
        disk.look = Arc::new(look);
        for _ in 0..3 {
            let said = disk.look().await.unwrap_err();
            assert!(said.ends_with("not answered within 10ms"), "{said}");
        }
        assert!(looks.load(Ordering::SeqCst) <= 1);
        disk.patience = PATIENCE;
        answers.send(5).unwrap();
        assert_eq!(disk.look().await, Ok(5));
        assert_eq!(looks.load(Ordering::SeqCst), 1);
        answers.send(6).unwrap();
        assert_eq!(disk.look().await, Ok(6), "then it is looked at as ever");
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_probe_that_another_has_removed_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(PROBE_NAME);
        std::fs::write(&path, PROBE).unwrap();
        for _ in 0..2 {
            remove(&path).unwrap();
        }
        assert!(remove(folder.path()).is_err(), "a folder is no file");
    }
}
