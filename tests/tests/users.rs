//! Users: whose jobs and files are, and who may do what with them.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use tests::cluster::PATIENCE;
use tests::command::{Finished, finish};
use tests::{Dev, DevOptions, wait};

const USERS: &str =
    "users=[{name: ann}, {name: ben}, {name: vic, role: viewer}, {name: ada, role: admin}]";

/// A cluster whose users are told apart.
fn start(trackers: u32) -> Dev {
    let options = DevOptions::trackers(trackers).set("cluster.anonymous_loopback=false").set(USERS);
    let dev = Dev::start(&options);
    for name in ["ann", "ben", "vic", "ada"] {
        let token = dev.run(&["token", "--user", name, "--for", "1h"]).success().text();
        write_token(&dev, name, &token);
    }
    dev
}

fn token_file(dev: &Dev, name: &str) -> PathBuf {
    dev.scratch().join(format!("{name}.token"))
}

fn write_token(dev: &Dev, name: &str, token: &str) {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    let file =
        options.write(true).create(true).truncate(true).mode(0o600).open(token_file(dev, name));
    file.and_then(|mut file| file.write_all(token.as_bytes())).expect("a token file");
}

/// Runs a command as a user who has a token, and not the secret.
fn by(dev: &Dev, name: &str, args: &[&str]) -> Finished {
    finish(dev.client(args).env("HOWDAH_TOKEN_FILE", token_file(dev, name)))
}

fn put(dev: &Dev, name: &str, text: &str, path: &str) -> Finished {
    let local = dev.scratch().join(format!("{name}.txt"));
    std::fs::write(&local, text).expect("a local file");
    by(dev, name, &["fs", "put", local.to_str().expect("a path"), path])
}

fn job_file(dev: &Dev, input: &str, output: &str) -> String {
    let text = format!(
        "name: words\ninput: [{input}]\noutput: {output}\nreduces: 1\nprogram: {{builtin: {{name: wordcount}}}}\n"
    );
    dev.job_file(&output.replace('/', "-"), &text)
}

#[test]
fn others_files_can_be_read_and_not_changed() {
    let dev = start(1);
    let _ = put(&dev, "ann", "a b a\n", "/ann/in.txt").success();
    assert_eq!(by(&dev, "ben", &["fs", "cat", "/ann/in.txt"]).success().text(), "a b a");
    let listed = by(&dev, "vic", &["fs", "ls", "/"]).success().text();
    assert!(listed.contains("ann") && listed.contains("/ann"), "{listed}");
    let theirs = "/ann/in.txt belongs to ann";
    for args in [
        &["fs", "rm", "/ann/in.txt"][..],
        &["fs", "rm", "-r", "--skip-trash", "/ann"],
        &["fs", "mv", "/ann/in.txt", "/mine.txt"],
        &["fs", "setrep", "1", "/ann/in.txt"],
        &["fs", "touch", "/ann/new"],
        &["fs", "mkdir", "/ann/new"],
        &["fs", "chown", "ben", "/ann"],
        &["fs", "drain", "host-1"],
        &["fs", "undrain", "host-1"],
    ] {
        for name in ["ben", "vic"] {
            let refused = by(&dev, name, args);
            assert_eq!(refused.code, Some(1), "{name} {args:?}: {}", refused.stderr);
            assert!(refused.stderr.contains(name), "{}", refused.stderr);
        }
    }
    let _ = by(&dev, "ben", &["fs", "rm", "/ann/in.txt"]).refused(1, &[theirs, "admin"]);
    let _ = put(&dev, "ben", "x\n", "/ann/x.txt")
        .refused(1, &["the folder /ann belongs to ann", "fs chown ben"]);
    let _ = put(&dev, "vic", "x\n", "/vic.txt").refused(1, &["vic", "viewer"]);
    let _ = put(&dev, "ben", "x\n", "/ben/x.txt").success();
    let _ = by(&dev, "ada", &["fs", "chown", "ben:staff", "/ann"])
        .refused(1, &["\"ben:staff\" is no user of this cluster", "there are no groups"]);
    let _ = by(&dev, "ada", &["fs", "chown", "-R", "ben", "/ann"]).success();
    let _ = by(&dev, "ann", &["fs", "rm", "/ann/in.txt"]).refused(1, &["belongs to ben"]);
    let _ = by(&dev, "ben", &["fs", "rm", "/ann/in.txt"]).success();
    // From the trash too, it is ben's.
    let trash = by(&dev, "ann", &["fs", "ls", "-R", "/.howdah/trash"]).success().text();
    let kept = trash.split_whitespace().find(|word| word.ends_with("/ann/in.txt")).expect(&trash);
    let _ = by(&dev, "ann", &["fs", "mv", kept, "/again.txt"]).refused(1, &["belongs to ben"]);
    let _ = by(&dev, "ben", &["fs", "mv", kept, "/ann/in.txt"]).success();
    // The trash is emptied of one's own, whatever of others' stands before it; by an admin of all.
    for (owner, file) in [("ada", "/a.txt"), ("ben", "/ben/b.txt"), ("ada", "/c.txt")] {
        let _ = put(&dev, owner, "abc\n", file).success();
        let _ = by(&dev, owner, &["fs", "rm", file]).success();
    }
    let emptied = by(&dev, "ben", &["fs", "expunge"]).success();
    let (told, said) = (emptied.text(), &emptied.stderr);
    assert!(told.lines().all(|line| line.contains(" of ben: ")), "{told}");
    assert!(told.contains(" of ben: 1 files, 4 bytes"), "{told}");
    assert!(said.contains("other users', and stay: "), "{said}");
    let left = by(&dev, "ann", &["fs", "ls", "-R", "/.howdah/trash"]).success().text();
    assert!(left.contains("/a.txt") && left.contains("/c.txt"), "{left}");
    assert!(!left.contains("/ben/b.txt"), "{left}");
    let emptied = by(&dev, "ada", &["fs", "expunge"]).success();
    assert!(emptied.text().matches(" of ada: ").count() >= 2, "{}", emptied.text());
    assert!(!emptied.stderr.contains("stay"), "{}", emptied.stderr);
}

