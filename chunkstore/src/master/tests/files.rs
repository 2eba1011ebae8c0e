//! Files and folders as clients meet them over HTTP.

use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn a_file_is_written_read_and_deleted_over_http() {
    let mut cluster = Cluster::start().await;
    let registered = cluster.register(1).await;
    cluster.register(2).await;
    assert_eq!((&registered.cluster, registered.epoch), (&cluster.id, Epoch(1)));
    let request = create(cluster.stamp(), "/f");
    let created: Created = cluster.call("/v1/files/create", &request).await.unwrap();
    let Allocation { chunk, version, pipeline, token } = created.allocation;
    let write = cluster.keyring.verify(&token, clock::wall()).unwrap();
    assert!(write.permits(Right::Write, &chunk.resource()));
    assert!(!write.permits(Right::Read, &chunk.resource()) && !write.permits(Right::Write, "/f"));
    assert_eq!(write.role, Role::Task);

    let servers: Vec<_> = pipeline.into_iter().map(|server| server.host).collect();
    let sealed = Some(SealedChunk { chunk, version, length: 5, checksum: 9, servers });
    let request =
        Close { stamp: cluster.stamp(), file: created.file, sealed, abandoned: None, into: None };
    let status: FileStatus = cluster.call("/v1/files/close", &request).await.unwrap();
    assert!(matches!(status.kind, FileKind::File { length: 5, open: false, .. }));

    let request =
        Locate { path: "/f".parse().unwrap(), offset: 0, length: None, open: false, log: false };
    let located: Located = cluster.call("/v1/files/locate", &request).await.unwrap();
    assert_eq!((located.chunks.len(), located.chunks[0].servers.len()), (1, 2));
    let read = cluster.keyring.verify(&located.chunks[0].token, clock::wall()).unwrap();
    assert!(read.permits(Right::Read, &chunk.resource()));
    assert!(!read.permits(Right::Write, &chunk.resource()));

    let path = "/f".parse().unwrap();
    let request = Delete { stamp: cluster.stamp(), path, recursive: false, skip_trash: false };
    let _: Done = cluster.call("/v1/files/delete", &request).await.unwrap();
    let heartbeat = ServerHeartbeat {
        host: host(1),
        epoch: registered.epoch,
        session: registered.session,
        number: HeartbeatNumber(1),
        capacity_bytes: 1 << 40,
        free_bytes: 1 << 40,
        disks: Vec::new(),
        events: Vec::new(),
        report_complete: true,
        commands_done: 0,
    };
    let server = cluster.client(Role::Server, "/");
    let reply: ServerHeartbeatReply =
        server.post(&cluster.address, "/v1/servers/heartbeat", &heartbeat).await.unwrap();
    let item = ServerCommand::Delete { chunk, version, orphan: false };
    assert_eq!(reply.commands, [Numbered { number: 1, item }]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_page_is_as_long_as_asked_for_though_the_core_gives_it_in_parts() {
    let mut cluster = Cluster::start().await;
    let n_all = 2 * chunkstore_core::master::READ_STEP + 50;
    for n in 0..n_all {
        cluster.mkdir(&format!("/{n:05}")).await.unwrap();
    }
    let path = StorePath::root();
    for (limit, expected) in [(10_000, n_all), (1500, 1500), (10, 10)] {
        let request = List { path: path.clone(), after: None, limit, recursive: false };
        let page: Listing = cluster.call("/v1/files/list", &request).await.unwrap();
        assert_eq!(page.entries.len(), expected);
        assert_eq!(page.next.is_some(), expected < n_all);
        let names: Vec<_> = page.entries.iter().map(|entry| entry.path.to_string()).collect();
        assert!(names.is_sorted());
    }
    cluster.stop().await;
}

#[tokio::test]
async fn many_files_are_located_at_once_and_what_is_wrong_with_one_stands_in_its_place() {
    let mut cluster = Cluster::start().await;
    cluster.register(1).await;
    cluster.register(2).await;
    cluster.mkdir("/mine").await.unwrap();
    let request = create(cluster.stamp(), "/mine/f");
    let created: Created = cluster.call("/v1/files/create", &request).await.unwrap();
    let Allocation { chunk, version, pipeline, .. } = created.allocation;
    let servers: Vec<_> = pipeline.into_iter().map(|server| server.host).collect();
    let sealed = Some(SealedChunk { chunk, version, length: 5, checksum: 9, servers });
    let request =
        Close { stamp: cluster.stamp(), file: created.file, sealed, abandoned: None, into: None };
    let _: FileStatus = cluster.call("/v1/files/close", &request).await.unwrap();
    let mut paths: Vec<StorePath> =
        ["/theirs", "/mine/f", "/mine/none", "/mine"].map(|path| path.parse().unwrap()).to_vec();
    let user = cluster.client(Role::User, "/mine");
    let request = LocateMany { paths: paths.clone() };
    let located: LocatedMany =
        user.post(&cluster.address, "/v1/files/locate_many", &request).await.unwrap();
    let kinds = located.files.iter().map(|file| match file {
        PathLocation::Located(_) => None,
        PathLocation::Refused { kind, .. } => Some(*kind),
    });
    let expected = [ProblemKind::Forbidden, ProblemKind::NotFound, ProblemKind::IsAFolder];
    assert_eq!(kinds.flatten().collect::<Vec<_>>(), expected);
    let PathLocation::Located(file) = &located.files[1] else { panic!("{located:?}") };
    let place = &file.chunks[0];
    assert_eq!((place.chunk, place.checksum, place.servers.len()), (chunk, 9, 2));
    let read = cluster.keyring.verify(&place.token, clock::wall()).unwrap();
    assert!(read.permits(Right::Read, &chunk.resource()));
    paths.resize(LOCATE_PATHS_MAX + 1, paths[1].clone());
    let request = LocateMany { paths };
    let refused = cluster.call::<_, LocatedMany>("/v1/files/locate_many", &request).await;
    assert_eq!(problem(refused), (400, "invalid-request".to_owned()));
    cluster.stop().await;
}

/// Each field of a request that holds a path, or several: by the description, so that no route is left out.
fn entrances() -> Vec<(String, String, bool)> {
    let document: Value = serde_json::from_str(crate::master::openapi()).unwrap();
    let mut all = Vec::new();
    for (route, methods) in document["paths"].as_object().unwrap() {
        let request = &methods["post"]["requestBody"]["content"]["application/json"]["schema"];
        let Some(name) = request["$ref"].as_str().and_then(|name| name.rsplit('/').next()) else {
            continue;
        };
        let fields = document["components"]["schemas"][name]["properties"].as_object();
        for (field, schema) in fields.into_iter().flatten() {
            if schema.to_string().contains("/StorePath\"") {
                all.push((route.clone(), field.clone(), schema["type"] == "array"));
            }
        }
    }
    all
}

#[tokio::test]
async fn a_path_that_is_none_is_refused_at_every_entrance_and_changes_nothing() {
    let mut cluster = Cluster::start().await;
    cluster.register(1).await;
    cluster.register(2).await;
    cluster.mkdir("/mine").await.unwrap();
    let (part, whole) = ("x".repeat(256), "/x".repeat(2049));
    let bad = [
        "",
        "mine",
        "//",
        "/mine/",
        "/mine//a",
        "/.",
        "/mine/..",
        "/../etc",
        "/a\0b",
        &format!("/{part}"),
        &whole,
    ];
    let entrances = entrances();
    for (route, field) in [
        ("/v1/files/concat", "parts"),
        ("/v1/files/set_owner", "path"),
        ("/v1/files/fsck", "path"),
        ("/v1/files/may_make", "path"),
        ("/v1/logs/create", "path"),
        ("/v1/logs/open", "path"),
        ("/v1/files/publish", "staging"),
    ] {
        let is_it = |it: &&(String, String, bool)| (it.0.as_str(), it.1.as_str()) == (route, field);
        assert!(entrances.iter().any(|it| is_it(&it)), "{route} {field}");
    }
    for (route, field, is_list) in entrances {
        for path in bad {
            // What else is missing would be said only behind it.
            let request = match is_list {
                true => json!({&field: ["/mine", path]}),
                false => json!({&field: path}),
            };
            let expected = path.parse::<StorePath>().unwrap_err().to_string();
            match cluster.call::<_, Value>(&route, &request).await.unwrap_err() {
                CallError::Problem { problem, .. } => {
                    assert_eq!(problem.status, 400, "{route} {field} {path:?}: {problem}");
                    assert_eq!(problem.kind, "invalid-request", "{route} {field} {path:?}");
                    let is_said = problem.detail.contains(&expected);
                    assert!(is_said, "{route} {field} {path:?}: {problem}, and not: {expected}");
                }
                other => panic!("{route} {field} {path:?}: {other}"),
            }
        }
    }
    assert_eq!(cluster.names("/").await, ["/mine"]);
    assert!(cluster.names("/mine").await.is_empty());
    cluster.stop().await;
}
