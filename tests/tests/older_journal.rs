//! A master that is started over an older copy of its journal: it changes nothing, says why, and the right journal goes
//! on afterwards as if nothing had been.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;
use tests::cluster::PATIENCE;
use tests::{Dev, DevOptions, http, wait};

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_file() {
            fs::copy(&path, to.join(entry.file_name())).expect("a file can be copied");
        }
    }
}

/// A master's journal, and an older copy of it.
struct Journals {
    dir: PathBuf,
    copy: PathBuf,
    right: PathBuf,
}

impl Journals {
    /// Copies the journal as it is now.
    fn of(dev: &Dev, daemon: &str) -> Self {
        let dir = dev.data_dir(daemon);
        let (copy, right) = (dev.scratch().join("copy"), dev.scratch().join("right"));
        copy_folder(&dir, &copy);
        Self { dir, copy, right }
    }

    /// Lays the copy in the place of the right one, which is set aside.
    fn lay_copy(&self) {
        fs::rename(&self.dir, &self.right).expect("a folder can be moved");
        copy_folder(&self.copy, &self.dir);
    }

    fn lay_right(&self) {
        fs::remove_dir_all(&self.dir).expect("a folder can be removed");
        fs::rename(&self.right, &self.dir).expect("a folder can be moved");
    }
}

/// A daemon that does not get ready.
struct Unready(Child);

impl Unready {
    fn start(dev: &Dev, daemon: &str) -> Self {
        let log = fs::File::create(dev.scratch().join("unready.log")).expect("a new file");
        let mut start = dev.client(&[daemon]);
        Self(start.stdout(Stdio::null()).stderr(log).spawn().expect("it starts"))
    }
}

impl Drop for Unready {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A change, as soon as the chunk master takes any: when its servers have told what they hold.
fn change(dev: &Dev, args: &[&str]) {
    wait::until("a change is taken", PATIENCE, || (dev.run(args).code == Some(0)).then_some(()));
}

fn text_of(dev: &Dev, path: &str) -> String {
    dev.run(&["fs", "cat", path]).success().text()
}

#[test]
fn a_chunk_master_over_an_older_journal_changes_nothing_and_the_right_one_goes_on() {
    let options = DevOptions::trackers(2)
        .set("chunkmaster.replication=2")
        .set("chunkmaster.heartbeat_interval=200ms")
        .set("chunkmaster.dead_after=5s")
        .set("client.retry_for=1s");
    let mut dev = Dev::start(&options);
    dev.put_text("old\n", "/kept");
    dev.put_text("gone\n", "/removed");
    let journals = Journals::of(&dev, "chunkmaster");
    dev.put_text("new\n", "/since");
    let _ = dev.run(&["fs", "rm", "--skip-trash", "/removed"]).success();
    dev.kill("chunkmaster");
    journals.lay_copy();
    let outdated = Unready::start(&dev, "chunkmaster");
    let address = dev.address_of("chunkmaster");
    wait::until("the older journal is noticed", PATIENCE, || {
        let metrics = http::get(&address, "/metrics").ok()?.text;
        metrics.lines().any(|line| line == "howdah_chunkmaster_journal_outdated 1").then_some(())
    });
    let unready = http::get(&address, "/readyz").unwrap();
    assert_eq!(unready.status, 503, "{}", unready.text);
    assert_eq!(text_of(&dev, "/kept"), "old");
    for change in [&["fs", "mkdir", "/d"][..], &["fs", "rm", "--skip-trash", "/kept"]] {
        let _ = dev.run(change).refused(1, &["older than the cluster", "--accept-old-journal"]);
    }
    drop(outdated);
    journals.lay_right();
    dev.restart("chunkmaster");
    assert_eq!((text_of(&dev, "/kept"), text_of(&dev, "/since")), ("old".into(), "new".into()));
    change(&dev, &["fs", "mkdir", "/d"]);
    let fsck = dev.run(&["fs", "fsck"]);
    assert_eq!(fsck.code, Some(0), "nothing was deleted: {} {}", fsck.text(), fsck.stderr);

    // The right one is lost for good, and somebody says so.
    dev.kill("chunkmaster");
    journals.lay_copy();
    dev.restart_with("chunkmaster", &["--accept-old-journal"]);
    change(&dev, &["fs", "mkdir", "/d"]);
    let _ = dev.run(&["fs", "cat", "/since"]).refused(1, &["/since"]);
    dev.put_text("again\n", "/since");
    assert_eq!((text_of(&dev, "/kept"), text_of(&dev, "/since")), ("old".into(), "again".into()));
}

/// Segments of a journal, oldest first.
fn segments(journal: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(journal).expect("a folder").flatten().map(|entry| entry.path());
    let is_segment = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal-"))
    };
    let mut segments: Vec<_> = files.filter(is_segment).collect();
    segments.sort();
    segments
}

/// The last record that a chunkserver was told of, and keeps.
fn kept_record(dev: &Dev, server: &str) -> u64 {
    let text = fs::read_to_string(dev.data_dir(server).join("term.json")).unwrap_or_default();
    let kept: Value = serde_json::from_str(&text).unwrap_or_default();
    kept["last_record"].as_u64().unwrap_or(0)
}

