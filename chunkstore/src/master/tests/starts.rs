//! How a master starts and stops, and what it reports of itself.

use super::*;

#[tokio::test]
async fn metrics_and_health_tell_the_state() {
    let mut cluster = Cluster::start().await;
    cluster.register(1).await;
    cluster.mkdir("/d").await.unwrap();
    assert_eq!(cluster.text("/readyz").await, "ready\n");
    let text = cluster.text("/metrics").await;
    for line in [
        "howdah_chunkmaster_servers_live",
        "howdah_chunkmaster_files",
        "howdah_chunkmaster_records_total{record=\"folders_made\"}",
        "howdah_chunkmaster_request_seconds_count{method=\"POST\",route=\"/v1/files/mkdir\",status=\"200\"}",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "no {line} in\n{text}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_folder_is_initialised_once_and_never_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let keyring = Keyring::new(&Secret::random());
    let (_, _, master) = serve(dir.path(), &keyring).await;
    let error = master.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("--init"), "{error}");

    let options = journal::Options::with_segments(SEGMENT);
    journal::Journal::create(dir.path(), options).unwrap();
    let (_, _, master) = serve(dir.path(), &keyring).await;
    let error = master.await.unwrap().unwrap_err();
    assert!(matches!(error, RunError::NotInitialised { .. }), "{error}");
    init(dir.path(), SEGMENT).unwrap();
    let error = init(dir.path(), SEGMENT).unwrap_err().to_string();
    assert!(error.contains("already"), "{error}");
}

#[tokio::test]
async fn a_second_master_on_the_same_folder_is_refused() {
    let mut cluster = Cluster::start().await;
    assert!(cluster.names("/").await.is_empty());
    let (_, _, second) = serve(cluster.dir.path(), &cluster.keyring).await;
    let error = second.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    cluster.stop().await;
}

/// A pipe in place of a file that the journal creates: opening it for writing blocks, as on a disk
/// that hangs.
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
async fn a_master_whose_disk_hangs_at_its_start_ends_when_it_is_told_to() {
    let mut cluster = Cluster::start().await;
    cluster.mkdir("/kept").await.unwrap();
    cluster.stop().await;
    std::fs::remove_file(cluster.dir.path().join("prepared.log")).ok();
    let pipe = Pipe::lay(cluster.dir.path().join("prepared.tmp"));
    cluster.start_again().await;
    cluster.shutdown.trigger();
    let ended = tokio::time::timeout(Duration::from_secs(30), &mut cluster.master).await;
    ended.expect("it ends in time").unwrap().unwrap();
    drop(pipe);
    cluster.start_again().await;
    assert_eq!(cluster.names("/").await, ["/kept"]);
    cluster.stop().await;
}
