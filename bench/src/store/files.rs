//! Whole files: put, get, and what a read costs on the same host and from another network namespace. Clients
//! are processes of the binary, as users run them; they are compared with HDFS, where it can be had, and with
//! `cat` of the same file from the page cache.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use clock::Stopwatch;
use tests::cluster::{Dev, DevOptions};

use super::StoreArgs;
use super::hdfs::Hdfs;
use super::namespace::Namespace;
use crate::measure::Rates;
use crate::report::Report;

/// Howdah's rate, in HDFS's.
const HDFS_RATIO_MIN: f64 = 2.5;
/// A read on the same host, in the rate of `cat`.
const CAT_RATIO_MIN: f64 = 0.5;
/// Of a read from another network namespace, MB/s.
const NETWORK_MIN: f64 = 1000.0;

/// Chunks that go leave the disk at once: every run writes as many bytes again.
const NO_TRASH: [&str; 2] = ["chunkmaster.trash_interval=0s", "chunkserver.trash_interval=0s"];

/// Adds the rows of put, get and local reads.
pub(super) fn put_and_get(args: &StoreArgs, report: &mut Report) -> anyhow::Result<()> {
    touch_free_memory(args.size.0.saturating_mul(12));
    let cluster = Dev::start(&options());
    let file = local_file(cluster.scratch(), args.size.0)?;
    let hdfs = Hdfs::start(args.hadoop_jars.as_deref(), cluster.scratch())?;
    let [mut one, mut two, mut get, mut cat, mut synced] = [(); 5].map(|()| Rates::default());
    let copy = cluster.scratch().join("copy");
    let [mut hdfs_one, mut hdfs_two, mut hdfs_get] = [(); 3].map(|()| Rates::default());
    for run in 0..=args.runs {
        let counts = run > 0;
        let timed = |rates: &mut Rates, rate: f64| counts.then(|| rates.push(rate));
        for (replication, rates) in [("1", &mut one), ("2", &mut two)] {
            let path = format!("/put-{replication}");
            let mut put = cluster.client(&["fs", "put", "--replication", replication]);
            timed(rates, rate(put.arg(&file).arg(&path), args)?);
        }
        // Of each the second read: the first one after a write finds pages that no processor has touched since.
        let mut read = cluster.client(&["fs", "cat", "/put-1"]);
        rate(&mut read, args)?;
        timed(&mut get, rate(&mut read, args)?);
        let mut alone = Command::new("cat");
        rate(alone.arg(&file), args)?;
        timed(&mut cat, rate(&mut alone, args)?);
        let [from, to] =
            [("if", &file), ("of", &copy)].map(|(key, path)| format!("{key}={}", path.display()));
        let mut dd = Command::new("dd");
        timed(&mut synced, rate(dd.args([&*from, &*to, "bs=1M", "conv=fdatasync"]), args)?);
        std::fs::remove_file(&copy)?;
        if run == 0 {
            check(&cluster, &file)?;
        }
        let _gone = cluster.run(&["fs", "rm", "--skip-trash", "/put-1", "/put-2"]).success();
        if let Some(hdfs) = &hdfs {
            timed(&mut hdfs_one, hdfs.put(&file, 1)?);
            timed(&mut hdfs_two, hdfs.put(&file, 2)?);
            timed(&mut hdfs_get, hdfs.get()?);
        }
    }
    for (what, ours, theirs) in [
        ("put, 1 replica", &one, &hdfs_one),
        ("put, 2 replicas", &two, &hdfs_two),
        ("get", &get, &hdfs_get),
    ] {
        let what = format!("{what}, {}", args.size);
        match hdfs.is_some() {
            true => compare(report, &what, ours, ("HDFS", theirs), HDFS_RATIO_MIN),
            false => report.row(
                what,
                format!("{ours} (MB); HDFS skipped: --hadoop-jars names no folder of its jars"),
                "nothing to compare with",
                true,
            ),
        }
    }
    for (replicas, rates) in [(1_u8, &one), (2, &two)] {
        let ratio = f64::from(replicas) * rates.ratio_to(&synced);
        report.row(
            format!("put, {replicas} replica(s), {}, as bytes on disk", args.size),
            format!("{ratio:.2} of `dd conv=fdatasync`, {synced} (MB)"),
            "none: all of it is synced before it is acknowledged, and HDFS syncs nothing",
            true,
        );
    }
    compare(report, &format!("local read, {}", args.size), &get, ("`cat`", &cat), CAT_RATIO_MIN);
    Ok(())
}

