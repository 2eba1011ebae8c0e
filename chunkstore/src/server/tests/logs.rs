//! Logs, with the real chunk master, servers and client: many writers, and what fails under them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use chunkstore_client::{ChunkStore, LogOptions, LogReader, StoreError};
use chunkstore_protocol::{FileKind, Locate, Located};
use net::reqwest::Method;

use super::real_master::{RealCluster, path};
use super::until;

fn options(replication: u8) -> LogOptions {
    LogOptions {
        replication: Some(replication),
        chunk_bytes: Some(1 << 20),
        ..LogOptions::default()
    }
}

/// The files of replicas in a data folder whose names end so.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(dir.join("chunks")).into_iter().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    let files = files.map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|it| it == ending)).collect()
}

/// Whether no process has the data folder any more.
fn is_free(dir: &Path) -> bool {
    let lock = std::fs::File::open(dir.join("lock")).unwrap();
    lock.try_lock().is_ok()
}

/// Puts the beginning of a record behind the only log's replica in a folder, once that is free.
fn tear(dir: &Path) -> bool {
    let is_free = is_free(dir);
    if is_free {
        let [file] = files(dir, "log").try_into().unwrap();
        let mut file = std::fs::File::options().append(true).open(file).unwrap();
        file.write_all(&[5, 0, 0, 0, 1, 2, 3, 4, 5]).unwrap();
    }
    is_free
}

/// Changes a byte of the only log's replica in a folder, once that is free.
fn flip(dir: &Path, at: u64) -> bool {
    let is_free = is_free(dir);
    if is_free {
        let [file] = files(dir, "log").try_into().unwrap();
        let file = std::fs::File::options().read(true).write(true).open(file).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }
    is_free
}

/// Waits for so many servers.
async fn until_live(store: &ChunkStore, n: u64) {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    let all = async {
        while store.report().await.unwrap().totals.servers_live < n {
            ticks.tick().await;
        }
    };
    assert!(tokio::time::timeout(super::DEADLINE, all).await.is_ok(), "never {n} servers");
}

/// The text of each record.
async fn rest(reader: &mut LogReader) -> Vec<String> {
    let mut records = Vec::new();
    while let Some(record) = reader.next().await.unwrap() {
        records.push(String::from_utf8(record.bytes.to_vec()).unwrap());
    }
    records
}

async fn all(store: &ChunkStore, at: &str) -> Vec<String> {
    rest(&mut store.read_log(&path(at)).await.unwrap()).await
}

/// Whether each writer's acknowledged records are there once, whole and in order. Those of the last batch that got no
/// answer may be there too.
fn check(records: &[String], acknowledged: &BTreeMap<usize, usize>) {
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    for record in records {
        let (writer, number, padding) = parse(record);
        assert_eq!(padding, number % 200, "a half record: {record:?}");
        let expected = next.entry(writer).or_insert(0);
        assert_eq!(number, *expected, "of writer {writer}");
        *expected += 1;
    }
    for (writer, n) in acknowledged {
        let read = next.get(writer).copied().unwrap_or(0);
        assert!(read >= *n, "{n} records of writer {writer} are acknowledged, {read} are there");
    }
}

fn record(writer: usize, number: usize) -> String {
    format!("{writer} {number} {}", "x".repeat(number % 200))
}

fn parse(record: &str) -> (usize, usize, usize) {
    let mut parts = record.splitn(3, ' ');
    let mut number = || parts.next().unwrap().parse().unwrap();
    let (writer, number) = (number(), number());
    (writer, number, parts.next().unwrap().len())
}

/// Starts `n_writers` that append `n_records` each, a few at once; each returns how many were acknowledged.
fn start_writers(
    store: &ChunkStore,
    at: &str,
    n_writers: usize,
    n_records: usize,
) -> Vec<tokio::task::JoinHandle<(usize, usize)>> {
    let writers = (0..n_writers).map(|writer| {
        let mut log = store.log_writer(&path(at));
        tokio::spawn(async move {
            let mut number = 0;
            while number < n_records {
                let batch: Vec<_> =
                    (number..n_records).take(1 + number % 7).map(|n| record(writer, n)).collect();
                log.append(&batch).await.unwrap();
                number += batch.len();
                // Failures come in between.
                tokio::task::yield_now().await;
            }
            (writer, number)
        })
    });
    writers.collect()
}

