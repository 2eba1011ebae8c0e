//! The fetcher against a shuffle server that is broken in all the ways that matter.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use mapreduce_protocol::shuffle::SegmentHeader;
use mapreduce_protocol::{FailureKind, FromTask, JobId, MapOutputCompression, TaskKind};

use super::*;
use crate::task::cursor::Cursor;
use crate::task::run_writer::RunWriter;

const JOB: JobId = JobId { date: 20_261_122, ordinal: 1 };

fn map(index: u32) -> AttemptId {
    JOB.task(TaskKind::Map, index).attempt(0)
}

/// The blocks of a segment whose records name the map.
fn segment(index: u32, n_records: u32) -> Vec<u8> {
    segment_as(Default::default(), index, n_records)
}

fn segment_as(compression: MapOutputCompression, index: u32, n_records: u32) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut writer = RunWriter::create_temporary(&path, 1, compression).unwrap();
    for n in 0..n_records {
        let key = format!("{n:08}");
        writer.record(0, key.as_bytes(), format!("of map {index}").as_bytes()).unwrap();
    }
    let run = writer.finish().unwrap();
    let from = run.segments[0].offset as usize;
    std::fs::read(&path).unwrap()[from..][..run.segments[0].length as usize].to_vec()
}

/// What the server does with one map in one request; the last one is kept up.
#[derive(Clone)]
enum Act {
    Serve,
    /// One bit of the blocks is wrong.
    Flip(usize),
    /// The connection ends after so many bytes of the segment.
    Tear(usize),
    /// "Not here".
    Deny,
    /// Another map's header.
    Confuse,
}

type Acts = BTreeMap<u32, Vec<Act>>;

/// Serves segments of `n_records` by `acts`, until the test ends.
fn serve(acts: Acts, n_records: u32) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    serve_segments(acts, move |index| segment(index, n_records))
}

fn serve_segments(
    acts: Acts,
    blocks_of: impl Fn(u32) -> Vec<u8> + Send + 'static,
) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, acts) = (Arc::clone(&requests), Arc::new(Mutex::new(acts)));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let maps = path.split_once("?maps=").unwrap().1;
            let maps = shuffle::parse_maps(JOB, maps).unwrap();
            seen.lock().unwrap().push(path);
            let mut answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
            for attempt in maps {
                let blocks = blocks_of(attempt.task.index);
                if !write_segment(&mut answer, attempt, &acts, blocks) {
                    break;
                }
            }
            // The fetcher may have hung up already.
            let _ = stream.write_all(&answer);
        }
    });
    (address, requests)
}

/// Appends one map's answer; `false` if the connection ends here.
fn write_segment(
    answer: &mut Vec<u8>,
    attempt: AttemptId,
    acts: &Mutex<Acts>,
    mut blocks: Vec<u8>,
) -> bool {
    let index = attempt.task.index;
    let act = match acts.lock().unwrap().get_mut(&index) {
        Some(acts) if acts.len() > 1 => acts.remove(0),
        Some(acts) => acts[0].clone(),
        None => Act::Serve,
    };
    let length = blocks.len() as u64;
    let mut header = SegmentHeader { map: index, attempt: 0, found: true, length };
    let mut whole = true;
    match act {
        Act::Serve => {}
        Act::Flip(at) => blocks[at] ^= 4,
        Act::Tear(at) => {
            blocks.truncate(at);
            whole = false;
        }
        Act::Deny => {
            header = SegmentHeader { found: false, length: 0, ..header };
            blocks.clear();
        }
        Act::Confuse => header.map += 1,
    }
    answer.extend_from_slice(&header.encode());
    answer.extend_from_slice(&blocks);
    whole
}

/// One reduce that fetches.
struct Fetching {
    runtime: tokio::runtime::Runtime,
    events: mpsc::Sender<Vec<MapEvent>>,
    received: mpsc::Receiver<Result<Segment, Failure>>,
    tracker: UnixStream,
    folder: tempfile::TempDir,
}

fn fetch(n_maps: u32, memory: u64) -> Fetching {
    fetch_with(n_maps, memory, Duration::from_secs(60))
}

