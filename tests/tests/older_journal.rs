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