async fn join(writers: Vec<tokio::task::JoinHandle<(usize, usize)>>) -> BTreeMap<usize, usize> {
    let mut acknowledged = BTreeMap::new();
    for writer in writers {
        let (writer, n) = writer.await.unwrap();
        acknowledged.insert(writer, n);
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_many_writers_are_read_once_and_in_order_over_many_chunks() {
    let cluster = RealCluster::start(3);
    let store = cluster.store();
    let status = store
        .create_log(&path("/log"), LogOptions { chunk_bytes: Some(64 << 10), ..options(3) })
        .await
        .unwrap();
    assert!(matches!(status.kind, FileKind::File { log: true, replication: 3, .. }));
    assert_eq!(all(&store, "/log").await, Vec::<String>::new());
    let acknowledged = join(start_writers(&store, "/log", 4, 400)).await;
    let records = all(&cluster.store(), "/log").await;
    check(&records, &acknowledged);
    assert_eq!(records.len(), 1600, "nothing else");
    let FileKind::File { n_chunks, length, .. } = store.stat(&path("/log")).await.unwrap().kind
    else {
        panic!("a file")
    };
    assert!(n_chunks >= 3 && length > 2 * (64 << 10), "{n_chunks} chunks");
    assert_eq!(all(&store, "/log").await, records, "everybody has the same order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_has_what_is_acknowledged_at_once_and_goes_on_where_it_stood() {
    let cluster = RealCluster::start(3);
    let store = cluster.store();
    until_live(&store, 3).await;
    store.create_log(&path("/log"), options(3)).await.unwrap();
    let mut reader = cluster.store().read_log(&path("/log")).await.unwrap();
    for n in 0..20 {
        store.append_record(&path("/log"), format!("{n}").as_bytes()).await.unwrap();
        assert_eq!(rest(&mut reader).await, [n.to_string()]);
    }
    store.append_record(&path("/log"), b"").await.unwrap();
    assert_eq!(rest(&mut reader).await, [""], "an empty one is one");
    let long = "y".repeat(1 << 19);
    store.append_record(&path("/log"), long.as_bytes()).await.unwrap();
    store.append_record(&path("/log"), long.as_bytes()).await.unwrap();
    assert_eq!(rest(&mut reader).await, [long.clone(), long]);
    let too_long = vec![0; 1 << 20];
    let error = store.append_record(&path("/log"), &too_long).await.unwrap_err();
    assert!(
        matches!(error, StoreError::RecordTooLong { limit, .. } if limit == (1 << 20) - 32),
        "{error}"
    );
    assert_eq!(rest(&mut reader).await, Vec::<String>::new());
}

/// Or some thousand logs that nobody writes any more would keep all others from being written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chunk_of_a_log_that_nobody_appends_to_ends_and_the_next_record_begins_another() {
    let idle = Duration::from_millis(200);
    let cluster = RealCluster::start_idling(2, Duration::from_secs(60), idle);
    let store = cluster.store();
    until_live(&store, 2).await;
    store.create_log(&path("/log"), options(2)).await.unwrap();
    let mut reader = cluster.store().read_log(&path("/log")).await.unwrap();
    let mut writer = store.log_writer(&path("/log"));
    let n_open =
        || cluster.server_dirs.iter().map(|dir| files(dir.path(), "log").len()).sum::<usize>();
    for n in 0..3 {
        writer.append(&[format!("{n}")]).await.unwrap();
        assert_eq!(rest(&mut reader).await, [n.to_string()]);
        until("nothing is open", || n_open() == 0).await;
    }
    assert_eq!(all(&store, "/log").await, ["0", "1", "2"]);
    let FileKind::File { n_chunks, .. } = store.stat(&path("/log")).await.unwrap().kind else {
        panic!("a file")
    };
    assert_eq!(n_chunks, 3);
}

/// Such a read says nothing of the log's state: were it taken for rot, whoever may read could end any chunk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_from_inside_of_a_record_is_refused_and_the_chunk_stays_open() {
    let cluster = RealCluster::start(2);
    let store = cluster.store();
    until_live(&store, 2).await;
    store.create_log(&path("/log"), options(2)).await.unwrap();
    store.append_record(&path("/log"), b"one").await.unwrap();
    let request = Locate { path: path("/log"), offset: 0, length: None, open: false, log: true };
    let (client, master) = cluster.client();
    let open_chunk = async || {
        let located: Located = client.post(&master, "/v1/files/locate", &request).await.unwrap();
        located.open_log.unwrap()
    };
    let open = open_chunk().await;
    let primary = open.primary.clone().unwrap().address;
    let reader = client.with_token(open.token.clone());
    let read = async |offset: u64| {
        let version = open.version.0;
        let path = format!("{}/records?version={version}&offset={offset}", open.chunk.route());
        let answer = reader.request(Method::GET, &primary, &path).send().await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap())
    };
    let (status, all) = read(0).await;
    assert!(status == 200 && !all.is_empty(), "{status}");
    for offset in 1..all.len() as u64 {
        let (status, text) = read(offset).await;
        let text = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(status, 400, "{offset}: {text}");
        assert!(text.contains(&format!("begins at byte {offset}")), "{text}");
    }
    assert_eq!(read(all.len() as u64).await, (200, Bytes::new()));
    store.append_record(&path("/log"), b"two").await.unwrap();
    assert_eq!(open_chunk().await.chunk, open.chunk, "it goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_and_files_are_told_apart() {
    let cluster = RealCluster::start(2);
    let store = cluster.store();
    store.create_log(&path("/log"), options(2)).await.unwrap();
    store.append_record(&path("/log"), b"one").await.unwrap();
    store.write_all(&path("/file"), &b"bytes"[..], Default::default()).await.unwrap();
    assert!(matches!(store.open(&path("/log")).await, Err(StoreError::LogOrNot { .. })));
    assert!(matches!(store.append(&path("/log")).await, Err(StoreError::LogOrNot { .. })));
    let error = store.append_record(&path("/file"), b"one").await.unwrap_err();
    assert!(matches!(error, StoreError::LogOrNot { .. }), "{error}");
    assert!(store.append_record(&path("/none"), b"one").await.is_err());
    // A log may move while it is written, and goes with its open chunk.
    let mut reader = store.read_log(&path("/log")).await.unwrap();
    store.rename(&path("/log"), &path("/moved")).await.unwrap();
    store.append_record(&path("/moved"), b"two").await.unwrap();
    assert_eq!(all(&store, "/moved").await, ["one", "two"]);
    assert_eq!(reader.next().await.unwrap().unwrap().bytes, "one");
    store.delete(&path("/moved"), false).await.unwrap();
    until("its replicas are gone", || {
        cluster.server_dirs.iter().all(|dir| files(dir.path(), "log").is_empty())
    })
    .await;
    assert!(matches!(store.read_log(&path("/moved")).await, Err(StoreError::NotFound { .. })));
}

/// Kills servers one after the other under eight writers, and starts them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_die_under_the_writers_and_nothing_acknowledged_is_lost_or_doubled() {
    let mut cluster = RealCluster::start_with(0, Duration::from_millis(500));
    let dirs: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut servers: Vec<_> =
        (1..=4).map(|n| Some(cluster.start_mortal(n, dirs[n - 1].path()))).collect();
    let store = cluster.store();
    until_live(&store, 3).await;
    store.create_log(&path("/log"), options(3)).await.unwrap();
    let writers = start_writers(&store, "/log", 8, 1000);
    for round in 0..8 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let n = round % 4;
        servers[n].take().unwrap().shutdown_background();
        tokio::time::sleep(Duration::from_millis(150)).await;
        if round == 5 {
            cluster.stop_master().await;
            cluster.start_master();
        }
        servers[n] = Some(cluster.start_mortal(n + 1, dirs[n].path()));
    }
    let acknowledged = join(writers).await;
    let records = all(&cluster.store(), "/log").await;
    check(&records, &acknowledged);
    assert_eq!(records.len(), 8_000);
    for server in servers.into_iter().flatten() {
        server.shutdown_background();
    }
}

