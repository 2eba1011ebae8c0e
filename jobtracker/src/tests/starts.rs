//! First starts, later ones, and folders that are refused.

use super::*;
use crate::newest::{Beginning, OlderBy, find_newer};
use crate::store::Store;

#[tokio::test]
async fn a_cluster_that_has_lost_a_journal_gives_no_id_twice() {
    let mut cluster = Cluster::start().await;
    let first = cluster.run_job().await;
    cluster.master.files().folders.remove(&"/out".parse().unwrap());
    cluster.start_anew().await;
    let second = cluster.run_job().await;
    assert_eq!((first.id.ordinal, second.id.ordinal), (1, 1_000_001), "no id is used twice");
    let files = cluster.master.files();
    assert_ne!(files.published[0].stamp, files.published[1].stamp);
}

#[tokio::test]
async fn a_folder_without_journal_or_of_another_cluster_is_refused() {
    let cluster = Cluster::start().await;
    let settings = |name: &str| {
        let mut settings = settings(cluster.dir.path(), &cluster.keyring, &cluster.chunkmaster);
        settings.jobtracker.data_dir = cluster.dir.path().join(name);
        settings
    };
    let (_, _, daemon) = start(settings("empty"));
    assert!(matches!(daemon.await.unwrap(), Err(RunError::Recover(_))));
    let again = init(&settings("jobtracker"), &Shutdown::default()).await;
    assert!(matches!(again, Err(InitError::Open(_))), "{again:?}");
    let numbers: StorePath = crate::init::JOURNALS.parse().unwrap();
    let numbered = |it: &&StorePath| it.parent().as_ref() == Some(&numbers);
    assert_eq!(cluster.master.files().folders.iter().filter(numbered).count(), 1, "no number lost");
    let stranger = Routes::<()>::new().route(
        "/v1/cluster",
        ALL,
        get(async || Json(ClusterInfo { cluster: "cluster-2".parse().unwrap(), epoch: Epoch(1) })),
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let chunkmaster = listener.local_addr().unwrap().to_string();
    let guard = Guard { keyring: cluster.keyring.clone(), anonymous: None };
    tokio::spawn(net::serve(listener, stranger.into_router((), guard), std::future::pending()));
    init(&settings("other"), &Shutdown::default()).await.unwrap();
    let (_, _, daemon) = start(JobtrackerSettings { chunkmaster, ..settings("other") });
    let error = daemon.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("cluster-1") && error.contains("cluster-2"), "{error}");
}

#[tokio::test]
async fn a_start_that_asks_again_whether_it_is_the_newest_knows_what_it_has_left_itself() {
    let (dir, keyring, master) =
        (tempfile::tempdir().unwrap(), Keyring::new(&Secret::random()), Master::default());
    let store = Store::new(&settings(dir.path(), &keyring, &master.serve(&keyring))).prompt();
    let find = async |start: &Beginning| find_newer(&store, start, async || Ok(None)).await;
    let [first, second, copy] = [1, 2, 2].map(|epoch| Beginning::new(Epoch(epoch), 1));
    assert_eq!(find(&first).await.unwrap(), None);
    // The mark of the first start cannot be removed.
    master.files().kept = 1;
    find(&second).await.unwrap_err();
    for _ in 0..2 {
        assert_eq!(find(&second).await.unwrap(), None);
    }
    let newer = Some(OlderBy::Start { theirs: Epoch(2), ours: Epoch(2) });
    assert_eq!(find(&copy).await.unwrap(), newer, "it began with a copy of the same journal");
    let newer = Some(OlderBy::Start { theirs: Epoch(2), ours: Epoch(1) });
    assert_eq!(find(&first).await.unwrap(), newer);
}

#[tokio::test]
async fn a_first_start_that_waits_for_the_chunk_master_can_be_stopped_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // Bound, so that nobody else listens there; this test does not answer.
    let away = TcpListener::bind("127.0.0.1:0").unwrap();
    let chunkmaster = away.local_addr().unwrap().to_string();
    let settings = settings(dir.path(), &Keyring::new(&Secret::random()), &chunkmaster);
    let shutdown = Shutdown::default();
    shutdown.trigger();
    let error = init(&settings, &shutdown).await.unwrap_err();
    assert!(matches!(error, InitError::Stopped { .. }), "{error}");
    assert!(error.to_string().contains(&chunkmaster), "{error}");
    assert!(!settings.jobtracker.data_dir.exists());
}

/// A file in place of one of the journal's, which blocks whoever opens it for writing, as a disk
/// that hangs would.
struct Pipe(std::path::PathBuf);

impl Pipe {
    fn lay(path: std::path::PathBuf) -> Self {
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self(path)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        use std::os::unix::fs::OpenOptionsExt as _;
        const O_NONBLOCK: i32 = 0o4000;
        let reader = std::fs::OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&self.0);
        std::fs::remove_file(&self.0).ok();
        drop(reader);
    }
}

#[tokio::test]
async fn a_jobtracker_whose_disk_hangs_at_its_start_ends_when_it_is_told_to() {
    let mut cluster = Cluster::start().await;
    cluster.shutdown.trigger();
    (&mut cluster.daemon).await.unwrap().unwrap();
    let settings = settings(cluster.dir.path(), &cluster.keyring, &cluster.chunkmaster);
    let journal = settings.jobtracker.data_dir.clone();
    std::fs::remove_file(journal.join("prepared.log")).ok();
    let pipe = Pipe::lay(journal.join("prepared.tmp"));
    (cluster.address, cluster.shutdown, cluster.daemon) = start(settings);
    cluster.shutdown.trigger();
    let ended = tokio::time::timeout(Duration::from_secs(30), &mut cluster.daemon).await;
    ended.expect("it ends in time").unwrap().unwrap();
    drop(pipe);
}