/// Adds the rows of reads by HTTP: from the same network, and from another network namespace.
pub(super) fn across(args: &StoreArgs, report: &mut Report) -> anyhow::Result<()> {
    let what = format!("read from another network namespace, {}", args.size);
    let space = match Namespace::new() {
        Ok(space) => space,
        Err(why) => {
            report.row(what, format!("skipped: {why:#}"), "nothing was measured", true);
            return Ok(());
        }
    };
    let mut cluster = Dev::start(&options());
    cluster.stop();
    let config = cluster.config_file();
    let text = std::fs::read_to_string(&config)?.replace("127.0.0.1", space.address());
    std::fs::write(&config, text)?;
    ["chunkmaster", "chunkserver-1", "chunkserver-2", "chunkserver-3"]
        .into_iter()
        .for_each(|daemon| cluster.restart(daemon));
    let file = local_file(cluster.scratch(), args.size.0)?;
    cluster.put(&file, "/file");
    let [mut near, mut far, mut cat] = [(); 3].map(|()| Rates::default());
    for run in 0..=args.runs {
        let read = || cluster.client(&["fs", "cat", "/file"]);
        let (by_http, across) = (rate(&mut read(), args)?, rate(&mut space.within(&read()), args)?);
        let alone = rate(Command::new("cat").arg(&file), args)?;
        if run > 0 {
            near.push(by_http);
            far.push(across);
            cat.push(alone);
        }
    }
    report.row(
        format!("read on the same host without the passed descriptor, {}", args.size),
        format!("{near} (MB); `cat` {cat}; ratio {:.2}", near.ratio_to(&cat)),
        "none: it goes by HTTP, as from another host",
        true,
    );
    let (measured, goal) = (format!("{far} (MB)"), format!("≥ {NETWORK_MIN:.0} MB/s"));
    report.row(what, measured, goal, far.median() >= NETWORK_MIN || args.size.0 < FULL_BYTES);
    Ok(())
}

/// With smaller files it is the start of a process that counts, and no goal is missed.
const FULL_BYTES: u64 = 1 << 30;

fn compare(
    report: &mut Report,
    what: &str,
    ours: &Rates,
    (name, theirs): (&str, &Rates),
    min: f64,
) {
    let ratio = ours.ratio_to(theirs);
    report.row(
        what,
        format!("{ours} (MB); {name} {theirs}; ratio {ratio:.2}"),
        format!("≥ {min} × {name}"),
        ratio >= min,
    );
}

fn options() -> DevOptions {
    NO_TRASH.into_iter().fold(DevOptions::trackers(3), DevOptions::set)
}

/// Bytes that nothing can make smaller.
fn local_file(folder: &Path, bytes: u64) -> anyhow::Result<PathBuf> {
    let path = folder.join("file");
    let mut file = File::create(&path)?;
    let mut piece = vec![0; 1 << 20];
    let (mut left, mut state) = (bytes, 0x9e37_79b9_7f4a_7c15_u64);
    while left > 0 {
        for word in piece.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let n = usize::try_from(left)?.min(piece.len());
        file.write_all(&piece[..n])?;
        left -= n as u64;
    }
    // Else the first runs would wait for what others write back.
    file.sync_all()?;
    Ok(path)
}

/// MB/s of a command that moves `args.size` bytes; its output goes nowhere.
fn rate(command: &mut Command, args: &StoreArgs) -> anyhow::Result<f64> {
    settle();
    let watch = Stopwatch::start();
    let ended = command.stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let ended = ended.with_context(|| format!("{command:?}"))?;
    let time = watch.elapsed();
    let said = String::from_utf8_lossy(&ended.stderr);
    anyhow::ensure!(ended.status.success(), "{command:?}: {}: {said}", ended.status);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let mb = args.size.0 as f64 / 1e6;
    Ok(mb / time.as_secs_f64())
}

/// Waits until nothing is left to be written: HDFS does not sync what it is given, and whoever is measured after it
/// would wait for that.
pub(super) fn settle() {
    rustix::fs::sync();
}

/// A virtual machine gets its memory from its host page by page, at the first touch of each, which can cost a put
/// more than all else; a machine that has run for a while has what it needs. Touches at most `bytes`.
fn touch_free_memory(bytes: u64) {
    let system = rustix::system::sysinfo();
    let free = system.freeram.saturating_mul(u64::from(system.mem_unit));
    let bytes = usize::try_from(bytes.min(free / 10 * 8)).unwrap_or(0);
    drop(std::hint::black_box(vec![1_u8; bytes]));
}

/// A fast wrong answer fails.
fn check(cluster: &Dev, file: &Path) -> anyhow::Result<()> {
    let back = cluster.scratch().join("back");
    cluster.get("/put-2", &back);
    let same = Command::new("cmp").arg(file).arg(&back).status()?;
    anyhow::ensure!(same.success(), "what was put and what was got differ");
    Ok(std::fs::remove_file(back)?)
}