/// All servers end at once, as at a power cut that loses nothing that was synced; what was acknowledged is sealed when
/// they are back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_servers_die_at_once_and_the_open_chunk_is_ended_when_they_are_back() {
    let cluster = RealCluster::start_with(0, Duration::from_millis(500));
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let start = || (1..=3).map(|n| cluster.start_mortal(n, dirs[n - 1].path())).collect::<Vec<_>>();
    let servers = start();
    let store = cluster.store();
    until_live(&store, 3).await;
    store.create_log(&path("/log"), options(3)).await.unwrap();
    let mut log = store.log_writer(&path("/log"));
    log.append(&["one", "two"]).await.unwrap();
    servers.into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
    // Half a record, as a process that dies while it writes leaves it, on one of them.
    until("the files are free", || tear(dirs[1].path())).await;
    let servers = start();
    assert_eq!(all(&cluster.store(), "/log").await, ["one", "two"]);
    log.append(&["three"]).await.unwrap();
    assert_eq!(all(&cluster.store(), "/log").await, ["one", "two", "three"]);
    servers.into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
}

/// A replica that lost bytes in its middle does not make the log shorter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_replica_is_left_out() {
    let cluster = RealCluster::start_with(0, Duration::from_millis(500));
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let start = || (1..=3).map(|n| cluster.start_mortal(n, dirs[n - 1].path())).collect::<Vec<_>>();
    let servers = start();
    let store = cluster.store();
    until_live(&store, 3).await;
    store.create_log(&path("/log"), options(3)).await.unwrap();
    let texts: Vec<_> = (0..50).map(|n| record(0, n)).collect();
    store.log_writer(&path("/log")).append(&texts).await.unwrap();
    servers.into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
    until("the files are free", || flip(dirs[2].path(), 700)).await;
    let servers = start();
    assert_eq!(all(&cluster.store(), "/log").await, texts);
    until("the third one has a copy again", || files(dirs[2].path(), "chunk").len() == 1).await;
    servers.into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
}

