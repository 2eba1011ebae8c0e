//! Who may do what, with which token.

use super::*;

#[tokio::test]
async fn roles_and_prefixes_are_enforced() {
    let mut cluster = Cluster::start().await;
    cluster.mkdir("/mine").await.unwrap();
    let forbidden = (403, "forbidden".to_owned());
    let stat = |path: &str| Stat { path: path.parse().unwrap() };
    let task = cluster.client(Role::Task, "/mine");
    let address = cluster.address.clone();
    let allowed = task.post::<_, FileStatus>(&address, "/v1/files/stat", &stat("/mine")).await;
    assert!(allowed.is_ok());
    let outside = task.post::<_, FileStatus>(&address, "/v1/files/stat", &stat("/")).await;
    assert_eq!(problem(outside), forbidden);
    let (from, to) = ("/mine".parse().unwrap(), "/other".parse().unwrap());
    let request = Rename { stamp: cluster.stamp(), from, to, replace: Replace::Never };
    let stolen = task.post::<_, Done>(&address, "/v1/files/rename", &request).await;
    assert_eq!(problem(stolen), forbidden);
    let into =
        chunkstore_protocol::CloseInto { path: "/other".parse().unwrap(), replace: Replace::Never };
    let (stamp, file) = (cluster.stamp(), chunkstore_protocol::FileId(7));
    let close = Close { stamp, file, sealed: None, abandoned: None, into: Some(into) };
    let elsewhere = task.post::<_, FileStatus>(&address, "/v1/files/close", &close).await;
    assert_eq!(problem(elsewhere), forbidden, "before it is looked for the file");
    let server = cluster.client(Role::Server, "/");
    let refused = server.post::<_, FileStatus>(&address, "/v1/files/stat", &stat("/")).await;
    assert_eq!(problem(refused), forbidden);
    let request = serde_json::json!({});
    let user = cluster.client(Role::User, "/");
    let refused =
        user.post::<_, ServerRegistered>(&address, "/v1/servers/register", &request).await;
    assert_eq!(problem(refused), forbidden);
    cluster.stop().await;
}

