//! What survives a restart: snapshots, stamps, and a journal that was full.

use super::*;

#[tokio::test]
async fn a_restarted_master_knows_all_that_it_acknowledged_and_answers_retries_alike() {
    let mut cluster = Cluster::start().await;
    cluster.register(1).await;
    cluster.register(2).await;
    cluster.mkdir("/d").await.unwrap();
    let request = create(cluster.stamp(), "/d/f");
    let mut first: Created = cluster.call("/v1/files/create", &request).await.unwrap();
    cluster.restart().await;
    assert_eq!(cluster.names("/d").await, ["/d/f"]);
    let mut again: Created = cluster.call("/v1/files/create", &request).await.unwrap();
    // Tokens are minted again.
    first.allocation.token.clear();
    again.allocation.token.clear();
    assert_eq!(again, first);
    let info: ClusterInfo =
        cluster.client(Role::Server, "/").get(&cluster.address, "/v1/cluster").await.unwrap();
    assert_eq!((info.cluster, info.epoch), (cluster.id.clone(), Epoch(2)));
    let request = create(cluster.stamp(), "/g");
    let refused = cluster.call::<_, Created>("/v1/files/create", &request).await;
    assert_eq!(problem(refused), (503, "starting".to_owned()), "none has registered again");
    let made = cluster.mkdir("/e").await;
    let left = made.unwrap_err().problem().unwrap().retry_after;
    assert!(left.is_some_and(|seconds| (1..=61).contains(&seconds)), "{left:?}");
    cluster.join(1).await;
    cluster.join(2).await;
    cluster.mkdir("/e").await.unwrap();
    let request = ForgetServer {
        stamp: cluster.stamp(),
        host: host(1),
        lose_records: false,
        lose_chunks: false,
    };
    let refused = cluster.call::<_, Done>("/v1/servers/forget", &request).await;
    assert_eq!(problem(refused), (409, "server-lives".to_owned()));
    let task = cluster.client(Role::Task, "/");
    let refused = task.post::<_, Done>(&cluster.address, "/v1/servers/forget", &request).await;
    assert_eq!(problem(refused).0, 403);
    cluster.stop().await;
}

#[tokio::test]
async fn state_survives_snapshots_of_many_segments() {
    let mut cluster = Cluster::start().await;
    let long = "x".repeat(200);
    let mut expected = Vec::new();
    // About 5 MiB of records: two segments are closed and folded into a snapshot.
    for n in 0..20 {
        let deep: String = (0..19).map(|part| format!("/{part:02}{long}")).collect();
        let path: StorePath = format!("/{n:02}{deep}").parse().unwrap();
        for _ in 0..32 {
            let request = Mkdir { stamp: cluster.stamp(), path: path.clone(), parents: true };
            let _: Done = cluster.call("/v1/files/mkdir", &request).await.unwrap();
            let top = format!("/{n:02}").parse().unwrap();
            let request =
                Delete { stamp: cluster.stamp(), path: top, recursive: true, skip_trash: false };
            let _: Done = cluster.call("/v1/files/delete", &request).await.unwrap();
        }
        let request = Mkdir { stamp: cluster.stamp(), path, parents: true };
        let _: Done = cluster.call("/v1/files/mkdir", &request).await.unwrap();
        expected.push(format!("/{n:02}"));
    }
    cluster.stop().await;
    assert!(journal::latest_snapshot(cluster.dir.path()).unwrap().is_some());
    cluster.start_again().await;
    assert_eq!(cluster.names("/").await, expected);
    cluster.stop().await;
}

#[tokio::test]
async fn with_a_full_journal_files_can_be_removed_and_none_made_until_there_is_room() {
    let mut cluster = Cluster::start().await;
    cluster.join(1).await;
    cluster.join(2).await;
    cluster.mkdir("/old").await.unwrap();
    cluster.stop().await;
    // It blocks the next segment, like a full disk.
    let obstacle = cluster.dir.path().join("prepared.tmp");
    let _none_yet = std::fs::remove_file(cluster.dir.path().join("prepared.log"));
    std::fs::create_dir(&obstacle).unwrap();
    cluster.start_again().await;
    cluster.join(1).await;
    cluster.join(2).await;
    let full = (507, "out-of-space".to_owned());
    let request = create(cluster.stamp(), "/new");
    let refused = cluster.call::<_, Created>("/v1/files/create", &request).await;
    assert_eq!(problem(refused), full);
    let path = "/old".parse().unwrap();
    let remove = Delete { stamp: cluster.stamp(), path, recursive: false, skip_trash: false };
    let _: Done = cluster.call("/v1/files/delete", &remove).await.unwrap();
    std::fs::remove_dir(&obstacle).unwrap();
    let made = async {
        loop {
            let request = create(cluster.stamp(), "/new");
            match cluster.call::<_, Created>("/v1/files/create", &request).await {
                Ok(_) => return,
                refused => assert_eq!(problem(refused), full),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), made).await.expect("room is found again");
    assert_eq!(cluster.names("/").await, ["/new"]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_stamp_that_comes_again_with_another_request_is_a_conflict_across_restarts_too() {
    let mut cluster = Cluster::start().await;
    let first = Mkdir { stamp: cluster.stamp(), path: "/a".parse().unwrap(), parents: false };
    let other = Mkdir { path: "/b".parse().unwrap(), ..first.clone() };
    for _ in 0..2 {
        let _: Done = cluster.call("/v1/files/mkdir", &first).await.unwrap();
        let refused = cluster.call::<_, Done>("/v1/files/mkdir", &other).await;
        assert_eq!(problem(refused), (409, "invalid-request".to_owned()));
        cluster.restart().await;
    }
    assert_eq!(cluster.names("/").await, ["/a"]);
    cluster.stop().await;
}