/// Where nobody has a sound replica, what is sound of it is the log's, and the rest is kept for whoever can use it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_behind_damage_everywhere_is_kept_in_the_trash() {
    let cluster = RealCluster::start_with(0, Duration::from_millis(500));
    let dir = tempfile::tempdir().unwrap();
    let server = cluster.start_mortal(1, dir.path());
    let store = cluster.store();
    until_live(&store, 1).await;
    store.create_log(&path("/log"), options(1)).await.unwrap();
    let texts: Vec<_> = (0..50).map(|n| record(0, n)).collect();
    store.log_writer(&path("/log")).append(&texts).await.unwrap();
    server.shutdown_background();
    until("the file is free", || flip(dir.path(), 700)).await;
    let whole = std::fs::read(&files(dir.path(), "log")[0]).unwrap();
    let server = cluster.start_mortal(1, dir.path());
    let left = all(&cluster.store(), "/log").await;
    assert!(!left.is_empty() && left.len() < texts.len() && texts.starts_with(&left), "{left:?}");
    let kept =
        std::fs::read_dir(dir.path().join("trash")).unwrap().map(|entry| entry.unwrap().path());
    let kept: Vec<_> = kept.map(|path| std::fs::read(path).unwrap()).collect();
    assert_eq!(kept, [whole]);
    server.shutdown_background();
}

