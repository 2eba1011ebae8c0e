//! Replicas rot on their disks: reads give the right bytes or an error, and what can be made again is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use clock::Stopwatch;
use serde_json::Value;
use tests::cluster::PATIENCE;
use tests::contents::{Numbers, content};
use tests::replicas::replicas;
use tests::{Dev, DevOptions, wait};

const CHUNKS: usize = 100;
const CHUNK_BYTES: usize = 256 << 10;
const REPLICAS: usize = 3;
/// What one checksum is of.
const BLOCK_BYTES: usize = 64 << 10;
/// In which a chunk that the master knows to lack replicas has all of them again.
const MADE_AGAIN: Duration = Duration::from_secs(10);

/// Each chunk's file as it is on every disk.
type Sound = BTreeMap<String, Vec<u8>>;

fn start() -> Dev {
    let options = DevOptions::trackers(4)
        .set("chunkmaster.chunk_bytes=256KiB")
        .set("chunkmaster.replication=3")
        .set("chunkmaster.heartbeat_interval=200ms")
        .set("chunkserver.scrub_rate=64MiB");
    Dev::start(&options)
}

fn sound_copies(dev: &Dev) -> Sound {
    let chunks = replicas(dev).into_iter();
    let read = |file: &Path| fs::read(file).expect("a chunk can be read");
    let first = chunks.map(|(name, files)| {
        assert_eq!(files.len(), REPLICAS, "{name}");
        let bytes = read(&files[0]);
        assert!(files.iter().all(|file| read(file) == bytes), "{name} differs from disk to disk");
        (name, bytes)
    });
    first.collect()
}

/// Damages a file in one of the ways in which disks do.
fn damage(file: &Path, kind: usize, numbers: &mut Numbers) {
    let length = fs::metadata(file).expect("it is there").len();
    let open = || fs::File::options().read(true).write(true).open(file).expect("it can be written");
    let flip = |at: u64, bit: u64| {
        let (file, mut byte) = (open(), [0]);
        file.read_exact_at(&mut byte, at).expect("a byte can be read");
        file.write_all_at(&[byte[0] ^ (1 << bit)], at).expect("and written");
    };
    match kind % 5 {
        0 => flip(numbers.below(CHUNK_BYTES as u64), numbers.below(8)),
        1 => {
            let at = CHUNK_BYTES as u64 + numbers.below(length - CHUNK_BYTES as u64);
            flip(at, numbers.below(8));
        }
        2 => open().set_len(numbers.below(length)).expect("it can be cut"),
        3 => open().set_len(0).expect("it can be emptied"),
        _ => fs::remove_file(file).expect("it can be removed"),
    }
}

/// The chunks that the master knows to lack replicas; the names of their files begin so.
fn known_bad(dev: &Dev) -> BTreeSet<String> {
    let fsck = dev.run(&["fs", "fsck", "--format", "json"]);
    let fsck: Value = serde_json::from_slice(&fsck.stdout).expect("the check answers");
    let files = fsck["files"].as_array().into_iter().flatten();
    let chunks = files.flat_map(|file| file["chunks"].as_array().into_iter().flatten());
    chunks.map(|chunk| format!("{}_", chunk["chunk"].as_str().unwrap_or_default())).collect()
}

/// Waits until every chunk has its sound copies again, each within [`MADE_AGAIN`] of when a bad one was found. A
/// chunk of which another bad copy has not been found yet is well as far as anyone knows.
fn await_sound(dev: &Dev, sound: &Sound) {
    let (mut found, mut longest) = (BTreeMap::<String, Stopwatch>::new(), Duration::ZERO);
    wait::until("every chunk has three sound copies again", PATIENCE, || {
        let known = known_bad(dev);
        found.retain(|chunk, since| {
            longest = longest.max(since.elapsed());
            assert!(since.elapsed() < MADE_AGAIN, "{chunk} was found bad and is not made again");
            known.contains(chunk)
        });
        for chunk in known {
            found.entry(chunk).or_insert_with(Stopwatch::start);
        }
        let now = replicas(dev);
        let are_sound = |(name, expected): (&String, &Vec<u8>)| {
            let files = now.get(name).filter(|files| files.len() == REPLICAS)?;
            files.iter().all(|file| fs::read(file).is_ok_and(|it| it == *expected)).then_some(())
        };
        sound.iter().try_for_each(are_sound)
    });
    println!("at most {longest:.1?} from when a bad copy was found");
}