#[test]
fn others_jobs_can_be_looked_at_and_not_ended() {
    let dev = start(1);
    let _ = put(&dev, "ann", "a b a\n", "/ann/in.txt").success();
    let file = job_file(&dev, "/ann", "/ben/out");
    let _ = by(&dev, "ben", &["fs", "mkdir", "/ben"]).success();
    let _ =
        by(&dev, "ann", &["job", "submit", &file]).refused(1, &["the folder /ben belongs to ben"]);
    let _ = by(&dev, "vic", &["job", "submit", &file]).refused(1, &["viewer"]);
    // Nothing of it is to run while others try to end it.
    let _ = by(&dev, "ann", &["host", "drain", "host-1"]).refused(1, &["admin"]);
    let _ = by(&dev, "ada", &["host", "drain", "host-1"]).success();
    let id = by(&dev, "ben", &["job", "submit", &file]).success().text();
    let status = by(&dev, "vic", &["job", "status", &id]).success().text();
    assert!(status.contains("user       ben"), "{status}");
    for name in ["ann", "vic"] {
        for args in [
            &["job", "kill", &id][..],
            &["job", "pause", &id],
            &["job", "resume", &id],
            &["job", "priority", &id, "high"],
            &["pool", "pause", "default"],
        ] {
            let _ = by(&dev, name, args).refused(1, &[name]);
        }
    }
    let _ = by(&dev, "ann", &["job", "kill", &id]).refused(1, &[&id, "belongs to ben", "admin"]);
    let _ = by(&dev, "ada", &["job", "priority", &id, "high"]).success();
    let _ = by(&dev, "ada", &["host", "undrain", "host-1"]).success();
    let _ = by(&dev, "ben", &["job", "wait", &id]).success();
    let owned = by(&dev, "ann", &["fs", "ls", "-R", "/ben"]).success().text();
    assert!(owned.lines().all(|line| line.contains(" ben ")), "the output is the user's: {owned}");
    let listed = |user: &str| {
        let list = dev.run(&["job", "list", "--user", user, "--format", "json"]).success().text();
        serde_json::from_str::<serde_json::Value>(&list).expect(&list)["jobs"].clone()
    };
    assert_eq!(listed("ann").as_array().map(Vec::len), Some(0));
    assert_eq!(listed("ben")[0]["owner"], "ben");
    let history = || by(&dev, "ann", &["job", "history", &id]).code.filter(|code| *code == 0);
    wait::until("its history is written", PATIENCE, history);
    let history = by(&dev, "ann", &["job", "history", &id]).success().text();
    assert!(history.contains("user       ben"), "{history}");
}

#[test]
fn a_token_is_taken_back_without_a_restart() {
    let dev = start(1);
    let stranger = dev.run(&["token", "--user", "eve"]);
    let _ = stranger.refused(2, &["--user eve", "ann, ben, vic, ada"]);
    let _ = dev.run(&["token"]).refused(2, &["--user NAME", "ann, ben"]);
    let _ = by(&dev, "ann", &["job", "list"]).success();
    let text = std::fs::read_to_string(dev.config_file()).expect("its configuration");
    let now = "2100-01-01T00:00:00Z";
    let changed = text.replacen("valid_from: null", &format!("valid_from: {now}"), 1);
    assert_ne!(changed, text);
    std::fs::write(dev.config_file(), changed).expect("its configuration");
    let refused = || Some(by(&dev, "ann", &["job", "list"])).filter(|it| it.code != Some(0));
    let refused = wait::until("ann's token is taken back", PATIENCE, refused);
    let _ = refused.refused(1, &["ann", "taken back", "howdah token --user ann"]);
    let refused = || Some(by(&dev, "ann", &["fs", "ls"])).filter(|it| it.code != Some(0));
    let _ = wait::until("and by the chunk master", PATIENCE, refused).refused(1, &["taken back"]);
    let _ = by(&dev, "ben", &["job", "list"]).success();
    let _ = dev.run(&["job", "list"]).success();
}