/// What one disk has changed in the very last record looks like a write that was cut short, and does not make the log
/// shorter either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_record_rots_on_one_server_and_is_there_when_all_are_back() {
    let cluster = RealCluster::start_with(0, Duration::from_millis(500));
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let start = || (1..=3).map(|n| cluster.start_mortal(n, dirs[n - 1].path())).collect::<Vec<_>>();
    let servers = start();
    let store = cluster.store();
    until_live(&store, 3).await;
    store.create_log(&path("/log"), options(3)).await.unwrap();
    let mut log = store.log_writer(&path("/log"));
    log.append(&["one"]).await.unwrap();
    log.append(&["two"]).await.unwrap();
    servers.into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
    let last = 2 * (32 + 3) - 1;
    until("the files are free", || flip(dirs[0].path(), last)).await;
    let servers = start();
    assert_eq!(all(&cluster.store(), "/log").await, ["one", "two"]);
    until("the first one has a copy again", || files(dirs[0].path(), "chunk").len() == 1).await;
    servers.into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
}

/// The chunks before the last ones are not even looked at: they are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_records_are_read_from_the_end() {
    let cluster = RealCluster::start(1);
    let store = cluster.store();
    let small = LogOptions { chunk_bytes: Some(1 << 20), ..options(1) };
    store.create_log(&path("/log"), small).await.unwrap();
    let mut log = store.log_writer(&path("/log"));
    let text = |n: usize| format!("{n} {}", "z".repeat(1 << 16));
    for n in 0..100 {
        log.append(&[text(n)]).await.unwrap();
    }
    let last = |n: usize| {
        let store = cluster.store();
        async move {
            let (last, reader) = store.last_records(&path("/log"), n).await.unwrap();
            let last = last.into_iter().map(|it| String::from_utf8(it.bytes.to_vec()).unwrap());
            (last.collect::<Vec<_>>(), reader)
        }
    };
    assert_eq!(last(1000).await.0, (0..100).map(text).collect::<Vec<_>>(), "all there is");
    let mut sealed = files(cluster.server_dirs[0].path(), "chunk");
    assert!(sealed.len() >= 6, "{sealed:?}");
    sealed.sort();
    sealed[..3].iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let (shown, mut reader) = last(5).await;
    assert_eq!(shown, (95..100).map(text).collect::<Vec<_>>());
    log.append(&["more"]).await.unwrap();
    assert_eq!(rest(&mut reader).await, ["more"], "it goes on behind them");
    assert_eq!(last(0).await.0, Vec::<String>::new());
}

/// One that hangs, and whom the master does not miss yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_holds_up_an_append_for_no_longer_than_it_may_be_silent() {
    let cluster = RealCluster::start_with(0, Duration::from_secs(60));
    let dirs: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let servers: Vec<_> = (1..=4).map(|n| cluster.start_mortal(n, dirs[n - 1].path())).collect();
    let store = cluster.store();
    until_live(&store, 4).await;
    store.create_log(&path("/log"), options(3)).await.unwrap();
    let mut log = store.log_writer(&path("/log"));
    log.append(&["one"]).await.unwrap();
    // The first one is the writer's own, and the primary.
    let silent = (1..4).find(|n| !files(dirs[*n].path(), "log").is_empty()).expect("a follower");
    let (wake, sleep) = std::sync::mpsc::channel::<()>();
    servers[silent].spawn(async move {
        // Its only thread waits.
        let _woken = sleep.recv();
    });
    let watch = clock::Stopwatch::start();
    log.append(&["two"]).await.unwrap();
    let took = watch.elapsed();
    assert!(took >= super::real_master::FOLLOW_TIMEOUT, "it was not silent: {took:?}");
    assert!(took < 2 * super::real_master::FOLLOW_TIMEOUT, "{took:?}");
    let watch = clock::Stopwatch::start();
    log.append(&["three"]).await.unwrap();
    let took = watch.elapsed();
    assert!(took < super::real_master::FOLLOW_TIMEOUT, "the log goes on without it: {took:?}");
    assert_eq!(all(&store, "/log").await, ["one", "two", "three"]);
    drop(wake);
    servers.into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
}