fn fetch_with(n_maps: u32, memory: u64, stall: Duration) -> Fetching {
    let folder = tempfile::tempdir().unwrap();
    let (own, tracker) = UnixStream::pair().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let client_settings = net::ClientSettings {
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(5),
        silence_timeout: Duration::from_secs(3),
        tls: None,
    };
    let settings = FetchSettings {
        client: Client::new(client_settings),
        folder: folder.path().to_owned(),
        job: JOB,
        partition: 3,
        n_maps,
        parallel_fetches: 2,
        retry: Duration::from_millis(5),
        stall,
        budget: Budget::new(memory),
        progress: Progress::untold(),
        retries: Arc::default(),
    };
    let (events, news) = mpsc::channel(4);
    let (fetcher, received) = start(settings, Channel::on(own), news);
    runtime.spawn(fetcher);
    Fetching { runtime, events, received, tracker, folder }
}

fn available(index: u32, address: SocketAddr, digest: &str) -> MapEvent {
    MapEvent::Available {
        attempt: map(index),
        host: "host-1".parse().unwrap(),
        address: address.to_string(),
        digest: digest.to_owned(),
    }
}

impl Fetching {
    fn tell(&self, events: Vec<MapEvent>) {
        self.events.blocking_send(events).unwrap();
    }

    /// The next segment, or why there is none; `None` at the end.
    fn next(&mut self) -> Option<Result<Segment, Failure>> {
        let deadline = Duration::from_secs(60);
        let Self { runtime, received, .. } = self;
        let next =
            runtime.block_on(async { tokio::time::timeout(deadline, received.recv()).await });
        next.expect("the fetcher goes on")
    }

    /// All segments, read: map → records, and whether it was in memory.
    fn all(&mut self) -> BTreeMap<u32, (u32, bool)> {
        let mut all = BTreeMap::new();
        while let Some(segment) = self.next() {
            let Segment { map, source } = segment.unwrap();
            let in_memory = matches!(source, Source::Memory(_));
            let mut cursor = Cursor::new(source).unwrap();
            let mut records = 0;
            while !cursor.is_done() {
                assert_eq!(cursor.value(), format!("of map {map}").as_bytes());
                records += 1;
                cursor.advance().unwrap();
            }
            assert_eq!(all.insert(map, (records, in_memory)), None, "each map once");
        }
        all
    }

    /// The maps of all reports of failed fetches.
    fn reported(mut self) -> Vec<u32> {
        drop(self.runtime);
        drop(self.received);
        let mut said = Vec::new();
        self.tracker.read_to_end(&mut said).unwrap();
        let mut maps = Vec::new();
        let mut rest = &said[..];
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (json, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            if let FromTask::FetchFailed { map, .. } = serde_json::from_slice(json).unwrap() {
                maps.push(map.task.index);
            }
            rest = after;
        }
        maps
    }
}

#[test]
fn all_maps_of_a_tracker_come_by_one_request() {
    let (address, requests) = serve(Acts::new(), 10);
    let mut fetching = fetch(3, 1 << 20);
    fetching.tell((0..3).map(|index| available(index, address, "x")).collect());
    assert_eq!(fetching.all(), (0..3).map(|index| (index, (10, true))).collect());
    let maps = [map(0), map(1), map(2)];
    assert_eq!(*requests.lock().unwrap(), [shuffle::path_and_query(JOB, 3, &maps)]);
    assert_eq!(fetching.reported(), [0; 0]);
}

#[test]
fn torn_corrupt_and_missing_segments_are_refused_reported_and_fetched_again() {
    let acts: Acts = [
        (0, vec![Act::Flip(20), Act::Serve]),
        (1, vec![Act::Flip(2), Act::Tear(100), Act::Serve]),
        (2, vec![Act::Deny, Act::Serve]),
        (3, vec![Act::Confuse, Act::Serve]),
        (4, vec![Act::Tear(0), Act::Flip(14), Act::Serve]),
    ]
    .into();
    for memory in [1 << 20, 1] {
        let (address, _) = serve(acts.clone(), 10);
        let mut fetching = fetch(5, memory);
        fetching.tell((0..5).map(|index| available(index, address, "x")).collect());
        let expected = (0..5).map(|index| (index, (10, memory > 1))).collect();
        assert_eq!(fetching.all(), expected);
        let reported = fetching.reported();
        assert!((0..5).all(|map| reported.contains(&map)), "{reported:?}");
    }
}