#[tokio::test]
async fn no_user_takes_from_running_jobs_what_they_rely_on() {
    let mut cluster = Cluster::start().await;
    let (system, address) = (cluster.client(Role::Master, "/"), cluster.address.clone());
    let staging: StorePath = "/.howdah/staging/job_1".parse().unwrap();
    let path = staging.clone();
    let request = Mkdir { stamp: cluster.stamp(), path, parents: true };
    let _: Done = system.post(&address, "/v1/files/mkdir", &request).await.unwrap();
    cluster.mkdir("/mine").await.unwrap();
    let forbidden = (403, "forbidden".to_owned());
    let top: StorePath = "/.howdah".parse().unwrap();
    for path in [top.clone(), staging.clone()] {
        let request = Delete {
            stamp: cluster.stamp(),
            path: path.clone(),
            recursive: true,
            skip_trash: false,
        };
        assert_eq!(problem(cluster.call::<_, Done>("/v1/files/delete", &request).await), forbidden);
        let to = "/mine/theirs".parse().unwrap();
        let request = Rename { stamp: cluster.stamp(), from: path, to, replace: Replace::Never };
        assert_eq!(problem(cluster.call::<_, Done>("/v1/files/rename", &request).await), forbidden);
    }
    for (from, to) in [(staging, "/out"), ("/mine".parse().unwrap(), "/.howdah/staging/job_2")] {
        let request = Publish {
            stamp: cluster.stamp(),
            staging: from,
            winners: Vec::new(),
            target: to.parse().unwrap(),
            marker: "_SUCCESS".to_owned(),
            owner: None,
        };
        let published = cluster.call::<_, Done>("/v1/files/publish", &request).await;
        assert_eq!(problem(published), forbidden, "to {to}");
    }
    assert_eq!(cluster.names("/.howdah/staging").await, ["/.howdah/staging/job_1"]);
    let program: StorePath = "/.howdah/programs/5eed".parse().unwrap();
    let (from, replace) = ("/mine/other".parse().unwrap(), Replace::Always);
    let over = Rename { stamp: cluster.stamp(), from, to: program, replace };
    assert_eq!(problem(cluster.call::<_, Done>("/v1/files/rename", &over).await), forbidden);
    let Rename { stamp, from, to, replace } = over;
    let over = Copy { stamp, from, to, replace, parents: false };
    assert_eq!(problem(cluster.call::<_, FileStatus>("/v1/files/copy", &over).await), forbidden);
    let secret: StorePath = "/.howdah/staging/job_1/part".parse().unwrap();
    for (part, to) in [(&secret, "/mine/whole"), (&over.from, "/.howdah/whole")] {
        let request = Concat {
            stamp: cluster.stamp(),
            parts: vec![part.clone()],
            to: to.parse().unwrap(),
            replace: Replace::Never,
            parents: true,
        };
        let whole = cluster.call::<_, FileStatus>("/v1/files/concat", &request).await;
        assert_eq!(problem(whole), forbidden, "{part} to {to}");
    }
    let request = Delete { stamp: cluster.stamp(), path: top, recursive: true, skip_trash: false };
    let _: Done = system.post(&address, "/v1/files/delete", &request).await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn nobody_gets_the_reply_or_the_lease_of_another_by_naming_its_client() {
    let mut cluster = Cluster::start().await;
    cluster.register(1).await;
    cluster.register(2).await;
    cluster.mkdir("/mine").await.unwrap();
    let address = cluster.address.clone();
    let request = create(cluster.stamp(), "/mine/f");
    let created: Created = cluster.call("/v1/files/create", &request).await.unwrap();
    let thief = cluster.client(Role::Task, "/theirs");
    let file = created.file;
    let forged = Create { path: "/theirs".parse().unwrap(), ..request };
    let own: Created = thief.post(&address, "/v1/files/create", &forged).await.unwrap();
    assert_ne!(own.file, file, "another's reply");
    let lost = (409, "lease-lost".to_owned());
    let stamp = cluster.stamp();
    let abandon = Abandon { stamp: stamp.clone(), file };
    let abandoned = thief.post::<_, Done>(&address, "/v1/files/abandon", &abandon).await;
    assert_eq!(problem(abandoned), lost);
    let close = Close { stamp: stamp.clone(), file, sealed: None, abandoned: None, into: None };
    let closed = thief.post::<_, FileStatus>(&address, "/v1/files/close", &close).await;
    assert_eq!(problem(closed), lost);
    let renew = Renew { client: stamp.client.clone(), files: vec![file], wait_ms: 0 };
    let renewed = thief.post::<_, Done>(&address, "/v1/files/renew", &renew).await;
    assert_eq!(problem(renewed), lost);
    let _: Done = cluster.call("/v1/files/renew", &renew).await.unwrap();
    let many = Renew { files: vec![file; RENEW_FILES_MAX + 1], ..renew.clone() };
    let refused = cluster.call::<_, Done>("/v1/files/renew", &many).await;
    assert_eq!(problem(refused), (400, "invalid-request".to_owned()));
    let closed: FileStatus = cluster.call("/v1/files/close", &close).await.unwrap();
    assert_eq!(closed.path.as_str(), "/mine/f");
    let stolen = thief.post::<_, FileStatus>(&address, "/v1/files/close", &close).await;
    assert_eq!(problem(stolen), lost, "the kept reply is its owner's");
    cluster.stop().await;
}

#[tokio::test]
async fn a_caller_without_a_token_is_a_user_on_loopback_and_no_server() {
    let mut cluster = Cluster::start().await;
    let settings = ClientSettings {
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(30),
        silence_timeout: Duration::from_secs(3),
        tls: None,
    };
    let anyone = Client::new(settings);
    let stat = Stat { path: StorePath::root() };
    let root: FileStatus = anyone.post(&cluster.address, "/v1/files/stat", &stat).await.unwrap();
    assert_eq!(root.kind, FileKind::Folder);
    let body = serde_json::json!({});
    let refused = anyone
        .post::<_, ServerHeartbeatReply>(&cluster.address, "/v1/servers/heartbeat", &body)
        .await;
    assert_eq!(problem(refused).0, 403);
    cluster.stop().await;
}