/// What is left is a whole journal, of the very start that went on, and all chunks of its time are known to it.
#[test]
fn a_chunk_master_whose_newest_segment_is_lost_in_all_folders_changes_nothing() {
    let mut dev = Dev::to_be_started();
    let mirror = dev.scratch().join("mirror");
    let options = DevOptions::trackers(2)
        .set("chunkmaster.replication=2")
        .set("chunkmaster.heartbeat_interval=200ms")
        .set("chunkmaster.dead_after=5s")
        .set("chunkmaster.journal_segment=2MiB")
        .set(&format!("chunkmaster.journal_mirror={}", mirror.display()))
        .set("client.retry_for=1s");
    dev.start_again(&options);
    dev.put_text("old\n", "/kept");
    let folders = [dev.data_dir("chunkmaster"), mirror];
    let mut n = 0;
    while segments(&folders[0]).len() < 2 {
        let names: Vec<String> =
            (0..100).map(|nth| format!("/{n}-{nth}-{}", "n".repeat(240))).collect();
        let names = names.iter().map(String::as_str);
        let _ = dev.run(&["fs", "mkdir"].into_iter().chain(names).collect::<Vec<_>>()).success();
        n += 1;
        assert!(n < 200, "the journal has one segment still");
    }
    let _ = dev.run(&["fs", "mkdir", "/since"]).success();
    let newest = segments(&folders[0]).pop().expect("a segment");
    let first = newest.file_stem().expect("a name").to_string_lossy().replace("journal-", "");
    let first = u64::from_str_radix(&first, 16).expect("a number");
    wait::until("servers keep the number of a record in it", PATIENCE, || {
        (kept_record(&dev, "chunkserver-1") >= first).then_some(())
    });
    dev.kill("chunkmaster");
    let newest = newest.file_name().expect("a name");
    for folder in &folders {
        fs::rename(folder.join(newest), folder.join("lost")).expect("a file can be moved");
    }
    // A second start has more records than are missing.
    for _ in 0..2 {
        let outdated = Unready::start(&dev, "chunkmaster");
        let address = dev.address_of("chunkmaster");
        wait::until("it is noticed", PATIENCE, || {
            let metrics = http::get(&address, "/metrics").ok()?.text;
            metrics
                .lines()
                .any(|line| line == "howdah_chunkmaster_journal_outdated 1")
                .then_some(())
        });
        let parts = ["record", "newest segment was lost", "--accept-old-journal"];
        let _ = dev.run(&["fs", "mkdir", "/d"]).refused(1, &parts);
        assert_eq!(text_of(&dev, "/kept"), "old");
        drop(outdated);
    }
    dev.restart_with("chunkmaster", &["--accept-old-journal"]);
    change(&dev, &["fs", "mkdir", "/d"]);
    assert_eq!(text_of(&dev, "/kept"), "old");
    dev.kill("chunkmaster");
    dev.restart("chunkmaster");
    change(&dev, &["fs", "mkdir", "/e"]);
}

fn word_count(dev: &Dev, output: &str) -> String {
    let text = format!(
        "name: count\ninput: [/in]\noutput: {output}\nprogram: {{builtin: {{name: wordcount}}}}\n"
    );
    let id = dev.run(&["job", "submit", &dev.job_file("job.yaml", &text)]).success().text();
    dev.await_job(&id, "succeeds", |job: &Value| job["state"] == "SUCCEEDED");
    id
}

#[test]
fn a_jobtracker_over_an_older_journal_gives_out_no_id_again_but_ends() {
    let mut dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("a b a\n", "/in");
    word_count(&dev, "/before");
    for restarts in [false, true] {
        // It is known by the later start, or by the job that it never accepted.
        let journals = Journals::of(&dev, "jobtracker");
        if restarts {
            dev.kill("jobtracker");
            dev.restart("jobtracker");
        }
        let output = if restarts { "/second" } else { "/first" };
        let id = (!restarts).then(|| word_count(&dev, output));
        if let Some(id) = &id {
            wait::until("its history is written", PATIENCE, || {
                let answer = http::get(&dev.jobtracker(), &format!("/v1/history/{id}")).ok()?;
                (answer.status == 200).then_some(())
            });
        }
        dev.kill("jobtracker");
        journals.lay_copy();
        let ended = dev.run(&["jobtracker"]);
        assert_ne!(ended.code, Some(0));
        let known = id.as_deref().unwrap_or("start of epoch");
        for part in ["an older copy", known, "--init"] {
            assert!(ended.stderr.contains(part), "no {part:?} in {}", ended.stderr);
        }
        journals.lay_right();
        dev.restart("jobtracker");
        let next = word_count(&dev, &format!("{output}-next"));
        assert_ne!(Some(&next), id.as_ref(), "no id is given out twice");
        fs::remove_dir_all(&journals.copy).unwrap();
    }
}