#[test]
fn what_exceeds_the_memory_goes_to_disk() {
    let (address, _) = serve(Acts::new(), 20_000);
    let length = segment(0, 20_000).len() as u64;
    let mut fetching = fetch(3, 2 * length);
    fetching.tell((0..3).map(|index| available(index, address, "x")).collect());
    let all = fetching.all();
    assert_eq!(all.values().filter(|(records, _)| *records == 20_000).count(), 3);
    assert_eq!(all.values().filter(|(_, in_memory)| *in_memory).count(), 2);
}

#[test]
fn what_a_merge_decompresses_counts_as_memory_too() {
    for compression in [MapOutputCompression::Lz4, MapOutputCompression::Zstd] {
        let blocks_of = move |index| segment_as(compression, index, 20_000);
        let source = Source::Memory(blocks_of(0).into());
        let (length, memory) = (source.remaining(), source.memory());
        // A block's bytes, once decompressed.
        assert!((60_000..70_000).contains(&(memory - length)), "{memory} of {length}");
        let (address, _) = serve_segments(Acts::new(), blocks_of);
        // All three would have room as they come, but not with what becomes of them.
        let mut fetching = fetch(3, 3 * length + 2 * (memory - length) + 1000);
        fetching.tell((0..3).map(|index| available(index, address, "x")).collect());
        let all = fetching.all();
        assert_eq!(all.values().filter(|(records, _)| *records == 20_000).count(), 3);
        assert_eq!(all.values().filter(|(_, in_memory)| *in_memory).count(), 2);
    }
}

#[test]
fn a_disk_that_takes_no_segment_ends_the_attempt_and_accuses_no_tracker() {
    let (address, _) = serve(Acts::new(), 10);
    let mut fetching = fetch(3, 1);
    std::fs::remove_dir(fetching.folder.path()).unwrap();
    fetching.tell((0..3).map(|index| available(index, address, "x")).collect());
    let failure = fetching.next().unwrap().err().unwrap();
    assert_eq!(failure.kind, FailureKind::HostUnfit, "{}", failure.message);
    assert!(failure.message.contains("fetched-"), "{}", failure.message);
    assert!(fetching.next().is_none());
    assert_eq!(fetching.reported(), [0; 0]);
}

#[test]
fn a_lost_output_comes_from_where_it_is_made_again() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    comes_from_elsewhere(fetch(1, 1 << 20), gone);
}

#[test]
fn a_tracker_that_says_nothing_is_given_up_and_reported() {
    // It takes the connection, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let fetching = fetch_with(1, 1 << 20, Duration::from_millis(50));
    comes_from_elsewhere(fetching, silent.local_addr().unwrap());
}

fn comes_from_elsewhere(mut fetching: Fetching, gone: SocketAddr) {
    let (address, _) = serve(Acts::new(), 1);
    fetching.tell(vec![available(0, gone, "x")]);
    let mut length = [0; 4];
    fetching.tracker.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    loop {
        fetching.tracker.read_exact(&mut length).unwrap();
        let mut json = vec![0; u32::from_le_bytes(length) as usize];
        fetching.tracker.read_exact(&mut json).unwrap();
        if let FromTask::FetchFailed { map: lost, .. } = serde_json::from_slice(&json).unwrap() {
            assert_eq!(lost, map(0));
            break;
        }
    }
    fetching.tell(vec![MapEvent::Withdrawn { attempt: map(0) }, available(0, address, "y")]);
    assert_eq!(fetching.all(), [(0, (1, true))].into());
}

#[test]
fn another_output_of_a_fetched_map_ends_the_attempt() {
    let (address, _) = serve(Acts::new(), 1);
    let mut fetching = fetch(2, 1 << 20);
    fetching.tell(vec![available(0, address, "x")]);
    assert_eq!(fetching.next().unwrap().unwrap().map, 0);
    fetching.tell(vec![available(0, address, "y")]);
    let failure = fetching.next().unwrap().err().unwrap();
    let changed = FailureKind::MapOutputChanged { map_attempt: map(0) };
    assert_eq!(failure.kind, changed, "{}", failure.message);
    assert!(fetching.next().is_none());
}

#[test]
fn a_job_without_maps_needs_no_tracker() {
    assert_eq!(fetch(0, 1).all(), BTreeMap::new());
}