#[test]
fn with_up_to_two_of_three_replicas_damaged_reads_are_exact_and_all_is_made_again() {
    let dev = start();
    let bytes = content(4, CHUNKS * CHUNK_BYTES);
    let _ = dev.put_bytes(bytes, "/rots", &[]).success();
    let sound = sound_copies(&dev);
    assert_eq!(sound.len(), CHUNKS);
    let mut numbers = Numbers::new(4);
    let mut n_damaged = 0;
    for (nth, mut files) in replicas(&dev).into_values().enumerate() {
        for _ in 0..nth % REPLICAS {
            let file = files.swap_remove(numbers.below(files.len() as u64) as usize);
            damage(&file, n_damaged, &mut numbers);
            n_damaged += 1;
        }
    }
    assert_eq!(n_damaged, 99);

    let read = dev.run(&["fs", "cat", "/rots"]).success();
    assert!(read.stdout == bytes, "other bytes came back");
    await_sound(&dev, &sound);
    let read = dev.run(&["fs", "cat", "/rots"]).success();
    assert!(read.stdout == bytes, "other bytes came back");
    let _ = dev.run(&["fs", "fsck"]).success();
}

#[test]
fn a_chunk_without_a_good_replica_is_an_error_that_names_its_file() {
    let dev = start();
    let _ = dev.put_bytes(content(1, CHUNK_BYTES), "/lost", &[]).success();
    let lost = replicas(&dev).into_values().next().expect("it has a chunk");
    let _ = dev.put_bytes(content(2, CHUNK_BYTES), "/kept", &[]).success();
    let mut numbers = Numbers::new(5);
    for (kind, file) in [0, 2, 4].into_iter().zip(&lost) {
        damage(file, kind, &mut numbers);
    }
    let _ = dev.run(&["fs", "cat", "/lost"]).refused(1, &["/lost"]);
    let told = wait::until("the check tells of the loss", PATIENCE, || {
        let fsck = dev.run(&["fs", "fsck", "--format", "json"]);
        (fsck.code == Some(1)).then(|| serde_json::from_slice::<Value>(&fsck.stdout).unwrap())
    });
    assert_eq!(told["files"][0]["path"], "/lost", "{told:#}");
    assert_eq!(told["files"].as_array().map(Vec::len), Some(1), "{told:#}");
    let _ = dev.run(&["fs", "cat", "/lost"]).refused(1, &["/lost"]);
    let kept = dev.run(&["fs", "cat", "/kept"]).success();
    assert!(kept.stdout == content(2, CHUNK_BYTES), "other bytes came back");
    let _ = dev.run(&["fs", "rm", "--skip-trash", "/lost"]).success();
    let _ = dev.run(&["fs", "fsck"]).success();
}

#[test]
fn what_is_sound_in_some_replica_is_read_though_none_is_whole_and_good_ones_are_made_of_it() {
    let dev = start();
    let bytes = content(6, CHUNK_BYTES);
    let _ = dev.put_bytes(bytes, "/patched", &[]).success();
    let sound = sound_copies(&dev);
    let files = replicas(&dev).into_values().next().expect("it has a chunk");
    for (block, file) in files.iter().enumerate() {
        let (file, at) =
            (fs::File::options().read(true).write(true).open(file).unwrap(), block * BLOCK_BYTES);
        let mut byte = [0];
        file.read_exact_at(&mut byte, at as u64).expect("a byte can be read");
        file.write_all_at(&[!byte[0]], at as u64).expect("and written");
    }
    let read = dev.run(&["fs", "cat", "/patched"]).success();
    assert!(read.stdout == bytes, "other bytes came back");
    await_sound(&dev, &sound);
    let read = dev.run(&["fs", "cat", "/patched"]).success();
    assert!(read.stdout == bytes, "other bytes came back");
    let _ = dev.run(&["fs", "fsck"]).success();
}
